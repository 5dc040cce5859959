package natsgroup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"
)

// A feed is a topic that has members on this node. It is subscribed to the topic's
// live subject and hands on what comes in the order of the stream: each message
// names the one before it, and if that one is missing, the feed goes on from the
// stream. A feed begins with its first member and ends for good with its last; who
// joins later makes another.
//
//	  live          +------+
//	----------------| feed |------ members (one Prepared)
//	                |      |
//	  the stream    |      |------ joining (their history first)
//	----------------|      |
//	  (after a gap) +------+
type feed struct {
	g     *Group
	topic string
	ready chan struct{}   // closed when last is known
	ctx   context.Context // ends with the last member, or the group
	end   context.CancelFunc

	everyone websocket.Group    // members that get what comes
	asking   singleflight.Group // questions that members cause

	// Under the mu of the group:
	sub     *nats.Subscription
	members map[*websocket.Conn]*Membership // everyone, and those that are joining

	mu      sync.Mutex
	joining map[*joiner]struct{}
	last    uint64        // what comes up to here was handed on, or there was nothing
	newest  uint64        // who has seen up to here has missed nothing; at most last
	target  uint64        // catchUp ends when last has reached it; 0 if none runs
	moved   chan struct{} // closed when last grows; nil if nobody waits
	recent  recent
}

// maxPending bounds what nats.go holds of one topic while members are sent
// messages, in bytes. What is dropped beyond comes from the stream.
const maxPending = 8 << 20

// feed returns the feed of a topic with m as a member, and makes it if there is
// none.
func (g *Group) feed(topic string, m *Membership) (*feed, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx.Err() != nil {
		return nil, ErrClosed
	}
	f := g.feeds[topic]
	if f == nil {
		f = &feed{
			g: g, topic: topic, ready: make(chan struct{}),
			members: make(map[*websocket.Conn]*Membership), joining: make(map[*joiner]struct{}),
		}
		f.ctx, f.end = context.WithCancel(g.ctx)
		g.feeds[topic] = f
		g.running.Go(f.begin)
	}
	if f.members[m.c] != nil {
		return nil, ErrMember
	}
	f.members[m.c] = m
	return f, nil
}

// begin subscribes to the topic and finds out where the stream is. Whatever is
// stored from then on either comes live or is found missing.
func (f *feed) begin() {
	for f.ctx.Err() == nil {
		err := f.subscribe()
		if err == nil {
			close(f.ready)
			return
		}
		f.g.log.Warn("natsgroup: begin of a topic", "topic", f.topic, "error", err)
		sleep(f.ctx, retryWait)
	}
}

// subscribe is one attempt of begin.
func (f *feed) subscribe() error {
	if err := f.listen(); err != nil {
		return err
	}
	if err := once(f.ctx, f.g.history.js.Conn().FlushWithContext); err != nil {
		return err
	}
	newest, last, err := f.g.history.end(f.ctx, f.topic)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest, f.last = newest, last
	if newest == 0 { // whatever there was before is no longer kept
		f.newest = last
	}
	f.recent = recent{since: last, limit: f.g.opts.recent()}
	return nil
}

// listen subscribes, unless that was done or the feed has ended.
func (f *feed) listen() error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if f.sub != nil || f.ctx.Err() != nil {
		return nil
	}
	sub, err := f.g.history.js.Conn().Subscribe(f.g.history.live(f.topic), f.receive)
	if err != nil {
		return err
	}
	f.sub = sub
	return sub.SetPendingLimits(-1, maxPending)
}

// drop removes a member, and ends the feed with the last.
func (f *feed) drop(m *Membership) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	delete(f.members, m.c)
	if len(f.members) == 0 {
		f.endLocked()
	}
}

// endLocked ends the feed. The caller holds the mu of the group.
func (f *feed) endLocked() {
	if f.g.feeds[f.topic] != f {
		return
	}
	f.end()
	delete(f.g.feeds, f.topic)
	if f.sub != nil {
		f.sub.Unsubscribe() // fails only if the connection is closed
	}
}

// receive takes a message that comes live. nats.go calls it for one message after
// another.
func (f *feed) receive(m *nats.Msg) {
	select {
	case <-f.ready:
	case <-f.ctx.Done():
		return
	}
	msg, previous, err := parseMsg(f.topic, m)
	if err != nil {
		f.g.log.Warn("natsgroup: a message on a live subject", "subject", m.Subject, "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case msg.Seq <= f.last: // seen
	case previous <= f.last:
		f.deliverLocked(msg)
	default:
		f.seekLocked(msg.Seq)
	}
}

// deliverLocked hands a message to everyone. The caller holds f.mu, and the message
// follows last.
func (f *feed) deliverLocked(msg Message) {
	next := f.g.pending(msg)
	f.everyone.Send(next.p)
	f.recent.add(next)
	for j := range f.joining {
		j.add(next)
	}
	f.newest = msg.Seq
	f.advanceLocked(msg.Seq)
}

// advanceLocked sets last, and wakes who waits for it. The caller holds f.mu.
func (f *feed) advanceLocked(seq uint64) {
	f.last = seq
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// movedLocked returns a channel that is closed when last grows. The caller holds
// f.mu.
func (f *feed) movedLocked() <-chan struct{} {
	if f.moved == nil {
		f.moved = make(chan struct{})
	}
	return f.moved
}

// checked takes what a check found: the sequence of the topic's last message, or 0,
// and the sequence up to which that is known.
func (f *feed) checked(last, upTo uint64) {
	select {
	case <-f.ready:
	default:
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case last > f.last: // it may be on its way still
		time.AfterFunc(checkGrace, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seekLocked(last)
		})
	case last > 0 && upTo > f.last && f.target == 0:
		f.newest = max(f.newest, last)
		f.advanceLocked(upTo)
	}
}

// checkGrace is how long a message that is stored may be on its way.
const checkGrace = 200 * time.Millisecond

// seekLocked has the feed go on from the stream until last is target. The caller
// holds f.mu.
func (f *feed) seekLocked(target uint64) {
	switch {
	case target <= f.last:
	case f.target != 0:
		f.target = max(f.target, target)
	default:
		f.target = target
		go f.catchUp()
	}
}

// catchUp hands on what the stream has after last until last is target. If the
// stream no longer has all of it, the members are closed with 1013, so that they
// come back and are told.
func (f *feed) catchUp() {
	for {
		after, target := f.missing()
		if target == 0 {
			return
		}
		msgs, err := f.g.history.next(f.ctx, f.topic, after, target)
		if gap, ok := errors.AsType[*GapError](err); ok {
			f.lose(gap, target)
			return
		}
		if err != nil {
			return // the feed has ended
		}
		f.handOn(msgs, after, target)
		f.drain()
	}
}

// missing returns the range that catchUp has to fetch, or 0 if there is nothing
// left.
func (f *feed) missing() (after, target uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last >= f.target {
		f.target = 0
	}
	return f.last, f.target
}

// handOn delivers messages that follow after, unless they came live meanwhile. No
// message means that there is none up to target.
func (f *feed) handOn(msgs []Message, after, target uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, msg := range msgs {
		if msg.Seq > f.last {
			f.deliverLocked(msg)
		}
	}
	if len(msgs) == 0 && f.last == after {
		f.advanceLocked(target)
	}
}

// drainTimeout bounds how long catchUp waits for members between two parts.
const drainTimeout = time.Second

// drain waits until the members have been sent what is queued for them, so that a
// long history does not fill their queues, but not for slow ones.
func (f *feed) drain() {
	ctx, cancel := context.WithTimeout(f.ctx, drainTimeout)
	defer cancel()
	for c := range f.everyone.All() {
		if _, queued := c.Queued(); queued > 0 {
			c.Drain(ctx)
		}
	}
}

// lose closes all members after a gap, and goes on from target.
func (f *feed) lose(gap *GapError, target uint64) {
	f.g.log.Error("natsgroup: messages are lost, members are closed", "topic", f.topic, "error", gap)
	for _, c := range f.conns() {
		go c.Close(websocket.CloseTryAgainLater, "messages were missed")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = 0
	f.newest = max(f.newest, target)
	f.recent = recent{since: max(f.last, target), limit: f.recent.limit}
	f.advanceLocked(max(f.last, target))
}

// conns returns the connections of all members.
func (f *feed) conns() []*websocket.Conn {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	return slices.Collect(maps.Keys(f.members))
}

// await waits until last is at least seq, which a client claims to have seen: on
// another node, if this one has not.
func (f *feed) await(ctx context.Context, seq uint64) error {
	if err := f.believe(ctx, seq); err != nil {
		return err
	}
	for {
		f.mu.Lock()
		f.seekLocked(seq)
		last, moved := f.last, f.movedLocked()
		f.mu.Unlock()
		if last >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claimTimeout is how long the leader of the stream has to contradict a client
// before it is believed: one that has just been elected knows less than others.
const claimTimeout = 15 * time.Second

// believe returns nil when the stream has reached a sequence that a client claims to
// have seen, and a *GapError if it has not after some time.
func (f *feed) believe(ctx context.Context, seq uint64) error {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	began := time.Now()
	var denied time.Time // since when
	var leader string    // by whom
	for last < seq {
		info, err := f.info(ctx)
		switch {
		case err != nil:
			denied = time.Time{}
		case info.State.LastSeq >= seq:
			return nil
		case info.asked.Before(began): // for somebody else
		case denied.IsZero() || leader != info.Cluster.Leader:
			denied, leader = info.asked, info.Cluster.Leader
		case time.Since(denied) >= f.g.patience && isHeard(info.Cluster, info.asked.Sub(denied)/2):
			return &GapError{Topic: f.topic, After: seq, First: info.State.LastSeq + 1}
		}
		sleep(ctx, retryWait)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// info returns what the leader of the stream says. Those who ask at the same time
// share one answer.
func (f *feed) info(ctx context.Context) (report, error) {
	return share(ctx, &f.asking, "leader", func() (report, error) { return f.g.history.info(f.ctx) })
}

// isHeard reports whether a leader has heard from most servers of its cluster within
// the last d, so that no other was elected before. One that is cut off goes on for
// 20 seconds or more.
func isHeard(c *jetstream.ClusterInfo, d time.Duration) bool {
	n := 0
	for _, peer := range c.Replicas { // which are the others
		if 0 < peer.Active && peer.Active < d { // 0 if it was never heard from
			n++
		}
	}
	return n >= (len(c.Replicas)+1)/2
}

// forget removes a joiner that has its history, or gave up.
func (f *feed) forget(j *joiner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.joining, j)
}
