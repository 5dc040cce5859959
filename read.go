package websocket

import (
	"context"
	"iter"
	"math"
	"unicode/utf8"
)

// A Message is a whole message that a Conn lends: Data is valid until the next
// read from the connection, and may be changed until then.
type Message struct {
	Type MessageType
	Data []byte
}

// Clone returns a copy of m that remains valid.
func (m Message) Clone() Message {
	return Message{Type: m.Type, Data: append([]byte(nil), m.Data...)}
}

// A placement says where a whole message goes.
type placement uint8

const (
	placeNew    placement = iota // into a new slice
	placeAppend                  // appended to the caller's slice
	placeLend                    // where it is, until the next read
)

// readMessage returns a whole message. The caller holds read.lock, and if the
// message is lent calls lendTo before it releases that.
func (c *Conn) readMessage(by caller, where placement, dst []byte) (MessageType, []byte, error) {
	if err := c.dropUnread(by); err != nil {
		return 0, nil, err
	}
	if !c.in.msg.isOpen() {
		if err := c.beginMessage(by); err != nil {
			return 0, nil, err
		}
		if c.fitsInPlace() {
			c.in.msg.phase = inReadBuffer
		}
	}
	if c.in.msg.phase == inReadBuffer {
		if err := c.awaitWhole(by); err != nil {
			return 0, nil, err
		}
		if c.in.msg.compressed {
			return c.takeInflated(where, dst)
		}
		return c.takeWhole(where, dst)
	}
	if c.in.msg.compressed {
		return c.inflateParts(by, where, dst)
	}
	return c.assemble(by, where, dst)
}

// dropUnread drops what a MessageReader left of a message. While the connection
// is closing it drops everything, and returns when that fails.
func (c *Conn) dropUnread(by caller) error {
	if c.isDeaf() {
		return c.discardAll(by)
	}
	if c.reading().msg.phase == inReader {
		c.in.msg.number++ // if skip is interrupted, its reader must not go on behind the gap
		return c.skip(by)
	}
	return nil
}

// fitsInPlace reports whether the message that was begun is to be received in
// the read buffer: it has one frame, which is there or fits in a buffer.
func (c *Conn) fitsInPlace() bool {
	return c.in.frame.fin() &&
		c.in.frame.remaining <= int64(max(len(c.in.unread()), c.in.bufferSize()))
}

// awaitWhole waits until the whole message lies in the read buffer. Text is
// checked as it comes.
func (c *Conn) awaitWhole(by caller) error {
	for int64(len(c.in.unread())) < c.in.frame.remaining {
		if p := c.in.unmaskPayload(); !c.acceptText(p) {
			return c.failProtocol(textNotUTF8)
		}
		if _, err := c.awaitInput(by, nil); err != nil {
			return err
		}
	}
	if c.in.frame.unmasked > 0 {
		if p := c.in.unmaskPayload(); !c.acceptText(p) {
			return c.failProtocol(textNotUTF8)
		}
	}
	return nil
}

// acceptText reports whether p, the next payload as it came, may be part of the
// message. Text that is compressed is checked after inflation.
func (c *Conn) acceptText(p []byte) bool {
	return !c.in.msg.checked || c.in.msg.compressed || c.in.msg.text.Accept(p)
}

// takeWhole returns a message that lies in the read buffer.
func (c *Conn) takeWhole(where placement, dst []byte) (MessageType, []byte, error) {
	fresh := c.in.frame.unmasked == 0
	p := c.in.takePayload()
	if c.in.msg.checked && fresh && !utf8.Valid(p) {
		return 0, nil, c.failProtocol(textNotUTF8)
	}
	if where == placeLend {
		c.in.pin()
		p = lent(p)
	} else {
		p = append(dst, p...)
	}
	if err := c.endMessage(); err != nil {
		return 0, nil, err
	}
	return c.in.msg.typ, p, nil
}

// lent returns p without the capacity behind it, which is not lent.
func lent(p []byte) []byte { return p[:len(p):len(p)] }

// takeInflated inflates a compressed message that lies in the read buffer, and
// returns it.
func (c *Conn) takeInflated(where placement, dst []byte) (MessageType, []byte, error) {
	p := c.in.takePayload()
	var scratch *buffer
	if where != placeAppend {
		scratch = acquireBuffer(max(c.deflate.expectedSize(len(p), c.in.rules.maxSize), firstBuffer))
		dst = scratch.b
	}
	out, v := c.deflate.inflateWhole(dst, p, c.in.rules.maxSize)
	if v == noViolation && c.in.msg.checked && !utf8.Valid(out[len(dst):]) {
		v = textNotUTF8
	}
	if v != noViolation {
		return 0, nil, c.failProtocol(v)
	}
	if scratch != nil {
		scratch.b = out
		out = c.place(scratch, where, []byte{})
	}
	return c.in.msg.typ, out, c.endMessage()
}

// place puts a message that lies in scratch, which it takes over, where it is
// to go, and returns it.
func (c *Conn) place(scratch *buffer, where placement, dst []byte) []byte {
	if where == placeLend {
		c.in.msg.partial, c.in.msg.loan.ofPartial = scratch, true
		return lent(scratch.b)
	}
	p := append(dst, scratch.b...)
	scratch.free()
	return p
}

// inflateParts inflates a compressed message as its parts come, and returns it.
// If it is interrupted, what has come is kept for the next call.
func (c *Conn) inflateParts(by caller, where placement, dst []byte) (MessageType, []byte, error) {
	m := &c.in.msg
	for m.inflation != inflationDone {
		if err := c.inflateSome(by, c.in.rules.maxSize); err != nil {
			return 0, nil, err
		}
	}
	if err := c.endMessage(); err != nil {
		return 0, nil, err
	}
	scratch := m.partial
	m.partial = nil
	return m.typ, c.place(scratch, where, dst), nil
}

// inflateSome appends to partial up to room bytes of what a compressed message
// inflates to, waiting if no input is here. At the end it sets inflation to
// inflationDone.
func (c *Conn) inflateSome(by caller, room int64) error {
	m := &c.in.msg
	if m.partial == nil {
		m.partial = acquireBuffer(firstBuffer)
	}
	room = min(room, c.in.rules.maxSize-m.size)
	before := len(m.partial.b)
	v, err := c.inflateStep(by, room)
	if err != nil {
		return err
	}
	fresh := m.partial.b[before:]
	m.size += int64(len(fresh))
	switch {
	case v != noViolation:
	case m.inflation == inflationFull && m.size == c.in.rules.maxSize:
		v = messageTooBig
	case m.checked && !m.text.Accept(fresh):
		v = textNotUTF8
	}
	if v != noViolation {
		return c.failProtocol(v)
	}
	return nil
}

// inflateStep inflates what the read buffer has of the current frame, or goes
// on to the next frame, or ends the message.
func (c *Conn) inflateStep(by caller, room int64) (v violation, err error) {
	m := &c.in.msg
	hungry := m.inflation == inflationHungry
	if hungry && c.in.frame.remaining == 0 {
		if !c.in.frame.fin() {
			return noViolation, c.nextFragment(by)
		}
		m.partial.b, m.inflation, v = c.deflate.inflateEnd(m.partial.b, room)
		if m.inflation == inflationHungry {
			m.inflation = inflationDone
		}
		return v, nil
	}
	if hungry && len(c.in.unread()) == 0 {
		if _, err := c.awaitInput(by, nil); err != nil {
			return noViolation, err
		}
	}
	c.in.unmaskPayload()
	part := c.in.unread()[:c.in.frame.unmasked]
	m.partial = m.partial.grow(c.deflate.expectedSize(len(part), room))
	var used int
	m.partial.b, used, m.inflation, v = c.deflate.inflatePart(m.partial.b, part, room)
	c.in.discardPayload(used)
	return v, nil
}

// assemble receives a message in parts and returns it. If it is interrupted,
// what has come is kept for the next call.
func (c *Conn) assemble(by caller, where placement, dst []byte) (MessageType, []byte, error) {
	m := &c.in.msg
	a := assembly{conn: c, by: by}
	if where == placeAppend && m.partial == nil {
		a.direct = dst
	} else {
		a.scratch = m.partial
	}
	m.partial = nil
	err := a.run()
	if err == nil {
		err = c.endMessage()
	}
	if err != nil {
		if m.partial = a.rest(); err == errNoInput {
			m.trim()
		}
		return 0, nil, err
	}
	if a.scratch == nil {
		return m.typ, a.direct, nil
	}
	c.read.noteSize(len(a.scratch.b))
	return m.typ, c.place(a.scratch, where, dst), nil
}

// An assembly puts the parts of a message together: in the caller's slice as
// long as they fit there, otherwise in a buffer, which grows with what has
// arrived and not with what was announced.
type assembly struct {
	conn    *Conn
	by      caller
	direct  []byte
	scratch *buffer
}

// run receives the message to its end.
func (a *assembly) run() error {
	for {
		if err := a.readFrame(); err != nil {
			return err
		}
		if a.conn.in.frame.fin() {
			return nil
		}
		if err := a.conn.nextFragment(a.by); err != nil {
			return err
		}
	}
}

// readFrame receives what is left of the current frame.
func (a *assembly) readFrame() error {
	c := a.conn
	for c.in.frame.remaining > 0 {
		room := a.room()
		n, err := c.readPayload(a.by, room)
		a.extend(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// room returns memory for the next bytes.
func (a *assembly) room() []byte {
	left := a.conn.in.frame.remaining
	if a.scratch == nil {
		if free := cap(a.direct) - len(a.direct); free > 0 && int64(free) >= min(left, firstBuffer) {
			return a.direct[len(a.direct):cap(a.direct)]
		}
		a.scratch = acquireBuffer(len(a.direct) + a.growBy(left))
		a.scratch.b = append(a.scratch.b, a.direct...)
	}
	if len(a.scratch.b) == cap(a.scratch.b) {
		a.scratch = a.scratch.grow(a.growBy(left))
	}
	return a.scratch.b[len(a.scratch.b):cap(a.scratch.b)]
}

// Sizes in bytes of what is acquired before bytes have arrived for it: at least
// firstBuffer, and at most maxLeap until as much has arrived.
const (
	firstBuffer = 4 << 10
	maxLeap     = 64 << 10
)

// usualSize returns about how many bytes the largest of the recent messages has
// that came in parts, or a little more.
func (r *readSide) usualSize() int { return int(r.usual) * firstBuffer }

// noteSize records that a message of n bytes has come in parts.
func (r *readSide) noteSize(n int) {
	size, usual := (n+firstBuffer-1)/firstBuffer, int(r.usual)
	r.usual = uint16(min(max(size, usual-(usual+7)/8), math.MaxUint16))
}

// growBy returns by how many bytes the memory grows: by as many as have
// arrived, or more where messages of this connection are usually larger: up to
// maxLeap, and to the usual size once maxLeap bytes have arrived. left is how
// many the frame still has.
func (a *assembly) growBy(left int64) int {
	arrived := 0
	if a.scratch != nil {
		arrived = len(a.scratch.b)
	}
	step := max(arrived, firstBuffer)
	if usual := a.conn.read.usualSize(); usual > firstBuffer {
		step = max(step, min(usual, maxLeap))
		if arrived >= maxLeap {
			step = max(step, usual-arrived)
		}
	}
	return int(min(int64(step), left))
}

// extend records n bytes that were read into room.
func (a *assembly) extend(n int) {
	if a.scratch == nil {
		a.direct = a.direct[:len(a.direct)+n]
	} else {
		a.scratch.b = a.scratch.b[:len(a.scratch.b)+n]
	}
}

// rest returns what has arrived, in memory that is not the caller's, for
// another call.
func (a *assembly) rest() *buffer {
	if a.scratch == nil && len(a.direct) > 0 {
		a.scratch = acquireBuffer(len(a.direct))
		a.scratch.b = append(a.scratch.b, a.direct...)
	}
	return a.scratch
}

// readPayload moves payload of the current frame to p, waiting if none is here,
// and checks it if it is text. A p smaller than a buffer is filled by way of
// the buffer, because what follows the payload may come with it.
func (c *Conn) readPayload(by caller, p []byte) (int, error) {
	p = p[:min(int64(len(p)), c.in.frame.remaining)]
	if len(c.in.unread()) == 0 && len(p) < c.in.bufferSize() {
		if _, err := c.awaitInput(by, nil); err != nil {
			return 0, err
		}
	}
	n := c.in.copyPayload(p)
	if n == 0 {
		var err error
		if n, err = c.awaitInput(by, p); err != nil {
			return 0, err
		}
	}
	if !c.acceptText(p[:n]) {
		return n, c.failProtocol(textNotUTF8)
	}
	return n, nil
}

// isWholeMessageHere reports whether all payload of the open message was taken
// from its frames. If it is compressed, there may be more to inflate.
func (c *Conn) isWholeMessageHere() bool {
	return c.in.frame.fin() && !c.in.frame.ready && c.in.frame.remaining == 0
}

// skip drops what is left of the message, but checks it.
func (c *Conn) skip(by caller) error {
	c.in.msg.dropPartial()
	if c.in.msg.compressed {
		return c.skipInflated(by)
	}
	for {
		for c.in.frame.remaining > 0 {
			if _, err := c.readPiece(by); err != nil {
				return err
			}
		}
		if c.in.frame.fin() {
			return c.endMessage()
		}
		if err := c.nextFragment(by); err != nil {
			return err
		}
	}
}

// skipInflated is skip for a compressed message, which is inflated because
// later ones may refer to it.
func (c *Conn) skipInflated(by caller) error {
	defer c.in.msg.dropPartial()
	for c.in.msg.inflation != inflationDone {
		if err := c.inflateSome(by, inflateChunk); err != nil {
			return err
		}
		c.in.msg.partial.b = c.in.msg.partial.b[:0]
	}
	return c.endMessage()
}

// inflateChunk is the number of bytes to which a streamed message is inflated
// at a time.
const inflateChunk = 16 << 10

// readPiece returns the payload of the current frame that is in the read
// buffer, waiting if there is none. It is valid until the next read.
func (c *Conn) readPiece(by caller) ([]byte, error) {
	if len(c.in.unread()) == 0 {
		if _, err := c.awaitInput(by, nil); err != nil {
			return nil, err
		}
	}
	p := c.in.takePayload()
	if !c.acceptText(p) {
		return nil, c.failProtocol(textNotUTF8)
	}
	return p, nil
}

// Read returns the next message in a new slice.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	ctx = c.callContext(ctx)
	if err := c.whyNotRead(); err != nil {
		return 0, nil, err
	}
	if err := c.awaitMessage(ctx, nobody); err != nil {
		return 0, nil, err
	}
	return c.takeMessage(ctx, placeNew, nil, nil)
}

// ReadInto returns the next message, appended to buf[:0]. If buf is too small
// the result is a new slice. After an error the content of buf is undefined.
func (c *Conn) ReadInto(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	ctx = c.callContext(ctx)
	if err := c.whyNotRead(); err != nil {
		return 0, nil, err
	}
	if err := c.awaitMessage(ctx, nobody); err != nil {
		return 0, nil, err
	}
	return c.takeMessage(ctx, placeAppend, buf[:0], nil)
}

// Messages returns an iterator over the messages as they come. They are lent: a
// message belongs to the loop until it asks for the next one, even if others
// read meanwhile. The loop ends quietly when the peer closed with CloseNormal,
// CloseGoingAway or without a code; otherwise the last iteration yields the
// error. If that is the context's or os.ErrDeadlineExceeded, another loop can
// continue.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	ctx = c.callContext(ctx)
	return func(yield func(Message, error) bool) {
		var loop borrower
		for {
			t, p, err := c.borrowMessage(ctx, &loop)
			if err != nil {
				if !endedQuietly(err) {
					yield(Message{}, err)
				}
				break
			}
			if !yield(Message{t, p}, nil) {
				break
			}
		}
		c.out.flushNow()
	}
}

// borrowMessage returns the next message, lent to a borrower.
func (c *Conn) borrowMessage(ctx context.Context, to *borrower) (MessageType, []byte, error) {
	if err := c.whyNotRead(); err != nil {
		return 0, nil, err
	}
	if err := c.awaitMessage(ctx, *to); err != nil {
		return 0, nil, err
	}
	return c.takeMessage(ctx, placeLend, nil, to)
}

// lendTo makes a loop the borrower of what was lent. The caller holds read.lock,
// and has held it since.
func (c *Conn) lendTo(to *borrower) {
	if *to == nobody {
		*to = firstLoop + borrower(loops.Add(1))
	}
	c.in.msg.loan.to = *to
}

// takeMessage returns the message that awaitMessage waited for, and unlocks
// reading. to is the loop that borrows the message, or nil if it is not lent.
func (c *Conn) takeMessage(ctx context.Context, where placement, dst []byte, to *borrower) (t MessageType, p []byte, err error) {
	defer c.unlockReadingAfter(&err)
	t, p, err = c.readMessage(caller{ctx: ctx}, where, dst)
	switch {
	case err == errEnding:
		err = c.awaitEnd(caller{ctx: ctx})
	case err == nil && to != nil:
		c.lendTo(to)
	}
	return t, p, err
}

// endedQuietly reports whether err is an end by a Close frame of the peer that
// says that nothing is wrong.
func endedQuietly(err error) bool {
	end := asCloseError(err)
	if end == nil || !end.Received {
		return false
	}
	return end.Code == CloseNormal || end.Code == CloseGoingAway || end.Code == CloseNoStatus
}
