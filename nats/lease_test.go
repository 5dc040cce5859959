package natsgroup

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
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
