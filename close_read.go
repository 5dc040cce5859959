package websocket

import (
	"context"
	"errors"
)

// CloseRead is for programs that only write to c: from now on what the peer
// sends is read and dropped, its Pings are answered, and its Close frame and its
// end are noticed at once. The context that CloseRead returns ends with ctx, or
// when the connection has ended; its cause is then the terminal [*CloseError].
//
// The methods that read return an error from now on; a call that waits may still
// return a message, and a MessageReader loses the rest of its message. Messages
// that are dropped are checked as if they were read, and
// [Conn.SetMaxMessageSize] still bounds them. Where a message is a breach, read one
// instead, as the example does.
//
// After [Conn.Deliver] CloseRead only returns the context, and the Receiver goes
// on.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	if c.delivery.CompareAndSwap(nil, readClosed) {
		c.removeReadDeadline()
		c.beginDropping()
	}
	return c.contextUntilEnd(ctx)
}

// readClosed stands for a delivery to nobody, in the place of a Conn's own.
var readClosed = new(delivery)

// errReadClosed is the error of methods that read after CloseRead.
var errReadClosed = errors.New("websocket: reading was closed by CloseRead")

// isReadClosed reports whether messages are dropped, since CloseRead was called.
func (c *Conn) isReadClosed() bool { return c.delivery.Load() == readClosed }

// beginDropping makes whoever reads, or the background reader, drop messages.
func (c *Conn) beginDropping() {
	c.read.deadlines.load().preempt() // one that reads in the background looks anew
	if c.read.lock.tryLockInternal() {
		c.unlockReading(errReadClosed)
	}
}

// dropMessages reads and drops messages until the connection ends or reading is
// interrupted, and returns why. The caller holds read.lock.
func (c *Conn) dropMessages(by caller) error {
	c.keepalive.flags.clear(dataPending)
	c.reading()
	for {
		if c.in.msg.loan.to != nobody {
			c.endLoan(nobody)
		}
		if !c.in.msg.isOpen() {
			if err := c.beginMessage(by); err != nil {
				return err
			}
		}
		if c.in.msg.phase == inReadBuffer {
			c.in.msg.text.Reset()
		}
		c.in.msg.phase = inReader
		c.in.msg.number++ // its reader, if there is one, must not go on
		if err := c.skip(by); err != nil {
			return err
		}
	}
}

// contextUntilEnd returns a context that ends with ctx or with the connection,
// whose terminal error is then the cause.
func (c *Conn) contextUntilEnd(ctx context.Context) context.Context {
	if c.callContext(ctx) != ctx {
		return ctx // it is the connection's own
	}
	bound, cancel := context.WithCancelCause(ctx)
	end := c.Context()
	stop := context.AfterFunc(end, func() { cancel(context.Cause(end)) })
	context.AfterFunc(bound, func() { stop() })
	return bound
}
