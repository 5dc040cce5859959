package websocket

import (
	"sync/atomic"
	"time"
)

// keepalive finds peers that are gone, connections that nobody uses, and those
// that nobody reads. One timer calls tick for all of that. Conn.life.mu guards
// the fields without an atomic type, but ensureReading resets timer without it.
type keepalive struct {
	probing          atomic.Bool           // a Ping waits for a sign of life
	pings            atomic.Pointer[pings] // nil until the first Ping
	timer            *time.Timer           // calls tick
	backgroundReadAt instant               // when to look whether the background reader is needed; 0: never
	progress         uint64                // Conn.readProgress when that was decided
	pongAt           instant               // when the next unsolicited Pong is due; 0: never
	received         uint64                // bytes received at the last look
	heardAt          instant               // when the peer was last heard, as far as known
	lastMessage      atomic.Int64          // the instant of the last noteMessage
}

// startKeepalive starts the timer, and makes sure that somebody reads.
func (c *Conn) startKeepalive() {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	k := &c.keepalive
	k.heardAt = now()
	k.lastMessage.Store(int64(k.heardAt))
	k.received = c.in.received.Load()
	k.progress = c.readProgress()
	k.timer = time.AfterFunc(backgroundReadDelay, c.tick)
	if c.nc.raw != nil {
		k.backgroundReadAt = k.heardAt.add(backgroundReadDelay)
		c.background.state.Store(backgroundReadDue)
		return
	}
	k.timer.Stop()
	c.rearmLocked()
	go c.readInBackground()
}

// rearmLocked sets the timer to when the next thing is due. The caller holds
// life.mu. A reader that leaves meanwhile sets the timer itself, without the
// lock: what it wants is looked at before and after.
func (c *Conn) rearmLocked() {
	k := &c.keepalive
	for again := true; again; again = c.background.state.Load() == backgroundReadDue && k.backgroundReadAt == 0 {
		if c.background.state.Load() == backgroundReadDue && k.backgroundReadAt == 0 {
			k.backgroundReadAt = now().add(backgroundReadDelay)
		}
		if next := c.nextLocked(); next != 0 {
			k.timer.Reset(next.until())
		}
	}
}

// nextLocked returns when the next thing is due; 0 is never. The caller holds
// life.mu.
func (c *Conn) nextLocked() instant {
	k := &c.keepalive
	next := earliest(k.backgroundReadAt, k.pongAt)
	if c.cfg.PingInterval > 0 && !c.keepalive.probing.Load() {
		next = earliest(next, k.heardAt.add(c.cfg.PingInterval))
	}
	if c.cfg.IdleTimeout > 0 {
		next = earliest(next, c.idleAt())
	}
	return next
}

// earliest returns the earlier of two instants, of which 0 means never.
func earliest(a, b instant) instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// stop stops the timer. The caller holds life.mu.
func (k *keepalive) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// tick is called by the timer.
func (c *Conn) tick() {
	c.life.mu.Lock()
	if c.life.terminal.Load() != nil {
		c.life.mu.Unlock()
		return
	}
	at := now()
	c.backgroundReadLocked()
	pong := c.pongDueLocked(at)
	idle := c.cfg.IdleTimeout > 0 && c.idleAt() <= at
	probe := c.silentLocked(at) && !c.keepalive.probing.Swap(true)
	if !idle {
		c.rearmLocked()
	}
	c.life.mu.Unlock()
	if pong {
		c.out.addControl(opPong, nil)
		c.out.flushNow()
	}
	switch {
	case idle:
		breach := idleTooLong.err()
		c.close(breach.Code, breach.Text, breach)
	case probe:
		c.probe()
	}
}

// pongDueLocked reports whether an unsolicited Pong is to be sent (RFC 6455,
// Section 5.5.3), and sets when the next one is due. The caller holds life.mu.
func (c *Conn) pongDueLocked(at instant) bool {
	k := &c.keepalive
	if k.pongAt == 0 || k.pongAt > at {
		return false
	}
	k.pongAt = 0
	if c.background.dataPending.Load() {
		k.pongAt = at.add(c.pongInterval())
	}
	return k.pongAt != 0
}

// pongInterval returns how often an unsolicited Pong is sent, so that a peer
// with the same settings never finds this side gone.
func (c *Conn) pongInterval() time.Duration {
	return max(min(c.cfg.PingInterval, c.cfg.PongTimeout)/3, time.Millisecond)
}

// idleAt returns when the connection will have been without a data message for
// too long.
func (c *Conn) idleAt() instant {
	return instant(c.keepalive.lastMessage.Load()).add(c.cfg.IdleTimeout)
}

// silentLocked reports whether the peer has been silent for so long that it is
// sent a Ping. A reader takes no time stamps while bytes keep coming. It counts
// them, and if it waits, the peer was last heard when that wait began. The
// caller holds life.mu.
func (c *Conn) silentLocked(at instant) bool {
	if c.cfg.PingInterval <= 0 {
		return false
	}
	k := &c.keepalive
	if received := c.in.received.Load(); received != k.received {
		k.received = received
		k.heardAt = at
		if parked := instant(c.in.waitingSince.Load()); parked != 0 {
			k.heardAt = parked
		}
	}
	return k.heardAt.add(c.cfg.PingInterval) <= at
}

// probe sends a Ping and ends the connection if the peer shows no sign of life.
func (c *Conn) probe() {
	if !c.awaitSignOfLife() {
		c.fail(ErrPongTimeout)
		return
	}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	c.keepalive.probing.Store(false)
	c.keepalive.heardAt = now()
	if c.life.terminal.Load() == nil {
		c.rearmLocked()
	}
}

// maxLooks is how often awaitSignOfLife looks again for somebody that waits.
const maxLooks = 3

// awaitSignOfLife sends a Ping and reports whether the peer showed a sign of
// life within PongTimeout: any byte is one.
//
// While other bytes leave, before which the Ping cannot, the time begins anew.
// Three things say nothing about the peer: that nobody waits for bytes, because
// the application does not read and no more fits in the buffer; that no Ping
// can be sent; and that a reader began to wait only just now, and may not have
// seen what is here. But one reader may just take over from another, so that is
// looked at again. Nor does the peer matter when the connection has ended.
func (c *Conn) awaitSignOfLife() bool {
	received, left := c.in.received.Load(), c.out.written()
	p, err := c.sendPing()
	if err != nil {
		return true
	}
	defer c.keepalive.pings.Load().remove(p)
	timeout := time.NewTimer(c.cfg.PongTimeout)
	defer timeout.Stop()
	for looks := 0; ; {
		select {
		case <-p.wake:
			return true
		case <-c.endedChan():
			return true
		case <-timeout.C:
		}
		before := left
		left = c.out.written()
		since := instant(c.in.waitingSince.Load())
		switch {
		case c.in.received.Load() != received || c.background.dataPending.Load() && since == 0:
			return true
		case left != before && c.out.isBusy():
			timeout.Reset(c.cfg.PongTimeout)
		case looks == 0 && since.add(backgroundReadDelay) > now(), looks < maxLooks && since == 0:
			looks++
			timeout.Reset(backgroundReadDelay)
		default:
			return since == 0
		}
	}
}

// noteMessage records that something of a data message was read.
func (c *Conn) noteMessage() {
	if c.cfg.IdleTimeout > 0 {
		c.keepalive.lastMessage.Store(int64(now()))
	}
}
