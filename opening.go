package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// This file is what both sides of the opening handshake need of a net.Conn:
// bounded reading of heads, the watch over a context, an orderly end.

// headBuffers holds the buffers that heads are read into.
var headBuffers = sync.Pool{New: func() any { return new([4096]byte) }}

// A headReader reads heads from a net.Conn and keeps what arrives behind them.
// Its memory is borrowed: release gives it back.
type headReader struct {
	nc     net.Conn
	pooled *[4096]byte
	buf    []byte // what arrived; begins in pooled, and leaves it for a long head
	used   int    // bytes of buf that belong to heads already returned
	prefix string // what every head begins with
}

func newHeadReader(nc net.Conn, prefix string) headReader {
	pooled := headBuffers.Get().(*[4096]byte)
	return headReader{nc: nc, pooled: pooled, buf: pooled[:0], prefix: prefix}
}

// release makes rest, and every slice of it, invalid.
func (r *headReader) release() {
	headBuffers.Put(r.pooled)
	r.pooled, r.buf = nil, nil
}

// next returns the next head. All heads of one reader share a budget of
// maxHeadBytes. The error is io.ErrUnexpectedEOF if the peer stops within a
// head and io.EOF if it sent nothing.
func (r *headReader) next() (string, error) {
	for seen := r.used; ; {
		n, err := headLength(r.rest(), seen-r.used)
		switch {
		case err != nil:
			return "", err
		case n > 0:
			head := string(r.rest()[:n])
			r.used += n
			return head, nil
		case !r.begins():
			return "", errStartLine
		case len(r.buf) >= maxHeadBytes:
			return "", errHeadTooLarge
		}
		seen = len(r.buf)
		if err := r.fill(); err != nil {
			return "", err
		}
	}
}

// begins reports whether what arrived of a head can be the beginning of one.
// It tells a peer that speaks another protocol, and may wait for us, from one
// that is slow.
func (r *headReader) begins() bool {
	b := r.rest()
	if r.prefix == "" {
		return len(b) == 0 || isTokenChar(b[0])
	}
	n := min(len(b), len(r.prefix))
	return string(b[:n]) == r.prefix[:n]
}

// fill reads until something comes, into room that grows with what arrived.
func (r *headReader) fill() error {
	if len(r.buf) == cap(r.buf) {
		r.buf = append(make([]byte, 0, 2*cap(r.buf)), r.buf...)
	}
	n, err := readSome(r.nc, r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	switch {
	case n > 0:
		return nil
	case err == io.EOF && len(r.rest()) > 0:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

// rest returns what arrived behind the heads returned. It is valid until the
// next call of next or release.
func (r *headReader) rest() []byte { return r.buf[r.used:] }

// watch closes nc when ctx ends: the one thing that ends what waits on any
// net.Conn, also on one that has no deadlines or does not keep them. The
// function returned ends the watch and returns the context's error if it was
// too late.
func watch(ctx context.Context, nc net.Conn) (end func() error) {
	if ctx.Done() == nil {
		return func() error { return nil }
	}
	stop := context.AfterFunc(ctx, func() { abandon(nc) })
	return func() error {
		if stop() {
			return nil
		}
		return ctx.Err()
	}
}

// A fuse bounds what is read and written on a net.Conn by a deadline, so that
// the peer can be told of a timeout; and by closing it, if it has no deadlines
// or does not keep them.
type fuse struct {
	nc       net.Conn
	deadline bool        // nc took one
	timer    *time.Timer // nil: nc keeps its deadlines, or time does not end
}

// fuseGrace is how long after its deadline a net.Conn has not kept it.
const fuseGrace = 100 * time.Millisecond

// lightFuse returns a fuse for the time d from now.
func lightFuse(nc net.Conn, d time.Duration) *fuse {
	f := &fuse{nc: nc}
	if d == forever {
		f.deadline = nc.SetDeadline(time.Time{}) == nil
		return f
	}
	f.deadline = nc.SetDeadline(time.Now().Add(d)) == nil
	switch {
	case f.deadline && keepsDeadlines(nc):
		return f
	case f.deadline:
		d += fuseGrace
	}
	f.timer = time.AfterFunc(d, func() { abandon(nc) })
	return f
}

// keepsDeadlines reports whether nc is known to.
func keepsDeadlines(nc net.Conn) bool {
	switch nc := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		return keepsDeadlines(nc.NetConn())
	default:
		return false
	}
}

// putOut ends the time and returns os.ErrDeadlineExceeded if it was too late:
// then nc is closed. The deadline stays.
func (f *fuse) putOut() error {
	if f.timer != nil && !f.timer.Stop() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// finish ends the time of a handshake that err, unless it is nil, has failed,
// and returns its error. With none, nc has no deadline any more; that nc cannot
// have one is no error.
func (f *fuse) finish(err error) error {
	if late := f.putOut(); late != nil {
		return &HandshakeError{Reason: "handshake was given up", Err: late}
	}
	if err != nil {
		return err
	}
	if err := f.nc.SetDeadline(time.Time{}); err != nil && f.deadline {
		return &HandshakeError{Reason: "deadline was not cleared", Err: err}
	}
	return nil
}

// hangUp ends our direction of nc and waits for the peer's end, at most half a
// second or to the end of a fuse, so that the peer can read what was sent to it
// last: closing at once, with input unread, would reset the connection.
func hangUp(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(time.Second / 2))
	io.CopyN(io.Discard, nc, 4*maxHeadBytes)
}

// abandon closes nc without a word and without waiting, which crypto/tls would
// do to send its own.
func abandon(nc net.Conn) {
	for {
		switch c := nc.(type) {
		case *tls.Conn:
			nc = c.NetConn()
		case *gluedConn:
			nc = c.Conn
		default:
			nc.Close()
			return
		}
	}
}

// traceHandshake reports the outcome of a handshake to c.Trace. If that panics,
// nobody gets conn, which is closed.
func (c *Config) traceHandshake(conn *Conn, r *http.Request, agreed agreement, began time.Time, err error) {
	if c.Trace == nil || c.Trace.Handshake == nil {
		return
	}
	status := http.StatusSwitchingProtocols
	var e *HandshakeError
	if errors.As(err, &e) {
		status = e.Status
	}
	told := conn == nil
	defer func() {
		if !told {
			conn.CloseNow()
		}
	}()
	c.Trace.Handshake(HandshakeTrace{
		Request:     r,
		Status:      status,
		Subprotocol: agreed.subprotocol,
		Compression: agreed.deflate != nil,
		Duration:    time.Since(began),
		Err:         err,
	})
	told = true
}
