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
	queue []chan struct{} // closed to hand the turn over
}

// States of a turn.
const (
	turnFree    = iota
	turnTaken   // nobody waits
	turnAwaited // give must look at the queue
)

// try takes the turn if it is free.
func (t *turn) try() bool { return t.state.CompareAndSwap(turnFree, turnTaken) }

// take waits for the turn. It reports false, without the turn, when either
// channel is closed first; a nil channel never is.
func (t *turn) take(done, ended <-chan struct{}) bool {
	granted := t.enqueue()
	if granted == nil {
		return true
	}
	select {
	case <-granted:
		return true
	case <-done:
	case <-ended:
	}
	return t.leave(granted)
}

// enqueue joins the queue, or takes the turn at once and returns nil.
func (t *turn) enqueue() chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.Swap(turnAwaited) == turnFree {
		if len(t.queue) == 0 {
			t.state.Store(turnTaken)
		}
		return nil
	}
	granted := make(chan struct{})
	t.queue = append(t.queue, granted)
	return granted
}

// leave gives up waiting. If the turn was handed over meanwhile, it goes on to
// the next in the queue. It always reports false.
func (t *turn) leave(granted chan struct{}) bool {
	t.mu.Lock()
	for i, other := range t.queue {
		if other == granted {
			t.queue = append(t.queue[:i], t.queue[i+1:]...)
			t.mu.Unlock()
			return false
		}
	}
	t.mu.Unlock()
	t.give()
	return false
}

// give hands the turn to the first in the queue, or frees it.
func (t *turn) give() {
	if t.state.CompareAndSwap(turnTaken, turnFree) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.queue = nil
		t.state.Store(turnFree)
		return
	}
	close(t.queue[0])
	t.queue = t.queue[1:]
}
