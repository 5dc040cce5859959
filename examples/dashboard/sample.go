package main

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
)

// How often samples are taken, and how many a new page is shown: two minutes.
const (
	interval = 500 * time.Millisecond
	kept     = int(2 * time.Minute / interval)
)

// A sample is what the server knows of itself at one time. Counters count since
// the program's start, so that pages can compute rates from any two samples.
type sample struct {
	Time    int64     `json:"time"` // milliseconds since 1970
	Process process   `json:"process"`
	Conns   census    `json:"conns"`
	Traffic traffic   `json:"traffic"` // of the connections under load
	RTT     roundTrip `json:"rtt"`
	Load    status    `json:"load"`
}

// A census is a number of connections of each kind that are open.
type census struct {
	Parked  int `json:"parked"`
	Routine int `json:"routine"` // with a goroutine each
	Pages   int `json:"pages"`
}

// sample takes a sample.
func (d *dashboard) sample() sample {
	s := sample{Time: time.Now().UnixMilli(), Process: readProcess(), RTT: d.rtt.take(), Load: d.load.state()}
	s.Conns.Pages = d.pages.Len()
	s.Conns.Parked = d.parked.addTo(&s.Traffic)
	s.Conns.Routine = d.routine.addTo(&s.Traffic)
	return s
}

// A process is what this process takes and has taken.
type process struct {
	Goroutines uint64  `json:"goroutines"`
	Live       uint64  `json:"live"`   // bytes of the heap that the last collection has left
	Stacks     uint64  `json:"stacks"` // bytes
	Total      uint64  `json:"total"`  // bytes that the Go runtime has from the system
	CPU        float64 `json:"cpu"`    // seconds
	GCs        int64   `json:"gcs"`    // completed cycles
	Pause      float64 `json:"pause"`  // seconds in which collections have stopped the program
}

// readProcess returns what this process takes now.
func readProcess() process {
	m := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(m)
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	return process{
		Goroutines: m[0].Value.Uint64(),
		Live:       m[1].Value.Uint64(),
		Stacks:     m[2].Value.Uint64(),
		Total:      m[3].Value.Uint64() - m[4].Value.Uint64(),
		CPU:        cpuTime().Seconds(),
		GCs:        gc.NumGC,
		Pause:      gc.PauseTotal.Seconds(),
	}
}

// traffic is what went over connections, in both directions.
type traffic struct {
	In    uint64 `json:"in"`    // messages received
	Out   uint64 `json:"out"`   // messages sent
	Wire  uint64 `json:"wire"`  // bytes on the network
	Plain uint64 `json:"plain"` // bytes that these would have been without compression
}

// add adds what went over one connection.
func (t *traffic) add(s websocket.Stats) {
	t.In += s.MessagesIn
	t.Out += s.MessagesOut
	t.Wire += s.BytesIn + s.BytesOut
	t.Plain += s.BytesIn + s.InflatedIn - s.CompressedIn + s.BytesOut + s.DeflatedOut - s.CompressedOut
}

// A ledger keeps account of connections: each is either live, or its traffic is
// among that of those that have ended. The zero value is empty.
type ledger struct {
	mu    sync.Mutex
	live  map[*websocket.Conn]struct{}
	ended traffic
}

// opened is a hook for handshakes.
func (l *ledger) opened(c *websocket.Conn, _ websocket.HandshakeTrace) {
	if c == nil {
		return // it was refused
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live = make(map[*websocket.Conn]struct{})
	}
	l.live[c] = struct{}{}
}

// closed is a hook for the ends of connections.
func (l *ledger) closed(c *websocket.Conn, _ *websocket.CloseError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, c)
	l.ended.add(c.Stats())
}

// addTo adds all that went over the connections to sum, and returns how many are
// live.
func (l *ledger) addTo(sum *traffic) (live int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.live {
		sum.add(c.Stats())
	}
	sum.In += l.ended.In
	sum.Out += l.ended.Out
	sum.Wire += l.ended.Wire
	sum.Plain += l.ended.Plain
	return len(l.live)
}

// A roundTrip is how long Pongs took, in milliseconds.
type roundTrip struct {
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
}

// roundTrips collects the times of Pongs. The zero value has none.
type roundTrips struct {
	mu   sync.Mutex
	n    int
	sum  time.Duration
	max  time.Duration
	last roundTrip // what take has returned
}

// add is a hook for Pongs.
func (r *roundTrips) add(_ *websocket.Conn, rtt time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.sum += rtt
	r.max = max(r.max, rtt)
}

// take returns the times since it was last called, or the same once more if there
// were none.
func (r *roundTrips) take() roundTrip {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n > 0 {
		r.last = roundTrip{Mean: milliseconds(r.sum) / float64(r.n), Max: milliseconds(r.max)}
		r.n, r.sum, r.max = 0, 0, 0
	}
	return r.last
}

// milliseconds returns d in milliseconds.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
