// Package schedule runs the goroutines of a test one at a time, and decides at named
// points which of them goes on. The same decisions give the same interleaving again,
// so that an order of events in which something breaks can be enumerated, found and
// replayed.
//
// It works inside a bubble of testing/synctest: that tells when the goroutine that was
// let go has come to its next point, or waits for something else. Time goes on only
// when all wait.
//
// A point is a call of [Point]. Tests have them in their net.Conns. [Overlay] puts one
// before every operation on a mutex and an atomic variable of a package, without a
// change of its source: it replaces the packages sync and sync/atomic by those below
// this one. The race detector sees the package as it is, because what the scheduler
// does is hidden from it.
package schedule

import (
	"fmt"
	"hash/fnv"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"
)

// A Decision is a switch that a schedule makes. Where there is none, the goroutine that
// ran goes on while it can, and then the one that has waited longest at a point.
type Decision struct {
	Step int // which choice, counted from 0: one is wherever several can go on
	Take int // who goes on: 1 is the first after the one that goes on by itself
}

// A Result is what happened in a run.
type Result struct {
	Widths  []int  // how many could go on, for each choice
	Trace   []Move // the points that were passed, in order
	Stopped bool   // the actors had not returned when nothing more could happen
}

// A Move is that a goroutine has passed a point.
type Move struct {
	Goroutine int // by the order in which they came to their first point
	Switched  bool
	pc        uintptr
}

// String returns the goroutine and the name of the point.
func (m Move) String() string {
	f, _ := runtime.CallersFrames([]uintptr{m.pc}).Next()
	at := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
	sign := ' '
	if m.Switched {
		sign = '*'
	}
	return fmt.Sprintf("%c %d %s:%d", sign, m.Goroutine, at, f.Line)
}

// Fingerprint returns a number that interleavings have in common only if they are,
// most likely, the same.
func (r *Result) Fingerprint() uint64 {
	h := fnv.New64a()
	for _, m := range r.Trace {
		fmt.Fprint(h, m.Goroutine, m.pc, ";")
	}
	return h.Sum64()
}

// Horizon is how long the actors of a run have, in time of the bubble.
const Horizon = time.Hour

// maxMoves ends a run in which something turns in a circle.
const maxMoves = 1 << 17

// current is the scheduler that points report to, or nil.
var current atomic.Pointer[scheduler]

// Instrumented reports whether a package has points at its mutexes and atomic
// variables. A goroutine may then wait at a point while it holds a mutex.
func Instrumented() bool { return instrumented.Load() }

// Instrument is called by the packages that replace sync and sync/atomic.
func Instrument() { instrumented.Store(true) }

// instrumented says what Instrumented returns.
var instrumented atomic.Bool

// Run calls each actor in a goroutine of its own, in a bubble of testing/synctest, and
// returns when all have returned. Goroutines that they leave run on freely.
func Run(decisions []Decision, actors ...func()) *Result {
	s := &scheduler{
		arrived:   make(chan struct{}, 1),
		decisions: decisions,
		known:     make(map[uint64]int),
	}
	s.running.Store(int32(len(actors)))
	current.Store(s)
	defer s.free()
	for _, act := range actors {
		go func() {
			defer s.leave()
			Point()
			act()
		}()
		synctest.Wait() // so that they come in this order
	}
	s.direct()
	return &s.result
}

// Point is where the scheduler may switch. It returns at once if there is none, or
// outside the bubble.
func Point() { pointAt(1) }

// PointOfCaller is Point for a function that stands for an operation of its caller.
func PointOfCaller() { pointAt(2) }

// pointAt is Point, named after one of its callers.
func pointAt(skip int) {
	s := current.Load()
	if s == nil || !inBubble() {
		return
	}
	var pcs [1]uintptr
	runtime.Callers(skip+2, pcs[:])
	w := newWaiter(goroutineID(), pcs[0])
	disableRaces()
	s.await(w)
	enableRaces()
}

// inBubble reports whether the caller is in a bubble, where it is the year 2000 or a
// little later.
func inBubble() bool { return time.Now().Year() < 2010 }

// goroutineID returns what tells the calling goroutine from others.
func goroutineID() (id uint64) {
	var b [32]byte
	runtime.Stack(b[:], false)
	for _, digit := range b[len("goroutine "):] {
		if digit < '0' || digit > '9' {
			break
		}
		id = id*10 + uint64(digit-'0')
	}
	return id
}

// A scheduler decides who goes on. Its fields belong to the goroutine that called Run,
// unless they say otherwise.
type scheduler struct {
	waiting list          // those that have come to a point
	blocked list          // those that wait for a mutex; its keys
	arrived chan struct{} // somebody has come to a point, or an actor has returned
	running atomic.Int32  // actors that have not returned

	decisions []Decision
	known     map[uint64]int // goroutines by their ID
	ready     []arrival      // taken from waiting, in that order
	last      int            // who went on last
	result    Result
}

// An arrival is a waiter that the scheduler knows of.
type arrival struct {
	goroutine int
	pc        uintptr
	w         *waiter
}

// direct lets one goroutine go on after the other until all actors have returned.
func (s *scheduler) direct() {
	for len(s.result.Trace) < maxMoves {
		synctest.Wait()
		s.takeArrivals()
		switch {
		case len(s.ready) > 0:
			s.step()
		case s.running.Load() == 0:
			return
		default:
			select {
			case <-s.arrived:
			case <-time.After(Horizon):
				s.result.Stopped = true
				return
			}
		}
	}
	s.result.Stopped = true
}

// takeArrivals appends those that have come to ready.
func (s *scheduler) takeArrivals() {
	for w := s.waiting.takeAll(); w != nil; {
		next, id, pc := w.read()
		goroutine, ok := s.known[id]
		if !ok {
			goroutine = len(s.known)
			s.known[id] = goroutine
		}
		s.ready = append(s.ready, arrival{goroutine, pc, w})
		w = next
	}
}

// step lets the one go on that is to.
func (s *scheduler) step() {
	first := 0
	for i, a := range s.ready {
		if a.goroutine == s.last {
			first = i
		}
	}
	chosen := first
	if n := len(s.ready); n > 1 {
		take := s.decision(len(s.result.Widths)) % n
		s.result.Widths = append(s.result.Widths, n)
		switch {
		case take == 0:
		case take <= first:
			chosen = take - 1
		default:
			chosen = take
		}
	}
	a := s.ready[chosen]
	s.ready = append(s.ready[:chosen], s.ready[chosen+1:]...)
	s.last = a.goroutine
	s.result.Trace = append(s.result.Trace, Move{a.goroutine, chosen != first, a.pc})
	a.w.wake()
}

// decision returns who is taken at a choice, as Decision.Take.
func (s *scheduler) decision(step int) int {
	for _, d := range s.decisions {
		if d.Step == step {
			return d.Take
		}
	}
	return 0
}

// leave is called when an actor returns.
func (s *scheduler) leave() {
	s.running.Add(-1)
	s.tell()
}

// tell wakes the scheduler.
func (s *scheduler) tell() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// await waits at a point.
func (s *scheduler) await(w *waiter) {
	s.waiting.push(w)
	s.tell()
	w.wait()
}

// free ends scheduling and lets all go on.
func (s *scheduler) free() {
	disableRaces()
	defer enableRaces()
	current.Store(nil)
	for _, a := range s.ready {
		a.w.wake()
	}
	for _, l := range []*list{&s.waiting, &s.blocked} {
		for w := l.takeAll(); w != nil; {
			next, _, _ := w.read()
			w.wake()
			w = next
		}
	}
}

// Lock locks m, which Mutex of the package sync below this one stands for. One that
// waits for it is seen by the bubble as waiting.
func Lock(m *sync.Mutex) {
	pointAt(2)
	for !m.TryLock() {
		s := current.Load()
		if s == nil || !inBubble() {
			m.Lock()
			return
		}
		w := newWaiter(0, 0)
		w.key = m
		disableRaces()
		s.blocked.push(w)
		enableRaces()
		if m.TryLock() { // it was freed meanwhile; wakeups in vain do no harm
			return
		}
		disableRaces()
		w.wait()
		enableRaces()
		pointAt(2)
	}
}

// Unlock unlocks m, and lets those that wait for it try again.
func Unlock(m *sync.Mutex) {
	m.Unlock()
	s := current.Load()
	if s == nil || !inBubble() {
		return
	}
	disableRaces()
	s.blocked.wake(m)
	enableRaces()
}
