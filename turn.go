package websocket

import (
	"sync"
	"sync/atomic"
)

// A turn is a lock that may be held across I/O. Those who wait for it get it
// in the order they came, can give up, and wait on a channel, so that
// testing/synctest sees them as blocked. Unlike a channel of one slot it costs
// no memory while nobody waits. The zero value is free.
type turn struct {
	state atomic.Int32 // turnFree, turnTaken, or turnAwaited
	mu    sync.Mutex
	last  *waiter // who came last; its next is who came first. Nil: nobody waits
}

// A waiter waits for a turn, in a ring of all who do.
type waiter struct {
	granted chan struct{} // closed to hand the turn over
	next    *waiter
}

// States of a turn.
const (
	turnFree    = iota
	turnTaken   // nobody waits
	turnAwaited // give must look for waiters
)

// try takes the turn if it is free.
func (t *turn) try() bool { return t.state.CompareAndSwap(turnFree, turnTaken) }

// taken reports whether somebody has the turn.
func (t *turn) taken() bool { return t.state.Load() != turnFree }

// take waits for the turn. It reports false, without the turn, when either
// channel is closed first; a nil channel never is.
func (t *turn) take(done, ended <-chan struct{}) bool {
	w := t.enqueue()
	if w == nil {
		return true
	}
	select {
	case <-w.granted:
		return true
	case <-done:
	case <-ended:
	}
	return t.leave(w)
}

// enqueue joins those who wait, or takes the turn at once and returns nil.
func (t *turn) enqueue() *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.Swap(turnAwaited) == turnFree {
		if t.last == nil {
			t.state.Store(turnTaken)
		}
		return nil
	}
	w := &waiter{granted: make(chan struct{})}
	if w.next = w; t.last != nil {
		w.next, t.last.next = t.last.next, w
	}
	t.last = w
	return w
}

// leave gives up waiting. If the turn was handed over meanwhile, it goes on to
// the next. It always reports false.
func (t *turn) leave(w *waiter) bool {
	t.mu.Lock()
	left := t.removeLocked(w)
	t.mu.Unlock()
	if !left {
		t.give()
	}
	return false
}

// removeLocked takes w out of the ring, if it is in there. The caller holds
// t.mu.
func (t *turn) removeLocked(w *waiter) bool {
	before := t.last
	if before == nil {
		return false
	}
	for before.next != w {
		if before = before.next; before == t.last {
			return false
		}
	}
	before.next = w.next
	switch {
	case before == w:
		t.last = nil
	case t.last == w:
		t.last = before
	}
	return true
}

// give hands the turn to who has waited longest, or frees it.
func (t *turn) give() {
	if t.state.CompareAndSwap(turnTaken, turnFree) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.state.Store(turnFree)
		return
	}
	first := t.last.next
	t.removeLocked(first)
	close(first.granted)
}
