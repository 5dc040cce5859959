package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// NetConn returns c as a stream of bytes, for protocols that want a net.Conn. c
// must not be read directly meanwhile, and its read limit is removed.
//
// Each Write sends one message of type msgType, also an empty one. Read returns
// the content of such messages, one after another, and io.EOF once the peer has
// closed with StatusNormalClosure or StatusGoingAway. A message of the other
// type closes c with StatusUnsupportedData, and is an error.
//
// A deadline that passes while a call waits closes c, without a closing
// handshake. A call that begins after its deadline only returns an error: with
// another deadline the stream goes on. Both errors are net.Errors with Timeout.
//
// If ctx ends, c is closed. Close closes it with StatusNormalClosure.
//
// The addresses are those of the connection below.
func NetConn(ctx context.Context, c *Conn, msgType MessageType) net.Conn {
	c.SetReadLimit(-1)
	n := &netConn{c: c, typ: msgType.outgoing(), ctx: ctx}
	n.unfollow = context.AfterFunc(ctx, func() { c.ws.CloseNow() })
	return n
}

// A netConn is what NetConn returns.
type netConn struct {
	c        *Conn
	typ      fullduplex.MessageType
	ctx      context.Context
	unfollow func() bool // lets ctx end without closing c
	closed   atomic.Bool // Close was called

	readLock  sync.Mutex // held across I/O; guards the next three
	atEnd     bool       // Read has returned io.EOF
	inMessage bool       // message has not been read to its end
	message   fullduplex.MessageReader

	readBy, writeBy deadline
}

// Read reads into p what the peer sent. It waits for at least one byte.
func (n *netConn) Read(p []byte) (int, error) {
	n.readLock.Lock()
	defer n.readLock.Unlock()
	if err := n.beginCall("read", &n.readBy); err != nil {
		return 0, err
	}
	if len(p) == 0 && !n.atEnd {
		return 0, nil
	}
	for {
		if err := n.nextMessage(); err != nil {
			err = n.readFailed(err)
			n.atEnd = err == io.EOF
			return 0, err
		}
		read, err := n.message.Read(p)
		switch {
		case err == nil:
			return read, nil
		case err != io.EOF:
			return read, n.readFailed(err)
		}
		n.inMessage = false
	}
}

// beginCall returns an error if the stream is closed or the deadline of the
// call has passed.
func (n *netConn) beginCall(op string, d *deadline) error {
	if n.closed.Load() {
		return callError(op, net.ErrClosed)
	}
	if err := n.ctx.Err(); err != nil {
		return callError(op, err)
	}
	if d.passed() {
		return callError(op, timeoutError{})
	}
	return nil
}

// nextMessage makes the next message the current one, unless the last one is
// not at its end. It refuses one of the other type.
func (n *netConn) nextMessage() error {
	if n.inMessage {
		return nil
	}
	t, r, err := n.c.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	if t != n.typ {
		refused := fmt.Errorf("%v in a stream of %v", MessageType(t), MessageType(n.typ))
		n.c.ws.Close(fullduplex.CloseUnsupportedData, refused.Error())
		return refused
	}
	n.inMessage, n.message = true, *r
	return nil
}

// readFailed returns the error of Read for err, which is not nil.
func (n *netConn) readFailed(err error) error {
	var end *fullduplex.CloseError
	if errors.As(err, &end) && end.Received && !n.closed.Load() {
		switch end.Code {
		case fullduplex.CloseNormal, fullduplex.CloseGoingAway:
			return io.EOF
		}
	}
	return n.callFailed("read", err)
}

// callFailed returns the error of a call for err, which is not nil. A deadline
// that has ended a call closes the connection.
func (n *netConn) callFailed(op string, err error) error {
	if ended := n.ctx.Err(); ended != nil {
		return callError(op, ended)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		n.c.ws.CloseNow()
		return callError(op, timeoutError{})
	}
	if n.closed.Load() {
		return callError(op, net.ErrClosed)
	}
	return n.c.readFailed(err)
}

// Write sends p as one message.
func (n *netConn) Write(p []byte) (int, error) {
	if err := n.beginCall("write", &n.writeBy); err != nil {
		return 0, err
	}
	if err := n.c.ws.Write(context.Background(), n.typ, p); err != nil {
		return 0, n.callFailed("write", err)
	}
	return len(p), nil
}

// Close closes the connection with StatusNormalClosure.
func (n *netConn) Close() error {
	n.closed.Store(true)
	n.unfollow()
	return n.c.Close(StatusNormalClosure, "")
}

// LocalAddr returns the local address.
func (n *netConn) LocalAddr() net.Addr { return n.c.ws.LocalAddr() }

// RemoteAddr returns the address of the peer.
func (n *netConn) RemoteAddr() net.Addr { return n.c.ws.RemoteAddr() }

// SetDeadline sets the deadlines of Read and Write.
func (n *netConn) SetDeadline(t time.Time) error {
	return errors.Join(n.SetReadDeadline(t), n.SetWriteDeadline(t))
}

// SetReadDeadline sets when Read gives up, and if it waits closes the
// connection.
func (n *netConn) SetReadDeadline(t time.Time) error {
	n.readBy.set(t)
	return n.deadlineError(n.c.ws.SetReadDeadline(t))
}

// SetWriteDeadline sets when Write gives up, and if it waits closes the
// connection.
func (n *netConn) SetWriteDeadline(t time.Time) error {
	n.writeBy.set(t)
	return n.deadlineError(n.c.ws.SetWriteDeadline(t))
}

// deadlineError returns the error of setting a deadline for err, which may be
// nil.
func (n *netConn) deadlineError(err error) error {
	if err == nil {
		return nil
	}
	return n.callFailed("set deadline", err)
}

// A deadline is the time at which calls give up, also known to the connection
// below. It tells a deadline that passes while a call waits from one that had
// passed before.
type deadline struct{ at atomic.Int64 } // nanoseconds since 1970, or 0 for none

// set sets the deadline. The zero time is none.
func (d *deadline) set(t time.Time) {
	if t.IsZero() {
		d.at.Store(0)
	} else {
		d.at.Store(t.UnixNano())
	}
}

// passed reports whether the deadline has passed.
func (d *deadline) passed() bool {
	at := d.at.Load()
	return at != 0 && at <= time.Now().UnixNano()
}
