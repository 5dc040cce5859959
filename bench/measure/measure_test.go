//go:build linux

package measure

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fullduplex-go/websocket/bench/peer"
	"github.com/fullduplex-go/websocket/bench/wire"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// library returns the library that these tests use.
func library(t *testing.T) peer.Peer {
	t.Helper()
	p, err := peer.Named("gorilla")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Plans for tests.
var (
	short = Plan{Rounds: 1, Warm: 10 * time.Millisecond, Measured: 50 * time.Millisecond}
	long  = Plan{Rounds: 1, Warm: 10 * time.Millisecond, Measured: 2 * time.Second}
)

// small returns the row with few connections.
func small(row Row) Row {
	row.Conns = min(row.Conns, 20)
	row.Lasts = 0
	return row
}

// alone is the orchestrator of a load whose subject is in this process.
func alone(string) (pid int, err error) { return os.Getpid(), nil }

// TestRun runs every row with every peer.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two processes for each row and peer")
	}
	for _, row := range Rows {
		for _, p := range peer.WithExternal() {
			if !row.Takes(p) {
				continue
			}
			t.Run(row.Name+"/"+p.Name(), func(t *testing.T) {
				r, err := Run(t.Context(), small(row), p, short)
				if err == nil && row.Kind != Idle && row.Kind != Quiet && r.SubjectCPU == 0 {
					// On a busy machine the subject may not have run.
					r, err = Run(t.Context(), small(row), p, long)
				}
				if err != nil {
					t.Fatal(err)
				}
				checkResult(t, row, r)
			})
		}
	}
}

// checkResult checks that the figures are possible.
func checkResult(t *testing.T, row Row, r Result) {
	t.Helper()
	switch row.Kind {
	case Idle:
		if r.Memory.Heap < 100 || r.Memory.Resident <= 0 {
			t.Errorf("a connection takes %+v", r.Memory)
		}
		return
	case Quiet:
		if r.Wall < short.Measured || r.Cost() > 100 {
			t.Errorf("%+v", r)
		}
		return
	}
	if r.Messages == 0 || r.SubjectCPU <= 0 || r.LoadCPU <= 0 || r.Wall < short.Measured {
		t.Errorf("%+v", r)
	}
	if r.SubjectCPU > 2*r.Wall {
		t.Errorf("one core worked for %v in %v", r.SubjectCPU, r.Wall)
	}
}

// breaks are behaviors that no echo server may have.
var breaks = map[string]peer.Behaviour{
	"a bit is flipped": {Message: func(c peer.Conn, t byte, data []byte) error {
		data[len(data)/2] ^= 1
		return c.Write(t, data)
	}},
	"a byte is missing": {Message: func(c peer.Conn, t byte, data []byte) error {
		return c.Write(t, data[1:])
	}},
	"a byte is added": {Message: func(c peer.Conn, t byte, data []byte) error {
		return c.Write(t, append(data, 'x'))
	}},
	"the type is changed": {Message: func(c peer.Conn, t byte, data []byte) error {
		return c.Write(peer.Text, slices.Repeat([]byte("x"), len(data)))
	}},
	"twice": {Message: func(c peer.Conn, t byte, data []byte) error {
		return errors.Join(c.Write(t, data), c.Write(t, data))
	}},
}

// TestBrokenServerIsDetected drives broken servers in this process.
func TestBrokenServerIsDetected(t *testing.T) {
	for name, broken := range breaks {
		for _, row := range []Row{
			{Kind: Echo, Size: 128, InFlight: 1, Conns: 2},
			{Kind: Echo, Size: 70000, InFlight: 3, Conns: 1},
			{Kind: Idle, Size: 128, InFlight: 1, Conns: 1},
		} {
			if name == "twice" && row.Kind == Idle {
				continue // nothing is read after the reply
			}
			t.Run(name, func(t *testing.T) {
				spec := loadSpec{Row: row, Addr: serve(t, broken), PID: os.Getpid(), Measured: openingLimit}
				if _, err := drive(spec, alone); !errors.Is(err, errEcho) {
					t.Errorf("drive returns %v", err)
				}
			})
		}
	}
}

// serve starts a server in this process.
func serve(t *testing.T, b peer.Behaviour) (addr string) {
	t.Helper()
	server := httptest.NewUnstartedServer(library(t).Handler(peer.Options{}, b))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// serveHTTP2 starts a server in this process that speaks HTTP/2.
func serveHTTP2(t *testing.T, b peer.Behaviour) (addr string) {
	t.Helper()
	p, err := peer.Named(Ours)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(p.Handler(peer.Options{}, b))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // which a load leaves open
	return server.Listener.Addr().String()
}

// TestBrokenStreamIsDetected is TestBrokenServerIsDetected over HTTP/2.
func TestBrokenStreamIsDetected(t *testing.T) {
	for name, broken := range breaks {
		t.Run(name, func(t *testing.T) {
			row := Row{Kind: Echo, HTTP2: true, Size: 70000, InFlight: 3, Conns: 2}
			spec := loadSpec{Row: row, Addr: serveHTTP2(t, broken), PID: os.Getpid(), Measured: openingLimit}
			if _, err := drive(spec, alone); !errors.Is(err, errEcho) {
				t.Errorf("drive returns %v", err)
			}
		})
	}
}

// TestStreamsKeepToWindows echoes more at once than the windows of the subject
// hold, which would end the connection.
func TestStreamsKeepToWindows(t *testing.T) {
	row := Row{Kind: Echo, HTTP2: true, Size: 1 << 20, InFlight: 3, Conns: 4}
	spec := loadSpec{Row: row, Addr: serveHTTP2(t, peer.Echo), PID: os.Getpid(), Measured: short.Measured}
	if r, err := drive(spec, alone); err != nil || r.Messages == 0 {
		t.Errorf("drive returns %+v, %v", r, err)
	}
}

func TestBrokenClientIsDetected(t *testing.T) {
	for name, broken := range breaks {
		t.Run(name, func(t *testing.T) {
			row := Row{Kind: EchoClient, Size: 70000, InFlight: 2, Conns: 2}
			_, err := drive(loadSpec{Row: row, Measured: openingLimit}, func(addr string) (int, error) {
				for range row.Conns {
					go library(t).Dial(addr, peer.Options{}, broken)
				}
				return os.Getpid(), nil
			})
			if !errors.Is(err, errEcho) {
				t.Errorf("drive returns %v", err)
			}
		})
	}
}

func TestSilentServerIsDetected(t *testing.T) {
	silent := peer.Behaviour{Message: func(peer.Conn, byte, []byte) error { return nil }}
	row := Row{Kind: Echo, Size: 16, InFlight: 1, Conns: 1}
	if r, err := drive(loadSpec{Row: row, Addr: serve(t, silent), PID: os.Getpid()}, alone); err == nil {
		t.Errorf("drive returns %+v", r)
	}
}

func TestClosedConnectionIsDetected(t *testing.T) {
	closes := peer.Behaviour{Message: func(peer.Conn, byte, []byte) error { return net.ErrClosed }}
	row := Row{Kind: Echo, Size: 16, InFlight: 1, Conns: 1}
	if r, err := drive(loadSpec{Row: row, Addr: serve(t, closes), PID: os.Getpid(), Measured: openingLimit}, alone); err == nil {
		t.Errorf("drive returns %+v", r)
	}
}

func TestRefusedHandshakeIsDetected(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	defer server.CloseClientConnections() // which a load leaves open
	for _, kind := range []Kind{Echo, Handshake} {
		row := Row{Kind: kind, Size: 16, InFlight: 1, Conns: 1}
		spec := loadSpec{Row: row, Addr: server.Listener.Addr().String(), PID: os.Getpid(), Measured: openingLimit}
		if r, err := drive(spec, alone); err == nil {
			t.Errorf("drive returns %+v", r)
		}
	}
	row := Row{Kind: Echo, HTTP2: true, Size: 16, InFlight: 1, Conns: 1}
	if r, err := drive(loadSpec{Row: row, Addr: server.Listener.Addr().String(), PID: os.Getpid()}, alone); err == nil {
		t.Errorf("drive over HTTP/2 returns %+v", r)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for _, test := range []struct {
		q    float64
		want time.Duration
	}{{0, time.Microsecond}, {0.5, 501 * time.Microsecond}, {0.99, 991 * time.Microsecond}} {
		got := h.quantile(test.q)
		if got > test.want || got < test.want-test.want/32-1 {
			t.Errorf("quantile(%v) = %v, want %v or up to 1/32 less", test.q, got, test.want)
		}
	}
}

func TestLine(t *testing.T) {
	cost := func(all ...int) (results []Result) {
		for _, c := range all {
			results = append(results, Result{Messages: 1000, SubjectCPU: time.Duration(c) * time.Millisecond})
		}
		return results
	}
	l := Line{
		Row: Row{Bar: Bar{Peer: 0.5, Floor: 1.5}},
		Results: map[string][]Result{
			Ours: cost(9, 6, 4), "gorilla": cost(14, 10, 11), "gws": cost(12, 13, 1), "floor": cost(3, 3, 30),
		},
	}
	if m, _ := l.Median(Ours); m.Cost() != 6 {
		t.Errorf("Median = %v, want 6", m.Cost())
	}
	if best := l.Best(); best != "gorilla" {
		t.Errorf("Best = %q", best)
	}
	if ratio, _ := l.Ratio("gws"); ratio != 0.75 {
		t.Errorf("Ratio = %v, want 0.75: the median of the rounds' 9/12, 6/13 and 4/1", ratio)
	}
	if missed := l.Misses(); len(missed) != 2 {
		t.Errorf("Misses = %q, want the best peer and the floor", missed)
	}
	l.Row.Against = []string{"gws"}
	if best := l.Best(); best != "gws" {
		t.Errorf("Best of gws alone = %q", best)
	}
}

// TestLimit checks the medians over rounds of ratios and of numbers.
func TestLimit(t *testing.T) {
	result := func(p99 time.Duration, allocs float64) Result { return Result{P99: p99, Allocs: allocs} }
	l := Line{Results: map[string][]Result{
		Parked:  {result(6, 1), result(6, 0), result(9, 0)},
		"floor": {result(2, 0), result(3, 0), result(9, 0)},
	}}
	for _, test := range []struct {
		limit Limit
		want  float64
		ok    bool
		text  string
	}{
		{Limit{Parked, P99, "floor", 1.3}, 2, true, "parked: p99 at most 1.3 of floor"},
		{Limit{Parked, Allocs, "", 0.01}, 0, true, "parked: allocations at most 0.01"},
		{Limit{Parked, P99, "uws", 1}, 0, false, "parked: p99 at most 1 of uws"},
		{Limit{Ours, P99, "floor", 1}, 0, false, "ours: p99 at most 1 of floor"},
	} {
		got, ok := test.limit.Value(l)
		if got != test.want || ok != test.ok || test.limit.String() != test.text {
			t.Errorf("%v: %v, %v; want %s: %v, %v", test.limit, got, ok, test.text, test.want, test.ok)
		}
	}
}

// TestDeflated checks that a compressed text is recognized, whole and in
// fragments, and nothing else.
func TestDeflated(t *testing.T) {
	b, err := newDeflated(5000)
	if err != nil {
		t.Fatal(err)
	}
	f, _, _ := wire.TakeFrame(b.request)
	half := len(f.Payload) / 2
	whole := wire.AppendFrame(nil, f.First, f.Payload, nil)
	fragments := wire.AppendFrame(nil, wire.RSV1|wire.Text, f.Payload[:half], nil)
	fragments = wire.AppendFrame(fragments, wire.FIN|wire.Continuation, f.Payload[half:], nil)
	for name, test := range map[string]struct {
		reply []byte
		want  error
	}{
		"whole":        {whole, nil},
		"fragments":    {fragments, nil},
		"uncompressed": {wire.AppendFrame(nil, wire.FIN|wire.Text, b.reply, nil), errEcho},
		"cut":          {whole[:half], io.EOF},
	} {
		l := &link{stream: struct {
			io.Reader
			io.Writer
		}{iotest.OneByteReader(bytes.NewReader(test.reply)), io.Discard}}
		if err := receiveDeflated(l, b.reply); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestMissingProgram checks that a program that does not exist is an error.
func TestMissingProgram(t *testing.T) {
	t.Setenv("WEBSOCKET_BENCH_UWS", "/does/not/exist")
	uws, _ := peer.UWebSockets()
	row := Row{Kind: Echo, Size: 16, InFlight: 1, Conns: 1}
	if r, err := Run(t.Context(), row, uws, short); err == nil {
		t.Errorf("Run returns %+v", r)
	}
}

func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for end := time.Now().Add(openingLimit); after == before && time.Now().Before(end); {
		if after, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if after <= before {
		t.Errorf("CPU time goes from %v to %v", before, after)
	}
}
