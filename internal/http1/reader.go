package http1

import (
	"errors"
	"io"
	"net"
	"sync"
)

// bufferSize is the size in bytes of a pooled buffer: enough for most heads.
const bufferSize = 4096

// maxEmptyReads is how many calls of Read in a row may return nothing, not even
// an error.
const maxEmptyReads = 100

// buffers holds the buffers that heads are read into.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// errInvalidCount is the error for a net.Conn that breaks the contract of Read.
var errInvalidCount = errors.New("net.Conn returned an invalid count from Read")

// A Reader reads heads from a net.Conn and keeps what arrives behind them. Its
// buffer is borrowed: Release gives it back.
type Reader struct {
	nc     net.Conn
	pooled *[bufferSize]byte
	buf    []byte // what arrived; begins in pooled, and leaves it for a long head
	used   int    // bytes of buf that belong to heads already returned
	prefix string // what every head begins with
}

// NewRequestReader returns a Reader of requests. What cannot be the first byte
// of a method is an error at once.
func NewRequestReader(nc net.Conn) Reader { return newReader(nc, "") }

// NewResponseReader returns a Reader of responses. What cannot be the beginning
// of an HTTP/1 status line is an error at once.
func NewResponseReader(nc net.Conn) Reader { return newReader(nc, "HTTP/1.") }

// newReader returns a Reader of heads that begin with prefix or, if that is
// empty, with a token.
func newReader(nc net.Conn, prefix string) Reader {
	pooled := buffers.Get().(*[bufferSize]byte)
	return Reader{nc: nc, pooled: pooled, buf: pooled[:0], prefix: prefix}
}

// Release returns the buffer. The slices that Rest returned are then invalid,
// and the Reader must not be used any more.
func (r *Reader) Release() {
	buffers.Put(r.pooled)
	r.pooled, r.buf = nil, nil
}

// Next returns the next head, with the blank line that ends it. All heads of
// one Reader share a budget of MaxHeadBytes. The error is ErrTooLarge,
// ErrMalformed or ErrStartLine, io.ErrUnexpectedEOF if the peer stops within a
// head, io.EOF if it sent nothing of one, io.ErrNoProgress, or that of the
// net.Conn.
func (r *Reader) Next() (string, error) {
	for seen := r.used; ; {
		n, err := headLength(r.Rest(), seen-r.used)
		switch {
		case err != nil:
			return "", err
		case n > 0:
			head := string(r.Rest()[:n])
			r.used += n
			return head, nil
		case !r.canBegin():
			return "", ErrStartLine
		case len(r.buf) >= MaxHeadBytes:
			return "", ErrTooLarge
		}
		seen = len(r.buf)
		if err := r.fill(); err != nil {
			return "", err
		}
	}
}

// Await returns when a byte of the next head has arrived. The error is one that
// Next would return.
func (r *Reader) Await() error {
	if len(r.Rest()) > 0 {
		return nil
	}
	return r.fill()
}

// Rest returns what arrived behind the heads returned. It is valid until the
// next call of a method that reads, or of Release.
func (r *Reader) Rest() []byte { return r.buf[r.used:] }

// canBegin reports whether what arrived of a head can be the beginning of one.
// It tells a peer that speaks another protocol, and may be waiting for this
// side, from one that is slow.
func (r *Reader) canBegin() bool {
	b := r.Rest()
	if r.prefix == "" {
		return len(b) == 0 || IsTokenChar(b[0])
	}
	n := min(len(b), len(r.prefix))
	return string(b[:n]) == r.prefix[:n]
}

// fill reads until at least one byte arrives, into room that doubles when it is
// full.
func (r *Reader) fill() error {
	if len(r.buf) == cap(r.buf) {
		r.buf = append(make([]byte, 0, 2*cap(r.buf)), r.buf...)
	}
	n, err := r.readSome(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	switch {
	case n > 0:
		return nil
	case err == io.EOF && len(r.Rest()) > 0:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

// readSome reads into p until at least one byte arrives, and gives up with
// io.ErrNoProgress if Read returns nothing too often.
func (r *Reader) readSome(p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := r.nc.Read(p)
		if n < 0 || n > len(p) {
			return 0, errInvalidCount
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
