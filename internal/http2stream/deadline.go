package http2stream

import (
	"sync"
	"time"
)

// A deadline ends the waiting for a condition. Its timer runs only while somebody
// waits. The lock of the condition guards it.
type deadline struct {
	changed *sync.Cond // also when the deadline passes
	at      time.Time  // zero: never
	timer   *time.Timer
	waiting int
}

// set sets when waiting ends. Whoever waits looks again.
func (d *deadline) set(at time.Time) {
	d.at = at
	if d.waiting == 0 {
		return
	}
	if !d.hasPassed() {
		d.startTimer()
	}
	d.changed.Broadcast()
}

// hasPassed reports whether waiting is over.
func (d *deadline) hasPassed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// wait waits until the condition may have changed or the deadline has passed.
func (d *deadline) wait() {
	d.waiting++
	if d.waiting == 1 {
		d.startTimer()
	}
	d.changed.Wait()
	d.waiting--
	if d.waiting == 0 && d.timer != nil {
		d.timer.Stop()
	}
}

// startTimer makes the timer run until the deadline, if there is one.
func (d *deadline) startTimer() {
	switch {
	case d.at.IsZero():
		if d.timer != nil {
			d.timer.Stop()
		}
	case d.timer == nil:
		d.timer = time.AfterFunc(time.Until(d.at), d.wake)
	default:
		d.timer.Reset(time.Until(d.at))
	}
}

// wake is called by the timer, which may be early for a clock that was set back.
func (d *deadline) wake() {
	d.changed.L.Lock()
	defer d.changed.L.Unlock()
	if d.waiting > 0 && !d.hasPassed() {
		d.startTimer()
	}
	d.changed.Broadcast()
}
