package main

import (
	"syscall"
	"time"
)

// pause sleeps for d. It is a tenth of a millisecond late, where time.Sleep may be
// a whole one, and that would count as latency.
func pause(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&t, nil) // a signal cuts it short: the caller looks at the clock
}
