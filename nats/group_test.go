package natsgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// encode tells a message's sequence, for clients that resume.
func encode(m Message) *websocket.Prepared {
	return websocket.Prepare(websocket.Text, fmt.Appendf(nil, "%d %s", m.Seq, m.Data))
}

// deadline returns a context that ends a hanging test.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A client is the other end of a member.
type client struct {
	t    testing.TB
	c    *websocket.Conn // the client's
	peer *websocket.Conn // the server's: the member
}

// newClient returns a client that has joined nothing.
func newClient(t testing.TB) *client {
	t.Helper()
	server, c := wstest.Pipe(t, nil, nil)
	t.Cleanup(func() { c.CloseNow(); server.CloseNow() })
	return &client{t, c, server}
}

// join joins a topic after a sequence, or from now on if that is 0.
func (c *client) join(topic *Topic, after uint64) *Membership {
	c.t.Helper()
	m, err := topic.Join(deadline(c.t), c.peer, &JoinOptions{After: after})
	require.NoError(c.t, err)
	return m
}

// expect reads messages that encode has made, and checks their texts.
func (c *client) expect(texts ...string) (last uint64) {
	c.t.Helper()
	for _, want := range texts {
		_, data, err := c.c.Read(deadline(c.t))
		require.NoError(c.t, err)
		var seq uint64
		var text string
		_, err = fmt.Sscanf(string(data), "%d %s", &seq, &text)
		require.NoError(c.t, err)
		require.Equal(c.t, want, text)
		require.Greater(c.t, seq, last)
		last = seq
	}
	return last
}

// topicOf returns a topic.
func topicOf(t testing.TB, g *Group, name string) *Topic {
	t.Helper()
	topic, err := g.Topic(name)
	require.NoError(t, err)
	return topic
}

// publish publishes texts.
func publish(t testing.TB, topic *Topic, texts ...string) (last uint64) {
	t.Helper()
	for _, text := range texts {
		seq, err := topic.Publish(deadline(t), websocket.Text, []byte(text))
		require.NoError(t, err)
		last = seq
	}
	return last
}

func TestEveryoneOnEveryNode(t *testing.T) {
	s := startServer(t)
	a := openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode})
	b := openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode})
	red, blue := topicOf(t, a, "red"), topicOf(t, b, "blue")
	publish(t, red, "before")
	x, y, z := newClient(t), newClient(t), newClient(t)
	x.join(red, 0)
	y.join(topicOf(t, b, "red"), 0)
	z.join(blue, 0)

	publish(t, red, "one", "two")
	publish(t, blue, "other")
	publish(t, topicOf(t, b, "red"), "three")
	x.expect("one", "two", "three")
	y.expect("one", "two", "three")
	z.expect("other")
}

func TestResume(t *testing.T) {
	s := startServer(t)
	g := openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode})
	topic := topicOf(t, g, "red")
	first := newClient(t)
	m := first.join(topic, 0)
	publish(t, topic, "one")
	seen := first.expect("one")
	m.Leave()
	m.Leave()
	publish(t, topicOf(t, g, "blue"), "other")
	publish(t, topic, "two", "three")

	second := newClient(t)
	second.join(topic, seen)
	publish(t, topic, "four")
	last := second.expect("two", "three", "four")

	third := newClient(t)
	assert.Equal(t, last, third.join(topic, last).Start())
	publish(t, topic, "five")
	third.expect("five")
	second.expect("five")

	g.patience = time.Second
	var gap *GapError
	_, err := topic.Join(deadline(t), newClient(t).peer, &JoinOptions{After: last + 1000})
	require.ErrorAs(t, err, &gap)
	assert.Equal(t, last+1000, gap.After)
}

// TestOpenWaits opens a group when NATS is there, and not before.
func TestOpenWaits(t *testing.T) {
	s := startServer(t)
	js, li := behindLink(t, s.Addr().String())
	li.cut(true)
	require.Eventually(t, func() bool { return !js.Conn().IsConnected() }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, js, Options{Name: "test"})
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	opened := make(chan error, 1)
	go func() {
		g, err := Open(deadline(t), js, Options{Name: "test"})
		if err == nil {
			err = g.Close(deadline(t))
		}
		opened <- err
	}()
	li.cut(false)
	assert.NoError(t, <-opened)
}

// TestOpenWithFewerServers waits for servers that may join a cluster, and not for
// those of a NATS that has none.
func TestOpenWithFewerServers(t *testing.T) {
	js := connect(t, startCluster(t).urls(0))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Open(ctx, js, Options{Name: "test", Replicas: 5})
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = Open(deadline(t), connect(t, startServer(t).ClientURL()), Options{Name: "test", Replicas: 3})
	assert.ErrorContains(t, err, "not supported in non-clustered mode")
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
}

// TestOpenAtOnce opens groups that are not there yet on several nodes.
func TestOpenAtOnce(t *testing.T) {
	cl := startCluster(t)
	var nodes []jetstream.JetStream
	for i := range 9 {
		nodes = append(nodes, connect(t, cl.urls(i%3)))
	}
	for n := range 5 {
		var opening sync.WaitGroup
		for _, js := range nodes {
			opening.Go(func() {
				g, err := Open(deadline(t), js, Options{Name: fmt.Sprint("test-", n), Replicas: 3})
				if assert.NoError(t, err) {
					assert.NoError(t, g.Close(deadline(t)))
				}
			})
		}
		opening.Wait()
	}
}

// TestResumeFromNothing resumes a topic that was empty, of a stream that was.
func TestResumeFromNothing(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	topic := topicOf(t, g, "red")
	m := newClient(t).join(topic, 0)
	start := m.Start()
	assert.NotZero(t, start)
	assert.Less(t, start, uint64(1)<<53)
	m.Leave()
	publish(t, topic, "one")
	c := newClient(t)
	c.join(topic, start)
	publish(t, topic, "two")
	c.expect("one", "two")
}

// TestResumeOfAnotherStream tells that the one that was seen is gone.
func TestResumeOfAnotherStream(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	seen := publish(t, topicOf(t, openGroup(t, js, Options{}), "red"), "one", "two")
	require.NoError(t, js.DeleteStream(deadline(t), "test"))
	topic := topicOf(t, openGroup(t, js, Options{}), "red")
	for range 2 {
		var gap *GapError
		_, err := topic.Join(deadline(t), newClient(t).peer, &JoinOptions{After: seen})
		require.ErrorAs(t, err, &gap)
		assert.Less(t, seen, gap.First)
		publish(t, topic, "other")
	}
}

func TestJoinErrors(t *testing.T) {
	s := startServer(t)
	g := openGroup(t, connect(t, s.ClientURL()), Options{})
	topic := topicOf(t, g, "red")
	c := newClient(t)
	c.join(topic, 0)
	_, err := topic.Join(deadline(t), c.peer, nil)
	assert.ErrorIs(t, err, ErrMember)
	require.NoError(t, g.Close(deadline(t)))
	_, err = topic.Join(deadline(t), newClient(t).peer, nil)
	assert.ErrorIs(t, err, ErrClosed)
	_, err = topic.Publish(deadline(t), websocket.Text, nil)
	assert.ErrorIs(t, err, ErrClosed)
	_, err = topic.Present(deadline(t))
	assert.ErrorIs(t, err, ErrClosed)
}

// TestCloseAfterNATS ends also if the connection was closed before.
func TestCloseAfterNATS(t *testing.T) {
	s := startServer(t)
	for range 20 {
		js := connect(t, s.ClientURL())
		g := openGroup(t, js, Options{PresenceTTL: time.Second})
		js.Conn().Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		assert.Error(t, g.Close(ctx))
		cancel()
	}
}

func TestNames(t *testing.T) {
	g := new(Group)
	for _, name := range []string{"a", "A-b_9", "a.b.c", "room-1.users"} {
		_, err := g.Topic(name)
		assert.NoError(t, err, name)
	}
	for _, name := range []string{"", ".", "a.", ".a", "a..b", "*", "a.*", ">", "a.>", "a b", "a\r\nb", "$JS", "ä", "a\x00", string(make([]byte, 200))} {
		_, err := g.Topic(name)
		var bad *NameError
		if assert.True(t, errors.As(err, &bad), "%q: %v", name, err) {
			assert.Equal(t, name, bad.Name)
		}
	}
}
