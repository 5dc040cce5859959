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

// Write sends p as one message. It returns when the message is on the network,
// or is held because more input waits. p is not kept and not changed.
func (c *Conn) Write(ctx context.Context, t MessageType, p []byte) error {
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	return c.writeChecked(ctx, t, p)
}

// writeChecked is Write for what may be sent.
func (c *Conn) writeChecked(ctx context.Context, t MessageType, p []byte) error {
	if err := c.takeSending(ctx); err != nil {
		return err
	}
	ticket, revocable, err := c.appendMessage(t, p)
	c.sending.give()
	if err != nil {
		return c.writeError(ctx, err)
	}
	return c.writeError(ctx, c.out.flush(ctx, ticket, revocable))
}

// WriteString sends s as one text message.
func (c *Conn) WriteString(ctx context.Context, s string) error {
	return c.Write(ctx, Text, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// takeSending waits for the right to append data frames.
func (c *Conn) takeSending(ctx context.Context) error {
	if ctx.Done() != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if !c.sending.try() {
		if err := c.awaitTurn(ctx, &c.sending, &c.out.guard); err != nil {
			return err
		}
	}
	if c.queue.waits() {
		c.queue.left(c.appendQueued(maxBuffered))
	}
	return nil
}

// appendMessage appends p as one frame. The caller has the sending turn. The
// ticket is for frameWriter.flush, and so is revocable.
func (c *Conn) appendMessage(t MessageType, p []byte) (ticket *ticket, revocable bool, err error) {
	ticket, err = c.out.append(bitFIN|byte(t), p)
	return ticket, true, err
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
	first := fin | byte(w.typ)
	if w.begun {
		first = fin | byte(opContinuation)
	}
	ticket, err := w.c.out.append(first, p)
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
