package websocket

import (
	"context"
	"encoding/binary"
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
	wake     chan struct{} // holds one; to look at answered, or to try to read
}

// add enters a new Ping.
func (s *pings) add() *ping {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	p := &ping{number: s.last, sent: now(), wake: make(chan struct{}, 1)}
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
		p.signal()
	}
}

// nudge lets all who wait try to read.
func (s *pings) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.waiting {
		p.signal()
	}
}

// result returns the round trip time if p was answered.
func (s *pings) result(p *ping) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.rtt, p.answered
}

// signal wakes the owner of p.
func (p *ping) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Ping sends a Ping and returns how long the Pong took. It works with nobody
// reading: then it reads for itself, up to the header of the next data frame,
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
	c.pings.CompareAndSwap(nil, new(pings))
	pings := c.pings.Load()
	p := pings.add()
	defer pings.remove(p)
	if err := c.out.control(opPing, binary.BigEndian.AppendUint64(nil, p.number)); err != nil {
		return 0, c.writeError(ctx, err)
	}
	c.out.flushNow()
	for {
		if rtt, ok := pings.result(p); ok {
			return rtt, nil
		}
		if c.reading.try() {
			if err := c.readControl(ctx, p); err != nil {
				return 0, err
			}
			continue
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return 0, c.over(ctx)
		case <-c.endedChan():
			return 0, c.terminal()
		}
	}
}

// readControl reads with nobody else reading, until p is answered, the
// application wants to read, or a data frame comes. In the last two cases it
// waits until there is reason to try again. It has the reading turn, and gives
// it on.
func (c *Conn) readControl(ctx context.Context, p *ping) error {
	if err := c.terminal(); err != nil {
		c.reading.give()
		return err
	}
	pings := c.pings.Load()
	stuck := !c.betweenFrames()
	var err error
	for !stuck && err == nil && !p.done(pings) {
		stuck, err = c.readControlFrame(caller{ctx: ctx, own: true})
	}
	if stuck {
		c.stuck.Store(true)
	}
	c.reading.give()
	switch {
	case p.done(pings):
		c.nudgePings()
		return nil
	case ctx.Err() != nil:
		c.nudgePings()
		return c.over(ctx)
	case c.terminal() != nil:
		return c.terminal()
	}
	select {
	case <-p.wake:
		return nil
	case <-ctx.Done():
		return c.over(ctx)
	case <-c.endedChan():
		return c.terminal()
	}
}

// nudgePings lets those who wait for a Pong try to read.
func (c *Conn) nudgePings() {
	if s := c.pings.Load(); s != nil && s.pending.Load() > 0 {
		c.stuck.Store(false)
		s.nudge()
	}
}

// done reports whether p was answered.
func (p *ping) done(s *pings) bool {
	_, ok := s.result(p)
	return ok
}

// betweenFrames reports whether the next byte to read belongs to a header.
func (c *Conn) betweenFrames() bool { return !c.in.current && c.in.left == 0 }

// readControlFrame handles what has arrived up to the next data frame, or else
// waits for more once. stuck is true when a data frame is next, whose header is
// left to the application: it may be in the middle of a message. While the
// connection is closing, data is dropped.
func (c *Conn) readControlFrame(by caller) (stuck bool, err error) {
	if c.in.dataWaits() && !c.isClosing() {
		return true, nil
	}
	h, payload, ok, v := c.in.next()
	switch {
	case v != noViolation:
		return false, c.failProtocol(v)
	case !ok:
		_, err := c.receive(by, nil)
		return false, err
	}
	c.countFrame(h)
	if !h.opcode().isControl() {
		return false, c.discardFrame(by)
	}
	err = c.handleControl(h.opcode(), payload)
	c.flushPong()
	return false, err
}

// keepalive finds peers that are gone, and connections that nobody uses. It is
// guarded by Conn.mu, but for lastMessage.
type keepalive struct {
	timer       *time.Timer
	received    uint64  // bytes received at the last look
	looked      instant // when that was
	heard       instant // when the peer was last heard, as far as known
	probing     bool    // a Ping waits for its Pong
	lastMessage atomic.Int64
}

// startKeepalive starts the timer if there is something to watch.
func (c *Conn) startKeepalive() {
	if c.cfg.PingInterval == 0 && c.cfg.IdleTimeout == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.keepalive
	k.looked = now()
	k.heard = k.looked
	k.lastMessage.Store(int64(k.looked))
	k.timer = time.AfterFunc(firstOf(c.cfg.PingInterval, c.cfg.IdleTimeout), c.tick)
}

// firstOf returns the shorter of two durations of which 0 means never.
func firstOf(a, b time.Duration) time.Duration {
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
	idle := c.idleLeft()
	ping := c.pingLeft()
	probe := c.cfg.PingInterval > 0 && ping <= 0 && !c.keepalive.probing
	if probe {
		c.keepalive.probing = true
	}
	if c.keepalive.probing {
		ping = 0
	}
	if wait := firstOf(max(ping, 0), max(idle, 0)); wait > 0 {
		c.keepalive.timer.Reset(wait)
	}
	c.mu.Unlock()
	switch {
	case c.cfg.IdleTimeout > 0 && idle <= 0:
		breach := idleTooLong.err()
		c.close(breach.Code, breach.Text, breach)
	case probe:
		c.probe()
	}
	c.standIn()
}

// standIn reads as long as nobody else does, up to the header of the next data
// frame, so that the peer's Pings are answered.
func (c *Conn) standIn() {
	if !c.reading.try() {
		return
	}
	defer c.endOwnRead()
	if c.terminal() != nil {
		return
	}
	stuck := !c.betweenFrames()
	for !stuck {
		var err error
		if stuck, err = c.readControlFrame(caller{ctx: context.Background(), own: true}); err != nil {
			return
		}
	}
	c.stuck.Store(true)
}

// endOwnRead gives on the reading turn that a call of our own had. Unless a
// data frame is in the way, others may try to read.
func (c *Conn) endOwnRead() {
	stuck := !c.betweenFrames() || c.in.dataWaits()
	c.reading.give()
	if !stuck {
		c.nudgePings()
	}
}

// idleLeft returns how long the connection may still be without a message.
func (c *Conn) idleLeft() time.Duration {
	if c.cfg.IdleTimeout == 0 {
		return 0
	}
	return instant(c.keepalive.lastMessage.Load()).add(c.cfg.IdleTimeout).until()
}

// pingLeft returns how long the peer may still be silent before it is sent a
// Ping. The reader leaves no time stamps while bytes keep coming: they are
// counted, and the moment when it began to wait again is when the peer was
// last heard. The caller holds c.mu.
func (c *Conn) pingLeft() time.Duration {
	if c.cfg.PingInterval == 0 {
		return 0
	}
	k := &c.keepalive
	at := now()
	if received := c.in.received.Load(); received != k.received {
		k.received = received
		k.heard = at
		if parked := instant(c.in.parked.Load()); parked > k.looked {
			k.heard = parked
		}
	}
	k.looked = at
	return k.heard.add(c.cfg.PingInterval).until()
}

// probe sends a Ping and ends the connection if the peer stays silent. That no
// Ping can be sent any more says nothing about the peer.
func (c *Conn) probe() {
	before := c.in.received.Load()
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.PongTimeout)
	defer cancel()
	_, err := c.Ping(ctx)
	silent := err != nil && ctx.Err() != nil && c.in.received.Load() == before
	if silent && !c.stuck.Load() {
		c.fail(ErrPongTimeout)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.keepalive
	k.probing = false
	k.heard = now()
	if c.end.Load() == nil {
		k.timer.Reset(firstOf(c.cfg.PingInterval, max(c.idleLeft(), 0)))
	}
}

// messageHeard notes that a data message came.
func (c *Conn) messageHeard() {
	if c.cfg.IdleTimeout > 0 {
		c.keepalive.lastMessage.Store(int64(now()))
	}
}
