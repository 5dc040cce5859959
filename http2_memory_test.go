//go:build unix && !race

package websocket

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// streamsPerConnection is how many streams net/http's server takes by default.
const streamsPerConnection = 250

// streamHouseholds are handlers whose streams are idle after they have echoed a
// message, by the names of their measurements.
var streamHouseholds = map[string]http.Handler{
	"stream of net/http":        http.HandlerFunc(echoStream),
	"stream of Handler":         HandlerFunc(nil, echo),
	"stream of Accept":          http.HandlerFunc(acceptAndEcho),
	"stream of ReceiverHandler": ReceiverHandler(nil, func(*http.Request) (Receiver, error) { return echoUntil(over), nil }),
}

// echoStream sends back what comes, as a handler of net/http that knows nothing of
// WebSockets.
func echoStream(w http.ResponseWriter, r *http.Request) {
	control, buf := http.NewResponseController(w), make([]byte, 512)
	for control.Flush() == nil {
		n, err := r.Body.Read(buf)
		if err != nil {
			return
		}
		w.Write(buf[:n])
	}
}

// acceptAndEcho is a handler that stays until the connection has ended.
func acceptAndEcho(w http.ResponseWriter, r *http.Request) {
	c, err := Accept(w, r, nil)
	if err == nil {
		defer c.CloseNow()
		echo(c)
	}
}

// memoryOfStreams returns the bytes of heap and stacks that h takes for each of
// its streams. The connections take a part in it.
func memoryOfStreams(t *testing.T, h http.Handler) (heap, stack int64) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = http2Server(h)
	s.Start()
	t.Cleanup(func() { s.Config.Close() })
	const conns = 8
	openIdleStreams(t, s.Listener.Addr().String())
	heapBefore, stackBefore := inUse()
	for range conns {
		openIdleStreams(t, s.Listener.Addr().String())
	}
	heap, stack = inUse()
	const streams = conns * streamsPerConnection
	return (heap - heapBefore) / streams, (stack - stackBefore) / streams
}

// openIdleStreams connects to addr and has a message echoed on as many streams as
// a connection may have. The streams cost its end nothing afterwards.
func openIdleStreams(t *testing.T, addr string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	p, talk := newHTTP2Peer(nc), shortTalk()
	answer := make([]byte, talk.answers[0])
	for range streamsPerConnection {
		s, err := p.connect()
		require.NoError(t, err)
		_, err = s.Write(talk.frames[0])
		require.NoError(t, err)
		_, err = io.ReadFull(s, answer)
		require.NoError(t, err)
		p.mu.Lock()
		delete(p.streams, s.id)
		p.mu.Unlock()
	}
}

// TestMemoryOfAnIdleStream proves that an idle WebSocket takes no more than 15 KiB of
// heap and stack as a stream of HTTP/2 with a Receiver, and 20 otherwise. A handler of
// net/http that waits for what comes takes 12.
func TestMemoryOfAnIdleStream(t *testing.T) {
	for name, limit := range map[string]int64{
		"stream of net/http":        13800,
		"stream of Handler":         20 << 10,
		"stream of Accept":          19000,
		"stream of ReceiverHandler": 15 << 10,
	} {
		t.Run(name, func(t *testing.T) {
			heap, stack := memoryOf(t, name)
			t.Logf("an idle stream holds %d bytes of heap and %d of stack", heap, stack)
			require.LessOrEqual(t, heap+stack, limit)
		})
	}
}
