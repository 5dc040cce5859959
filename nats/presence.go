package natsgroup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
)

// maxInfo is the most bytes that are told about a member or a node.
const maxInfo = 1 << 10

// errPresence is the error of a JoinOptions.Presence that is too long.
var errPresence = fmt.Errorf("natsgroup: JoinOptions.Presence must have at most %d bytes", maxInfo)

// errWatch is the error of a watch that NATS has ended.
var errWatch = errors.New("natsgroup: the watch of the presence has ended")

// A Presence says that a member is in a topic.
type Presence struct {
	ID    string    // of the membership: no two have the same
	Node  string    // Options.Node of its node
	Info  []byte    // JoinOptions.Presence
	Since time.Time // when it joined, by the clock of its node
}

// Present returns who is in the topic, on all nodes, oldest first: the members that
// joined with JoinOptions.Presence. Those of a node that was killed are present for
// Options.PresenceTTL.
func (t *Topic) Present(ctx context.Context) ([]Presence, error) {
	for list, err := range t.WatchPresence(ctx) {
		return list, err
	}
	return nil, ErrClosed
}

// WatchPresence yields who is in the topic as Present does, at once and whenever
// that changes, a few times a second at most. It ends with an error, that of ctx if
// it ends.
func (t *Topic) WatchPresence(ctx context.Context) iter.Seq2[[]Presence, error] {
	return func(yield func([]Presence, error) bool) {
		if t.g.ctx.Err() != nil {
			yield(nil, ErrClosed)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(t.g.ctx, cancel)()
		yield = t.closedFirst(yield)
		w, err := t.g.presence.entries.Watch(ctx, "*."+t.name+".*")
		if err != nil {
			yield(nil, err)
			return
		}
		defer w.Stop()
		t.g.presence.follow(ctx, w, yield)
	}
}

// closedFirst returns a yield that tells the end of the group as ErrClosed.
func (t *Topic) closedFirst(yield func([]Presence, error) bool) func([]Presence, error) bool {
	return func(list []Presence, err error) bool {
		if err != nil && t.g.ctx.Err() != nil {
			err = ErrClosed
		}
		return yield(list, err)
	}
}

// A presence is who is in which topic, in two buckets. In one, each node renews its
// lease, which has a time to live. The other has the members under the lease that
// their node had when they joined. Who joins or leaves is one write; nobody is
// written anew while nothing changes; and all members of a node that was killed are
// gone with one lease.
type presence struct {
	js      jetstream.JetStream
	nodes   jetstream.KeyValue // LEASE: nothing
	entries jetstream.KeyValue // LEASE.TOPIC.ID: a record
	ttl     time.Duration
	node    string
	gate    gate // for what members cause

	mu      sync.Mutex
	held    tenure
	own     map[*entry]struct{}
	seen    map[string]renewal // of the leases of all nodes
	changed chan struct{}      // closed when a lease comes or goes
}

// A tenure is a node's hold of its own lease.
type tenure struct {
	lease   string
	fresh   bool      // the lease has yet to be taken
	renewed time.Time // when the last renewal of this or the lease before began
}

// A renewal is the last one of a lease that came to this node.
type renewal struct {
	at       time.Time
	revision uint64 // in the bucket
}

// An entry is a member of this node.
type entry struct {
	topic string
	id    string
	value []byte

	// Under the mu of presence:
	key  string // where it is written; "" if it is not
	gone bool
}

// A record is the value of an entry.
type record struct {
	Node  string    `json:"node,omitempty"`
	Info  []byte    `json:"info,omitempty"`
	Since time.Time `json:"since"`
}

const (
	markerTTL  = time.Minute            // how long the bucket knows that a member has left
	changeWait = 100 * time.Millisecond // between two lists of WatchPresence
	addWait    = 200 * time.Millisecond // until Join no longer waits for the bucket
)

// openPresence makes the buckets unless there are any, and takes a lease.
func openPresence(ctx context.Context, js jetstream.JetStream, opts *Options) (*presence, error) {
	p := &presence{
		js: js, ttl: opts.presenceTTL(), node: opts.Node, gate: newGate(),
		held: tenure{lease: nuid.Next(), fresh: true}, own: make(map[*entry]struct{}),
		seen: make(map[string]renewal), changed: make(chan struct{}),
	}
	var err error
	p.nodes, err = openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket: opts.Name + "_nodes", TTL: p.ttl, Replicas: max(1, opts.Replicas), Storage: opts.Storage,
	})
	if err != nil {
		return nil, err
	}
	p.entries, err = openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket: opts.Name + "_presence", LimitMarkerTTL: markerTTL, MaxValueSize: 4 * maxInfo, Replicas: max(1, opts.Replicas), Storage: opts.Storage,
	})
	if err != nil {
		return nil, err
	}
	return p, p.renew(ctx)
}

// openBucket returns the bucket, and makes it unless there is one.
func openBucket(ctx context.Context, js jetstream.JetStream, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, cfg)
		if errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = js.KeyValue(ctx, cfg.Bucket)
		}
	}
	return kv, err
}

// run keeps the lease, and knows those of others, until ctx ends.
func (p *presence) run(ctx context.Context, log *slog.Logger) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { p.watchNodes(ctx, log) })
	ticker := time.NewTicker(p.ttl / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := p.renew(ctx); err != nil && ctx.Err() == nil {
			log.Warn("natsgroup: renewal of the presence", "error", err)
		}
		p.sweep(ctx, log)
	}
}

// renew renews the lease, and writes what could not be written before. A lease that
// ran out some time ago is not renewed: its members may have been removed, so they
// are all written anew, under another, which is taken then.
func (p *presence) renew(ctx context.Context) error {
	lease, fresh, unwritten := p.begin()
	if fresh {
		if err := p.writeAll(ctx, unwritten); err != nil {
			return err
		}
		unwritten = nil
	}
	began := time.Now()
	err := once(ctx, func(ctx context.Context) error {
		_, err := p.nodes.Put(ctx, lease, nil)
		return err
	})
	if err != nil {
		return err
	}
	p.renewed(began)
	ctx, cancel := context.WithTimeout(ctx, p.ttl/3) // then the lease has to be renewed
	defer cancel()
	return p.writeAll(ctx, unwritten)
}

// renewed notes that a renewal which began then has succeeded.
func (p *presence) renewed(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held.fresh = false
	p.resumeLocked(began)
}

// writeAll writes entries, until one of them cannot be written.
func (p *presence) writeAll(ctx context.Context, entries []*entry) error {
	writing, ctx := errgroup.WithContext(ctx)
	writing.SetLimit(maxRequests)
	for _, e := range entries {
		writing.Go(func() error { return p.write(ctx, e) })
	}
	return writing.Wait()
}

// begin returns the lease to renew, whether it is a new one, and the members that
// are not written under it.
func (p *presence) begin() (lease string, fresh bool, unwritten []*entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held.fresh && time.Since(p.held.renewed) >= leaseLost*p.ttl {
		p.held.lease, p.held.fresh = nuid.Next(), true
		for e := range p.own {
			e.key = ""
		}
	}
	for e := range p.own {
		if e.key == "" {
			unwritten = append(unwritten, e)
		}
	}
	return p.held.lease, p.held.fresh, unwritten
}

// Multiples of the time to live.
const (
	leaseLost  = 2 // after which a node gives its own lease up
	leaseSwept = 3 // after which others remove the members under it
)

// clockLocked returns the time by which the leases of others run out. It stands
// still while this node cannot renew its own: then it is NATS that does not answer,
// and not they. The caller holds p.mu.
func (p *presence) clockLocked() time.Time {
	now := time.Now()
	if stops := p.held.renewed.Add(p.ttl * 2 / 3); now.After(stops) {
		return stops
	}
	return now
}

// resumeLocked lets the clock go on after a renewal that began then. The caller
// holds p.mu.
func (p *presence) resumeLocked(began time.Time) {
	if !p.held.renewed.IsZero() {
		if stood := time.Since(p.clockLocked()); stood > 0 {
			for lease, r := range p.seen {
				r.at = r.at.Add(stood)
				p.seen[lease] = r
			}
		}
	}
	p.held.renewed = began
}

// add lists a member. If NATS does not take it soon, it is listed when NATS does.
func (p *presence) add(ctx context.Context, topic string, info []byte) *entry {
	now := time.Now()
	value, err := json.Marshal(record{p.node, info, now})
	if err != nil {
		panic(err) // a record can always be encoded
	}
	e := &entry{topic: topic, id: nuid.Next(), value: value}
	p.mu.Lock()
	p.own[e] = struct{}{}
	p.mu.Unlock()
	if p.js.Conn().Status() != nats.CONNECTED {
		return e
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.write(context.WithoutCancel(ctx), e) // or renew does
	}()
	timer := time.NewTimer(addWait)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	case <-ctx.Done():
	}
	return e
}

// write writes an entry under the lease there is, when it is its turn, unless that
// was done or it has left.
func (p *presence) write(ctx context.Context, e *entry) error {
	return p.gate.once(ctx, func(ctx context.Context) error {
		key := p.keyOf(e)
		if key == "" {
			return nil
		}
		if _, err := p.entries.Put(ctx, key, e.value); err != nil {
			return err
		}
		p.written(e, key)
		return nil
	})
}

// keyOf returns the key under which an entry is to be written, or "" if it is not.
func (p *presence) keyOf(e *entry) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.gone || e.key != "" {
		return ""
	}
	return strings.Join([]string{p.held.lease, e.topic, e.id}, ".")
}

// written notes that an entry was written.
func (p *presence) written(e *entry, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.gone:
		go p.erase(key)
	case strings.HasPrefix(key, p.held.lease+"."): // otherwise renew writes it again
		e.key = key
	}
}

// remove takes a member off the list, in the background.
func (p *presence) remove(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.own, e)
	e.gone = true
	if e.key != "" {
		go p.erase(e.key)
	}
}

// erase removes a key. If NATS does not answer, the key is left until the lease is.
func (p *presence) erase(key string) {
	p.gate.once(context.Background(), func(ctx context.Context) error {
		return p.entries.Purge(ctx, key, jetstream.PurgeTTL(markerTTL))
	})
}

// end takes all members of this node off the list, unless their lease runs out first.
func (p *presence) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.ttl)
	defer cancel()
	p.mu.Lock()
	lease := p.held.lease
	clear(p.own)
	p.mu.Unlock()
	return insist(ctx, func(ctx context.Context) error {
		if err := p.nodes.Delete(ctx, lease); err != nil {
			return err
		}
		return p.purge(ctx, lease)
	})
}

// purge removes all members under a lease.
func (p *presence) purge(ctx context.Context, lease string) error {
	s, err := p.js.Stream(ctx, "KV_"+p.entries.Bucket())
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject("$KV."+p.entries.Bucket()+"."+lease+".>"))
}

// watchNodes follows the leases of all nodes until ctx ends.
func (p *presence) watchNodes(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		w, err := p.nodes.WatchAll(ctx)
		if err != nil {
			if ctx.Err() == nil {
				log.Warn("natsgroup: watch of the nodes", "error", err)
			}
			sleep(ctx, retryWait)
			continue
		}
		p.noteAll(ctx, w)
		w.Stop()
	}
}

// noteAll takes down what w tells until it or ctx ends. A watch does not always end
// with its context: not if the connection was closed before.
func (p *presence) noteAll(ctx context.Context, w jetstream.KeyWatcher) {
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return
			}
			if e != nil {
				p.note(e)
			}
		case <-ctx.Done():
			return
		}
	}
}

// note takes down that a lease was renewed or given up. What comes again, because
// the watch had to begin anew, is no news.
func (p *presence) note(e jetstream.KeyValueEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.seen[e.Key()]
	if known && e.Revision() <= last.revision {
		return
	}
	renewed := e.Operation() == jetstream.KeyValuePut
	if renewed {
		p.seen[e.Key()] = renewal{p.clockLocked(), e.Revision()}
	} else {
		delete(p.seen, e.Key())
	}
	if known != renewed {
		p.changedLocked()
	}
}

// changedLocked wakes who follows. The caller holds p.mu.
func (p *presence) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// live returns the leases that have not run out.
func (p *presence) live() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	live, now := map[string]bool{p.held.lease: true}, p.clockLocked()
	for lease, r := range p.seen {
		if now.Sub(r.at) < p.ttl {
			live[lease] = true
		}
	}
	return live
}

// sweep wakes who follows if a lease has run out, and forgets it after some time,
// when one of the nodes that are left removes its members from the bucket.
func (p *presence) sweep(ctx context.Context, log *slog.Logger) {
	p.mu.Lock()
	first := p.held.lease
	var dead []string
	now := p.clockLocked()
	for lease, r := range p.seen {
		switch age := now.Sub(r.at); {
		case lease == p.held.lease:
		case age > leaseSwept*p.ttl:
			dead = append(dead, lease)
			delete(p.seen, lease)
		case age >= p.ttl:
			p.changedLocked()
		default:
			first = min(first, lease)
		}
	}
	purges := first == p.held.lease
	p.mu.Unlock()
	for _, lease := range dead {
		log.Info("natsgroup: a node is gone", "lease", lease)
		if purges {
			if err := p.purge(ctx, lease); err != nil {
				log.Warn("natsgroup: removal of a node's members", "lease", lease, "error", err)
			}
		}
	}
}

// A roll is what one call of WatchPresence knows.
type roll struct {
	p     *presence
	all   map[string]Presence // by key, also those whose lease has run out
	whole bool                // everything that the bucket had has come
	told  []Presence
	timer *time.Timer
	armed bool // the timer runs
}

// follow yields what w and the leases say, until ctx ends or yield returns false.
func (p *presence) follow(ctx context.Context, w jetstream.KeyWatcher, yield func([]Presence, error) bool) {
	r := &roll{p: p, all: make(map[string]Presence), timer: time.NewTimer(time.Hour)}
	defer r.timer.Stop()
	for {
		changed := p.changes()
		select {
		case <-ctx.Done():
			yield(nil, ctx.Err())
			return
		case e, ok := <-w.Updates():
			if !ok {
				yield(nil, cmp.Or(ctx.Err(), errWatch)) // the watch ends with ctx too
				return
			}
			r.update(e)
		case <-changed:
			r.arm(changeWait)
		case <-r.timer.C:
			r.armed = false
			if list, news := r.present(); news && !yield(list, nil) {
				return
			}
		}
	}
}

// arm has the list told after wait, if not sooner, unless parts of it are missing.
func (r *roll) arm(wait time.Duration) {
	if r.whole && !r.armed {
		r.timer.Reset(wait)
		r.armed = true
	}
}

// update makes the change that e tells. nil comes after everything there was.
func (r *roll) update(e jetstream.KeyValueEntry) {
	if e == nil {
		r.whole = true
		r.arm(0)
		return
	}
	var value record
	if e.Operation() != jetstream.KeyValuePut || json.Unmarshal(e.Value(), &value) != nil {
		delete(r.all, e.Key())
	} else {
		id := e.Key()[strings.LastIndexByte(e.Key(), '.')+1:]
		r.all[e.Key()] = Presence{ID: id, Node: value.Node, Info: value.Info, Since: value.Since}
	}
	r.arm(changeWait)
}

// present returns those whose lease is live, oldest first, and whether they are
// others than before. One that was written under two leases is there once.
func (r *roll) present() (list []Presence, news bool) {
	leases := r.p.live()
	members := make(map[string]Presence)
	for key, member := range r.all {
		lease, _, _ := strings.Cut(key, ".")
		if leases[lease] {
			members[member.ID] = member
		}
	}
	list = slices.SortedFunc(maps.Values(members), func(a, b Presence) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	same := r.told != nil && slices.EqualFunc(r.told, list, func(a, b Presence) bool { return a.ID == b.ID })
	r.told = append([]Presence{}, list...)
	return list, !same
}

// changes returns a channel that is closed when a lease comes or goes.
func (p *presence) changes() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}
