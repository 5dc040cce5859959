package http2stream

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A directReader reads a body on the goroutine of its caller. Only close interrupts
// it.
type directReader struct {
	body   io.ReadCloser
	closed atomic.Bool

	mu     sync.Mutex // held while the body is read; guards what follows
	buffer readBuffer
	unread []byte // of buffer
	filled int    // bytes that the last fill read
	err    error  // what ended the body
}

// run does nothing: read reads the body.
func (r *directReader) run() {}

// read reads what comes into p. A short p is not filled by a read of its own, which
// would cost much more than the copy.
func (r *directReader) read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.closed.Load():
			return 0, net.ErrClosed
		case len(p) == 0:
			return 0, nil
		case len(r.unread) > 0:
			n = copy(p, r.unread)
			r.unread = r.unread[n:]
			return n, nil
		case r.err != nil:
			return 0, r.err
		case len(p) < len(r.buffer.room()):
			r.fill()
		default:
			if n, r.err = r.body.Read(p); n > 0 {
				return n, nil
			}
		}
	}
}

// fill reads into the buffer, of which nothing is unread. The caller holds mu.
func (r *directReader) fill() {
	r.buffer.resize(r.filled)
	r.filled, r.err = r.body.Read(r.buffer.room())
	r.unread = r.buffer.room()[:r.filled]
}

// close makes all calls return, for good.
func (r *directReader) close() {
	r.closed.Store(true)
	r.body.Close()
}

// setDeadline fails.
func (r *directReader) setDeadline(time.Time) error {
	if r.closed.Load() {
		return net.ErrClosed
	}
	return os.ErrNoDeadline
}
