package wstest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A listener is a net.Listener in memory.
type listener struct {
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	conns []*faultnet.Conn // both ends of every connection made
}

func listen() *listener {
	return &listener{waiting: make(chan net.Conn), closed: make(chan struct{})}
}

// dial returns a connection, whose other end Accept returns.
func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	near, far := faultnet.Pipe()
	l.mu.Lock()
	l.conns = append(l.conns, near, far)
	l.mu.Unlock()
	select {
	case l.waiting <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: l.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.waiting:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept and dial return an error.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address of every listener in memory.
func (l *listener) Addr() net.Addr { return memoryAddr{} }

// hangUp closes the listener and all its connections.
func (l *listener) hangUp() {
	l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, nc := range l.conns {
		nc.Close()
	}
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return host }

// A Listener accepts clients under test, and returns a RawPeer for each.
type Listener struct {
	t    testing.TB
	l    net.Listener
	dial func(ctx context.Context) (net.Conn, error)

	// URL is what the client dials.
	URL string
}

// Listen returns a Listener in memory. Clients reach it through
// [Listener.NetDial] only.
func Listen(t testing.TB) *Listener {
	l := listen()
	t.Cleanup(l.hangUp)
	return &Listener{t: t, l: l, dial: l.dial, URL: url("/")}
}

// ListenTCP returns a Listener on the loopback interface, for clients that take
// nothing but a URL. It does not work inside a synctest bubble.
func ListenTCP(t testing.TB) *Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("wstest: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	addr := l.Addr().String()
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
	return &Listener{t: t, l: l, dial: dial, URL: "ws://" + addr + "/"}
}

// NetDial connects to the Listener and ignores the address. It is for the
// DialOptions of code under test.
func (l *Listener) NetDial(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.dial(ctx)
}

// Accept waits for a client and returns a RawPeer in the server's role. The
// client's request has not been read yet: see [RawPeer.Accept].
func (l *Listener) Accept() *RawPeer {
	l.t.Helper()
	nc, err := l.l.Accept()
	if err != nil {
		l.t.Fatalf("wstest: %v", err)
	}
	return RawServer(l.t, nc)
}
