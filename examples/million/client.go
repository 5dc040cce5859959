package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/fullduplex-go/websocket"
)

// A crowd is the connections of one client.
type crowd struct {
	url   string
	first int // the number of its first connection, among those of all clients
	open  int
}

// dialers is how many handshakes a client has in progress.
const dialers = 16

// playClient opens as many connections to url as it is asked for. first is the
// number of the first.
func playClient(url, first string, in io.Reader, out io.Writer) error {
	n, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	cr := crowd{url: url, first: n}
	return answer(in, out, func(conns int) (int, error) { return conns, cr.grow(conns) })
}

// grow opens connections until there are n.
func (cr *crowd) grow(n int) error {
	var next atomic.Int64
	next.Store(int64(cr.open))
	errs := make(chan error, dialers)
	for range dialers {
		go func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := cr.dial(i); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var all []error
	for range dialers {
		all = append(all, <-errs)
	}
	cr.open = n
	return errors.Join(all...)
}

// dial opens connection i, says hello on it, and waits for nothing more.
func (cr *crowd) dial(i int) error {
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, cr.url, &websocket.DialOptions{
		Config:  websocket.Config{PingInterval: -1}, // the server's Pings are enough
		NetDial: dialerFrom(cr.first + i).DialContext,
	})
	if err != nil {
		return err
	}
	const hello = "hello"
	if err := c.WriteString(ctx, hello); err != nil {
		return err
	}
	_, p, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if string(p) != hello {
		return fmt.Errorf("%q came back", p)
	}
	return c.Deliver(silent{})
}

// connsPerSource is how many connections come from one address. A source address
// has as many as net.ipv4.ip_local_port_range allows, 28,232 by default.
const connsPerSource = 10000

// dialerFrom returns the dialer for connection i of all clients. On Linux every
// address 127.x.x.x is local.
func dialerFrom(i int) *net.Dialer {
	if runtime.GOOS != "linux" {
		return new(net.Dialer)
	}
	source := 1 + i/connsPerSource
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(source>>8), byte(source))}}
}

// A silent Receiver expects no message. Pings are answered without it.
type silent struct{}

// Opened has nothing to do.
func (silent) Opened(*websocket.Conn) error { return nil }

// Receive refuses every message.
func (silent) Receive(*websocket.Conn, websocket.Message) error {
	return websocket.ClosePolicyViolation
}

// Closed has nothing to do: the server counts its connections.
func (silent) Closed(*websocket.Conn, *websocket.CloseError) {}
