package natsgroup

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// feedOf returns the feed that a topic has on a node.
func feedOf(t *testing.T, topic *Topic) *feed {
	t.Helper()
	topic.g.mu.Lock()
	defer topic.g.mu.Unlock()
	f := topic.g.feeds[topic.name]
	require.NotNil(t, f, "the topic has no feed")
	return f
}

// deaf makes a feed miss what comes live, as a fault of the network would.
func deaf(t *testing.T, f *feed) {
	t.Helper()
	require.NoError(t, f.sub.Unsubscribe())
}

// hear ends deaf.
func hear(t *testing.T, f *feed) {
	t.Helper()
	sub, err := f.g.history.js.Conn().Subscribe(f.g.history.live(f.topic), f.receive)
	require.NoError(t, err)
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.sub = sub
	require.NoError(t, f.g.history.js.Conn().Flush())
}

func TestLostMessageIsFoundByTheNext(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	topic := topicOf(t, g, "red")
	c := newClient(t)
	c.join(topic, 0)
	publish(t, topic, "one")
	c.expect("one")
	deaf(t, feedOf(t, topic))
	publish(t, topic, "two", "three")
	hear(t, feedOf(t, topic))
	publish(t, topic, "four")
	c.expect("two", "three", "four")
}

func TestLostMessageIsFoundWithoutAnother(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	topic := topicOf(t, g, "red")
	c := newClient(t)
	c.join(topic, 0)
	deaf(t, feedOf(t, topic))
	publish(t, topic, "one")
	publish(t, topicOf(t, g, "blue"), "other")
	publish(t, topic, "two")
	c.expect("one", "two")
}

// TestSubscriptions has a node subscribe to a topic only while it has members.
func TestSubscriptions(t *testing.T) {
	s := startServer(t)
	g := openGroup(t, connect(t, s.ClientURL()), Options{})
	nc := g.history.js.Conn()
	live := func(topics int) {
		t.Helper()
		require.NoError(t, nc.Flush())
		assert.Eventually(t, func() bool {
			n := 0
			for _, sub := range subjects(s) {
				if strings.HasPrefix(sub, "test.live.") {
					n++
				}
			}
			return n == topics
		}, time.Minute, 10*time.Millisecond)
	}
	red, blue := topicOf(t, g, "red"), topicOf(t, g, "blue")
	publish(t, red, "nobody")
	live(0)
	first, second := newClient(t), newClient(t)
	m := first.join(red, 0)
	first.join(blue, 0)
	second.join(red, 0)
	live(2)
	m.Leave()
	live(2)
	second.peer.CloseNow()
	live(1)
	first.peer.CloseNow()
	live(0)
	assert.Eventually(t, func() bool { return len(g.all()) == 0 }, time.Minute, time.Millisecond)
}

// TestManyTopics joins thousands.
func TestManyTopics(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	const topics = 1000
	c := newClient(t)
	var joining errgroup.Group
	joining.SetLimit(16)
	for i := range topics {
		topic := topicOf(t, g, nameOf(i))
		joining.Go(func() error {
			_, err := topic.Join(deadline(t), c.peer, nil)
			return err
		})
	}
	require.NoError(t, joining.Wait())
	for _, f := range g.all()[:300] {
		deaf(t, f)
	}
	for i := range topics {
		topic := topicOf(t, g, nameOf(i))
		joining.Go(func() error {
			_, err := topic.Publish(deadline(t), websocket.Text, []byte(topic.Name()))
			return err
		})
	}
	require.NoError(t, joining.Wait())
	seen := make(map[string]bool)
	for range topics {
		_, data, err := c.c.Read(deadline(t))
		require.NoError(t, err)
		_, text, _ := strings.Cut(string(data), " ")
		seen[text] = true
	}
	assert.Len(t, seen, topics)
}

// TestForeignMessage ignores what no stream has sent on a live subject.
func TestForeignMessage(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	topic := topicOf(t, g, "red")
	c := newClient(t)
	c.join(topic, 0)
	nc := g.history.js.Conn()
	for _, h := range []nats.Header{
		nil,
		{"Nats-Sequence": {"9"}},
		{"Nats-Sequence": {"x"}, "Nats-Last-Sequence": {"0"}, "Nats-Time-Stamp": {"2026-01-01T00:00:00Z"}},
		{"Nats-Sequence": {"0"}, "Nats-Last-Sequence": {"0"}, "Nats-Time-Stamp": {"2026-01-01T00:00:00Z"}},
		{"Nats-Sequence": {"9"}, "Nats-Last-Sequence": {"0"}, "Nats-Time-Stamp": {"today"}},
	} {
		require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: "test.live.red", Header: h, Data: []byte("foreign")}))
	}
	require.NoError(t, nc.Flush())
	publish(t, topic, "one")
	c.expect("one")
}

// TestGapOfANode closes members that a node can no longer tell all of.
func TestGapOfANode(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode, PerTopic: 2})
	topic := topicOf(t, g, "red")
	c := newClient(t)
	c.join(topic, 0)
	publish(t, topic, "one")
	seen := c.expect("one")
	deaf(t, feedOf(t, topic))
	publish(t, topic, "two", "three", "four")
	_, _, err := c.c.Read(deadline(t))
	assert.ErrorIs(t, err, websocket.CloseTryAgainLater)

	var gap *GapError
	again := newClient(t)
	_, err = topic.Join(deadline(t), again.peer, &JoinOptions{After: seen})
	require.ErrorAs(t, err, &gap)
	assert.Equal(t, seen, gap.After)
	again.join(topic, 0)
	publish(t, topic, "five")
	again.expect("five")
}

// TestBinary keeps the type of a message, with the default encoding.
func TestBinary(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{})
	topic := topicOf(t, g, "red")
	c := newClient(t)
	c.join(topic, 0)
	for _, typ := range []websocket.MessageType{websocket.Text, websocket.Binary} {
		_, err := topic.Publish(deadline(t), typ, []byte("data"))
		require.NoError(t, err)
		got, data, err := c.c.Read(deadline(t))
		require.NoError(t, err)
		assert.Equal(t, typ, got)
		assert.Equal(t, "data", string(data))
	}
}

// A parked member publishes what it is sent.
type parked struct{ topic *Topic }

func (p parked) Opened(c *websocket.Conn) error {
	_, err := p.topic.Join(c.Context(), c, nil)
	return err
}

func (p parked) Receive(c *websocket.Conn, m websocket.Message) error {
	_, err := p.topic.Publish(c.Context(), m.Type, m.Data)
	return err
}

func (p parked) Closed(*websocket.Conn, *websocket.CloseError) {}

// TestParked has members without a goroutine of their own, over TCP and TLS.
func TestParked(t *testing.T) {
	g := openGroup(t, connect(t, startServer(t).ClientURL()), Options{Encode: encode})
	topic := topicOf(t, g, "red")
	handler := websocket.ReceiverHandler(nil, func(*http.Request) (websocket.Receiver, error) { return parked{topic}, nil })
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	var clients []*client
	for _, s := range []*httptest.Server{plain, secure} {
		c, _, err := websocket.Dial(deadline(t), s.URL, &websocket.DialOptions{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
		require.NoError(t, err)
		t.Cleanup(func() { c.CloseNow() })
		clients = append(clients, &client{t: t, c: c})
	}
	require.Eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.feeds["red"] != nil && g.feeds["red"].everyone.Len() == 2
	}, time.Minute, time.Millisecond)
	for _, c := range clients {
		require.NoError(t, c.c.WriteString(deadline(t), "hello"))
	}
	for _, c := range clients {
		c.expect("hello", "hello")
		c.c.Close(websocket.CloseNormal, "")
	}
	assert.Eventually(t, func() bool { return len(g.all()) == 0 }, time.Minute, time.Millisecond)
}

// nameOf returns the name of one of many topics.
func nameOf(i int) string { return fmt.Sprintf("topic.%d", i) }
