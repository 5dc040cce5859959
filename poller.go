package websocket

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// This file decides which goroutine serves the descriptors, which have none of
// their own. A poller has one goroutine, the leader, which waits until some of
// its descriptors are ready (poller_linux.go) and serves them itself, one
// after another, so that an event costs no wake-up:
//
//	         ready             there was more than one turn's worth
//	wait ───────────► round ──────────────────────────────────────► backlog
//	 ▲                 │  ▲                                            │
//	 └─────────────────┘  └────────────────────────────────────────────┘
//	   all are served                    with the next look
//
// Whoever is served may take its time. While the leader serves, a timer, the
// monitor, looks whether it still serves the same one after takeoverAfter. Then
// another goroutine becomes the leader and goes on with the round, and the one
// that was stopped goes on with what stopped it, alone. That one gets a
// goroutine of its own for its next turns, until slowMemory of them were quick.
// While leaders are stopped again and again, everyone does: it is cheaper to
// start a goroutine than to find out each time that one is needed.

// A polled is what a poller serves.
type polled interface {
	// beginTurn is called by the leader when the descriptor is ready. It
	// returns whose serveTurn must be called, or nil if somebody serves it
	// already and has been told. It does not block.
	beginTurn(r readiness) polled
	// serveTurn does what there is to do, which may take any time. It reports
	// whether there is more; then it must be called again.
	serveTurn() (more bool)
	// slowness counts the turns for which it gets a goroutine.
	slowness() *atomic.Int32
}

// A readiness says what a descriptor is ready for.
type readiness uint8

const (
	readyToRead  readiness = 1 << iota // something has come, or the end
	readyToWrite                       // there is room
	readyToEnd                         // the end may have come: a read that is not full is not the last
)

// Times and counts of takeovers.
const (
	takeoverAfter = 100 * time.Microsecond // a leader that serves one descriptor for longer is stopped; a turn that is shorter makes a slow one less slow
	slowMemory    = 32                     // how slow a takeover makes what was served
	takeoverDebt  = 16                     // what a takeover adds to the debt, of which each turn pays 1
	maxDebt       = 3 * takeoverDebt       // from which on, until it is paid, all turns have goroutines
	maxLead       = 500 * time.Microsecond // after which a leader that never waits makes way once
)

// A poller serves descriptors. The fields without an atomic type are the
// leader's.
type poller struct {
	queue   eventQueue
	next    int      // index of the next of the queue's events
	round   []polled // behind the events: those of the last backlog
	backlog []polled // those with more to do than their turn allowed
	waited  instant  // when the leader last waited, or made way
	handing bool     // all turns have goroutines

	lead    atomic.Uint64 // odd while the leader serves; grows by each begin, end and takeover
	debt    atomic.Int32
	watched atomic.Bool // monitor is set
	monitor *time.Timer // calls watch
	seen    uint64      // lead at the last watch; the monitor's
}

// pollers are those of the process. They are made when one is first needed, and
// stay.
var pollers struct {
	once sync.Once
	all  []*poller
}

// maxPollers bounds the number of pollers, each of which has two descriptors.
const maxPollers = 16

// startPollers makes the pollers, unless they exist, and reports whether there
// are some.
func startPollers() bool {
	pollers.once.Do(func() {
		for range min(runtime.GOMAXPROCS(0), maxPollers) {
			p, err := newPoller()
			if err != nil {
				return
			}
			pollers.all = append(pollers.all, p)
		}
	})
	return len(pollers.all) > 0
}

// newPoller returns a poller with its leader.
func newPoller() (*poller, error) {
	p := new(poller)
	if err := p.queue.open(); err != nil {
		return nil, err
	}
	p.monitor = time.AfterFunc(time.Hour, p.watch)
	p.monitor.Stop()
	go p.run()
	return p, nil
}

// run is the leader, until another takes over.
func (p *poller) run() {
	serving := uint64(0)
	defer func() { // what is served may end the goroutine
		if serving != 0 && p.lead.CompareAndSwap(serving, serving+1) {
			go p.run()
		}
	}()
	for {
		s := p.nextServed()
		if p.handsOut(s) {
			go serveAlone(s)
			continue
		}
		serving = p.beginServing()
		more := s.serveTurn()
		if !p.lead.CompareAndSwap(serving, serving+1) {
			serving = 0
			s.slowness().Store(slowMemory)
			if more {
				serveAlone(s)
			}
			return
		}
		serving = 0
		if more {
			p.backlog = append(p.backlog, s)
		}
	}
}

// beginServing records that the leader serves, and sees to it that the monitor
// looks how long that takes. It returns the number of the turn.
func (p *poller) beginServing() uint64 {
	turn := p.lead.Add(1)
	p.setMonitor() // after lead, which watch reads last
	return turn
}

// setMonitor sets the monitor unless it is set.
func (p *poller) setMonitor() {
	if !p.watched.Load() && p.watched.CompareAndSwap(false, true) {
		p.monitor.Reset(takeoverAfter)
	}
}

// watch is called by the monitor. A leader that has served one descriptor since
// the last look is replaced.
func (p *poller) watch() {
	turn := p.lead.Load()
	if turn%2 == 0 {
		p.watched.Store(false)
		if p.lead.Load()%2 != 0 {
			p.setMonitor()
		}
		return
	}
	if turn == p.seen && p.lead.CompareAndSwap(turn, turn+1) {
		p.debt.Add(takeoverDebt)
		go p.run()
	}
	p.seen = turn
	p.monitor.Reset(takeoverAfter)
}

// handsOut reports whether s gets a goroutine for its turn.
func (p *poller) handsOut(s polled) bool {
	if debt := p.debt.Load(); debt > 0 {
		p.handing = p.handing || debt >= maxDebt
		p.debt.Add(-1)
	} else {
		p.handing = false
	}
	return p.handing || s.slowness().Load() > 0
}

// serveAlone serves s, until there is no more to do, on a goroutine that does
// nothing else.
func serveAlone(s polled) {
	for more := true; more; {
		began := now()
		more = s.serveTurn()
		if slow := s.slowness(); now() < began.add(takeoverAfter) && slow.Load() > 0 {
			slow.Add(-1)
		}
	}
}

// nextServed returns what is to be served next, and waits for it if need be.
func (p *poller) nextServed() polled {
	for {
		for p.next < p.queue.n {
			d, r := p.queue.event(p.next)
			p.next++
			if d == nil {
				continue
			}
			if owner := d.signal(r); owner != nil {
				if s := owner.beginTurn(r); s != nil {
					return s
				}
			}
		}
		if n := len(p.round); n > 0 {
			s := p.round[n-1]
			p.round[n-1] = nil
			p.round = p.round[:n-1]
			return s
		}
		p.look()
	}
}

// look begins a round: it looks which descriptors are ready, and waits for one
// unless there is a backlog.
func (p *poller) look() {
	p.round, p.backlog = p.backlog, p.round
	p.next = 0
	if len(p.round) > 0 {
		p.queue.poll()
	} else if p.queue.wait() {
		p.waited = now()
		return
	}
	if now() > p.waited.add(maxLead) {
		p.queue.makeWay()
		p.waited = now()
	}
}
