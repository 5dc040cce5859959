package websocket

import (
	"context"
	"time"
)

// This file decides what becomes of messages that come after Close was called,
// which the peer had sent before it saw our Close frame:
//
//	         Close                        Close drops a message
//	open ──────────────────► listening ───────────────────────────► deaf ──► ended
//	  │                          │                                    ▲        ▲
//	  │                          └────────────────────────────────────┼────────┤
//	  └───────────────────────────────────────────────────────────────┘        │
//	      we fail the connection                   the peer's Close frame ─────┘
//
// In listening all is read as before, and messages are the application's. Close
// leaves reading to it as long as it asks for messages, and then reads itself. In
// deaf whoever reads drops them: a message of which some was dropped must not be
// taken for a whole one.

// isDeaf reports whether messages that come are dropped, because the connection
// is closing.
func (c *Conn) isDeaf() bool {
	closing := c.life.closing.Load()
	return closing != nil && closing.deaf.Load()
}

// goDeaf makes a connection that is closing drop all messages from now on.
func (c *Conn) goDeaf() { c.life.closing.Load().deaf.Store(true) }

// isBeingRead reports whether the application asks for messages now.
func (c *Conn) isBeingRead() bool {
	switch d := c.delivery.Load(); {
	case d == nil:
	case d == readClosed, d.marks.has(receiverStopped):
		return false
	case d.marks.has(parked) && d.turn.Load() == turnFree:
		return true
	}
	return c.readerWaits() || c.read.lock.isLockedForUser()
}

// mayAskAgain reports whether the application, which may be busy with a message,
// can be expected to ask for the next.
func (c *Conn) mayAskAgain() bool {
	return c.isBeingRead() || c.hasReceiver() && !c.delivery.Load().marks.has(receiverStopped)
}

// awaitQuiet waits until the application, which has read, has not asked for a
// message for an eighth of CloseTimeout, at most two seconds, or a little longer.
// It returns earlier if messages are dropped, the connection has ended, or ctx
// ends.
func (c *Conn) awaitQuiet(ctx context.Context) {
	if c.isDeaf() {
		return
	}
	look := time.NewTicker(min(max(c.cfg.CloseTimeout/16, time.Millisecond), time.Second))
	defer look.Stop()
	heard := c.read.counters.messagesIn.Load()
	for quiet := 0; quiet < 2 && !c.isDeaf(); quiet++ {
		select {
		case <-look.C:
		case <-c.endedChan():
			return
		case <-ctx.Done():
			return
		}
		before := heard
		if heard = c.read.counters.messagesIn.Load(); heard != before || c.isBeingRead() {
			quiet = -1
		}
	}
}

// awaitPeerClose waits until the connection ends. Once the application does not
// read, it reads.
func (c *Conn) awaitPeerClose(ctx context.Context) error {
	for attended := c.life.closing.Load().attended.Load(); c.terminal() == nil; attended = true {
		if attended {
			c.awaitQuiet(ctx)
			if ctx.Err() != nil { // what comes is still the application's
				return c.contextError(ctx)
			}
		}
		if !c.lockForClose(ctx) {
			return c.contextError(ctx)
		}
		if c.discardLocked(caller{ctx: ctx, internal: true, closing: true}) == errEnding {
			c.awaitEnd(caller{ctx: ctx, internal: true})
		}
		if ctx.Err() != nil {
			return c.contextError(ctx)
		}
	}
	return nil
}

// lockForClose takes read.lock, for which the background reader makes way. It
// reports false, and does not hold the lock, if ctx or the connection ends.
func (c *Conn) lockForClose(ctx context.Context) bool {
	closing := c.life.closing.Load()
	closing.waiting.Add(1)
	defer closing.waiting.Add(-1)
	c.read.deadlines.load().preempt()
	if !c.read.lock.lock(ctx.Done(), c.endedChan()) {
		c.giveUpReading()
		return false
	}
	return true
}

// readerOrCloseWaits reports whether the application or Close waits for
// read.lock.
func (c *Conn) readerOrCloseWaits() bool {
	closing := c.life.closing.Load()
	return c.readerWaits() || closing != nil && closing.waiting.Load() > 0
}

// discardLocked is discardAll, and releases read.lock, which the caller holds,
// also if a hook ends the goroutine.
func (c *Conn) discardLocked(by caller) (err error) {
	defer c.unlockReadingAfter(&err)
	if c.life.ending() != nil {
		return errEnding // somebody else has read the end
	}
	return c.discardAll(by)
}

// discardAll reads and drops everything, and returns the error that ends that,
// which may be errEnding. The caller holds read.lock.
func (c *Conn) discardAll(by caller) error {
	if c.reading(); c.in.msg.isOpen() || !c.betweenFrames() {
		c.goDeaf()
	}
	for {
		if err := c.discardFrame(by); err != nil {
			return err
		}
		if err := c.nextDataFrame(by); err != nil {
			return err
		}
	}
}
