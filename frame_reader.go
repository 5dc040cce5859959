package websocket

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// A frameReader turns the bytes of a net.Conn into frames. It never waits on
// its own account: next says when bytes are missing, and its owner calls fill,
// the only method that reads the network. Whatever fill returns, all that was
// received is kept, so reading goes on where it stopped.
//
// While nothing is unread the frameReader owns no buffer. On a raw socket fill
// waits for readiness and borrows one only to read into it; elsewhere it waits
// with a few bytes of its own.
//
// It is used by one goroutine at a time: the one that has the Conn's reading
// turn. Only received and parked may be read by others.
type frameReader struct {
	nc      *socket // fill uses its Read unless it is raw
	onReady func(fd uintptr) bool

	buf     *buffer // its unread bytes are b[start:len(b)]; nil when there are none
	start   int
	lent    *buffer   // holds the bytes of a message that the application looks at
	small   int       // size of an ordinary buffer
	pinned  bool      // buf, too, holds bytes of that message: they may not be moved or overwritten
	step    uint8     // how often the buffer grew because fills were full
	large   uint8     // fills that would have fitted a step lower until it is taken back
	try     bool      // onReady returns without bytes instead of waiting
	current bool      // a data frame's header was read and nobody took it up yet
	first   *[16]byte // to wait with; nil on a raw socket

	rules frameRules
	frame header // the current data frame
	left  int64  // of its payload, not yet handed on
	clear int    // of the unread payload, already unmasked

	target []byte // for onReady: where to read to, and what came of it
	got    int
	err    error // the first error of the network; permanent

	received atomic.Uint64 // bytes
	parked   atomic.Int64  // the instant since when fill waits; 0: it does not
}

// busyBufferSizes are the sizes of the buffers borrowed after reads that filled
// an ordinary one, and after others that filled the first of these.
var busyBufferSizes = [...]int{64 << 10, 256 << 10}

// largeReads is how many small reads in a row a larger buffer outlives.
const largeReads = 8

// maxIdleReads is how many reads of nothing, without an error, are taken in a
// row.
const maxIdleReads = 100

// init makes r read nc, after the bytes in early.
func (r *frameReader) init(nc *socket, small int, early []byte) {
	r.nc, r.small = nc, small
	if nc.raw != nil {
		r.onReady = func(fd uintptr) bool { return r.ready(fd) }
	} else {
		r.first = new([16]byte)
	}
	if len(early) > 0 {
		r.buf = borrow(max(small, len(early)))
		r.buf.b = append(r.buf.b, early...)
		r.received.Store(uint64(len(early)))
	}
}

// unread returns the bytes that were received and not taken.
func (r *frameReader) unread() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf.b[r.start:]
}

// next takes the next frame's header from what was received. For a control
// frame it takes the whole frame and returns its payload, unmasked and valid
// until the next call; a data frame becomes the current one. ok is false when
// bytes are missing. A violation leaves r unchanged. The current frame's
// payload must have been taken.
func (r *frameReader) next() (h header, payload []byte, ok bool, v violation) {
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
		return r.nextControl(h, b, size)
	}
	if v := r.rules.accept(h); v != noViolation {
		return h, nil, false, v
	}
	r.take(size)
	r.frame, r.left, r.current = h, h.length, true
	return h, nil, true, noViolation
}

// nextControl takes the control frame at the start of b if all of it is there.
func (r *frameReader) nextControl(h header, b []byte, size int) (header, []byte, bool, violation) {
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
	r.take(end)
	return h, payload, true, noViolation
}

// take marks n unread bytes as taken. A buffer without unread bytes stays
// until fill or settle, because the last bytes taken may still be in use.
func (r *frameReader) take(n int) { r.start += n }

// dataWaits reports whether the unread bytes, which must begin with a header,
// begin with that of a data frame.
func (r *frameReader) dataWaits() bool {
	b := r.unread()
	return len(b) > 0 && !header{first: b[0]}.opcode().isControl()
}

// messageWaits reports whether the unread bytes begin with a message of one
// frame. If the rest of it cannot be looked for without waiting, it must all
// be there.
func (r *frameReader) messageWaits() bool {
	b := r.unread()
	if len(b) < 2 {
		return false
	}
	h, size, v := parseHeader(b)
	return size > 0 && v == noViolation && h.fin() && !h.opcode().isControl() &&
		(r.nc.raw != nil || h.length <= int64(len(b)-size))
}

// unmask unmasks the payload of the current frame that was received, where it
// is, and returns what was not unmasked before.
func (r *frameReader) unmask() []byte {
	b := r.unread()
	b = b[:min(int64(len(b)), r.left)][r.clear:]
	if r.frame.masked {
		r.frame.key = mask(b, r.frame.key)
	}
	r.clear += len(b)
	return b
}

// consume takes n bytes of the current frame's payload that unmask unmasked.
func (r *frameReader) consume(n int) {
	r.take(n)
	r.clear -= n
	r.left -= int64(n)
}

// piece takes the payload of the current frame that was received and returns
// it in place, unmasked. It is valid until settle or fill, and, after pin,
// until unpin.
func (r *frameReader) piece() []byte {
	r.unmask()
	b := r.unread()[:r.clear]
	r.consume(r.clear)
	return b
}

// read copies payload of the current frame that was received to p, unmasked,
// and returns how much.
func (r *frameReader) read(p []byte) int {
	b := r.unread()
	n := int(min(int64(len(b)), int64(len(p)), r.left))
	done := min(r.clear, n)
	copy(p, b[:done])
	if r.frame.masked {
		r.frame.key = maskCopy(p[done:n], b[done:n], r.frame.key)
	} else {
		copy(p[done:n], b[done:n])
	}
	r.clear -= done
	r.take(n)
	r.left -= int64(n)
	return n
}

// bufferSize returns the size of the buffer that room borrows.
func (r *frameReader) bufferSize() int { return r.sizeAt(r.step) }

// sizeAt returns the size of the buffer after so many steps.
func (r *frameReader) sizeAt(step uint8) int {
	if step == 0 {
		return r.small
	}
	return max(r.small, busyBufferSizes[step-1])
}

// pin keeps the bytes that piece returned valid until unpin.
func (r *frameReader) pin() { r.pinned = true }

// unpin ends what pin began.
func (r *frameReader) unpin() {
	r.pinned = false
	r.lent.free()
	r.lent = nil
}

// forsake ends what pin began while the borrower may still look at the bytes:
// their memory is left to it.
func (r *frameReader) forsake() {
	if r.pinned {
		old := r.unread()
		r.buf, r.start, r.pinned = nil, 0, false
		if len(old) > 0 {
			r.buf = borrow(max(r.bufferSize(), len(old)))
			r.buf.b = append(r.buf.b, old...)
		}
	}
	r.lent = nil
}

// settle gives the buffer back if it has no unread bytes.
func (r *frameReader) settle() {
	if r.buf == nil || r.start < len(r.buf.b) {
		return
	}
	r.retire()
}

// retire parts with the buffer: it goes back to the pool, or to lent while it
// is pinned.
func (r *frameReader) retire() {
	if r.pinned {
		r.lent.free()
		r.lent, r.pinned = r.buf, false
	} else {
		r.buf.free()
	}
	r.buf, r.start = nil, 0
}

// fill waits for bytes from the network. They go into the buffer, or, if
// nothing is unread, as payload of the current frame to target, which must not
// be longer than what is left; then fill unmasks them and returns how many
// they are. It returns an error that wraps os.ErrDeadlineExceeded, without
// consequences, when the deadline of nc passes. Any other error is permanent.
// The end of the stream is io.ErrUnexpectedEOF: after a Close frame nobody
// calls fill.
func (r *frameReader) fill(target []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if target != nil || r.nc.raw == nil {
		r.settle()
	}
	n, err := r.receive(target)
	err = r.entered(n, err)
	if target == nil {
		return 0, err
	}
	if r.frame.masked {
		r.frame.key = mask(target[:n], r.frame.key)
	}
	r.left -= int64(n)
	return n, err
}

// entered counts n bytes that a read brought, keeps its error if that is the
// first permanent one, and returns it if nothing came.
func (r *frameReader) entered(n int, err error) error {
	if r.parked.Load() != 0 {
		r.parked.Store(0)
	}
	r.received.Add(uint64(n))
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

// idle reports whether nothing is there to be read or to be taken up.
func (r *frameReader) idle() bool {
	return !r.current && r.left == 0 && (r.buf == nil || r.start == len(r.buf.b))
}

// fillNow is fill for when bytes may be there. ok is false if none are, or if
// that cannot be known without waiting: then nothing has happened.
func (r *frameReader) fillNow(target []byte) (n int, ok bool, err error) {
	if r.nc.raw == nil || r.err != nil {
		return 0, false, nil
	}
	r.try = true
	n, err = r.fill(target)
	r.try = false
	if r.got == 0 && r.err == nil {
		return 0, false, nil
	}
	return n, true, err
}

// receive reads once from the network.
func (r *frameReader) receive(target []byte) (n int, err error) {
	if r.nc.raw != nil {
		return r.receiveRaw(target)
	}
	r.parked.Store(int64(now()))
	switch {
	case target != nil:
		return r.readConn(target)
	case r.buf == nil:
		n, err = r.readConn(r.first[:])
		if n > 0 {
			copy(r.room(), r.first[:n])
		}
	default:
		n, err = r.readConn(r.room())
	}
	if n > 0 {
		r.filled(n)
	}
	return n, err
}

// readConn reads from nc until something comes.
func (r *frameReader) readConn(p []byte) (int, error) { return readSome(r.nc, p) }

// readSome reads until something comes, or too often nothing.
func readSome(from io.Reader, p []byte) (int, error) {
	for range maxIdleReads {
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

// receiveRaw reads when the descriptor is ready.
func (r *frameReader) receiveRaw(target []byte) (n int, err error) {
	r.target, r.got = target, 0
	err = r.nc.raw.Read(r.onReady)
	r.target = nil
	if err == nil {
		n, err = r.got, r.err
	}
	if target == nil && n > 0 {
		r.filled(n)
	}
	return n, err
}

// wait is fill for the buffer of a raw socket, on little stack. arrived must be
// called with what it returns.
func (r *frameReader) wait() error {
	r.target, r.got = nil, 0
	return r.nc.raw.Read(r.onReady)
}

// arrived enters what wait brought and returns what fill would.
func (r *frameReader) arrived(err error) error {
	n := r.got
	if err == nil {
		err = r.err
	}
	if n > 0 {
		r.filled(n)
	}
	return r.entered(n, err)
}

// ready is called with the descriptor, first at once and then each time that
// something may have arrived. It returns false to wait on.
//
// The descriptor's reference is held meanwhile, and closing the net.Conn waits
// for it: nothing else may happen here.
func (r *frameReader) ready(fd uintptr) bool {
	p := r.target
	if p == nil {
		p = r.room()
	}
	n, wait, err := readNow(fd, p)
	if wait {
		r.settle()
		if r.try {
			return true
		}
		r.parked.Store(int64(now()))
		return false
	}
	if err != nil {
		r.settle()
	}
	r.got, r.err = n, err
	return true
}

// room returns the free part of the buffer, borrowing or moving as needed.
func (r *frameReader) room() []byte {
	if r.buf == nil {
		r.buf = borrow(r.bufferSize())
	}
	free := cap(r.buf.b) - len(r.buf.b)
	if r.start == len(r.buf.b) && r.start > 0 || free < cap(r.buf.b)/2 && r.start > 0 || free == 0 {
		r.compact()
	}
	return r.buf.b[len(r.buf.b):cap(r.buf.b)]
}

// compact moves the unread bytes, if any, to the start of the buffer, or of
// another one if this one is pinned or full of them.
func (r *frameReader) compact() {
	old := r.unread()
	if !r.pinned && r.start > 0 && cap(r.buf.b) >= r.bufferSize() {
		r.buf.b = r.buf.b[:copy(r.buf.b, old)]
		r.start = 0
		return
	}
	fresh := borrow(max(r.bufferSize(), 2*len(old)))
	fresh.b = append(fresh.b, old...)
	r.retire()
	r.buf = fresh
}

// filled enters n bytes that were read into room. Reads that fill the buffer
// ask for a larger one, reads that would have fitted a smaller one end that.
func (r *frameReader) filled(n int) {
	r.buf.b = r.buf.b[:len(r.buf.b)+n]
	switch {
	case len(r.buf.b) == cap(r.buf.b):
		r.large = largeReads
		if int(r.step) < len(busyBufferSizes) && cap(r.buf.b) >= r.bufferSize() {
			r.step++
		}
	case r.step > 0 && n < r.sizeAt(r.step-1):
		if r.large--; r.large == 0 {
			r.step--
			r.large = largeReads
		}
	}
}

// close gives the buffer back. r must not be used afterwards. What is lent
// stays with who looks at it.
func (r *frameReader) close() {
	if !r.pinned {
		r.buf.free()
	}
	r.buf, r.lent, r.start, r.pinned = nil, nil, 0, false
}
