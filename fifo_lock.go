package websocket

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A fifoLock is a lock that may be held across I/O. Goroutines get it in the
// order in which they asked for it, can give up, and wait on a channel, so that
// testing/synctest sees them as blocked. It is a word of four bytes: those that
// wait are in lockQueues. While nobody waits it allocates nothing. The zero
// value is unlocked. It must not be copied, nor dropped while somebody waits.
type fifoLock struct {
	state atomic.Int32 // the following, or 0 if it is free
}

// What the state of a fifoLock is made of.
const (
	lockHeld      int32 = 1 << iota
	lockInternal        // the connection holds it for itself, not for the application
	lockContended       // unlock must look for waiters
)

// A lockWaiter waits for a fifoLock, in a ring of all that do.
type lockWaiter struct {
	granted chan struct{} // closed to hand the lock over
	next    *lockWaiter
}

// A lockQueue has the waiters of some of the program's fifoLocks, and guards
// them and the change of those locks' states from and to lockContended.
type lockQueue struct {
	mu   sync.Mutex
	last map[*fifoLock]*lockWaiter // the last to come, whose next is the first; nothing for locks without waiters
}

// lockQueues have the waiters of all fifoLocks of the program. A lock belongs
// to the one that queue returns.
var lockQueues [64]lockQueue

// lockSeed spreads the locks over lockQueues.
var lockSeed = maphash.MakeSeed()

// queue returns where those that wait for the lock are.
func (l *fifoLock) queue() *lockQueue {
	return &lockQueues[maphash.Comparable(lockSeed, l)%uint64(len(lockQueues))]
}

// tryLock takes the lock if it is free.
func (l *fifoLock) tryLock() bool { return l.state.CompareAndSwap(0, lockHeld) }

// tryLockInternal is tryLock for what the connection does for itself.
func (l *fifoLock) tryLockInternal() bool {
	return l.state.CompareAndSwap(0, lockHeld|lockInternal)
}

// isLocked reports whether the lock is held.
func (l *fifoLock) isLocked() bool { return l.state.Load() != 0 }

// isLockedForUser reports whether the lock is held by one that did not take it with
// tryLockInternal.
func (l *fifoLock) isLockedForUser() bool {
	return l.state.Load()&(lockHeld|lockInternal) == lockHeld
}

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
	if l.tryLock() {
		return nil
	}
	q := l.queue()
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.state.Or(lockContended) == 0 {
		l.state.Store(lockHeld) // it was freed meanwhile, so nobody waits
		return nil
	}
	w := &lockWaiter{granted: make(chan struct{})}
	q.appendLocked(l, w)
	return w
}

// cancelWait gives up waiting. If the lock was handed to w meanwhile, it goes
// on to the next waiter. cancelWait always reports false.
func (l *fifoLock) cancelWait(w *lockWaiter) bool {
	q := l.queue()
	q.mu.Lock()
	left := q.removeLocked(l, w)
	q.mu.Unlock()
	if !left {
		l.unlock()
	}
	return false
}

// unlock hands the lock to the goroutine that has waited longest, or frees it.
func (l *fifoLock) unlock() {
	state := l.state.Load()
	if state&lockContended != 0 || !l.state.CompareAndSwap(state, 0) {
		l.handOver()
	}
}

// handOver is unlock if somebody waits, or has waited.
func (l *fifoLock) handOver() {
	q := l.queue()
	q.mu.Lock()
	defer q.mu.Unlock()
	last := q.last[l]
	if last == nil {
		l.state.Store(0)
		return
	}
	l.state.Store(lockHeld | lockContended)
	first := last.next
	q.removeLocked(l, first)
	close(first.granted)
}

// appendLocked makes w the last that waits for l. The caller holds q.mu.
func (q *lockQueue) appendLocked(l *fifoLock, w *lockWaiter) {
	if w.next = w; q.last[l] != nil {
		w.next, q.last[l].next = q.last[l].next, w
	}
	if q.last == nil {
		q.last = make(map[*fifoLock]*lockWaiter)
	}
	q.last[l] = w
}

// removeLocked takes w out of the ring of those that wait for l, and reports
// whether it was there. The caller holds q.mu.
func (q *lockQueue) removeLocked(l *fifoLock, w *lockWaiter) bool {
	last := q.last[l]
	if last == nil {
		return false
	}
	before := last
	for before.next != w {
		if before = before.next; before == last {
			return false
		}
	}
	before.next = w.next
	switch {
	case before == w:
		delete(q.last, l)
	case last == w:
		q.last[l] = before
	}
	return true
}
