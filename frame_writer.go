package websocket

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
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
// Invariants, under mu:
//
//	busy == somebody flushes; then active != nil
//	active.work.off <= active.work.handed <= active.work.size()
//	offsets.appended - offsets.sent == span(work) + len(pending.data)
//	active.queue is in the order of the frames
//
// Control frames overtake data that is not loaded yet; the Close frame comes
// last. Small replies may be corked: while cork.on is set, addData and postData
// leave them pending, to leave with frames that follow, when flushNow is
// called, when there are maxCorked bytes, or after Config.HoldReplies.
//
// Names: add... and post... accept a frame, flush... makes frames leave,
// ...Locked needs mu. All methods may be called from any goroutine, except
// those of the flusher in flush.go and work.go. flush.go has the flusher and
// its queue, work.go what is written and how, withdraw.go how a frame is taken
// back.
type frameWriter struct {
	writerSetup
	deadlines lazyDeadlines
	cork      cork

	mu          sync.Mutex // guards what follows, but not what the flusher alone uses of active
	mode        writeMode
	busy        bool // somebody flushes
	pending     pending
	offsets     offsets
	end         writeEnd
	active      *flushState // the flusher's; nil while nobody flushes, unless the network failed
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

// A writeMode says what the role, the net.Conn and its user ask of writing.
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
	doubtful int64 // start of the last compressed frame that may be withdrawn, plus 1; 0: none; math.MaxInt64: one was
}

// A writeEnd says what can still be written.
type writeEnd struct {
	refusal     error         // why no more frames are accepted: the first error, later the terminal one
	broken      bool          // the network failed, or unsent frames were dropped: nothing is written either
	closeSent   bool          // the Close frame is on the network
	closeSentCh chan struct{} // closed when closeSent is set; nil if nobody waits
}

// A cork holds small replies back, like TCP_CORK, so that they leave with those
// that follow. Only on may be used without frameWriter.mu.
type cork struct {
	on       atomic.Bool // another message waits to be read
	reported bool        // a frame was corked, and its writer told that it is written
	timerSet bool        // timer runs
	since    instant     // when the first of the corked frames was added; 0: there are none
	timer    *time.Timer // calls onCorkTimer; nil before the first corked frame
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

// init makes w write to nc, in the role r. cfg is a result of withDefaults.
// onFailure is told of errors that no writer waits for.
func (w *frameWriter) init(nc *socket, r role, cfg *Config, onFailure func(error)) {
	w.nc, w.mode.masked, w.onFailure, w.cfg = nc, r == client, onFailure, cfg
	_, w.mode.breaks = nc.Conn.(*tls.Conn)
	if nc.raw != nil {
		// Called with the descriptor; see frameReader.readReady.
		w.onWritable = func(fd uintptr) bool {
			if w.active.raw.wait {
				return w.writeReady(fd)
			}
			w.active.raw.written, w.active.raw.err = writeNow(fd, w.active.work.rest())
			return true
		}
	}
}

// writeDeadlines returns the deadlines of writes.
func (w *frameWriter) writeDeadlines() *deadlines { return w.deadlines.ensure(w.nc, forWriting) }

// delegateFlushes makes w safe for a net.Conn that breaks when a write is
// interrupted in the middle, as that of crypto/tls does: a writer that gives up
// leaves, and its write goes on. That costs a goroutine for each flush. It also
// leaves it to keepalive, if that is on, to find a peer that takes nothing.
func (w *frameWriter) delegateFlushes() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode.delegated = w.nc.raw == nil
	w.mode.patient = true
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
	return w.joinLocked(w.offsets.appended, size, byte0), nil
}

// addInPlaceLocked is addData for a payload that is sent from where it is. The
// caller holds w.mu.
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
	w.active.work.handed = w.active.work.off // nothing: the call that is to write it waits, and has not begun
	return t
}

// maySendInPlaceLocked reports whether a payload of so many bytes is sent from
// where it is: if that is worth it, and its owner will write it and can copy
// what is left when it gives up. The caller holds w.mu.
func (w *frameWriter) maySendInPlaceLocked(size int) bool {
	return size >= inPlaceFrom && !w.mode.masked && !w.busy && !w.mode.delegated &&
		(size >= joinBelow || w.pending.data != nil && !w.cork.on.Load())
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

// newHeader returns the header of a frame that begins with byte0, with a fresh
// masking key on a client. If there is none, the connection ends: later
// messages may refer to the one that cannot leave.
func (w *frameWriter) newHeader(byte0 byte, payload []byte) (h header, err error) {
	h = header{byte0: byte0, masked: w.mode.masked, length: int64(len(payload))}
	if w.mode.masked {
		if h.key, err = newKey(); err != nil {
			w.onFailure(err)
		}
	}
	return h, err
}

// countLocked counts a frame, and shows it to the Trace. The caller holds w.mu.
func (w *frameWriter) countLocked(h header) {
	w.counts.frames++
	if h.fin() && !h.opcode().isControl() {
		w.counts.messages++
	}
	if t := w.cfg.Trace; t != nil && t.FrameOut != nil {
		t.FrameOut(frameTrace(h))
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

// corkLocked decides, and reports, whether pending data waits for more, and
// sets the timer that ends the wait. The caller holds w.mu.
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

// onCorkTimer is called by the timer, which is left running when what was
// corked has gone: it looks whether something else has been corked for long
// enough.
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
	if w.end.refusal != nil {
		return false, nil
	}
	w.end.refusal = refusal
	w.pending.closeFrame = appendFrame(nil, h, payload)
	w.countLocked(h)
	return true, nil
}

// unsent says what becomes of frames that have not left when a connection ends.
type unsent uint8

const (
	sendUnsent unsent = iota
	dropUnsent
)

// refuseAll makes err the answer to all later frames. Those that were accepted
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

// freeBuffers ends all writing and frees the memory once the network is closed.
// Work that somebody is still writing is left to that flusher.
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

// isAlive reports whether frames that were accepted can still leave.
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
