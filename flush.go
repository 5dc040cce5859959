package websocket

import (
	"context"
	"slices"
	"sync"
)

// A flushing is what it takes to flush. Whoever becomes the flusher of a
// connection where nobody flushes borrows one, and the last one in a row gives
// it back. An idle connection has none.
type flushing struct {
	work    work
	own     ticket    // of a flusher that never had to wait
	line    []*ticket // those who wait, in the order of their frames
	written int       // by onWritable, and its error
	wrote   error
	await   bool // onWritable waits until the socket takes something
	vector  vector
	tried   chan struct{} // closed when a call that does not block is over; nil if nobody waits
	quiet   chan struct{} // closed when nobody flushes any more; nil if nobody waits
}

var flushings = sync.Pool{New: func() any { return new(flushing) }}

// beginLocked makes the caller, who holds w.mu, the flusher.
func (w *frameWriter) beginLocked() {
	w.busy = true
	if w.flushing == nil {
		w.flushing = flushings.Get().(*flushing)
	}
}

// restLocked is called by the flusher when nothing is left to flush. The caller
// holds w.mu.
func (w *frameWriter) restLocked() {
	w.busy, w.owed = false, false
	w.work, w.own, w.wrote = work{}, ticket{}, nil
	w.wakeQuietLocked()
	flushings.Put(w.flushing)
	w.flushing = nil
}

// wakeQuietLocked wakes those who wait in flushLast. The caller holds w.mu.
func (w *frameWriter) wakeQuietLocked() {
	if w.flushing != nil && w.quiet != nil {
		close(w.quiet)
		w.quiet = nil
	}
}

// A ticket is a place in the data stream that its owner waits for.
type ticket struct {
	start, end int64
	first      byte // of the frame's header; 0 if it is no frame
	final      bool // waits for the Close frame
	flusher    bool // it is flushing.own: its owner flushes
	ours       bool // its owner is the connection: no deadline of the user ends its wait
	state      ticketState
	wake       chan struct{} // holds one; sent to after state was set
	next       *ticket       // in frameWriter.idle
}

// A ticketState says what the owner of a ticket has to do when it is woken.
type ticketState uint8

const (
	ticketDone    ticketState = iota // nothing: its bytes are out
	ticketLeading                    // be the flusher; the work is loaded
	ticketFailed                     // return the writer's error
)

// maxIdleTickets is how many tickets are kept to be used again.
const maxIdleTickets = 64

// joinLocked enters a frame of size bytes that was appended at start, whose
// first byte is given. It makes its owner the flusher, or puts it in the line,
// and returns the ticket; or holds the bytes and returns nil. The caller holds
// w.mu.
func (w *frameWriter) joinLocked(start int64, size int, first byte) *ticket {
	w.appended = start + int64(size)
	if w.heldLocked() {
		return nil
	}
	if first&bitRSV1 != 0 {
		w.doubt = start + 1
	}
	if w.busy || w.urgent != nil || w.delegate {
		return w.queueLocked(ticket{start: start, end: w.appended, first: first})
	}
	// As queueLocked does, on less stack.
	w.beginLocked()
	w.heldSince = 0
	w.work.head, w.data = w.data, nil
	w.handLocked()
	w.own = ticket{start: start, end: w.appended, first: first, flusher: true}
	return &w.own
}

// handLocked hands the work to the call that its flusher begins with. Whoever
// makes somebody the flusher calls it. The caller holds w.mu.
func (w *frameWriter) handLocked() {
	if w.nc.raw != nil {
		w.work.handed = len(w.work.head.b)
	}
}

// queueLocked gives t's owner its part in the flushing. The caller holds w.mu.
func (w *frameWriter) queueLocked(t ticket) *ticket {
	if !w.busy {
		if !w.pendingLocked() {
			return nil
		}
		w.beginLocked()
		w.loadLocked()
		if !w.delegate {
			w.handLocked()
			w.own = t
			w.own.flusher = true
			return &w.own
		}
		go w.finishWork()
	}
	waiting := w.idle
	if waiting != nil {
		w.idle = waiting.next
		w.idles--
	} else {
		waiting = &ticket{wake: make(chan struct{}, 1)}
	}
	t.wake = waiting.wake
	*waiting = t
	w.line = append(w.line, waiting)
	return waiting
}

// pendingLocked reports whether anything waits to be loaded. The caller holds
// w.mu.
func (w *frameWriter) pendingLocked() bool {
	return w.data != nil || w.urgent != nil || w.final != nil && !w.finished
}

// loadLocked makes all that is pending the work, unless there is some left
// from before, and reports whether there is any. The caller holds w.mu and is
// the flusher.
func (w *frameWriter) loadLocked() bool {
	if w.work.head != nil {
		return true
	}
	w.heldSince = 0
	head := w.urgent
	if w.lastPong != nil {
		head = head.grown(len(w.lastPong.b))
		head.b = append(head.b, w.lastPong.b...)
		w.lastPong.free()
	}
	w.urgent, w.lastPong = nil, nil
	dataStart := 0
	switch {
	case head == nil:
		head = w.data
	case w.data != nil:
		dataStart = len(head.b)
		head = head.grown(len(w.data.b))
		head.b = append(head.b, w.data.b...)
		w.data.free()
	default:
		dataStart = len(head.b)
	}
	w.work = work{head: head, dataStart: dataStart}
	w.data = nil
	if w.final != nil && !w.finished {
		w.work.head = w.work.head.grown(len(w.final.b))
		w.work.head.b = append(w.work.head.b, w.final.b...)
		w.work.final = true
	}
	return w.work.head != nil
}

// flush waits until the bytes of t are on the network, or is the one who
// writes them. When ctx or the user's deadline ends first, bytes that have not
// begun to go out are withdrawn, if revocable is set, and withdrawn says so;
// others are finished by somebody else. Then flush returns the reason and the
// connection lives on. t must not be used afterwards.
func (w *frameWriter) flush(ctx context.Context, t *ticket, revocable bool) (withdrawn bool, err error) {
	if t == nil {
		return false, nil
	}
	if t.flusher {
		return w.lead(ctx, t, revocable)
	}
	withdrawn, err = w.wait(ctx, t, revocable)
	if t.state == ticketLeading {
		withdrawn, err = w.lead(ctx, t, revocable)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idles < maxIdleTickets {
		t.next, w.idle = w.idle, t
		w.idles++
	}
	return withdrawn, err
}

// wait stands in the line until t is woken, or leaves it when ctx ends or the
// user's deadline passes.
func (w *frameWriter) wait(ctx context.Context, t *ticket, revocable bool) (withdrawn bool, err error) {
	if err := w.awaitWake(ctx, t); err != nil {
		if left, withdrawn := w.leaveLine(t, revocable); left {
			return withdrawn, err
		}
		<-t.wake
	}
	if t.state == ticketFailed {
		return false, w.failure()
	}
	return false, nil
}

// awaitWake waits until t is woken, ctx ends, or the deadline passes that holds
// for t's owner.
func (w *frameWriter) awaitWake(ctx context.Context, t *ticket) error {
	if !t.ours {
		return w.guardWrites().await(ctx, t.wake, nil)
	}
	select {
	case <-t.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeOwn does for the owner of t what flush does, on little stack, if t's
// owner is the flusher, the socket takes all at once, and nothing came
// meanwhile. Otherwise it reports false, and flush must be called.
func (w *frameWriter) writeOwn(t *ticket) bool {
	if !t.flusher || w.nc.raw == nil || w.work.external != nil || w.cfg.Trace != nil {
		return false
	}
	w.written, w.wrote = 0, nil
	return w.ownWritten(w.nc.raw.Write(w.onWritable))
}

// ownWritten enters what writeOwn wrote, and reports whether that ends the
// flushing, or somebody else goes on with it.
func (w *frameWriter) ownWritten(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advanceLocked(w.written)
	if err != nil || w.work.off < w.work.size() {
		w.handLocked()
		return false
	}
	w.flushes++
	w.doneLocked()
	if w.pendingLocked() {
		w.loadLocked()
		w.handLocked()
		return w.promoteLocked()
	}
	w.restLocked()
	return true
}

// failure returns the error for frames that can no longer go out.
func (w *frameWriter) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// outLocked returns how far the data stream is on the network. The caller holds
// w.mu.
func (w *frameWriter) outLocked() int64 {
	if w.flushing == nil || w.work.head == nil {
		return w.sent
	}
	n := int64(max(w.work.off-w.work.dataStart, 0))
	return w.sent + min(n, w.work.span(w.final))
}

// reachedLocked reports whether what t waits for is on the network. A nil
// ticket waits for nothing. The caller holds w.mu.
func (w *frameWriter) reachedLocked(t *ticket) bool {
	if t == nil {
		return true
	}
	if t.final {
		return w.finished
	}
	return w.outLocked() >= t.end
}

// A duty is what a flusher has to do after a write.
type duty uint8

const (
	dutyOver duty = iota // nothing: another is the flusher, or nobody
	dutyLead             // write on
	dutyPass             // its own bytes are out, but others are left that nobody waits for
)

// lead writes until the bytes of t are out, and leaves the rest to somebody
// else.
func (w *frameWriter) lead(ctx context.Context, t *ticket, revocable bool) (withdrawn bool, err error) {
	for {
		n, interrupted, err := w.push(ctx, t)
		next, withdrawn, err := w.settle(t, n, interrupted, err, revocable)
		if next == dutyLead {
			continue
		}
		if next == dutyPass {
			w.passOn()
		}
		return withdrawn, err
	}
}

// flushNow makes what is pending leave without making the caller wait: what a
// socket does not take at once is written by a goroutine of its own.
func (w *frameWriter) flushNow() {
	if w.claim() {
		w.passOn()
	}
}

// passOn is what a flusher does that waits for nothing: it writes what the
// socket takes at once, and leaves the rest to who waits for it, or to a
// goroutine.
func (w *frameWriter) passOn() {
	for w.nc.raw != nil && w.work.external == nil {
		start, size := w.traceStart(), w.work.handed-w.work.off
		n, err := w.tryWrite()
		w.traceFlush(start, n, err)
		next, _, err := w.settle(nil, n, false, err, false)
		if err != nil {
			w.broken(err)
		}
		if next == dutyOver {
			return
		}
		if n < size {
			break
		}
	}
	go w.finishWork()
}

// advance enters n bytes of what was handed to a call, which is over, and wakes
// those who wait for them.
func (w *frameWriter) advance(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advanceLocked(n)
	if len(w.line) > 0 {
		w.line = slices.DeleteFunc(w.line, w.wakeLocked)
	}
}

// advanceLocked enters n bytes of what was handed to a call, which is over. The
// caller holds w.mu.
func (w *frameWriter) advanceLocked(n int) {
	w.work.off += n
	w.work.handed = w.work.off
	w.progress.Add(uint64(n))
	if w.tried != nil {
		close(w.tried)
		w.tried = nil
	}
}

// flushHeld makes what is held leave, before the caller waits for input. It
// never waits itself.
func (w *frameWriter) flushHeld() {
	w.mu.Lock()
	idle := w.urgent == nil && w.data == nil
	w.mu.Unlock()
	if !idle {
		w.flushNow()
	}
}

// flushLast lets what is held leave as far as the network takes it, before the
// net.Conn is closed. Where that cannot be done without waiting, the channel is
// closed when it has left; it is nil when there is nothing to wait for.
func (w *frameWriter) flushLast() <-chan struct{} {
	w.flushNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nc.raw != nil || !w.busy || !w.owed || w.dead {
		return nil
	}
	if w.quiet == nil {
		w.quiet = make(chan struct{})
	}
	return w.quiet
}

// closeSent reports whether the Close frame was handed to the network.
func (w *frameWriter) closeSent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finished
}

// closeLeaves returns a channel that is closed once the Close frame was handed
// to the network.
func (w *frameWriter) closeLeaves() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finalOut == nil {
		w.finalOut = make(chan struct{})
		if w.finished {
			close(w.finalOut)
		}
	}
	return w.finalOut
}

// left returns how many bytes have left. It changes also while a large message
// is under way.
func (w *frameWriter) left() uint64 { return w.progress.Load() }

// flushFinal waits until the Close frame is on the network.
func (w *frameWriter) flushFinal(ctx context.Context) error {
	w.mu.Lock()
	if w.dead || w.finished {
		defer w.mu.Unlock()
		if w.finished {
			return nil
		}
		return w.err
	}
	t := w.queueLocked(ticket{start: w.appended, end: w.appended, final: true, ours: true})
	w.mu.Unlock()
	_, err := w.flush(ctx, t, false)
	return err
}

// flushAll waits until all that was appended is on the network. With ours set,
// the connection does that for itself.
func (w *frameWriter) flushAll(ctx context.Context, ours bool) error {
	w.mu.Lock()
	if w.dead {
		defer w.mu.Unlock()
		return w.err
	}
	var t *ticket
	if w.busy || w.urgent != nil || w.data != nil {
		t = w.queueLocked(ticket{start: w.appended, end: w.appended, ours: ours})
	}
	w.mu.Unlock()
	_, err := w.flush(ctx, t, false)
	return err
}

// claim makes the caller the flusher if nobody is and something is pending.
func (w *frameWriter) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || w.dead || !w.pendingLocked() {
		return false
	}
	w.beginLocked()
	w.loadLocked()
	w.handLocked()
	return true
}

// finishWork is the flusher that nobody waits for. Only the timeout limits it.
func (w *frameWriter) finishWork() {
	for {
		n, _, err := w.push(context.Background(), nil)
		next, _, err := w.settle(nil, n, false, err, false)
		if err != nil {
			w.broken(err)
		}
		if next == dutyOver {
			return
		}
	}
}

// settle says what the flusher, whose ticket is t, has to do after push, which
// returned n, interrupted and err. If it was interrupted, its bytes are withdrawn
// if revocable is set and they have not begun to go out.
func (w *frameWriter) settle(t *ticket, n int, interrupted bool, err error, revocable bool) (next duty, withdrawn bool, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushes++
	w.advanceLocked(n)
	if err != nil && !interrupted {
		return dutyOver, false, w.breakLocked(err)
	}
	if w.dead {
		w.guard.ifMade().release()
		w.work.head.free()
		w.restLocked()
		return dutyOver, false, w.err
	}
	w.retireLocked()
	switch {
	case w.reachedLocked(t):
		err = nil
	case !interrupted:
		w.loadLocked()
		w.handLocked()
		return dutyLead, false, nil
	default:
		withdrawn = w.giveUpLocked(t, revocable)
	}
	if !w.loadLocked() {
		w.restLocked()
		return dutyOver, withdrawn, err
	}
	w.handLocked()
	if w.promoteLocked() {
		return dutyOver, withdrawn, err
	}
	return dutyPass, withdrawn, err
}

// retireLocked ends the work if all of it is on the network. The caller, who is
// the flusher, holds w.mu.
func (w *frameWriter) retireLocked() {
	if w.work.head != nil && w.work.off == w.work.size() {
		w.doneLocked()
	}
}

// doneLocked retires the work, which is on the network, and wakes those who
// waited for it. The caller holds w.mu.
func (w *frameWriter) doneLocked() {
	w.sent += w.work.span(w.final)
	if w.work.final && !w.finished {
		w.finished = true
		if w.finalOut != nil {
			close(w.finalOut)
		}
	}
	w.work.head.free()
	w.work = work{}
	if len(w.line) > 0 {
		w.line = slices.DeleteFunc(w.line, w.wakeLocked)
	}
}

// wakeLocked wakes the owner of t if what it waits for is on the network, and
// reports that. The caller holds w.mu.
func (w *frameWriter) wakeLocked(t *ticket) bool {
	if !w.reachedLocked(t) {
		return false
	}
	t.state = ticketDone
	t.wake <- struct{}{}
	return true
}

// promoteLocked makes the first in the line the flusher, if there is one and it
// may be. The caller holds w.mu.
func (w *frameWriter) promoteLocked() bool {
	if len(w.line) == 0 || w.delegate {
		return false
	}
	t := w.line[0]
	w.line = slices.Delete(w.line, 0, 1)
	t.state = ticketLeading
	t.wake <- struct{}{}
	return true
}

// breakLocked ends all writing because of err, and returns what those who
// wanted to write are told. The caller holds w.mu.
func (w *frameWriter) breakLocked(err error) error {
	w.dead, w.busy = true, false
	w.wakeQuietLocked()
	if w.err == nil {
		w.err = err
	}
	w.refuseLocked()
	return err
}

// refuseLocked tells those in the line that their bytes do not go out. The
// caller holds w.mu.
func (w *frameWriter) refuseLocked() {
	if w.flushing == nil {
		return
	}
	for _, t := range w.line {
		t.state = ticketFailed
		t.wake <- struct{}{}
	}
	clear(w.line)
	w.line = w.line[:0]
}
