package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pings are the Pings that wait for their Pong (RFC 6455, Section 5.5.2).
type pings struct {
	pending atomic.Int32 // len(waiting)

	mu      sync.Mutex
	last    uint64 // number of the last Ping, which is its payload
	waiting []*ping
}

// A ping waits for its Pong.
type ping struct {
	number   uint64
	sent     instant
	answered bool
	rtt      time.Duration
	wake     chan struct{} // closed when it is answered
}

// add enters a new Ping.
func (s *pings) add() *ping {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	p := &ping{number: s.last, sent: now(), wake: make(chan struct{})}
	s.waiting = append(s.waiting, p)
	s.pending.Add(1)
	return p
}

// remove forgets p.
func (s *pings) remove(p *ping) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, p); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.pending.Add(-1)
	}
}

// answer enters the payload of a Pong. It answers the Ping with that payload
// and all before it; one that answers none is ignored (RFC 6455,
// Section 5.5.3). s may be nil.
func (s *pings) answer(payload []byte, trace *Trace) {
	if len(payload) != 8 || s == nil || s.pending.Load() == 0 {
		return
	}
	number := binary.BigEndian.Uint64(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if number > s.last {
		return
	}
	for _, p := range s.waiting {
		if p.number > number || p.answered {
			continue
		}
		p.answered, p.rtt = true, -p.sent.until()
		if trace != nil && trace.Pong != nil {
			trace.Pong(p.rtt)
		}
		close(p.wake)
	}
}

// waits reports whether a Ping waits for its Pong. s may be nil.
func (s *pings) waits() bool { return s != nil && s.pending.Load() > 0 }

// Ping sends a Ping and returns how long the Pong took. It works with nobody
// reading: the stand-in reads then, up to the header of the next data frame,
// and leaves that to the application. A Pong behind data that nobody reads is
// not seen until somebody does.
func (c *Conn) Ping(ctx context.Context) (rtt time.Duration, err error) {
	ctx = c.bounding(ctx)
	if ctx.Done() != nil {
		if err := c.over(ctx); err != nil {
			return 0, err
		}
	}
	if err := mayPing(c.nc.Conn); err != nil {
		return 0, err
	}
	p, err := c.sendPing()
	if err != nil {
		return 0, c.writeError(ctx, err)
	}
	defer c.pings.Load().remove(p)
	select {
	case <-p.wake:
		return p.rtt, nil
	case <-ctx.Done():
		return 0, c.over(ctx)
	case <-c.endedChan():
		return 0, c.terminal()
	}
}

// sendPing sends a Ping, which must be removed from c.pings, and sees to it
// that somebody reads the Pong.
func (c *Conn) sendPing() (*ping, error) {
	c.pings.CompareAndSwap(nil, new(pings))
	pings := c.pings.Load()
	p := pings.add()
	if err := c.out.control(opPing, binary.BigEndian.AppendUint64(nil, p.number)); err != nil {
		pings.remove(p)
		return nil, err
	}
	c.out.flushNow()
	c.seeToReading(atOnce)
	return p, nil
}

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

// keepalive finds peers that are gone, connections that nobody uses, and those
// that nobody reads. It is guarded by Conn.mu, but for lastMessage.
type keepalive struct {
	timer       *time.Timer
	standIn     instant // when to look whether a stand-in is needed; 0: never
	progress    uint64  // Conn.progress when that was decided
	beat        instant // when the next sign of life is due; 0: never
	received    uint64  // bytes received at the last look
	heard       instant // when the peer was last heard, as far as known
	lastMessage atomic.Int64
}

// startKeepalive starts the timer, and sees to it that somebody reads.
func (c *Conn) startKeepalive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.keepalive
	k.heard = now()
	k.lastMessage.Store(int64(k.heard))
	k.received = c.in.received.Load()
	k.progress = c.progress()
	k.timer = time.AfterFunc(standInDelay, c.tick)
	if c.nc.raw != nil {
		k.standIn = k.heard.add(standInDelay)
		c.standIn.Store(standInDue)
		return
	}
	k.timer.Stop()
	c.rearmLocked()
	go c.readAlone()
}

// rearmLocked makes the timer call tick when the next thing is due. The caller
// holds c.mu. A reader that leaves meanwhile resets the timer itself, without
// the lock: what it wants is looked at before and behind.
func (c *Conn) rearmLocked() {
	k := &c.keepalive
	for again := true; again; again = c.standIn.Load() == standInDue && k.standIn == 0 {
		if c.standIn.Load() == standInDue && k.standIn == 0 {
			k.standIn = now().add(standInDelay)
		}
		if next := c.nextLocked(); next != 0 {
			k.timer.Reset(next.until())
		}
	}
}

// nextLocked returns when something is due; 0 is never. The caller holds c.mu.
func (c *Conn) nextLocked() instant {
	k := &c.keepalive
	next := earliest(k.standIn, k.beat)
	if c.cfg.PingInterval > 0 && !c.probing.Load() {
		next = earliest(next, k.heard.add(c.cfg.PingInterval))
	}
	if c.cfg.IdleTimeout > 0 {
		next = earliest(next, c.idleAt())
	}
	return next
}

// earliest returns the earlier of two instants of which 0 means never.
func earliest(a, b instant) instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// stop ends the watch. The caller holds Conn.mu.
func (k *keepalive) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// tick is called by the timer.
func (c *Conn) tick() {
	c.mu.Lock()
	if c.end.Load() != nil {
		c.mu.Unlock()
		return
	}
	at := now()
	c.standInLocked()
	beat := c.beatLocked(at)
	idle := c.cfg.IdleTimeout > 0 && c.idleAt() <= at
	probe := c.silentLocked(at) && !c.probing.Swap(true)
	if !idle {
		c.rearmLocked()
	}
	c.mu.Unlock()
	if beat {
		c.out.control(opPong, nil)
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

// beatLocked reports whether a sign of life is due: an unsolicited Pong (RFC
// 6455, Section 5.5.3). The caller holds c.mu.
func (c *Conn) beatLocked(at instant) bool {
	k := &c.keepalive
	if k.beat == 0 || k.beat > at {
		return false
	}
	k.beat = 0
	if c.stuck.Load() {
		k.beat = at.add(c.beatInterval())
	}
	return k.beat != 0
}

// beatInterval returns how often a sign of life is due, so that a peer with the
// same settings never takes us for gone.
func (c *Conn) beatInterval() time.Duration {
	return max(min(c.cfg.PingInterval, c.cfg.PongTimeout)/3, time.Millisecond)
}

// idleAt returns when the connection will have been without data for too long.
func (c *Conn) idleAt() instant {
	return instant(c.keepalive.lastMessage.Load()).add(c.cfg.IdleTimeout)
}

// silentLocked reports whether the peer has been silent for so long that it is
// sent a Ping. The reader leaves no time stamps while bytes keep coming: they
// are counted, and the moment since when it waits is when the peer was last
// heard. The caller holds c.mu.
func (c *Conn) silentLocked(at instant) bool {
	if c.cfg.PingInterval <= 0 {
		return false
	}
	k := &c.keepalive
	if received := c.in.received.Load(); received != k.received {
		k.received = received
		k.heard = at
		if parked := instant(c.in.parked.Load()); parked != 0 {
			k.heard = parked
		}
	}
	return k.heard.add(c.cfg.PingInterval) <= at
}

// probe sends a Ping and ends the connection if the peer gives no sign of life.
func (c *Conn) probe() {
	if !c.awaitSign() {
		c.fail(ErrPongTimeout)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing.Store(false)
	c.keepalive.heard = now()
	if c.end.Load() == nil {
		c.rearmLocked()
	}
}

// awaitSign sends a Ping and reports whether the peer gave a sign of life within
// PongTimeout: any byte is one. While other bytes leave, before which the Ping
// cannot, the time begins anew. That nobody waits for bytes, because the
// application does not read and no more fits in our buffer, or that no Ping can
// be sent, says nothing about the peer; nor does it that somebody began to wait
// only now, who may not have looked yet for what is here.
func (c *Conn) awaitSign() bool {
	received, left := c.in.received.Load(), c.out.left()
	p, err := c.sendPing()
	if err != nil {
		return true
	}
	defer c.pings.Load().remove(p)
	timeout := time.NewTimer(c.cfg.PongTimeout)
	defer timeout.Stop()
	for looked := false; ; {
		select {
		case <-p.wake:
			return true
		case <-c.endedChan():
			return true
		case <-timeout.C:
		}
		before := left
		left = c.out.left()
		parked := instant(c.in.parked.Load())
		switch {
		case c.in.received.Load() != received || parked == 0:
			return true
		case left != before && c.out.isBusy():
			timeout.Reset(c.cfg.PongTimeout)
		case !looked && parked.add(standInDelay) > now():
			looked = true
			timeout.Reset(standInDelay)
		default:
			return false
		}
	}
}

// messageHeard notes that data came.
func (c *Conn) messageHeard() {
	if c.cfg.IdleTimeout > 0 {
		c.keepalive.lastMessage.Store(int64(now()))
	}
}
