package websocket

import (
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// A Group is a set of connections that are sent the same messages: a room, a
// topic, all users. The zero value is empty and ready. All its methods may be
// called by several goroutines at once.
//
// A connection is removed when it ends. A Group must not be copied.
type Group struct {
	senders atomic.Int32 // number of calls of Send under way

	mu        sync.Mutex
	positions map[*Conn]int // the index of each member in members
	members   []*Conn
	shared    bool // a snapshot shares members, which must not change
}

// Add makes c a member, unless it has ended, and returns a function that
// removes it. Adding a member again changes nothing. The function may be called
// more than once, also while a message is being sent, which may then still
// reach c.
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

// remove removes c and moves the last member to its position.
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

// unshareLocked copies members if a snapshot shares it, so that it may be
// changed. The caller holds g.mu.
func (g *Group) unshareLocked() {
	if g.shared {
		g.members = slices.Clone(g.members)
		g.shared = false
	}
}

// ended removes c.
func (g *Group) ended(c *Conn) { g.remove(c) }

// gone does nothing: ended has removed the connection.
func (g *Group) gone(*Conn) {}

// snapshot returns the members in a slice that does not change. They are
// roughly in the order in which they were added, which is also that of their
// memory, here and in the kernel.
func (g *Group) snapshot() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shared = true
	return g.members
}

// Send queues m for every member, as SendPrepared does. It returns the number
// of members for which m was queued and the number of those for which it was
// not, because their queue is full, they are ending, or m must not be sent.
//
// Send never waits for a member. If the queue of a member is full, its
// Config.SlowConsumer decides; under [Block], where SendPrepared would wait,
// the message is dropped for this member and counted in its Stats. Every member
// gets the messages of one goroutine in the order of its calls. Messages that
// several goroutines send at the same time share system calls, and their order
// may differ between members.
func (g *Group) Send(m *Prepared) (queued, dropped int) {
	g.senders.Add(1)
	defer g.senders.Add(-1)
	members := g.snapshot()
	flushed := len(members) // members before this index need no flush
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
		// The call that flushes a member first also writes the messages of
		// other calls: they share a system call.
		runtime.Gosched()
		for _, c := range members[flushed:] {
			c.out.flushNow()
		}
	}
	return queued, dropped
}

// sendTo sends m to one member without waiting. If later is set, m is only
// queued, and the caller flushes.
func (g *Group) sendTo(c *Conn, m *Prepared, later bool) error {
	policy := c.cfg.SlowConsumer
	if policy == Block {
		policy = DropNewest
	}
	waits, err := c.postPrepared(m, policy)
	if err == nil && !waits && !later {
		c.out.flushNow()
	}
	return err
}

// All returns an iterator over the members that there are when the loop begins,
// in any order. The loop may change the group.
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
