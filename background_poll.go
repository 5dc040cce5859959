package websocket

import (
	"context"
	"sync/atomic"
)

// A backgroundPoll is a Conn on a raw socket whose background reader is a
// poller, so that a connection that nobody reads takes no goroutine for that.
// The descriptor stays that of the net.Conn, and is registered for one event at
// a time: while the application reads, there are none.
//
//	            startBackgroundRead                an event
//	not armed ────────────────────────► armed ───────────────► pollControls
//	    ▲                                 ▲                       │    │
//	    │                                 └───────────────────────┘    │
//	    │                                    nothing more has come     │
//	    └──────────────────────────────────────────────────────────────┘
//	      the application reads, or has to read first; the end
type backgroundPoll Conn

// startBackgroundRead begins to read in the background, unless the application
// reads: a poller does, where that is possible, or a goroutine. What has been
// received before comes first, because a poller does not hear of it.
func (c *Conn) startBackgroundRead() {
	switch {
	case !c.canBePolled():
		go c.readInBackground()
	case c.hasUnread():
		go c.pollControls()
	default:
		c.pollInBackground()
	}
}

// canBePolled reports whether the background reader is a poller.
func (c *Conn) canBePolled() bool {
	nc := c.socket()
	return canPoll && !inBubble() && nc.own != nil && nc.isRaw()
}

// hasUnread reports whether something was received that nobody has looked at,
// and nobody reads.
func (c *Conn) hasUnread() bool {
	if !c.read.lock.tryLockInternal() {
		return false
	}
	unread := c.in != nil && (c.in.err != nil || len(c.in.unread()) > 0)
	c.read.lock.unlock()
	if c.life.closingTransport.Load() {
		c.releaseReading()
	}
	return unread
}

// pollInBackground lets a poller read when something comes, or a goroutine if
// that is not possible.
func (c *Conn) pollInBackground() {
	if !c.armBackgroundPoll() {
		go c.readInBackground()
	}
}

// armBackgroundPoll lets a poller read when something comes, or has come. It
// reports false if that is not possible.
func (c *Conn) armBackgroundPoll() (armed bool) {
	if !c.canBePolled() {
		return false
	}
	c.read.background.state.Store(backgroundReadArmed) // before the event
	c.read.intake.beginWait()
	// Within the callback the number stays that of the socket.
	c.socket().rawConn().Control(func(fd uintptr) { armed = c.watchInput(int32(fd)) })
	if !armed {
		c.read.background.state.Store(backgroundReadOff)
		c.read.intake.note(0)
	}
	return armed
}

// watchInput registers fd, the descriptor of the net.Conn, for one event, and
// reports whether that was possible.
func (c *Conn) watchInput(fd int32) bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.closingTransport.Load() || c.isParked() {
		return false
	}
	z := c.ensureLazy()
	if z.watched != nil {
		return z.watched.queue().rearm(int(fd), z.watched.generation) == nil
	}
	if !startPollers() {
		return false
	}
	d := &descriptor{owner: (*backgroundPoll)(c), fd: fd}
	descriptors.add(d)
	if d.queue().addOnce(int(fd), d.generation) != nil {
		descriptors.forget(d)
		return false
	}
	z.watched = d
	return true
}

// unwatchInput ends what watchInput began. What the system knows of it ends with
// the descriptor; where that has a duplicate, the caller has to remove it before.
func (c *Conn) unwatchInput() (d *descriptor) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	z := c.lazy.Load()
	if z == nil || z.watched == nil {
		return nil
	}
	d, z.watched = z.watched, nil
	descriptors.forget(d)
	return d
}

// beginTurn is called by the poller.
func (p *backgroundPoll) beginTurn(readiness) polled { return p }

// serveTurn reads what has come.
func (p *backgroundPoll) serveTurn() (more bool) {
	(*Conn)(p).pollControls()
	return false
}

// slowness is that of the hooks that are called when control frames come.
func (p *backgroundPoll) slowness() *atomic.Int32 { return &(*Conn)(p).ensureLazy().slow }

// pollControls is the background reader for what has come. It waits for more in
// the same way, unless the application reads or has to read first.
func (c *Conn) pollControls() {
	c.read.background.state.Store(backgroundReadOff)
	if !c.read.lock.tryLockInternal() {
		c.ensureReading(later) // whoever reads may have relied on this one
		return
	}
	closed := c.isReadClosed()
	err := c.readLocked(caller{ctx: context.Background(), internal: true, polled: true})
	switch {
	case c.life.closingTransport.Load():
	case !closed && c.isReadClosed(): // meanwhile
		c.startBackgroundRead()
	case err == errNoInput && !c.isDeaf():
		c.pollInBackground()
	}
}
