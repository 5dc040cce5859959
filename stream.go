package websocket

import (
	"context"
	"errors"
	"io"
	"unsafe"

	"github.com/fullduplex-go/websocket/internal/utf8stream"
)

// A MessageReader reads one message as it arrives. It is valid until the next
// message is read from its Conn, which drops what was not read. It must be used
// by one goroutine at a time.
type MessageReader struct {
	c      *Conn
	ctx    context.Context
	state  *readState // that the message is in; only compared, see read_state.go
	number uint64     // that the message has there
	read   int        // bytes of inbound.partial that were read
	err    error      // permanent: what ended the message; io.EOF at its end
}

// Reader returns the type of the next message and a reader for it. ctx applies
// to all calls of the reader. A message of which an interrupted Read has
// received a part is read from its start. After an error the calls of the reader
// return that error.
func (c *Conn) Reader(ctx context.Context) (MessageType, *MessageReader, error) {
	r := new(MessageReader) // inlined, so that it need not escape
	t, err := r.open(c, ctx)
	return t, r, err
}

// open is Reader for r, which has nothing.
func (r *MessageReader) open(c *Conn, ctx context.Context) (t MessageType, err error) {
	if t, *r, err = c.openReader(c.callContext(ctx), startAtHeader); err != nil {
		r.err = err
	}
	return t, err
}

// A start says when a MessageReader is returned for a message.
type start uint8

const (
	startAtHeader start = iota // when its first header is here
	startAtWhole               // when all of it is here, if it fits in the read buffer
)

// openReader is Reader without the allocation. at says when it returns.
func (c *Conn) openReader(ctx context.Context, at start) (t MessageType, r MessageReader, err error) {
	if err := c.whyNotRead(); err != nil {
		return 0, MessageReader{}, err
	}
	if err := c.beginRead(ctx, nobody); err != nil {
		return 0, MessageReader{}, err
	}
	defer c.unlockReadingAfter(&err)
	by := caller{ctx: ctx}
	if err := c.awaitStart(by, at); err != nil {
		if err == errEnding {
			err = c.awaitEnd(by)
		}
		return 0, MessageReader{}, err
	}
	if left := c.in.msg.partial; left != nil && len(left.b) == 0 {
		c.in.msg.dropPartial()
	}
	c.in.msg.phase = inReader
	r = MessageReader{c: c, ctx: ctx, state: c.in, number: c.in.msg.number}
	t = c.in.msg.typ
	err = r.endIfRead(by)
	return t, r, err
}

// awaitStart waits until a MessageReader can be returned for a message.
func (c *Conn) awaitStart(by caller, at start) error {
	if err := c.dropUnread(by); err != nil {
		return err
	}
	if !c.in.msg.isOpen() {
		if err := c.beginMessage(by); err != nil {
			return err
		}
		if at == startAtWhole && c.fitsInPlace() {
			c.in.msg.phase = inReadBuffer
		}
	}
	if c.in.msg.phase != inReadBuffer {
		return nil
	}
	if at == startAtWhole {
		if err := c.awaitWhole(by); err != nil {
			return err
		}
	}
	c.in.msg.text.Reset()
	return nil
}

// errStaleReader answers reads of a message that was given up.
var errStaleReader = errors.New("websocket: another message was read after this one")

// Read reads up to len(p) bytes of the message. At the end of the message it
// returns io.EOF, and only after every byte of it has arrived and was valid.
func (r *MessageReader) Read(p []byte) (n int, err error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	by, err := r.lock()
	if err != nil {
		return 0, err
	}
	defer r.c.unlockReadingAfter(&err)
	if more, err := r.more(by); !more {
		return 0, err
	}
	if m := &r.c.in.msg; m.partial != nil {
		n = copy(p, m.partial.b[r.read:])
		if r.read += n; r.read == len(m.partial.b) {
			m.dropPartial()
			r.read = 0
		}
	} else if n, err = r.c.readPayload(by, p); err != nil {
		return n, r.keep(err)
	}
	return n, r.endIfRead(by)
}

// endIfRead ends the message if all of it was read, and does not wait for the
// next call: until then others may read on, and find the end of the connection.
// It returns nil at the end of the message, which the next call reports.
func (r *MessageReader) endIfRead(by caller) error {
	c := r.c
	if c.in.msg.partial != nil || !c.isWholeMessageHere() {
		return nil
	}
	if c.in.msg.compressed {
		if more, err := r.inflateMore(by); more || err != io.EOF {
			return err
		}
		return nil
	}
	if err := r.end(); err != io.EOF {
		return err
	}
	return nil
}

// WriteTo writes the rest of the message to w, in pieces as they arrive.
func (r *MessageReader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		n, err := r.writePiece(w)
		written += int64(n)
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

// writePiece writes the next piece to w. Meanwhile the piece is lent, and
// read.lock is not held: w may take its time. If somebody else reads, the
// piece's memory is not used again.
func (r *MessageReader) writePiece(w io.Writer) (int, error) {
	p, err := r.piece()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// piece borrows the next piece of the message.
func (r *MessageReader) piece() (p []byte, err error) {
	if r.err != nil {
		return nil, r.err
	}
	by, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer r.c.unlockReadingAfter(&err)
	if more, err := r.more(by); !more {
		return nil, err
	}
	if m := &r.c.in.msg; m.partial != nil {
		p = m.partial.b[r.read:]
		m.loan.ofPartial, r.read = true, 0
	} else {
		if p, err = r.c.readPiece(by); err != nil {
			return nil, r.keep(err)
		}
		r.c.in.pin()
	}
	r.c.in.msg.loan.to = streaming
	return lent(p), nil
}

// Discard drops the rest of the message, but checks it.
func (r *MessageReader) Discard() (err error) {
	if r.err != nil {
		if r.err == io.EOF {
			return nil
		}
		return r.err
	}
	by, err := r.lock()
	if err != nil {
		return err
	}
	defer r.c.unlockReadingAfter(&err)
	r.read = 0
	if err := r.c.skip(by); err != nil {
		return r.keep(err)
	}
	r.err = io.EOF
	return nil
}

// lock takes read.lock and checks that the message is still there. After
// an error the lock is released.
func (r *MessageReader) lock() (caller, error) {
	c := r.c
	by := caller{ctx: r.ctx}
	if err := c.whyNotRead(); err != nil {
		return by, r.keep(err)
	}
	if err := c.lockReading(r.ctx); err != nil {
		return by, r.keep(err)
	}
	if c.isDeaf() {
		return by, r.discardLocked(by)
	}
	if c.in != r.state || c.in.msg.number != r.number || c.in.msg.phase != inReader {
		r.err = errStaleReader
		c.unlockReading(nil)
		return by, r.err
	}
	if c.in.msg.loan.to != nobody {
		c.endLoan(streaming)
	}
	return by, nil
}

// discardLocked drops everything while the connection is closing, and returns
// the error that ends that. It releases read.lock, which the caller holds, also if
// a hook ends the goroutine.
func (r *MessageReader) discardLocked(by caller) (err error) {
	defer r.c.unlockReadingAfter(&err)
	return r.keep(r.c.discardAll(by))
}

// more makes sure that there are bytes to read: in inbound.partial, or payload
// of the current frame. At the end of the message it ends it and returns
// io.EOF.
func (r *MessageReader) more(by caller) (bool, error) {
	c := r.c
	switch {
	case c.in.msg.partial != nil:
		return true, nil
	case c.in.msg.compressed:
		return r.inflateMore(by)
	}
	for c.in.frame.remaining == 0 {
		if c.in.frame.fin() {
			return false, r.end()
		}
		if err := c.nextFragment(by); err != nil {
			return false, r.keep(err)
		}
	}
	return true, nil
}

// inflateMore is more for a compressed message.
func (r *MessageReader) inflateMore(by caller) (bool, error) {
	m := &r.c.in.msg
	for m.inflation != inflationDone {
		if err := r.c.inflateSome(by, inflateChunk); err != nil {
			m.dropPartial()
			return false, r.keep(err)
		}
		if len(m.partial.b) > 0 {
			return true, nil
		}
	}
	if m.partial != nil {
		m.dropPartial()
	}
	return false, r.end()
}

// end ends the message, of which everything was read, and returns io.EOF.
func (r *MessageReader) end() error {
	if err := r.c.endMessage(); err != nil {
		return r.keep(err)
	}
	r.err = io.EOF
	return io.EOF
}

// keep returns err or, if err is not nil and the connection has ended
// meanwhile, the terminal error, which it makes permanent.
func (r *MessageReader) keep(err error) error {
	if err == errEnding {
		err = r.c.awaitEnd(caller{ctx: r.ctx})
	}
	if end := r.c.terminal(); err != nil && end != nil {
		r.err = end
		return end
	}
	return err
}

// A MessageWriter sends one message in fragments. Until it is closed, other
// messages wait. It must be used by one goroutine at a time.
//
// After a call has failed, the message cannot be completed, and later calls
// return the same error. If fragments have left already, the connection then
// ends with CloseInternalError, because a shortened message must not look like
// a whole one.
type MessageWriter struct {
	c       *Conn
	ctx     context.Context
	typ     MessageType
	plain   bool // it must not be compressed
	text    utf8stream.Validator
	pending *buffer // not yet in a frame
	corked  bool    // a fragment may be held back
	begun   bool    // a fragment was added and not withdrawn
	err     error   // permanent
}

// fragmentSize is the number of bytes that a MessageWriter collects into a
// fragment.
const fragmentSize = 4 << 10

// Writer begins a message of type t. ctx applies to all calls of the writer. If
// the message has a secret, see [Conn.WriterPlain].
//
// Messages do not interleave: until the writer is closed, or one of its calls has
// failed, all other calls that write a message wait, such as Write and a second
// Writer. They wait for ever if the goroutine that is to close the writer makes
// them, or if nobody closes it: that the writer's own ctx has ended does not close
// it. Such a wait ends with the ctx of the call, with the write deadline, or with
// the connection. So begin a message when its content is at hand, close the
// writer on every path, and meanwhile use Send, which queues messages behind this
// one. Ping and Close need not wait. After an error the calls of the writer return
// that error.
//
// To close a writer is to say that the message is whole. A message that cannot be
// completed is given up by ending the connection.
func (c *Conn) Writer(ctx context.Context, t MessageType) (*MessageWriter, error) {
	w := &MessageWriter{ctx: ctx, typ: t} // inlined, so that it need not escape
	return w, w.open(c)
}

// WriterPlain is Writer for a message that must not be compressed, for the reason
// that [Conn.WritePlain] gives.
func (c *Conn) WriterPlain(ctx context.Context, t MessageType) (*MessageWriter, error) {
	w := &MessageWriter{ctx: ctx, typ: t, plain: true}
	return w, w.open(c)
}

// open is Writer for w, which has all but the Conn.
func (w *MessageWriter) open(c *Conn) error {
	w.c, w.ctx = c, c.callContext(w.ctx)
	if w.typ != Text && w.typ != Binary {
		w.err = errInvalidType
		return w.err
	}
	if w.err = c.lockSending(w.ctx); w.err != nil {
		return w.err
	}
	if w.err = c.refusalError(); w.err != nil {
		c.send.lock.unlock()
	}
	return w.err
}

// errWriterClosed answers calls after MessageWriter.Close.
var errWriterClosed = errors.New("websocket: message is already complete")

// Write adds p to the message. It returns when p is collected, handed to the
// network, or held like a reply. p is neither retained nor changed.
func (w *MessageWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.typ == Text && !w.c.cfg.SkipUTF8Check && !w.text.Accept(p) {
		return 0, w.giveUp(errInvalidText)
	}
	if w.pending != nil && len(w.pending.b)+len(p) > fragmentSize {
		if err := w.emit(w.pending.b, 0); err != nil {
			return 0, err
		}
		w.pending.b = w.pending.b[:0]
	}
	if len(p) >= fragmentSize {
		if err := w.emit(p, 0); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	w.pending = w.pending.grow(max(len(p), fragmentSize/4))
	w.pending.b = append(w.pending.b, p...)
	return len(p), nil
}

// WriteString adds s to the message.
func (w *MessageWriter) WriteString(s string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// ReadFrom adds all that r has to the message, and does not close it. An error
// of r leaves the message open.
func (w *MessageWriter) ReadFrom(r io.Reader) (read int64, err error) {
	chunk := acquireBuffer(4 * fragmentSize)
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
	w.c.out.cork.on.Store(false)
	if w.pending != nil && len(w.pending.b) > 0 {
		if err := w.emit(w.pending.b, 0); err != nil {
			return err
		}
		w.pending.b = w.pending.b[:0]
	}
	if w.corked {
		if err := w.c.out.flushAll(w.ctx); err != nil {
			return w.giveUp(w.c.writeError(w.ctx, err))
		}
		w.corked = false
	}
	return nil
}

// Close sends the last fragment and lets other messages be sent. Calls after
// the first return nil, or the error of the call that failed.
func (w *MessageWriter) Close() error {
	if w.err != nil {
		if w.err == errWriterClosed {
			return nil
		}
		return w.err
	}
	if w.typ == Text && !w.text.Complete() && !w.c.cfg.SkipUTF8Check {
		return w.giveUp(errInvalidText)
	}
	var rest []byte
	if w.pending != nil {
		rest = w.pending.b
	}
	if err := w.emit(rest, bitFIN); err != nil {
		return err
	}
	w.end(errWriterClosed)
	return nil
}

// emit sends p as the next fragment, which is the last one if fin is bitFIN and
// not 0. Afterwards w.corked is set if the fragment is held back.
func (w *MessageWriter) emit(p []byte, fin byte) error {
	e := w.encode(p, fin)
	defer e.free()
	ticket, err := w.c.out.addData(e.byte0, e.payload)
	if err == nil {
		f := orWithdraw
		if w.begun {
			f = orLeave
		}
		var withdrawn bool
		withdrawn, err = w.c.out.flush(w.ctx, ticket, f)
		if withdrawn && e.byte0&bitRSV1 != 0 {
			w.c.deflate.countWithdrawn(len(p), len(e.payload))
		}
		w.begun = w.begun || !withdrawn
	}
	if err != nil {
		return w.giveUp(w.c.writeError(w.ctx, err))
	}
	w.corked = w.corked || ticket == nil
	return nil
}

// encode makes p the next fragment. A message is compressed from its first
// fragment on, or is plain to the end; one that has only one fragment is sent as
// a message of Write or WritePlain.
func (w *MessageWriter) encode(p []byte, fin byte) encoded {
	if !w.begun && fin != 0 {
		return w.c.encode(outgoing{typ: w.typ, payload: p, plain: w.plain})
	}
	e := encoded{byte0: fin | byte(w.typ), payload: p}
	if w.begun {
		e.byte0 = fin | byte(opContinuation)
	}
	d := w.c.deflate
	if d == nil || w.plain {
		return e
	}
	if !w.begun {
		w.c.forgetDoubtful()
	}
	e.scratch = acquireBuffer(len(p))
	if fin != 0 {
		e.scratch.b = d.compressor.AppendLast(e.scratch.b, p)
	} else {
		e.scratch.b = d.compressor.AppendPart(e.scratch.b, p)
	}
	d.countSent(len(p), len(e.scratch.b))
	e.payload = e.scratch.b
	if !w.begun {
		e.byte0 |= bitRSV1
	}
	return e
}

// giveUp gives up the message, and makes err permanent and returns it. If a
// fragment was not withdrawn, it ends the connection, or leaves that to whoever
// has closed before: after SendClose, what comes must not be dropped.
func (w *MessageWriter) giveUp(err error) error {
	const reason = "message was not completed"
	if w.begun && mayClose(w.c.socket().Conn, CloseInternalError) == nil {
		first := w.c.refuseWrites(CloseInternalError, reason, nil)
		w.c.queueClose(CloseInternalError, reason, nil) // before others get send.lock
		if first {
			go w.c.close(CloseInternalError, reason, nil)
		}
	}
	if d := w.c.deflate; d != nil {
		d.compressor.Drop()
	}
	w.end(err)
	return err
}

// end makes err permanent, frees the buffer and releases send.lock.
func (w *MessageWriter) end(err error) {
	w.err = err
	w.pending.free()
	w.pending = nil
	w.c.send.lock.unlock()
}
