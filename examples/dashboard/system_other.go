//go:build !unix

package main

import (
	"runtime/metrics"
	"time"
)

// descriptors returns a number of descriptors that a process may have nearly
// everywhere.
func descriptors() int { return 10000 }

// cpuTime returns the CPU time that this process has used, as the Go runtime
// estimates it at each collection.
func cpuTime() time.Duration {
	m := []metrics.Sample{{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	metrics.Read(m)
	return time.Duration((m[0].Value.Float64() - m[1].Value.Float64()) * float64(time.Second))
}
