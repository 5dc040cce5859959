package natsgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// behindLink returns JetStream on a connection that can be cut.
func behindLink(t testing.TB, addr string) (jetstream.JetStream, *link) {
	t.Helper()
	li := startLink(t)
	li.lead(addr)
	return connect(t, "nats://"+li.addr()), li
}

// TestPublishWithoutNATS fails with the context, and the members stay and catch up.
func TestPublishWithoutNATS(t *testing.T) {
	s := startServer(t)
	js, li := behindLink(t, s.Addr().String())
	away := openGroup(t, js, Options{Encode: encode})
	there := openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode})
	c := newClient(t)
	c.join(topicOf(t, away, "red"), 0)

	li.cut(true)
	require.Eventually(t, func() bool { return !js.Conn().IsConnected() }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := topicOf(t, away, "red").Publish(ctx, websocket.Text, []byte("lost"))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	publish(t, topicOf(t, there, "red"), "one", "two")

	published := make(chan error, 1)
	go func() {
		_, err := topicOf(t, away, "red").Publish(deadline(t), websocket.Text, []byte("three"))
		published <- err
	}()
	li.cut(false)
	require.NoError(t, <-published)
	c.expect("one", "two", "three")
}

// TestPublishOnce stores a message once whose acknowledgment was lost.
func TestPublishOnce(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	m := newMsg(g.history.stored("red"), websocket.Text, []byte("one"))
	first, err := g.history.attempt(deadline(t), m, "id")
	require.NoError(t, err)
	second, err := g.history.attempt(deadline(t), m, "id")
	require.NoError(t, err)
	assert.Equal(t, first.Sequence, second.Sequence)
	last := publish(t, topicOf(t, g, "red"), "one")
	assert.Equal(t, first.Sequence+1, last)
}

// TestPublishTwice publishes once what two nodes publish under one id.
func TestPublishTwice(t *testing.T) {
	s := startServer(t)
	var seqs []uint64
	c := newClient(t)
	for range 2 {
		topic := topicOf(t, openGroup(t, connect(t, s.ClientURL()), Options{Encode: encode}), "red")
		if seqs == nil {
			c.join(topic, 0)
		}
		seq, err := topic.PublishOnce(deadline(t), "id-1", websocket.Text, []byte("one"))
		require.NoError(t, err)
		seqs = append(seqs, seq)
		_, err = topicOf(t, topic.g, "blue").PublishOnce(deadline(t), "id-1", websocket.Text, []byte("other"))
		require.NoError(t, err)
		_, err = topic.PublishOnce(deadline(t), "a b", websocket.Text, nil)
		var bad *NameError
		assert.ErrorAs(t, err, &bad)
		publish(t, topic, "next")
	}
	assert.Equal(t, seqs[0], seqs[1])
	c.expect("one", "next", "next")
}

// TestPublishAtOnce publishes once what many publish under one id at the same time,
// which a server that has yet to hear from the others refuses for the moment.
func TestPublishAtOnce(t *testing.T) {
	cl := startCluster(t)
	var topics []*Topic
	for i := range 3 {
		topics = append(topics, topicOf(t, openGroup(t, connect(t, cl.urls(i)), Options{Replicas: 3}), "red"))
	}
	for n := range 20 {
		var publishing sync.WaitGroup
		var seqs [12]uint64
		for i := range seqs {
			publishing.Go(func() {
				var err error
				seqs[i], err = topics[i%3].PublishOnce(deadline(t), fmt.Sprint(n), websocket.Text, []byte("one"))
				assert.NoError(t, err)
			})
		}
		publishing.Wait()
		assert.Equal(t, slices.Repeat(seqs[:1], len(seqs)), seqs[:])
	}
}

// TestPublishErrors fails at once, not with the context.
func TestPublishErrors(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	topic := topicOf(t, openGroup(t, js, Options{}), "red")
	for name, c := range map[string]struct {
		typ  websocket.MessageType
		data []byte
		want error
	}{
		"no type":   {0, nil, nil},
		"not UTF-8": {websocket.Text, []byte{0xff}, nil},
		"too long":  {websocket.Binary, make([]byte, 2<<20), nats.ErrMaxPayload},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := topic.Publish(context.Background(), c.typ, c.data)
			assert.Error(t, err)
			if c.want != nil {
				assert.ErrorIs(t, err, c.want)
			}
		})
	}
	js.Conn().Close()
	_, err := topic.Publish(context.Background(), websocket.Text, nil)
	assert.ErrorIs(t, err, nats.ErrConnectionClosed)
}

// TestMissing knows the errors of what another node is making.
func TestMissing(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	_, err := js.Stream(deadline(t), "none")
	assert.True(t, isMissing(err), err)
	_, err = js.KeyValue(deadline(t), "none")
	assert.True(t, isMissing(err), err)
	s, err := js.CreateStream(deadline(t), jetstream.StreamConfig{Name: "test"})
	require.NoError(t, err)
	_, err = s.GetMsg(deadline(t), 1)
	assert.False(t, isMissing(err), err)
	require.NoError(t, js.DeleteStream(deadline(t), "test"))
	_, err = s.Info(deadline(t))
	assert.True(t, isMissing(err), err)
}

// TestFullStream takes no more when it is configured to, and says so.
func TestFullStream(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	g := openGroup(t, js, Options{})
	s, err := js.Stream(deadline(t), "test")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs, cfg.Discard = 1, jetstream.DiscardNew
	_, err = js.UpdateStream(deadline(t), cfg)
	require.NoError(t, err)
	topic := topicOf(t, g, "red")
	publish(t, topic, "one")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = topic.Publish(ctx, websocket.Text, nil)
	assert.ErrorContains(t, err, "maximum messages exceeded")
}

// TestStreamOfOthers refuses a stream that would not do.
func TestStreamOfOthers(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	for name, cfg := range map[string]jetstream.StreamConfig{
		"subjects":  {Subjects: []string{"x.>"}, AllowDirect: true},
		"republish": {Subjects: []string{"test.pub.>"}, AllowDirect: true},
		"headers": {Subjects: []string{"test.pub.>"}, AllowDirect: true,
			RePublish: &jetstream.RePublish{Source: "test.pub.>", Destination: "test.live.>", HeadersOnly: true}},
		"direct": {Subjects: []string{"test.pub.>"}, FirstSeq: 2,
			RePublish: &jetstream.RePublish{Source: "test.pub.>", Destination: "test.live.>"}},
		"first": {Subjects: []string{"test.pub.>"}, AllowDirect: true,
			RePublish: &jetstream.RePublish{Source: "test.pub.>", Destination: "test.live.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Name = "test"
			_, err := js.CreateStream(deadline(t), cfg)
			require.NoError(t, err)
			_, err = Open(deadline(t), js, Options{Name: "test"})
			assert.ErrorContains(t, err, "stream test")
			require.NoError(t, js.DeleteStream(deadline(t), "test"))
		})
	}
}

func TestOptionsCheck(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	for _, opts := range []Options{
		{}, {Name: "a.b"}, {Name: "a", MaxAge: -1}, {Name: "a", MaxAge: time.Millisecond},
		{Name: "a", PresenceTTL: time.Millisecond}, {Name: "a", PerTopic: -1}, {Name: "a", Replicas: -1},
	} {
		_, err := Open(deadline(t), js, opts)
		assert.Error(t, err, "%+v", opts)
	}
	_, err := js.Stream(deadline(t), "a")
	assert.ErrorIs(t, err, jetstream.ErrStreamNotFound, "an option that is refused makes nothing")
}

// TestGap tells exactly which histories are whole.
func TestGap(t *testing.T) {
	js := connect(t, startServer(t).ClientURL())
	g := openGroup(t, js, Options{PerTopic: 3})
	red := topicOf(t, g, "red")
	base := publish(t, red, "1") - 1
	publish(t, red, "2", "3", "4", "5") // 3, 4 and 5 are kept
	publish(t, topicOf(t, g, "blue"), "6")
	for _, c := range []struct {
		after uint64
		gap   bool
	}{{1, true}, {2, true}, {3, false}, {4, false}, {5, false}} {
		msgs, err := g.history.next(deadline(t), "red", base+c.after, base+6)
		var gap *GapError
		if c.gap {
			assert.ErrorAs(t, err, &gap, "after %d", c.after)
			continue
		}
		require.NoError(t, err, "after %d", c.after)
		assert.Len(t, msgs, int(5-c.after))
	}
	msgs, err := g.history.next(deadline(t), "blue", base+2, base+6)
	require.NoError(t, err)
	assert.Len(t, msgs, 1)
	msgs, err = g.history.next(deadline(t), "green", base+2, base+6)
	require.NoError(t, err)
	assert.Empty(t, msgs)

	s, err := js.Stream(deadline(t), "test")
	require.NoError(t, err)
	require.NoError(t, s.Purge(deadline(t), jetstream.WithPurgeSequence(base+5)))
	for _, c := range []struct {
		topic string
		after uint64
		gap   bool
	}{{"red", 3, true}, {"red", 4, false}, {"green", 3, true}, {"green", 4, false}} {
		_, err := g.history.next(deadline(t), c.topic, base+c.after, base+6)
		if _, gap := errors.AsType[*GapError](err); gap != c.gap {
			t.Errorf("%s after %d: %v", c.topic, c.after, err)
		}
	}
}
