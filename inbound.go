package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket/internal/utf8stream"
)

// This file receives messages: it takes frames from the frameReader, handles
// control frames, and waits for the peer. What becomes of the payload is in
// read.go (whole messages) and stream.go (MessageReader).
//
//	read.lock     beginRead, or awaitMessage ───────────────► unlockReading
//	  held by     Read, ReadInto, Messages, MessageReader, the background
//	  one of      reader, or Close, which discards
//
//	                   beginMessage
//	betweenMessages ──────────────────► inReadBuffer, inParts or inReader
//	       ▲                                      │  nextFragment
//	       └──────────────────────────────────────┘
//	                    endMessage
//
//	nextDataFrame ──► nextFrame ──► data frame: taken up by beginMessage, nextFragment
//	      ▲              │ └──────► control frame: handleControl
//	      │              ▼              Ping: addControl(Pong) · Pong: handlePong
//	      └───────── awaitInput         Close: handleClose, then conclude
//	           beforeWait, fill, afterWait
//
// Everything that can be interrupted leaves the state as it is: the next call,
// from whatever goroutine and of whatever kind, continues from there. When
// read.lock is released, and Conn.in is not nil (see read_state.go),
//
//	phase == betweenMessages  ⇒  frame.remaining == 0 or frame.ready,
//	                             and partial is nil or lent
//	phase == inReadBuffer     ⇒  frame.fin(), and remaining is the whole payload
//
// Reading never waits for writing: what it causes to be sent leaves by flushNow
// (TestReadingCannotWaitForWriting).

// inbound is the message that is being received. It belongs to the connection
// and not to a call, so that a read that was interrupted can go on.
type inbound struct {
	phase      phase
	inflation  inflation
	typ        MessageType
	checked    bool // it is text, and is to be UTF-8
	compressed bool // by permessage-deflate
	text       utf8stream.Validator
	loan       loan
	number     uint64 // counts messages, to tell a stale MessageReader; never reset
	size       int64  // bytes after inflation

	partial *buffer // what has come and is not handed on, or what is lent; or nil
}

// A phase is how far the message has been received.
type phase uint8

const (
	betweenMessages phase = iota
	inReadBuffer          // it is awaited in the read buffer, whole
	inParts               // it is assembled, or inflated, from what has come
	inReader              // a MessageReader reads it
)

// isOpen reports whether a message has begun and not ended.
func (m *inbound) isOpen() bool { return m.phase != betweenMessages }

// A borrower is a loop or a MessageReader to which messages are lent. What it
// borrowed stays its own until it asks for more, even if others read meanwhile.
// A loop has a number of its own in the program.
type borrower uint64

// Borrowers that are not loops.
const (
	nobody    borrower = iota // borrows nothing: what others borrowed is left to them
	streaming                 // the last MessageReader: what it has is left to it before there is another
	firstLoop
)

// loops is how many loops have borrowed anything.
var loops atomic.Uint64

// A loan is what is known of the message, or piece, that was lent last.
type loan struct {
	to        borrower // or nobody
	ofPartial bool     // it is inbound.partial
}

// dropPartial frees partial.
func (m *inbound) dropPartial() {
	m.partial.free()
	m.partial, m.loan.ofPartial = nil, false
}

// disown leaves partial to its borrower, if it has one.
func (m *inbound) disown() {
	if m.loan.ofPartial {
		m.partial, m.loan.ofPartial = nil, false
	}
}

// trim parts with memory of partial that is not in use, if it is not lent.
func (m *inbound) trim() {
	if !m.loan.ofPartial {
		m.partial = m.partial.trim(0)
	}
}

// takeBack frees partial if it was lent.
func (m *inbound) takeBack() {
	if m.loan.ofPartial {
		m.dropPartial()
	}
}

// A caller says on whose behalf the connection is read.
type caller struct {
	ctx      context.Context
	internal bool // the connection's: makes way for the application, ignores its deadline
	closing  bool // it is internal, and drops messages for Close; others that are internal make way for it
	dropping bool // it is internal, and drops messages already, as all have to after CloseRead
	polled   bool // it reads a raw socket, and instead of waiting gets errNoInput
	edges    bool // it is polled, and told of all that comes after a read that has not filled its room
}

// errNoInput tells a caller that is polled to come again when more has arrived.
// The next read goes on where this one stopped. It never leaves the package.
var errNoInput = errors.New("websocket: nothing to read has arrived")

// beginRead locks reading for reader, which may be nobody, and ends the loan of
// the last message. After it has returned nil, unlockReading must be called.
func (c *Conn) beginRead(ctx context.Context, reader borrower) error {
	err := c.lockReading(ctx)
	if err == nil && c.in != nil && c.in.msg.loan.to != nobody {
		c.endLoan(reader)
	}
	return err
}

// lockReading takes read.lock for the application. After an error, which may be
// the terminal one, it does not hold the lock.
func (c *Conn) lockReading(ctx context.Context) error {
	if ctx.Done() != nil {
		if err := c.contextError(ctx); err != nil {
			return err
		}
	}
	if !c.read.lock.tryLock() {
		if err := c.awaitReadLock(ctx); err != nil {
			return err
		}
	}
	if c.life.ending() != nil {
		err := c.awaitEnd(caller{ctx: ctx})
		c.unlockReading(err)
		return err
	}
	if c.isReadClosed() { // meanwhile: messages may have been dropped
		err := c.whyNotRead()
		c.unlockReading(err)
		return err
	}
	if c.keepalive.flags.has(dataPending) {
		c.keepalive.flags.clear(dataPending)
	}
	return nil
}

// awaitReadLock waits for read.lock. An internal reader is asked to leave it.
func (c *Conn) awaitReadLock(ctx context.Context) error {
	d := c.readDeadlines()
	if err := c.terminal(); err != nil {
		return err
	}
	if d.expired() {
		return os.ErrDeadlineExceeded
	}
	err := c.queueForReadLock(ctx, d)
	if err != nil {
		c.giveUpReading()
	}
	return err
}

// queueForReadLock waits for read.lock as one that readerWaits reports, and no
// longer, even if code of the user's ends the goroutine meanwhile.
func (c *Conn) queueForReadLock(ctx context.Context, d *deadlines) error {
	c.read.waiting.Add(1)
	defer c.read.waiting.Add(-1)
	d.preempt()
	return c.awaitLock(ctx, &c.read.lock, d)
}

// giveUpReading is called after waiting for read.lock in vain. The lock may
// have been the caller's for a moment, so it does what unlockReading would.
func (c *Conn) giveUpReading() {
	switch {
	case c.life.closingTransport.Load():
		c.releaseReading()
	case c.isParked():
		c.resumeDelivery()
	default:
		c.ensureReading(atOnce)
	}
}

// readDeadlines returns the deadlines of reads.
func (c *Conn) readDeadlines() *deadlines { return c.read.deadlines.ensure(c.socket(), forReading) }

// readerWaits reports whether the application waits for read.lock.
func (c *Conn) readerWaits() bool { return c.read.waiting.Load() > 0 }

// unlockReading releases read.lock after a call that ended with err, and makes
// sure that somebody reads on. While the connection lives, nobody but the
// background reader releases the lock in another way.
func (c *Conn) unlockReading(err error) {
	c.read.lock.unlock()
	switch {
	case c.life.closingTransport.Load():
		c.releaseReading()
	case c.isParked():
		c.resumeDelivery()
	case err != nil && err != io.EOF:
		c.ensureReading(atOnce)
	default:
		c.ensureReading(later)
	}
}

// unlockReadingAfter is unlockReading, to be deferred.
func (c *Conn) unlockReadingAfter(err *error) { c.unlockReading(*err) }

// endLoan ends the loan of the last message, now that reader reads. Its memory
// is used again if reader borrowed it; otherwise it is left to the borrower,
// which may still use it. The caller holds read.lock.
func (c *Conn) endLoan(reader borrower) {
	if c.in.msg.loan.to == reader {
		c.in.unpin()
		c.in.msg.takeBack()
	} else {
		c.in.disown()
		c.in.msg.disown()
	}
	c.in.msg.loan.to = nobody
}

// nextDataFrame reads until the header of a data frame is here. Control frames
// on the way are handled, which may cause writing; readControlFrame does the
// same for the background reader. For Close, and once that has dropped some, data
// is discarded until the peer's Close frame arrives. The caller has called
// reading.
func (c *Conn) nextDataFrame(by caller) error {
	for !c.in.frame.ready {
		if !c.in.rules.inside {
			c.in.rules.maxSize = c.maxMessageSize()
		}
		h, payload, ok, v := c.in.nextFrame()
		switch {
		case v != noViolation:
			return c.failProtocol(v)
		case !ok:
			if _, err := c.awaitInput(by, nil); err != nil {
				return err
			}
			continue
		}
		c.countFrame(h)
		if h.opcode().isControl() {
			if err := c.handleControl(by, h.opcode(), payload); err != nil {
				return err
			}
		} else if by.closing || c.isDeaf() {
			c.goDeaf()
			if err := c.discardFrame(by); err != nil {
				return err
			}
		}
	}
	c.flushPong()
	return nil
}

// flushPong lets the Pongs leave that handleControl has added, if there are
// any.
func (c *Conn) flushPong() {
	if c.in.pongPending {
		c.in.pongPending = false
		c.out.flushNow()
	}
}

// handleControl does what a control frame asks for. After a Close frame it
// returns what handleClose does.
func (c *Conn) handleControl(by caller, op opcode, payload []byte) error {
	switch op {
	case opPing:
		if c.answersPing(by, payload) && c.out.addControl(opPong, payload) == nil {
			c.in.pongPending = true
		}
	case opPong:
		c.handlePong(payload)
		c.notifyPong(by, payload)
	case opClose:
		return c.handleClose(by, payload)
	}
	return nil
}

// discardFrame reads and drops the payload of the current frame.
func (c *Conn) discardFrame(by caller) error {
	for c.in.frame.remaining > 0 {
		if len(c.in.takePayload()) > 0 {
			continue
		}
		if _, err := c.awaitInput(by, nil); err != nil {
			return err
		}
	}
	c.in.frame.ready = false
	return nil
}

// beginMessage takes up the next message. There must be none.
func (c *Conn) beginMessage(by caller) error {
	if err := c.nextDataFrame(by); err != nil {
		return err
	}
	m := &c.in.msg
	m.phase = inParts
	m.number++
	m.typ = MessageType(c.in.frame.opcode())
	m.checked = m.typ == Text && !c.cfg.SkipUTF8Check
	m.text.Reset()
	m.compressed, m.inflation, m.size = c.in.rules.compressed, inflationHungry, 0
	c.in.frame.ready = false
	return nil
}

// nextFragment takes up the next frame of the message.
func (c *Conn) nextFragment(by caller) error {
	if err := c.nextDataFrame(by); err != nil {
		return err
	}
	c.in.frame.ready = false
	return nil
}

// endMessage ends the message that was received, and decides whether its reply
// is corked: only if the next message is here. If the end of that is missing,
// awaitInput looks for it before it waits.
func (c *Conn) endMessage() error {
	m := &c.in.msg
	if m.checked && !m.text.Complete() {
		return c.failProtocol(textNotUTF8)
	}
	m.phase = betweenMessages
	c.in.yieldFirst = true
	c.read.counters.messagesIn.Add(1)
	c.noteMessage()
	if more := c.in.startsWithMessage(); more != c.out.cork.on.Load() {
		c.out.cork.on.Store(more)
	}
	return nil
}

// awaitInput waits for bytes from the network, into target or, if that is nil,
// into the read buffer, and returns how many went to target. It is where a
// connection waits for its peer to send (awaitMessage is its twin, and
// readAhead and proveDeadlines wait for the background reader); before it does,
// everything that is corked leaves. Errors that leave the connection open are
// those of the context, os.ErrDeadlineExceeded and, instead of waiting for a
// caller that is polled, errNoInput. After an error Conn.in may be nil, unless a
// message is open.
func (c *Conn) awaitInput(by caller, target []byte) (int, error) {
	if by.polled || c.out.cork.on.Load() {
		if n, ok, err := c.pollInput(by, target); ok {
			return n, c.readError(err)
		}
		c.out.cork.on.Store(false)
	}
	if by.polled {
		return 0, c.noInput(by)
	}
	if err := c.beforeWait(by); err != nil {
		return 0, err
	}
	n, err := c.fill(target)
	if err == nil {
		c.noteInput()
	}
	return n, c.afterWait(by, err)
}

// pollInput is awaitInput for a caller that is polled, and while replies are
// corked because more input may be here. ok is false if there is none: then
// awaitInput goes on.
func (c *Conn) pollInput(by caller, target []byte) (n int, ok bool, err error) {
	if by.internal && !by.polled || by.ctx.Done() != nil && by.ctx.Err() != nil {
		return 0, false, nil
	}
	if by.edges && c.in.raw.drained {
		return 0, false, nil // what comes from now on is another event
	}
	if n, ok, err = c.tryInput(by, target); ok && err == nil {
		c.noteInput()
	}
	return n, ok, err
}

// tryInput is tryFill for a caller. If that is internal, the application's
// deadline does not apply, and a reader that waits comes first.
func (c *Conn) tryInput(by caller, target []byte) (n int, ok bool, err error) {
	if by.internal {
		d := c.readDeadlines()
		switch err := d.arm(by.ctx, 0, c.readerWaits); err {
		case nil:
		case os.ErrDeadlineExceeded:
			return 0, false, nil
		default:
			return 0, true, err
		}
		defer d.disarm()
	}
	return c.in.tryFill(target)
}

// noInput returns what awaitInput ends with for a caller that is polled when
// nothing has come. It does what a wait begins with, because the caller now
// waits in its own way: what is corked leaves, and reading keeps no more memory
// than it needs.
func (c *Conn) noInput(by caller) error {
	c.out.flushCorked()
	c.read.intake.beginWait()
	if c.in.err != nil {
		return c.readError(c.in.err)
	}
	c.keepLittle()
	if err := c.contextError(by.ctx); err != nil {
		return err
	}
	if !by.internal && c.read.deadlines.load().expired() {
		return os.ErrDeadlineExceeded
	}
	return errNoInput
}

// noteInput records that bytes have come, if they belong to a message.
func (c *Conn) noteInput() {
	if c.in.msg.isOpen() {
		c.noteMessage()
	}
}

// awaitMessage is beginRead for a caller that wants a message. On a raw socket
// it also waits until the first bytes are here. That is awaitInput on a small
// stack (see Stack budget in docs/design.md). After it has returned nil,
// unlockReading must be called.
func (c *Conn) awaitMessage(ctx context.Context, reader borrower) error {
	if err := c.beginRead(ctx, reader); err != nil {
		return err
	}
	if !c.socket().isRaw() || c.in != nil && (c.in.err != nil || !c.in.isDrained()) {
		return nil
	}
	err := c.beforeWait(caller{ctx: ctx})
	if err == nil {
		if err = c.noteRaw(c.awaitRaw()); err == nil {
			c.noteInput()
		}
		err = c.afterWait(caller{ctx: ctx}, err)
	}
	if err != nil {
		c.unlockReading(err)
	}
	return err
}

// beforeWait lets what is corked leave and arms the deadlines, if they are
// needed. If it returns nil, afterWait must be called.
func (c *Conn) beforeWait(by caller) error {
	c.out.flushCorked()
	if c.in != nil && c.in.yieldFirst {
		c.in.yieldFirst = false
		giveWay()
	}
	var yield func() bool
	switch {
	case by.closing:
		yield = c.readerWaits
	case by.dropping:
		yield = c.readerOrCloseWaits
	case by.internal:
		yield = c.mustLookAnew
	case by.ctx.Done() == nil && !c.armsEveryRead():
		return nil
	}
	err := c.readDeadlines().arm(by.ctx, 0, yield)
	switch {
	case err == nil:
		return nil
	case err == by.ctx.Err():
		return c.contextError(by.ctx)
	}
	return c.readError(err)
}

// mustLookAnew reports whether a background reader that leaves messages alone has
// something else to do than to wait.
func (c *Conn) mustLookAnew() bool { return c.readerOrCloseWaits() || c.isReadClosed() }

// Times of giving way.
const (
	maxGivingWay  = 100 * time.Microsecond // without a reader that has waited: while goroutines are ready, the scheduler does not look at the network
	longGivingWay = 200 * time.Microsecond // giving way that takes longer
	crowdedFor    = 10 * time.Millisecond  // keeps all readers from doing so for this long
)

// lastCrowded is about when giving way last took long.
var lastCrowded recently

// giveWay lets others run before its caller looks for input: under load that has
// come by then. That must not be at the expense of connections whose input has
// come without the scheduler having seen it, so giveWay does nothing when that
// should look at the network, or when so many goroutines are ready that the
// others would wait long.
func giveWay() {
	began := now()
	if began >= lastWoken.get().add(maxGivingWay) || began < lastCrowded.get().add(crowdedFor) {
		return
	}
	runtime.Gosched()
	if at := now(); at > began.add(longGivingWay) {
		lastCrowded.set(at)
	}
}

// armsEveryRead reports whether even a read is armed that no context can
// interrupt: where the net.Conn has no deadlines, or nobody knows yet whether it
// has. The user may set one while the read waits.
func (c *Conn) armsEveryRead() bool {
	return !c.socket().isRaw() && !c.read.deadlines.load().areAccepted() && !isSocket(c.socket().Conn)
}

// afterWait disarms the deadlines, if they are armed. It returns what a read ends
// with when fill returned err.
func (c *Conn) afterWait(by caller, err error) error {
	interrupted := false
	if d := c.read.deadlines.load(); d != nil {
		interrupted = d.disarm()
	}
	if !interrupted || err == nil {
		return c.readError(err)
	}
	cause := c.contextError(by.ctx)
	if cause == nil {
		cause = os.ErrDeadlineExceeded
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.read.deadlines.load().noteProven()
		return cause
	case c.read.deadlines.load().emulated():
		return c.fail(cause) // the interruption closed the net.Conn
	}
	return c.readError(err)
}

// readError returns what a read ends with when fill returned err and nothing
// interrupted it. An error of the network ends the connection.
func (c *Conn) readError(err error) error {
	if err == nil {
		return nil
	}
	if end := c.terminal(); end != nil {
		return end
	}
	if broken := c.read.deadlines.load().whyBroken(); broken != nil {
		return c.fail(broken)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded // and not the words of the net.Conn
	}
	return c.fail(err)
}

// releaseReading frees the memory of reading once the net.Conn is closed,
// unless somebody reads: then that call does it when it ends.
func (c *Conn) releaseReading() {
	if !c.read.lock.tryLockInternal() {
		return
	}
	defer c.read.lock.unlock()
	c.read.deadlines.load().unfollow()
	if c.in != nil {
		c.in.disown()
		c.in.msg.disown()
		c.in.msg.dropPartial()
		c.stopReading()
	}
	if c.deflate != nil {
		c.deflate.decompressor.Close(net.ErrClosed)
	}
}
