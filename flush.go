package websocket

import (
	"context"
	"slices"
	"sync"
)

// This file decides who writes. A frameWriter is idle or has exactly one
// flusher:
//
//	      add..., then becomeFlusherLocked               releaseLocked: nothing is left
//	idle ──────────────────────────────────► flushing ──────────────────────────────────► idle
//	                                          │    ▲
//	                                          └────┘ promoteLocked: the first in the queue takes
//	                                                 over, or handOff, if nobody waits
//
//	flusher         waits for        writes with
//	flushAlone      its own frame    one call that does not wait; twin of flush
//	flush, lead     its own frame    push, until ctx or a deadline ends that
//	handOff         nothing          tryWrite, while the socket takes everything
//	flushDetached   nothing          push, limited by Config.WriteTimeout alone
//
// breakLocked ends the flushing, and all writing, when the network fails.
//
// A frame's owner has a ticket, which says what range of the data stream it
// waits for. Everyone but the flusher waits in active.queue until the ticket's
// state is set and its channel wake gets a value. To send that never blocks:
// the channel has room for one, and a ticket is woken once.
//
// Only the flusher calls the network, and it does so without mu. Whoever holds
// mu may look at the work, and change what of it is not handed over.

// becomeFlusherLocked makes the caller the flusher of what is pending. The
// caller holds w.mu.
func (w *frameWriter) becomeFlusherLocked() {
	w.active.busy = true
	w.loadLocked()
	w.handOverLocked()
}

// A ticket is a range of the data stream that its owner waits for.
type ticket struct {
	start, end  int64
	byte0       byte // of the frame's header; 0 if it is not a frame
	awaitsClose bool // waits for the Close frame
	flusher     bool // it is writeState.ownTicket: its owner flushes
	internal    bool // its owner is the connection: no deadline of the user ends its wait
	state       ticketState
	wake        chan struct{} // holds one; sent to after state was set
}

// A ticketState says what the owner of a ticket has to do when it is woken.
type ticketState uint8

const (
	ticketDone    ticketState = iota // nothing: its bytes are out, or it gave up
	ticketLeading                    // be the flusher; the work is loaded
	ticketFailed                     // return the writer's error
)

// freeTickets has those that nobody uses. They do not belong to the writeState:
// when the owner of one wakes up, that may have been given back.
var freeTickets = sync.Pool{New: func() any { return newTicket() }}

// newTicket returns a ticket that belongs to nobody.
func newTicket() *ticket { return &ticket{wake: make(chan struct{}, 1)} }

// acquireTicket returns a copy of t to wait with. Those of bubbles of
// testing/synctest have channels that work nowhere else.
func (w *frameWriter) acquireTicket(t ticket) (waiting *ticket) {
	if w.mode.inBubble {
		waiting = newTicket()
	} else {
		waiting = freeTickets.Get().(*ticket)
	}
	t.wake = waiting.wake
	*waiting = t
	return waiting
}

// freeTicket keeps a ticket that its owner no longer uses.
func (w *frameWriter) freeTicket(t *ticket) {
	if !w.mode.inBubble {
		freeTickets.Put(t)
	}
}

// joinLocked counts in a data frame of size bytes that was appended at start.
// It makes the frame's owner the flusher or puts it in the queue and returns
// the ticket, or corks the frame and returns nil. The caller holds w.mu.
func (w *frameWriter) joinLocked(start int64, size int, byte0 byte) *ticket {
	s := w.active
	s.offsets.appended = start + int64(size)
	if w.corkLocked() {
		return nil
	}
	if byte0&bitRSV1 != 0 {
		s.offsets.doubtful = start + 1
	}
	if s.busy || s.pending.control != nil || w.delegatesLocked() {
		return w.queueLocked(ticket{start: start, end: s.offsets.appended, byte0: byte0})
	}
	// As queueLocked does, on less stack.
	s.busy = true
	s.corked.since = 0
	s.work.head, s.pending.data = s.pending.data, nil
	w.handOverLocked()
	s.ownTicket = ticket{start: start, end: s.offsets.appended, byte0: byte0, flusher: true}
	return &s.ownTicket
}

// handOverLocked marks the work as part of the next call of its flusher, which
// on a raw socket begins with one that does not wait. The caller holds w.mu.
func (w *frameWriter) handOverLocked() {
	if w.active.nc.isRaw() {
		w.active.work.handed = len(w.active.work.head.b)
	}
}

// queueLocked makes the owner of t the flusher, or puts it in the queue, and
// returns the ticket to wait with. It returns nil if nobody flushes and nothing
// is pending. The caller holds w.mu.
func (w *frameWriter) queueLocked(t ticket) *ticket {
	s := w.active
	if s == nil {
		return nil
	}
	if !s.busy {
		w.becomeFlusherLocked()
		if !w.delegatesLocked() {
			s.ownTicket = t
			s.ownTicket.flusher = true
			return &s.ownTicket
		}
		go w.flushDetached()
	}
	waiting := w.acquireTicket(t)
	s.queue = append(s.queue, waiting)
	return waiting
}

// loadLocked makes all that is pending the work, unless there is some left from
// before, and reports whether there is any. The caller holds w.mu and is the
// flusher.
func (w *frameWriter) loadLocked() bool {
	s := w.active
	if s.work.head != nil || s.pending == (pending{}) {
		return s.work.head != nil
	}
	s.corked.since = 0
	head := joinBuffers(s.pending.control, s.pending.lastPong)
	dataStart := head.size()
	head = joinBuffers(head, s.pending.data)
	s.work = work{dataStart: dataStart, closeSize: s.pending.closeFrame.size()}
	s.work.head = joinBuffers(head, s.pending.closeFrame)
	s.pending = pending{}
	return true
}

// joinBuffers returns a buffer with what is in a, and then in b, and frees those
// of the two that it does not return. Both may be nil.
func joinBuffers(a, b *buffer) *buffer {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	a = a.grow(len(b.b))
	a.b = append(a.b, b.b...)
	b.free()
	return a
}

// A fate says what becomes of a frame when its owner stops waiting.
type fate uint8

const (
	orLeave    fate = iota // it is sent by others
	orWithdraw             // it is taken back, unless it has begun to leave
)

// flush waits until the bytes of t are on the network, writing them itself if
// t's owner is the flusher. If ctx ends or the user's deadline passes first,
// flush returns that error, and w lives on unless the net.Conn does not survive
// the interruption; f says what becomes of the bytes, and withdrawn reports
// that they were taken back. t must not be used afterwards. If it is nil, there
// is nothing to wait for.
func (w *frameWriter) flush(ctx context.Context, t *ticket, f fate) (withdrawn bool, err error) {
	if t == nil {
		return false, nil
	}
	if t.flusher {
		return w.lead(ctx, t, f)
	}
	withdrawn, err = w.awaitTicket(ctx, t, f)
	if t.state == ticketLeading {
		withdrawn, err = w.lead(ctx, t, f)
	}
	w.freeTicket(t)
	return withdrawn, err
}

// awaitTicket waits in the queue until t is woken, or leaves it when ctx ends
// or the user's deadline passes. If it returns nil, t.state says what is to be
// done.
func (w *frameWriter) awaitTicket(ctx context.Context, t *ticket, f fate) (withdrawn bool, err error) {
	if err := w.awaitWake(ctx, t); err != nil {
		if left, withdrawn := w.cancelTicket(t, f); left {
			return withdrawn, err
		}
		<-t.wake
	}
	if t.state == ticketFailed {
		return false, w.whyRefused()
	}
	return false, nil
}

// awaitWake waits until t is woken, ctx ends, or, unless t is internal, the
// user's deadline passes.
func (w *frameWriter) awaitWake(ctx context.Context, t *ticket) error {
	if !t.internal {
		return w.writeDeadlines().await(ctx, t.wake, nil)
	}
	select {
	case <-t.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushAlone does what flush does, on a small stack (see Stack budget in
// docs/design.md), if t's owner is the flusher, the socket takes everything at
// once, and what was added meanwhile, if anything, has somebody to write it.
// Otherwise it reports false, and flush must be called with the same ticket.
func (w *frameWriter) flushAlone(t *ticket) bool {
	if !t.flusher {
		return false
	}
	s := w.active
	if !s.nc.isRaw() || s.work.external != nil || s.cfg.Trace != nil {
		return false
	}
	s.raw.written, s.raw.err = 0, nil
	return w.flushedAlone(s.nc.rawConn().Write(s.raw.callback))
}

// flushedAlone records what flushAlone wrote, and reports whether its caller is
// no longer the flusher: all has left, or somebody else goes on.
func (w *frameWriter) flushedAlone(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.active
	w.noteWrittenLocked(s.raw.written)
	if err != nil || s.work.off < s.work.size() {
		w.handOverLocked()
		return false
	}
	w.counts.flushes++
	w.doneLocked()
	if w.loadLocked() {
		w.handOverLocked()
		return w.promoteLocked()
	}
	w.releaseLocked()
	return true
}

// whyRefused returns the error for frames that can no longer leave.
func (w *frameWriter) whyRefused() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refusalLocked()
}

// sentToLocked returns how far the data stream is on the network. The caller
// holds w.mu, and there is a state.
func (w *frameWriter) sentToLocked() int64 {
	s := w.active
	n := int64(max(s.work.off-s.work.dataStart, 0))
	return s.offsets.sent + min(n, s.work.span())
}

// isSentLocked reports whether what t waits for is on the network. A nil ticket
// waits for nothing. The caller holds w.mu.
func (w *frameWriter) isSentLocked(t *ticket) bool {
	if t == nil {
		return true
	}
	if t.awaitsClose {
		return w.closeSentLocked()
	}
	return w.sentToLocked() >= t.end
}

// A duty is what a flusher has to do after a write.
type duty uint8

const (
	dutyOver duty = iota // nothing: another is the flusher, or nobody
	dutyLead             // write on
	dutyPass             // hand off: it need not write on, but there are bytes that nobody waits for
)

// lead writes until the bytes of t are out, or ctx or a deadline ends that, and
// leaves the rest to somebody else. Its caller is the flusher.
func (w *frameWriter) lead(ctx context.Context, t *ticket, f fate) (withdrawn bool, err error) {
	for {
		next, withdrawn, err := w.completeWrite(t, w.push(ctx, t), f)
		if next == dutyLead {
			continue
		}
		if next == dutyPass {
			w.handOff()
		}
		return withdrawn, err
	}
}

// flushNow makes what is pending leave without making the caller wait: what a
// raw socket does not take at once, and everything on any other net.Conn, is
// left to a goroutine or to whoever flushes.
func (w *frameWriter) flushNow() {
	if w.claimFlush() {
		w.handOff()
	}
}

// handOff is the flusher that waits for nothing: it writes what a raw socket
// takes at once, and leaves the rest to a writer that waits for it, or to a
// goroutine.
func (w *frameWriter) handOff() {
	for w.active.nc.isRaw() && w.active.work.external == nil {
		start, size := w.traceStart(), w.active.work.handed-w.active.work.off
		n, err := w.tryWrite()
		w.traceFlush(start, n, err)
		next, _, err := w.completeWrite(nil, writeResult{n: n, err: err}, orLeave)
		if err != nil {
			w.user.writeFailed(err)
		}
		if next == dutyOver {
			return
		}
		if n < size {
			break
		}
	}
	go w.flushDetached()
}

// noteWritten records, when a call of the flusher is over, that n bytes of what
// was handed over have left, and wakes those that wait for them.
func (w *frameWriter) noteWritten(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteWrittenLocked(n)
	if len(w.active.queue) > 0 {
		w.active.queue = slices.DeleteFunc(w.active.queue, w.wakeLocked)
	}
}

// noteWrittenLocked records, when a call of the flusher is over, that n bytes
// of what was handed over have left. The caller holds w.mu.
func (w *frameWriter) noteWrittenLocked(n int) {
	w.active.work.off += n
	w.active.work.handed = w.active.work.off
	w.counts.bytes.Add(uint64(n))
	if w.active.awaited.callDone != nil {
		close(w.active.awaited.callDone)
		w.active.awaited.callDone = nil
	}
}

// flushCorked makes what is corked, and all else that is pending, leave before
// the caller waits for input. It never waits itself.
func (w *frameWriter) flushCorked() {
	if w.hasPending() {
		w.flushNow()
	}
}

// hasPending reports whether frames other than the Close frame are pending.
func (w *frameWriter) hasPending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hasPendingLocked()
}

// hasPendingLocked is hasPending for a caller that holds w.mu.
func (w *frameWriter) hasPendingLocked() bool {
	return w.active != nil && (w.active.pending.control != nil || w.active.pending.data != nil)
}

// flushLast makes what Write has reported as written, and the Close frame, leave as far
// as the network takes it before the net.Conn is closed. If somebody else is writing, or
// the network does not take all at once, it returns a channel that is closed when that
// has left, or never will; otherwise nil.
func (w *frameWriter) flushLast() <-chan struct{} {
	w.flushNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.active
	if s == nil || !s.busy || w.brokenLocked() || !s.corked.reported && !s.hasClose() {
		return nil
	}
	if s.awaited.idle == nil {
		s.awaited.idle = make(chan struct{})
	}
	return s.awaited.idle
}

// hasClose reports whether the Close frame was added and has not left. The caller
// holds frameWriter.mu.
func (s *writeState) hasClose() bool {
	return s.pending.closeFrame != nil || s.work.closeSize > 0
}

// hasClose reports whether the Close frame was added.
func (w *frameWriter) hasClose() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closeSentLocked() || w.active != nil && w.active.hasClose()
}

// closeSent reports whether the Close frame was handed to the network.
func (w *frameWriter) closeSent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closeSentLocked()
}

// closeSentLocked is closeSent for a caller that holds w.mu.
func (w *frameWriter) closeSentLocked() bool { return w.end != nil && w.end.closeSent }

// closeSentChan returns a channel that is closed once the Close frame was
// handed to the network.
func (w *frameWriter) closeSentChan() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := w.endLocked()
	if end.closeSentCh == nil {
		end.closeSentCh = make(chan struct{})
		if end.closeSent {
			close(end.closeSentCh)
		}
	}
	return end.closeSentCh
}

// written returns how many bytes have left. It also changes while a large
// message is being sent.
func (w *frameWriter) written() uint64 { return w.counts.bytes.Load() }

// flushClose waits until the Close frame, which was added, is on the network.
func (w *frameWriter) flushClose(ctx context.Context) error {
	w.mu.Lock()
	if w.closeSentLocked() || w.brokenLocked() {
		defer w.mu.Unlock()
		if w.end.closeSent {
			return nil
		}
		return w.end.refusal
	}
	t := w.queueLocked(w.ticketAtEndLocked(ticket{awaitsClose: true, internal: true}))
	w.mu.Unlock()
	_, err := w.flush(ctx, t, orLeave)
	return err
}

// ticketAtEndLocked returns t with an empty range at the end of the data
// stream. The caller holds w.mu.
func (w *frameWriter) ticketAtEndLocked(t ticket) ticket {
	if w.active != nil {
		t.start, t.end = w.active.offsets.appended, w.active.offsets.appended
	}
	return t
}

// flushAll waits, for the application, until all data frames added so far are
// on the network. Control frames are flushed, but not waited for.
func (w *frameWriter) flushAll(ctx context.Context) error { return w.flushAdded(ctx, ticket{}) }

// flushAllInternal is flushAll for the connection itself: no deadline of the
// application ends the wait.
func (w *frameWriter) flushAllInternal(ctx context.Context) error {
	return w.flushAdded(ctx, ticket{internal: true})
}

// flushAdded is flushAll with a ticket of the caller, whose range it sets.
func (w *frameWriter) flushAdded(ctx context.Context, own ticket) error {
	w.mu.Lock()
	if w.brokenLocked() {
		defer w.mu.Unlock()
		return w.end.refusal
	}
	var t *ticket
	if w.hasPendingLocked() || w.active != nil && w.active.busy {
		t = w.queueLocked(w.ticketAtEndLocked(own))
	}
	w.mu.Unlock()
	_, err := w.flush(ctx, t, orLeave)
	return err
}

// claimFlush makes the caller the flusher if nobody is and something is
// pending, and reports that.
func (w *frameWriter) claimFlush() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active == nil || w.active.busy {
		return false
	}
	w.becomeFlusherLocked()
	return true
}

// flushDetached is the flusher on a goroutine of its own, which belongs to no
// call. Only Config.WriteTimeout limits it.
func (w *frameWriter) flushDetached() {
	for {
		written := w.push(context.Background(), nil)
		written.interrupted = false // nothing interrupts it: a deadline that passes is a failure
		next, _, err := w.completeWrite(nil, written, orLeave)
		if err != nil {
			w.user.writeFailed(err)
		}
		if next == dutyOver {
			return
		}
	}
}

// completeWrite records a write that is over and returns what the flusher,
// whose ticket is t, or nil if it has none, has to do next. If the write was
// interrupted, f says what becomes of the flusher's own bytes.
func (w *frameWriter) completeWrite(t *ticket, write writeResult, f fate) (next duty, withdrawn bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.flushes++
	w.noteWrittenLocked(write.n)
	if write.err != nil && !write.interrupted {
		return dutyOver, false, w.breakLocked(write.err)
	}
	if w.brokenLocked() {
		w.deadlines.load().unfollow()
		w.abandonLocked()
		return dutyOver, false, w.end.refusal
	}
	w.retireLocked()
	switch {
	case w.isSentLocked(t):
	case !write.interrupted:
		w.loadLocked()
		w.handOverLocked()
		return dutyLead, false, nil
	default:
		withdrawn, err = w.giveUpLocked(t, f), write.err
	}
	if !w.loadLocked() {
		w.releaseLocked()
		return dutyOver, withdrawn, err
	}
	w.handOverLocked()
	if w.promoteLocked() {
		return dutyOver, withdrawn, err
	}
	return dutyPass, withdrawn, err
}

// retireLocked ends the work if all of it is on the network. The caller holds
// w.mu and is the flusher.
func (w *frameWriter) retireLocked() {
	if w.active.work.head != nil && w.active.work.off == w.active.work.size() {
		w.doneLocked()
	}
}

// doneLocked ends the work, which is on the network, and wakes those that
// waited for it. The caller holds w.mu and is the flusher.
func (w *frameWriter) doneLocked() {
	s := w.active
	s.offsets.sent += s.work.span()
	if s.work.closeSize > 0 {
		w.end.closeSent = true
		if w.end.closeSentCh != nil {
			close(w.end.closeSentCh)
		}
	}
	s.work.head.free()
	s.work = work{}
	if len(s.queue) > 0 {
		s.queue = slices.DeleteFunc(s.queue, w.wakeLocked)
	}
}

// wakeLocked wakes the owner of t if what it waits for is on the network, and
// reports that. The caller holds w.mu.
func (w *frameWriter) wakeLocked(t *ticket) bool {
	if !w.isSentLocked(t) {
		return false
	}
	t.state = ticketDone
	t.wake <- struct{}{}
	return true
}

// promoteLocked makes the first in the queue the flusher, and reports that. It
// does not if nobody waits, or flushes are delegated. The caller holds w.mu and
// is the flusher.
func (w *frameWriter) promoteLocked() bool {
	if len(w.active.queue) == 0 || w.delegatesLocked() {
		return false
	}
	t := w.active.queue[0]
	w.active.queue = slices.Delete(w.active.queue, 0, 1)
	t.state = ticketLeading
	t.wake <- struct{}{}
	return true
}

// breakLocked ends all writing because of err, which it returns. The caller
// holds w.mu and is the flusher.
func (w *frameWriter) breakLocked(err error) error {
	w.active.busy = false
	w.dropUnsentLocked(err)
	return err
}

// failWaitersLocked tells those in the queue that their bytes will not leave.
// The caller holds w.mu, and there is a state.
func (w *frameWriter) failWaitersLocked() {
	s := w.active
	for _, t := range s.queue {
		t.state = ticketFailed
		t.wake <- struct{}{}
	}
	clear(s.queue)
	s.queue = s.queue[:0]
}
