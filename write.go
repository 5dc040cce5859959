package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A frameWriter is the one door out: all that a connection sends goes through
// it, in whole frames.
//
// Frames are appended to what is pending. Whoever appends and finds nobody
// flushing becomes the flusher: it loads all that is pending as the work,
// writes it outside the lock, and goes on until its own frame is out; then the
// next in the line takes over. The others wait. So writers that come together
// share a system call, and one alone pays exactly one.
//
//	append ──► data, external ──┐
//	control ─► urgent ──────────┼─► load ─► work ─► push ─► settle
//	finish ──► final ───────────┘
//
// Control frames overtake data that is not loaded yet. Replies may be held:
// while hold is set, append leaves small frames pending, to leave with those
// that follow, when flushNow is called, or when they have waited for too long.
//
// Data has offsets in one endless stream: what is pending ends at appended,
// what is on the network at sent.
type frameWriter struct {
	nc         net.Conn
	raw        syscall.RawConn // nil: push uses nc.Write
	onWritable func(fd uintptr) bool
	masked     bool          // frames leave masked: we are the client
	timeout    time.Duration // longest that one write may take
	holdFor    time.Duration // longest that frames are held; 0: never
	broken     func(error)   // told when a write fails that nobody waits for
	trace      *Trace
	guard      guard
	hold       atomic.Bool // replies may wait for more

	mu       sync.Mutex
	delegate bool    // goroutines of our own flush, whom nothing interrupts
	err      error   // why nothing more is accepted: the first error, or the end
	dead     bool    // the network failed: nothing more is written either
	busy     bool    // somebody flushes, and owns work
	urgent   *buffer // control frames
	lastPong *buffer // the latest Pong that found urgent full
	data     *buffer // data frames
	external []byte  // the last data frame's payload, if it is not in data
	final    []byte  // the Close frame, which comes last
	finished bool    // the Close frame is on the network
	appended int64
	sent     int64
	line     []*ticket // those who wait, in the order of their frames
	idle     []*ticket // used tickets, to use again
	own      ticket    // of a flusher that never had to wait

	work work

	holdTimer *time.Timer
	holdArmed bool
	heldSince instant

	vector *vector // nil until it is needed

	target  []byte // for onWritable: what to write, and what came of it
	written int
	wrote   error

	frames, messages, flushes, bytes uint64
}

// Sizes in bytes.
const (
	lendAbove = 16 << 10  // payloads from which on a server's are not copied
	holdBelow = 32 << 10  // payloads that are copied if that lets them be held
	maxHeld   = 256 << 10 // held frames that are flushed at once
	maxUrgent = 4 << 10   // waiting control frames from which on only the latest Pong is kept
)

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

// span returns how far the work reaches in the data stream.
func (k *work) span(finalSize int) int64 {
	n := k.size() - k.dataStart
	if k.final {
		n -= finalSize
	}
	return int64(n)
}

// A ticket is a place in the data stream that its owner waits for.
type ticket struct {
	start, end int64
	final      bool // waits for the Close frame
	state      ticketState
	wake       chan struct{} // holds one; sent to after state was set
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

// init makes w write to nc.
func (w *frameWriter) init(nc net.Conn, raw syscall.RawConn, r role, cfg *Config, broken func(error)) {
	w.nc, w.raw, w.masked, w.broken, w.trace = nc, raw, r == client, broken, cfg.Trace
	w.timeout, w.holdFor = cfg.WriteTimeout, cfg.HoldReplies
	w.guard.nc, w.guard.write, w.guard.keep = nc, true, raw == nil
	if raw != nil {
		// Called with the descriptor; see frameReader.ready.
		w.onWritable = func(fd uintptr) bool {
			w.written, w.wrote = writeNow(fd, w.target)
			return true
		}
	}
}

// neverInterrupt makes w safe for a net.Conn that breaks when a write is
// interrupted in the middle, as that of crypto/tls does: who gives up leaves,
// and the write goes on. It costs a goroutine for each flush.
func (w *frameWriter) neverInterrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delegate = w.raw == nil
}

// append adds a data frame whose first byte is given. The payload is copied,
// or, if it is long, can go out at once and its owner writes it, taken from
// where it is. The ticket must be passed to flush, until which the payload must
// not change. It is nil when there is nothing to wait for, because the frame is
// held.
func (w *frameWriter) append(first byte, payload []byte) (*ticket, error) {
	h, err := w.header(first, payload)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	size := headerSize(h) + len(payload)
	if w.maySendInPlaceLocked(len(payload)) {
		w.data = w.data.grown(maxHeaderSize)
		w.data.b = appendHeader(w.data.b, h)
		w.external = payload
	} else {
		// Not in appendFrame, because it would be deeper on the stack there.
		w.data = w.data.grown(size)
		w.data = appendFrame(w.data, h, payload)
	}
	w.count(h)
	return w.joinLocked(w.appended, size), nil
}

// maySendInPlaceLocked reports whether a payload of so many bytes is taken from
// where it is: because it is worth it, and its owner will write it and can
// copy what is left when it gives up. The caller holds w.mu.
func (w *frameWriter) maySendInPlaceLocked(size int) bool {
	return size >= lendAbove && !w.masked && !w.busy && !w.delegate &&
		(size >= holdBelow || !w.hold.Load())
}

// post adds a data frame, copied, without waiting. The caller must then see to
// it that it is flushed, unless held is true.
func (w *frameWriter) post(first byte, payload []byte) (held bool, err error) {
	h, err := w.header(first, payload)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false, w.err
	}
	w.data = appendFrame(w.data, h, payload)
	w.appended += int64(headerSize(h) + len(payload))
	w.count(h)
	return w.heldLocked(), nil
}

// flushing reports whether somebody flushes.
func (w *frameWriter) flushing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

// header returns the header of a frame with that first byte and payload, with
// a fresh masking key if frames leave masked. That there is none ends the
// connection: later messages may refer to the one that cannot leave.
func (w *frameWriter) header(first byte, payload []byte) (h header, err error) {
	h = header{first: first, masked: w.masked, length: int64(len(payload))}
	if w.masked {
		if h.key, err = newKey(); err != nil {
			w.broken(err)
		}
	}
	return h, err
}

// count enters a frame into the statistics. The caller holds w.mu.
func (w *frameWriter) count(h header) {
	w.frames++
	if h.fin() && !h.opcode().isControl() {
		w.messages++
	}
	if w.trace != nil && w.trace.FrameOut != nil {
		w.trace.FrameOut(frameTrace(h))
	}
}

// appendFrame appends a whole frame to b, masked with h.key if h says so. b may
// be nil.
func appendFrame(b *buffer, h header, payload []byte) *buffer {
	b = b.grown(headerSize(h) + len(payload))
	b.b = appendHeader(b.b, h)
	n := len(b.b)
	b.b = b.b[:n+len(payload)]
	if h.masked {
		maskCopy(b.b[n:], payload, h.key)
	} else {
		copy(b.b[n:], payload)
	}
	return b
}

// heldLocked decides whether what is pending waits for more. The caller holds
// w.mu.
func (w *frameWriter) heldLocked() bool {
	if !w.hold.Load() || w.busy || w.external != nil || w.holdFor == 0 || len(w.data.b) >= maxHeld {
		return false
	}
	if w.heldSince != 0 {
		return true
	}
	w.heldSince = now()
	if !w.holdArmed {
		w.holdArmed = true
		if w.holdTimer == nil {
			w.holdTimer = time.AfterFunc(w.holdFor, w.heldTooLong)
		} else {
			w.holdTimer.Reset(w.holdFor)
		}
	}
	return true
}

// heldTooLong is called by the timer, which is left to run when what was held
// has gone: it looks whether something else has been held for its time.
func (w *frameWriter) heldTooLong() {
	w.mu.Lock()
	if w.heldSince == 0 || w.dead {
		w.holdArmed = false
		w.mu.Unlock()
		return
	}
	if wait := w.heldSince.add(w.holdFor).until(); wait > 0 {
		w.holdTimer.Reset(wait)
		w.mu.Unlock()
		return
	}
	w.holdArmed = false
	w.mu.Unlock()
	w.flushNow()
}

// joinLocked enters size bytes that were appended at start. It makes their
// owner the flusher, or puts it in the line, and returns the ticket; or holds
// the bytes and returns nil. The caller holds w.mu.
func (w *frameWriter) joinLocked(start int64, size int) *ticket {
	w.appended = start + int64(size)
	if w.heldLocked() {
		return nil
	}
	if w.busy || w.urgent != nil || w.final != nil || w.work.head != nil {
		return w.queueLocked(ticket{start: start, end: w.appended})
	}
	w.heldSince = 0
	w.work.head, w.work.external = w.data, w.external
	w.data, w.external = nil, nil
	w.busy = true
	w.own = ticket{start: start, end: w.appended}
	return &w.own
}

// queueLocked gives t's owner its part in the flushing. The caller holds w.mu.
func (w *frameWriter) queueLocked(t ticket) *ticket {
	if !w.busy {
		if !w.loadLocked() {
			return nil
		}
		w.busy = true
		if !w.delegate {
			w.own = t
			return &w.own
		}
		go w.finishWork()
	}
	var waiting *ticket
	if n := len(w.idle); n > 0 {
		waiting, w.idle = w.idle[n-1], w.idle[:n-1]
	} else {
		waiting = &ticket{wake: make(chan struct{}, 1)}
	}
	t.wake = waiting.wake
	*waiting = t
	w.line = append(w.line, waiting)
	return waiting
}

// control adds a control frame, which overtakes all data that is not being
// written yet. It does not flush. Of Pongs that cannot leave because the peer
// does not read, only the latest is kept (RFC 6455, Section 5.5.3).
func (w *frameWriter) control(op opcode, payload []byte) error {
	h, err := w.header(bitFIN|byte(op), payload)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.count(h)
	if op == opPong && w.urgent != nil && len(w.urgent.b) > maxUrgent {
		w.lastPong.free()
		w.lastPong = appendFrame(nil, h, payload)
		return nil
	}
	w.urgent = appendFrame(w.urgent, h, payload)
	return nil
}

// finish adds the Close frame, after all data, and refuses everything that
// comes later with refusal. It reports whether it was the first to do so.
func (w *frameWriter) finish(payload []byte, refusal error) (bool, error) {
	h, err := w.header(bitFIN|byte(opClose), payload)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false, nil
	}
	w.err = refusal
	frame := appendFrame(nil, h, payload)
	w.final = append([]byte(nil), frame.b...)
	frame.free()
	w.count(h)
	return true, nil
}

// loadLocked makes all that is pending the work, unless there is some left
// from before, and reports whether there is any. The caller holds w.mu and is,
// or is about to be, the flusher.
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
	w.work = work{head: head, dataStart: dataStart, external: w.external}
	w.data, w.external = nil, nil
	if w.final != nil && !w.finished && w.work.external == nil {
		w.work.head = w.work.head.grown(len(w.final))
		w.work.head.b = append(w.work.head.b, w.final...)
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
	if t == &w.own {
		return w.lead(ctx, t, revocable)
	}
	err := w.wait(ctx, t, revocable)
	if t.state == ticketLeading {
		err = w.lead(ctx, t, revocable)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) < maxIdleTickets {
		w.idle = append(w.idle, t)
	}
	return err
}

// wait stands in the line until t is woken, or leaves it when ctx ends or the
// user's deadline passes.
func (w *frameWriter) wait(ctx context.Context, t *ticket, revocable bool) error {
	if err := w.guard.await(ctx, t.wake, nil); err != nil {
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

// writeOwn does for the owner of t what flush does, on little stack, if t's
// owner is the flusher, the socket takes all at once, and nothing came
// meanwhile. Otherwise it reports false, and flush must be called.
func (w *frameWriter) writeOwn(t *ticket) bool {
	if t != &w.own || w.raw == nil || w.work.external != nil || w.trace != nil {
		return false
	}
	w.target, w.written = w.work.head.b[w.work.off:], 0
	err := w.raw.Write(w.onWritable)
	w.target = nil
	return w.ownWritten(err)
}

// ownWritten enters what writeOwn wrote, and reports whether that ends the
// flushing.
func (w *frameWriter) ownWritten(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.work.off += w.written
	w.bytes += uint64(w.written)
	if err != nil || w.work.off < w.work.size() {
		return false
	}
	w.flushes++
	w.doneLocked()
	w.busy = w.pendingLocked()
	if w.busy {
		w.loadLocked()
	}
	return !w.busy
}

// pendingLocked reports whether anything waits to be loaded. The caller holds
// w.mu.
func (w *frameWriter) pendingLocked() bool {
	return w.data != nil || w.urgent != nil || w.final != nil && !w.finished
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
	n := len(w.external)
	if w.data != nil {
		n += len(w.data.b)
	}
	return w.appended - int64(n)
}

// forgetLocked takes the bytes of t, which were cut out, from the data stream.
// The caller holds w.mu.
func (w *frameWriter) forgetLocked(t *ticket) {
	size := t.end - t.start
	w.appended -= size
	for _, later := range w.line {
		if later.start >= t.end {
			later.start -= size
			later.end -= size
		}
	}
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
	for {
		n, interrupted, err := w.push(ctx, false)
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
	for w.raw != nil && w.work.external == nil {
		start := w.traceStart()
		n, err := w.tryWrite(w.work.head.b[w.work.off:])
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
	w.bytes += uint64(n)
}

// flushHeld makes what is held leave, before the caller waits for input. It
// waits for a net.Conn that cannot be written without waiting, as Write does.
func (w *frameWriter) flushHeld(ctx context.Context) {
	w.mu.Lock()
	idle := w.urgent == nil && w.data == nil
	inline := w.raw == nil && w.data != nil && !w.delegate
	w.mu.Unlock()
	if idle {
		return
	}
	if !inline {
		w.flushNow()
		return
	}
	if w.claim() {
		if err := w.lead(ctx, nil, false); err != nil {
			w.broken(err)
		}
	}
}

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
	t := w.queueLocked(ticket{start: w.appended, end: w.appended, final: true})
	w.mu.Unlock()
	return w.flush(ctx, t, false)
}

// flushAll waits until all that was appended is on the network.
func (w *frameWriter) flushAll(ctx context.Context) error {
	w.mu.Lock()
	if w.dead {
		defer w.mu.Unlock()
		return w.err
	}
	var t *ticket
	if w.busy || w.urgent != nil || w.data != nil {
		t = w.queueLocked(ticket{start: w.appended, end: w.appended})
	}
	w.mu.Unlock()
	return w.flush(ctx, t, false)
}

// claim makes the caller the flusher if nobody is and something is pending.
func (w *frameWriter) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || w.dead || !w.loadLocked() {
		return false
	}
	w.busy = true
	return true
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
// the timeout.
func (w *frameWriter) push(ctx context.Context, own bool) (n int, interrupted bool, err error) {
	start := w.traceStart()
	if w.raw != nil && w.work.external == nil && !own {
		n, err = w.tryWrite(w.work.head.b[w.work.off:])
		if err != nil || w.work.off+n == w.work.size() {
			w.traceFlush(start, n, err)
			return n, false, err
		}
	}
	var yield func() bool
	if own {
		yield = never
	}
	limit := now().add(w.timeout)
	if err := w.guard.arm(ctx, limit, yield); err != nil {
		return n, true, err
	}
	m, err := w.writeRest(w.work.off + n)
	interrupted = w.guard.disarm()
	n += m
	w.traceFlush(start, n, err)
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, false, err
	}
	if interrupted {
		return n, true, ctx.Err()
	}
	return n, !own && limit.until() > 0, err
}

// never is the yield function of calls that nothing interrupts.
func never() bool { return false }

// tryWrite writes what the socket takes without waiting.
func (w *frameWriter) tryWrite(p []byte) (int, error) {
	w.target, w.written, w.wrote = p, 0, nil
	err := w.raw.Write(w.onWritable)
	w.target = nil
	if err == nil {
		err = w.wrote
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return w.written, err
}

// writeRest writes the work from off on and waits as long as it takes.
func (w *frameWriter) writeRest(off int) (int, error) {
	head := w.work.head.b
	if w.work.external == nil {
		return writeConn(w.nc, head[off:])
	}
	if off >= len(head) {
		return writeConn(w.nc, w.work.external[off-len(head):])
	}
	if w.vector == nil {
		w.vector = new(vector)
	}
	return w.vector.write(w.nc, head[off:], w.work.external)
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
	w.bytes += uint64(n)
	w.work.off += n
	if err != nil && !interrupted {
		return false, w.breakLocked(err)
	}
	if w.dead {
		w.busy = false
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
		w.busy = false
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
	w.sent += w.work.span(len(w.final))
	w.finished = w.finished || w.work.final
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
	if w.err == nil {
		w.err = err
	}
	for _, t := range w.line {
		t.state = ticketFailed
		t.wake <- struct{}{}
	}
	w.line = nil
	return err
}

// fail makes err the answer to all who want to write, from now on. With drop
// set, nothing that waits is written any more either.
func (w *frameWriter) fail(err error, drop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	if drop && !w.dead {
		w.dead = true
		for _, t := range w.line {
			t.state = ticketFailed
			t.wake <- struct{}{}
		}
		w.line = nil
	}
}

// close gives the buffers back, once the network is closed. Work that somebody
// is still writing is left to the garbage collector.
func (w *frameWriter) close() {
	w.guard.release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	if !w.busy && w.work.head != nil {
		w.work.head.free()
		w.work = work{}
	}
	w.urgent.free()
	w.lastPong.free()
	w.data.free()
	w.urgent, w.lastPong, w.data, w.external, w.idle = nil, nil, nil, nil, nil
	if w.holdTimer != nil {
		w.holdTimer.Stop()
	}
}

// alive reports whether the network has not failed.
func (w *frameWriter) alive() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.dead
}

// traceStart returns the time if flushes are traced.
func (w *frameWriter) traceStart() time.Time {
	if w.trace == nil || w.trace.Flush == nil {
		return time.Time{}
	}
	return time.Now()
}

// traceFlush tells the trace of a write.
func (w *frameWriter) traceFlush(start time.Time, n int, err error) {
	if w.trace != nil && w.trace.Flush != nil {
		w.trace.Flush(FlushTrace{Bytes: n, Duration: time.Since(start), Err: err})
	}
}

// frameTrace describes h for a Trace.
func frameTrace(h header) FrameTrace {
	return FrameTrace{
		Opcode:     byte(h.opcode()),
		FIN:        h.fin(),
		Compressed: h.first&bitRSV1 != 0,
		Length:     h.length,
	}
}
