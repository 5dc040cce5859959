package websocket

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// reuseTime is how long TestDeliverReusedDescriptors runs with each number of
// processors.
var reuseTime = flag.Duration("reuse", time.Second, "how long descriptors are reused with each number of processors")

// TestDeliverReusedDescriptors opens and closes connections, as fast as that
// goes, while others live: the system gives their descriptors to the next ones.
// Each connection has a number, which is in all of its messages, and sees no
// other. What is called after the end of one does no harm to its successors.
func TestDeliverReusedDescriptors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, processors := range []int{1, 2, 16} {
		runtime.GOMAXPROCS(processors)
		for _, network := range []string{"tcp", "unix"} {
			t.Run(fmt.Sprintf("%d processors, %s", processors, network), func(t *testing.T) {
				u := newTurnover(t, network)
				u.run(*reuseTime / 2)
				t.Logf("%d connections", u.numbers.Load())
			})
		}
	}
}

// A turnover is a run with one network.
type turnover struct {
	t        *testing.T
	listener net.Listener
	numbers  atomic.Uint64 // of connections so far
	messages atomic.Uint64 // on connections that live
	accepted sync.WaitGroup
	ended    chan *Conn // connections for late calls
	stop     context.Context
	faults   atomic.Int32
}

// newTurnover returns a run with a server.
func newTurnover(t *testing.T, network string) *turnover {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	if runtime.GOOS == "windows" && network == "unix" {
		t.Skip("no socket files")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	return &turnover{t: t, listener: l, ended: make(chan *Conn, 100)}
}

// run opens connections for some time, and waits for all of them.
func (u *turnover) run(d time.Duration) {
	const living, coming = 10, 8
	stop, cancel := context.WithTimeout(u.t.Context(), d)
	defer cancel()
	u.stop = stop
	var acceptor, clients, late sync.WaitGroup
	acceptor.Go(u.accept)
	late.Go(u.callLate)
	for range living {
		clients.Go(u.live)
	}
	for i := range coming {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		clients.Go(func() {
			for u.stop.Err() == nil && u.faults.Load() == 0 {
				u.comeAndGo(rnd)
			}
		})
	}
	clients.Wait()
	u.listener.Close()
	acceptor.Wait()
	u.accepted.Wait()
	close(u.ended)
	late.Wait()
	require.NotZero(u.t, u.messages.Load(), "messages on connections that live")
}

// faultf reports a fault, unless there were many.
func (u *turnover) faultf(format string, args ...any) {
	if u.faults.Add(1) < 10 {
		u.t.Errorf(format, args...)
	}
}

// accept serves connections, and hands each over.
func (u *turnover) accept() {
	for {
		nc, err := u.listener.Accept()
		if err != nil {
			return
		}
		u.accepted.Add(1)
		go func() {
			c := newConn(nc, server, u.config(), agreement{}, nil)
			if err := c.Deliver(&numberedReceiver{turnover: u, over: u.accepted.Done}); err != nil {
				if err != c.terminal() { // the peer has come and gone
					u.faultf("Deliver: %v", err)
				}
				u.accepted.Done()
			}
		}()
	}
}

// config returns the settings of all connections.
func (u *turnover) config() *Config {
	return (&Config{CloseTimeout: pairLimit, PingInterval: 5 * time.Millisecond, PongTimeout: pairLimit}).withDefaults()
}

// A numberedReceiver is the Receiver of one connection, which learns its number from the
// first message. A message is the number and what to do.
type numberedReceiver struct {
	*turnover
	number string
	first  func(c *Conn) error // begins; nil: the peer does
	over   func()
}

// Opened may begin.
func (n *numberedReceiver) Opened(c *Conn) error {
	if n.first == nil {
		return nil
	}
	return n.first(c)
}

// Receive does what the message says.
func (n *numberedReceiver) Receive(c *Conn, m Message) error {
	number, do, _ := strings.Cut(string(m.Data), " ")
	if n.number == "" {
		n.number = number
	}
	if number != n.number {
		n.faultf("connection %s has a message of %s", n.number, number)
	}
	switch do, _, _ := strings.Cut(do, " "); do {
	case "echo":
		return c.WriteString(context.Background(), n.number+" echoed "+strings.Repeat("x", len(m.Data)))
	case "echoed":
		return c.WriteString(context.Background(), n.number+" end")
	case "end":
		return &CloseError{Code: 4000, Reason: n.number}
	case "Close":
		go c.Close(4000, n.number)
	case "CloseNow":
		c.CloseNow()
	}
	return nil
}

// Closed checks that the end is that of this connection, whose calls may come
// late from now on.
func (n *numberedReceiver) Closed(c *Conn, end *CloseError) {
	if end.Code != CloseAbnormal && end.Reason != n.number {
		n.faultf("connection %s ends with %v", n.number, end)
	}
	select {
	case n.ended <- c:
	default:
	}
	n.over()
}

// dial returns the next connection and its number.
func (u *turnover) dial() (nc net.Conn, number string) {
	nc, err := net.Dial(u.listener.Addr().Network(), u.listener.Addr().String())
	if err != nil {
		u.faultf("%v", err)
		return nil, ""
	}
	return nc, fmt.Sprint(u.numbers.Add(1))
}

// live exchanges messages on one connection for as long as the run lasts.
func (u *turnover) live() {
	nc, number := u.dial()
	if nc == nil {
		return
	}
	c := newConn(nc, client, u.config(), agreement{}, nil)
	defer c.CloseNow()
	u.exchange(c, number, func() bool { return u.stop.Err() == nil })
	c.Close(4000, number)
}

// exchange exchanges messages while more says so.
func (u *turnover) exchange(c *Conn, number string, more func() bool) {
	for more() && u.faults.Load() == 0 {
		if err := c.WriteString(context.Background(), number+" echo"); err != nil {
			u.faultf("connection %s ends with %v", number, err)
			return
		}
		_, p, err := c.Read(context.Background())
		if want := number + " echoed "; err != nil || !strings.HasPrefix(string(p), want) {
			u.faultf("connection %s has %q, %v", number, p, err)
			return
		}
		u.messages.Add(1)
	}
}

// comeAndGo opens a connection of some kind, uses it, and lets one of the two
// sides end it.
func (u *turnover) comeAndGo(rnd *rand.Rand) {
	nc, number := u.dial()
	if nc == nil {
		return
	}
	switch kind := rnd.IntN(8); kind {
	case 0: // both ends are handed over
		closed := make(chan bool)
		first := func(c *Conn) error { return c.WriteString(context.Background(), number+" echo") }
		c := newConn(nc, client, u.config(), agreement{}, nil)
		if err := c.Deliver(&numberedReceiver{turnover: u, number: number, first: first, over: func() { close(closed) }}); err != nil {
			u.faultf("Deliver: %v", err)
			return
		}
		<-closed
	case 1: // nothing is said
		nc.Close()
	case 2: // it breaks in the middle
		nc.Write(clientFrame(0x81, number+" echo")[:rnd.IntN(10)])
		if tcp, ok := nc.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		nc.Close()
	case 3: // replies are left unread
		for range 20 {
			nc.Write(clientFrame(0x81, number+" echo"))
		}
		nc.Close()
	default:
		u.useAndEnd(nc, number, kind)
	}
}

// useAndEnd exchanges some messages, and lets one of the two sides end the
// connection.
func (u *turnover) useAndEnd(nc net.Conn, number string, kind int) {
	c := newConn(nc, client, u.config(), agreement{}, nil)
	left := 3
	u.exchange(c, number, func() bool { left--; return left >= 0 })
	switch kind {
	case 4:
		c.Close(4000, number)
	case 5:
		c.CloseNow()
	case 6:
		c.WriteString(context.Background(), number+" Close")
	case 7:
		c.WriteString(context.Background(), number+" CloseNow")
	}
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			break
		}
	}
	c.CloseNow()
	select {
	case u.ended <- c:
	default:
	}
}

// callLate calls what connections have after their end. The descriptors that
// they had are others' by then.
func (u *turnover) callLate() {
	for c := range u.ended {
		c.WriteString(context.Background(), "late")
		c.Send(Text, []byte("late"))
		c.Ping(context.Background())
		c.SetReadDeadline(time.Now().Add(-time.Second))
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		c.Flush()
		c.Close(CloseGoingAway, "late")
		c.CloseNow()
		nc := c.NetConn()
		if n, err := nc.Write([]byte("late")); err == nil {
			u.faultf("%d bytes were written after the end", n)
		}
		if n, err := nc.Read(make([]byte, 100)); err == nil || n > 0 {
			u.faultf("%d bytes were read after the end", n)
		}
		nc.SetDeadline(time.Now().Add(-time.Second))
		if half, ok := nc.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		nc.Close()
		io.Copy(io.Discard, nc)
	}
}
