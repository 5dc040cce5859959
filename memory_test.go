//go:build unix && !race

package websocket

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/fullduplex-go/websocket/internal/flate"
	"github.com/stretchr/testify/require"
)

// rawDial connects to a server on loopback with a descriptor of its own, which
// costs the Go heap nothing.
func rawDial(t *testing.T, addr *net.TCPAddr) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}))
	return fd
}

// rawExchange writes to fd and reads the answer, which has n bytes or more.
func rawExchange(t *testing.T, fd int, p []byte, n int) {
	t.Helper()
	_, err := syscall.Write(fd, p)
	require.NoError(t, err)
	buf := make([]byte, 1024)
	for got := 0; got < n; {
		m, err := syscall.Read(fd, buf)
		require.NoError(t, err)
		require.NotZero(t, m)
		got += m
	}
}

// inUse returns how many bytes of heap and of stacks are in use.
func inUse() (heap, stack int64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}

// A talk is what every client says to a server that echoes, and how long the
// answers are.
type talk struct {
	extensions string // of the request, one line with its end, or empty
	frames     [][]byte
	answers    []int
}

// connect opens a connection to addr and has the talk on it.
func (k talk) connect(t *testing.T, addr *net.TCPAddr) (fd int) {
	t.Helper()
	fd = rawDial(t, addr)
	rawExchange(t, fd, []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+k.extensions+"\r\n"), 129)
	for i, frame := range k.frames {
		rawExchange(t, fd, frame, k.answers[i])
	}
	return fd
}

// memoryOfConnections returns the bytes of heap and stacks that a server takes
// for each connection that is idle after a talk with echo.
func memoryOfConnections(t *testing.T, opts *AcceptOptions, echo func(c *Conn) error, conns int, k talk) (heap, stack int64) {
	t.Helper()
	var open sync.WaitGroup
	h := httptest.NewServer(Handler(opts, func(c *Conn, _ *http.Request) error {
		defer open.Done()
		return echo(c)
	}))
	defer h.Close()
	addr := h.Listener.Addr().(*net.TCPAddr)
	const warm = 100
	var fds []int
	connect := func() {
		open.Add(1)
		fds = append(fds, k.connect(t, addr))
	}
	for range warm {
		connect()
	}
	heapBefore, stackBefore := inUse()
	for range conns {
		connect()
	}
	heap, stack = inUse()
	heap = (heap - heapBefore) / int64(conns)
	stack = (stack - stackBefore) / int64(conns)
	for _, fd := range fds {
		syscall.Close(fd)
	}
	open.Wait()
	return heap, stack
}

func TestMemoryOfAnIdleConnection(t *testing.T) {
	covers(t, "Q.D12")
	for _, c := range []struct {
		name  string
		echo  func(c *Conn) error
		limit int64
	}{
		{"background context", echo, 4 << 10},
		{"context of the connection", echoUnderOwnContext, 4<<10 + 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			heap, stack := memoryOfConnections(t, nil, c.echo, 1900, talk{
				frames:  [][]byte{clientFrame(0x82, string(ramp(128)))},
				answers: []int{130},
			})
			t.Logf("an idle connection holds %d bytes of heap and %d of stack", heap, stack)
			require.LessOrEqual(t, heap+stack, c.limit)
		})
	}
}

// echoUnderOwnContext echoes as most handlers do.
func echoUnderOwnContext(c *Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// compressedTalk returns a talk of many messages, compressed by a client with
// the given window and context, with a server of the default window.
func compressedTalk(extensions string, window int, context flate.Context) talk {
	k := talk{extensions: "Sec-WebSocket-Extensions: " + extensions + "\r\n"}
	theirs := flate.NewCompressor(window, 6, context)
	ours := flate.NewCompressor(12, 1, context)
	for i := range 100 {
		message := []byte(sentence(700, i))
		k.frames = append(k.frames, clientFrame(0xc1, string(theirs.AppendLast(nil, message))))
		answer, smaller := ours.Append(nil, message)
		if !smaller {
			panic("a sentence that does not compress")
		}
		k.answers = append(k.answers, len(appendFrame(nil, header{first: 0xc1, length: int64(len(answer))}, answer).b))
	}
	return k
}

// TestMemoryOfCompression compares idle connections with compression, after
// 70 KB each way, to those without.
func TestMemoryOfCompression(t *testing.T) {
	covers(t, "Q.D12")
	const conns = 400
	var plain talk
	for i := range 100 {
		message := sentence(700, i)
		plain.frames = append(plain.frames, clientFrame(0x81, message))
		plain.answers = append(plain.answers, len(message)+4)
	}
	heapWithout, stackWithout := memoryOfConnections(t, nil, echo, conns, plain)
	opts := &AcceptOptions{Config: Config{Compression: &Compression{}}}
	for _, c := range []struct {
		name        string
		talk        talk
		heap, limit int64 // above a connection without compression; limit is for heap and stack
	}{
		{"client window 12", compressedTalk("permessage-deflate; client_max_window_bits=12", 12, flate.Takeover), 20 << 10, 20 << 10},
		{"client window 15", compressedTalk("permessage-deflate", 15, flate.Takeover), 50 << 10, 50 << 10},
		{"no context", compressedTalk("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15, flate.NoTakeover), 1 << 10, 4 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			heap, stack := memoryOfConnections(t, opts, echo, conns, c.talk)
			heap, stack = heap-heapWithout, stack-stackWithout
			t.Logf("%d bytes of heap and %d of stack above the %d and %d of an idle connection without compression", heap, stack, heapWithout, stackWithout)
			require.LessOrEqual(t, heap, c.heap)
			require.LessOrEqual(t, heap+stack, c.limit)
		})
	}
}
