package main

import (
	"bufio"
	"bytes"
	"context"
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
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wsjson"
)

// runMain is an environment variable that makes the test binary run main.
const runMain = "DASHBOARD_TEST_RUN_MAIN"

// TestMain lets the test be the server and the load's process, too.
func TestMain(m *testing.M) {
	switch {
	case playLoad(os.Args[1:]):
	case os.Getenv(runMain) != "":
		main()
	default:
		os.Exit(m.Run())
	}
}

// start serves a new dashboard on addr until stop is called or the test ends.
func start(t *testing.T, addr string, most int) (listening string, d *dashboard, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	d = newDashboard(loadURL(l.Addr()), most)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, d); close(served) }()
	stop = func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), d, stop
}

// bounded returns a context that ends a hanging test.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A visitor is a page, without a browser. It keeps on reading, as pages do.
type visitor struct {
	t      *testing.T
	ctx    context.Context
	c      *websocket.Conn
	events chan event // closed at the end of the connection
	end    error      // and why it has ended
}

// visit opens a page.
func visit(t *testing.T, addr string) *visitor {
	t.Helper()
	ctx := bounded(t)
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws", &websocket.DialOptions{
		Config: websocket.Config{Compression: &websocket.Compression{}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	p := &visitor{t: t, ctx: ctx, c: c, events: make(chan event, 10_000)}
	go p.read()
	return p
}

// read reads events until the connection ends.
func (p *visitor) read() {
	defer close(p.events)
	for p.end == nil {
		var e event
		if e, p.end = wsjson.Read[event](p.ctx, p.c); p.end == nil {
			p.events <- e
		}
	}
}

// change moves sliders.
func (p *visitor) change(ch map[string]any) {
	p.t.Helper()
	require.NoError(p.t, wsjson.Write(p.ctx, p.c, ch))
}

// until takes events until one is as wanted, and returns it.
func (p *visitor) until(what string, wanted func(event) bool) event {
	p.t.Helper()
	for e := range p.events {
		if wanted(e) {
			return e
		}
	}
	require.NoError(p.t, p.end, what)
	return event{}
}

// untilEnd takes all events, and returns why there are no more.
func (p *visitor) untilEnd() error {
	for range p.events {
	}
	return p.end
}

// sample reads events until a sample is as wanted.
func (p *visitor) sample(what string, wanted func(sample) bool) sample {
	p.t.Helper()
	return *p.until(what, func(e event) bool { return e.Sample != nil && wanted(*e.Sample) }).Sample
}

// next returns the first sample that is taken from now on.
func (p *visitor) next() sample {
	p.t.Helper()
	now := time.Now().UnixMilli()
	return p.sample("a sample", func(s sample) bool { return s.Time > now })
}

// dialEcho opens a connection to a server under load.
func dialEcho(t *testing.T, addr, path string, compress *websocket.Compression) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(bounded(t), "ws://"+addr+path, &websocket.DialOptions{
		Config: websocket.Config{Compression: compress},
	})
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// talk sends n messages, one after another, and checks the echoes.
func talk(t *testing.T, c *websocket.Conn, n int) {
	t.Helper()
	ctx := bounded(t)
	text := strings.Repeat("word ", 100)
	for range n {
		require.NoError(t, c.WriteString(ctx, text))
		_, echo, err := c.Read(ctx)
		require.NoError(t, err)
		require.Equal(t, text, string(echo))
	}
}

// TestSamplesAreRight opens connections of both kinds and compares what the
// server counts with what the clients have counted.
func TestSamplesAreRight(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	p := visit(t, addr)
	before := p.next()
	require.Equal(t, census{Pages: 1}, before.Conns)
	require.Zero(t, before.Traffic)

	var conns []*websocket.Conn
	for range 3 {
		conns = append(conns, dialEcho(t, addr, parkedPath, nil))
	}
	for range 2 {
		conns = append(conns, dialEcho(t, addr, routinePath, &websocket.Compression{}))
	}
	var want traffic
	for i, c := range conns {
		talk(t, c, 5+i)
		s := c.Stats()
		s.MessagesIn, s.MessagesOut = s.MessagesOut, s.MessagesIn // the server sees it the other way
		want.add(s)
	}
	require.EqualValues(t, 5+6+7+8+9, want.In)
	require.Greater(t, want.Plain, want.Wire)
	s := p.next()
	require.Equal(t, census{Parked: 3, Routine: 2, Pages: 1}, s.Conns)
	require.Equal(t, want, s.Traffic)

	for _, c := range conns {
		require.NoError(t, c.Close(websocket.CloseNormal, ""))
	}
	s = p.sample("no connections", func(s sample) bool { return s.Conns == census{Pages: 1} })
	require.Equal(t, want.In, s.Traffic.In)
	require.Equal(t, want.Out, s.Traffic.Out)
}

// TestSamplesOfTheProcess checks what the runtime tells, while no other test runs.
func TestSamplesOfTheProcess(t *testing.T) {
	addr, _, _ := start(t, "localhost:0", 300)
	p := visit(t, addr)
	release := make(chan struct{})
	defer close(release)
	before := p.next()
	for range 1000 {
		go func() { <-release }()
	}
	runtime.GC()
	after := p.next()
	require.GreaterOrEqual(t, after.Process.Goroutines, before.Process.Goroutines+900)
	require.Greater(t, after.Process.GCs, before.Process.GCs)
	require.Greater(t, after.Process.Pause, before.Process.Pause)
	require.Greater(t, after.Process.CPU, 0.0)
	require.GreaterOrEqual(t, after.Process.CPU, before.Process.CPU)
	require.Greater(t, after.Process.Live, uint64(0))
	require.Greater(t, after.Process.Stacks, before.Process.Stacks)
	require.Greater(t, after.Process.Total, after.Process.Live+after.Process.Stacks)
	rtt := p.sample("a round trip", func(s sample) bool { return s.RTT.Mean > 0 }).RTT
	require.GreaterOrEqual(t, rtt.Max, rtt.Mean)
}

// TestRoundTrips checks what becomes of Pongs.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	var r roundTrips
	require.Zero(t, r.take())
	r.add(nil, 2*time.Millisecond)
	r.add(nil, 4*time.Millisecond)
	require.Equal(t, roundTrip{Mean: 3, Max: 4}, r.take())
	require.Equal(t, roundTrip{Mean: 3, Max: 4}, r.take())
	r.add(nil, time.Millisecond)
	require.Equal(t, roundTrip{Mean: 1, Max: 1}, r.take())
}

// TestWelcome checks what a new page is told.
func TestWelcome(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 42)
	first := visit(t, addr)
	latest := first.next()
	first.change(map[string]any{"rate": 321})
	first.until("the choice", func(e event) bool { return e.Choice.Rate == 321 })
	e := visit(t, addr).until("the welcome", func(event) bool { return true })
	require.Equal(t, bounds{MaxConns: 42, MaxRate: maxRate, MinSize: minSize, MaxSize: maxSize}, e.Welcome.Bounds)
	require.Equal(t, choice{settings{Rate: 321, Size: 128, Parked: true}, 1, 0}, *e.Choice)
	require.Equal(t, 2, e.Welcome.ID)
	require.Contains(t, e.Welcome.History, latest)
	for i, s := range e.Welcome.History[1:] {
		require.Greater(t, s.Time, e.Welcome.History[i].Time)
	}
}

// TestHistoryIsBounded checks that samples older than two minutes are forgotten.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	d := newDashboard("", 0)
	for range kept + 10 {
		d.tell()
	}
	require.Len(t, d.history, kept)
}

func TestClamp(t *testing.T) {
	t.Parallel()
	b := bounds{MaxConns: 10, MaxRate: 100, MinSize: 16, MaxSize: 64}
	for _, test := range []struct{ asked, want settings }{
		{settings{}, settings{Size: 16}},
		{settings{Conns: -1, Rate: -1, Size: -1, Parked: true}, settings{Size: 16, Parked: true}},
		{settings{Conns: 10, Rate: 100, Size: 64}, settings{Conns: 10, Rate: 100, Size: 64}},
		{settings{Conns: 11, Rate: 101, Size: 65, Compress: true}, settings{Conns: 10, Rate: 100, Size: 64, Compress: true}},
	} {
		require.Equal(t, test.want, b.clamp(test.asked))
	}
}

// TestChangeIsClamped asks for more than there may be.
func TestChangeIsClamped(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 4)
	p := visit(t, addr)
	p.change(map[string]any{"conns": 1 << 30, "rate": -7, "size": 1 << 30, "seq": 9})
	now := p.until("the choice", func(e event) bool { return e.Choice.Seq == 9 }).Choice
	require.Equal(t, choice{settings{Conns: 4, Size: maxSize, Parked: true}, 1, 9}, *now)
	p.sample("as many connections as may be", func(s sample) bool { return s.Conns.Parked == 4 && s.Load.Open == 4 })
}

// TestWrongChanges checks that a page which sends something else is refused, with
// the right code, and changes nothing.
func TestWrongChanges(t *testing.T) {
	t.Parallel()
	addr, d, _ := start(t, "localhost:0", 300)
	for _, test := range []struct {
		name, sent string
		code       websocket.CloseCode
	}{
		{"not JSON", "conns=5", websocket.CloseInvalidPayload},
		{"a fraction", `{"conns":1.5}`, websocket.CloseInvalidPayload},
		{"a number too large", `{"conns":1e300}`, websocket.CloseInvalidPayload},
		{"a string", `{"rate":"5"}`, websocket.CloseInvalidPayload},
		{"too long", `{"conns":5` + strings.Repeat(" ", maxChange) + `}`, websocket.CloseMessageTooBig},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := visit(t, addr)
			require.NoError(t, p.c.WriteString(p.ctx, test.sent))
			require.ErrorIs(t, p.untilEnd(), test.code)
			require.Equal(t, settings{Rate: 100, Size: 128, Parked: true}, d.load.chosen().settings)
		})
	}
}

// TestSeveralPages lets two pages move sliders: the last move wins, and both see
// all of them.
func TestSeveralPages(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	ada := visit(t, addr)
	ada.next()
	bob := visit(t, addr)
	bob.next()
	for _, move := range []struct {
		by   *visitor
		what map[string]any
		want choice
	}{
		{ada, map[string]any{"rate": 7, "seq": 1}, choice{settings{Rate: 7, Size: 128, Parked: true}, 1, 1}},
		{bob, map[string]any{"size": 99, "seq": 2}, choice{settings{Rate: 7, Size: 99, Parked: true}, 2, 2}},
		{bob, map[string]any{"rate": 8, "seq": 3}, choice{settings{Rate: 8, Size: 99, Parked: true}, 2, 3}},
		{ada, map[string]any{"parked": false, "compress": true, "seq": 4}, choice{settings{Rate: 8, Size: 99, Compress: true}, 1, 4}},
	} {
		move.by.change(move.what)
		for _, p := range []*visitor{ada, bob} {
			p.until("the choice", func(e event) bool { return e.Choice != nil && *e.Choice == move.want })
		}
	}
}

// TestSlowPage checks that a page which never reads misses samples, and holds up
// nobody.
func TestSlowPage(t *testing.T) {
	t.Parallel()
	addr, d, _ := start(t, "localhost:0", 300)
	ctx := bounded(t)
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws", &websocket.DialOptions{NetDial: dialNarrow})
	require.NoError(t, err)
	defer c.CloseNow()
	require.Eventually(t, func() bool { return d.pages.Len() == 1 }, time.Minute, time.Millisecond)
	dropped := func() (n uint64) {
		for c := range d.pages.All() {
			n += c.Stats().Dropped
		}
		return n
	}
	for dropped() == 0 {
		require.NoError(t, ctx.Err())
		d.tell()
	}
	require.Equal(t, 1, d.pages.Len())
	visit(t, addr).next()
}

// dialNarrow connects with a small receive buffer.
func dialNarrow(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return nc, nc.(*net.TCPConn).SetReadBuffer(4096)
}

// TestLoad runs a load of every kind, from its start to its end.
func TestLoad(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	p := visit(t, addr)
	p.change(map[string]any{"conns": 20, "rate": 500, "size": 300})
	e := p.until("echoes", func(e event) bool { return e.Latency != nil && e.Latency.Count >= 100 })
	require.Equal(t, 20, e.Sample.Conns.Parked)
	require.Zero(t, e.Sample.Conns.Routine)
	require.Equal(t, e.Sample.Traffic.Plain, e.Sample.Traffic.Wire)
	wantOrdered(t, e.Latency)

	p.change(map[string]any{"parked": false})
	p.sample("goroutines", func(s sample) bool { return s.Conns == census{Routine: 20, Pages: 1} })
	p.change(map[string]any{"compress": true})
	p.sample("compression", func(s sample) bool { return s.Traffic.Plain > s.Traffic.Wire && s.Load.Open == 20 })
	p.change(map[string]any{"conns": 5})
	p.sample("fewer", func(s sample) bool { return s.Conns.Routine == 5 && s.Load.Open == 5 })

	p.change(map[string]any{"rate": 0, "reset": true})
	e = p.until("the reset", func(e event) bool { return e.Sample != nil && e.Choice.Resets == 1 })
	require.Zero(t, e.Latency.Count)
	require.Zero(t, e.Sample.Load.Sent)
	p.change(map[string]any{"rate": 500})
	p.sample("messages", func(s sample) bool { return s.Load.Sent > 300 })
	p.change(map[string]any{"rate": 0})
	p.until("all echoes", func(e event) bool {
		return e.Sample != nil && e.Sample.Load.Received == e.Sample.Load.Sent && e.Latency.Count == e.Sample.Load.Sent
	})
	p.change(map[string]any{"conns": 0})
	p.sample("no connections", func(s sample) bool { return s.Conns == census{Pages: 1} && s.Load.Open == 0 })
}

// wantOrdered checks that percentiles ascend and that the bars are all there.
func wantOrdered(t *testing.T, l *latency) {
	t.Helper()
	require.Greater(t, l.P50, 0.0)
	require.GreaterOrEqual(t, l.P90, l.P50)
	require.GreaterOrEqual(t, l.P99, l.P90)
	require.GreaterOrEqual(t, l.P999, l.P99)
	require.GreaterOrEqual(t, l.Max, l.P999)
	var sum int64
	for _, n := range l.Bars {
		sum += n
	}
	require.Equal(t, l.Count, sum)
}

// TestLatency checks where latencies are drawn.
func TestLatency(t *testing.T) {
	t.Parallel()
	l := newLoad("", 0)
	for _, us := range []int64{1, 10, 11, 1000, 1050, 60_000_000} {
		require.NoError(t, l.times.RecordValue(us))
	}
	got := l.latency()
	require.EqualValues(t, 6, got.Count)
	require.Len(t, got.Bars, 78)
	for bar, want := range map[int]int64{0: 1, 10: 2, 30: 2, 77: 1} {
		require.Equal(t, want, got.Bars[bar], "bar %d", bar)
	}
	wantOrdered(t, got)
}

// TestLatencyCountsFromWhenDue stalls a server for a while: the messages that were
// due meanwhile could not leave, and yet all of them must be slow.
func TestLatencyCountsFromWhenDue(t *testing.T) {
	t.Parallel()
	stalled, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		for m, err := range c.Messages(c.Context()) {
			if err != nil {
				return err
			}
			once.Do(func() { close(stalled) })
			<-release
			if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
				return err
			}
		}
		return nil
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	cr := newCrowd()
	cr.room = semaphore.NewWeighted(minSize) // one message at a time
	require.NoError(t, cr.dial(ctx, "ws"+strings.TrimPrefix(s.URL, "http"), settings{}))
	defer cr.shrink(1)
	go cr.send(ctx, settings{Rate: 1000, Size: minSize})

	<-stalled
	began := time.Now()
	<-time.After(100 * time.Millisecond)
	stall := time.Since(began)
	close(release)
	count := func(from time.Duration) (n int64) {
		cr.tally.mu.Lock()
		defer cr.tally.mu.Unlock()
		for _, b := range cr.tally.times.Distribution() {
			if b.To >= from.Microseconds() {
				n += b.Count
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return count(0) >= 60 }, time.Minute, time.Millisecond)
	require.GreaterOrEqual(t, count(stall/2), int64(40)) // about 50 were due in the first half of it
}

// TestLoadEndsWithTheLastPage checks that the load's process runs as long as
// somebody watches.
func TestLoadEndsWithTheLastPage(t *testing.T) {
	t.Parallel()
	addr, d, _ := start(t, "localhost:0", 300)
	ada, bob := visit(t, addr), visit(t, addr)
	ada.change(map[string]any{"conns": 10})
	open := func(s sample) bool { return s.Load.Open == 10 && s.Conns.Parked == 10 }
	pid := ada.sample("connections", open).Load.Process
	require.NoError(t, ada.c.Close(websocket.CloseNormal, ""))
	bob.sample("connections of one page", func(s sample) bool { return open(s) && s.Conns.Pages == 1 })
	require.Equal(t, pid, d.load.state().Process)
	bob.c.CloseNow()
	require.Eventually(t, func() bool { return d.load.state().Process == 0 }, time.Minute, time.Millisecond)
	require.False(t, isAlive(pid))
	require.Zero(t, d.load.chosen().Conns)
	require.Eventually(t, func() bool { return d.sample().Conns == census{} }, time.Minute, time.Millisecond)

	again := visit(t, addr)
	again.change(map[string]any{"conns": 3})
	again.sample("connections of another process", func(s sample) bool { return s.Load.Open == 3 && s.Load.Process != pid })
}

// isAlive reports whether there is a process pid. It is always false on Windows.
func isAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

// TestLoadsProcessIsKilled checks that the pages are told, and that another
// process can be started.
func TestLoadsProcessIsKilled(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	p := visit(t, addr)
	p.change(map[string]any{"conns": 10})
	pid := p.sample("connections", func(s sample) bool { return s.Load.Open == 10 }).Load.Process
	process, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.NoError(t, process.Kill())
	e := p.until("its end", func(e event) bool { return e.Sample != nil && e.Sample.Load.Error != "" })
	require.Equal(t, errLost.Error(), e.Sample.Load.Error)
	require.Zero(t, e.Choice.Conns)
	p.sample("no connections", func(s sample) bool { return s.Conns == census{Pages: 1} })
	p.change(map[string]any{"conns": 2})
	p.sample("connections again", func(s sample) bool { return s.Load.Open == 2 && s.Load.Error == "" })
}

// launch runs main in a process of its own, and returns it with the address of its
// page and what it prints. The process and the load's share stderr.
func launch(t *testing.T) (cmd *exec.Cmd, addr string, stdout, stderr *bufio.Reader) {
	t.Helper()
	cmd = exec.CommandContext(bounded(t), os.Args[0], "-addr", "localhost:0", "-load", "50")
	cmd.Env = append(os.Environ(), runMain+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	errs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stdout, stderr = bufio.NewReader(out), bufio.NewReader(errs)
	line, err := stdout.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "up to 50 connections")
	addr = strings.TrimPrefix(regexp.MustCompile(`http://localhost:\d+`).FindString(line), "http://")
	return cmd, addr, stdout, stderr
}

// TestKilled checks that the load's process does not outlive the server's.
func TestKilled(t *testing.T) {
	t.Parallel()
	cmd, addr, stdout, stderr := launch(t)
	p := visit(t, addr)
	p.change(map[string]any{"conns": 5})
	p.sample("connections", func(s sample) bool { return s.Load.Open == 5 })
	require.NoError(t, cmd.Process.Kill())
	for _, r := range []io.Reader{stdout, stderr} { // they end with the last process that has them
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Empty(t, string(rest))
	}
	require.Error(t, cmd.Wait())
}

// TestInterrupt stops the program as Ctrl-C does, under load.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent Ctrl-C on Windows")
	}
	cmd, addr, stdout, stderr := launch(t)
	p := visit(t, addr)
	p.change(map[string]any{"conns": 50, "rate": 1000})
	p.sample("connections", func(s sample) bool { return s.Load.Open == 50 })
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.ErrorIs(t, p.untilEnd(), websocket.CloseGoingAway)
	rest, err := io.ReadAll(stdout)
	require.NoError(t, err)
	require.Contains(t, string(rest), "Stopped")
	complaints, err := io.ReadAll(stderr)
	require.NoError(t, err)
	require.Empty(t, string(complaints))
	require.NoError(t, cmd.Wait())
}

// TestStrangersAreRefused checks that foreign pages cannot start a load, and that
// nobody but the load's process is taken for it.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	addr, d, _ := start(t, "localhost:0", 300)
	for _, test := range []struct {
		path   string
		header http.Header
	}{
		{"/ws", http.Header{"Origin": {"https://foreign.example"}}},
		{parkedPath, http.Header{"Origin": {"https://foreign.example"}}},
		{routinePath, http.Header{"Origin": {"null"}}},
		{"/load", nil},
		{"/load", http.Header{"Authorization": {"Bearer "}}},
		{"/load", http.Header{"Authorization": {"Bearer x" + d.load.token[1:]}}},
	} {
		_, r, err := websocket.Dial(bounded(t), "ws://"+addr+test.path, &websocket.DialOptions{Header: test.header})
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, r.StatusCode, "%s with %v", test.path, test.header)
	}
	c, _, err := websocket.Dial(bounded(t), "ws://"+addr+"/ws", &websocket.DialOptions{Header: http.Header{"Origin": {"http://" + addr}}})
	require.NoError(t, err)
	c.CloseNow()
}

// TestBadReport checks that a report which cannot be is refused.
func TestBadReport(t *testing.T) {
	t.Parallel()
	l := newLoad("", 10)
	for _, times := range []string{"", "?", "HISTFAAAAA=="} {
		require.Error(t, l.add(report{Open: 3, Times: times}))
	}
	require.Zero(t, l.state())
}

func TestFlags(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	require.ErrorContains(t, run(bounded(t), addr, 10, io.Discard), "-addr")
	require.ErrorContains(t, run(bounded(t), addr, connsPerProcess()+1, io.Discard), "-load")
	require.ErrorContains(t, run(bounded(t), addr, -1, io.Discard), "-load")
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		addr       net.Addr
		page, load string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, "http://localhost:8080", "ws://127.0.0.1:8080"},
		{&net.TCPAddr{IP: net.IPv6unspecified, Port: 80}, "http://localhost:80", "ws://127.0.0.1:80"},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}, "http://192.0.2.1:8080", "ws://192.0.2.1:8080"},
	} {
		require.Equal(t, test.page, pageURL(test.addr))
		require.Equal(t, test.load, loadURL(test.addr))
	}
}

func TestPageIsServed(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	entries, err := fs.ReadDir(files, "page")
	require.NoError(t, err)
	for _, e := range entries {
		path := "/" + strings.TrimSuffix(e.Name(), "index.html")
		r, err := http.Get("http://" + addr + path)
		require.NoError(t, err)
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		require.NoError(t, err)
		want, err := files.ReadFile("page/" + e.Name())
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, body), path)
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "default-src 'self'")
		require.NotContains(t, r.Header.Get("Content-Security-Policy"), "unsafe")
	}
}
