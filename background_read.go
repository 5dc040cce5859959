package websocket

import (
	"context"
	"errors"
	"os"
	"time"
)

// The stand-in is a goroutine that reads while the application does not, so
// that Pings are answered, Pongs seen and the peer's end noticed. It stops
// before the next data frame, and makes room when the application wants to
// read. It begins at once after a read that gave up, and standInDelay after one
// that returned something: the application that works on a message for longer
// than that is not about to read. On a new connection it begins at once as well,
// except on a raw socket: a reader that has to wait for the turn needs a larger
// stack, and keeps it, so the application is given standInDelay to come first.
const (
	standInNone  int32 = iota
	standInDue         // the timer looks whether one is needed
	standInReads       // one reads, or is about to
)

// standInDelay is how long the application may take over what it read before a
// stand-in takes over.
const standInDelay = 100 * time.Millisecond

// An urgency says when a stand-in takes over.
type urgency uint8

const (
	later  urgency = iota // once nobody has read for standInDelay
	atOnce                // now, if nobody reads
)

// seeToReading makes a stand-in read if nobody else does. A Ping that waits for
// its Pong makes it urgent.
func (c *Conn) seeToReading(when urgency) {
	if when == later && c.pings.Load().waits() {
		when = atOnce
	}
	state := c.standIn.Load()
	if when == later && state != standInNone || c.isClosing() || c.ending.Load() != nil {
		return
	}
	if when == later {
		if c.standIn.CompareAndSwap(standInNone, standInDue) {
			c.keepalive.timer.Reset(standInDelay) // tick does the rest: a reader's stack is to stay small
		}
		return
	}
	if !c.reading.taken() {
		go c.readAlone()
	}
}

// progress returns a number that changes as the application reads.
func (c *Conn) progress() uint64 {
	return c.counters.messagesIn.Load() + c.in.received.Load()
}

// standInLocked starts a stand-in if one is due and nobody has read since the
// last look. The caller holds c.mu.
func (c *Conn) standInLocked() {
	k := &c.keepalive
	k.standIn = 0
	if !c.standIn.CompareAndSwap(standInDue, standInNone) || c.reading.taken() {
		return // a reader sees to it that somebody reads on
	}
	progress := c.progress()
	if progress == k.progress {
		go c.readAlone()
	} else if c.standIn.CompareAndSwap(standInNone, standInDue) {
		k.progress = progress
		k.standIn = now().add(standInDelay)
	}
}

// readAlone is the stand-in.
func (c *Conn) readAlone() {
	for c.reading.try() {
		c.standIn.Store(standInReads)
		err := c.readAside()
		c.standIn.Store(standInNone)
		c.reading.give()
		if c.shut.Load() {
			c.closeReading()
		}
		// A reader that waits takes over, or sees to it that somebody does.
		if err == nil || c.readerWaits() || c.ending.Load() != nil || c.isClosing() {
			return
		}
	}
}

// readAside reads until the application wants to, the connection ends, or an
// ordinary buffer is full of what the application has not read. It returns nil in
// the last case. The caller has the reading turn.
func (c *Conn) readAside() error {
	by := caller{ctx: context.Background(), own: true}
	for {
		switch {
		case c.ending.Load() != nil:
			return errEnding
		case c.isClosing():
			return c.discardAll(by)
		case c.msg.open && !c.guardReads().canKick():
			// A MessageReader may need no more bytes, and could not have the turn.
			c.foundData()
			return nil
		}
		var err error
		if c.betweenFrames() && !c.in.dataWaits() {
			if c.mustTryDeadline() {
				err = c.tryDeadline(by)
			} else {
				err = c.readControlFrame(by)
			}
		} else {
			c.foundData()
			if c.in.err != nil || len(c.in.unread()) >= c.in.small || !c.guardReads().canKick() {
				return nil
			}
			err = c.readAhead(by)
		}
		if err != nil {
			return err
		}
	}
}

// mustTryDeadline reports whether it is to be found out, before the stand-in
// waits for the next frame, whether a deadline ends a read.
func (c *Conn) mustTryDeadline() bool {
	g := c.guardReads()
	return !g.canKick() && len(c.in.unread()) == 0 && g.mayObey()
}

// tryDeadline finds out whether a deadline ends a read. A net.Conn that does not
// obey it waits for the next frame instead, which is what the stand-in does
// anyway.
func (c *Conn) tryDeadline(by caller) error {
	g := c.guardReads()
	if err := g.arm(by.ctx, past, c.readerWaits); err != nil {
		return c.readFailed(err)
	}
	_, err := c.in.fill(nil)
	g.disarm()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.obeyed()
		return nil
	}
	c.heardNow()
	return c.readFailed(err)
}

// readAhead receives what comes behind data that the application has not read:
// that tells whether the peer is gone. It is not looked at. An error of the
// network waits for the application as well, behind that data.
func (c *Conn) readAhead(by caller) error {
	if err := c.beforeWait(by); err != nil {
		return err
	}
	_, err := c.in.fill(nil)
	c.readGuard.ifMade().disarm()
	c.heardNow()
	if c.in.err != nil {
		return nil
	}
	return err
}

// foundData notes that data waits that nobody reads. What comes behind it is not
// seen, so the peer's Pings are not answered: a sign of life tells it from time
// to time that nobody is gone.
func (c *Conn) foundData() {
	if c.stuck.Swap(true) || c.cfg.PingInterval <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.Load() == nil && c.keepalive.beat == 0 {
		c.keepalive.beat = now().add(c.beatInterval())
		c.rearmLocked()
	}
}

// heardNow notes that bytes came.
func (c *Conn) heardNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepalive.received = c.in.received.Load()
	c.keepalive.heard = now()
}

// betweenFrames reports whether the next byte to read belongs to a header.
func (c *Conn) betweenFrames() bool { return !c.in.current && c.in.left == 0 }

// readControlFrame handles the next control frame, or else waits for bytes once.
// The next frame must not be one of data, unless the connection is closing: then
// that is dropped.
func (c *Conn) readControlFrame(by caller) error {
	h, payload, ok, v := c.in.next()
	switch {
	case v != noViolation:
		return c.failProtocol(v)
	case !ok:
		_, err := c.receive(by, nil)
		c.heardNow()
		return err
	}
	c.countFrame(h)
	if !h.opcode().isControl() {
		return c.discardFrame(by)
	}
	err := c.handleControl(h.opcode(), payload)
	c.flushPong()
	return err
}
