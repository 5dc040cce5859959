package websocket

import (
	"context"
	"slices"
	"sync"
)

// This file decides who writes. A frameWriter is idle or has exactly one
// flusher:
//
//	      becomeFlusherLocked               stopFlushingLocked: nothing is left
//	idle ─────────────────────► flushing ──────────────────────────────────────► idle
//	                             │    ▲
//	                             └────┘ promoteLocked: the first in the queue takes over,
//	                                    or handOff, if nobody waits
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

// A flushState is what it takes to flush. The goroutine that becomes the
// flusher of a connection where nobody flushes takes one from a pool, and the
// last flusher in a row returns it. An idle connection has none.
type flushState struct {
	work      work
	ownTicket ticket        // of a flusher that did not have to wait
	queue     []*ticket     // those that wait, in the order of their frames
	raw       rawWrite      // the flusher's, used without mu
	vector    vector        // the same
	callDone  chan struct{} // closed when a call that does not block is over; nil if nobody waits
	idle      chan struct{} // closed when nobody flushes any more; nil if nobody waits
}

// A rawWrite is what the flusher and frameWriter.onWritable tell each other.
type rawWrite struct {
	wait    bool // onWritable waits until the socket takes something
	written int  // bytes, by the last call
	err     error
}

// flushStates has those that nobody uses.
var flushStates = sync.Pool{New: func() any { return new(flushState) }}

// becomeFlusherLocked makes the caller, which holds w.mu, the flusher.
func (w *frameWriter) becomeFlusherLocked() {
	w.busy = true
	if w.active == nil {
		w.active = flushStates.Get().(*flushState)
	}
}

// stopFlushingLocked is called by the flusher when nothing is left to flush, or
// nothing more can leave. The caller holds w.mu.
func (w *frameWriter) stopFlushingLocked() {
	w.busy, w.cork.reported = false, false
	w.active.work, w.active.ownTicket, w.active.raw.err = work{}, ticket{}, nil
	w.signalIdleLocked()
	flushStates.Put(w.active)
	w.active = nil
}

// signalIdleLocked closes the channel that flushLast returned. The caller holds
// w.mu.
func (w *frameWriter) signalIdleLocked() {
	if w.active != nil && w.active.idle != nil {
		close(w.active.idle)
		w.active.idle = nil
	}
}

// A ticket is a range of the data stream that its owner waits for.
type ticket struct {
	start, end  int64
	byte0       byte // of the frame's header; 0 if it is not a frame
	awaitsClose bool // waits for the Close frame
	flusher     bool // it is flushState.ownTicket: its owner flushes
	internal    bool // its owner is the connection: no deadline of the user ends its wait
	state       ticketState
	wake        chan struct{} // holds one; sent to after state was set
	next        *ticket       // in frameWriter.freeTickets
	depth       int           // of that list from here on
}

// A ticketState says what the owner of a ticket has to do when it is woken.
type ticketState uint8

const (
	ticketDone    ticketState = iota // nothing: its bytes are out, or it gave up
	ticketLeading                    // be the flusher; the work is loaded
	ticketFailed                     // return the writer's error
)

// maxFreeTickets is how many tickets are kept to be used again.
const maxFreeTickets = 64

// joinLocked counts in a data frame of size bytes that was appended at start.
// It makes the frame's owner the flusher or puts it in the queue and returns
// the ticket, or corks the frame and returns nil. The caller holds w.mu.
func (w *frameWriter) joinLocked(start int64, size int, byte0 byte) *ticket {
	w.offsets.appended = start + int64(size)
	if w.corkLocked() {
		return nil
	}
	if byte0&bitRSV1 != 0 {
		w.offsets.doubtful = start + 1
	}
	if w.busy || w.pending.control != nil || w.mode.delegated {
		return w.queueLocked(ticket{start: start, end: w.offsets.appended, byte0: byte0})
	}
	// As queueLocked does, on less stack.
	w.becomeFlusherLocked()
	w.cork.since = 0
	w.active.work.head, w.pending.data = w.pending.data, nil
	w.handOverLocked()
	w.active.ownTicket = ticket{start: start, end: w.offsets.appended, byte0: byte0, flusher: true}
	return &w.active.ownTicket
}

// handOverLocked marks the work as part of the next call of its flusher, which
// on a raw socket begins with one that does not wait. The caller holds w.mu.
func (w *frameWriter) handOverLocked() {
	if w.nc.raw != nil {
		w.active.work.handed = len(w.active.work.head.b)
	}
}

// queueLocked makes the owner of t the flusher, or puts it in the queue, and
// returns the ticket to wait with. It returns nil if nobody flushes and nothing
// is pending. The caller holds w.mu.
func (w *frameWriter) queueLocked(t ticket) *ticket {
	if !w.busy {
		if !w.pendingLocked() {
			return nil
		}
		w.becomeFlusherLocked()
		w.loadLocked()
		if !w.mode.delegated {
			w.handOverLocked()
			w.active.ownTicket = t
			w.active.ownTicket.flusher = true
			return &w.active.ownTicket
		}
		go w.flushDetached()
	}
	waiting := w.freeTickets
	if waiting != nil {
		w.freeTickets = waiting.next
	} else {
		waiting = &ticket{wake: make(chan struct{}, 1)}
	}
	t.wake = waiting.wake
	*waiting = t
	w.active.queue = append(w.active.queue, waiting)
	return waiting
}

// pendingLocked reports whether anything waits to be loaded: a Pong waits in
// lastPong only behind others in control. The caller holds w.mu.
func (w *frameWriter) pendingLocked() bool {
	return w.pending.data != nil || w.pending.control != nil || w.pending.closeFrame != nil && !w.end.closeSent
}

// loadLocked makes all that is pending the work, unless there is some left from
// before, and reports whether there is any. The caller holds w.mu and is the
// flusher.
func (w *frameWriter) loadLocked() bool {
	if w.active.work.head != nil {
		return true
	}
	w.cork.since = 0
	head := w.pending.control
	if w.pending.lastPong != nil {
		head = head.grow(len(w.pending.lastPong.b))
		head.b = append(head.b, w.pending.lastPong.b...)
		w.pending.lastPong.free()
	}
	w.pending.control, w.pending.lastPong = nil, nil
	dataStart := 0
	switch {
	case head == nil:
		head = w.pending.data
	case w.pending.data != nil:
		dataStart = len(head.b)
		head = head.grow(len(w.pending.data.b))
		head.b = append(head.b, w.pending.data.b...)
		w.pending.data.free()
	default:
		dataStart = len(head.b)
	}
	w.active.work = work{head: head, dataStart: dataStart}
	w.pending.data = nil
	if w.pending.closeFrame != nil && !w.end.closeSent {
		w.active.work.head = w.active.work.head.grow(len(w.pending.closeFrame.b))
		w.active.work.head.b = append(w.active.work.head.b, w.pending.closeFrame.b...)
		w.active.work.final = true
	}
	return w.active.work.head != nil
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

// freeTicket keeps a ticket that its owner no longer uses, unless there are
// enough.
func (w *frameWriter) freeTicket(t *ticket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.next, t.depth = w.freeTickets, 1
	if t.next != nil {
		t.depth = t.next.depth + 1
	}
	if t.depth <= maxFreeTickets {
		w.freeTickets = t
	}
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
	if !t.flusher || w.nc.raw == nil || w.active.work.external != nil || w.cfg.Trace != nil {
		return false
	}
	w.active.raw.written, w.active.raw.err = 0, nil
	return w.flushedAlone(w.nc.raw.Write(w.onWritable))
}

// flushedAlone records what flushAlone wrote, and reports whether its caller is
// no longer the flusher: all has left, or somebody else goes on.
func (w *frameWriter) flushedAlone(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteWrittenLocked(w.active.raw.written)
	if err != nil || w.active.work.off < w.active.work.size() {
		w.handOverLocked()
		return false
	}
	w.counts.flushes++
	w.doneLocked()
	if w.pendingLocked() {
		w.loadLocked()
		w.handOverLocked()
		return w.promoteLocked()
	}
	w.stopFlushingLocked()
	return true
}

// whyRefused returns the error for frames that can no longer leave.
func (w *frameWriter) whyRefused() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end.refusal
}

// sentToLocked returns how far the data stream is on the network. The caller
// holds w.mu.
func (w *frameWriter) sentToLocked() int64 {
	if w.active == nil || w.active.work.head == nil {
		return w.offsets.sent
	}
	n := int64(max(w.active.work.off-w.active.work.dataStart, 0))
	return w.offsets.sent + min(n, w.active.work.span(w.pending.closeFrame))
}

// isSentLocked reports whether what t waits for is on the network. A nil ticket
// waits for nothing. The caller holds w.mu.
func (w *frameWriter) isSentLocked(t *ticket) bool {
	if t == nil {
		return true
	}
	if t.awaitsClose {
		return w.end.closeSent
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
	for w.nc.raw != nil && w.active.work.external == nil {
		start, size := w.traceStart(), w.active.work.handed-w.active.work.off
		n, err := w.tryWrite()
		w.traceFlush(start, n, err)
		next, _, err := w.completeWrite(nil, writeResult{n: n, err: err}, orLeave)
		if err != nil {
			w.onFailure(err)
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
	if w.active.callDone != nil {
		close(w.active.callDone)
		w.active.callDone = nil
	}
}

// flushCorked makes what is corked, and all else that is pending, leave before
// the caller waits for input. It never waits itself.
func (w *frameWriter) flushCorked() {
	w.mu.Lock()
	idle := w.pending.control == nil && w.pending.data == nil
	w.mu.Unlock()
	if !idle {
		w.flushNow()
	}
}

// flushLast makes what was corked leave as far as the network takes it, before
// the net.Conn is closed. Where that cannot be done without waiting, it returns
// a channel that is closed when it has left, or never will; otherwise nil.
func (w *frameWriter) flushLast() <-chan struct{} {
	w.flushNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nc.raw != nil || !w.busy || !w.cork.reported || w.end.broken {
		return nil
	}
	if w.active.idle == nil {
		w.active.idle = make(chan struct{})
	}
	return w.active.idle
}

// closeSent reports whether the Close frame was handed to the network.
func (w *frameWriter) closeSent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end.closeSent
}

// closeSentChan returns a channel that is closed once the Close frame was
// handed to the network.
func (w *frameWriter) closeSentChan() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end.closeSentCh == nil {
		w.end.closeSentCh = make(chan struct{})
		if w.end.closeSent {
			close(w.end.closeSentCh)
		}
	}
	return w.end.closeSentCh
}

// written returns how many bytes have left. It also changes while a large
// message is being sent.
func (w *frameWriter) written() uint64 { return w.counts.bytes.Load() }

// flushClose waits until the Close frame, which was added, is on the network.
func (w *frameWriter) flushClose(ctx context.Context) error {
	w.mu.Lock()
	if w.end.broken || w.end.closeSent {
		defer w.mu.Unlock()
		if w.end.closeSent {
			return nil
		}
		return w.end.refusal
	}
	t := w.queueLocked(ticket{start: w.offsets.appended, end: w.offsets.appended, awaitsClose: true, internal: true})
	w.mu.Unlock()
	_, err := w.flush(ctx, t, orLeave)
	return err
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
	if w.end.broken {
		defer w.mu.Unlock()
		return w.end.refusal
	}
	var t *ticket
	if w.busy || w.pending.control != nil || w.pending.data != nil {
		own.start, own.end = w.offsets.appended, w.offsets.appended
		t = w.queueLocked(own)
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
	if w.busy || w.end.broken || !w.pendingLocked() {
		return false
	}
	w.becomeFlusherLocked()
	w.loadLocked()
	w.handOverLocked()
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
			w.onFailure(err)
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
	if w.end.broken {
		w.deadlines.load().unfollow()
		w.active.work.head.free()
		w.stopFlushingLocked()
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
		w.stopFlushingLocked()
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
	w.offsets.sent += w.active.work.span(w.pending.closeFrame)
	if w.active.work.final && !w.end.closeSent {
		w.end.closeSent = true
		if w.end.closeSentCh != nil {
			close(w.end.closeSentCh)
		}
	}
	w.active.work.head.free()
	w.active.work = work{}
	if len(w.active.queue) > 0 {
		w.active.queue = slices.DeleteFunc(w.active.queue, w.wakeLocked)
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
	if len(w.active.queue) == 0 || w.mode.delegated {
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
	w.end.broken, w.busy = true, false
	w.signalIdleLocked()
	if w.end.refusal == nil {
		w.end.refusal = err
	}
	w.failWaitersLocked()
	return err
}

// failWaitersLocked tells those in the queue that their bytes will not leave.
// The caller holds w.mu.
func (w *frameWriter) failWaitersLocked() {
	if w.active == nil {
		return
	}
	for _, t := range w.active.queue {
		t.state = ticketFailed
		t.wake <- struct{}{}
	}
	clear(w.active.queue)
	w.active.queue = w.active.queue[:0]
}
