package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"

	"github.com/fullduplex-go/websocket/internal/utf8stream"
)

// inbound is the state of the message that is being received. It belongs to
// the connection, not to a call: that is what lets a read that was interrupted
// go on. The reading turn guards it.
type inbound struct {
	inPlace    bool // it is received whole in the read buffer
	open       bool // its first header was taken up, its last byte was not
	giveWay    bool // messages were handed over since the last wait
	streaming  bool // a MessageReader reads it
	ponged     bool // a Pong waits to be flushed
	lent       bool // held is looked at by the application
	typ        MessageType
	checked    bool // text is checked
	compressed bool // by permessage-deflate
	full       bool // the decompressor has more from what it was given
	inflated   bool // it has given out everything
	text       utf8stream.Validator
	size       int64   // bytes after inflation
	number     uint64  // of messages begun, to tell a stale MessageReader
	held       *buffer // bytes kept from an interrupted call, or lent
	usual      int     // size of the largest of recent messages

	lentTo    borrower // who may look at what was lent last
	borrowers borrower // how many there have been
}

// A borrower is a loop or a MessageReader to which messages are lent. What it
// borrowed is its own until it asks for more, whoever else reads meanwhile.
type borrower uint32

// nobody borrows nothing: what was lent to others is left to them.
const nobody borrower = 0

// dropHeld gives back what is held.
func (m *inbound) dropHeld() {
	m.held.free()
	m.held, m.lent = nil, false
}

// forsake ends the lending of the last message, whose memory is left to the
// borrower.
func (m *inbound) forsake() {
	if m.lent {
		m.held, m.lent = nil, false
	}
}

// takeBack ends the lending of the last message.
func (m *inbound) takeBack() {
	if m.lent {
		m.dropHeld()
	}
}

// A caller says on whose behalf the connection is read.
type caller struct {
	ctx context.Context
	own bool // our own: makes room for the application, ignores its deadline
}

// beginRead takes the reading turn for who, a part of the application, and ends
// the lending of the last message. After it returned nil, endRead must be
// called.
func (c *Conn) beginRead(ctx context.Context, who borrower) error {
	err := c.takeReading(ctx)
	if err == nil && c.msg.lentTo != nobody {
		c.endLending(who)
	}
	return err
}

// takeReading takes the reading turn for the application.
func (c *Conn) takeReading(ctx context.Context) error {
	if ctx.Done() != nil {
		if err := c.over(ctx); err != nil {
			return err
		}
	}
	if !c.reading.try() {
		if err := c.awaitReading(ctx); err != nil {
			return err
		}
	}
	if c.ending.Load() != nil {
		err := c.awaitEnd(caller{ctx: ctx})
		c.endRead(err)
		return err
	}
	if c.stuck.Load() {
		c.stuck.Store(false)
	}
	return nil
}

// awaitReading waits for the reading turn. A reader of our own is asked to
// leave it. Should the caller give up, another one takes its place.
func (c *Conn) awaitReading(ctx context.Context) error {
	g := c.guardReads()
	if err := c.terminal(); err != nil {
		return err
	}
	if g.expired() {
		return os.ErrDeadlineExceeded
	}
	c.readers.Add(1)
	g.kick()
	err := c.awaitTurn(ctx, &c.reading, g)
	c.readers.Add(-1)
	if err != nil {
		c.leaveReading()
	}
	return err
}

// leaveReading is called by those who waited for the reading turn and gave up.
// They may have had it for a moment.
func (c *Conn) leaveReading() {
	if c.shut.Load() {
		c.closeReading()
		return
	}
	c.seeToReading(atOnce)
}

// guardReads returns the guard of what is read.
func (c *Conn) guardReads() *guard { return c.readGuard.of(&c.nc, false) }

// readerWaits reports whether the application wants to read.
func (c *Conn) readerWaits() bool { return c.readers.Load() > 0 }

// endRead gives the reading turn on, after a call that ended with err. It is the
// only way to do that while the connection lives: whoever has had the turn sees
// to it that somebody reads on.
func (c *Conn) endRead(err error) {
	c.reading.give()
	switch {
	case c.shut.Load():
		c.closeReading()
	case err != nil && err != io.EOF:
		c.seeToReading(atOnce)
	default:
		c.seeToReading(later)
	}
}

// endReadAfter is endRead to be deferred.
func (c *Conn) endReadAfter(err *error) { c.endRead(*err) }

// endLending ends the lending of the last message, now that who reads. Its
// memory is used again if who borrowed it; otherwise it is left to the borrower,
// who may still look at it.
func (c *Conn) endLending(who borrower) {
	if c.msg.lentTo == who {
		c.in.unpin()
		c.msg.takeBack()
	} else {
		c.in.forsake()
		c.msg.forsake()
	}
	c.msg.lentTo = nobody
}

// nextData reads until the header of a data frame is current and nobody has
// taken it up. Control frames on the way are handled. It is the one place
// where reading causes writing. Once our Close frame is queued, data is
// discarded until the peer's arrives.
func (c *Conn) nextData(by caller) error {
	for !c.in.current {
		h, payload, ok, v := c.in.next()
		switch {
		case v != noViolation:
			return c.failProtocol(v)
		case !ok:
			if _, err := c.receive(by, nil); err != nil {
				return err
			}
			continue
		}
		c.countFrame(h)
		if h.opcode().isControl() {
			if err := c.handleControl(h.opcode(), payload); err != nil {
				return err
			}
		} else if c.isClosing() {
			if err := c.discardFrame(by); err != nil {
				return err
			}
		}
	}
	c.flushPong()
	return nil
}

// flushPong lets Pongs leave before a data frame is looked at.
func (c *Conn) flushPong() {
	if c.msg.ponged {
		c.msg.ponged = false
		c.out.flushNow()
	}
}

// handleControl does what a control frame asks for. It returns the terminal
// error after a Close frame.
func (c *Conn) handleControl(op opcode, payload []byte) error {
	switch op {
	case opPing:
		if err := c.out.control(opPong, payload); err == nil {
			c.msg.ponged = true
		}
	case opPong:
		c.pings.Load().answer(payload, c.cfg.Trace)
	case opClose:
		return c.peerCloses(payload)
	}
	return nil
}

// discardFrame drops the payload of the current frame.
func (c *Conn) discardFrame(by caller) error {
	for c.in.left > 0 {
		if len(c.in.piece()) > 0 {
			continue
		}
		if _, err := c.receive(by, nil); err != nil {
			return err
		}
	}
	c.in.current = false
	return nil
}

// begin takes up the next message. It needs the last one to be over.
func (c *Conn) begin(by caller) error {
	if err := c.nextData(by); err != nil {
		return err
	}
	m := &c.msg
	m.open = true
	m.number++
	m.typ = MessageType(c.in.frame.opcode())
	m.checked = m.typ == Text && !c.cfg.SkipUTF8Check
	m.text.Reset()
	m.compressed, m.full, m.inflated, m.size = c.in.rules.compressed, false, false, 0
	c.in.current = false
	return nil
}

// nextFragment takes up the next frame of the message.
func (c *Conn) nextFragment(by caller) error {
	if err := c.nextData(by); err != nil {
		return err
	}
	c.in.current = false
	return nil
}

// finish ends the message that was received and decides whether its reply may
// be held: only if the next message waits. Should its end be missing, receive
// looks for that before it waits.
func (c *Conn) finish() error {
	m := &c.msg
	if m.checked && !m.text.Complete() {
		return c.failProtocol(textNotUTF8)
	}
	m.open = false
	m.giveWay = true
	c.counters.messagesIn.Add(1)
	c.messageHeard()
	if more := c.in.messageWaits(); more != c.out.hold.Load() {
		c.out.hold.Store(more)
	}
	return nil
}

// receive waits for bytes from the network, into target or, if that is nil,
// into the read buffer. It is the only place where a connection waits for its
// peer to send, and before it does, all that is held leaves. Errors that leave
// the connection alive are those of the context and os.ErrDeadlineExceeded.
func (c *Conn) receive(by caller, target []byte) (int, error) {
	if c.out.hold.Load() {
		if n, ok, err := c.receiveNow(by, target); ok {
			return n, c.readFailed(err)
		}
		c.out.hold.Store(false)
	}
	if err := c.beforeWait(by); err != nil {
		return 0, err
	}
	n, err := c.in.fill(target)
	if c.msg.open && err == nil {
		c.messageHeard()
	}
	return n, c.afterWait(by, err)
}

// receiveNow is receive when replies are held because more may be here. ok is
// false if nothing is: then receive goes on.
func (c *Conn) receiveNow(by caller, target []byte) (n int, ok bool, err error) {
	if by.own || by.ctx.Done() != nil && by.ctx.Err() != nil {
		return 0, false, nil
	}
	return c.in.fillNow(target)
}

// beginMessage is beginRead for who wants a message. On a raw socket it also
// waits until the first bytes are here. That is receive on little stack: a
// goroutine whose stack has grown keeps it while its connection is idle.
func (c *Conn) beginMessage(ctx context.Context, who borrower) error {
	if err := c.beginRead(ctx, who); err != nil {
		return err
	}
	if c.nc.raw == nil || c.in.err != nil || !c.in.idle() {
		return nil
	}
	err := c.beforeWait(caller{ctx: ctx})
	if err == nil {
		err = c.in.wait()
		err = c.afterWait(caller{ctx: ctx}, c.in.arrived(err))
	}
	if err != nil {
		c.endRead(err)
	}
	return err
}

// beforeWait lets what is held leave and arms the guard. If it returns nil,
// afterWait must be called.
func (c *Conn) beforeWait(by caller) error {
	c.out.flushHeld()
	if c.msg.giveWay {
		c.msg.giveWay = false
		runtime.Gosched()
	}
	var yield func() bool
	switch {
	case by.own:
		yield = c.readerWaits
	case by.ctx.Done() == nil && !c.readGuard.ifMade().emulates():
		return nil
	}
	err := c.guardReads().arm(by.ctx, 0, yield)
	switch {
	case err == nil:
		return nil
	case err == by.ctx.Err():
		return c.over(by.ctx)
	}
	return c.readFailed(err)
}

// afterWait disarms the guard and returns what a read ends with when fill
// returned err.
func (c *Conn) afterWait(by caller, err error) error {
	interrupted := false
	if g := c.readGuard.ifMade(); by.own || by.ctx.Done() != nil || g.emulates() {
		interrupted = g.disarm()
	}
	if !interrupted || err == nil {
		return c.readFailed(err)
	}
	cause := c.over(by.ctx)
	if cause == nil {
		cause = os.ErrDeadlineExceeded
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.readGuard.ifMade().obeyed()
		return cause
	case c.readGuard.ifMade().emulates():
		return c.fail(cause) // the interruption closed the net.Conn
	}
	return c.readFailed(err)
}

// readFailed returns the error that a read ends with when fill returned err.
func (c *Conn) readFailed(err error) error {
	if err == nil {
		return nil
	}
	if broken := c.readGuard.ifMade().whyBroken(); broken != nil {
		return c.fail(broken)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded // and not the words of the net.Conn
	}
	return c.fail(err)
}

// closeReading gives back the memory that reading needs, unless somebody reads:
// that call does it when it ends.
func (c *Conn) closeReading() {
	if !c.reading.try() {
		return
	}
	defer c.reading.give()
	c.readGuard.ifMade().release()
	c.in.close()
	if c.deflate != nil {
		c.deflate.decompressor.Close(net.ErrClosed)
	}
}
