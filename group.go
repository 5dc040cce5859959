package websocket

import (
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// A Group is a set of connections that are sent the same messages: a room, a
// topic, everyone. The zero value is empty and ready. All its methods may be
// called by several goroutines at once.
//
// A connection that ends leaves by itself. A Group must not be copied.
type Group struct {
	senders atomic.Int32 // calls of Send under way

	mu        sync.Mutex
	positions map[*Conn]int // of each member in members
	members   []*Conn
	shared    bool // members was handed out: it must not change
}

// Add makes c a member, unless it has ended, and returns what takes it out
// again. Adding a member changes nothing. Taking out may be done more than
// once, and while a message is sent: that may still reach c.
func (g *Group) Add(c *Conn) (remove func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.positions[c]; !ok && c.watch(g) {
		if g.positions == nil {
			g.positions = make(map[*Conn]int)
		}
		g.unshareLocked()
		g.positions[c] = len(g.members)
		g.members = append(g.members, c)
	}
	return func() { g.remove(c) }
}

// remove takes c out. The last member takes its place.
func (g *Group) remove(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.positions[c]
	if !ok {
		return
	}
	c.unwatch(g)
	g.unshareLocked()
	end := len(g.members) - 1
	last := g.members[end]
	g.members[at], g.positions[last] = last, at
	g.members[end] = nil
	g.members = g.members[:end]
	delete(g.positions, c)
}

// unshareLocked makes members safe to change. The caller holds g.mu.
func (g *Group) unshareLocked() {
	if g.shared {
		g.members = slices.Clone(g.members)
		g.shared = false
	}
}

// ended takes c out.
func (g *Group) ended(c *Conn) { g.remove(c) }

// gone has nothing left to do.
func (g *Group) gone(*Conn) {}

// snapshot returns the members, in a slice that does not change. They are
// roughly in the order they came, which is that of their memory here and in the
// kernel.
func (g *Group) snapshot() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shared = true
	return g.members
}

// Send queues m for every member, as SendPrepared does, and returns for how
// many it did and for how many it did not: because their queue is full, they
// are ending, or m must not be sent.
//
// Send never waits for a member. What happens to one whose queue is full is
// for its Config.SlowConsumer to say; under [Block], where SendPrepared would wait, the
// message is dropped for this member and counted in its Stats. All members get
// the messages of one goroutine in the order of its calls; messages that
// several send at the same time share system calls, and may come in another
// order to each member.
func (g *Group) Send(m *Prepared) (queued, dropped int) {
	g.senders.Add(1)
	defer g.senders.Add(-1)
	members := g.snapshot()
	flushed := len(members) // how many were not left for later
	for i, c := range members {
		later := g.senders.Load() > 1
		if later {
			flushed = min(flushed, i)
		}
		if g.sendTo(c, m, later) == nil {
			queued++
		} else {
			dropped++
		}
	}
	if flushed < len(members) {
		// Whoever flushes a member first takes the messages of all senders
		// along: they share a system call.
		runtime.Gosched()
		for _, c := range members[flushed:] {
			c.out.flushNow()
		}
	}
	return queued, dropped
}

// sendTo sends m to one member, without ever waiting.
func (g *Group) sendTo(c *Conn, m *Prepared, later bool) error {
	policy := c.cfg.SlowConsumer
	if policy == Block {
		policy = DropNewest
	}
	return c.sendPrepared(m, policy, later)
}

// All returns the members as they are when the loop begins, in any order. The
// loop may change the group.
func (g *Group) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range g.snapshot() {
			if !yield(c) {
				return
			}
		}
	}
}

// Len returns the number of members.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}
