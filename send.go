package websocket

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"
	"unsafe"

	"github.com/fullduplex-go/websocket/internal/utf8stream"
)

// Errors of callers. Nothing is sent, and the connection lives on.
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

// An outgoing message is about to be sent.
type outgoing struct {
	typ     MessageType
	payload []byte
	shared  *Prepared // the message, if it is one that others send as well
	plain   bool      // it must not be compressed
}

// An encoded message is the frame that it becomes.
type encoded struct {
	first     byte
	payload   []byte
	scratch   *buffer // holds payload, unless that is the application's
	revocable bool    // no later message refers to it
}

// free gives the scratch back.
func (e encoded) free() { e.scratch.free() }

// encode compresses m if that is agreed on and worth it. What is compressed
// enters the compressor's window: it must be appended before any other message
// is encoded. The caller has the sending turn.
func (c *Conn) encode(m outgoing) encoded {
	e := encoded{first: bitFIN | byte(m.typ), payload: m.payload, revocable: true}
	d := c.deflate
	if d == nil || m.plain || len(m.payload) < d.threshold {
		return e
	}
	if m.shared != nil {
		p, smaller := m.shared.deflated(d)
		if !smaller {
			return e
		}
		d.compressor.Remember(m.payload)
		d.sent(len(m.payload), len(p))
		e.payload = p
	} else {
		e.scratch = borrow(len(m.payload))
		if !d.compress(e.scratch, m.payload) {
			return e
		}
		e.payload = e.scratch.b
	}
	e.first |= bitRSV1
	e.revocable = !d.takeover
	return e
}

// Write sends p as one message. It returns when the message is on the network,
// or is held because more input waits. p is not kept and not changed.
func (c *Conn) Write(ctx context.Context, t MessageType, p []byte) error {
	ctx = c.bounding(ctx)
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	if c.deflate != nil {
		return c.writeEncoded(ctx, t, p)
	}
	return c.writeFrame(ctx, bitFIN|byte(t), p)
}

// writeFrame is write for a message that is sent as it is, on little stack: a
// goroutine whose stack has grown keeps it while its connection is idle.
func (c *Conn) writeFrame(ctx context.Context, first byte, p []byte) error {
	if err := c.takeSending(ctx); err != nil {
		return err
	}
	ticket, err := c.out.append(first, p)
	c.sending.give()
	if err == nil {
		if ticket == nil || c.out.writeOwn(ticket) {
			return nil
		}
		err = c.out.flush(ctx, ticket, true)
	}
	return c.writeError(ctx, err)
}

// writeEncoded is write for a message that may be compressed.
//
//go:noinline
func (c *Conn) writeEncoded(ctx context.Context, t MessageType, p []byte) error {
	return c.write(ctx, outgoing{typ: t, payload: p})
}

// WritePlain is Write for a message that must not be compressed, because it has
// a secret beside text that others choose: the length of the two compressed
// together tells about the secret (RFC 7692, Section 8).
func (c *Conn) WritePlain(ctx context.Context, t MessageType, p []byte) error {
	ctx = c.bounding(ctx)
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	return c.write(ctx, outgoing{typ: t, payload: p, plain: true})
}

// write sends a message that may be sent.
func (c *Conn) write(ctx context.Context, m outgoing) error {
	e, ticket, err := c.appendMessage(ctx, m)
	defer e.free()
	if err == nil {
		err = c.out.flush(ctx, ticket, e.revocable)
	}
	return c.writeError(ctx, err)
}

// appendMessage waits for its turn and appends m as one frame, whose ticket
// must be flushed before the frame is freed.
func (c *Conn) appendMessage(ctx context.Context, m outgoing) (encoded, *ticket, error) {
	if err := c.takeSending(ctx); err != nil {
		return encoded{}, nil, err
	}
	defer c.sending.give()
	e := c.encode(m)
	ticket, err := c.out.append(e.first, e.payload)
	return e, ticket, err
}

// WriteString sends s as one text message.
func (c *Conn) WriteString(ctx context.Context, s string) error {
	return c.Write(ctx, Text, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// takeSending waits for the right to append data frames.
func (c *Conn) takeSending(ctx context.Context) error {
	if ctx.Done() != nil {
		if err := c.over(ctx); err != nil {
			return err
		}
	}
	if !c.sending.try() {
		if err := c.awaitTurn(ctx, &c.sending, c.out.guardWrites()); err != nil {
			return err
		}
	}
	if c.queue.Load().waits() {
		if messages, bytes := c.appendQueued(maxBuffered); messages > 0 {
			go c.awaitQueued(messages, bytes)
		}
	}
	return nil
}

// Flush makes held replies leave now. It does not wait for the peer to read
// more than one write does.
func (c *Conn) Flush() error {
	return c.writeError(context.Background(), c.out.flushAll(context.Background()))
}

// A MessageWriter sends one message in fragments. Until it is closed, other
// messages wait. It must be used by one goroutine at a time.
//
// If it fails, or is closed after an error, the message cannot be completed:
// if fragments have left already, the connection ends with CloseInternalError,
// because a shortened message must not look like a whole one.
type MessageWriter struct {
	c       *Conn
	ctx     context.Context
	typ     MessageType
	text    utf8stream.Validator
	pending *buffer // not yet in a frame
	begun   bool    // the first fragment was appended
	err     error   // permanent
}

// fragmentSize is the number of bytes that a MessageWriter collects into a
// fragment.
const fragmentSize = 4 << 10

// Writer begins a message of type t. ctx is for all calls of the writer, which
// must be closed for other messages to go out.
func (c *Conn) Writer(ctx context.Context, t MessageType) (*MessageWriter, error) {
	ctx = c.bounding(ctx)
	if t != Text && t != Binary {
		return nil, errInvalidType
	}
	if err := c.takeSending(ctx); err != nil {
		return nil, err
	}
	if err := c.writable(); err != nil {
		c.sending.give()
		return nil, err
	}
	return &MessageWriter{c: c, ctx: ctx, typ: t}, nil
}

// errWriterClosed answers calls after MessageWriter.Close.
var errWriterClosed = errors.New("websocket: message is already complete")

// Write adds p to the message. It returns when p is collected or on the
// network. p is not kept.
func (w *MessageWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.typ == Text && !w.c.cfg.SkipUTF8Check && !w.text.Accept(p) {
		return 0, w.fail(errInvalidText)
	}
	if w.pending != nil && len(w.pending.b)+len(p) > fragmentSize {
		if err := w.emit(w.pending.b, 0, false); err != nil {
			return 0, err
		}
		w.pending.b = w.pending.b[:0]
	}
	if len(p) >= fragmentSize {
		if err := w.emit(p, 0, false); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	w.pending = w.pending.grown(max(len(p), fragmentSize/4))
	w.pending.b = append(w.pending.b, p...)
	return len(p), nil
}

// WriteString adds s to the message.
func (w *MessageWriter) WriteString(s string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// ReadFrom adds all that r has to the message.
func (w *MessageWriter) ReadFrom(r io.Reader) (read int64, err error) {
	chunk := borrow(4 * fragmentSize)
	defer chunk.free()
	for {
		n, err := r.Read(chunk.b[:cap(chunk.b)])
		read += int64(n)
		if _, err := w.Write(chunk.b[:n]); err != nil {
			return read, err
		}
		if err == io.EOF {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

// Flush sends what was collected as a fragment.
func (w *MessageWriter) Flush() error {
	if w.err != nil {
		return w.err
	}
	if w.pending != nil && len(w.pending.b) > 0 {
		if err := w.emit(w.pending.b, 0, true); err != nil {
			return err
		}
		w.pending.b = w.pending.b[:0]
	}
	return nil
}

// Close sends the last fragment and lets other messages go out.
func (w *MessageWriter) Close() error {
	if w.err != nil {
		if w.err == errWriterClosed {
			return nil
		}
		return w.err
	}
	if w.typ == Text && !w.text.Complete() && !w.c.cfg.SkipUTF8Check {
		return w.fail(errInvalidText)
	}
	var rest []byte
	if w.pending != nil {
		rest = w.pending.b
	}
	if err := w.emit(rest, bitFIN, false); err != nil {
		return err
	}
	w.end(errWriterClosed)
	return nil
}

// emit sends p as the next fragment. With now set it is not held.
func (w *MessageWriter) emit(p []byte, fin byte, now bool) error {
	e := w.encode(p, fin)
	defer e.free()
	ticket, err := w.c.out.append(e.first, e.payload)
	if err == nil {
		w.begun = true
		err = w.c.out.flush(w.ctx, ticket, false)
	}
	if err == nil && now && ticket == nil {
		err = w.c.out.flushAll(w.ctx)
	}
	if err != nil {
		return w.fail(w.c.writeError(w.ctx, err))
	}
	return nil
}

// encode makes p the next fragment. A message that is compressed is so from its
// first fragment on; one that has only one is sent as a message of Write.
func (w *MessageWriter) encode(p []byte, fin byte) encoded {
	if !w.begun && fin != 0 {
		return w.c.encode(outgoing{typ: w.typ, payload: p})
	}
	e := encoded{first: fin | byte(w.typ), payload: p}
	if w.begun {
		e.first = fin | byte(opContinuation)
	}
	d := w.c.deflate
	if d == nil {
		return e
	}
	e.scratch = borrow(len(p))
	if fin != 0 {
		e.scratch.b = d.compressor.AppendLast(e.scratch.b, p)
	} else {
		e.scratch.b = d.compressor.AppendPart(e.scratch.b, p)
	}
	d.sent(len(p), len(e.scratch.b))
	e.payload = e.scratch.b
	if !w.begun {
		e.first |= bitRSV1
	}
	return e
}

// fail gives the message up. What has begun cannot be taken back.
func (w *MessageWriter) fail(err error) error {
	w.end(err)
	if w.begun {
		go w.c.Close(CloseInternalError, "message was not completed")
	}
	return err
}

// end makes err permanent and gives everything back.
func (w *MessageWriter) end(err error) {
	w.err = err
	w.pending.free()
	w.pending = nil
	w.c.sending.give()
}
