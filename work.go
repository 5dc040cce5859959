package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"time"
)

// work is what the flusher writes: head, then external. Its writing methods are
// the flusher's: push and all that push calls.
//
//	0          dataStart             len(head.b)
//	┌──────────────┬──────────────────────┬────────────────────┐
//	│   control    │ data, perhaps Close  │ external: payload  │
//	└──────────────┴──────────────────────┴────────────────────┘
//
// off counts the bytes that are on the network, handed those that are there or
// belong to the call under way. What is not handed over may change under
// frameWriter.mu: frames are withdrawn from it. external belongs to the caller
// of addData, and is not used after flush has returned.
type work struct {
	head      *buffer
	dataStart int
	external  []byte
	off       int
	handed    int
	closeSize int // bytes of the Close frame at the end of head, or 0
}

// size returns the number of bytes of the work.
func (k *work) size() int { return k.head.size() + len(k.external) }

// rest returns the bytes that can be written next in one piece.
func (k *work) rest() []byte {
	if k.off < len(k.head.b) {
		return k.head.b[k.off:]
	}
	return k.external[k.off-len(k.head.b):]
}

// span returns how many bytes of the data stream the work has.
func (k *work) span() int64 { return int64(k.size() - k.dataStart - k.closeSize) }

// takeOver copies an external payload to the head.
func (k *work) takeOver() {
	if k.external == nil {
		return
	}
	k.head = k.head.grow(len(k.external))
	k.head.b = append(k.head.b, k.external...)
	k.external = nil
}

// A writeResult is the outcome of a write.
type writeResult struct {
	n           int   // bytes that noteWritten has still to be told of
	interrupted bool  // err is the caller's, not the network's
	err         error // os.ErrDeadlineExceeded, the context's, or what broke the net.Conn
}

// push writes the work until the bytes of t are out, or all of it if t is nil,
// or until ctx or a deadline ends that. If t is nil or internal, no deadline
// applies but that of Config.WriteTimeout, which begins anew whenever bytes
// have left. Its caller is the flusher.
func (w *frameWriter) push(ctx context.Context, t *ticket) (r writeResult) {
	start, before := w.traceStart(), w.written()
	defer func() { w.traceFlush(start, int(w.written()-before)+r.n, r.err) }()
	if r.err = w.active.raw.err; r.err == nil && w.active.nc.isRaw() && w.active.work.external == nil {
		size := w.active.work.handed - w.active.work.off
		if r.n, r.err = w.tryWrite(); r.err != nil || r.n == size {
			return r
		}
		w.noteWritten(r.n)
		r.n = 0
	}
	for r.err == nil && !w.isPushed(t) {
		r.interrupted, r.err = w.pushSome(ctx, t)
	}
	return r
}

// isPushed reports whether push is over.
func (w *frameWriter) isPushed(t *ticket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active.work.off == w.active.work.size() || t != nil && w.isSentLocked(t)
}

// pushSome writes some of the work, and waits until it is taken. interrupted
// reports that err is the context's or os.ErrDeadlineExceeded, and that the
// net.Conn has survived it.
func (w *frameWriter) pushSome(ctx context.Context, t *ticket) (interrupted bool, err error) {
	var yield func() bool
	internal := t == nil || t.internal
	if internal {
		yield = neverYield
	}
	limit := w.writeLimit()
	if err := w.writeDeadlines().arm(ctx, limit, yield); err != nil {
		return err == ctx.Err() || err == os.ErrDeadlineExceeded, err
	}
	err = w.writeSome()
	fired := w.deadlines.load().disarm()
	severed := fired && w.deadlines.load().emulated() // the interruption closed the net.Conn
	if err == nil {
		return false, nil
	}
	if broken := w.deadlines.load().whyBroken(); broken != nil {
		return false, broken
	}
	if !severed && !errors.Is(err, os.ErrDeadlineExceeded) {
		return false, err
	}
	late := limit != 0 && limit.until() <= 0
	switch {
	case late && !severed && w.isPushed(nil): // what it waited for was withdrawn
		return false, nil
	case late && !(fired && ctx.Err() != nil):
		return false, &writeTimeout{w.active.cfg.WriteTimeout, err}
	case w.breaks() || severed:
		return false, interruption(ctx, err)
	case fired:
		return true, ctx.Err()
	}
	return !internal, err
}

// breaks reports whether the net.Conn does not survive the interruption of a
// write: TLS. Its caller is the flusher.
func (w *frameWriter) breaks() bool {
	_, ok := w.active.nc.Conn.(*tls.Conn)
	return ok
}

// interruption returns the error of a call that was interrupted, and ended with
// err, on a net.Conn that does not survive that.
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

// Timeout reports true, as a net.Error.
func (e *writeTimeout) Timeout() bool { return true }

// Temporary reports false, as a net.Error.
func (e *writeTimeout) Temporary() bool { return false }

// writeLimit returns when a write that begins now has taken too long; 0 is
// never.
func (w *frameWriter) writeLimit() instant {
	if w.active.cfg.WriteTimeout <= 0 || w.mode.patient && w.active.cfg.PingInterval > 0 {
		return 0
	}
	return now().add(w.active.cfg.WriteTimeout)
}

// neverYield is the yield function of internal calls that nothing preempts.
func neverYield() bool { return false }

// tryWrite writes what a raw socket takes, without waiting, of the work, which
// was handed over. A deadline that has passed only makes that nothing.
func (w *frameWriter) tryWrite() (int, error) {
	w.active.raw.written, w.active.raw.err = 0, nil
	err := w.active.nc.rawConn().Write(w.active.raw.callback)
	switch {
	case err == nil:
		return w.active.raw.written, w.active.raw.err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.active.raw.written, nil
	}
	return w.active.raw.written, err
}

// handOver returns up to limit bytes of the work, which belong to a call from
// now until noteWritten is told how many of them have left. There are none when
// the work is complete.
func (w *frameWriter) handOver(limit int) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active.work.off == w.active.work.size() {
		return nil
	}
	p := w.active.work.rest()
	p = p[:min(len(p), limit)]
	w.active.work.handed = w.active.work.off + len(p)
	return p
}

// Sizes in bytes of what is handed to a net.Conn at once, where a call reports
// how much it has taken only when it has taken everything: Config.WriteTimeout
// begins anew for each piece.
const (
	maxPiece       = 32 << 10
	maxRecord      = 16 << 10  // over TLS
	maxVectorPiece = 128 << 10 // of a payload, beside a frame header
)

// writeSome writes some of the work: what the socket takes once it takes
// something, or one piece.
func (w *frameWriter) writeSome() error {
	if w.active.nc.isRaw() && (w.active.work.external == nil || w.active.work.off >= len(w.active.work.head.b)) {
		w.active.raw.written, w.active.raw.err, w.active.raw.wait = 0, nil, true
		err := w.active.nc.rawConn().Write(w.active.raw.callback)
		w.active.raw.wait = false
		if err == nil {
			err = w.active.raw.err
		}
		return err
	}
	p := w.handOver(w.pieceSize())
	if p == nil {
		return nil
	}
	var n int
	var err error
	if w.active.nc.isRaw() {
		n, err = w.active.raw.vector.write(w.active.nc.Conn, p, w.active.work.external[:min(len(w.active.work.external), maxVectorPiece)])
	} else {
		n, err = writeConn(w.active.nc, p)
	}
	w.noteWritten(n)
	return err
}

// pieceSize returns how much is handed to a net.Conn that waits until it has
// taken all of it. Frames of others that wait are not included, so that they
// can be withdrawn; but over TLS they share records.
func (w *frameWriter) pieceSize() int {
	switch {
	case w.active.nc.isRaw():
		return math.MaxInt // of what precedes a payload; nobody else waits
	case w.breaks():
		return maxRecord
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.active.queue {
		if at := w.workOffsetLocked(t); t.end > t.start && at > w.active.work.off {
			return min(at-w.active.work.off, maxPiece)
		}
	}
	return maxPiece
}

// writeReady is called when the socket may take something of the work, while
// the flusher waits for that. It reports whether the wait is over. While it
// waits nothing is handed over, so that frames can be withdrawn.
func (w *frameWriter) writeReady(fd uintptr) bool {
	p := w.handOver(math.MaxInt)
	if p == nil {
		return true
	}
	w.active.raw.written, w.active.raw.err = writeOnce(fd, p)
	w.noteWritten(w.active.raw.written)
	return w.active.raw.written > 0 || w.active.raw.err != nil
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

// writeConn writes p to nc and does not trust the count that nc returns.
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

// traceStart returns the time if flushes are traced.
func (w *frameWriter) traceStart() time.Time {
	if t := w.active.cfg.Trace; t == nil || t.Flush == nil {
		return time.Time{}
	}
	return time.Now()
}

// traceFlush tells the Trace of a write.
func (w *frameWriter) traceFlush(start time.Time, n int, err error) {
	if w.active.cfg.Trace != nil {
		w.user.traceFlush(FlushTrace{Bytes: n, Duration: time.Since(start), Err: err})
	}
}
