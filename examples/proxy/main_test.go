package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
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
)

// runMain is an environment variable that makes the test binary run main.
const runMain = "PROXY_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	code := m.Run()
	if left := sessionsLeft(); code == 0 && left != "" {
		io.WriteString(os.Stderr, "goroutines left behind:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// sessionsLeft returns the stacks of goroutines that serve a session or belong
// to a connection, or "" once there are none. It gives them ten seconds.
func sessionsLeft() string {
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		left = left[:0]
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, stack := range strings.Split(string(stacks), "\n\n") {
			if strings.Contains(stack, "examples/proxy.(*session)") || strings.Contains(stack, "websocket.(*Conn)") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return ""
		}
	}
	return strings.Join(left, "\n\n")
}

// deadline returns a context that ends a hanging test.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A journal keeps log lines, which are JSON.
type journal struct {
	mu    sync.Mutex
	lines []map[string]any
	more  chan struct{} // closed at the next line
}

// Write keeps a line.
func (j *journal) Write(p []byte) (int, error) {
	line := make(map[string]any)
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
	return len(p), nil
}

// nth returns the nth line, from 0, with this message, or a channel that is
// closed when there are more lines.
func (j *journal) nth(msg string, n int) (map[string]any, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if line["msg"] == msg {
			if n--; n < 0 {
				return line, nil
			}
		}
	}
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return nil, j.more
}

// await waits for the nth line, from 0, with this message.
func (j *journal) await(t *testing.T, msg string, n int) map[string]any {
	t.Helper()
	ctx := deadline(t)
	for {
		line, more := j.nth(msg, n)
		if line != nil {
			return line
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("the log has no %q number %d", msg, n)
		}
	}
}

// A fixture is a running proxy and the server behind it.
type fixture struct {
	t       *testing.T
	proxy   *proxy
	url     string // of the proxy: ws or wss
	journal journal
	stop    func()
	tls     *tls.Config // of clients
}

// flagsFor returns settings for args and the servers at urls.
func flagsFor(t *testing.T, urls []string, args ...string) *settings {
	t.Helper()
	for _, u := range urls {
		args = append(args, "-backend", u)
	}
	set, err := parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// start runs a proxy with args in front of h until the test ends.
func start(t *testing.T, h http.Handler, args ...string) *fixture {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return startFor(t, []string{server.URL}, args...)
}

// startFor runs a proxy with args in front of the servers at urls.
func startFor(t *testing.T, urls []string, args ...string) *fixture {
	t.Helper()
	f := &fixture{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	set := flagsFor(t, urls, args...)
	set.front.listen = "localhost:0"
	l, err := set.front.open()
	if err != nil {
		t.Fatal(err)
	}
	f.url = set.front.scheme() + "://" + l.Addr().String()
	f.proxy = newProxy(ctx, set, slog.New(slog.NewJSONHandler(&f.journal, nil)))
	served := make(chan error, 1)
	go func() { served <- serve(ctx, f.proxy, l, nil); close(served) }()
	f.stop = func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(f.stop)
	return f
}

// unlimited is for messages of any length.
var unlimited = websocket.Config{MaxMessageSize: -1}

// hold is a server that hands its connections to the test and lets the test end
// them.
func hold(opts *websocket.AcceptOptions) (h http.Handler, conns chan *websocket.Conn) {
	conns = make(chan *websocket.Conn, 1000)
	if opts == nil {
		opts = new(websocket.AcceptOptions)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, opts); err == nil {
			conns <- c
		}
	}), conns
}

// dial connects to path of the proxy.
func (f *fixture) dial(path string, opts *websocket.DialOptions) *websocket.Conn {
	f.t.Helper()
	c, _, err := f.tryDial(path, opts)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.CloseNow() })
	return c
}

// tryDial connects to path of the proxy, or returns why not.
func (f *fixture) tryDial(path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	o := websocket.DialOptions{}
	if opts != nil {
		o = *opts
	}
	o.TLS = f.tls
	return websocket.Dial(deadline(f.t), f.url+path, &o)
}

// pair connects a client through the proxy and returns both ends.
func pair(t *testing.T, args ...string) (f *fixture, client, backend *websocket.Conn) {
	t.Helper()
	h, conns := hold(&websocket.AcceptOptions{Config: unlimited})
	f = start(t, h, args...)
	client, backend = f.pair(conns)
	return f, client, backend
}

// pair is pair for a proxy whose server hands its connections to conns.
func (f *fixture) pair(conns <-chan *websocket.Conn) (client, backend *websocket.Conn) {
	f.t.Helper()
	client = f.dial("/", &websocket.DialOptions{Config: unlimited})
	select {
	case backend = <-conns:
	case <-deadline(f.t).Done():
		f.t.Fatal("the server got no connection")
	}
	f.t.Cleanup(func() { backend.CloseNow() })
	return client, backend
}

// echo sends every message back.
func echo(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// endOf reads c to its end and returns how it ended.
func endOf(ctx context.Context, c *websocket.Conn) *websocket.CloseError {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			end := &websocket.CloseError{Reason: "the test's time is over"}
			errors.As(err, &end)
			return end
		}
	}
}

// wantEnd reads c to its end and checks how it ended.
func wantEnd(t *testing.T, c *websocket.Conn, code websocket.CloseCode, reason string) {
	t.Helper()
	end := endOf(deadline(t), c)
	if end.Code != code || end.Reason != reason {
		t.Errorf("the connection ended with %v, want %v %q", end, code, reason)
	}
}

// TestInterrupt stops the program as Ctrl-C does.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent Ctrl-C on Windows")
	}
	t.Parallel()
	h, conns := hold(nil)
	server := httptest.NewServer(h)
	defer server.Close()
	ctx := deadline(t)
	cmd := exec.CommandContext(ctx, os.Args[0], "-listen", "localhost:0", "-metrics", "localhost:0", "-backend", server.URL)
	cmd.Env = append(os.Environ(), runMain+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	cmd.Stderr = &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	url := addressIn(t, lines, `ws://\S+`)
	metrics := addressIn(t, lines, `http://\S+`)
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	backend := <-conns
	defer backend.CloseNow()
	for page := ""; !strings.Contains(page, "proxy_connections 1\n"); page = bodyOf(t, metrics) {
		if ctx.Err() != nil {
			t.Fatalf("the metrics are\n%s", page)
		}
	}

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() { wantEnd(t, backend, websocket.CloseGoingAway, goingAway) })
	wantEnd(t, c, websocket.CloseGoingAway, goingAway)
	both.Wait()
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(rest), "Stopped") || !strings.Contains(logs.String(), "msg=closed") {
		t.Errorf("the program's last words were %q, and its log\n%s", rest, logs.String())
	}
}

// addressIn returns what pattern matches in the next line of r.
func addressIn(t *testing.T, r *bufio.Reader, pattern string) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(pattern).FindString(line)
}

// bodyOf returns what is at url.
func bodyOf(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"-listen", "-metrics"} {
		set := flagsFor(t, []string{"ws://localhost:1"}, "-listen", "localhost:0", name, l.Addr().String())
		err := run(deadline(t), set, slog.New(slog.DiscardHandler), io.Discard)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error that names %s", err, name)
		}
	}
}

func TestWrongFlags(t *testing.T) {
	const server = "-backend=ws://localhost:9000"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "-backend"},
		{[]string{"-backend=localhost:9000"}, "-backend"},
		{[]string{"-backend=ftp://localhost"}, "-backend"},
		{[]string{"-backend="}, "empty"},
		{[]string{"-backend=ws://user:password@localhost"}, "-backend"},
		{[]string{server, "-cert=c.pem"}, "-key"},
		{[]string{server, "-compress=some"}, "-compress"},
		{[]string{server, "-rate=-1"}, "0 for no limit"},
		{[]string{server, "-bytes=NaN"}, "0 for no limit"},
		{[]string{server, "-burst=0s"}, "-burst"},
		{[]string{server, "-idle=-1s"}, "-idle"},
		{[]string{server, "-trust=here"}, "-trust"},
		{[]string{server, "-pass=sec-websocket-key"}, "-pass"},
		{[]string{server, "-pass=X-Forwarded-User"}, "-pass"},
		{[]string{server, "more"}, "more"},
	} {
		_, err := parse(c.args, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error with %q", c.args, err, c.want)
		}
	}
}

func TestNoCertificate(t *testing.T) {
	set := flagsFor(t, []string{"ws://localhost:1"}, "-cert=missing.pem", "-key=missing.pem")
	if _, err := set.front.open(); err == nil || !strings.Contains(err.Error(), "-cert") {
		t.Errorf("got %v, want an error that names -cert", err)
	}
}
