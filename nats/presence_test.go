package natsgroup

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// names returns the Info of members, in their order.
func names(list []Presence) string {
	var all []string
	for _, p := range list {
		all = append(all, string(p.Info))
	}
	return strings.Join(all, " ")
}

// enter joins a topic as somebody.
func (c *client) enter(topic *Topic, name string) *Membership {
	c.t.Helper()
	m, err := topic.Join(deadline(c.t), c.peer, &JoinOptions{Presence: []byte(name)})
	require.NoError(c.t, err)
	return m
}

// become waits until a node says that these are in a topic.
func become(t *testing.T, topic *Topic, want string) {
	t.Helper()
	var got string
	for list, err := range topic.WatchPresence(deadline(t)) {
		require.NoError(t, err, "got %q, want %q", got, want)
		if got = names(list); got == want {
			return
		}
	}
}

func TestPresence(t *testing.T) {
	s := startServer(t)
	opts := Options{PresenceTTL: time.Minute}
	opts.Node = "a"
	a := topicOf(t, openGroup(t, connect(t, s.ClientURL()), opts), "red")
	opts.Node = "b"
	b := topicOf(t, openGroup(t, connect(t, s.ClientURL()), opts), "red")
	list, err := a.Present(deadline(t))
	require.NoError(t, err)
	assert.Empty(t, list)

	ada, bob, eve, mute := newClient(t), newClient(t), newClient(t), newClient(t)
	m := ada.enter(a, "ada")
	bob.enter(b, "bob")
	eve.enter(b, "eve")
	mute.join(a, 0)
	eve.enter(topicOf(t, b.g, "red.blue"), "other")
	for _, topic := range []*Topic{a, b} {
		become(t, topic, "ada bob eve")
	}
	list, err = b.Present(deadline(t))
	require.NoError(t, err)
	require.Equal(t, "ada bob eve", names(list))
	assert.Equal(t, "a", list[0].Node)
	assert.Equal(t, "b", list[1].Node)
	assert.NotEqual(t, list[1].ID, list[2].ID)
	assert.WithinDuration(t, time.Now(), list[0].Since, time.Minute)

	m.Leave()
	become(t, b, "bob eve")
	bob.peer.CloseNow()
	become(t, a, "eve")
	require.NoError(t, b.g.Close(deadline(t)))
	become(t, a, "")
}

func TestWatchPresence(t *testing.T) {
	s := startServer(t)
	a := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{}), "red")
	b := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{}), "red")
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	n := 0
	var last error
	for list, err := range a.WatchPresence(ctx) {
		if err != nil {
			last = err
			continue
		}
		require.Len(t, list, n, "each list has one more")
		if n++; n == 4 {
			cancel()
			continue
		}
		newClient(t).enter(b, fmt.Sprint(n))
	}
	assert.ErrorIs(t, last, context.Canceled)
	assert.Equal(t, 4, n)
}

// TestPresenceOfAKilledNode ends it by its lease, and removes what it left.
func TestPresenceOfAKilledNode(t *testing.T) {
	s := startServer(t)
	killed := connect(t, s.ClientURL())
	a := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{PresenceTTL: time.Second}), "red")
	b := topicOf(t, openGroup(t, killed, Options{PresenceTTL: time.Second}), "red")
	newClient(t).enter(a, "ada")
	newClient(t).enter(b, "bob")
	become(t, a, "ada bob")
	killed.Conn().Close()
	become(t, a, "ada")
	assert.Eventually(t, func() bool { return len(keys(t, a.g)) == 1 }, time.Minute, 50*time.Millisecond)
	become(t, a, "ada")
}

// keys returns the keys of all members.
func keys(t *testing.T, g *Group) []string {
	list, err := g.presence.entries.Keys(deadline(t))
	if err != jetstream.ErrNoKeysFound {
		require.NoError(t, err)
	}
	return list
}

// TestPresenceAfterAnOutage writes anew what others have removed, and what could
// not be written.
func TestPresenceAfterAnOutage(t *testing.T) {
	s := startServer(t)
	js, li := behindLink(t, s.Addr().String())
	a := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{PresenceTTL: time.Second}), "red")
	b := topicOf(t, openGroup(t, js, Options{PresenceTTL: time.Second}), "red")
	newClient(t).enter(b, "bob")
	eve := newClient(t).enter(b, "eve")
	become(t, a, "bob eve")
	li.cut(true)
	become(t, a, "")
	assert.Eventually(t, func() bool { return len(keys(t, a.g)) == 0 }, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool { return !js.Conn().IsConnected() }, time.Minute, time.Millisecond)
	newClient(t).enter(b, "ada") // the topic has a feed already
	eve.Leave()
	li.cut(false)
	become(t, a, "bob ada")
	assert.Len(t, keys(t, a.g), 2)
}

func TestPresenceIsBounded(t *testing.T) {
	topic := topicOf(t, openGroup(t, connect(t, startServer(t).ClientURL()), Options{}), "red")
	_, err := topic.Join(deadline(t), newClient(t).peer, &JoinOptions{Presence: make([]byte, maxInfo+1)})
	assert.ErrorIs(t, err, errPresence)
	_, err = topic.Join(deadline(t), newClient(t).peer, &JoinOptions{Presence: make([]byte, maxInfo)})
	assert.NoError(t, err)
}

// TestPresenceOfMany lists more than one answer of NATS could.
func TestPresenceOfMany(t *testing.T) {
	s := startServer(t)
	a := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{}), "red")
	b := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{}), "red")
	const members = 1500
	for i := range members {
		newClient(t).enter([]*Topic{a, b}[i%2], fmt.Sprint(i))
	}
	for list, err := range a.WatchPresence(deadline(t)) {
		require.NoError(t, err)
		if len(list) == members {
			break
		}
	}
}
