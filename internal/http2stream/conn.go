// Package http2stream makes a net.Conn of one stream of HTTP/2, as net/http shows
// it: a body to read and something to write to. Neither can be interrupted without
// ending the stream. So a goroutine reads ahead of Read, and another one writes
// what Write has taken over, and deadlines interrupt only the waiting for them:
//
//	body ──► Receive ──► receiver ──► Read        Write ──► sender ──► send ──► Writer
//
// Where Read needs no deadline, it can read the body itself.
//
// It knows nothing of WebSockets.
package http2stream

import (
	"io"
	"net"
	"time"
)

// A Writer is what a stream is written to. One goroutine uses it at a time, except
// that Abort may be called meanwhile. Nothing uses it once Done is closed.
type Writer interface {
	io.Writer
	// FlushError lets what was written leave, and need not wait for that.
	FlushError() error
	// Abort makes calls that wait fail, and later ones.
	Abort()
	// Close ends the stream. Nothing is written any more.
	Close() error
}

// Options say what a Conn is made of.
type Options struct {
	Body   io.ReadCloser // Close makes a Read that waits return
	Writer Writer
	// Direct says that Read reads the body itself. Then Receive has nothing to
	// do, which saves its goroutine, and Read has no deadline: only Close
	// interrupts it.
	Direct bool
	// Linger is for how long, after Close, what was written before may take to
	// leave.
	Linger        time.Duration
	Local, Remote net.Addr
}

// A Conn is the net.Conn of a stream. Unless it is direct, Receive must be running
// for it to receive.
type Conn struct {
	in            input
	out           sender
	local, remote net.Addr
}

// An input is the receiving direction.
type input interface {
	run()                             // is Receive
	read(p []byte) (n int, err error) // is Read
	close()                           // makes all calls return, for good
	setDeadline(t time.Time) error    // sets that of read
}

// New returns the net.Conn of a stream.
func New(o Options) *Conn {
	c := &Conn{local: o.Local, remote: o.Remote}
	if o.Direct {
		c.in = &directReader{body: o.Body}
	} else {
		c.in = newReceiver(o.Body)
	}
	c.out.init(o.Writer, o.Linger)
	return c
}

// IsDirect reports whether Read reads the body itself, and has no deadline.
func (c *Conn) IsDirect() bool {
	_, direct := c.in.(*directReader)
	return direct
}

// Receive reads the body until it ends, fails, or c is closed. It is called once,
// on a goroutine that it keeps that long. If c is direct it returns at once.
func (c *Conn) Receive() { c.in.run() }

// Done returns a channel that is closed once c is closed and nothing uses the
// Writer any more.
func (c *Conn) Done() <-chan struct{} { return c.out.done }

// AwaitDone waits until Done is closed, for at most d, and then aborts the Writer
// and waits on. c must have been closed.
func (c *Conn) AwaitDone(d time.Duration) { c.out.awaitDone(d) }

// AwaitSent waits until what was written has left, or never will, for at most d.
func (c *Conn) AwaitSent(d time.Duration) { c.out.awaitSent(d) }

// Read reads what has come. It waits for at least one byte.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write sends p, and waits until it has left. After a deadline that passes
// meanwhile, what n counts is sent nevertheless; if that is all of p, err is nil.
func (c *Conn) Write(p []byte) (n int, err error) { return c.out.write(p) }

// Close ends both directions and does not wait. What was written before still
// leaves, if it can within Options.Linger.
func (c *Conn) Close() error {
	c.in.close()
	c.out.close()
	return nil
}

// LocalAddr returns the address of this side.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines. The error is os.ErrNoDeadline if Read has none.
func (c *Conn) SetDeadline(t time.Time) error {
	err := c.SetReadDeadline(t)
	if err == nil {
		err = c.SetWriteDeadline(t)
	}
	return err
}

// SetReadDeadline sets when a Read that waits returns os.ErrDeadlineExceeded. The
// error is os.ErrNoDeadline if Read reads the body itself.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(t) }

// SetWriteDeadline sets when a Write that waits returns os.ErrDeadlineExceeded.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(t) }
