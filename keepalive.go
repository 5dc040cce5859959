package websocket

import (
	"sync/atomic"
	"time"
)

// keepalive finds peers that are gone, connections that nobody uses, and those
// that nobody reads. Conn.onDue does all of that, whenever something is due.
//
//	        PingInterval of silence: a Ping
//	heard ───────────────────────────────────► probing ───► gone
//	  ▲                                         │    ▲ │ PongTimeout
//	  └─────────────────────────────────────────┘    └─┘
//	    a byte comes, or the silence says nothing    other bytes leave
//
// Conn.life.mu guards the fields without an atomic type, but entry has the lock
// of its wheel. The counts of bytes are cut to 32 bits: they are only compared.
type keepalive struct {
	entry    wheelEntry[Conn] // in keepaliveClocks; not used if lazy.timer is
	at       instant          // when the peer was last heard, as far as known; while probing, when to look
	received uint32           // bytes received by then; while probing, by the Ping
	sent     uint32           // bytes sent at the last look, or by the Ping
	flags    flagSet[keepaliveFlag]
	looks    uint8 // for somebody that waits, since the Ping
	clock    uint8 // which of keepaliveClocks
	haste    uint8 // what is taken off PingInterval, in 256ths of an eighth
}

// A keepaliveFlag is something that is so or not.
type keepaliveFlag uint32

const (
	probing     keepaliveFlag = 1 << iota // a Ping waits for a sign of life
	dataPending                           // the background reader left a data frame that nobody reads
)

// keepaliveClocks call onDue. There are several, because many connections may
// schedule something at once, up to ten times a second each while they are read;
// and few, because each may wake the program twice a second while all are idle.
var keepaliveClocks [8]clockwork[Conn, *Conn]

// lastStarted counts the connections that use keepaliveClocks, to spread them.
var lastStarted atomic.Uint32

// wheelEntry returns the connection's entry in keepaliveClocks.
func (c *Conn) wheelEntry() *wheelEntry[Conn] { return &c.keepalive.entry }

// startKeepalive begins to watch the peer, and makes sure that somebody reads.
func (c *Conn) startKeepalive() {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	k := &c.keepalive
	k.at = now()
	k.received = uint32(c.read.intake.received.Load())
	if inBubble() {
		timer := time.AfterFunc(backgroundReadDelay, c.onDue)
		timer.Stop()
		c.ensureLazy().timer = timer
	} else {
		n := lastStarted.Add(1)
		k.clock, k.haste = uint8(n%uint32(len(keepaliveClocks))), uint8(n*101)
	}
	if c.cfg.IdleTimeout > 0 {
		c.ensureLazy().lastMessage.Store(int64(k.at))
	}
	if !c.socket().isRaw() {
		go c.readInBackground()
	} else {
		c.read.background.state.Store(backgroundReadDue)
	}
	c.rearmLocked()
}

// schedule lets onDue be called at an instant, instead of at another. The time
// is at.
func (c *Conn) schedule(due, at instant) {
	k := &c.keepalive
	if z := c.lazy.Load(); z != nil && z.timer != nil {
		z.timer.Reset(due.until())
		return
	}
	keepaliveClocks[k.clock].schedule(c, due, at)
}

// stopKeepaliveLocked ends the calls of onDue. The caller holds life.mu.
func (c *Conn) stopKeepaliveLocked() {
	k := &c.keepalive
	if z := c.lazy.Load(); z != nil && z.timer != nil {
		z.timer.Stop()
		return
	}
	keepaliveClocks[k.clock].remove(c)
}

// rearmLocked schedules the next thing that is due. The caller holds life.mu. A
// reader that leaves meanwhile schedules a look itself, without the lock: so
// whether one is due is asked before and after.
func (c *Conn) rearmLocked() {
	for again := true; again; {
		looking := c.read.background.isDue()
		at := now()
		if next := c.nextLocked(looking, at); next != 0 {
			c.schedule(next, at)
		}
		again = !looking && c.read.background.isDue()
	}
}

// nextLocked returns when the next thing is due; 0 is never. Of the background
// reader that is so if looking is set. The caller holds life.mu.
func (c *Conn) nextLocked(looking bool, at instant) instant {
	k := &c.keepalive
	var next instant
	if looking {
		next = at.add(backgroundReadDelay)
	}
	switch {
	case c.cfg.PingInterval <= 0:
	case k.flags.has(probing):
		next = earliest(next, k.at)
	default:
		next = earliest(next, k.at.add(c.pingInterval()))
	}
	if z := c.lazy.Load(); z != nil {
		next = earliest(next, z.pongAt)
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

// onDue does what is due. It does not wait: what may take longer goes on a
// goroutine of its own.
func (c *Conn) onDue() {
	c.life.mu.Lock()
	if c.life.terminal() != nil {
		c.life.mu.Unlock()
		return
	}
	at := now()
	read := c.needsBackgroundReadLocked()
	pong := c.pongDueLocked(at)
	idle := c.cfg.IdleTimeout > 0 && c.idleAt() <= at
	peer := c.judgePeerLocked(at)
	if !idle && peer != peerGone {
		c.rearmLocked()
	}
	c.life.mu.Unlock()
	if read {
		c.startBackgroundRead()
	}
	if pong {
		c.out.addControl(opPong, nil)
		c.out.flushNow()
	}
	switch {
	case idle:
		breach := idleTooLong.err()
		go c.close(breach.Code, breach.Text, breach)
	case peer == peerGone:
		go c.fail(ErrPongTimeout)
	case peer == peerSilent:
		c.sendProbe()
	}
}

// pongDueLocked reports whether an unsolicited Pong is to be sent (RFC 6455,
// Section 5.5.3), and sets when the next one is due. The caller holds life.mu.
func (c *Conn) pongDueLocked(at instant) bool {
	z := c.lazy.Load()
	if z == nil || z.pongAt == 0 || z.pongAt > at {
		return false
	}
	z.pongAt = 0
	if c.keepalive.flags.has(dataPending) {
		z.pongAt = at.add(c.pongInterval())
	}
	return z.pongAt != 0
}

// pongInterval returns how often an unsolicited Pong is sent, so that a peer
// with the same settings never finds this side gone.
func (c *Conn) pongInterval() time.Duration {
	return max(min(c.cfg.PingInterval, c.cfg.PongTimeout)/3, time.Millisecond)
}

// pingInterval returns how long the peer may be silent: PingInterval, and a
// little less on most connections, so that those that were made at the same
// time do not all send their Pings at the same time.
func (c *Conn) pingInterval() time.Duration {
	return c.cfg.PingInterval - c.cfg.PingInterval/8/256*time.Duration(c.keepalive.haste)
}

// idleAt returns when the connection will have been without a data message for
// too long. There must be an IdleTimeout.
func (c *Conn) idleAt() instant {
	return instant(c.lazy.Load().lastMessage.Load()).add(c.cfg.IdleTimeout)
}

// A peerState is what keepalive makes of the peer's silence.
type peerState uint8

const (
	peerAlive  peerState = iota // as far as known
	peerSilent                  // for so long that it is to be sent a Ping
	peerGone
)

// judgePeerLocked says what to make of the peer's silence. If that is
// peerSilent, a probe has begun, and sendProbe must be called. The caller holds
// life.mu.
func (c *Conn) judgePeerLocked(at instant) peerState {
	if c.cfg.PingInterval <= 0 {
		return peerAlive
	}
	k := &c.keepalive
	since := instant(c.read.intake.waitingSince.Load()) // asked first: who waited by then has counted all that was here
	c.hearLocked(at)
	switch {
	case k.flags.has(probing):
		return c.lookLocked(at, since)
	case k.at.add(c.pingInterval()) > at:
		return peerAlive
	}
	return c.beginProbeLocked(at)
}

// hearLocked notes that the peer was heard, and ends the probe if there is one,
// if bytes have come since the last time. It reports whether it ended a probe.
// The caller holds life.mu. The time is at.
//
// A reader takes no time stamps while bytes keep coming. It counts them, and if
// it waits, the peer was last heard when that wait began.
func (c *Conn) hearLocked(at instant) bool {
	k := &c.keepalive
	received := uint32(c.read.intake.received.Load())
	if received == k.received {
		return false
	}
	k.received, k.at = received, at
	if waits := instant(c.read.intake.waitingSince.Load()); waits != 0 {
		k.at = waits
	}
	return k.flags.clear(probing)
}

// noteHeard records that the peer was heard, if it was: a wait may also have
// ended because the application wants to read.
func (c *Conn) noteHeard() {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.hearLocked(now()) && c.life.terminal() == nil {
		c.rearmLocked()
	}
}

// beginProbeLocked begins to look for a sign of life. The caller holds life.mu.
func (c *Conn) beginProbeLocked(at instant) peerState {
	k := &c.keepalive
	k.sent, k.looks = uint32(c.out.written()), 0
	k.at = at.add(c.patience())
	k.flags.set(probing)
	return peerSilent
}

// patience returns how long after a Ping to look whether the peer showed a sign
// of life. If it may be silent for ever, it is sent the next Ping then.
func (c *Conn) patience() time.Duration {
	if c.cfg.PongTimeout == forever {
		return c.pingInterval()
	}
	return c.cfg.PongTimeout
}

// maxLooks is how often a probe looks again for somebody that waits.
const maxLooks = 3

// lookLocked is judgePeerLocked while a probe has not seen a sign of life, which
// any byte is. A reader waits since an instant, which is 0 if none does. The
// caller holds life.mu.
//
// While other bytes leave, before which the Ping cannot, the time begins anew.
// Three things say nothing about the peer: that nobody waits for bytes, because
// the application does not read and no more fits in the buffer; that no Ping
// can be sent; and that a reader began to wait only just now, and may not have
// seen what is here. But one reader may just take over from another, so that is
// looked at again.
func (c *Conn) lookLocked(at, since instant) peerState {
	k := &c.keepalive
	if k.at > at {
		return peerAlive
	}
	before := k.sent
	k.sent = uint32(c.out.written())
	switch {
	case since == 0 && c.keepalive.flags.has(dataPending):
		c.endProbeLocked(at)
	case (k.sent != before || c.cfg.PongTimeout == forever) && c.out.isBusy():
		k.at = at.add(c.patience())
	case k.looks == 0 && since != 0 && since.add(backgroundReadDelay) > at, k.looks < maxLooks && since == 0:
		k.looks++
		k.at = at.add(backgroundReadDelay)
	case since == 0:
		c.endProbeLocked(at)
	case c.cfg.PongTimeout == forever:
		return c.beginProbeLocked(at)
	default:
		return peerGone
	}
	return peerAlive
}

// endProbeLocked ends a probe that says nothing about the peer. The caller holds
// life.mu.
func (c *Conn) endProbeLocked(at instant) {
	c.keepalive.flags.clear(probing)
	c.keepalive.at = at
}

// sendProbe sends the Ping of a probe that has begun.
func (c *Conn) sendProbe() {
	if err := c.sendPing(c.probeNumber()); err == nil {
		return
	}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.terminal() == nil {
		c.endProbeLocked(now())
		c.rearmLocked()
	}
}

// noteMessage records that something of a data message was read.
func (c *Conn) noteMessage() {
	if c.cfg.IdleTimeout > 0 {
		c.lazy.Load().lastMessage.Store(int64(now()))
	}
}
