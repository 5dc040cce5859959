package natsgroup

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nodeURLs is an environment variable that makes the test binary a node on these
// NATS servers.
const nodeURLs = "NATSGROUP_TEST_NODE"

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(nodeURLs) != "":
		err = runNode(os.Getenv(nodeURLs))
	case os.Getenv(serverStore) != "":
		err = runServer(os.Getenv(serverStore))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runNode serves members of the topic "red", prints its address, and ends with its
// standard input.
func runNode(urls string) error {
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers())
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g, err := Open(ctx, js, Options{Name: "test", Replicas: strings.Count(urls, ",") + 1, Encode: encode})
	if err != nil {
		return err
	}
	topic, err := g.Topic("red")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", websocket.Handler(nil, func(r *http.Request) (func(*websocket.Conn) error, error) {
		after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
		return func(c *websocket.Conn) error { return serveMember(c, topic, after) }, err
	}))
	mux.Handle("/parked", websocket.ReceiverHandler(nil, func(*http.Request) (websocket.Receiver, error) {
		return parked{topic}, nil
	}))
	mux.HandleFunc("/members", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, memberCount(g)) })
	go http.Serve(l, mux)
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// serverStore is an environment variable that makes the test binary a NATS server
// that stores what it keeps there.
const serverStore = "NATSGROUP_TEST_SERVER"

// runServer serves NATS, prints its address, and ends with its standard input.
func runServer(store string) error {
	s, err := server.NewServer(serverOptions("alone", store))
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(startTimeout) {
		return errors.New("the server does not start")
	}
	fmt.Println(s.Addr())
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// serveMember publishes what a member sends, and confirms it with "ok".
func serveMember(c *websocket.Conn, topic *Topic, after uint64) error {
	if _, err := topic.Join(c.Context(), c, &JoinOptions{After: after}); err != nil {
		return err
	}
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		seq, err := topic.Publish(c.Context(), m.Type, m.Data)
		if err != nil {
			return err
		}
		if err := c.WriteString(c.Context(), fmt.Sprintf("ok %d", seq)); err != nil {
			return err
		}
	}
	return nil
}

// A node is a process with members.
type node struct {
	cmd  *exec.Cmd
	addr string
	end  sync.Once
}

// startNode starts a node, which ends with the test.
func startNode(t testing.TB, urls string) *node {
	t.Helper()
	return startProcess(t, nodeURLs+"="+urls)
}

// startProcess runs the test binary with a setting of the environment, and reads
// the address it prints.
func startProcess(t testing.TB, setting string) *node {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), setting)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	n := &node{cmd: cmd}
	t.Cleanup(n.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	n.addr = strings.TrimSpace(line)
	return n
}

// kill kills the process.
func (n *node) kill() {
	n.end.Do(func() {
		n.cmd.Process.Kill()
		n.cmd.Wait()
	})
}

// A crowd is the nodes that its members connect to.
type crowd struct {
	mu    sync.Mutex
	nodes []*node
}

// url returns the address of one of the nodes, for a member that has seen the
// sequence after.
func (cr *crowd) url(i int, after uint64) string {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	return fmt.Sprintf("ws://%s/?after=%d", cr.nodes[i%len(cr.nodes)].addr, after)
}

// replace kills a node and starts another in its place.
func (cr *crowd) replace(t *testing.T, i int, urls string) {
	t.Helper()
	cr.mu.Lock()
	old := cr.nodes[i]
	cr.mu.Unlock()
	old.kill()
	n := startNode(t, urls)
	cr.mu.Lock()
	defer cr.mu.Unlock()
	cr.nodes[i] = n
}

// A walker is a member that goes from node to node when its connection ends.
type walker struct {
	at   int // the node it tries next
	last uint64
	text map[uint64]string
	twin int // messages that came twice, or late
	err  error
}

// final is the text of the last message.
const final = "final"

// run reads until it has seen the last message.
func (w *walker) run(ctx context.Context, cr *crowd) {
	for ctx.Err() == nil && w.err == nil {
		c, _, err := websocket.Dial(ctx, cr.url(w.at, w.last), nil)
		w.at++
		if err != nil {
			continue
		}
		w.read(ctx, c)
		if w.text[w.last] == final {
			c.Close(websocket.CloseNormal, "")
			return
		}
		c.CloseNow()
	}
	w.err = cmp.Or(w.err, ctx.Err())
}

// read reads until c ends, or the last message has come.
func (w *walker) read(ctx context.Context, c *websocket.Conn) {
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			return
		}
		number, text, _ := strings.Cut(string(data), " ")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			w.err = err
			return
		}
		if seq <= w.last {
			w.twin++
			continue
		}
		w.last, w.text[seq] = seq, text
		if text == final {
			return
		}
	}
}

// talk publishes n texts over one connection after another, and enters those that
// were confirmed.
func (b *book) talk(ctx context.Context, cr *crowd, at, n int) error {
	for sent := 0; sent < n && ctx.Err() == nil; at++ {
		c, _, err := websocket.Dial(ctx, cr.url(at, 0), nil)
		if err != nil {
			continue
		}
		for ; sent < n; sent++ {
			if err := b.say(ctx, c, fmt.Sprintf("talker-%d-%d", at, sent)); err != nil {
				break
			}
		}
		c.CloseNow()
	}
	return ctx.Err()
}

// say publishes one text and waits until it is confirmed.
func (b *book) say(ctx context.Context, c *websocket.Conn, text string) error {
	if err := c.WriteString(ctx, text); err != nil {
		return err
	}
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if number, ok := strings.CutPrefix(string(data), "ok "); ok {
			seq, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				return err
			}
			b.mu.Lock()
			b.texts[seq] = text
			b.mu.Unlock()
			select {
			case b.grown <- struct{}{}:
			default:
			}
			return nil
		}
	}
}

// TestThreeProcesses has 2,000 members on three processes, of which two are killed
// one after the other while members publish on all of them. Every message whose
// publication was confirmed arrives once at every member.
func TestThreeProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	const members, talkers, texts = 2000, 3, 40
	cl := startCluster(t)
	cr := &crowd{nodes: make([]*node, 3)}
	for i := range cr.nodes {
		cr.nodes[i] = startNode(t, cl.urls(i))
	}
	g := openGroup(t, connect(t, cl.urls(0)), Options{Replicas: 3})
	first := publish(t, topicOf(t, g, "red"), "first")

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	b := &book{texts: make(map[uint64]string), grown: make(chan struct{}, 1)}
	var walking, talking sync.WaitGroup
	walkers := make([]*walker, members)
	for i := range walkers {
		w := &walker{at: i, last: first, text: make(map[uint64]string)}
		walkers[i] = w
		walking.Go(func() { w.run(ctx, cr) })
	}
	for i := range talkers {
		talking.Go(func() { assert.NoError(t, b.talk(ctx, cr, i, texts)) })
	}
	for i := range 2 {
		b.wait(ctx, t, texts/2)
		cr.replace(t, i, cl.urls(i))
	}
	talking.Wait()
	last := publish(t, topicOf(t, g, "red"), final)
	walking.Wait()
	t.Logf("%d messages were confirmed", len(b.texts))
	for i, w := range walkers {
		require.False(t, errors.Is(w.err, context.DeadlineExceeded), "member %d has come to %d of %d", i, w.last, last)
		require.NoError(t, w.err)
		require.Zero(t, w.twin, "messages that came twice")
		for seq, text := range b.texts {
			require.Equal(t, text, w.text[seq], "member %d, message %d", i, seq)
		}
	}
}
