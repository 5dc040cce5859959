package websocket

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// A frameReader turns the bytes of a net.Conn into frames.
//
// It never waits by itself. nextFrame takes what was received, and reports when
// bytes are missing; then its owner calls fill, which reads from the network.
// Whatever fill returns, all bytes that arrived are kept: reading goes on where
// it stopped, whoever reads next.
//
//	net.Conn ──► fill ──► unread bytes ──► nextFrame ──► control frame, whole
//	              │                            │
//	              │ target                     └───────► frame: a data frame's header
//	              ▼
//	payload of frame ◄── takePayload (in place), copyPayload (to a slice)
//
//	frame.remaining = payload bytes neither handed on nor written to a target
//	frame.unmasked <= min(len(unread()), frame.remaining)
//	nextFrame needs frame.remaining == 0; fill(target) needs len(unread()) == 0
//
// Names: next... and take... remove unread bytes, copy... and discard... too;
// fill, tryFill and read... call the network; starts... only looks.
//
// While fill waits and nothing is unread there is no buffer. On a raw socket
// fill waits for the descriptor to become readable and acquires a buffer only
// to read into it; on any other net.Conn it waits with the few bytes of
// ownIO.waitBuf, unless it is in the middle of a frame.
//
// A frameReader is used by one goroutine at a time, the one that holds
// Conn.read.lock. It is part of a readState, which a connection has only while
// there is something to read: fill is for a reader in the middle of that, and
// Conn.fill also waits without one.
type frameReader struct {
	nc     *socket
	intake *intake
	raw    rawRead

	readBuffer
	rules frameRules
	frame dataFrame
	err   error // the first error of the network; permanent
}

// An intake is what anybody may know of what is read from a net.Conn, at any
// time.
type intake struct {
	received     atomic.Uint64 // bytes
	waitingSince atomic.Int64  // the instant since when a read waits; 0: none does
}

// lastWoken is about when the network last woke a reader of the process.
var lastWoken recently

// beginWait records that something waits for bytes, unless it does already.
func (i *intake) beginWait() {
	if i.waitingSince.Load() == 0 {
		i.waitingSince.Store(int64(now()))
	}
}

// note records that a read is over, which brought n bytes.
func (i *intake) note(n int) {
	if i.waitingSince.Load() != 0 {
		i.waitingSince.Store(0)
		lastWoken.set(now())
	}
	i.received.Add(uint64(n))
}

// A dataFrame is the data frame that is being received.
type dataFrame struct {
	byte0     byte   // of its header
	masked    bool   // with key
	ready     bool   // its header was read, and nobody has taken the frame up yet
	key       uint32 // for the payload that is not unmasked
	remaining int64  // bytes of payload that were not handed on
	unmasked  int    // bytes of the unread payload that are unmasked already
}

// opcode returns the frame's opcode.
func (f *dataFrame) opcode() opcode { return header{byte0: f.byte0}.opcode() }

// fin reports whether the frame is the last of its message.
func (f *dataFrame) fin() bool { return header{byte0: f.byte0}.fin() }

// A rawRead is what those that read from a raw socket and readReady tell each
// other.
type rawRead struct {
	callback func(fd uintptr) bool // readReady, made once
	noWait   bool                  // return without bytes instead of waiting
	drained  bool                  // the last read has left nothing on the socket
	dst      []byte                // where to read to; nil: the buffer
	n        int                   // bytes that the last call read
}

// maxEmptyReads is how many reads in a row may return neither bytes nor an
// error.
const maxEmptyReads = 100

// receive takes p, which came by another way than fill, as what was read first.
// It copies it.
func (r *frameReader) receive(p []byte) {
	r.buf = acquireBuffer(max(r.bufferSize(), len(p)))
	r.buf.b = append(r.buf.b, p...)
	r.intake.note(len(p))
}

// nextFrame takes the next frame's header from the unread bytes. Of a control
// frame it takes everything and returns the payload, unmasked and valid until
// fill; a data frame becomes r.frame, whose payload is still to be taken. ok is
// false if bytes are missing, or with a violation, which leaves r unchanged.
func (r *frameReader) nextFrame() (h header, payload []byte, ok bool, v violation) {
	b := r.unread()
	h, size, v := parseHeader(b)
	if v != noViolation {
		return h, nil, false, v
	}
	if size == 0 {
		if len(b) >= 2 {
			v = r.rules.check(h)
		}
		return h, nil, false, v
	}
	if h.opcode().isControl() {
		return r.nextControlFrame(h, b, size)
	}
	if v := r.rules.accept(h); v != noViolation {
		return h, nil, false, v
	}
	r.discard(size)
	r.frame = dataFrame{byte0: h.byte0, masked: h.masked, ready: true, key: h.key, remaining: h.length}
	return h, nil, true, noViolation
}

// nextControlFrame takes the control frame at the start of b if all of it is
// there.
func (r *frameReader) nextControlFrame(h header, b []byte, size int) (header, []byte, bool, violation) {
	if v := r.rules.check(h); v != noViolation {
		return h, nil, false, v
	}
	end := size + int(h.length)
	if len(b) < end {
		return h, nil, false, noViolation
	}
	payload := b[size:end]
	if h.masked {
		mask(payload, h.key)
	}
	r.discard(end)
	return h, payload, true, noViolation
}

// startsWithData reports whether the unread bytes, which must begin with a
// header, begin with that of a data frame.
func (r *frameReader) startsWithData() bool {
	b := r.unread()
	return len(b) > 0 && !header{byte0: b[0]}.opcode().isControl()
}

// startsWithMessage reports whether the unread bytes, which must begin with a
// header, begin with a message of one frame. Where the rest of it cannot be
// looked for without waiting, all of it must be there.
func (r *frameReader) startsWithMessage() bool {
	b := r.unread()
	if len(b) < 2 {
		return false
	}
	h, size, v := parseHeader(b)
	return size > 0 && v == noViolation && h.fin() && !h.opcode().isControl() &&
		(r.nc.isRaw() || h.length <= int64(len(b)-size))
}

// unmaskPayload unmasks in place what was received of the current frame's
// payload, and returns what was not unmasked before.
func (r *frameReader) unmaskPayload() []byte {
	b := r.unread()
	b = b[:min(int64(len(b)), r.frame.remaining)][r.frame.unmasked:]
	if r.frame.masked {
		r.frame.key = mask(b, r.frame.key)
	}
	r.frame.unmasked += len(b)
	return b
}

// discardPayload takes n bytes of the current frame's payload, which are
// unmasked.
func (r *frameReader) discardPayload(n int) {
	r.discard(n)
	r.frame.unmasked -= n
	r.frame.remaining -= int64(n)
}

// takePayload takes what was received of the current frame's payload and
// returns it in place, unmasked. It is valid until releaseIfEmpty or fill or,
// after pin, until unpin.
func (r *frameReader) takePayload() []byte {
	r.unmaskPayload()
	b := r.unread()[:r.frame.unmasked]
	r.discardPayload(r.frame.unmasked)
	return b
}

// copyPayload takes what was received of the current frame's payload, up to
// len(p) bytes, copies it to p, unmasked, and returns how much it was.
func (r *frameReader) copyPayload(p []byte) int {
	b := r.unread()
	n := int(min(int64(len(b)), int64(len(p)), r.frame.remaining))
	done := min(r.frame.unmasked, n)
	copy(p, b[:done])
	if r.frame.masked {
		r.frame.key = maskCopy(p[done:n], b[done:n], r.frame.key)
	} else {
		copy(p[done:n], b[done:n])
	}
	r.frame.unmasked -= done
	r.discard(n)
	r.frame.remaining -= int64(n)
	return n
}

// fill waits for bytes from the network. They go into the buffer if target is
// nil, and fill returns 0. Otherwise they go, as payload of the current frame,
// to target: then nothing may be unread, target must not be longer than
// frame.remaining, and fill unmasks the bytes and returns how many there are.
//
// When nc's deadline passes it returns an error that wraps
// os.ErrDeadlineExceeded, and nothing has happened. Any other error is
// permanent. The end of the stream is io.ErrUnexpectedEOF, because nobody reads
// on after a Close frame.
func (r *frameReader) fill(target []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if target != nil || !r.nc.isRaw() {
		r.releaseIfEmpty()
	}
	n, err := r.readOnce(target)
	err = r.noteRead(n, err)
	if target == nil {
		return 0, err
	}
	if r.frame.masked {
		r.frame.key = mask(target[:n], r.frame.key)
	}
	r.frame.remaining -= int64(n)
	return n, err
}

// noteRead counts n bytes that a read brought, keeps its error if that is the
// first permanent one, and returns it if nothing came.
func (r *frameReader) noteRead(n int, err error) error {
	r.intake.note(n)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.err = err
	}
	if n > 0 {
		return nil
	}
	return err
}

// parkBytes parts with the buffer before a read waits, or moves the few bytes of
// an unfinished frame or header to a smaller one: a peer that sends no more would
// hold all of it.
func (r *frameReader) parkBytes() {
	r.releaseIfEmpty()
	r.trim()
}

// isDrained reports whether there is nothing that was received and not handed
// on.
func (r *frameReader) isDrained() bool {
	return !r.frame.ready && r.frame.remaining == 0 && (r.buf == nil || r.start == len(r.buf.b))
}

// tryFill is fill for when bytes may have arrived. ok is false if none have, or
// if that cannot be known without waiting: then nothing has happened. While it
// runs, r is not given back.
func (r *frameReader) tryFill(target []byte) (n int, ok bool, err error) {
	if !r.nc.isRaw() || r.err != nil {
		return 0, false, nil
	}
	r.raw.noWait = true
	n, err = r.fill(target)
	r.raw.noWait = false
	if r.raw.n == 0 && r.err == nil {
		return 0, false, nil
	}
	return n, true, err
}

// readOnce reads once from the network.
func (r *frameReader) readOnce(target []byte) (n int, err error) {
	if r.nc.isRaw() {
		return r.readRaw(target)
	}
	r.intake.waitingSince.Store(int64(now()))
	switch {
	case target != nil:
		return readSome(r.nc, target)
	case r.buf == nil && r.frame.remaining == 0: // in the middle of a frame, more is about to come
		n, err = readSome(r.nc, r.nc.own.waitBuf[:])
		if n > 0 {
			copy(r.room(), r.nc.own.waitBuf[:n])
		}
	default:
		n, err = readSome(r.nc, r.blindRoom())
	}
	if n > 0 {
		r.noteFilled(n)
	}
	return n, err
}

// maxBlindRoom is how many bytes of room a read has at most that may wait while
// nobody knows whether anything has come: a record of TLS is no larger (RFC 8446,
// Section 5.1).
const maxBlindRoom = 16 << 10

// blindRoom is room for such a read. Behind bytes that are few there is only a
// buffer of maxBlindRoom, because a peer that sends no more would hold all of a
// larger one.
func (r *frameReader) blindRoom() []byte {
	size := min(r.bufferSize(), max(r.sizeAt(0), maxBlindRoom))
	switch {
	case r.buf == nil:
		r.buf = acquireBuffer(size)
	case !r.pinned && len(r.unread()) <= size/2:
		r.shrinkTo(size)
	}
	if len(r.buf.b) == cap(r.buf.b) || len(r.unread()) > size/2 {
		return r.room()
	}
	return r.buf.b[len(r.buf.b):cap(r.buf.b)]
}

// readSome reads until something comes, or nothing has come maxEmptyReads
// times.
func readSome(from io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := from.Read(p)
		if n < 0 || n > len(p) {
			return 0, errors.New("websocket: net.Conn returned an invalid count from Read")
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// readRaw reads when the descriptor is ready.
func (r *frameReader) readRaw(target []byte) (n int, err error) {
	r.raw.dst, r.raw.n = target, 0
	err = r.nc.rawConn().Read(r.raw.callback)
	r.raw.dst = nil
	if err == nil {
		n, err = r.raw.n, r.err
	}
	if target == nil && n > 0 {
		r.noteFilled(n)
	}
	return n, err
}

// noteRaw records what a read from the raw socket, which ended with err, brought
// into the buffer, and returns what fill would.
func (r *frameReader) noteRaw(err error) error {
	n := r.raw.n
	if err == nil {
		err = r.err
	}
	if n > 0 {
		r.noteFilled(n)
	}
	return r.noteRead(n, err)
}

// readReady is called with the descriptor, at once and then each time that
// something may have arrived (see Conn.readReady). It returns false to go on
// waiting.
//
// The descriptor is in use meanwhile, and closing the net.Conn waits for that:
// nothing may block here, nor take a lock that is held while the net.Conn is
// closed.
func (r *frameReader) readReady(fd uintptr) bool {
	p := r.raw.dst
	if p == nil {
		p = r.room()
	}
	n, wait, err := readNow(fd, p)
	if wait {
		r.parkBytes()
		if r.raw.noWait {
			return true
		}
		r.intake.waitingSince.Store(int64(now()))
		return false
	}
	if err != nil {
		r.releaseIfEmpty()
	}
	r.raw.n, r.err = n, err
	r.raw.drained = n < len(p)
	return true
}
