//go:build linux

package measure

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Memory is the memory that a process holds, in bytes.
type Memory struct {
	Heap  int64 // live objects after garbage collection
	Stack int64 // of goroutines
	RSS   int64 // resident set, after free memory was given back
}

// heldMemory returns what this process holds after garbage collection.
func heldMemory() (Memory, error) {
	// Pools are emptied by two collections; each shrinks stacks by one step.
	for range 4 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	rss, err := residentBytes()
	return Memory{
		Heap:  int64(samples[0].Value.Uint64()),
		Stack: int64(samples[1].Value.Uint64()),
		RSS:   rss,
	}, err
}

// perConnection returns the growth from before to m, divided by n connections.
func (m Memory) perConnection(before Memory, n int) Memory {
	return Memory{
		Heap:  (m.Heap - before.Heap) / int64(n),
		Stack: (m.Stack - before.Stack) / int64(n),
		RSS:   (m.RSS - before.RSS) / int64(n),
	}
}
