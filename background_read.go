package websocket

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// backgroundRead is the state of the background reader: a goroutine, or a poller
// (see backgroundPoll), that reads while the application does not, so that
// Pings are answered, Pongs seen and the peer's end noticed.
//
//	      a read returns something            another does
//	off ──────────────────────────► putOff ◄────────────── due
//	 ▲ │  a read gives up, or a       │ backgroundReadDelay  ▲ │ the same
//	 │ │  Ping is sent                └──────────────────────┘ │ once more
//	 │ └────────────────────────────┐             ┌────────────┘
//	 │                              ▼             ▼
//	 └──────────────────────────── on ◄────────────
//	   the application wants to read, data is
//	   pending, or the connection ends
//
// It reads up to the header of the next data frame, leaves that to the
// application, and reads what comes behind it only into the buffer. When the
// application wants to read, deadlines.preempt interrupts it.
//
// After a read that returned something it does not begin at once, because the
// application is most likely about to read again: a goroutine that has to wait
// for read.lock needs a larger stack and keeps it. For the same reason a
// connection on a raw socket begins as due; on any other net.Conn it begins
// with a background reader.
type backgroundRead struct {
	state atomic.Int32
}

// States of the background reader.
const (
	backgroundReadOff    int32 = iota
	backgroundReadArmed        // as off, but a poller begins when something comes (see backgroundPoll)
	backgroundReadDue          // one begins after backgroundReadDelay without a read
	backgroundReadPutOff       // the application has read: that time is to begin anew
	backgroundReadOn           // one reads, or is about to
)

// backgroundReadDelay is how long after the application's last read the
// background reader begins.
const backgroundReadDelay = 100 * time.Millisecond

// An urgency says when the background reader begins.
type urgency uint8

const (
	later  urgency = iota // once nobody has read for backgroundReadDelay
	atOnce                // now, if nobody reads
)

// isDue reports whether somebody is to look whether a background reader is
// needed.
func (b *backgroundRead) isDue() bool {
	state := b.state.Load()
	return state == backgroundReadDue || state == backgroundReadPutOff
}

// takeDue ends that somebody is to look, and returns the state before.
func (b *backgroundRead) takeDue() int32 {
	for {
		state := b.state.Load()
		if state != backgroundReadDue && state != backgroundReadPutOff || b.state.CompareAndSwap(state, backgroundReadOff) {
			return state
		}
	}
}

// ensureReading makes the background reader read if nobody else does. A Ping
// that waits for its Pong makes that urgent.
func (c *Conn) ensureReading(when urgency) {
	if when == later && (c.pingWaits() || c.isReadClosed() || c.isClosing()) {
		when = atOnce
	}
	if c.isParked() {
		return // a poller sees to it
	}
	state := c.read.background.state.Load()
	if when == later && state >= backgroundReadPutOff || c.isDeaf() || c.life.ending() != nil {
		return
	}
	switch {
	case when == later:
		if c.read.background.state.CompareAndSwap(state, backgroundReadPutOff) && state <= backgroundReadArmed {
			at := now()
			c.schedule(at.add(backgroundReadDelay), at) // onDue does the rest: the stack of a reader must stay small
		}
	case !c.read.lock.isLocked():
		c.startBackgroundRead()
	}
}

// needsBackgroundReadLocked reports whether the background reader is to begin:
// it is due, and nobody has read since the last look. The caller holds life.mu.
func (c *Conn) needsBackgroundReadLocked() bool {
	state := c.read.background.takeDue()
	switch {
	case c.read.lock.isLocked(): // a reader sees to it that somebody reads on
	case state == backgroundReadDue:
		return !c.isParked()
	case state == backgroundReadPutOff:
		c.read.background.state.CompareAndSwap(backgroundReadOff, backgroundReadDue)
	}
	return false
}

// readInBackground is the background reader.
func (c *Conn) readInBackground() {
	for !c.isParked() && c.read.lock.tryLockInternal() {
		c.read.background.state.Store(backgroundReadOn)
		err := c.readLocked(caller{ctx: context.Background(), internal: true})
		// A reader that waits takes over, or sees to it that somebody does.
		if err == nil && !c.isReadClosed() || c.readerOrCloseWaits() || c.life.ending() != nil || c.isDeaf() {
			return
		}
	}
}

// readLocked is readUntilWanted, and releases read.lock, which the caller holds,
// also if a hook ends the goroutine.
func (c *Conn) readLocked(by caller) error {
	defer func() {
		if !by.polled {
			c.read.background.state.Store(backgroundReadOff)
		}
		c.read.lock.unlock()
		if c.life.closingTransport.Load() {
			c.releaseReading()
		}
	}()
	if c.life.ending() != nil {
		return errEnding
	}
	return c.readUntilWanted(by)
}

// readUntilWanted reads until the application wants to, the connection ends, or
// there is nothing to do before the application has read the data that waits
// for it: an ordinary buffer is full of that, the network has failed behind it,
// or a read of the net.Conn might not be interruptible. It returns nil if the
// application has to read first. The caller holds read.lock.
func (c *Conn) readUntilWanted(by caller) error {
	for {
		switch {
		case c.life.ending() != nil:
			return errEnding
		case c.isDeaf():
			by.dropping = true
			return c.discardAll(by)
		case c.isReadClosed():
			by.dropping = true
			return c.dropMessages(by)
		case c.in != nil && c.in.msg.isOpen() && !c.canPreemptReads():
			// A MessageReader that needs no more bytes could not get
			// read.lock.
			c.noteDataPending()
			return nil
		}
		var err error
		c.reading()
		if c.mayReadControls() {
			if c.mustProveDeadlines() {
				err = c.proveDeadlines(by)
			} else {
				err = c.readControlFrame(by)
			}
		} else {
			c.noteDataPending()
			if c.in.err != nil || len(c.in.unread()) >= c.in.sizeAt(0) || !c.canPreemptReads() {
				return nil
			}
			err = c.readAhead(by)
		}
		if err != nil {
			return err
		}
	}
}

// mustProveDeadlines reports whether, before the background reader waits for
// the next frame, it has to find out whether a deadline ends a read.
func (c *Conn) mustProveDeadlines() bool {
	return !c.canPreemptReads() && len(c.in.unread()) == 0 && c.readDeadlines().areSupported()
}

// canPreemptReads reports whether a read that waits for the network is known to
// end when the application wants to read.
func (c *Conn) canPreemptReads() bool {
	return c.socket().isRaw() || c.readDeadlines().canPreempt()
}

// proveDeadlines finds out whether a deadline ends a read. A net.Conn that does
// not obey it waits for the next frame instead, which is what the background
// reader does anyway.
func (c *Conn) proveDeadlines(by caller) error {
	d := c.readDeadlines()
	if err := d.arm(by.ctx, past, c.readerWaits); err != nil {
		return c.readError(err)
	}
	_, err := c.fill(nil)
	d.disarm()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.noteProven()
		return nil
	}
	c.noteHeard()
	return c.readError(err)
}

// readAhead receives what comes behind data that the application has not read,
// which tells whether the peer is gone. It does not look at it. An error of the
// network also waits for the application, behind that data, and is not
// returned.
func (c *Conn) readAhead(by caller) error {
	if by.polled {
		return c.pollAhead(by)
	}
	if err := c.beforeWait(by); err != nil {
		return err
	}
	_, err := c.in.fill(nil)
	c.read.deadlines.load().disarm()
	c.noteHeard()
	if c.in.err != nil {
		return nil
	}
	return err
}

// pollAhead is readAhead for a caller that is polled.
func (c *Conn) pollAhead(by caller) error {
	_, ok, err := c.tryInput(by, nil)
	if !ok {
		c.read.intake.beginWait()
		return errNoInput
	}
	c.noteHeard()
	if err != nil && c.in.err == nil {
		return c.readError(err)
	}
	return nil
}

// noteDataPending records that data waits which nobody reads. What comes behind
// it is not seen, so the peer's Pings are not answered. Instead an unsolicited
// Pong is sent from time to time, to show that this side is alive.
func (c *Conn) noteDataPending() {
	if c.keepalive.flags.set(dataPending) || c.cfg.PingInterval <= 0 {
		return
	}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if z := c.ensureLazy(); c.life.terminal() == nil && z.pongAt == 0 {
		z.pongAt = now().add(c.pongInterval())
		c.rearmLocked()
	}
}

// mayReadControls reports whether what comes next may be a control frame, and the
// application need not read before it is handled.
func (c *Conn) mayReadControls() bool {
	return c.betweenFrames() && !c.in.startsWithData() && !(c.in.msg.isOpen() && c.isWholeMessageHere())
}

// betweenFrames reports whether the next byte to read belongs to a header.
func (c *Conn) betweenFrames() bool { return !c.in.frame.ready && c.in.frame.remaining == 0 }

// readControlFrame handles the next control frame, or else waits for bytes
// once. The next frame must not be a data frame unless the connection is
// closing: then that is dropped.
func (c *Conn) readControlFrame(by caller) error {
	h, payload, ok, v := c.in.nextFrame()
	switch {
	case v != noViolation:
		return c.failProtocol(v)
	case !ok:
		_, err := c.awaitInput(by, nil)
		c.noteHeard()
		return err
	}
	c.countFrame(h)
	if !h.opcode().isControl() {
		return c.discardFrame(by)
	}
	err := c.handleControl(by, h.opcode(), payload)
	c.flushPong()
	return err
}
