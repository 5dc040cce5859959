package websocket

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// backgroundRead is the state of the background reader: a goroutine that reads
// while the application does not, so that Pings are answered, Pongs seen and
// the peer's end noticed.
//
//	               a read returns something
//	off ───────────────────────────────────────► due
//	 ▲ │  a read gives up, or a Ping is sent      │ backgroundReadDelay
//	 │ └────────────────────────────┐             │ without a read
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
	state       atomic.Int32
	dataPending atomic.Bool // it left a data frame that nobody reads
}

// States of the background reader.
const (
	backgroundReadOff int32 = iota
	backgroundReadDue       // the timer looks whether one is needed
	backgroundReadOn        // one reads, or is about to
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

// ensureReading makes the background reader read if nobody else does. A Ping
// that waits for its Pong makes that urgent.
func (c *Conn) ensureReading(when urgency) {
	if when == later && c.keepalive.pings.Load().hasPending() {
		when = atOnce
	}
	state := c.background.state.Load()
	if when == later && state != backgroundReadOff || c.isClosing() || c.life.ending.Load() != nil {
		return
	}
	if when == later {
		if c.background.state.CompareAndSwap(backgroundReadOff, backgroundReadDue) {
			c.keepalive.timer.Reset(backgroundReadDelay) // tick does the rest: the stack of a reader must stay small
		}
		return
	}
	if !c.read.lock.isLocked() {
		go c.readInBackground()
	}
}

// readProgress returns a number that changes as bytes and messages are read.
func (c *Conn) readProgress() uint64 {
	return c.read.counters.messagesIn.Load() + c.in.received.Load()
}

// backgroundReadLocked starts the background reader if that is due and nobody
// has read since the last look. The caller holds life.mu.
func (c *Conn) backgroundReadLocked() {
	k := &c.keepalive
	k.backgroundReadAt = 0
	if !c.background.state.CompareAndSwap(backgroundReadDue, backgroundReadOff) || c.read.lock.isLocked() {
		return // a reader sees to it that somebody reads on
	}
	progress := c.readProgress()
	if progress == k.progress {
		go c.readInBackground()
	} else if c.background.state.CompareAndSwap(backgroundReadOff, backgroundReadDue) {
		k.progress = progress
		k.backgroundReadAt = now().add(backgroundReadDelay)
	}
}

// readInBackground is the background reader.
func (c *Conn) readInBackground() {
	for c.read.lock.tryLock() {
		c.background.state.Store(backgroundReadOn)
		err := c.readUntilWanted()
		c.background.state.Store(backgroundReadOff)
		c.read.lock.unlock()
		if c.life.closingTransport.Load() {
			c.releaseReading()
		}
		// A reader that waits takes over, or sees to it that somebody does.
		if err == nil || c.readerWaits() || c.life.ending.Load() != nil || c.isClosing() {
			return
		}
	}
}

// readUntilWanted reads until the application wants to, the connection ends, or
// there is nothing to do before the application has read the data that waits
// for it: an ordinary buffer is full of that, the network has failed behind it,
// or a read of the net.Conn might not be interruptible. It returns nil if the
// application has to read first. The caller holds read.lock.
func (c *Conn) readUntilWanted() error {
	by := caller{ctx: context.Background(), internal: true}
	for {
		switch {
		case c.life.ending.Load() != nil:
			return errEnding
		case c.isClosing():
			return c.discardAll(by)
		case c.msg.isOpen() && !c.readDeadlines().canPreempt():
			// A MessageReader that needs no more bytes could not get
			// read.lock.
			c.noteDataPending()
			return nil
		}
		var err error
		if c.betweenFrames() && !c.in.startsWithData() {
			if c.mustProveDeadlines() {
				err = c.proveDeadlines(by)
			} else {
				err = c.readControlFrame(by)
			}
		} else {
			c.noteDataPending()
			if c.in.err != nil || len(c.in.unread()) >= c.in.sizeAt(0) || !c.readDeadlines().canPreempt() {
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
	d := c.readDeadlines()
	return !d.canPreempt() && len(c.in.unread()) == 0 && d.areSupported()
}

// proveDeadlines finds out whether a deadline ends a read. A net.Conn that does
// not obey it waits for the next frame instead, which is what the background
// reader does anyway.
func (c *Conn) proveDeadlines(by caller) error {
	d := c.readDeadlines()
	if err := d.arm(by.ctx, past, c.readerWaits); err != nil {
		return c.readError(err)
	}
	_, err := c.in.fill(nil)
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

// noteDataPending records that data waits which nobody reads. What comes behind
// it is not seen, so the peer's Pings are not answered. Instead an unsolicited
// Pong is sent from time to time, to show that this side is alive.
func (c *Conn) noteDataPending() {
	if c.background.dataPending.Swap(true) || c.cfg.PingInterval <= 0 {
		return
	}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.terminal.Load() == nil && c.keepalive.pongAt == 0 {
		c.keepalive.pongAt = now().add(c.pongInterval())
		c.rearmLocked()
	}
}

// noteHeard records that the peer was heard, if it was: a wait may also have
// ended because the application wants to read.
func (c *Conn) noteHeard() {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if received := c.in.received.Load(); received != c.keepalive.received {
		c.keepalive.received = received
		c.keepalive.heardAt = now()
	}
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
	err := c.handleControl(h.opcode(), payload)
	c.flushPong()
	return err
}
