package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runMain is an environment variable that makes the test binary run main.
const runMain = "CLUSTER_TEST_RUN_MAIN"

// TestMain lets the test be the program, and its nodes. Tests wait most of the time,
// for elections and for what is given up late, so four run beside each other.
func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" || len(os.Args) == 2 && os.Args[1] == "node" {
		main()
		return
	}
	flag.Set("test.parallel", "4") // unless the command line says otherwise
	os.Exit(m.Run())
}

// deadline returns a context that ends a hanging test.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// startCluster starts a cluster of three processes, which ends with the test, and
// returns the URL of its front.
func startCluster(t *testing.T) (c *cluster, front string) {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	configs, err := nodeConfigs(settings{addr: "localhost:0", nodes: 3, replicas: 3}, t.TempDir(), 0)
	require.NoError(t, err)
	c = newCluster(configs, true)
	ctx, cancel := context.WithCancel(context.Background())
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- c.serve(ctx, l, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-served)
	})
	select {
	case <-ready:
	case <-deadline(t).Done():
		require.FailNow(t, "the cluster does not start", c.list())
	}
	return c, pageURL(l.Addr())
}

// awaitState waits until a node has a state.
func awaitState(t *testing.T, c *cluster, name string, s state) {
	t.Helper()
	err := c.await(deadline(t), func(n *node) (bool, error) { return n.cfg.Name != name || n.state == s, nil })
	require.NoError(t, err, "%s does not become %s", name, s)
}

// control asks the parent of the nodes for something, as a page does.
func control(t *testing.T, front, do, name string) {
	t.Helper()
	c, _, err := websocket.Dial(deadline(t), "ws"+front[len("http"):]+"/control", nil)
	require.NoError(t, err)
	require.NoError(t, c.WriteString(deadline(t), fmt.Sprintf(`{"do":%q,"node":%q}`, do, name)))
	require.NoError(t, c.Close(websocket.CloseNormal, ""))
}

// dial opens a connection to a room, and returns it when it has joined.
func dial(t *testing.T, front, query string) (c *websocket.Conn, node string) {
	t.Helper()
	c, _, err := websocket.Dial(deadline(t), "ws"+front[len("http"):]+"/ws?"+query, nil)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	var e event
	for e.Kind != "joined" {
		_, data, err := c.Read(deadline(t))
		require.NoError(t, err)
		e = event{}
		require.NoError(t, json.Unmarshal(data, &e))
		if e.Kind == "welcome" {
			node = e.Node
		}
	}
	return c, node
}

// endOf reads c to its end and returns why it ended.
func endOf(ctx context.Context, c *websocket.Conn) error {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
}

// TestNodesEnd kills a node while messages are published, brings it back, lets one
// stop, and kills two.
func TestNodesEnd(t *testing.T) {
	t.Parallel()
	c, front := startCluster(t)
	guests := make([]*guest, 6)
	for i := range guests {
		guests[i] = come(t, front, fmt.Sprintf("guest %d", i), "lobby")
	}
	two := map[string]int{"node-1": 2, "node-2": 2, "node-3": 2}
	guests[0].until(func(v *view) bool { return assert.ObjectsAreEqual(two, v.counts) })
	victim := guests[0].where()

	killWhileTalking(t, c, front, guests, victim)
	startAgain(t, c, front, guests, victim)
	stopNode(t, c, front)
	killMost(t, c, front)
}

// killWhileTalking kills a node while all guests talk, those on it too.
func killWhileTalking(t *testing.T, c *cluster, front string, guests []*guest, victim string) {
	const each, killAt = 40, 10
	talked := make(chan struct{})
	for i, g := range guests {
		go func() {
			defer func() { talked <- struct{}{} }()
			for n := range each {
				g.tell(fmt.Sprintf("%d says %d", i, n))
				if i == 0 && n == killAt {
					control(t, front, "kill", victim)
				}
			}
		}()
	}
	for range guests {
		<-talked
	}
	awaitState(t, c, victim, killed)
	want := make(map[string]int)
	for i := range guests {
		for n := range each {
			want[fmt.Sprintf("%d says %d", i, n)] = 1
		}
	}
	for _, g := range guests {
		g.until(func(v *view) bool { return len(v.texts) >= len(want) })
		assert.Equal(t, want, g.shown(), "%s", g.name)
		assert.NotEqual(t, victim, g.where())
		g.until(func(v *view) bool { return v.counts[victim] == 0 && total(v.counts) == len(guests) })
	}
}

// startAgain starts a node that was killed, which goes on where the others are.
func startAgain(t *testing.T, c *cluster, front string, guests []*guest, victim string) {
	control(t, front, "start", victim)
	awaitState(t, c, victim, running)
	late := come(t, front, "late", "lobby")
	assert.Equal(t, victim, late.where(), "it has the fewest connections")
	late.tell("of a node that was killed")
	for _, g := range guests {
		g.until(func(v *view) bool { return v.texts["of a node that was killed"] == 1 })
	}
}

// total returns the sum of counts.
func total(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// stopNode stops a node as for a deployment: its connections are told to go
// elsewhere.
func stopNode(t *testing.T, c *cluster, front string) {
	conn, name := dial(t, front, "name=Ada&room=stop")
	watching := come(t, front, "Bob", "stop")
	watching.until(func(v *view) bool { return total(v.counts) == 2 })
	control(t, front, "stop", name)
	end := endOf(deadline(t), conn)
	require.ErrorIs(t, end, websocket.CloseServiceRestart)
	assert.ErrorContains(t, end, name+" restarts")
	watching.until(func(v *view) bool { return total(v.counts) == 1 })
	awaitState(t, c, name, stopped)
	control(t, front, "start", name)
	awaitState(t, c, name, running)
}

// killMost kills two nodes, and with them most servers of NATS: what cannot be
// stored is refused, and the third goes on when they are back.
func killMost(t *testing.T, c *cluster, front string) {
	g := come(t, front, "Ada", "most")
	g.tell("all are there")
	var others []string
	for _, n := range c.nodes {
		if n.cfg.Name != g.where() {
			others = append(others, n.cfg.Name)
			control(t, front, "kill", n.cfg.Name)
		}
	}
	id := g.say("nobody stores it")
	g.until(func(v *view) bool { return v.refused[id] })
	for _, name := range others {
		awaitState(t, c, name, killed)
		control(t, front, "start", name)
	}
	g.tell("they are back")
	for _, name := range others {
		awaitState(t, c, name, running)
	}
	assert.Equal(t, 1, g.shown()["they are back"])
}

// TestRefused asks for what the cluster refuses.
func TestRefused(t *testing.T) {
	t.Parallel()
	_, front := startCluster(t)
	ws := "ws" + front[len("http"):]
	for _, query := range []string{
		"room=lobby", "name=+Ada&room=lobby", "name=" + strings.Repeat("a", maxName+1) + "&room=lobby", "name=A%00&room=lobby",
		"name=Ada", "name=Ada&room=a.*", "name=Ada&room=%3E", "name=Ada&room=" + strings.Repeat("a", 129),
		"name=Ada&room=lobby&after=-1", "name=Ada&room=lobby&after=9999999999999999999",
	} {
		_, resp, err := websocket.Dial(deadline(t), ws+"/ws?"+query, nil)
		if assert.Error(t, err, query) && assert.NotNil(t, resp, query) {
			assert.Equal(t, http.StatusBadRequest, resp.StatusCode, query)
		}
	}
	foreign := &websocket.DialOptions{Header: http.Header{"Origin": {"https://elsewhere.example"}}}
	for _, path := range []string{"/ws?name=Ada&room=lobby", "/control"} {
		_, resp, err := websocket.Dial(deadline(t), ws+path, foreign)
		if assert.Error(t, err, path) && assert.NotNil(t, resp, path) {
			assert.Equal(t, http.StatusForbidden, resp.StatusCode, path)
		}
	}
	for _, bad := range []struct {
		typ  websocket.MessageType
		data string
		code websocket.CloseCode
	}{
		{websocket.Binary, `{"id":"1","text":"a"}`, websocket.CloseUnsupportedData},
		{websocket.Text, `hello`, websocket.ClosePolicyViolation},
		{websocket.Text, `{"id":"1","text":" "}`, websocket.ClosePolicyViolation},
		{websocket.Text, `{"text":"a"}`, websocket.ClosePolicyViolation},
		{websocket.Text, `{"id":"` + strings.Repeat("1", 65) + `","text":"a"}`, websocket.ClosePolicyViolation},
		{websocket.Text, strings.Repeat("a", maxMessage+1), websocket.CloseMessageTooBig},
	} {
		c, _ := dial(t, front, "name=Ada&room=lobby")
		require.NoError(t, c.Write(deadline(t), bad.typ, []byte(bad.data)))
		assert.ErrorIs(t, endOf(deadline(t), c), bad.code, "%.40s", bad.data)
	}
	for _, ask := range []string{`{"do":"kill","node":"node-4"}`, `{"do":"burn","node":"node-1"}`, `kill`} {
		c, _, err := websocket.Dial(deadline(t), ws+"/control", nil)
		require.NoError(t, err)
		require.NoError(t, c.WriteString(deadline(t), ask))
		assert.ErrorIs(t, endOf(deadline(t), c), websocket.ClosePolicyViolation, ask)
	}
}

// startNATS starts a NATS server alone, with its store in dir, which ends with the
// test.
func startNATS(t *testing.T, port int, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(30*time.Second))
	return s
}

// startAlone starts a node as on a machine of its own, with a NATS that is
// elsewhere. It returns where it serves, and how to stop it, which the end of the
// test does otherwise.
func startAlone(t *testing.T, url string) (front string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ran := make(chan error, 1)
	go func() {
		ran <- run(ctx, settings{addr: "localhost:0", nodes: 1, nats: url, replicas: 1, name: "machine-a"}, in)
		in.Close()
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ran)
	})
	t.Cleanup(stop)
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	go io.Copy(io.Discard, lines)
	return regexp.MustCompile(`http://localhost:\d+`).FindString(line), stop
}

// TestAlone runs a node without a front, and takes its NATS away.
func TestAlone(t *testing.T) {
	t.Parallel()
	s := startNATS(t, server.RANDOM_PORT, t.TempDir())
	front, stop := startAlone(t, s.ClientURL())
	_, resp, err := websocket.Dial(deadline(t), "ws"+front[len("http"):]+"/control", nil)
	require.Error(t, err)
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)

	g := come(t, front, "Ada", "lobby")
	assert.Equal(t, "machine-a", g.where())
	g.tell("hello")
	late := come(t, front, "Bob", "lobby")
	late.change(func(v *view) {
		v.last = 1 // of another stream
		v.conn.CloseNow()
	})
	late.until(func(v *view) bool { return v.gaps == 1 && v.conn != nil && v.last > 1 })
	g.tell("after the gap")
	late.until(func(v *view) bool { return v.texts["after the gap"] == 1 })

	c, _ := dial(t, front, "name=Carol&room=lobby")
	s.Shutdown()
	id := g.say("nobody stores it")
	g.until(func(v *view) bool { return v.refused[id] })
	stop()
	assert.ErrorIs(t, endOf(deadline(t), c), websocket.CloseServiceRestart)
}

// TestInterrupt stops the program as Ctrl-C does. It leaves no files and no process.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent Ctrl-C on Windows")
	}
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	cmd := exec.CommandContext(ctx, os.Args[0], "-addr", "localhost:0")
	cmd.Env = append(os.Environ(), runMain+"=1", "TMPDIR="+dir)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	front := regexp.MustCompile(`http://localhost:\d+`).FindString(line)
	c, _ := dial(t, front, "name=Ada&room=lobby")

	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	assert.ErrorIs(t, endOf(ctx, c), websocket.CloseServiceRestart)
	rest, err := io.ReadAll(lines) // ends when no process has the pipe
	require.NoError(t, err)
	assert.Contains(t, string(rest), "Stopped")
	assert.NoError(t, cmd.Wait())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		settings
		want string // in the error; "" for none
	}{
		{settings{nodes: 3, replicas: 3}, ""},
		{settings{nodes: 0, replicas: 1}, "-nodes"},
		{settings{nodes: 10, replicas: 3}, "-nodes"},
		{settings{nodes: 3, replicas: 0}, "-replicas"},
		{settings{nodes: 2, replicas: 3}, "-replicas"},
		{settings{nodes: 1, replicas: 1}, "-nats"},
		{settings{nodes: 1, replicas: 3, nats: "nats://localhost"}, ""},
	} {
		err := c.check()
		if c.want == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, c.want)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer l.Close()
	err = run(deadline(t), settings{addr: l.Addr().String(), nodes: 3, replicas: 3}, io.Discard)
	assert.ErrorContains(t, err, "-addr")
}

// TestNoNode asks a front all of whose nodes have ended.
func TestNoNode(t *testing.T) {
	c := newCluster(make([]nodeConfig, 3), false)
	front := httptest.NewServer(c.routes())
	defer front.Close()
	resp, err := http.Get(front.URL)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.False(t, c.act("kill", ""), "pages may not kill")
}

func TestPageIsServed(t *testing.T) {
	var conns websocket.Registry
	s := httptest.NewServer(routes(&chat{}, &conns))
	defer s.Close()
	for path, kind := range map[string]string{
		"/": "text/html", "/cluster.css": "text/css", "/cluster.js": "text/javascript", "/icon.svg": "image/svg+xml",
	} {
		resp, err := http.Get(s.URL + path)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode, path)
		assert.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), kind), path)
		assert.NotContains(t, resp.Header.Get("Content-Security-Policy"), "unsafe", path)
		assert.NotEmpty(t, resp.Header.Get("Content-Security-Policy"), path)
	}
}

// TestPageIsWhole checks that the page loads nothing from other hosts and never
// treats what people write as markup.
func TestPageIsWhole(t *testing.T) {
	require.NoError(t, fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "@import", "innerHTML", "insertAdjacentHTML", "document.write"} {
			assert.NotContains(t, text, bad, path)
		}
		return err
	}))
}

// TestFreePort checks that ports are not those that systems give to connections, and
// differ.
func TestFreePort(t *testing.T) {
	var taken []string
	for range 100 {
		port, err := freePort(taken)
		require.NoError(t, err)
		assert.Less(t, port, 32768)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		assert.NotContains(t, taken, addr)
		taken = append(taken, addr)
	}
}
