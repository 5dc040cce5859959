package natsgroup

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// liveHeap returns the bytes of what is reachable.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryOfAMember keeps the promise of doc.go: what a member takes beyond its
// place in a websocket.Group and its Context.
func TestMemoryOfAMember(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{})
	topic := topicOf(t, g, "red")
	newClient(t).join(topic, 0) // begins the feed
	const members = 1000
	clients := make([]*client, members)
	for i := range clients {
		clients[i] = newClient(t)
		clients[i].peer.Context()
		feedOf(t, topic).everyone.Add(clients[i].peer)
	}
	ctx := deadline(t)
	before := liveHeap()
	memberships := make([]*Membership, members)
	for i, c := range clients {
		m, err := topic.Join(ctx, c.peer, nil)
		require.NoError(t, err)
		memberships[i] = m
	}
	each := (liveHeap() - before) / members
	t.Logf("%d bytes each", each)
	assert.Less(t, each, int64(800))
	runtime.KeepAlive(clients)
	runtime.KeepAlive(memberships)
}
