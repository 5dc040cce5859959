package natsgroup

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A lease is an entry of the bucket of nodes.
type lease struct {
	jetstream.KeyValueEntry
	key      string
	revision uint64
	op       jetstream.KeyValueOp
}

func (l lease) Key() string                     { return l.key }
func (l lease) Revision() uint64                { return l.revision }
func (l lease) Operation() jetstream.KeyValueOp { return l.op }

// newPresence returns a presence without buckets, which renews its lease "a" every
// third of its time to live while renews is set.
func newPresence(t *testing.T, renews *bool) *presence {
	p := &presence{ttl: 9 * time.Second, held: tenure{lease: "a"}, seen: make(map[string]renewal), changed: make(chan struct{})}
	p.resumeLocked(time.Now())
	go func() {
		for {
			select {
			case <-time.After(p.ttl / 3):
			case <-t.Context().Done():
				return
			}
			p.mu.Lock()
			if *renews {
				p.resumeLocked(time.Now())
			}
			p.mu.Unlock()
		}
	}()
	return p
}

// TestLeaseRunsOut takes no replay of a watch for a renewal.
func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renews := true
		p := newPresence(t, &renews)
		p.note(lease{key: "b", revision: 1, op: jetstream.KeyValuePut})
		p.note(lease{key: "c", revision: 2, op: jetstream.KeyValuePut})
		time.Sleep(p.ttl - time.Millisecond)
		p.note(lease{key: "b", revision: 1, op: jetstream.KeyValuePut})
		p.note(lease{key: "c", revision: 3, op: jetstream.KeyValuePut})
		assert.Equal(t, map[string]bool{"a": true, "b": true, "c": true}, p.live())
		time.Sleep(time.Millisecond)
		assert.Equal(t, map[string]bool{"a": true, "c": true}, p.live())
		p.note(lease{key: "c", revision: 4, op: jetstream.KeyValueDelete})
		assert.Equal(t, map[string]bool{"a": true}, p.live())
	})
}

// TestLeasesOutlastAnOutage takes nobody for dead while NATS is away.
func TestLeasesOutlastAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renews := true
		p := newPresence(t, &renews)
		p.note(lease{key: "b", revision: 1, op: jetstream.KeyValuePut})
		set := func(to bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			renews = to
		}
		time.Sleep(time.Second)
		set(false)
		time.Sleep(time.Hour)
		assert.True(t, p.live()["b"])
		set(true)
		time.Sleep(p.ttl / 3)
		assert.True(t, p.live()["b"])
		time.Sleep(p.ttl)
		assert.False(t, p.live()["b"])
	})
}

// A slowBucket takes half a second to store a value. It notes when each key was
// stored.
type slowBucket struct {
	jetstream.KeyValue
	mu     sync.Mutex
	stored map[string][]time.Time
}

func (b *slowBucket) Put(ctx context.Context, key string, _ []byte) (uint64, error) {
	sleep(ctx, 500*time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored[key] = append(b.stored[key], time.Now())
	return 0, ctx.Err()
}

// TestLeaseOfManyMembers keeps the lease of a node whose members take longer to
// write than a lease that is not renewed would last: when they have just come, and
// when all have to be written anew.
func TestLeaseOfManyMembers(t *testing.T) {
	for _, anew := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const ttl = 9 * time.Second
			nodes, entries := &slowBucket{stored: make(map[string][]time.Time)}, &slowBucket{stored: make(map[string][]time.Time)}
			p := &presence{
				nodes: nodes, entries: entries, ttl: ttl, gate: newGate(), held: tenure{lease: "a", renewed: time.Now()},
				own: make(map[*entry]struct{}), seen: make(map[string]renewal), changed: make(chan struct{}),
			}
			if anew {
				time.Sleep(leaseLost * ttl)
			}
			const members = 5000
			for i := range members {
				p.own[&entry{topic: "red", id: strconv.Itoa(i)}] = struct{}{}
			}
			for began := time.Now(); time.Since(began) < 20*ttl; {
				next := time.After(ttl / 3)
				p.renew(t.Context())
				<-next
			}
			assert.Equal(t, members, len(entries.stored), "keys of members")
			require.Len(t, nodes.stored, 1, "leases")
			for lease, times := range nodes.stored {
				assert.Equal(t, !anew, lease == "a")
				for i := range times[1:] {
					assert.Less(t, times[i+1].Sub(times[i]), ttl)
				}
			}
		})
	}
}

// A silentWatch tells nothing, and does not end.
type silentWatch struct{ jetstream.KeyWatcher }

func (silentWatch) Updates() <-chan jetstream.KeyValueEntry { return nil }

// TestWatchOfNodesEnds ends with the group even if the watch does not, as after the
// end of the connection.
func TestWatchOfNodesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		new(presence).noteAll(ctx, silentWatch{})
		assert.Error(t, ctx.Err())
	})
}
