package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"time"
)

// work is what the flusher writes: head, then external. off counts what is
// on the network, handed what is there or in the call under way. What is not
// handed may change under w.mu: frames are withdrawn. Of head, the data stream
// begins at dataStart.
type work struct {
	head      *buffer
	dataStart int
	external  []byte
	off       int
	handed    int
	final     bool // the Close frame is at the end of head
}

// size returns the number of bytes of the work.
func (k *work) size() int {
	if k.head == nil {
		return 0
	}
	return len(k.head.b) + len(k.external)
}

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

// push writes the work until the bytes of t are out, or all of it if t is nil.
// n bytes are still to be entered. interrupted means that the error is the
// caller's, not the network's. If t is nil or the connection's own, nobody's
// deadline applies but the timeout, which begins anew whenever bytes have left.
func (w *frameWriter) push(ctx context.Context, t *ticket) (n int, interrupted bool, err error) {
	start, before := w.traceStart(), w.left()
	defer func() { w.traceFlush(start, int(w.left()-before)+n, err) }()
	if err = w.wrote; err == nil && w.nc.raw != nil && w.work.external == nil {
		size := w.work.handed - w.work.off
		if n, err = w.tryWrite(); err != nil || n == size {
			return n, false, err
		}
		w.advance(n)
	}
	for err == nil && !w.isPushed(t) {
		interrupted, err = w.pushSome(ctx, t == nil || t.ours)
	}
	return 0, interrupted, err
}

// isPushed reports whether push is over.
func (w *frameWriter) isPushed(t *ticket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.work.off == w.work.size() || t != nil && w.reachedLocked(t)
}

// pushSome writes some of the work, and waits until it is taken.
func (w *frameWriter) pushSome(ctx context.Context, own bool) (interrupted bool, err error) {
	var yield func() bool
	if own {
		yield = never
	}
	limit := w.limit()
	if err := w.guardWrites().arm(ctx, limit, yield); err != nil {
		return err == ctx.Err() || err == os.ErrDeadlineExceeded, err
	}
	err = w.writeSome()
	fired := w.guard.ifMade().disarm()
	bare := fired && w.guard.ifMade().emulates()
	if err == nil {
		return false, nil
	}
	if broken := w.guard.ifMade().whyBroken(); broken != nil {
		return false, broken
	}
	if !bare && !errors.Is(err, os.ErrDeadlineExceeded) {
		return false, err
	}
	late := limit != 0 && limit.until() <= 0
	switch {
	case late && !bare && w.isPushed(nil): // what it waited for was withdrawn
		return false, nil
	case late && !(fired && ctx.Err() != nil):
		return false, &writeTimeout{w.cfg.WriteTimeout, err}
	case w.fragile || bare:
		return false, interruption(ctx, err)
	case fired:
		return true, ctx.Err()
	}
	return !own, err
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

// tryWrite writes what the socket takes of the work, which was handed over,
// without waiting.
func (w *frameWriter) tryWrite() (int, error) {
	w.written, w.wrote = 0, nil
	err := w.nc.raw.Write(w.onWritable)
	switch {
	case err == nil:
		return w.written, w.wrote
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.written, nil
	}
	return w.written, err
}

// hand returns up to limit bytes of the work, which belong to a call from now
// until advance is told how many of them it took. There are none when the work
// is complete.
func (w *frameWriter) hand(limit int) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.work.off == w.work.size() {
		return nil
	}
	p := w.work.rest()
	p = p[:min(len(p), limit)]
	w.work.handed = w.work.off + len(p)
	return p
}

// Sizes in bytes of what is handed to a net.Conn at once, where it does not say
// how much of that it has taken before it has taken all: the timeout begins anew
// for each piece.
const (
	maxPiece       = 32 << 10
	maxRecord      = 16 << 10  // over TLS
	maxVectorPiece = 128 << 10 // of a payload, beside a frame header
)

// writeSome writes some of the work: what the socket takes once it takes
// something, or one piece.
func (w *frameWriter) writeSome() error {
	if w.nc.raw != nil && (w.work.external == nil || w.work.off >= len(w.work.head.b)) {
		w.written, w.wrote, w.await = 0, nil, true
		err := w.nc.raw.Write(w.onWritable)
		w.await = false
		if err == nil {
			err = w.wrote
		}
		return err
	}
	p := w.hand(w.pieceSize())
	if p == nil {
		return nil
	}
	var n int
	var err error
	if w.nc.raw != nil {
		n, err = w.vector.write(w.nc.Conn, p, w.work.external[:min(len(w.work.external), maxVectorPiece)])
	} else {
		n, err = writeConn(w.nc, p)
	}
	w.advance(n)
	return err
}

// pieceSize returns how much is handed to a net.Conn that waits until it has
// taken all of it. Frames of others who wait are not in it, so that they can be
// withdrawn; but over TLS they share records.
func (w *frameWriter) pieceSize() int {
	switch {
	case w.nc.raw != nil:
		return math.MaxInt // of what goes before a payload; nobody else waits
	case w.fragile:
		return maxRecord
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.line {
		if at := w.placeLocked(t); t.end > t.start && at > w.work.off {
			return min(at-w.work.off, maxPiece)
		}
	}
	return maxPiece
}

// writeReady is called while the flusher waits, when the socket may take
// something of the work. It reports whether the wait is over. While it waits
// nothing is handed over, so that frames can be withdrawn.
func (w *frameWriter) writeReady(fd uintptr) bool {
	p := w.hand(math.MaxInt)
	if p == nil {
		return true
	}
	w.written, w.wrote = writeOnce(fd, p)
	w.advance(w.written)
	return w.written > 0 || w.wrote != nil
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

// takeOver copies an external payload into the head.
func (k *work) takeOver() {
	if k.external == nil {
		return
	}
	k.head = k.head.grown(len(k.external))
	k.head.b = append(k.head.b, k.external...)
	k.external = nil
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
