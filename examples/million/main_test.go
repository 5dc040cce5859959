package main

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test be the server and the clients, too.
func TestMain(m *testing.M) {
	if !play(os.Args[1:]) {
		os.Exit(m.Run())
	}
}

// TestMillion measures some hundred connections.
func TestMillion(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("there are no processes")
	}
	s, err := settings{conns: 360, clients: 2, duration: 100 * time.Millisecond}.check()
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{100, 200, 360} {
		got := r.steps[i]
		if got.Conns != want || got.rate <= 0 || got.Live <= 0 || runtime.GOOS == "linux" && got.Resident <= 0 {
			t.Errorf("with %d connections: %+v", want, got)
		}
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{"360", "100ms", "A million connections", "B each"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// TestFit checks the extrapolation of steps that lie on a line.
func TestFit(t *testing.T) {
	var r result
	for _, conns := range []int{5000, 10000, 18000} {
		r.steps = append(r.steps, step{weight: weight{Conns: conns, Live: 2e6 + 400*int64(conns)}})
	}
	fixed, each := r.fit(func(s step) int64 { return s.Live })
	if fixed < 2e6-1 || fixed > 2e6+1 || each < 399.9 || each > 400.1 {
		t.Errorf("%.0f bytes and %.0f each, want 2e6 and 400", fixed, each)
	}
}

// TestCheck checks that the limits of this system are respected.
func TestCheck(t *testing.T) {
	most := connsPerProcess()
	for _, test := range []struct {
		s       settings
		clients int // 0: an error
	}{
		{settings{conns: fewest}, 1},
		{settings{conns: most}, 1},
		{settings{conns: most, clients: 3}, 3},
		{settings{conns: most + 1}, 0},
		{settings{conns: fewest - 1}, 0},
		{settings{conns: fewest, clients: -1}, 0},
	} {
		got, err := test.s.check()
		if err == nil != (test.clients > 0) || err == nil && got.clients != test.clients {
			t.Errorf("%+v: %d clients, %v", test.s, got.clients, err)
		}
	}
}
