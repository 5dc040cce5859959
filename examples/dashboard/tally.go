package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A tally counts what a crowd has done since the last report.
type tally struct {
	mu    sync.Mutex
	now   report        // without its histogram
	since time.Duration // messages due before do not count
	late  float64       // by how many milliseconds the latest message left late
	times *hdrhistogram.Histogram
}

// reset begins afresh if there were more resets than it knows of.
func (t *tally) reset(resets int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = 0
	if resets != t.now.Resets {
		t.since = time.Since(started)
		t.now = report{Resets: resets, Error: t.now.Error}
		t.times.Reset()
	}
}

// sent counts a message that leaves now.
func (t *tally) sent(due time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = milliseconds(time.Since(started) - due)
	t.now.Behind = max(t.now.Behind, t.late)
	if due >= t.since {
		t.now.Sent++
	}
}

// received counts the echo of a message that was due then.
func (t *tally) received(due time.Duration) {
	latency := time.Since(started) - due
	t.mu.Lock()
	defer t.mu.Unlock()
	if due >= t.since {
		t.now.Received++
		t.times.RecordValue(min(max(latency.Microseconds(), 1), time.Minute.Microseconds())) // in its range
	}
}

// note keeps why connections cannot be opened, nil if they can.
func (t *tally) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Error = ""
	if err != nil {
		t.now.Error = err.Error()
	}
}

// report returns what was counted since it was last called. What keeps
// connections from being opened is told until it is over.
func (cr *crowd) report() (report, error) {
	open := cr.len()
	t := &cr.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	times, err := t.times.EncodeV2()
	r := t.now
	r.Open, r.Times = open, string(times)
	t.now = report{Resets: r.Resets, Error: r.Error, Behind: t.late} // until another message leaves
	t.times.Reset()
	return r, err
}
