package websocket

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHandshakeTraceOfServer(t *testing.T) {
	for wire, want := range map[string]int{
		request("Sec-WebSocket-Protocol: chat"): 101,
		request("-Sec-WebSocket-Key"):           400,
	} {
		for _, d := range entryPoints {
			seen := make(chan HandshakeTrace, 1)
			opts := &AcceptOptions{Config: Config{
				Subprotocols: []string{"chat"},
				Trace:        &Trace{Handshake: func(_ *Conn, h HandshakeTrace) { seen <- h }},
			}}
			d.open(t, opts, wire)
			got := <-seen
			require.Equal(t, want, got.Status, d.name)
			require.NotNil(t, got.Request, d.name)
			require.Equal(t, want == 101, got.Err == nil, d.name)
			require.Equal(t, want == 101, got.Subprotocol == "chat", d.name)
		}
	}
}

func TestHandshakeTraceOfClient(t *testing.T) {
	for wire, want := range map[string]int{response(): 101, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n": 403, "": 0} {
		var got HandshakeTrace
		opts := &DialOptions{Config: Config{Trace: &Trace{Handshake: func(_ *Conn, h HandshakeTrace) { got = h }}}}
		s := reply(wire)
		if wire == "" {
			s = func(net.Conn, *http.Request) {}
		}
		c, _, err := dialScript(t, s, opts)
		require.Equal(t, want, got.Status)
		require.Equal(t, err, got.Err)
		require.NotNil(t, got.Request)
		if c != nil {
			c.CloseNow()
		}
	}
}

// panickingHook is a Config whose hook for handshakes panics.
var panickingHook = Config{
	PingInterval: -1,
	Trace:        &Trace{Handshake: func(*Conn, HandshakeTrace) { panic("the hook") }},
}

// TestHandshakeHookPanicsOnServer lets a hook panic at the end of the opening
// handshake: neither the connection nor its reservation in the Registry is left.
func TestHandshakeHookPanicsOnServer(t *testing.T) {
	covers(t, "Q.A18", "Q.H08")
	entryPoints := map[string]func(nc net.Conn, opts *AcceptOptions){
		"Accept": func(nc net.Conn, opts *AcceptOptions) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Accept(w, r, opts) })
			s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
			s.Serve(&oneListener{nc: nc})
		},
		"AcceptConn": func(nc net.Conn, opts *AcceptOptions) {
			defer func() { recover() }()
			AcceptConn(context.Background(), nc, opts)
		},
	}
	for name, accept := range entryPoints {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			r := new(Registry)
			go accept(far, &AcceptOptions{Registry: r, Config: panickingHook})
			near.SetDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(near, request())
			_, err := io.Copy(io.Discard, near)
			require.NoError(t, err, "the connection is still open")
			require.Eventually(t, func() bool { return r.Len() == 0 }, 5*time.Second, time.Millisecond)
		})
	}
}

// TestHandshakeHookPanicsOnClient lets a hook of Dial panic: the server sees
// the end of the connection.
func TestHandshakeHookPanicsOnClient(t *testing.T) {
	covers(t, "Q.H08")
	ended := make(chan error, 1)
	s := httptest.NewServer(HandlerFunc(nil, func(c *Conn) error {
		ended <- readToEnd(c)
		return nil
	}))
	defer s.Close()
	require.Panics(t, func() {
		Dial(t.Context(), s.URL, &DialOptions{Config: panickingHook})
	})
	select {
	case err := <-ended:
		require.ErrorIs(t, err, CloseAbnormal)
	case <-time.After(5 * time.Second):
		require.Fail(t, "the client's connection is still open")
	}
}
