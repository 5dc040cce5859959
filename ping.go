package websocket

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pings are the Pings that wait for their Pong (RFC 6455, Section 5.5.2).
type pings struct {
	pending atomic.Int32 // len(waiting)

	mu      sync.Mutex // guards what follows, and the pings in waiting
	last    uint64     // number of the last Ping, which its payload has
	waiting []*ping
	probe   ping // the last one of keepalive, for the Trace; number 0: there is none without its Pong
}

// pingMask is mixed into the payloads of our Pings, so that those of the
// application's are not taken for them.
var pingMask = func() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}()

// A ping waits for its Pong.
type ping struct {
	number   uint64
	sent     instant
	answered bool
	rtt      time.Duration
	wake     chan struct{} // closed when it is answered
}

// add adds a new Ping.
func (s *pings) add() *ping {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	p := &ping{number: s.last, sent: now(), wake: make(chan struct{})}
	s.waiting = append(s.waiting, p)
	s.pending.Add(1)
	return p
}

// addProbe adds a new Ping that nobody waits for, and returns its number.
func (s *pings) addProbe() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.probe = ping{number: s.last, sent: now()}
	return s.last
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

// answer is called with the payload of a Pong. It answers the Ping with that
// payload and all before it; a Pong that answers none is ignored (RFC 6455,
// Section 5.5.3). answered is called for each.
func (s *pings) answer(payload []byte, answered func(rtt time.Duration)) {
	if len(payload) != 8 {
		return
	}
	number := binary.BigEndian.Uint64(payload) ^ pingMask
	s.mu.Lock()
	defer s.mu.Unlock()
	if number > s.last {
		return
	}
	for _, p := range s.waiting {
		if p.number <= number && !p.answered {
			answered(p.answer())
			close(p.wake)
		}
	}
	if s.probe.number != 0 && s.probe.number <= number {
		answered(s.probe.answer())
		s.probe.number = 0
	}
}

// answer records that the Pong has come, and returns how long that took.
func (p *ping) answer() (rtt time.Duration) {
	p.answered, p.rtt = true, -p.sent.until()
	return p.rtt
}

// pingWaits reports whether a Ping waits for its Pong, or for another sign of
// life.
func (c *Conn) pingWaits() bool {
	k := &c.keepalive
	if k.flags.has(probing) {
		return true
	}
	z := c.lazy.Load()
	return z != nil && z.pings.pending.Load() > 0
}

// handlePong lets a Pong with this payload answer Pings. The caller holds
// read.lock.
func (c *Conn) handlePong(payload []byte) {
	if z := c.lazy.Load(); z != nil {
		z.pings.answer(payload, c.tracePong)
	}
	if c.keepalive.flags.has(probing) {
		c.noteHeard()
	}
}

// Ping sends a Ping and returns how long the Pong took. It works while nobody
// reads: the connection reads by itself then, up to the header of the next data
// frame, which it leaves to the application. A Pong behind data that nobody
// reads is not seen until somebody does.
func (c *Conn) Ping(ctx context.Context) (rtt time.Duration, err error) {
	ctx = c.callContext(ctx)
	if ctx.Done() != nil {
		if err := c.contextError(ctx); err != nil {
			return 0, err
		}
	}
	if err := mayPing(c.socket().Conn); err != nil {
		return 0, err
	}
	pings := &c.ensureLazy().pings
	p := pings.add()
	defer pings.remove(p)
	if err := c.sendPing(p.number); err != nil {
		return 0, c.writeError(ctx, err)
	}
	select {
	case <-p.wake:
		return p.rtt, nil
	case <-ctx.Done():
		return 0, c.contextError(ctx)
	case <-c.endedChan():
		return 0, c.terminal()
	}
}

// SendPing sends a Ping with a payload of up to 125 bytes, and does not wait for
// it to leave, nor for the Pong: Config.OnPong is called with that. If so many
// control frames wait already that the peer must have stopped reading, it
// returns [ErrQueueFull] and sends nothing.
//
// [Conn.Ping] measures the round trip, and Config.PingInterval keeps a
// connection alive: SendPing is for payloads with a meaning, such as those that
// a proxy passes on.
func (c *Conn) SendPing(payload []byte) error {
	err := c.sendControl(opPing, payload)
	if err == nil {
		c.ensurePongIsRead()
	}
	return err
}

// SendPong is SendPing for a Pong: the answer to a Ping that Config.OnPing has
// left unanswered, or a sign of life that nobody asked for (RFC 6455, Section
// 5.5.3).
func (c *Conn) SendPong(payload []byte) error { return c.sendControl(opPong, payload) }

// errControlTooLong is the error for a Ping or Pong that is too long.
var errControlTooLong = errors.New("websocket: payload of a Ping or Pong has more than 125 bytes")

// sendControl sends a control frame of the application's. It does not wait.
func (c *Conn) sendControl(op opcode, payload []byte) error {
	if len(payload) > maxControlPayload {
		return errControlTooLong
	}
	if err := mayPing(c.socket().Conn); err != nil {
		return err
	}
	if err := c.refusalError(); err != nil {
		return err
	}
	if c.out.hasManyControls() {
		return ErrQueueFull
	}
	if err := c.out.addControl(op, payload); err != nil {
		return c.writeError(context.Background(), err)
	}
	c.out.flushNow()
	return nil
}

// probeNumber returns the number for a Ping that nobody waits for. Its Pong
// answers those before it, too. While nobody needs to tell it from others, that
// is 0.
func (c *Conn) probeNumber() uint64 {
	z := c.lazy.Load()
	if z == nil && c.cfg.Trace != nil && c.cfg.Trace.Pong != nil {
		z = c.ensureLazy()
	}
	if z == nil {
		return 0
	}
	return z.pings.addProbe()
}

// sendPing sends a Ping with this number, and makes sure that somebody reads the
// Pong. It does not wait.
func (c *Conn) sendPing(number uint64) error {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], number^pingMask)
	if err := c.out.addControl(opPing, payload[:]); err != nil {
		return err
	}
	c.out.flushNow()
	c.ensurePongIsRead()
	return nil
}

// ensurePongIsRead makes sure that somebody reads the Pong of a Ping that was
// sent. It does not read itself, because that calls hooks.
func (c *Conn) ensurePongIsRead() {
	if d := c.delivery.Load(); d != nil && d.marks.has(parked) && d.turn.Load() != turnFree {
		go c.readControls(d)
	}
	c.ensureReading(atOnce)
}
