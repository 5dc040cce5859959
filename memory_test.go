//go:build unix && !race

package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
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

// A talk is what every client sends to a server that echoes, and how long the
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

// A starter starts a server that runs serve for each connection.
type starter func(t *testing.T, opts *AcceptOptions, serve func(c *Conn) error) *net.TCPAddr

// startHandler starts one that uses Handler.
func startHandler(t *testing.T, opts *AcceptOptions, serve func(c *Conn) error) *net.TCPAddr {
	h := httptest.NewServer(HandlerFunc(opts, serve))
	t.Cleanup(h.Close)
	return h.Listener.Addr().(*net.TCPAddr)
}

// startAcceptConn starts one that uses AcceptConn.
func startAcceptConn(t *testing.T, opts *AcceptOptions, serve func(c *Conn) error) *net.TCPAddr {
	return listenFor(t, func(nc net.Conn) { acceptAndServe(nc, opts, serve) })
}

// listenFor starts a server that calls serve for each connection.
func listenFor(t *testing.T, serve func(nc net.Conn)) *net.TCPAddr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go serve(nc)
		}
	}()
	return l.Addr().(*net.TCPAddr)
}

// startParked starts one that hands connections over to an echo, and runs serve
// when they have ended.
func startParked(t *testing.T, opts *AcceptOptions, serve func(c *Conn) error) *net.TCPAddr {
	h := httptest.NewServer(ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return echoUntil(serve), nil }))
	t.Cleanup(h.Close)
	return h.Listener.Addr().(*net.TCPAddr)
}

// An echoUntil is a Receiver that echoes, and is called at the end.
type echoUntil func(c *Conn) error

func (e echoUntil) Opened(*Conn) error               { return nil }
func (e echoUntil) Receive(c *Conn, m Message) error { return echoMessage(c, m) }
func (e echoUntil) Closed(c *Conn, end *CloseError)  { e(c) }

// over does nothing more.
func over(*Conn) error { return nil }

// acceptAndServe is the goroutine of a connection for all of its life.
func acceptAndServe(nc net.Conn, opts *AcceptOptions, serve func(c *Conn) error) {
	c, _, err := AcceptConn(context.Background(), nc, opts)
	if err == nil {
		serve(c)
		c.CloseNow()
	}
}

// A household is a server whose connections are idle after a talk.
type household struct {
	start starter
	opts  *AcceptOptions
	serve func(c *Conn) error
	conns int
	talk  talk
}

// households have one measurement each, by their names.
var households = map[string]func() household{
	"idle":                func() household { return household{startHandler, nil, echo, 1900, shortTalk()} },
	"idle by its context": func() household { return household{startHandler, nil, echoUnderOwnContext, 1900, shortTalk()} },
	"idle by AcceptConn":  func() household { return household{startAcceptConn, &AcceptOptions{}, echo, 1900, shortTalk()} },
	"parked":              func() household { return household{startParked, nil, over, 1900, shortTalk()} },
	"parked, deflate without context": func() household {
		return parkedWith("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	},
	"parked, deflate with context": func() household { return parkedWith("permessage-deflate") },
	"after a long talk":            func() household { return household{startHandler, nil, echo, 400, plainTalk()} },
	"client window 12": func() household {
		return compressing("permessage-deflate; client_max_window_bits=12", 12, flate.Takeover)
	},
	"client window 15": func() household {
		return compressing("permessage-deflate", 15, flate.Takeover)
	},
	"no context": func() household {
		return compressing("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15, flate.NoTakeover)
	},
}

// parkedWith returns a household of parked connections with these extensions,
// which nothing has used.
func parkedWith(extensions string) household {
	k := shortTalk()
	k.extensions = "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	return household{startParked, &AcceptOptions{Config: Config{Compression: &Compression{Threshold: 1 << 10}}}, over, 1900, k}
}

// compressing returns a household whose clients offer these extensions.
func compressing(extensions string, window int, context flate.Context) household {
	opts := &AcceptOptions{Config: Config{Compression: &Compression{}}}
	return household{startHandler, opts, echo, 400, compressedTalk(extensions, window, context)}
}

// measure returns the bytes of heap and stacks that the server takes for each
// connection.
func (h household) measure(t *testing.T) (heap, stack int64) {
	t.Helper()
	var open sync.WaitGroup
	addr := h.start(t, h.opts, func(c *Conn) error {
		defer open.Done()
		return h.serve(c)
	})
	const warm = 100
	var fds []int
	connect := func() {
		open.Add(1)
		fds = append(fds, h.talk.connect(t, addr))
	}
	for range warm {
		connect()
	}
	heapBefore, stackBefore := inUse()
	for range h.conns {
		connect()
	}
	heap, stack = inUse()
	heap = (heap - heapBefore) / int64(h.conns)
	stack = (stack - stackBefore) / int64(h.conns)
	for _, fd := range fds {
		syscall.Close(fd)
	}
	open.Wait()
	return heap, stack
}

// measuredHousehold is the environment variable that makes TestHousehold
// measure the household of that name.
const measuredHousehold = "WEBSOCKET_TEST_HOUSEHOLD"

// TestHousehold is run by memoryOf.
func TestHousehold(t *testing.T) {
	name := os.Getenv(measuredHousehold)
	if name == "" {
		t.Skip("it has something to do in a process of its own only")
	}
	var heap, stack int64
	if h := streamHouseholds[name]; h != nil {
		heap, stack = memoryOfStreams(t, h)
	} else {
		heap, stack = households[name]().measure(t)
	}
	fmt.Printf("household: %d %d\n", heap, stack)
}

// memoryOf measures a household in a process of its own: what the goroutines
// of other tests have left behind is used again, and would not be counted.
func memoryOf(t *testing.T, name string) (heap, stack int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHousehold$")
	cmd.Env = append(os.Environ(), measuredHousehold+"="+name)
	out, err := cmd.CombinedOutput()
	_, result, _ := strings.Cut(string(out), "household:")
	_, missing := fmt.Sscan(result, &heap, &stack)
	require.NoError(t, errors.Join(err, missing), "%s", out)
	return heap, stack
}

// TestMemoryOfAnIdleConnection proves that an idle connection takes no more than
// 3.5 KiB of heap and stack, and a parked one no more than 640 bytes.
func TestMemoryOfAnIdleConnection(t *testing.T) {
	covers(t, "Q.D12")
	for name, limit := range map[string]int64{
		"idle":                            3584,
		"idle by its context":             3584 + 256,
		"idle by AcceptConn":              3584,
		"parked":                          640,
		"parked, deflate without context": 840,
		"parked, deflate with context":    840,
	} {
		t.Run(name, func(t *testing.T) {
			if !canPoll && strings.HasPrefix(name, "parked") {
				t.Skip("nothing is parked here")
			}
			heap, stack := memoryOf(t, name)
			for range 3 { // other goroutines may leave stacks behind, which is not the connections'
				if heap+stack <= limit {
					break
				}
				heap, stack = memoryOf(t, name)
			}
			t.Logf("an idle connection holds %d bytes of heap and %d of stack", heap, stack)
			require.LessOrEqual(t, heap+stack, limit)
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

// shortTalk returns a talk of one message.
func shortTalk() talk {
	return talk{frames: [][]byte{clientFrame(0x82, string(ramp(128)))}, answers: []int{130}}
}

// plainTalk returns a talk of many messages without compression.
func plainTalk() (k talk) {
	for i := range 100 {
		message := sentence(700, i)
		k.frames = append(k.frames, clientFrame(0x81, message))
		k.answers = append(k.answers, len(message)+4)
	}
	return k
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
		k.answers = append(k.answers, len(appendFrame(nil, header{byte0: 0xc1, length: int64(len(answer))}, answer).b))
	}
	return k
}

// TestMemoryOfCompression compares idle connections with compression, after
// 70 KB each way, to those without.
func TestMemoryOfCompression(t *testing.T) {
	covers(t, "Q.D12")
	heapWithout, stackWithout := memoryOf(t, "after a long talk")
	for _, c := range []struct {
		name        string
		heap, limit int64 // above a connection without compression; limit is for heap and stack
	}{
		{"client window 12", 20 << 10, 20 << 10},
		{"client window 15", 50 << 10, 50 << 10},
		{"no context", 1 << 10, 4 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			heap, stack := memoryOf(t, c.name)
			heap, stack = heap-heapWithout, stack-stackWithout
			t.Logf("%d bytes of heap and %d of stack above the %d and %d of an idle connection without compression", heap, stack, heapWithout, stackWithout)
			require.LessOrEqual(t, heap, c.heap)
			require.LessOrEqual(t, heap+stack, c.limit)
		})
	}
}
