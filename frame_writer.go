package websocket

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
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
//	append ──► data ────┐
//	control ─► urgent ──┼─► load ─► work ─► push ─► settle
//	finish ──► final ───┘
//
// Control frames overtake data that is not loaded yet. Replies may be held:
// while hold is set, append leaves small frames pending, to leave with those
// that follow, when flushNow is called, or when they have waited for too long.
//
// Data has offsets in one endless stream: what is pending ends at appended,
// what is on the network at sent.
type frameWriter struct {
	writerSetup
	deadlines lazyDeadlines
	cork      cork

	mu          sync.Mutex // guards what follows, but not active.work while it is written
	mode        writeMode
	busy        bool // somebody flushes
	pending     pending
	offsets     offsets
	end         writeEnd
	active      *flushState // the flusher's; nil while nobody flushes
	freeTickets *ticket     // used ones, to use again
	counts      writeCounts
}

// writerSetup is what init sets, for good.
type writerSetup struct {
	nc         *socket
	cfg        *Config
	onFailure  func(error)           // told when a write fails that nobody waits for
	onWritable func(fd uintptr) bool // writes to a raw socket; nil on any other net.Conn
}

// A writeMode says what the net.Conn, or its user, can bear.
type writeMode struct {
	masked    bool // we are the client
	breaks    bool // an interrupted write breaks the net.Conn: TLS
	delegated bool // goroutines of our own flush, which nothing interrupts
	patient   bool // no write times out where keepalive finds a peer that is gone
}

// pending are the frames that were added and not loaded, in the order in which
// they are loaded. Buffers without bytes are nil.
type pending struct {
	control    *buffer
	lastPong   *buffer // the latest Pong that found control full
	data       *buffer
	closeFrame *buffer // stays when it has been loaded
}

// offsets count the bytes of data frames, in one endless stream.
type offsets struct {
	appended int64 // where pending.data ends
	sent     int64 // where the work begins
	doubtful int64 // start of the last compressed frame that may be withdrawn, plus 1; 0: there is none
}

// A writeEnd says what can still be written.
type writeEnd struct {
	refusal     error         // why no more frames are accepted: the first error, or the end
	broken      bool          // the network failed: nothing is written either
	closeSent   bool          // the Close frame is on the network
	closeSentCh chan struct{} // closed when closeSent is set; nil if nobody waits
}

// A cork holds small replies back, like TCP_CORK, so that they leave with those
// that follow. Only on may be used without frameWriter.mu.
type cork struct {
	on       atomic.Bool // more whole messages wait to be read
	reported bool        // something was held back, and its writer told that it is written
	timerSet bool        // timer runs
	since    instant     // when the first frame was held back; 0: none is
	timer    *time.Timer
}

// writeCounts are the counters of Stats for what leaves.
type writeCounts struct {
	frames, messages, flushes uint64
	bytes                     atomic.Uint64 // that have left; may be read without frameWriter.mu
}

// Sizes in bytes.
const (
	inPlaceFrom       = 16 << 10  // payloads from which on a server's are not copied
	joinBelow         = 64 << 10  // payloads that are copied if they are held, or if that leaves one piece to write
	maxCorked         = 256 << 10 // held frames that are flushed at once
	maxPendingControl = 4 << 10   // waiting control frames from which on only the latest Pong is kept
)

// init makes w write to nc.
func (w *frameWriter) init(nc *socket, r role, cfg *Config, broken func(error)) {
	w.nc, w.mode.masked, w.onFailure, w.cfg = nc, r == client, broken, cfg
	_, w.mode.breaks = nc.Conn.(*tls.Conn)
	if nc.raw != nil {
		// Called with the descriptor; see frameReader.ready.
		w.onWritable = func(fd uintptr) bool {
			if w.active.raw.wait {
				return w.writeReady(fd)
			}
			w.active.raw.written, w.active.raw.err = writeNow(fd, w.active.work.rest())
			return true
		}
	}
}

// guardWrites returns the guard of what is written.
func (w *frameWriter) writeDeadlines() *deadlines { return w.deadlines.ensure(w.nc, forWriting) }

// neverInterrupt makes w safe for a net.Conn that breaks when a write is
// interrupted in the middle, as that of crypto/tls does: who gives up leaves,
// and the write goes on. It costs a goroutine for each flush.
func (w *frameWriter) delegateFlushes() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode.delegated = w.nc.raw == nil
	w.mode.patient = true
}

// append adds a data frame whose first byte is given. The payload is copied,
// or, if it is long, can go out at once and its owner writes it, taken from
// where it is. The ticket must be passed to flush, until which the payload must
// not change. It is nil when there is nothing to wait for, because the frame is
// held.
func (w *frameWriter) addData(first byte, payload []byte) (*ticket, error) {
	h, err := w.newHeader(first, payload)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end.refusal != nil {
		return nil, w.end.refusal
	}
	if w.maySendInPlaceLocked(len(payload)) {
		return w.addInPlaceLocked(h, payload), nil
	}
	// Room is made here because it would be deeper on the stack in appendFrame.
	size := headerSize(h) + len(payload)
	w.pending.data = w.pending.data.grow(size)
	w.pending.data = appendFrame(w.pending.data, h, payload)
	w.countLocked(h)
	return w.joinLocked(w.offsets.appended, size, first), nil
}

// appendInPlaceLocked is append for a payload that is taken from where it is.
// The caller holds w.mu.
func (w *frameWriter) addInPlaceLocked(h header, payload []byte) *ticket {
	w.pending.data = w.pending.data.grow(maxHeaderSize)
	w.pending.data.b = appendHeader(w.pending.data.b, h)
	w.countLocked(h)
	start := w.offsets.appended
	w.offsets.appended += int64(headerSize(h) + len(payload))
	if h.byte0&bitRSV1 != 0 {
		w.offsets.doubtful = start + 1
	}
	t := w.queueLocked(ticket{start: start, end: w.offsets.appended, byte0: h.byte0})
	w.active.work.external = payload
	w.active.work.handed = w.active.work.off // to a call that waits, which has not begun
	return t
}

// maySendInPlaceLocked reports whether a payload of so many bytes is taken from
// where it is: because it is worth it, and its owner will write it and can
// copy what is left when it gives up. The caller holds w.mu.
func (w *frameWriter) maySendInPlaceLocked(size int) bool {
	return size >= inPlaceFrom && !w.mode.masked && !w.busy && !w.mode.delegated &&
		(size >= joinBelow || w.pending.data != nil && !w.cork.on.Load())
}

// post adds a data frame, copied, without waiting. The caller must then see to
// it that it is flushed, unless held is true.
func (w *frameWriter) postData(first byte, payload []byte) (held bool, err error) {
	h, err := w.newHeader(first, payload)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end.refusal != nil {
		return false, w.end.refusal
	}
	w.pending.data = appendFrame(w.pending.data, h, payload)
	w.offsets.appended += int64(headerSize(h) + len(payload))
	w.countLocked(h)
	return w.corkLocked(), nil
}

// isBusy reports whether somebody flushes.
func (w *frameWriter) isBusy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

// header returns the header of a frame with that first byte and payload, with
// a fresh masking key if frames leave masked. That there is none ends the
// connection: later messages may refer to the one that cannot leave.
func (w *frameWriter) newHeader(first byte, payload []byte) (h header, err error) {
	h = header{byte0: first, masked: w.mode.masked, length: int64(len(payload))}
	if w.mode.masked {
		if h.key, err = newKey(); err != nil {
			w.onFailure(err)
		}
	}
	return h, err
}

// count enters a frame into the statistics. The caller holds w.mu.
func (w *frameWriter) countLocked(h header) {
	w.counts.frames++
	if h.fin() && !h.opcode().isControl() {
		w.counts.messages++
	}
	if t := w.cfg.Trace; t != nil && t.FrameOut != nil {
		t.FrameOut(frameTrace(h))
	}
}

// appendFrame appends a whole frame to b, masked with h.key if h says so. b may
// be nil.
func appendFrame(b *buffer, h header, payload []byte) *buffer {
	b = b.grow(headerSize(h) + len(payload))
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
func (w *frameWriter) corkLocked() bool {
	if !w.cork.on.Load() || w.busy || w.cfg.HoldReplies == 0 || len(w.pending.data.b) >= maxCorked {
		return false
	}
	w.cork.reported = true
	if w.cork.since != 0 {
		return true
	}
	w.cork.since = now()
	if !w.cork.timerSet {
		w.cork.timerSet = true
		if w.cork.timer == nil {
			w.cork.timer = time.AfterFunc(w.cfg.HoldReplies, w.onCorkTimer)
		} else {
			w.cork.timer.Reset(w.cfg.HoldReplies)
		}
	}
	return true
}

// heldTooLong is called by the timer, which is left to run when what was held
// has gone: it looks whether something else has been held for its time.
func (w *frameWriter) onCorkTimer() {
	w.mu.Lock()
	if w.cork.since == 0 || w.end.broken {
		w.cork.timerSet = false
		w.mu.Unlock()
		return
	}
	if wait := w.cork.since.add(w.cfg.HoldReplies).until(); wait > 0 {
		w.cork.timer.Reset(wait)
		w.mu.Unlock()
		return
	}
	w.cork.timerSet = false
	w.mu.Unlock()
	w.flushNow()
}

// control adds a control frame, which overtakes all data that is not being
// written yet. It does not flush. Of Pongs that cannot leave because the peer
// does not read, only the latest is kept (RFC 6455, Section 5.5.3).
func (w *frameWriter) addControl(op opcode, payload []byte) error {
	h, err := w.newHeader(bitFIN|byte(op), payload)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end.refusal != nil {
		return w.end.refusal
	}
	w.countLocked(h)
	if op == opPong && w.pending.control != nil && len(w.pending.control.b) > maxPendingControl {
		w.pending.lastPong.free()
		w.pending.lastPong = appendFrame(nil, h, payload)
		return nil
	}
	w.pending.control = appendFrame(w.pending.control, h, payload)
	return nil
}

// finish adds the Close frame, after all data, and refuses everything that
// comes later with refusal. It reports whether it was the first to do so.
func (w *frameWriter) addClose(payload []byte, refusal error) (bool, error) {
	h, err := w.newHeader(bitFIN|byte(opClose), payload)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end.refusal != nil {
		return false, nil
	}
	w.end.refusal = refusal
	w.pending.closeFrame = appendFrame(nil, h, payload)
	w.countLocked(h)
	return true, nil
}

// An unsent says what becomes of frames that have not left when a connection
// ends.
type unsent uint8

const (
	sendUnsent unsent = iota
	dropUnsent
)

// refuseAll makes err the answer to every later frame. Those that were accepted
// leave or are dropped, as rest says.
func (w *frameWriter) refuseAll(err error, rest unsent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end.refusal = err
	if rest == dropUnsent && !w.end.broken {
		w.end.broken = true
		w.failWaitersLocked()
	}
}

// close gives the buffers back, once the network is closed. Work that somebody
// is still writing is left to the garbage collector.
func (w *frameWriter) freeBuffers() {
	w.deadlines.load().unfollow()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end.broken = true
	if w.end.refusal == nil {
		w.end.refusal = net.ErrClosed
	}
	w.failWaitersLocked()
	if !w.busy && w.active != nil {
		w.active.work.head.free()
		w.stopFlushingLocked()
	}
	w.pending.control.free()
	w.pending.lastPong.free()
	w.pending.data.free()
	w.pending.control, w.pending.lastPong, w.pending.data, w.freeTickets = nil, nil, nil, nil
	if w.cork.timer != nil {
		w.cork.timer.Stop()
	}
}

// alive reports whether the network has not failed.
func (w *frameWriter) isAlive() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.end.broken
}

// frameTrace describes h for a Trace.
func frameTrace(h header) FrameTrace {
	return FrameTrace{
		Opcode:     byte(h.opcode()),
		FIN:        h.fin(),
		Compressed: h.byte0&bitRSV1 != 0,
		Length:     h.length,
	}
}
