package schedule

import "sync"

// A waiter is a goroutine that waits to go on. Functions that touch waiters and lists
// are hidden from the race detector, which must not take the scheduler's order for one
// that the program makes: they use no memory but theirs, and no maps and slices.
type waiter struct {
	next      *waiter
	goroutine uint64
	pc        uintptr
	key       *sync.Mutex   // what it waits for, or nil
	woken     chan struct{} // of capacity 1
}

// newWaiter returns a waiter.
//
//go:norace
func newWaiter(goroutine uint64, pc uintptr) *waiter {
	return &waiter{goroutine: goroutine, pc: pc, woken: make(chan struct{}, 1)}
}

// read returns what w has.
//
//go:norace
func (w *waiter) read() (next *waiter, goroutine uint64, pc uintptr) {
	return w.next, w.goroutine, w.pc
}

// wait returns when wake was called.
//
//go:norace
func (w *waiter) wait() { <-w.woken }

// wake lets w go on. Only the first call does anything.
//
//go:norace
func (w *waiter) wake() {
	disableRaces()
	select {
	case w.woken <- struct{}{}:
	default:
	}
	enableRaces()
}

// A list has waiters in the order in which they came.
type list struct {
	mu          sync.Mutex
	first, last *waiter
}

// push appends w.
//
//go:norace
func (l *list) push(w *waiter) {
	l.mu.Lock()
	if l.first == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.mu.Unlock()
}

// takeAll empties the list and returns the first of it.
//
//go:norace
func (l *list) takeAll() *waiter {
	disableRaces()
	l.mu.Lock()
	w := l.first
	l.first, l.last = nil, nil
	l.mu.Unlock()
	enableRaces()
	return w
}

// wake lets those go on that wait for key.
//
//go:norace
func (l *list) wake(key *sync.Mutex) {
	l.mu.Lock()
	w := l.first
	l.first, l.last = nil, nil
	l.mu.Unlock()
	for w != nil {
		next := w.next
		w.next = nil
		if w.key == key {
			w.wake()
		} else {
			l.push(w)
		}
		w = next
	}
}
