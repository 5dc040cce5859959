// Package sync stands for the standard library's in a package whose goroutines are
// scheduled: see [schedule.Overlay].
package sync

import (
	"sync"

	"github.com/fullduplex-go/websocket/internal/schedule"
)

func init() { schedule.Instrument() }

// A Mutex is a sync.Mutex that is a point.
type Mutex struct{ mu sync.Mutex }

// Lock locks m.
func (m *Mutex) Lock() { schedule.Lock(&m.mu) }

// Unlock unlocks m.
func (m *Mutex) Unlock() { schedule.Unlock(&m.mu) }

// TryLock locks m if it is free.
func (m *Mutex) TryLock() bool {
	schedule.PointOfCaller()
	return m.mu.TryLock()
}

// A Once is a sync.Once in which a goroutine may wait at a point.
type Once struct {
	mu   Mutex
	done bool
}

// Do calls f the first time that Do is called.
func (o *Once) Do(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		defer func() { o.done = true }()
		f()
	}
}

// What has no points.
type (
	Cond      = sync.Cond
	Locker    = sync.Locker
	Map       = sync.Map
	Pool      = sync.Pool
	WaitGroup = sync.WaitGroup
)

// NewCond returns a Cond with the Locker l.
func NewCond(l Locker) *Cond { return sync.NewCond(l) }

// OnceFunc returns a function that calls f once.
func OnceFunc(f func()) func() {
	var once Once
	return func() { once.Do(f) }
}

// OnceValue returns a function that calls f once and returns what that has returned.
func OnceValue[T any](f func() T) func() T {
	var once Once
	var v T
	return func() T {
		once.Do(func() { v = f() })
		return v
	}
}
