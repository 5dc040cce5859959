package natsgroup

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// benchMembers is the number of members of the topic in BenchmarkTopic.
const benchMembers = 5000

// BenchmarkTopic publishes 128 bytes to a topic with 5,000 parked members on one,
// two and three nodes, which are processes, beside a NATS server in another. The
// members are in the process of the benchmark. Each message is published when all
// members have the one before it, so messages a second are those of one publisher
// that waits.
//
//	go test -run '^$' -bench Topic -benchtime 500x .
func BenchmarkTopic(b *testing.B) {
	for nodes := 1; nodes <= 3; nodes++ {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) { benchTopic(b, nodes, benchMembers, 1) })
	}
}

// BenchmarkPipeline is BenchmarkTopic with 16 messages under way at a time.
//
//	go test -run '^$' -bench Pipeline -benchtime 500x .
func BenchmarkPipeline(b *testing.B) {
	for nodes := 1; nodes <= 3; nodes++ {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) { benchTopic(b, nodes, benchMembers, 16) })
	}
}

// BenchmarkPublish has a topic with one member, for what NATS and a node take for a
// message before it is sent to anybody.
func BenchmarkPublish(b *testing.B) {
	b.Run("nodes=1", func(b *testing.B) { benchTopic(b, 1, 1, 64) })
}

// A tally counts what members were sent of one message after another.
type tally struct {
	members int64
	left    []atomic.Int64 // members that have yet to get a message, by its number
	done    []chan struct{}
}

// newTally returns a tally of n messages.
func newTally(members, n int) *tally {
	t := &tally{members: int64(members), left: make([]atomic.Int64, n), done: make([]chan struct{}, n)}
	for i := range n {
		t.left[i].Store(int64(members))
		t.done[i] = make(chan struct{})
	}
	return t
}

// A counter is a parked client.
type counter struct {
	t    *tally
	next int
}

func (c *counter) Opened(*websocket.Conn) error { return nil }

func (c *counter) Receive(*websocket.Conn, websocket.Message) error {
	if c.t.left[c.next].Add(-1) == 0 {
		close(c.t.done[c.next])
	}
	c.next++
	return nil
}

func (c *counter) Closed(*websocket.Conn, *websocket.CloseError) {}

// benchTopic measures b.N messages, with some of them under way at a time.
func benchTopic(b *testing.B, nodes, members, window int) {
	nats := startProcess(b, serverStore+"="+b.TempDir())
	processes := make([]*node, nodes)
	for i := range processes {
		processes[i] = startNode(b, "nats://"+nats.addr)
	}
	t := newTally(members, b.N)
	for i := range members {
		c, _, err := websocket.Dial(deadline(b), "ws://"+processes[i%nodes].addr+"/parked", nil)
		require.NoError(b, err)
		b.Cleanup(func() { c.CloseNow() })
		require.NoError(b, c.Deliver(&counter{t: t}))
	}
	g := openGroup(b, connect(b, "nats://"+nats.addr), Options{})
	topic, err := g.Topic("red")
	require.NoError(b, err)
	awaitMembers(b, processes, members)

	took := make([]time.Duration, b.N)
	before, beforeNATS := timeOf(b, processes...), timeOf(b, nats)
	b.ResetTimer()
	began := time.Now()
	publishAll(b, topic, t, took, window)
	elapsed := time.Since(began)
	b.StopTimer()
	perMessage := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "msg/s")
	b.ReportMetric(perMessage(timeOf(b, processes...)-before), "nodes-µs/msg")
	b.ReportMetric(perMessage(timeOf(b, nats)-beforeNATS), "nats-µs/msg")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// publishAll publishes the messages of t, and notes how long each takes from the
// call of Publish to the last member.
func publishAll(b *testing.B, topic *Topic, t *tally, took []time.Duration, window int) {
	data := make([]byte, 128)
	under := make(chan struct{}, window)
	var waiting sync.WaitGroup
	for i := range took {
		under <- struct{}{}
		began := time.Now()
		_, err := topic.Publish(deadline(b), websocket.Binary, data)
		require.NoError(b, err)
		waiting.Go(func() {
			<-t.done[i]
			took[i] = time.Since(began)
			<-under
		})
	}
	waiting.Wait()
}

// awaitMembers waits until the nodes have as many members.
func awaitMembers(b *testing.B, processes []*node, members int) {
	b.Helper()
	require.Eventually(b, func() bool {
		sum := 0
		for _, p := range processes {
			sum += membersOf(b, p)
		}
		return sum == members
	}, time.Minute, 10*time.Millisecond)
}

// timeOf returns the processor time of processes.
func timeOf(b *testing.B, processes ...*node) (sum time.Duration) {
	b.Helper()
	for _, p := range processes {
		var ts unix.Timespec
		clock := int32(^p.cmd.Process.Pid<<3 | 2) // see clock_getcpuclockid(3)
		require.NoError(b, unix.ClockGettime(clock, &ts))
		sum += time.Duration(ts.Nano())
	}
	return sum
}

// membersOf returns the number of members on a node.
func membersOf(b *testing.B, p *node) int {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/members", nil)
	require.NoError(b, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b, err)
	n, err := strconv.Atoi(string(body))
	require.NoError(b, err)
	return n
}

// BenchmarkJoin joins a topic that has members and is listed, one call after
// another. NATS is in the same process.
func BenchmarkJoin(b *testing.B) {
	g := openGroup(b, connect(b, startServer(b).ClientURL()), Options{})
	benchJoin(b, g, &JoinOptions{Presence: []byte("name")})
}

// BenchmarkResume joins after ten messages that the node has to fetch, one call
// after another. NATS is in the same process.
func BenchmarkResume(b *testing.B) {
	g := openGroup(b, connect(b, startServer(b).ClientURL()), Options{Recent: -1})
	topic, err := g.Topic("red")
	require.NoError(b, err)
	var seqs []uint64
	for range 11 {
		seq, err := topic.Publish(deadline(b), websocket.Binary, make([]byte, 128))
		require.NoError(b, err)
		seqs = append(seqs, seq)
	}
	benchJoin(b, g, &JoinOptions{After: seqs[0]})
}

// benchJoin joins the topic "red" with one connection again and again.
func benchJoin(b *testing.B, g *Group, opts *JoinOptions) {
	topic, err := g.Topic("red")
	require.NoError(b, err)
	_, err = topic.Join(deadline(b), newClient(b).peer, nil)
	require.NoError(b, err)
	c := newClient(b)
	go func() {
		for m, err := range c.c.Messages(context.Background()) {
			_, _ = m, err
		}
	}()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for b.Loop() {
		m, err := topic.Join(ctx, c.peer, opts)
		require.NoError(b, err)
		m.Leave()
	}
}
