package websocket

import (
	"net"
	"sync"
	"sync/atomic"
)

// A frameWriter sends all frames of a connection: everything that leaves goes
// through it, in whole frames.
//
// Frames are added to what is pending. A goroutine that adds one and finds
// nobody flushing becomes the flusher: it loads all that is pending as the
// work, writes the work without holding the lock, and goes on until its own
// frame is out; then the next in the queue takes over. The others wait. So
// writers that come together share a system call, and a single writer needs
// exactly one.
//
//	addControl ──► pending.control ─────┐
//	addData ─────► pending.data ────────┼─► load ─► work ─► push ─► completeWrite
//	addClose ────► pending.closeFrame ──┘    ▲                          │
//	                                         └── more is pending ◄──────┘
//
//	data stream:   0 ─── sent ─── sent+span(work) ─── appended ───►
//	                      └─ work ─┘└── pending.data ──┘
//
// Almost all connections are idle at any moment: nothing is pending, nobody
// flushes. What is needed only in between is in the writeState, active, which
// is acquired with the first frame and given back by whoever finds nothing left
// to send.
//
// Invariants, under mu, where the fields are those of active:
//
//	active != nil == something is pending, or busy
//	busy == somebody flushes
//	active == nil, or busy, if end.broken is set
//	work.off <= work.handed <= work.size()
//	offsets.appended - offsets.sent == span(work) + len(pending.data)
//	queue is in the order of the frames, and empty unless busy is set
//
// The data stream begins anew with each writeState. So nothing outlives it that
// refers to the stream: a ticket has left the queue before, and of what was
// withdrawn only mode.withdrawn stays.
//
// Control frames overtake data that is not loaded yet; the Close frame comes
// last. Small replies may be corked: while cork.on is set, addData and postData
// leave them pending, to leave with frames that follow, when flushNow is
// called, when there are maxCorked bytes, or after Config.HoldReplies.
//
// Names: add... and post... accept a frame, flush... makes frames leave,
// ...Locked needs mu. All methods may be called from any goroutine, except
// those of the flusher in flush.go and work.go. write_state.go has what an idle
// frameWriter does without, flush.go the flusher and its queue, work.go what is
// written and how, withdraw.go how a frame is taken back.
type frameWriter struct {
	user      writerUser
	deadlines lazyDeadlines
	cork      cork
	mode      writeMode

	mu     sync.Mutex  // guards what follows, but not what the flusher alone uses of active
	active *writeState // nil while w is idle
	end    *writeEnd   // nil until the connection begins to end
	counts writeCounts
}

// A writerUser is what a frameWriter belongs to.
type writerUser interface {
	writesTo() (*socket, *Config) // for good; the Config is a result of withDefaults
	writeFailed(err error)        // called, without locks, when a write fails that nobody waits for

	// Called if there is a Trace; the first with frameWriter.mu held.
	traceFrameOut(h header)
	traceFlush(f FlushTrace)
}

// A cork holds small replies back, like TCP_CORK, so that they leave with those
// that follow. It may be used without frameWriter.mu.
type cork struct {
	on atomic.Bool // another message waits to be read
}

// A writeMode says how a frameWriter writes. The first two fields are set by
// init, for good, the others guarded by frameWriter.mu.
type writeMode struct {
	masked    bool // we are the client
	inBubble  bool // of testing/synctest: nothing that waits may be shared with others
	patient   bool // no write is interrupted, nor times out where keepalive finds a peer that is gone
	withdrawn bool // a compressed message was taken back, to which the next one must not refer
}

// A writeEnd says what can still be written.
type writeEnd struct {
	refusal     error         // why no more frames are accepted: the first error, later the terminal one; nil: they are
	broken      bool          // the network failed, or unsent frames were dropped: nothing is written either
	closeSent   bool          // the Close frame is on the network
	closeSentCh chan struct{} // closed when closeSent is set; nil if nobody waits
}

// writeCounts are the counters of Stats for what leaves.
type writeCounts struct {
	frames, messages, flushes uint64
	bytes                     atomic.Uint64 // that have left; may be read without frameWriter.mu
}

// Sizes in bytes.
const (
	inPlaceFrom       = 16 << 10  // a server may send payloads of at least this size in place, without copying
	joinBelow         = 64 << 10  // smaller ones only together with pending data that is not corked
	maxCorked         = 256 << 10 // when so many bytes are pending, they are not corked
	maxPendingControl = 4 << 10   // behind more bytes of control frames only the latest Pong is kept
)

// init makes w write for user, in the role r.
func (w *frameWriter) init(user writerUser, r role) {
	w.user = user
	w.mode.masked, w.mode.inBubble = r == client, inBubble()
}

// writeDeadlines returns the deadlines of writes.
func (w *frameWriter) writeDeadlines() *deadlines {
	nc, _ := w.user.writesTo()
	return w.deadlines.ensure(nc, forWriting)
}

// delegateFlushes makes w safe for a net.Conn that breaks when a write is
// interrupted in the middle, as that of crypto/tls does: a writer that gives up
// leaves, and its write goes on. That costs a goroutine for each flush. It also
// leaves it to keepalive, if that is on, to find a peer that takes nothing.
func (w *frameWriter) delegateFlushes() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode.patient = true
}

// delegatesLocked reports whether goroutines of our own flush, which nothing
// interrupts. On a raw socket that is not needed. The caller holds w.mu, and
// there is a state.
func (w *frameWriter) delegatesLocked() bool { return w.mode.patient && !w.active.nc.isRaw() }

// refusalLocked returns the error for frames that are not accepted, or nil. The
// caller holds w.mu.
func (w *frameWriter) refusalLocked() error {
	if w.end == nil {
		return nil
	}
	return w.end.refusal
}

// brokenLocked reports whether nothing more can be written. The caller holds
// w.mu.
func (w *frameWriter) brokenLocked() bool { return w.end != nil && w.end.broken }

// endLocked returns the writeEnd, which it makes if there is none. The caller
// holds w.mu.
func (w *frameWriter) endLocked() *writeEnd {
	if w.end == nil {
		w.end = new(writeEnd)
	}
	return w.end
}

// addData adds a data frame whose header begins with byte0. The payload is
// copied or, if it is long, can leave at once, and its owner writes it, is sent
// from where it is. The ticket must be passed to flush, perhaps after
// flushAlone, and until that returns the payload must not change. A nil ticket
// without an error means that there is nothing to wait for, because the frame
// is corked. The caller holds Conn.send.lock.
func (w *frameWriter) addData(byte0 byte, payload []byte) (*ticket, error) {
	h, err := w.newHeader(byte0, payload)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refusalLocked(); err != nil {
		return nil, err
	}
	s := w.activateLocked()
	if w.maySendInPlaceLocked(len(payload)) {
		return w.addInPlaceLocked(h, payload), nil
	}
	// Room is made here because it would be deeper on the stack in appendFrame.
	size := headerSize(h) + len(payload)
	s.pending.data = s.pending.data.grow(size)
	s.pending.data = appendFrame(s.pending.data, h, payload)
	w.countLocked(h)
	return w.joinLocked(s.offsets.appended, size, byte0), nil
}

// addInPlaceLocked is addData for a payload that is sent from where it is. The
// caller holds w.mu.
func (w *frameWriter) addInPlaceLocked(h header, payload []byte) *ticket {
	s := w.active
	s.pending.data = s.pending.data.grow(maxHeaderSize)
	s.pending.data.b = appendHeader(s.pending.data.b, h)
	w.countLocked(h)
	start := s.offsets.appended
	s.offsets.appended += int64(headerSize(h) + len(payload))
	if h.byte0&bitRSV1 != 0 {
		s.offsets.doubtful = start + 1
	}
	t := w.queueLocked(ticket{start: start, end: s.offsets.appended, byte0: h.byte0})
	s.work.external = payload
	s.work.handed = s.work.off // nothing: the call that is to write it waits, and has not begun
	return t
}

// maySendInPlaceLocked reports whether a payload of so many bytes is sent from
// where it is: if that is worth it, and its owner will write it and can copy
// what is left when it gives up. The caller holds w.mu.
func (w *frameWriter) maySendInPlaceLocked(size int) bool {
	return size >= inPlaceFrom && !w.mode.masked && !w.active.busy && !w.delegatesLocked() && w.active.nc.joinsWrites() &&
		(size >= joinBelow || w.active.pending.data != nil && !w.cork.on.Load())
}

// postData adds a data frame, copied, without waiting. Unless it is corked, the
// caller must make sure that it is flushed. The caller holds Conn.send.lock.
func (w *frameWriter) postData(byte0 byte, payload []byte) (corked bool, err error) {
	h, err := w.newHeader(byte0, payload)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refusalLocked(); err != nil {
		return false, err
	}
	s := w.activateLocked()
	s.pending.data = appendFrame(s.pending.data, h, payload)
	s.offsets.appended += int64(headerSize(h) + len(payload))
	w.countLocked(h)
	return w.corkLocked(), nil
}

// isBusy reports whether somebody flushes.
func (w *frameWriter) isBusy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active != nil && w.active.busy
}

// newHeader returns the header of a frame that begins with byte0, with a fresh
// masking key on a client. If there is none, the connection ends: later
// messages may refer to the one that cannot leave.
func (w *frameWriter) newHeader(byte0 byte, payload []byte) (h header, err error) {
	h = header{byte0: byte0, masked: w.mode.masked, length: int64(len(payload))}
	if w.mode.masked {
		if h.key, err = newKey(); err != nil {
			w.user.writeFailed(err)
		}
	}
	return h, err
}

// countLocked counts a frame that was added, and shows it to the Trace. The
// caller holds w.mu.
func (w *frameWriter) countLocked(h header) {
	w.counts.frames++
	if h.fin() && !h.opcode().isControl() {
		w.counts.messages++
	}
	if w.active.cfg.Trace != nil {
		w.user.traceFrameOut(h)
	}
}

// appendFrame appends a whole frame to b, which may be nil, masked with h.key
// if h.masked is set.
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

// addControl adds a control frame, which overtakes all data that is not loaded
// yet. It does not flush. Of Pongs that cannot leave because the peer does not
// read, only the latest is kept once maxPendingControl bytes are pending (RFC
// 6455, Section 5.5.3).
func (w *frameWriter) addControl(op opcode, payload []byte) error {
	h, err := w.newHeader(bitFIN|byte(op), payload)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refusalLocked(); err != nil {
		return err
	}
	s := w.activateLocked()
	if op == opPong && s.pending.control != nil && len(s.pending.control.b) > maxPendingControl {
		s.pending.lastPong.free()
		s.pending.lastPong = appendFrame(nil, h, payload)
	} else {
		s.pending.control = appendFrame(s.pending.control, h, payload)
	}
	w.countLocked(h)
	return nil
}

// hasManyControls reports whether more than maxPendingControl bytes of control
// frames are pending.
func (w *frameWriter) hasManyControls() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active != nil && w.active.pending.control != nil && len(w.active.pending.control.b) > maxPendingControl
}

// addClose adds the Close frame, behind all data, and refuses later frames with
// refusal. It does not flush. It reports false, and adds nothing, if frames are
// refused already.
func (w *frameWriter) addClose(payload []byte, refusal error) (bool, error) {
	h, err := w.newHeader(bitFIN|byte(opClose), payload)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refusalLocked() != nil {
		return false, nil
	}
	w.endLocked().refusal = refusal
	w.activateLocked().pending.closeFrame = appendFrame(nil, h, payload)
	w.countLocked(h)
	return true, nil
}

// unsent says what becomes of frames that have not left when a connection ends.
type unsent uint8

const (
	sendUnsent unsent = iota
	dropUnsent
)

// refuse makes err the answer to all later frames.
func (w *frameWriter) refuse(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked().refusal = err
}

// refuseAll makes err the answer to all later frames. Those that were accepted
// leave or are dropped, as rest says.
func (w *frameWriter) refuseAll(err error, rest unsent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked().refusal = err
	if rest == dropUnsent {
		w.dropUnsentLocked(err)
	}
}

// freeBuffers ends all writing and frees the memory once the network is closed.
func (w *frameWriter) freeBuffers() {
	w.deadlines.load().unfollow()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropUnsentLocked(net.ErrClosed)
	if w.active != nil && w.active.successor != nil {
		go closeNow(w.active.nc.Conn) // the flusher may wait for it
	}
}

// dropUnsentLocked ends all writing, because of err unless frames are refused
// already: those that wait are told, and what is pending is freed. Work that
// somebody is still writing is left to that flusher. The caller holds w.mu.
func (w *frameWriter) dropUnsentLocked(err error) {
	end := w.endLocked()
	end.broken = true
	if end.refusal == nil {
		end.refusal = err
	}
	if w.active == nil {
		return
	}
	w.failWaitersLocked()
	w.active.pending.free()
	if !w.active.busy {
		w.abandonLocked()
	}
}

// isAlive reports whether frames that were accepted can still leave.
func (w *frameWriter) isAlive() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.brokenLocked()
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
