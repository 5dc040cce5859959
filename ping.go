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

	mu      sync.Mutex // guards what follows, and the pings in waiting
	last    uint64     // number of the last Ping, which is its payload
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
// Section 5.5.3). trace may be nil, and s as well.
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

// hasPending reports whether a Ping waits for its Pong. s may be nil.
func (s *pings) hasPending() bool { return s != nil && s.pending.Load() > 0 }

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
	if err := mayPing(c.nc.Conn); err != nil {
		return 0, err
	}
	p, err := c.sendPing()
	if err != nil {
		return 0, c.writeError(ctx, err)
	}
	defer c.keepalive.pings.Load().remove(p)
	select {
	case <-p.wake:
		return p.rtt, nil
	case <-ctx.Done():
		return 0, c.contextError(ctx)
	case <-c.endedChan():
		return 0, c.terminal()
	}
}

// sendPing sends a Ping, which the caller must remove from the pings, and makes
// sure that somebody reads the Pong. It does not wait.
func (c *Conn) sendPing() (*ping, error) {
	c.keepalive.pings.CompareAndSwap(nil, new(pings))
	pings := c.keepalive.pings.Load()
	p := pings.add()
	if err := c.out.addControl(opPing, binary.BigEndian.AppendUint64(nil, p.number)); err != nil {
		pings.remove(p)
		return nil, err
	}
	c.out.flushNow()
	c.ensureReading(atOnce)
	return p, nil
}
