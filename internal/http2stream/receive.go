package http2stream

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A receiver reads a body ahead, by one read, and hands out what came. mu guards
// it; run reads without, and readDirect with reading.
type receiver struct {
	body    io.ReadCloser
	direct  bool
	reading sync.Mutex // held by readDirect
	buffer  []byte     // of readDirect

	mu       sync.Mutex
	arrived  sync.Cond // for those that wait for unread, err or closed
	taken    sync.Cond // for run, which waits for unread to be taken, or closed
	unread   []byte    // of the buffer of run or readDirect
	err      error     // what ended the body
	closed   bool
	deadline deadline
}

// init makes r read body.
func (r *receiver) init(body io.ReadCloser, direct bool) {
	r.body, r.direct = body, direct
	r.arrived.L, r.taken.L, r.deadline.changed = &r.mu, &r.mu, &r.arrived
}

// run reads the body until it ends.
func (r *receiver) run() {
	var b readBuffer
	for {
		n, err := r.body.Read(b.room())
		if !r.handOut(b.room()[:n], err) {
			b.release()
			return
		}
		b.resize(n)
	}
}

// handOut hands b out and waits until it is taken. It reports whether more is to
// be read.
func (r *receiver) handOut(b []byte, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = err
	}
	r.unread = b
	if len(b) > 0 || err != nil {
		r.arrived.Broadcast()
	}
	for len(r.unread) > 0 && !r.closed {
		r.taken.Wait()
	}
	return r.err == nil && !r.closed
}

// read copies to p what has come. It waits for at least one byte.
func (r *receiver) read(p []byte) (int, error) {
	if r.direct {
		return r.readDirect(p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.closed:
			return 0, net.ErrClosed
		case r.deadline.hasPassed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(r.unread) > 0:
			return r.take(p), nil
		case r.err != nil:
			return 0, r.err
		}
		r.deadline.wait()
	}
}

// readDirect is read on its caller's goroutine. A short p is not filled by a read of
// its own, which would cost much more than the copy.
func (r *receiver) readDirect(p []byte) (n int, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	for {
		if n, err, ok := r.takeNow(p); ok {
			return n, err
		}
		if len(p) >= firstSize {
			n, err = r.body.Read(p)
			r.note(nil, err)
			if n > 0 {
				return n, nil
			}
			continue
		}
		if r.buffer == nil {
			r.buffer = make([]byte, firstSize)
		}
		n, err = r.body.Read(r.buffer)
		r.note(r.buffer[:n], err)
	}
}

// takeNow is what read does if it need not wait.
func (r *receiver) takeNow(p []byte) (n int, err error, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, net.ErrClosed, true
	case len(p) == 0:
		return 0, nil, true
	case len(r.unread) > 0:
		return r.take(p), nil, true
	default:
		return 0, r.err, r.err != nil
	}
}

// note records what readDirect has read.
func (r *receiver) note(unread []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unread = unread
	if err != nil {
		r.err = err
	}
}

// take moves unread bytes to p. The caller holds mu.
func (r *receiver) take(p []byte) int {
	n := copy(p, r.unread)
	if r.unread = r.unread[n:]; len(r.unread) == 0 {
		r.taken.Signal()
	}
	return n
}

// close makes all calls return, for good.
func (r *receiver) close() {
	r.mu.Lock()
	r.closed = true
	r.arrived.Broadcast()
	r.taken.Signal()
	r.mu.Unlock()
	r.body.Close()
}

// setDeadline sets the deadline of read.
func (r *receiver) setDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return net.ErrClosed
	case r.direct:
		return os.ErrNoDeadline
	}
	r.deadline.set(t)
	return nil
}
