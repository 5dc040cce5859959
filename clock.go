package websocket

import (
	"sync/atomic"
	"time"
)

// epoch is the moment from which instants are counted: shortly before the
// program starts, so that no instant of the program is 0.
var epoch = time.Now().Add(-time.Microsecond)

// An instant is a time on the monotonic clock, in nanoseconds since epoch.
type instant int64

// past and future are the first and the last instant, 146 years from epoch. The
// deadline past interrupts any call.
const (
	past   instant = -1 << 62
	future instant = 1 << 62
)

// now returns the current instant. It is never 0.
func now() instant { return instant(time.Since(epoch)) }

// inBubble reports whether the caller is in a bubble of testing/synctest, whose
// time begins long before epoch. Nothing there may wait for goroutines outside.
func inBubble() bool { return now() < 0 }

// instantOf returns the instant of a deadline, which is 0 for the zero time.
func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	d := max(time.Duration(past), min(time.Until(t), time.Duration(future)))
	if i := now().add(d); i != 0 {
		return i
	}
	return past
}

// add returns the instant d later, at most future.
func (i instant) add(d time.Duration) instant {
	if d > time.Duration(future)-time.Duration(max(i, 0)) {
		return future
	}
	return i + instant(d)
}

// time returns the instant as a time.Time.
func (i instant) time() time.Time { return epoch.Add(time.Duration(i)) }

// until returns how long after now i comes.
func (i instant) until() time.Duration { return time.Duration(i - now()) }

// recentlyStep is how exact a recently is: many set it, and few should write.
const recentlyStep = 25 * time.Microsecond

// A recently is an instant of the recent past that many goroutines set.
type recently struct{ at atomic.Int64 }

// get returns the instant.
func (r *recently) get() instant { return instant(r.at.Load()) }

// set sets the instant, unless it is nearly the same.
func (r *recently) set(at instant) {
	if at > r.get().add(recentlyStep) {
		r.at.Store(int64(at))
	}
}
