package natsgroup

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// TestResumeWhilePublishing lets members join at random places of a topic that does
// not rest, on two nodes: some from now on, others after a sequence. More comes
// meanwhile than is held for one that joins.
func TestResumeWhilePublishing(t *testing.T) {
	const texts, members = 800, 40
	s := startServer(t)
	groups := []*Group{
		openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode}),
		openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode}),
	}
	red := topicOf(t, groups[0], "red")
	first := publish(t, red, "text-0")
	ctx, stop := context.WithCancel(deadline(t))
	defer stop()
	var joining sync.WaitGroup
	b := &book{texts: map[uint64]string{first: "text-0"}, grown: make(chan struct{}, 1)}
	var listeners []*listener
	for i := range members {
		l := &listener{groups: groups, topic: "red", leaves: i%2 == 0, quiet: ctx.Done(), text: make(map[uint64]string)}
		listeners = append(listeners, l)
		joining.Go(func() { l.run(ctx, t, first) })
	}
	for i := range texts {
		text := fmt.Sprintf("text-%d", i+1)
		seq := publish(t, red, text)
		b.texts[seq] = text
		if i%100 == 0 {
			late := &listener{groups: groups, topic: "red", quiet: ctx.Done(), text: make(map[uint64]string)}
			listeners = append(listeners, late)
			joining.Go(func() { late.run(ctx, t, first) })
		}
	}
	delete(b.texts, first) // it is what they have seen
	for _, l := range listeners {
		require.Eventually(t, func() bool { return l.has(first + texts) }, time.Minute, time.Millisecond)
	}
	stop()
	joining.Wait()
	for _, l := range listeners {
		l.check(t, b)
	}
}

// TestResumeWithoutNATS serves from memory what was missed a moment ago.
func TestResumeWithoutNATS(t *testing.T) {
	s := startServer(t)
	js, li := behindLink(t, s.Addr().String())
	g := openGroup(t, js, Options{Encode: encode, Recent: 20})
	topic := topicOf(t, g, "red")
	publish(t, topic, "zero")
	newClient(t).join(topic, 0)
	first := publish(t, topic, "eleven-bytes", "one", "two", "three", "four")
	require.Eventually(t, func() bool {
		f := feedOf(t, topic)
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.last == first
	}, time.Minute, time.Millisecond)
	li.cut(true)
	c := newClient(t)
	c.join(topic, first-4)
	c.expect("one", "two", "three", "four")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := topic.Join(ctx, newClient(t).peer, &JoinOptions{After: first - 5})
	assert.ErrorIs(t, err, context.DeadlineExceeded, "what is no longer in memory needs NATS")
}

// TestSlowJoiner resumes at the speed of its peer, and holds up nobody meanwhile.
func TestSlowJoiner(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{})
	topic := topicOf(t, g, "red")
	first := publish(t, topic, "first")
	data := make([]byte, 8<<10)
	const messages = 5 * maxJoining / 4
	for range messages {
		_, err := topic.Publish(deadline(t), websocket.Binary, data)
		require.NoError(t, err)
	}
	slow, quick := newClient(t), newClient(t)
	joined := make(chan error, 1)
	go func() {
		_, err := topic.Join(deadline(t), slow.peer, &JoinOptions{After: first})
		joined <- err
	}()
	quick.join(topic, 0)
	for range messages {
		_, err := topic.Publish(deadline(t), websocket.Binary, data)
		require.NoError(t, err)
		_, _, err = quick.c.Read(deadline(t))
		require.NoError(t, err)
	}
	for range 2 * messages {
		_, got, err := slow.c.Read(deadline(t))
		require.NoError(t, err)
		require.Len(t, got, len(data))
	}
	require.NoError(t, <-joined)
	publish(t, topic, "last")
	for _, c := range []*client{slow, quick} {
		_, got, err := c.c.Read(deadline(t))
		require.NoError(t, err)
		assert.Equal(t, "last", string(got))
	}
}

// TestSlowMember is its node's problem: it is closed, and the others get everything.
func TestSlowMember(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{})
	topic := topicOf(t, g, "red")
	slow, _ := wstest.Pipe(t, &websocket.AcceptOptions{Config: websocket.Config{SlowConsumer: websocket.CloseSlow, MaxQueuedBytes: 64 << 10, CloseTimeout: 10 * time.Millisecond}}, nil)
	quick := newClient(t)
	_, err := topic.Join(deadline(t), slow, nil)
	require.NoError(t, err)
	quick.join(topic, 0)
	for range 100 {
		_, err := topic.Publish(deadline(t), websocket.Binary, make([]byte, 16<<10))
		require.NoError(t, err)
		_, _, err = quick.c.Read(deadline(t))
		require.NoError(t, err)
	}
	<-slow.Context().Done()
	assert.ErrorIs(t, context.Cause(slow.Context()), websocket.ErrSlowConsumer)
	assert.Eventually(t, func() bool { return feedOf(t, topic).everyone.Len() == 1 }, time.Minute, time.Millisecond)
}

// TestJoinEnds gives up with its context, its connection or the group.
func TestJoinEnds(t *testing.T) {
	s := startServer(t)
	js, li := behindLink(t, s.Addr().String())
	g := openGroup(t, js, Options{})
	topic := topicOf(t, g, "red")
	first := publish(t, topic, "one", "two")
	li.cut(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := topic.Join(ctx, newClient(t).peer, nil)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Eventually(t, func() bool { return len(g.all()) == 0 }, time.Minute, time.Millisecond, "a topic without members stays")

	joined := make(chan error, 1)
	go func() {
		_, err := topic.Join(deadline(t), newClient(t).peer, nil)
		joined <- err
	}()
	li.cut(false)
	require.NoError(t, <-joined)

	gone := newClient(t)
	gone.peer.CloseNow()
	_, err = topic.Join(deadline(t), gone.peer, &JoinOptions{After: first - 1})
	assert.Error(t, err)
	m, err := topic.Join(deadline(t), gone.peer, nil)
	require.NoError(t, err, "what has ended already ends as it would later")
	m.Leave()

	li.cut(true)
	g.patience = time.Minute
	go func() {
		_, err := topic.Join(deadline(t), newClient(t).peer, &JoinOptions{After: 100})
		joined <- err
	}()
	require.Eventually(t, func() bool { return len(g.all()) == 1 && memberCount(g) == 2 }, time.Minute, time.Millisecond)
	closing, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	g.Close(closing)
	assert.ErrorIs(t, <-joined, ErrClosed)
}

// TestResumeAtALeaderThatIsCutOff takes its word for nothing: another may have been
// elected, and given out the sequence.
func TestResumeAtALeaderThatIsCutOff(t *testing.T) {
	cl := startCluster(t)
	g := openGroup(t, connect(t, cl.urls(0)), Options{Replicas: 3})
	leader := cl.leaderOf(g.history.js, "test")
	near := openGroup(t, connect(t, cl.urls(leader)), Options{Replicas: 3})
	near.patience = time.Second
	topic := topicOf(t, near, "red")
	last := publish(t, topic, "one")
	newClient(t).join(topic, 0)

	cl.cut(leader, true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := topic.Join(ctx, newClient(t).peer, &JoinOptions{After: last + 1000})
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	cl.cut(leader, false)
	var gap *GapError
	_, err = topic.Join(deadline(t), newClient(t).peer, &JoinOptions{After: last + 1000})
	assert.ErrorAs(t, err, &gap)
}

// TestManyResume has thousands of members come at once to a node that has nothing
// of what they missed: those of one topic, and each in a topic of its own.
func TestManyResume(t *testing.T) {
	for _, c := range []struct {
		name    string
		members int
		topic   func(member int) string
	}{
		{"one topic", 2000, func(int) string { return "red" }},
		{"many topics", 500, nameOf},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := startCluster(t)
			there := topicOf(t, openGroup(t, connect(t, cl.urls(0)), Options{Encode: encode, Replicas: 3}), "red")
			first := publish(t, there, "first")
			for i := range 50 {
				publish(t, there, nameOf(i))
			}
			g := openGroup(t, connect(t, cl.urls(1)), Options{Encode: encode, Replicas: 3})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			var joining errgroup.Group
			for i := range c.members {
				peer, topic := newClient(t).peer, topicOf(t, g, c.topic(i))
				joining.Go(func() error {
					_, err := topic.Join(ctx, peer, &JoinOptions{After: first, Presence: []byte("member")})
					return err
				})
			}
			require.NoError(t, joining.Wait())
		})
	}
}

// memberCount returns the number of members of the topic "red" on a node.
func memberCount(g *Group) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.feeds["red"] == nil {
		return 0
	}
	return len(g.feeds["red"].members)
}
