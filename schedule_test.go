package websocket

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fullduplex-go/websocket/internal/schedule"
)

// How many interleavings TestSchedules runs, and which one alone.
var (
	schedules   = flag.Int("schedules", 1000, "how many interleavings TestSchedules runs")
	oneSchedule = flag.Int("schedule", -1, "the number of the only interleaving that TestSchedules runs, with what happens in it")
)

// TestSchedules lets actors that use one connection, and its peer, take turns in
// enumerated orders: two or three actions at a time, of all that an application and a
// peer do, beside each way to read. Whatever the order, calls return, messages arrive
// whole and in turn, and the connection ends once and as it should.
//
// An interleaving is known by its number. The first of each scenario is that in which
// nobody is interrupted; the next ones interrupt once, at each place there is; those
// after them two to four times, at random. Switches are possible at the network and,
// where go test has the -overlay of internal/schedule, at every mutex and atomic
// variable.
func TestSchedules(t *testing.T) {
	covers(t, "Q.H01")
	all := scenarios()
	seen := make(map[string]bool)
	defer func() {
		t.Logf("interleavings: %d different, %d scenarios, instrumented: %v", len(seen), len(all), schedule.Instrumented())
	}()
	for i, s := range all {
		if *oneSchedule >= 0 && *oneSchedule%len(all) != i {
			continue
		}
		rounds := (*schedules - i + len(all) - 1) / len(all)
		if *oneSchedule >= 0 {
			rounds = *oneSchedule/len(all) + 1
		}
		var widths []int
		for round := 0; round < rounds; round++ {
			number := round*len(all) + i
			if round > 0 && *oneSchedule >= 0 && *oneSchedule != number {
				continue
			}
			r := s.run(t, number, decide(widths, round, uint64(i)))
			seen[fmt.Sprint(i, " ", r.Fingerprint())] = true
			if round == 0 {
				widths = r.Widths
			}
		}
	}
}

// decide returns the switches of a round of a scenario in which as many as widths says
// can go on at each choice.
func decide(widths []int, round int, scenario uint64) []schedule.Decision {
	switches := 0
	for _, n := range widths {
		switches += n - 1
	}
	if round == 0 || switches == 0 {
		return nil
	}
	if round <= switches {
		return []schedule.Decision{single(widths, spread(round-1, switches))}
	}
	random := rand.New(rand.NewPCG(scenario, uint64(round)))
	var decisions []schedule.Decision
	for range 2 + random.IntN(3) {
		decisions = append(decisions, single(widths, random.IntN(switches)))
	}
	return decisions
}

// spread returns the i-th of n numbers, each of which it returns once, so that those of
// neighbours are far from each other.
func spread(i, n int) int {
	stride := n*618/1000 + 1
	for gcd(stride, n) != 1 {
		stride++
	}
	return i * stride % n
}

// gcd returns the greatest common divisor.
func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// single returns the n-th switch that there is.
func single(widths []int, n int) schedule.Decision {
	for step, width := range widths {
		if n < width-1 {
			return schedule.Decision{Step: step, Take: 1 + n}
		}
		n -= width - 1
	}
	panic("there are fewer")
}

// trace returns the moves of a run, a line each.
func trace(r *schedule.Result) string {
	var b strings.Builder
	for _, m := range r.Trace {
		fmt.Fprintln(&b, m)
	}
	return b.String()
}

// run runs the scenario once and checks what came of it.
func (s scenario) run(t *testing.T, number int, decisions []schedule.Decision) (r *schedule.Result) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, s)
		actors := []func(){w.peer.serve, w.reads}
		for _, a := range s.actions {
			w.acts.Add(1)
			actors = append(actors, func() {
				defer w.acts.Done()
				a.does(w)
			})
		}
		r = schedule.Run(decisions, append(actors, w.finish)...)
		if *oneSchedule == number {
			t.Logf("switches: %v\n%s", decisions, trace(r))
		}
		defer func() {
			if t.Failed() {
				t.Logf("this was %s; -schedule %d runs it again; switches: %v", s, number, decisions)
			}
		}()
		if r.Stopped {
			t.Errorf("stuck after %d moves; these have not returned: %v", len(r.Trace), w.underWay())
			w.abandon()
			return
		}
		w.check()
	})
	return r
}
