package schedule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fullduplex-go/websocket/internal/schedule"
	"github.com/fullduplex-go/websocket/internal/schedule/atomic"
	"github.com/fullduplex-go/websocket/internal/schedule/sync"
)

// run runs actors in a bubble.
func run(t *testing.T, decisions []schedule.Decision, actors ...func()) (r *schedule.Result) {
	synctest.Test(t, func(*testing.T) { r = schedule.Run(decisions, actors...) })
	return r
}

// each runs actors, which begin makes anew each time, with every single switch that
// there is, and once without one.
func each(t *testing.T, begin func() []func(), after func(r *schedule.Result)) {
	t.Helper()
	plain := run(t, nil, begin()...)
	after(plain)
	for step, width := range plain.Widths {
		for take := 1; take < width; take++ {
			after(run(t, []schedule.Decision{{Step: step, Take: take}}, begin()...))
		}
	}
}

// TestLostUpdate proves that an enumeration finds the order in which one of two
// increments is lost, and that the same decisions lead to it again.
func TestLostUpdate(t *testing.T) {
	var n *atomic.Int32
	begin := func() []func() {
		n = new(atomic.Int32)
		increment := func() { n.Store(n.Load() + 1) }
		return []func(){increment, increment}
	}
	sums := make(map[int32]int)
	each(t, begin, func(*schedule.Result) { sums[n.Load()]++ })
	if sums[1] == 0 || sums[2] == 0 || len(sums) != 2 {
		t.Fatalf("sums and how often they came: %v", sums)
	}
	var runs []*schedule.Result
	for _, decisions := range [][]schedule.Decision{{{Step: 1, Take: 1}}, {{Step: 1, Take: 1}}, nil} {
		runs = append(runs, run(t, decisions, begin()...))
	}
	if runs[0].Fingerprint() != runs[1].Fingerprint() {
		t.Errorf("%v, and then %v", runs[0].Trace, runs[1].Trace)
	}
	if runs[0].Fingerprint() == runs[2].Fingerprint() {
		t.Errorf("%v with and without a switch", runs[0].Trace)
	}
	if name := runs[0].Trace[len(runs[0].Trace)-1].String(); !strings.Contains(name, "TestLostUpdate") {
		t.Errorf("a point is called %q", name)
	}
}

// TestMutex proves that only one at a time holds a Mutex, also while it waits at a
// point, and that those that wait go on.
func TestMutex(t *testing.T) {
	var held, most int
	begin := func() []func() {
		var mu sync.Mutex
		held, most = 0, 0
		enter := func() {
			mu.Lock()
			defer mu.Unlock()
			held++
			most = max(most, held)
			schedule.Point()
			held--
		}
		return []func(){enter, enter, enter}
	}
	each(t, begin, func(r *schedule.Result) {
		if most != 1 || r.Stopped {
			t.Fatalf("%d held it at a time, stopped %v: %v", most, r.Stopped, r.Trace)
		}
	})
}

// TestOnce proves that the function is called once, and that others wait for it.
func TestOnce(t *testing.T) {
	var calls int
	var ready [2]bool
	begin := func() []func() {
		calls, ready = 0, [2]bool{}
		once := sync.OnceValue(func() bool {
			calls++
			schedule.Point()
			return true
		})
		return []func(){func() { ready[0] = once() }, func() { ready[1] = once() }}
	}
	each(t, begin, func(r *schedule.Result) {
		if calls != 1 || ready != [2]bool{true, true} {
			t.Fatalf("%d calls, %v: %v", calls, ready, r.Trace)
		}
	})
}

// TestStopped proves that a run ends whose actors wait for what does not come, and one
// in which an actor turns in a circle.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan bool)
		if r := schedule.Run(nil, func() { <-free }); !r.Stopped {
			t.Error("one that waits has not stopped")
		}
		close(free)
	})
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		r := schedule.Run(nil, func() {
			for !ended.Load() {
			}
		})
		if !r.Stopped {
			t.Error("one that turns in a circle has not stopped")
		}
		ended.Store(true)
	})
}

// TestOverlay proves that the files that import sync or sync/atomic are replaced by
// ones that import those of this package, and are the same otherwise.
func TestOverlay(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	before := "package p\n\nimport (\n\t\"fmt\"\n\t\"sync\"\n\tatom \"sync/atomic\"\n)\n\nvar s = fmt.Sprint(\"sync\", sync.Mutex{}, atom.Int32{})\n"
	after := "package p\n\nimport (\n\t\"fmt\"\n\t\"github.com/fullduplex-go/websocket/internal/schedule/sync\"\n\tatom \"github.com/fullduplex-go/websocket/internal/schedule/atomic\"\n)\n\nvar s = fmt.Sprint(\"sync\", sync.Mutex{}, atom.Int32{})\n"
	for name, content := range map[string]string{"a.go": before, "b.go": "package p\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := schedule.Overlay(dir, scratch)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(list), `a.go":"`) || strings.Contains(string(list), `b.go":"`) {
		t.Errorf("the overlay is %s (%v)", list, err)
	}
	if got, err := os.ReadFile(filepath.Join(scratch, "a.go")); err != nil || string(got) != after {
		t.Errorf("a.go became\n%s(%v)", got, err)
	}
	if _, err := schedule.Overlay(filepath.Join(dir, "a.go"), scratch); err == nil {
		t.Error("a folder that is none has no error")
	}
}
