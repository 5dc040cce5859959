//go:build !linux

package flate

import "time"

var processStart = time.Now()

// cpuTime returns the time since the tests began.
func cpuTime() time.Duration { return time.Since(processStart) }
