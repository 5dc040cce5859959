package websocket

import (
	"context"
	"errors"
	"math"
	"os"
	"unicode/utf8"
	"unsafe"
)

// Errors of callers. Nothing is sent, and the connection stays open, unless a
// MessageWriter has sent a part of the message before.
var (
	errInvalidType = errors.New("websocket: message type is neither Text nor Binary")
	errInvalidText = errors.New("websocket: text to send is not valid UTF-8")
)

// checkOutgoing returns an error if p must not be sent as a message of type t.
func (c *Conn) checkOutgoing(t MessageType, p []byte) error {
	switch {
	case t != Text && t != Binary:
		return errInvalidType
	case t == Text && !c.cfg.SkipUTF8Check && !utf8.Valid(p):
		return errInvalidText
	}
	return nil
}

// An outgoing is a message to send.
type outgoing struct {
	typ     MessageType
	payload []byte
	shared  *Prepared // the message, if it is one that others send as well
	plain   bool      // it must not be compressed
}

// An encoded is the frame that a message, or a part of one, becomes.
type encoded struct {
	byte0   byte
	payload []byte
	scratch *buffer // holds payload, unless that is the application's
}

// free frees the scratch.
func (e encoded) free() { e.scratch.free() }

// encode compresses m if that was negotiated and is worth it. A compressed
// message enters the compressor's window: its frame must be added before any
// other message is encoded. The result must be freed, but not before a frame
// that is written from it has been flushed. The caller holds send.lock.
func (c *Conn) encode(m outgoing) encoded {
	e := encoded{byte0: bitFIN | byte(m.typ), payload: m.payload}
	d := c.deflate
	if d == nil || m.plain || len(m.payload) < d.threshold {
		return e
	}
	c.forgetDoubtful()
	if m.shared != nil {
		p, smaller := m.shared.deflated(d)
		if !smaller {
			return e
		}
		d.compressor.Remember(m.payload)
		d.countSent(len(m.payload), len(p))
		e.payload = p
	} else {
		e.scratch = acquireBuffer(len(m.payload))
		if !d.compress(e.scratch, m.payload) {
			return e
		}
		e.payload = e.scratch.b
	}
	e.byte0 |= bitRSV1
	return e
}

// forgetDoubtful makes the compressor forget if it would refer to a message
// that may never leave: one that waits can be withdrawn only as long as nothing
// refers to it. The caller holds send.lock.
func (c *Conn) forgetDoubtful() {
	if c.deflate.takeover && !c.out.mayRefer() {
		c.deflate.compressor.Forget()
	}
}

// Write sends p as one message. It returns when the message was handed to the
// network, or is held because more input waits. p is not retained and not
// changed. If p has a secret, see [Conn.WritePlain].
func (c *Conn) Write(ctx context.Context, t MessageType, p []byte) error {
	ctx = c.callContext(ctx)
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	if c.deflate != nil {
		return c.writeEncoded(ctx, t, p)
	}
	return c.writeFrame(ctx, bitFIN|byte(t), p)
}

// writeFrame is write for a message that is sent as it is, on a small stack
// (see Stack budget in docs/design.md).
func (c *Conn) writeFrame(ctx context.Context, byte0 byte, p []byte) error {
	if err := c.lockSending(ctx); err != nil {
		return err
	}
	ticket, err := c.out.addData(byte0, p)
	c.send.lock.unlock()
	if err == nil {
		if ticket == nil || c.out.flushAlone(ticket) {
			return nil
		}
		_, err = c.out.flush(ctx, ticket, orWithdraw)
	}
	return c.writeError(ctx, err)
}

// writeEncoded is write for a message that may be compressed. It is not
// inlined, so that Write needs no room for it on the stack.
//
//go:noinline
func (c *Conn) writeEncoded(ctx context.Context, t MessageType, p []byte) error {
	return c.write(ctx, outgoing{typ: t, payload: p})
}

// WritePlain is Write for a message that must not be compressed, because it has
// a secret. The length of a secret compressed together with text that others
// choose tells something about the secret (RFC 7692, Section 8), and with context
// takeover a message is compressed together with those before it. So a plain
// message does not enter what later messages refer to either, and these are
// compressed as if it had not been sent.
//
// [Conn.SendPlain], [Conn.WriterPlain] and [PreparePlain] do the same for the
// other ways to send. Where no compression was agreed on, all of them do what
// their namesakes do.
func (c *Conn) WritePlain(ctx context.Context, t MessageType, p []byte) error {
	ctx = c.callContext(ctx)
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	return c.writeFrame(ctx, bitFIN|byte(t), p)
}

// write sends a message that has been checked.
func (c *Conn) write(ctx context.Context, m outgoing) error {
	e, ticket, err := c.appendMessage(ctx, m)
	defer e.free()
	if err == nil && ticket != nil && !c.out.flushAlone(ticket) {
		var withdrawn bool
		if withdrawn, err = c.out.flush(ctx, ticket, orWithdraw); withdrawn && e.byte0&bitRSV1 != 0 {
			c.deflate.countWithdrawn(len(m.payload), len(e.payload))
		}
	}
	return c.writeError(ctx, err)
}

// appendMessage waits for send.lock and adds m as one frame, whose ticket must
// be passed to flush before the frame is freed. It does not keep the lock.
func (c *Conn) appendMessage(ctx context.Context, m outgoing) (encoded, *ticket, error) {
	if err := c.lockSending(ctx); err != nil {
		return encoded{}, nil, err
	}
	defer c.send.lock.unlock()
	e := c.encode(m)
	ticket, err := c.out.addData(e.byte0, e.payload)
	return e, ticket, err
}

// WriteString sends s as one text message.
func (c *Conn) WriteString(ctx context.Context, s string) error {
	return c.Write(ctx, Text, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// lockSending takes send.lock, waiting for it if need be, and adds what Send
// has queued before. After an error it does not hold the lock.
func (c *Conn) lockSending(ctx context.Context) error {
	if ctx.Done() != nil {
		if err := c.contextError(ctx); err != nil {
			return err
		}
	}
	if !c.send.lock.tryLock() {
		if err := c.awaitLock(ctx, &c.send.lock, c.out.writeDeadlines()); err != nil {
			return err
		}
	}
	if c.send.queue.Load().hasMessages() {
		if messages, bytes := c.appendQueued(math.MaxInt); messages > 0 {
			go c.awaitQueued(messages, bytes)
		}
	}
	return nil
}

// Flush sends held replies now. Like Write, it may block while the peer reads
// nothing.
func (c *Conn) Flush() error {
	if err := c.terminal(); err != nil {
		return err
	}
	return c.writeError(context.Background(), c.out.flushAll(context.Background()))
}

// writesTo returns what the frameWriter writes to, and how.
func (c *Conn) writesTo() (*socket, *Config) { return c.socket(), c.cfg }

// writeFailed is told of errors of the network that no writer waits for.
func (c *Conn) writeFailed(err error) { c.fail(err) }

// writeError returns what a write ends with when the frameWriter returned err.
func (c *Conn) writeError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return c.judgeWriteError(ctx, err)
}

// judgeWriteError is writeError when there is an error.
func (c *Conn) judgeWriteError(ctx context.Context, err error) error {
	if end := c.terminal(); end != nil {
		return end
	}
	switch {
	case err == errEnding:
		return c.awaitEnd(caller{ctx: ctx, internal: true})
	case asCloseError(err) != nil:
		c.life.mu.Lock() // under which terminate refuses first
		defer c.life.mu.Unlock()
		return c.refusalError()
	case ctx.Err() != nil && err == ctx.Err():
		return c.contextError(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.out.isAlive():
		return os.ErrDeadlineExceeded
	case !c.out.isAlive():
		return c.fail(err)
	default:
		return err
	}
}
