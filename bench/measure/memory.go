//go:build linux

package measure

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory is the memory that a process holds, in bytes, and what else it counts.
type Memory struct {
	Heap     int64 // live objects after garbage collection
	Stack    int64 // of goroutines
	Resident int64 // resident set as it was, before any forced collection
	RSS      int64 // resident set, after free memory was given back

	Goroutines int    // in existence
	Allocs     uint64 // objects that were ever allocated
}

// restInterval and restLimit are for how long a process has to be at rest, and
// how long it may take to get there.
const (
	restInterval = 200 * time.Millisecond
	restLimit    = 20 * time.Second
)

// rest waits until this process has nothing left to do: for an interval it has
// the same goroutines, and takes less than 1 % of a core.
func rest() error {
	for end := time.Now().Add(restLimit); time.Now().Before(end); {
		goroutines := runtime.NumGoroutine()
		before, err := cpuTime(os.Getpid())
		if err != nil {
			return err
		}
		time.Sleep(restInterval)
		after, err := cpuTime(os.Getpid())
		if err != nil {
			return err
		}
		if runtime.NumGoroutine() == goroutines && after-before < restInterval/100 {
			return nil
		}
	}
	return errors.New("measure: the subject does not come to rest")
}

// counted returns what this process counts, and disturbs it little.
func counted() Memory {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Memory{Goroutines: runtime.NumGoroutine(), Allocs: m.Mallocs}
}

// heldMemory returns what this process holds at rest.
func heldMemory() (Memory, error) {
	if err := rest(); err != nil {
		return Memory{}, err
	}
	m := counted()
	var err error
	if m.Resident, err = residentBytes(); err != nil {
		return m, err
	}
	return m, m.collect()
}

// collect collects garbage and records what is left.
func (m *Memory) collect() (err error) {
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
	m.Heap = int64(samples[0].Value.Uint64())
	m.Stack = int64(samples[1].Value.Uint64())
	m.RSS, err = residentBytes()
	return err
}

// perConnection returns the growth from before to m, divided by n connections;
// of goroutines and allocations it is the growth alone. Before the connections
// came, free memory was given back, so all resident sets grow from that.
func (m Memory) perConnection(before Memory, n int) Memory {
	return Memory{
		Heap:       (m.Heap - before.Heap) / int64(n),
		Stack:      (m.Stack - before.Stack) / int64(n),
		Resident:   (m.Resident - before.RSS) / int64(n),
		RSS:        (m.RSS - before.RSS) / int64(n),
		Goroutines: m.Goroutines - before.Goroutines,
		Allocs:     m.Allocs - before.Allocs,
	}
}
