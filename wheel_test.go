package websocket

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A spoke is a member of a wheel of its own kind.
type spoke struct {
	entry  wheelEntry[spoke]
	calls  atomic.Int32
	called func() // or nil
}

// wheelEntry returns the entry.
func (s *spoke) wheelEntry() *wheelEntry[spoke] { return &s.entry }

// onDue counts the calls.
func (s *spoke) onDue() {
	s.calls.Add(1)
	if s.called != nil {
		s.called()
	}
}

// lastDelay returns what is the latest after a delay that a member may be taken.
func lastDelay(delay instant) instant { return delay + max(delay/31, 1<<wheelGrain) }

// TestWheelReaches schedules one member, for each length of a delay, alone and
// from several points of the slots: it is taken neither early nor late.
func TestWheelReaches(t *testing.T) {
	for _, at := range []instant{1, 1 << wheelGrain, 1<<wheelGrain - 1, 1<<40 - 1, 123456789012345} {
		for length := range 63 {
			for _, delay := range []instant{1<<length - 1, 1 << length, 1<<length + 1, 1<<length + 1<<length>>1, 1<<length + 1<<length*62>>6} {
				var w wheel[spoke, *spoke]
				var s spoke
				due := min(at+delay, future)
				w.schedule(&s, due, at)
				require.Nil(t, w.take(due-1), "%d after %d", delay, at)
				require.LessOrEqual(t, w.next-at, lastDelay(due-at), "%d after %d", delay, at)
				b := w.take(w.next)
				require.NotNil(t, b, "%d after %d", delay, at)
				require.Same(t, &s, w.pop(b))
				require.Nil(t, w.pop(b))
				require.Equal(t, wheel[spoke, *spoke]{passed: w.passed}, w, "nothing is left")
			}
		}
	}
}

// A wheelModel does the same with a list as is done with a wheel.
type wheelModel struct {
	t       *testing.T
	rnd     *rand.Rand
	wheel   wheel[spoke, *spoke]
	at      instant
	members []spoke
	due     map[*spoke]instant // of those that are scheduled
	latest  map[*spoke]instant
}

// schedule schedules a member at random.
func (m *wheelModel) schedule() {
	s := &m.members[m.rnd.IntN(len(m.members))]
	delay := instant(m.rnd.Int64N(1 << (1 + m.rnd.IntN(62))))
	due := min(m.at+delay, future)
	m.wheel.schedule(s, due, m.at)
	m.due[s], m.latest[s] = due, m.wheel.passed+lastDelay(max(due-m.wheel.passed, 0))
}

// remove removes a member, which need not be scheduled.
func (m *wheelModel) remove() {
	s := &m.members[m.rnd.IntN(len(m.members))]
	m.wheel.remove(s)
	delete(m.due, s)
}

// advance lets time pass, and takes what is due then, mixed with other
// operations.
func (m *wheelModel) advance(d instant) {
	end := m.at + d
	for m.wheel.next != 0 && m.wheel.next <= end {
		m.at = max(m.at, m.wheel.next)
		if m.rnd.IntN(8) == 0 {
			m.at = max(m.at, min(end, m.at+d/3)) // the timer is late
		}
		b := m.wheel.take(m.at)
		for b != nil {
			if m.rnd.IntN(8) == 0 {
				m.remove()
				m.schedule()
			}
			s := m.wheel.pop(b)
			if s == nil {
				break
			}
			due, scheduled := m.due[s]
			require.True(m.t, scheduled, "a member that is not scheduled was taken")
			require.LessOrEqual(m.t, due, m.at, "early")
			delete(m.due, s)
		}
	}
	m.at = max(m.at, end)
	for s, latest := range m.latest {
		if due, scheduled := m.due[s]; scheduled {
			require.Greater(m.t, latest, m.at, "due at %d", due)
		}
	}
	require.Equal(m.t, len(m.due), m.wheel.members)
}

// TestWheelModel does random operations with a wheel and with a list: the same
// members are due, none early and none late.
func TestWheelModel(t *testing.T) {
	for seed := range uint64(20) {
		m := &wheelModel{
			t: t, rnd: rand.New(rand.NewPCG(seed, 1)), at: 1, members: make([]spoke, 1+seed*seed),
			due: make(map[*spoke]instant), latest: make(map[*spoke]instant),
		}
		for range 3000 {
			switch m.rnd.IntN(8) {
			case 0:
				m.remove()
			case 1:
				m.advance(instant(m.rnd.Int64N(1 << (1 + m.rnd.IntN(45)))))
			default:
				m.schedule()
			}
		}
		for s := range m.due {
			m.wheel.remove(s)
		}
		require.Equal(t, wheel[spoke, *spoke]{passed: m.wheel.passed}, m.wheel, "nothing is left")
	}
}

// TestWheelWakeUps has many members that are due in the same second, and
// are scheduled again whenever they are: the slots say how often the wheel wakes
// up, and not the members.
func TestWheelWakeUps(t *testing.T) {
	const minutes = 10
	for _, members := range []int{1, 100, 10_000, 100_000} {
		var w wheel[spoke, *spoke]
		rnd := rand.New(rand.NewPCG(1, 1))
		at := instant(time.Hour)
		delay := func() instant { return instant(30*time.Second) - instant(rnd.Int64N(int64(30*time.Second/8))) }
		for i := range members {
			w.schedule(&make([]spoke, 1)[0], at+instant(i%1000)*instant(time.Millisecond)+delay(), at)
		}
		wakeUps, calls := 0, 0
		for end := at + instant(minutes*time.Minute); w.next <= end; wakeUps++ {
			at = w.next
			for b := w.take(at); b != nil; {
				s := w.pop(b)
				if s == nil {
					break
				}
				calls++
				w.schedule(s, at+delay(), at)
			}
		}
		require.GreaterOrEqual(t, calls, members*minutes*60/31)
		require.LessOrEqual(t, wakeUps, min(calls, minutes*60*4), "of %d members", members)
		t.Logf("%d members: %.1f wake-ups and %.0f calls a second", members, float64(wakeUps)/minutes/60, float64(calls)/minutes/60)
	}
}

// TestClockwork schedules members from several goroutines, that remove and
// schedule again: each that remains is called once, not before it is due. Then
// the timer has stopped.
func TestClockwork(t *testing.T) {
	var k clockwork[spoke, *spoke]
	var all sync.WaitGroup
	var members [8][500]spoke
	for g := range members {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 2))
			var called sync.WaitGroup
			for i := range members[g] {
				s := &members[g][i]
				for range 3 {
					k.schedule(s, now().add(time.Hour), now())
					k.remove(s)
				}
				delay := time.Duration(rnd.Int64N(int64(50 * time.Millisecond)))
				due := now().add(delay)
				called.Add(1)
				s.called = func() {
					if early := due.until(); early > 0 {
						t.Errorf("%v early", early)
					}
					called.Done()
				}
				k.schedule(s, due, now())
			}
			called.Wait()
		})
	}
	all.Wait()
	for g := range members {
		for i := range members[g] {
			require.EqualValues(t, 1, members[g][i].calls.Load())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	require.Zero(t, k.alarm)
	require.False(t, k.timer.Stop(), "the timer runs")
}

// TestClockworkIsNotHeldUp takes a slot with a member that does not return when
// it is called, behind as many as one goroutine calls alone: the others are
// called nevertheless.
func TestClockworkIsNotHeldUp(t *testing.T) {
	var k clockwork[spoke, *spoke]
	var others sync.WaitGroup
	release := make(chan struct{})
	defer close(release)
	at := now()
	due := at.add(time.Hour)
	add := func(n int) {
		for range n {
			others.Add(1)
			k.wheel.schedule(&spoke{called: others.Done}, due, at)
		}
	}
	add(5 * callsAlone)
	k.wheel.schedule(&spoke{called: func() { <-release }}, due, at)
	add(callsAlone) // these are called first
	go k.callAll(k.wheel.take(k.wheel.next))
	others.Wait()
}

// TestClockworkRemoves removes members while they are called: each is called once
// at most, and the timer stops.
func TestClockworkRemoves(t *testing.T) {
	var k clockwork[spoke, *spoke]
	members := make([]spoke, 2000)
	for i := range members {
		k.schedule(&members[i], now().add(time.Duration(i)*10*time.Microsecond), now())
	}
	for i := range members {
		k.remove(&members[len(members)-1-i])
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	require.Zero(t, k.wheel.members)
	require.Zero(t, k.wheel.next)
	require.Zero(t, k.alarm)
	for i := range members {
		require.LessOrEqual(t, members[i].calls.Load(), int32(1))
	}
}

// TestScheduleAllocatesNothing proves that a member costs nothing but its entry.
func TestScheduleAllocatesNothing(t *testing.T) {
	var k clockwork[spoke, *spoke]
	var s spoke
	require.Zero(t, testing.AllocsPerRun(1000, func() { k.schedule(&s, now().add(time.Hour), now()) })) // the first run, which makes the timer, does not count
	k.remove(&s)
}

// BenchmarkSchedule schedules connections anew, as a reader that leaves does.
func BenchmarkSchedule(b *testing.B) {
	b.ReportAllocs()
	var clocks [len(keepaliveClocks)]clockwork[spoke, *spoke]
	b.RunParallel(func(pb *testing.PB) {
		var members [1000]spoke
		for i := 0; pb.Next(); i++ {
			at := now()
			clocks[i%len(clocks)].schedule(&members[i%len(members)], at.add(backgroundReadDelay), at)
		}
	})
}
