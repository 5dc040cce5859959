package natsgroup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// urls returns the addresses of all servers, that of server first before the
// others.
func (cl *cluster) urls(first int) string {
	var all []string
	for i := range cl.servers {
		s := cl.servers[(first+i)%len(cl.servers)]
		all = append(all, s.ClientURL())
	}
	return strings.Join(all, ",")
}

// A book is what was published to a topic: the text of each sequence.
type book struct {
	mu    sync.Mutex
	texts map[uint64]string
	tries int
	grown chan struct{} // holds one when there is a new text
}

// publish publishes texts of its own until ctx ends, and enters those for which
// Publish returned nil.
func (b *book) publish(ctx context.Context, topic *Topic, name string) {
	for n := 0; ctx.Err() == nil; n++ {
		text := fmt.Sprintf("%s-%d", name, n)
		seq, err := topic.Publish(ctx, websocket.Text, []byte(text))
		b.mu.Lock()
		b.tries++
		if err == nil {
			b.texts[seq] = text
		}
		b.mu.Unlock()
		select {
		case b.grown <- struct{}{}:
		default:
		}
	}
}

// wait waits until n more texts were entered, or ctx ends: where other tests keep the
// processors busy, an election has taken 20 seconds and a message two.
func (b *book) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for first := b.len(); b.len() < first+n; {
		select {
		case <-b.grown:
		case <-ctx.Done():
			t.Error("nothing is published any more")
			return
		}
	}
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.texts)
}

// last returns the highest sequence that was entered.
func (b *book) last() (last uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq := range b.texts {
		last = max(last, seq)
	}
	return last
}

// A listener is a client that notes what it reads, and resumes on a group drawn at
// random when its connection ends, until told to stop.
type listener struct {
	groups []*Group
	topic  string
	leaves bool            // now and then, to resume
	quiet  <-chan struct{} // closed when nobody publishes any more: it stays

	mu   sync.Mutex
	seen []uint64
	text map[uint64]string
	errs []error
}

// run joins after the sequence first and reads until ctx ends.
func (l *listener) run(ctx context.Context, t testing.TB, first uint64) {
	for after := first; ctx.Err() == nil; {
		after = l.visit(ctx, t, after)
	}
}

// visit is one connection. It returns the last sequence seen.
func (l *listener) visit(ctx context.Context, t testing.TB, after uint64) uint64 {
	topic := topicOf(t, l.groups[rand.IntN(len(l.groups))], l.topic)
	server, c := wstest.Pipe(t, nil, nil)
	defer c.CloseNow()
	defer server.CloseNow()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		if _, err := topic.Join(ctx, server, &JoinOptions{After: after}); err != nil {
			if ctx.Err() == nil && server.Context().Err() == nil {
				l.note(fmt.Errorf("join after %d: %w", after, err))
			}
			server.CloseNow()
		}
	}()
	defer func() { <-joined }()
	defer server.CloseNow()
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			return after
		}
		var seq uint64
		var text string
		if _, err := fmt.Sscanf(string(data), "%d %s", &seq, &text); err != nil {
			l.note(err)
			return after
		}
		l.mu.Lock()
		l.seen = append(l.seen, seq)
		l.text[seq] = text
		l.mu.Unlock()
		after = seq
		if l.leaves && rand.IntN(50) == 0 && !done(l.quiet) {
			return after
		}
	}
}

// done reports whether c is closed.
func done(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (l *listener) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// has reports whether the listener has seen a sequence, or a later one.
func (l *listener) has(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen) > 0 && l.seen[len(l.seen)-1] >= seq
}

// check compares what was seen with what was published.
func (l *listener) check(t *testing.T, b *book) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Empty(t, l.errs)
	for i := range l.seen[1:] {
		require.Less(t, l.seen[i], l.seen[i+1], "order, or one twice")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := 0
	for seq, text := range b.texts {
		if l.text[seq] != text {
			missing++
		}
	}
	assert.Zero(t, missing, "published messages that did not come")
}

// A disturbance does its worst to a cluster and its nodes. It ends when enough was
// published, which it can wait for until ctx ends.
type disturbance func(ctx context.Context, cl *cluster, groups []*Group, b *book)

// faultTest has three nodes, publishers on all of them, and clients of which some
// stay and others leave and resume elsewhere, while disturb does its worst.
func faultTest(t *testing.T, disturb disturbance) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	cl := startCluster(t)
	var groups []*Group
	for i := range 3 {
		groups = append(groups, openGroup(t, connect(t, cl.urls(i)), Options{Replicas: 3, Encode: encode}))
	}
	first := publish(t, topicOf(t, groups[0], "red"), "first")

	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	var listening, publishing sync.WaitGroup
	var listeners []*listener
	quiet, hush := context.WithCancel(ctx)
	defer hush()
	for i := range 30 {
		l := &listener{groups: groups, topic: "red", leaves: i%3 == 0, quiet: quiet.Done(), text: make(map[uint64]string)}
		listeners = append(listeners, l)
		listening.Go(func() { l.run(ctx, t, first) })
	}
	b := &book{texts: make(map[uint64]string), grown: make(chan struct{}, 1)}
	for i, g := range groups {
		for n := range 2 {
			publishing.Go(func() { b.publish(quiet, topicOf(t, g, "red"), fmt.Sprintf("%d-%d", i, n)) })
		}
	}
	disturb(ctx, cl, groups, b)
	hush()
	publishing.Wait()
	last := b.last()
	t.Logf("%d of %d messages were published", len(b.texts), b.tries)
	for _, l := range listeners {
		if !assert.Eventually(t, func() bool { return l.has(last) }, time.Minute, 10*time.Millisecond, "the last message") {
			break
		}
	}
	stop()
	listening.Wait()
	for _, l := range listeners {
		l.check(t, b)
	}
}

// TestServersAreKilled kills each server of the cluster, the leader of the stream
// first, and starts it again.
func TestServersAreKilled(t *testing.T) {
	faultTest(t, func(ctx context.Context, cl *cluster, groups []*Group, b *book) {
		leader := cl.leaderOf(groups[0].history.js, "test")
		for i := range 3 {
			b.wait(ctx, t, 100)
			victim := (leader + i) % 3
			cl.kill(victim)
			b.wait(ctx, t, 100)
			cl.start(victim)
		}
		b.wait(ctx, t, 100)
	})
}

// TestPartition cuts servers off from the others, but not from their clients.
func TestPartition(t *testing.T) {
	faultTest(t, func(ctx context.Context, cl *cluster, groups []*Group, b *book) {
		leader := cl.leaderOf(groups[0].history.js, "test")
		for i := range 2 {
			victim := (leader + i) % 3
			b.wait(ctx, t, 100)
			cl.cut(victim, true)
			b.wait(ctx, t, 300)
			cl.cut(victim, false)
		}
		b.wait(ctx, t, 100)
	})
}

// TestNodesLoseNATS cuts a node off from all servers, one after another.
func TestNodesLoseNATS(t *testing.T) {
	faultTest(t, func(ctx context.Context, _ *cluster, groups []*Group, b *book) {
		for _, g := range groups {
			b.wait(ctx, t, 100)
			require.NoError(t, g.history.js.Conn().ForceReconnect())
		}
		b.wait(ctx, t, 100)
	})
}
