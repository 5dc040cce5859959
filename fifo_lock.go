package websocket

import (
	"sync"
	"sync/atomic"
)

// A fifoLock is a lock that may be held across I/O. Goroutines get it in the
// order in which they asked for it, can give up, and wait on a channel, so that
// testing/synctest sees them as blocked. Unlike a channel of one slot it
// allocates nothing while nobody waits. The zero value is unlocked.
type fifoLock struct {
	state atomic.Int32 // lockFree, lockHeld or lockContended
	mu    sync.Mutex
	tail  *lockWaiter // the last to come, whose next is the first; nil: nobody waits
}

// A lockWaiter waits for a fifoLock, in a ring of all that do.
type lockWaiter struct {
	granted chan struct{} // closed to hand the lock over
	next    *lockWaiter
}

// States of a fifoLock.
const (
	lockFree      = iota
	lockHeld      // nobody waits
	lockContended // unlock must look for waiters
)

// tryLock takes the lock if it is free.
func (l *fifoLock) tryLock() bool { return l.state.CompareAndSwap(lockFree, lockHeld) }

// isLocked reports whether the lock is held.
func (l *fifoLock) isLocked() bool { return l.state.Load() != lockFree }

// lock waits for the lock. It reports false, without the lock, if either
// channel is closed first; a nil channel never is.
func (l *fifoLock) lock(done, ended <-chan struct{}) bool {
	w := l.lockOrEnqueue()
	if w == nil {
		return true
	}
	select {
	case <-w.granted:
		return true
	case <-done:
	case <-ended:
	}
	return l.cancelWait(w)
}

// lockOrEnqueue takes the lock at once and returns nil, or joins the waiters.
func (l *fifoLock) lockOrEnqueue() *lockWaiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Swap(lockContended) == lockFree {
		if l.tail == nil {
			l.state.Store(lockHeld)
		}
		return nil
	}
	w := &lockWaiter{granted: make(chan struct{})}
	if w.next = w; l.tail != nil {
		w.next, l.tail.next = l.tail.next, w
	}
	l.tail = w
	return w
}

// cancelWait gives up waiting. If the lock was handed to w meanwhile, it goes
// on to the next waiter. cancelWait always reports false.
func (l *fifoLock) cancelWait(w *lockWaiter) bool {
	l.mu.Lock()
	left := l.removeLocked(w)
	l.mu.Unlock()
	if !left {
		l.unlock()
	}
	return false
}

// removeLocked takes w out of the ring and reports whether it was there. The
// caller holds l.mu.
func (l *fifoLock) removeLocked(w *lockWaiter) bool {
	before := l.tail
	if before == nil {
		return false
	}
	for before.next != w {
		if before = before.next; before == l.tail {
			return false
		}
	}
	before.next = w.next
	switch {
	case before == w:
		l.tail = nil
	case l.tail == w:
		l.tail = before
	}
	return true
}

// unlock hands the lock to the goroutine that has waited longest, or frees it.
func (l *fifoLock) unlock() {
	if l.state.CompareAndSwap(lockHeld, lockFree) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tail == nil {
		l.state.Store(lockFree)
		return
	}
	first := l.tail.next
	l.removeLocked(first)
	close(first.granted)
}
