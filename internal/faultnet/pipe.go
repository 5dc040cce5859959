// Package faultnet is a network in memory for tests: connections with bounded
// buffers, deadlines, half-close and reset, and wrappers that make any
// connection misbehave in one chosen way.
//
// All calls wait on channels, so a connection made inside a testing/synctest
// bubble lets the bubble's clock run. It behaves like a network at its worst:
// closing an end that has unread data, or writing to a closed end, resets the
// connection and discards what the other side has not read yet, as TCP may do.
package faultnet

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultWindow is the number of bytes each direction of a Pipe holds.
const DefaultWindow = 64 << 10

// A Conn is one end of a connection in memory. Its methods are safe for
// concurrent use.
type Conn struct {
	in, out       *stream // in: from the peer; out: to the peer
	local, remote net.Addr
	readDeadline  deadline
	writeDeadline deadline
	closed        chan struct{} // closed by the first Close or Reset
	closeOnce     sync.Once
	closeCalls    atomic.Int32
}

// Pipe returns the two ends of a connection. Each direction holds at most
// DefaultWindow bytes that are written and not yet read.
func Pipe() (a, b *Conn) {
	ab, ba := newStream(), newStream()
	a = newConn(ba, ab, "a", "b")
	b = newConn(ab, ba, "b", "a")
	return a, b
}

func newConn(in, out *stream, local, remote string) *Conn {
	return &Conn{
		in:            in,
		out:           out,
		local:         addr(local),
		remote:        addr(remote),
		readDeadline:  deadline{passed: make(chan struct{})},
		writeDeadline: deadline{passed: make(chan struct{})},
		closed:        make(chan struct{}),
	}
}

// Read reads into p what the peer wrote, waiting for at least one byte. It
// returns io.EOF after the peer's last byte, and otherwise a *net.OpError.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := c.stopped(&c.readDeadline); err != nil {
			return 0, c.opError("read", err)
		}
		n, changed, err := c.in.take(p)
		if n > 0 || err == io.EOF {
			return n, err
		}
		if err != nil {
			return 0, c.opError("read", err)
		}
		c.wait(changed, &c.readDeadline)
	}
}

// Write hands p to the peer, waiting while the peer's window is full. An
// error is a *net.OpError; the bytes counted may then still arrive.
func (c *Conn) Write(p []byte) (int, error) {
	written := 0
	for {
		if err := c.stopped(&c.writeDeadline); err != nil {
			return written, c.opError("write", err)
		}
		n, changed, err := c.out.put(p[written:])
		written += n
		if err != nil {
			return written, c.writeFailed(err)
		}
		if written == len(p) {
			return written, nil
		}
		c.wait(changed, &c.writeDeadline)
	}
}

// writeFailed returns the error of a write that the stream refused. Writing to
// a closed end resets the connection.
func (c *Conn) writeFailed(err error) error {
	if c.out.isAbandoned() {
		c.in.reset()
	}
	return c.opError("write", err)
}

// stopped returns why a call with deadline d cannot continue, or nil.
func (c *Conn) stopped(d *deadline) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	case <-d.wait():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// wait returns when the stream changes, d passes or c is closed.
func (c *Conn) wait(changed <-chan struct{}, d *deadline) {
	select {
	case <-changed:
	case <-d.wait():
	case <-c.closed:
	}
}

// Close closes both directions. The peer can read the remaining bytes, then
// io.EOF, unless this end had unread data: then the connection is reset. Later
// calls return net.ErrClosed.
func (c *Conn) Close() error {
	c.closeCalls.Add(1)
	return c.end(func() {
		if c.in.abandon() > 0 {
			c.out.reset()
			return
		}
		c.out.finish()
	})
}

// Reset closes c like a TCP socket with SO_LINGER 0: the peer loses what it
// has not read and gets ECONNRESET.
func (c *Conn) Reset() error {
	return c.end(func() {
		c.in.abandon()
		c.out.reset()
	})
}

func (c *Conn) end(tell func()) error {
	err := c.opError("close", net.ErrClosed)
	c.closeOnce.Do(func() {
		close(c.closed)
		c.readDeadline.set(time.Time{})
		c.writeDeadline.set(time.Time{})
		tell()
		err = nil
	})
	return err
}

// CloseWrite closes the outgoing direction: the peer can read the remaining
// bytes, then io.EOF.
func (c *Conn) CloseWrite() error {
	select {
	case <-c.closed:
		return c.opError("close", net.ErrClosed)
	default:
		c.out.finish()
		return nil
	}
}

// CloseCalls returns how often Close was called.
func (c *Conn) CloseCalls() int { return int(c.closeCalls.Load()) }

// SetWindow sets the number of unread bytes that the incoming direction holds.
// At 0 the peer's writes make no progress. Bytes already there are kept.
func (c *Conn) SetWindow(n int) { c.in.setWindow(n) }

// Unread returns the number of bytes that this end can read without waiting.
func (c *Conn) Unread() int { return c.in.unread() }

// LocalAddr returns this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines, as in net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the time at which pending and future reads return
// os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readDeadline, t) }

// SetWriteDeadline sets the time at which pending and future writes return
// os.ErrDeadlineExceeded.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeDeadline, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	select {
	case <-c.closed:
		return c.opError("set", net.ErrClosed)
	default:
		d.set(t)
		return nil
	}
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// addr is the address of one end.
type addr string

func (addr) Network() string  { return "mem" }
func (a addr) String() string { return string(a) }
