package websocket

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"
	"unicode/utf8"
)

// AsNetConn returns c as a stream of bytes, for programs that want a net.Conn.
// Where messages begin and end has no meaning in it.
//
// Read returns the content of messages of type t as it arrives, at most that of
// one message in each call. Small messages are delivered whole, empty ones are
// skipped. A message of the other type ends the connection with
// CloseUnsupportedData, unless AnyType is among the options. Read returns io.EOF
// once the peer has closed with CloseNormal, CloseGoingAway or without a code; if
// the connection ends in another way, it returns the [*CloseError].
//
// Write sends p as one message of type t, or as several of up to 32 KiB, so that
// a long p does not exceed the peer's limit on messages; an empty p sends
// nothing. The content of two calls never shares a message. For Text each p must
// be valid UTF-8 by itself. The bytes that Write counts will arrive if the
// connection lives, even if a deadline ended the call. MessagePerWrite is for
// peers to which it matters where messages end.
//
// A deadline interrupts calls and does not end the connection: later calls
// work. Close makes calls under way return and begins the closing handshake
// with CloseNormal. Like that of a TCP connection, it does not wait for the
// peer: it returns when the Close frame has been written, behind all other
// data, or when the write deadline has passed. The rest is done in the
// background, within Config.CloseTimeout.
//
// The stream shares the deadlines of c, and c must not be read directly while
// the stream is in use. An unknown option is a mistake of the program, and
// panics.
func AsNetConn(c *Conn, t MessageType, options ...NetConnOption) net.Conn {
	n := &netConn{c: c, typ: t}
	for _, o := range options {
		n.set(o)
	}
	c.out.delegateFlushes()
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// A NetConnOption changes what a net.Conn of AsNetConn does.
type NetConnOption uint8

const (
	// MessagePerWrite makes each Write exactly one message, whatever its
	// length, for peers to which it matters where messages end. An empty Write
	// sends an empty message. Write returns len(p), or 0 and an error: then
	// nothing was sent, or the connection has ended. A deadline that passes
	// once the connection has taken the message over does not cut it, and the
	// next Write waits until it has left.
	//
	// The peer must accept messages as long as p: one beyond its limit ends the
	// connection with CloseMessageTooBig. That limit is Config.MaxMessageSize
	// here, 1 MiB by default, and in other libraries often less.
	MessagePerWrite NetConnOption = iota + 1
	// AnyType makes Read return the content of text messages and of binary ones
	// alike. Write sends messages of type t.
	AnyType
)

// maxNetConnMessage is the size in bytes of the largest message that a netConn
// sends without MessagePerWrite: peers with a small limit still accept it.
const maxNetConnMessage = 32 << 10

// A netConn is what AsNetConn returns.
type netConn struct {
	c        *Conn
	typ      MessageType
	perWrite bool            // MessagePerWrite
	anyType  bool            // AnyType
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc

	readLock  fifoLock      // held across I/O; guards the next three
	inMessage bool          // message has not been read to its end
	message   MessageReader // the current one
	readErr   error         // permanent

	writeLock fifoLock // held across I/O; guards unsent
	unsent    bool     // bytes that Write has counted may not be written yet
}

// set applies an option.
func (n *netConn) set(o NetConnOption) {
	switch o {
	case MessagePerWrite:
		n.perWrite = true
	case AnyType:
		n.anyType = true
	default:
		panic(fmt.Sprintf("websocket: AsNetConn with unknown option %d", o))
	}
}

// Read reads into p what the peer sent. It waits for at least one byte.
func (n *netConn) Read(p []byte) (int, error) {
	if err := n.beginCall(&n.readLock, n.c.readDeadlines()); err != nil {
		return 0, n.asReadError(err)
	}
	defer n.readLock.unlock()
	if len(p) == 0 || n.readErr != nil {
		return 0, n.readErr
	}
	for {
		if err := n.nextMessage(); err != nil {
			return 0, n.asReadError(err)
		}
		read, err := n.message.Read(p)
		if err == io.EOF {
			n.inMessage = false
			continue
		}
		return read, n.asReadError(err)
	}
}

// beginCall takes l for a call of Read or Write. It returns an error if the
// stream is closed, or if the deadline of the call has passed.
func (n *netConn) beginCall(l *fifoLock, d *deadlines) error {
	if err := n.ctx.Err(); err != nil {
		return err
	}
	if d.expired() {
		return os.ErrDeadlineExceeded
	}
	if l.tryLock() {
		return nil
	}
	return n.c.awaitLock(n.ctx, l, d)
}

// nextMessage makes the next message the current one, unless the last one is
// not at its end.
func (n *netConn) nextMessage() error {
	if n.inMessage {
		return nil
	}
	t, r, err := n.c.openReader(n.ctx, startAtWhole)
	if err != nil {
		return err
	}
	if t != n.typ && !n.anyType {
		n.readErr = fmt.Errorf("websocket: %s message in a stream of %s messages", t, n.typ)
		go n.c.close(CloseUnsupportedData, "", n.readErr)
		return n.readErr
	}
	n.inMessage, n.message = true, r
	return nil
}

// asReadError returns the error of Read for one of the Conn, which may be nil.
func (n *netConn) asReadError(err error) error {
	switch {
	case err == nil:
		return nil
	case n.ctx.Err() != nil:
		return net.ErrClosed
	case endedQuietly(err):
		return io.EOF
	default:
		return err
	}
}

// Write sends p and returns the number of bytes that the connection has taken
// over.
func (n *netConn) Write(p []byte) (written int, err error) {
	if err := n.c.checkOutgoing(n.typ, p); err != nil {
		return 0, err
	}
	if err := n.beginCall(&n.writeLock, n.c.out.writeDeadlines()); err != nil {
		return 0, n.asWriteError(err)
	}
	defer n.writeLock.unlock()
	if n.perWrite {
		return n.writeMessage(p)
	}
	for written < len(p) && err == nil {
		size := n.chunkSize(p[written:])
		size, err = n.writeMessage(p[written : written+size])
		written += size
	}
	return written, err
}

// writeMessage sends p as one message, behind what the last one left unsent. It
// returns len(p), or 0 and an error of Write.
func (n *netConn) writeMessage(p []byte) (int, error) {
	err := n.flushUnsent()
	if err == nil {
		err = n.send(p)
	}
	if err != nil {
		return 0, n.asWriteError(err)
	}
	return len(p), nil
}

// flushUnsent waits until what the last message left unsent is written.
func (n *netConn) flushUnsent() error {
	if !n.unsent {
		return nil
	}
	if err := n.c.out.flushAll(n.ctx); err != nil {
		return n.c.writeError(n.ctx, err)
	}
	n.unsent = false
	return nil
}

// chunkSize returns how many bytes of p go into the next message. It does not
// cut through a character of a text, which is valid UTF-8.
func (n *netConn) chunkSize(p []byte) int {
	if len(p) <= maxNetConnMessage {
		return len(p)
	}
	size := maxNetConnMessage
	for n.typ == Text && !utf8.RuneStart(p[size]) && size > maxNetConnMessage-utf8.UTFMax {
		size--
	}
	return size
}

// send sends p as a message. If it is interrupted, the connection writes the
// rest in the background, and send returns nil.
func (n *netConn) send(p []byte) error {
	c := n.c
	e, ticket, err := c.appendMessage(n.ctx, outgoing{typ: n.typ, payload: p})
	defer e.free()
	if err != nil {
		return c.writeError(n.ctx, err)
	}
	_, err = c.out.flush(n.ctx, ticket, orLeave)
	err = c.writeError(n.ctx, err)
	if err != nil && c.refusalError() == nil {
		n.unsent = true
		return nil
	}
	return err
}

// asWriteError returns the error of Write for one of the Conn.
func (n *netConn) asWriteError(err error) error {
	if n.ctx.Err() != nil {
		return net.ErrClosed
	}
	return err
}

// Close makes calls under way return and begins the closing handshake.
func (n *netConn) Close() error {
	n.cancel()
	return n.c.closeInBackground()
}

// LocalAddr returns the LocalAddr of the Conn.
func (n *netConn) LocalAddr() net.Addr { return n.c.LocalAddr() }

// RemoteAddr returns the RemoteAddr of the Conn.
func (n *netConn) RemoteAddr() net.Addr { return n.c.RemoteAddr() }

// SetDeadline sets the deadlines of Read and Write.
func (n *netConn) SetDeadline(t time.Time) error {
	if err := n.c.SetReadDeadline(t); err != nil {
		return err
	}
	return n.c.SetWriteDeadline(t)
}

// SetReadDeadline sets when a Read that waits returns os.ErrDeadlineExceeded.
func (n *netConn) SetReadDeadline(t time.Time) error { return n.c.SetReadDeadline(t) }

// SetWriteDeadline sets when a Write that waits returns os.ErrDeadlineExceeded.
func (n *netConn) SetWriteDeadline(t time.Time) error { return n.c.SetWriteDeadline(t) }
