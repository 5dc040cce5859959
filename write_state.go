package websocket

import (
	"sync"
	"sync/atomic"
	"time"
)

// This file has what a frameWriter needs only while it has something to send.
//
//	      a frame is added              nothing is pending, nobody flushes
//	idle ──────────────────► active ────────────────────────────────────────► idle
//	         acquireState                         releaseLocked
//
// Nothing of a connection may be left in a state that is given back, except for
// the timer, which may run on: see onTimer.

// A writeState is there while frames are pending, corked or being flushed. An
// idle connection has none. It belongs to the frameWriter that acquired it,
// whose mu guards it, but not what the flusher alone uses.
type writeState struct {
	writer    *frameWriter // nil while the state is in the pool, as are the next three
	nc        *socket
	successor *socket // what the connection writes to once the state is given back; nil: to nc
	cfg       *Config
	pending   pending
	offsets   offsets
	corked    corked
	busy      bool // somebody flushes
	work      work
	ownTicket ticket    // of a flusher that did not have to wait
	queue     []*ticket // those that wait, in the order of their frames
	raw       rawWrite  // the flusher's, used without mu
	awaited   awaited
}

// pending are the frames that were added and not loaded, in the order in which
// they are loaded. Buffers without bytes are nil.
type pending struct {
	control    *buffer
	lastPong   *buffer // the latest Pong that found control full
	data       *buffer
	closeFrame *buffer
}

// free frees all that is pending.
func (p *pending) free() {
	p.control.free()
	p.lastPong.free()
	p.data.free()
	p.closeFrame.free()
	*p = pending{}
}

// offsets count the bytes of data frames, in one stream that begins with the
// state.
type offsets struct {
	appended int64 // where pending.data ends
	sent     int64 // where the work begins
	doubtful int64 // start of the last compressed frame that may be withdrawn, plus 1; 0: none
}

// corked says what of the pending data is corked.
type corked struct {
	since    instant // when the first of the frames was added; 0: there are none
	reported bool    // a frame was corked, and its writer told that it is written
	timer    *time.Timer
	firesAt  atomic.Int64                // the instant for which timer is set; 0: it was not set since it fired
	writer   atomic.Pointer[frameWriter] // what the state belongs to, if reported is set
}

// A rawWrite is what the flusher and the callback of a raw socket tell each
// other, and what else is for writing only.
type rawWrite struct {
	callback func(fd uintptr) bool // writes some of the work
	wait     bool                  // callback waits until the socket takes something
	written  int                   // bytes, by the last call
	err      error
	vector   vector
}

// awaited are channels on which something of the flusher is waited for. They
// are nil while nobody waits.
type awaited struct {
	callDone chan struct{} // closed when a call that does not block is over
	idle     chan struct{} // closed when nobody flushes any more
}

// writeStates has those that nobody uses.
var writeStates = sync.Pool{New: func() any { return newWriteState() }}

// newWriteState returns one that belongs to nobody.
func newWriteState() *writeState {
	s := new(writeState)
	s.raw.callback = func(fd uintptr) bool {
		if s.raw.wait {
			return s.writer.writeReady(fd)
		}
		s.raw.written, s.raw.err = writeNow(fd, s.work.rest())
		return true
	}
	return s
}

// activateLocked returns the state, which it acquires if there is none. The
// caller holds w.mu, and adds a frame.
func (w *frameWriter) activateLocked() *writeState {
	if w.active == nil {
		w.active = w.acquireState()
	}
	return w.active
}

// acquireState returns a state that belongs to w. In a bubble of
// testing/synctest it is a new one: its timer and its channels work nowhere
// else.
func (w *frameWriter) acquireState() (s *writeState) {
	if w.mode.inBubble {
		s = newWriteState()
	} else {
		s = writeStates.Get().(*writeState)
	}
	s.nc, s.cfg = w.user.writesTo()
	s.writer = w
	return s
}

// releaseLocked gives the state back when nothing is pending, and nobody
// flushes or waits. The caller holds w.mu.
func (w *frameWriter) releaseLocked() {
	s := w.active
	w.active = nil
	if s.awaited.idle != nil {
		close(s.awaited.idle)
		s.awaited.idle = nil
	}
	if s.successor != nil {
		w.deadlines.load().replaceSocket(s.successor)
		go closeNow(s.nc.Conn)
		s.successor = nil
	}
	if s.corked.reported {
		s.corked.since, s.corked.reported = 0, false
		s.corked.writer.Store(nil)
	}
	s.writer, s.nc, s.cfg = nil, nil, nil
	s.offsets, s.ownTicket = offsets{}, ticket{}
	s.busy, s.raw.err = false, nil
	if !w.mode.inBubble {
		writeStates.Put(s)
	} else if s.corked.timer != nil {
		s.corked.timer.Stop()
	}
}

// replaceSocket makes w write to fresh, which its user has taken instead of old,
// and closes old as soon as nothing is being written there.
func (w *frameWriter) replaceSocket(old, fresh *socket) {
	w.mu.Lock()
	inUse := w.active != nil && w.active.nc == old
	if inUse {
		w.active.successor = fresh
	}
	w.mu.Unlock()
	if !inUse {
		w.deadlines.load().replaceSocket(fresh)
		closeNow(old.Conn)
	}
}

// abandonLocked gives the state back when nothing more can leave. The caller
// holds w.mu, and is the flusher if there is one.
func (w *frameWriter) abandonLocked() {
	w.active.pending.free()
	w.active.work.head.free()
	w.active.work = work{}
	w.releaseLocked()
}

// corkLocked decides, and reports, whether pending data waits for more, and
// sets the timer that ends the wait. The caller holds w.mu.
func (w *frameWriter) corkLocked() bool {
	s := w.active
	if !w.cork.on.Load() || s.busy || s.cfg.HoldReplies == 0 || len(s.pending.data.b) >= maxCorked {
		return false
	}
	if !s.corked.reported {
		s.corked.reported = true
		s.corked.writer.Store(w)
	}
	if s.corked.since == 0 {
		s.corked.since = now()
		due := s.corked.since.add(s.cfg.HoldReplies)
		if at := s.corked.firesAt.Load(); at == 0 || instant(at) > due {
			s.setTimerLocked(due, s.cfg.HoldReplies)
		}
	}
	return true
}

// setTimerLocked sets the timer to fire at the instant due, which comes after
// wait. The caller holds the mu of the frameWriter that s belongs to.
func (s *writeState) setTimerLocked(due instant, wait time.Duration) {
	s.corked.firesAt.Store(int64(due))
	if s.corked.timer == nil {
		s.corked.timer = time.AfterFunc(wait, s.onTimer)
	} else {
		s.corked.timer.Reset(wait)
	}
}

// onTimer is called by the timer, which is left running when what was corked
// has gone, even if s is given back, and so may be called for nothing. Clearing
// firesAt comes first: whoever corks before that, and relies on this call, has
// set writer already, so that the call finds its frameWriter; whoever does so
// later sets the timer again.
func (s *writeState) onTimer() {
	s.corked.firesAt.Store(0)
	if w := s.corked.writer.Load(); w != nil {
		w.flushOverdue(s)
	}
}

// flushOverdue lets frames leave that have been corked in s for long enough, if
// s is still the state of w, and sets the timer for those that have not.
func (w *frameWriter) flushOverdue(s *writeState) {
	w.mu.Lock()
	if w.active != s || s.corked.since == 0 {
		w.mu.Unlock()
		return
	}
	due := s.corked.since.add(s.cfg.HoldReplies)
	if wait := due.until(); wait > 0 {
		s.setTimerLocked(due, wait)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.flushNow()
}
