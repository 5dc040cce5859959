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
	nc         *socket // push uses its Write unless it is raw
	onWritable func(fd uintptr) bool
	cfg        *Config
	broken     func(error) // told when a write fails that nobody waits for
	guard      lateGuard
	hold       atomic.Bool   // replies may wait for more
	progress   atomic.Uint64 // bytes that have left
	masked     bool          // frames leave masked: we are the client

	mu        sync.Mutex
	fragile   bool          // a write that is interrupted breaks nc
	delegate  bool          // goroutines of our own flush, whom nothing interrupts
	patient   bool          // keepalive finds a peer that is gone, no timeout of writes
	owed      bool          // something was held, whose writer was told that it is written
	dead      bool          // the network failed: nothing more is written either
	busy      bool          // somebody flushes
	finished  bool          // the Close frame is on the network
	holdArmed bool          // holdTimer runs
	idles     uint8         // tickets in idle
	err       error         // why nothing more is accepted: the first error, or the end
	urgent    *buffer       // control frames
	lastPong  *buffer       // the latest Pong that found urgent full
	data      *buffer       // data frames
	final     *buffer       // the Close frame, which comes last
	finalOut  chan struct{} // closed when finished is set; nil if nobody waits
	appended  int64
	sent      int64
	doubt     int64 // start of the last compressed frame that may be withdrawn, plus 1; 0: of none
	heldSince instant
	holdTimer *time.Timer

	*flushing         // the flusher's; nil while nobody flushes
	idle      *ticket // used tickets, to use again

	frames, messages, flushes uint64
}

// Sizes in bytes.
const (
	lendAbove = 16 << 10  // payloads from which on a server's are not copied
	copyBelow = 64 << 10  // payloads that are copied if they are held, or if that leaves one piece to write
	maxHeld   = 256 << 10 // held frames that are flushed at once
	maxUrgent = 4 << 10   // waiting control frames from which on only the latest Pong is kept
)

// init makes w write to nc.
func (w *frameWriter) init(nc *socket, r role, cfg *Config, broken func(error)) {
	w.nc, w.masked, w.broken, w.cfg = nc, r == client, broken, cfg
	_, w.fragile = nc.Conn.(*tls.Conn)
	if nc.raw != nil {
		// Called with the descriptor; see frameReader.ready.
		w.onWritable = func(fd uintptr) bool {
			if w.await {
				return w.writeReady(fd)
			}
			w.written, w.wrote = writeNow(fd, w.work.rest())
			return true
		}
	}
}

// guardWrites returns the guard of what is written.
func (w *frameWriter) guardWrites() *guard { return w.guard.of(w.nc, true) }

// neverInterrupt makes w safe for a net.Conn that breaks when a write is
// interrupted in the middle, as that of crypto/tls does: who gives up leaves,
// and the write goes on. It costs a goroutine for each flush.
func (w *frameWriter) neverInterrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delegate = w.nc.raw == nil
	w.patient = true
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
	if w.maySendInPlaceLocked(len(payload)) {
		return w.appendInPlaceLocked(h, payload), nil
	}
	// Room is made here because it would be deeper on the stack in appendFrame.
	size := headerSize(h) + len(payload)
	w.data = w.data.grown(size)
	w.data = appendFrame(w.data, h, payload)
	w.count(h)
	return w.joinLocked(w.appended, size, first), nil
}

// appendInPlaceLocked is append for a payload that is taken from where it is.
// The caller holds w.mu.
func (w *frameWriter) appendInPlaceLocked(h header, payload []byte) *ticket {
	w.data = w.data.grown(maxHeaderSize)
	w.data.b = appendHeader(w.data.b, h)
	w.count(h)
	start := w.appended
	w.appended += int64(headerSize(h) + len(payload))
	if h.first&bitRSV1 != 0 {
		w.doubt = start + 1
	}
	t := w.queueLocked(ticket{start: start, end: w.appended, first: h.first})
	w.work.external = payload
	w.work.handed = w.work.off // to a call that waits, which has not begun
	return t
}

// maySendInPlaceLocked reports whether a payload of so many bytes is taken from
// where it is: because it is worth it, and its owner will write it and can
// copy what is left when it gives up. The caller holds w.mu.
func (w *frameWriter) maySendInPlaceLocked(size int) bool {
	return size >= lendAbove && !w.masked && !w.busy && !w.delegate &&
		(size >= copyBelow || w.data != nil && !w.hold.Load())
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

// isBusy reports whether somebody flushes.
func (w *frameWriter) isBusy() bool {
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
	if t := w.cfg.Trace; t != nil && t.FrameOut != nil {
		t.FrameOut(frameTrace(h))
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
	if !w.hold.Load() || w.busy || w.cfg.HoldReplies == 0 || len(w.data.b) >= maxHeld {
		return false
	}
	w.owed = true
	if w.heldSince != 0 {
		return true
	}
	w.heldSince = now()
	if !w.holdArmed {
		w.holdArmed = true
		if w.holdTimer == nil {
			w.holdTimer = time.AfterFunc(w.cfg.HoldReplies, w.heldTooLong)
		} else {
			w.holdTimer.Reset(w.cfg.HoldReplies)
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
	if wait := w.heldSince.add(w.cfg.HoldReplies).until(); wait > 0 {
		w.holdTimer.Reset(wait)
		w.mu.Unlock()
		return
	}
	w.holdArmed = false
	w.mu.Unlock()
	w.flushNow()
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
	w.final = appendFrame(nil, h, payload)
	w.count(h)
	return true, nil
}

// fail makes err the answer to all who want to write, from now on. With drop
// set, nothing that waits is written any more either.
func (w *frameWriter) fail(err error, drop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	if drop && !w.dead {
		w.dead = true
		w.refuseLocked()
	}
}

// close gives the buffers back, once the network is closed. Work that somebody
// is still writing is left to the garbage collector.
func (w *frameWriter) close() {
	w.guard.ifMade().release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	if w.err == nil {
		w.err = net.ErrClosed
	}
	w.refuseLocked()
	if !w.busy && w.flushing != nil {
		w.work.head.free()
		w.restLocked()
	}
	w.urgent.free()
	w.lastPong.free()
	w.data.free()
	w.urgent, w.lastPong, w.data, w.idle = nil, nil, nil, nil
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

// frameTrace describes h for a Trace.
func frameTrace(h header) FrameTrace {
	return FrameTrace{
		Opcode:     byte(h.opcode()),
		FIN:        h.fin(),
		Compressed: h.first&bitRSV1 != 0,
		Length:     h.length,
	}
}
