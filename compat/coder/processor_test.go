//go:build unix

package websocket

import "syscall"

// processorTime returns the processor time that this process has used, in
// nanoseconds.
func processorTime() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
