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
	state atomic.Int32 // one of the following
}

// States of a fifoLock.
const (
	lockFree      = iota
	lockHeld      // nobody waits
	lockInternal  // the same, and it is held by a reader of the connection's own
	lockContended // unlock must look for waiters
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
func (l *fifoLock) tryLock() bool { return l.state.CompareAndSwap(lockFree, lockHeld) }

// tryLockInternal is tryLock for a reader of the connection's own.
func (l *fifoLock) tryLockInternal() bool { return l.state.CompareAndSwap(lockFree, lockInternal) }

// isLockedByUser reports whether the lock is held, and not by a reader of the
// connection's own. Of one for which others wait, that is not known.
func (l *fifoLock) isLockedByUser() bool {
	state := l.state.Load()
	return state == lockHeld || state == lockContended
}

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
	if l.tryLock() {
		return nil
	}
	q := l.queue()
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.state.Swap(lockContended) == lockFree {
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
	if !l.state.CompareAndSwap(lockHeld, lockFree) && !l.state.CompareAndSwap(lockInternal, lockFree) {
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
		l.state.Store(lockFree)
		return
	}
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
