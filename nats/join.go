package natsgroup

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// JoinOptions are those of one Join. nil and the zero value mean that the member
// gets what is published from now on, and that Presence does not list it.
type JoinOptions struct {
	// After is the last sequence that the client has seen of this topic, or the
	// Membership.Start of its first Join: it gets everything after that. 0 means
	// that it gets what comes from now on. A sequence is less than 1<<53.
	After uint64

	// Presence is what Topic.Present tells about the member, such as its name: up
	// to 1 KiB. nil means that the member is not listed.
	Presence []byte
}

// A Membership is that of one connection in one topic.
type Membership struct {
	c      *websocket.Conn
	f      *feed
	start  uint64
	remove func()      // from everyone of the feed
	entry  *entry      // in presence; nil if it is not listed
	stop   func() bool // ends the wait for the connection's end
	once   sync.Once
}

// Start returns the sequence from which on the member gets what is published: a
// client that sees nothing more resumes after it.
func (m *Membership) Start() uint64 { return m.start }

// Leave ends the membership. It ends by itself with the connection. Leave may be
// called more than once.
func (m *Membership) Leave() {
	m.stop()
	m.end()
}

// end ends the membership, once.
func (m *Membership) end() {
	m.once.Do(func() {
		m.remove()
		m.f.drop(m)
		if m.entry != nil {
			m.f.g.presence.remove(m.entry)
		}
	})
}

// Join makes c, which may have a goroutine of its own or be parked, a member of the
// topic until it ends or leaves. If opts.After is set, Join first writes to c what
// it missed, as Conn.Write does, at the speed of its peer; then c gets what comes,
// without a gap and without a message twice.
//
// Join returns when c has been sent everything up to now. It needs NATS if c is the
// first member of the topic on this node, or misses more than Options.Recent, and
// waits for it until ctx ends. The error is a *GapError if the stream may not have
// all that c missed, also because it was made anew, and ErrMember if c is a member
// already. To find that a sequence has not been given out yet takes 15 seconds or
// more, because a server that has just been elected, or was cut off, knows less than
// others.
//
// A member that does not keep up is its node's problem: Config.SlowConsumer decides.
// With websocket.CloseSlow it is closed, and resumes; with the other policies it
// loses messages, which its Stats count.
func (t *Topic) Join(ctx context.Context, c *websocket.Conn, opts *JoinOptions) (*Membership, error) {
	if opts == nil {
		opts = &JoinOptions{}
	}
	if len(opts.Presence) > maxInfo {
		return nil, errPresence
	}
	m := &Membership{c: c}
	f, err := t.g.feed(t.name, m)
	if err != nil {
		return nil, err
	}
	m.f = f
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.g.ctx, cancel)()
	err = m.join(ctx, opts.After)
	if t.g.ctx.Err() != nil {
		err = ErrClosed
	}
	if err != nil {
		if m.remove != nil {
			m.remove()
		}
		f.drop(m)
		return nil, err
	}
	if opts.Presence != nil {
		m.entry = t.g.presence.add(ctx, t.name, opts.Presence)
	}
	m.stop = context.AfterFunc(c.Context(), m.end)
	return m, nil
}

// join writes to c what it has not seen after the sequence after, and makes it one
// of everyone at the moment when it has seen as much as they.
func (m *Membership) join(ctx context.Context, after uint64) error {
	f := m.f
	select {
	case <-f.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if after == 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		m.start, m.remove = f.last, f.everyone.Add(m.c)
		return nil
	}
	m.start = after
	if err := f.await(ctx, after); err != nil {
		return err
	}
	j := &joiner{seen: after, lost: true}
	defer f.forget(j)
	for {
		history, done := m.settle(j)
		if done {
			return nil
		}
		if err := m.write(ctx, j, history); err != nil {
			return err
		}
	}
}

// settle makes c one of everyone if it has seen all that they have. Otherwise it
// returns up to which sequence c must be written the history, if any, before what is
// pending.
func (m *Membership) settle(j *joiner) (history uint64, done bool) {
	f := m.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case j.seen >= f.newest, !j.lost && len(j.pending) == 0:
		m.remove = f.everyone.Add(m.c)
		return 0, true
	case j.lost:
		j.lost = false
		f.joining[j] = struct{}{}
		if j.seen >= f.recent.since {
			j.pending = f.recent.after(j.seen)
			return 0, false
		}
		return f.last, false
	}
	return 0, false
}

// write writes the history up to a sequence to c, and what is pending then.
func (m *Membership) write(ctx context.Context, j *joiner, history uint64) error {
	for j.seen < history {
		page, err := m.f.page(ctx, j.seen, history)
		if err != nil {
			return err
		}
		for _, next := range page.msgs {
			if next.seq > history { // it is pending, or will be
				break
			}
			if err := m.c.WritePrepared(ctx, next.p); err != nil {
				return err
			}
		}
		j.seen = min(page.last, history)
	}
	for _, next := range m.f.take(j) {
		if next.seq <= j.seen {
			continue
		}
		if err := m.c.WritePrepared(ctx, next.p); err != nil {
			return err
		}
		j.seen = next.seq
	}
	return nil
}

// A page is a part of a topic's history.
type page struct {
	msgs []pending
	last uint64 // it has all messages up to here
}

// page returns the messages that follow after in the history, as many as fit into an
// answer, or all up to upTo. Members that missed the same share it, as long as they
// ask at the same time: when a node was lost, that is most of its members.
func (f *feed) page(ctx context.Context, after, upTo uint64) (page, error) {
	return share(ctx, &f.asking, strconv.FormatUint(after, 10), func() (page, error) {
		msgs, err := f.g.history.next(f.ctx, f.topic, after, upTo)
		p := page{last: upTo}
		for _, msg := range msgs {
			p.msgs = append(p.msgs, f.g.pending(msg))
			p.last = msg.Seq
		}
		return p, err
	})
}

// A joiner is a member to be, which is written its history while messages come.
type joiner struct {
	seen uint64 // only for the call of Join

	// Under the mu of the feed:
	pending []pending // what came since its history was asked for
	bytes   int       // of pending
	lost    bool      // more came than is held: its history is longer now
}

// A pending message is one that is yet to be written to members.
type pending struct {
	seq  uint64
	p    *websocket.Prepared
	size int // bytes of the message
}

// Bounds on what is held for a joiner.
const (
	maxJoining      = 256
	maxJoiningBytes = 1 << 20
)

// add holds a message for the joiner, if there is room. The caller holds the feed's
// mu.
func (j *joiner) add(next pending) {
	j.bytes += next.size
	if j.lost || len(j.pending) == maxJoining || j.bytes > maxJoiningBytes {
		j.pending, j.bytes, j.lost = nil, 0, true
		return
	}
	j.pending = append(j.pending, next)
}

// A recent is the latest messages of a topic, for members that come back before NATS
// needs to be asked: all of them at once, after the death of a node.
type recent struct {
	msgs  []pending
	bytes int
	limit int    // most bytes
	since uint64 // every message after this one is there
}

// add adds a message, and removes the oldest if there are too many.
func (r *recent) add(next pending) {
	r.msgs = append(r.msgs, next)
	r.bytes += next.size
	drop := 0
	for ; drop < len(r.msgs) && (r.bytes > r.limit || len(r.msgs)-drop > maxJoining/2); drop++ {
		r.bytes -= r.msgs[drop].size
		r.since = r.msgs[drop].seq
	}
	r.msgs = slices.Delete(r.msgs, 0, drop)
}

// after returns the messages after a sequence, in a slice of their own.
func (r *recent) after(seq uint64) []pending {
	i, _ := slices.BinarySearchFunc(r.msgs, seq+1, func(p pending, seq uint64) int { return cmp.Compare(p.seq, seq) })
	return slices.Clone(r.msgs[i:])
}

// take returns what is pending, which is the caller's then.
func (f *feed) take(j *joiner) []pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := j.pending
	j.pending, j.bytes = nil, 0
	return all
}
