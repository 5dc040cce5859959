package websocket

import (
	"sync"
	"sync/atomic"
)

// A turn is a lock that may be held across I/O. Those who wait for it get it
// in the order they came, can give up, and wait on a channel, so that
// testing/synctest sees them as blocked. Unlike a channel of one slot it costs
// no memory while nobody waits. The zero value is free.
type fifoLock struct {
	state atomic.Int32 // turnFree, turnTaken, or turnAwaited
	mu    sync.Mutex
	tail  *lockWaiter // who came last; its next is who came first. Nil: nobody waits
}

// A waiter waits for a turn, in a ring of all who do.
type lockWaiter struct {
	granted chan struct{} // closed to hand the turn over
	next    *lockWaiter
}

// States of a turn.
const (
	lockFree      = iota
	lockHeld      // nobody waits
	lockContended // give must look for waiters
)

// try takes the turn if it is free.
func (t *fifoLock) tryLock() bool { return t.state.CompareAndSwap(lockFree, lockHeld) }

// taken reports whether somebody has the turn.
func (t *fifoLock) isLocked() bool { return t.state.Load() != lockFree }

// take waits for the turn. It reports false, without the turn, when either
// channel is closed first; a nil channel never is.
func (t *fifoLock) lock(done, ended <-chan struct{}) bool {
	w := t.lockOrEnqueue()
	if w == nil {
		return true
	}
	select {
	case <-w.granted:
		return true
	case <-done:
	case <-ended:
	}
	return t.cancelWait(w)
}

// enqueue joins those who wait, or takes the turn at once and returns nil.
func (t *fifoLock) lockOrEnqueue() *lockWaiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.Swap(lockContended) == lockFree {
		if t.tail == nil {
			t.state.Store(lockHeld)
		}
		return nil
	}
	w := &lockWaiter{granted: make(chan struct{})}
	if w.next = w; t.tail != nil {
		w.next, t.tail.next = t.tail.next, w
	}
	t.tail = w
	return w
}

// leave gives up waiting. If the turn was handed over meanwhile, it goes on to
// the next. It always reports false.
func (t *fifoLock) cancelWait(w *lockWaiter) bool {
	t.mu.Lock()
	left := t.removeLocked(w)
	t.mu.Unlock()
	if !left {
		t.unlock()
	}
	return false
}

// removeLocked takes w out of the ring, if it is in there. The caller holds
// t.mu.
func (t *fifoLock) removeLocked(w *lockWaiter) bool {
	before := t.tail
	if before == nil {
		return false
	}
	for before.next != w {
		if before = before.next; before == t.tail {
			return false
		}
	}
	before.next = w.next
	switch {
	case before == w:
		t.tail = nil
	case t.tail == w:
		t.tail = before
	}
	return true
}

// give hands the turn to who has waited longest, or frees it.
func (t *fifoLock) unlock() {
	if t.state.CompareAndSwap(lockHeld, lockFree) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tail == nil {
		t.state.Store(lockFree)
		return
	}
	first := t.tail.next
	t.removeLocked(first)
	close(first.granted)
}
