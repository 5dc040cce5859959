package faultnet

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A fault is a net.Conn with some methods replaced. CloseWrite is that of the
// underlying connection.
type fault struct{ net.Conn }

// CloseWrite closes the outgoing direction of the underlying connection.
func (f fault) CloseWrite() error {
	if half, ok := f.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// reads replaces Read.
type reads struct {
	fault
	read func(p []byte) (int, error)
}

func (r *reads) Read(p []byte) (int, error) { return r.read(p) }

// writes replaces Write.
type writes struct {
	fault
	write func(p []byte) (int, error)
}

func (w *writes) Write(p []byte) (int, error) { return w.write(p) }

// OnWrite returns nc with write in place of its Write.
func OnWrite(nc net.Conn, write func(p []byte) (int, error)) net.Conn {
	return &writes{fault{nc}, write}
}

// ReadsOf returns nc limited to reads of at most k bytes.
func ReadsOf(nc net.Conn, k int) net.Conn {
	return &reads{fault{nc}, func(p []byte) (int, error) {
		return nc.Read(p[:min(k, len(p))])
	}}
}

// readTo returns nc with a Read that never crosses offset i of the incoming
// stream, and calls arrived instead of reading once it has reached it.
func readTo(nc net.Conn, i int, arrived func(p []byte) (int, error)) net.Conn {
	left := i
	return &reads{fault{nc}, func(p []byte) (int, error) {
		if left == 0 {
			return arrived(p)
		}
		n, err := nc.Read(p[:min(left, len(p))])
		left -= n
		return n, err
	}}
}

// SplitAt returns nc with no read crossing offset i of the incoming stream.
func SplitAt(nc net.Conn, i int) net.Conn { return readTo(nc, i, nc.Read) }

// TruncateAt returns nc with an incoming stream that stops after i bytes. From
// then on reads return end; if that is nil they discard what arrives, until a
// deadline or Close stops them.
func TruncateAt(nc net.Conn, i int, end error) net.Conn {
	return readTo(nc, i, func(p []byte) (int, error) {
		if end != nil {
			return 0, end
		}
		return swallow(nc)
	})
}

func swallow(nc net.Conn) (int, error) {
	var p [512]byte
	for {
		if _, err := nc.Read(p[:]); err != nil {
			return 0, err
		}
	}
}

// EndWithData returns nc with an incoming stream that stops after i bytes;
// the read that takes the last of them returns end as well.
func EndWithData(nc net.Conn, i int, end error) net.Conn {
	left := i
	return &reads{fault{nc}, func(p []byte) (int, error) {
		n, err := 0, end
		if left > 0 {
			n, err = nc.Read(p[:min(left, len(p))])
		}
		left -= n
		if left == 0 && err == nil {
			err = end
		}
		return n, err
	}}
}

// EmptyReads returns nc with n reads of no bytes and no error at offset i of
// the incoming stream; a negative n means forever.
func EmptyReads(nc net.Conn, i, n int) net.Conn {
	return readTo(nc, i, func(p []byte) (int, error) {
		if n == 0 {
			return nc.Read(p)
		}
		n = max(n-1, -1)
		return 0, nil
	})
}

// MutateAt returns nc with change applied to the byte at offset i of the
// incoming stream.
func MutateAt(nc net.Conn, i int, change func(byte) byte) net.Conn {
	offset := 0
	return &reads{fault{nc}, func(p []byte) (int, error) {
		n, err := nc.Read(p)
		if i >= offset && i < offset+n {
			p[i-offset] = change(p[i-offset])
		}
		offset += n
		return n, err
	}}
}

// ShortWrite returns nc with one short write: the write that would cross offset
// i of the outgoing stream stops there and returns err, which may be nil. Later
// writes succeed.
func ShortWrite(nc net.Conn, i int, err error) net.Conn {
	left, done := i, false
	return OnWrite(nc, func(p []byte) (int, error) {
		if done || len(p) <= left {
			left -= len(p)
			return nc.Write(p)
		}
		done = true
		n, werr := nc.Write(p[:left])
		if werr == nil {
			werr = err
		}
		return n, werr
	})
}

// An ErrConn is a net.Conn one of whose calls fails. Read, Write, CloseWrite and
// the setters of deadlines are counted together, from 0. Close is not counted,
// so that the connection can still be closed.
type ErrConn struct {
	fault
	at    int64
	err   error
	calls atomic.Int64
	after failedHalves
}

// ErrAt returns nc with its n-th call failing with err and doing nothing.
func ErrAt(nc net.Conn, n int, err error) *ErrConn {
	return &ErrConn{fault: fault{nc}, at: int64(n), err: err}
}

// Fired reports whether the failing call was made.
func (c *ErrConn) Fired() bool { return c.calls.Load() > c.at }

// UsedAfterFailure reports whether Read or Write was called again after it had
// failed.
func (c *ErrConn) UsedAfterFailure() bool { return c.after.used() }

// try counts a call and makes it, unless it is the one that fails.
func (c *ErrConn) try(call func() error) error {
	if c.calls.Add(1)-1 == c.at {
		return c.err
	}
	return call()
}

// Read is a counted Read.
func (c *ErrConn) Read(p []byte) (n int, err error) {
	c.after.use(readHalf)
	err = c.try(func() error { n, err = c.Conn.Read(p); return err })
	c.after.failed(readHalf, err)
	return n, err
}

// Write is a counted Write.
func (c *ErrConn) Write(p []byte) (n int, err error) {
	c.after.use(writeHalf)
	err = c.try(func() error { n, err = c.Conn.Write(p); return err })
	c.after.failed(writeHalf, err)
	return n, err
}

// CloseWrite is a counted CloseWrite.
func (c *ErrConn) CloseWrite() error { return c.try(c.fault.CloseWrite) }

// SetDeadline is a counted SetDeadline.
func (c *ErrConn) SetDeadline(t time.Time) error {
	return c.try(func() error { return c.Conn.SetDeadline(t) })
}

// SetReadDeadline is a counted SetReadDeadline.
func (c *ErrConn) SetReadDeadline(t time.Time) error {
	return c.try(func() error { return c.Conn.SetReadDeadline(t) })
}

// SetWriteDeadline is a counted SetWriteDeadline.
func (c *ErrConn) SetWriteDeadline(t time.Time) error {
	return c.try(func() error { return c.Conn.SetWriteDeadline(t) })
}

// half is a direction of a connection.
type half int

const (
	readHalf half = iota
	writeHalf
)

// failedHalves records which directions have failed for good, and whether one
// was used afterwards. A timeout is not such a failure.
type failedHalves struct {
	mu     sync.Mutex
	broken [2]bool
	reused bool
}

func (f *failedHalves) use(h half) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reused = f.reused || f.broken[h]
}

func (f *failedHalves) failed(h half, err error) {
	var ne net.Error
	if err == nil || err == io.EOF || errors.As(err, &ne) && ne.Timeout() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken[h] = true
}

func (f *failedHalves) used() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reused
}
