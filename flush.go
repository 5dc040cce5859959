package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
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

// work is what the flusher writes: head, then external. off counts what is
// on the network. Of head, the data stream begins at dataStart.
type work struct {
	head      *buffer
	dataStart int
	external  []byte
	off       int
	final     bool // the Close frame is at the end of head
}

// size returns the number of bytes of the work.
func (k *work) size() int { return len(k.head.b) + len(k.external) }

// rest returns what of the work can be written next in one piece.
func (k *work) rest() []byte {
	if k.off < len(k.head.b) {
		return k.head.b[k.off:]
	}
	return k.external[k.off-len(k.head.b):]
}

// span returns how far the work reaches in the data stream.
func (k *work) span(final *buffer) int64 {
	n := k.size() - k.dataStart
	if k.final {
		n -= len(final.b)
	}
	return int64(n)
}

// A ticket is a place in the data stream that its owner waits for.
type ticket struct {
	start, end int64
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

// joinLocked enters size bytes that were appended at start. It makes their
// owner the flusher, or puts it in the line, and returns the ticket; or holds
// the bytes and returns nil. The caller holds w.mu.
func (w *frameWriter) joinLocked(start int64, size int) *ticket {
	w.appended = start + int64(size)
	if w.heldLocked() {
		return nil
	}
	if w.busy || w.urgent != nil || w.delegate {
		return w.queueLocked(ticket{start: start, end: w.appended})
	}
	// As queueLocked does, on less stack.
	w.beginLocked()
	w.heldSince = 0
	w.work.head, w.data = w.data, nil
	w.own = ticket{start: start, end: w.appended, flusher: true}
	return &w.own
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
// begun to go out are withdrawn, if revocable says that no later ones build on
// them; others are finished by somebody else. Then flush returns the reason
// and the connection lives on. t must not be used afterwards.
func (w *frameWriter) flush(ctx context.Context, t *ticket, revocable bool) error {
	if t == nil {
		return nil
	}
	if t.flusher {
		return w.lead(ctx, t, revocable)
	}
	err := w.wait(ctx, t, revocable)
	if t.state == ticketLeading {
		err = w.lead(ctx, t, revocable)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idles < maxIdleTickets {
		t.next, w.idle = w.idle, t
		w.idles++
	}
	return err
}

// wait stands in the line until t is woken, or leaves it when ctx ends or the
// user's deadline passes.
func (w *frameWriter) wait(ctx context.Context, t *ticket, revocable bool) error {
	if err := w.awaitWake(ctx, t); err != nil {
		if w.leaveLine(t, revocable) {
			return err
		}
		<-t.wake
	}
	if t.state == ticketFailed {
		return w.failure()
	}
	return nil
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
	w.written = 0
	return w.ownWritten(w.nc.raw.Write(w.onWritable))
}

// ownWritten enters what writeOwn wrote, and reports whether that ends the
// flushing.
func (w *frameWriter) ownWritten(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.work.off += w.written
	w.progress.Add(uint64(w.written))
	if err != nil || w.work.off < w.work.size() {
		return false
	}
	w.flushes++
	w.doneLocked()
	if w.pendingLocked() {
		w.loadLocked()
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

// leaveLine takes t out of the line, unless it has been woken. Its bytes are
// withdrawn unless they are being written.
func (w *frameWriter) leaveLine(t *ticket, revocable bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flushing == nil {
		return false
	}
	i := slices.Index(w.line, t)
	if i < 0 {
		return false
	}
	w.line = slices.Delete(w.line, i, i+1)
	t.state = ticketDone
	if at := t.start - w.pendingStartLocked(); revocable && at >= 0 {
		w.data = cutOut(w.data, int(at), int(t.end-t.start))
		w.forgetLocked(t)
	}
	return true
}

// pendingStartLocked returns where in the data stream the pending bytes begin.
// The caller holds w.mu.
func (w *frameWriter) pendingStartLocked() int64 {
	n := 0
	if w.data != nil {
		n = len(w.data.b)
	}
	return w.appended - int64(n)
}

// forgetLocked takes the bytes of t, which were cut out, from the data stream.
// Some may have waited for nothing else. The caller holds w.mu.
func (w *frameWriter) forgetLocked(t *ticket) {
	size := t.end - t.start
	w.appended -= size
	for _, later := range w.line {
		if later.start >= t.end {
			later.start -= size
			later.end -= size
		}
	}
	w.line = slices.DeleteFunc(w.line, w.wakeLocked)
}

// cutOut removes up to n bytes at the given place from b. A buffer without
// bytes is given back.
func cutOut(b *buffer, at, n int) *buffer {
	b.b = slices.Delete(b.b, at, min(at+n, len(b.b)))
	if len(b.b) > 0 {
		return b
	}
	b.free()
	return nil
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
	return w.sent >= t.end
}

// lead writes until the bytes of t are out and somebody else is the flusher,
// or nothing is left to write.
func (w *frameWriter) lead(ctx context.Context, t *ticket, revocable bool) error {
	ours := t == nil || t.ours
	for {
		n, interrupted, err := w.push(ctx, ours)
		more, err := w.settle(t, n, interrupted, err, revocable)
		if !more {
			return err
		}
	}
}

// flushNow makes what is pending leave without making the caller wait: what a
// socket does not take at once is written by a goroutine of its own.
func (w *frameWriter) flushNow() {
	if !w.claim() {
		return
	}
	for w.nc.raw != nil && w.work.external == nil {
		start := w.traceStart()
		n, err := w.tryWrite()
		w.traceFlush(start, n, err)
		if err == nil && w.work.off+n < w.work.size() {
			w.advance(n)
			break
		}
		more, err := w.settle(nil, n, false, err, false)
		if err != nil {
			w.broken(err)
		}
		if !more {
			return
		}
	}
	go w.finishWork()
}

// advance enters n written bytes of work that goes on.
func (w *frameWriter) advance(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.work.off += n
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
	return w.flush(ctx, t, false)
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
	return w.flush(ctx, t, false)
}

// claim makes the caller the flusher if nobody is and something is pending.
func (w *frameWriter) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || w.dead || !w.pendingLocked() {
		return false
	}
	w.beginLocked()
	return w.loadLocked()
}

// finishWork is the flusher that nobody waits for. Only the timeout limits it.
func (w *frameWriter) finishWork() {
	for {
		n, _, err := w.push(context.Background(), true)
		more, err := w.settle(nil, n, false, err, false)
		if err != nil {
			w.broken(err)
		}
		if !more {
			return
		}
	}
}

// push writes the work, as far as it goes. interrupted means that the error is
// the caller's, not the network's. With own set, nobody's deadline applies but
// the timeout, which begins anew whenever bytes have left.
func (w *frameWriter) push(ctx context.Context, own bool) (n int, interrupted bool, err error) {
	start := w.traceStart()
	defer func() { w.traceFlush(start, n, err) }()
	if w.nc.raw != nil && w.work.external == nil {
		n, err = w.tryWrite()
	}
	for err == nil && w.work.off+n < w.work.size() {
		var m int
		m, interrupted, err = w.pushSome(ctx, own, w.work.off+n)
		n += m
	}
	return n, interrupted, err
}

// pushSome writes some of the work from off on, and waits until it is taken.
func (w *frameWriter) pushSome(ctx context.Context, own bool, off int) (n int, interrupted bool, err error) {
	var yield func() bool
	if own {
		yield = never
	}
	limit := w.limit()
	if err := w.guardWrites().arm(ctx, limit, yield); err != nil {
		return 0, err == ctx.Err() || err == os.ErrDeadlineExceeded, err
	}
	n, err = w.writeSome(off)
	fired := w.guard.ifMade().disarm()
	w.progress.Add(uint64(n))
	bare := fired && w.guard.ifMade().emulates()
	if err == nil || !bare && !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, false, err
	}
	late := limit != 0 && limit.until() <= 0
	switch {
	case late && !(fired && ctx.Err() != nil):
		return n, false, &writeTimeout{w.cfg.WriteTimeout, err}
	case w.fragile || bare:
		return n, false, interruption(ctx, err)
	case fired:
		return n, true, ctx.Err()
	}
	return n, !own, err
}

// interruption returns why a call was interrupted that ended with err, on a
// net.Conn that does not survive that.
func interruption(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
}

// A writeTimeout ends a connection whose peer takes nothing.
type writeTimeout struct {
	after time.Duration
	err   error // of the net.Conn
}

// Error names Config.WriteTimeout.
func (e *writeTimeout) Error() string {
	return fmt.Sprintf("websocket: the peer took nothing for %v (Config.WriteTimeout): %v", e.after, e.err)
}

// Is reports whether target is os.ErrDeadlineExceeded.
func (e *writeTimeout) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Unwrap returns the error of the net.Conn.
func (e *writeTimeout) Unwrap() error { return e.err }

// Timeout is that of net.Error.
func (e *writeTimeout) Timeout() bool { return true }

// Temporary is that of net.Error.
func (e *writeTimeout) Temporary() bool { return false }

// limit returns when a write that begins now has taken too long; 0 is never.
func (w *frameWriter) limit() instant {
	if w.cfg.WriteTimeout <= 0 || w.patient && w.cfg.PingInterval > 0 {
		return 0
	}
	return now().add(w.cfg.WriteTimeout)
}

// never is the yield function of calls that nothing interrupts.
func never() bool { return false }

// tryWrite writes what the socket takes of the work, up to the end of a piece,
// without waiting.
func (w *frameWriter) tryWrite() (int, error) {
	n, err := w.writeRaw()
	w.progress.Add(uint64(n))
	return n, err
}

// writeRaw writes to the socket by onWritable.
func (w *frameWriter) writeRaw() (int, error) {
	w.written, w.wrote = 0, nil
	err := w.nc.raw.Write(w.onWritable)
	if err == nil {
		err = w.wrote
	} else if errors.Is(err, os.ErrDeadlineExceeded) && !w.await {
		err = nil
	}
	return w.written, err
}

// Sizes in bytes of what is handed to a net.Conn at once, where it does not say
// how much of that it has taken before it has taken all: the timeout begins anew
// for each piece.
const (
	maxPiece       = 32 << 10
	maxVectorPiece = 128 << 10 // of a payload, beside a frame header
)

// writeSome writes some of the work from off on: what the socket takes once it
// takes something, or one piece.
func (w *frameWriter) writeSome(off int) (int, error) {
	head, external := w.work.head.b, w.work.external
	switch {
	case w.nc.raw != nil && (external == nil || off >= len(head)):
		return w.writeAwaited(off)
	case w.nc.raw != nil:
		return w.vector.write(w.nc.Conn, head[off:], external[:min(len(external), maxVectorPiece)])
	}
	rest := external
	if off < len(head) {
		rest = head[off:]
	} else {
		rest = rest[off-len(head):]
	}
	return writeConn(w.nc, rest[:min(len(rest), maxPiece)])
}

// writeAwaited waits until the socket takes something of the work from off on.
func (w *frameWriter) writeAwaited(off int) (int, error) {
	before := w.work.off
	w.work.off, w.await = off, true
	defer func() { w.work.off, w.await = before, false }()
	return w.writeRaw()
}

// A vector is memory for writing two slices in one system call.
type vector struct {
	slices  [2][]byte
	buffers net.Buffers
}

// write writes a and b to nc.
func (v *vector) write(nc net.Conn, a, b []byte) (int, error) {
	v.slices = [2][]byte{a, b}
	v.buffers = v.slices[:]
	n, err := v.buffers.WriteTo(nc)
	if err == nil && int(n) != len(a)+len(b) {
		err = io.ErrShortWrite
	}
	v.slices = [2][]byte{}
	return int(n), err
}

// writeConn writes p to nc and does not trust the count it returns.
func writeConn(nc net.Conn, p []byte) (int, error) {
	n, err := nc.Write(p)
	switch {
	case n < 0 || n > len(p):
		return 0, errors.New("websocket: net.Conn returned an invalid count from Write")
	case n < len(p) && err == nil:
		return n, io.ErrShortWrite
	case n == len(p):
		return n, nil
	}
	return n, err
}

// settle enters n written bytes of the work, wakes those whose bytes are out,
// and decides who goes on: more is true if it is the caller, whose ticket is
// t. err is what push returned.
func (w *frameWriter) settle(t *ticket, n int, interrupted bool, err error, revocable bool) (more bool, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushes++
	w.work.off += n
	if err != nil && !interrupted {
		return false, w.breakLocked(err)
	}
	if w.dead {
		w.guard.ifMade().release()
		w.work.head.free()
		w.restLocked()
		return false, w.err
	}
	if w.work.off == w.work.size() {
		w.doneLocked()
	}
	switch reached := w.reachedLocked(t); {
	case reached:
		err = nil
	case interrupted:
		w.withdrawLocked(t, revocable)
	default:
		w.loadLocked()
		return true, nil
	}
	switch {
	case !w.loadLocked():
		w.restLocked()
	case w.promoteLocked():
	case interrupted:
		go w.finishWork()
	default:
		return true, nil
	}
	return false, err
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

// withdrawLocked takes back the bytes of t, whose owner was the flusher and
// gave up. If they have begun to go out, they become independent of memory
// that was lent. The caller holds w.mu.
func (w *frameWriter) withdrawLocked(t *ticket, revocable bool) {
	if pending := w.pendingStartLocked(); t.start >= pending {
		if revocable && t.end > t.start {
			w.data = cutOut(w.data, int(t.start-pending), int(t.end-t.start))
			w.forgetLocked(t)
		}
		return
	}
	at := w.work.dataStart + int(t.start-w.sent)
	if !revocable || t.end == t.start || w.work.off > at {
		w.work.takeOver()
		return
	}
	w.work.external = nil
	w.work.head = cutOut(w.work.head, at, int(t.end-t.start))
	w.forgetLocked(t)
	if w.work.head == nil {
		w.work = work{}
	} else if w.work.off == w.work.size() {
		w.doneLocked()
	}
}

// takeOver copies an external payload into the head.
func (k *work) takeOver() {
	if k.external == nil {
		return
	}
	k.head = k.head.grown(len(k.external))
	k.head.b = append(k.head.b, k.external...)
	k.external = nil
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

// traceStart returns the time if flushes are traced.
func (w *frameWriter) traceStart() time.Time {
	if t := w.cfg.Trace; t == nil || t.Flush == nil {
		return time.Time{}
	}
	return time.Now()
}

// traceFlush tells the trace of a write.
func (w *frameWriter) traceFlush(start time.Time, n int, err error) {
	if t := w.cfg.Trace; t != nil && t.Flush != nil {
		t.Flush(FlushTrace{Bytes: n, Duration: time.Since(start), Err: err})
	}
}
