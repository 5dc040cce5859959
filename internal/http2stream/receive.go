package http2stream

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A receiver reads a body ahead, by one read, and hands out what came. mu guards
// it; run reads without.
type receiver struct {
	body io.ReadCloser

	mu       sync.Mutex
	arrived  sync.Cond // for those that wait for unread, err or closed
	taken    sync.Cond // for run, which waits for unread to be taken, or closed
	unread   []byte    // of run's buffer
	err      error     // what ended the body
	closed   bool
	deadline deadline
}

// newReceiver returns a receiver of body.
func newReceiver(body io.ReadCloser) *receiver {
	r := &receiver{body: body}
	r.arrived.L, r.taken.L, r.deadline.changed = &r.mu, &r.mu, &r.arrived
	return r
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
	if r.closed {
		return net.ErrClosed
	}
	r.deadline.set(t)
	return nil
}
