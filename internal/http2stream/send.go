package http2stream

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// maxPending is how many bytes Write takes over before the ones before them have
// left.
const maxPending = 64 << 10

// A sender writes what it was given, on a goroutine that exists while there is
// something to write. mu guards it; the goroutine uses the Writer without.
//
//	     write                      nothing is pending
//	idle ─────► sending ──────────────────────────────► idle
//	                │ close                    close      │
//	                └───────► lingering ──────► done ◄────┘
type sender struct {
	w      Writer
	linger time.Duration
	done   chan struct{} // closed once w is not used any more

	mu       sync.Mutex
	changed  sync.Cond // for those that wait for anything below
	pending  *buffer   // not written yet; nil: nothing
	sending  bool      // the goroutine exists
	closed   bool
	err      error       // what writing failed with
	late     *time.Timer // aborts w; nil until it lingers
	deadline deadline
}

// init makes s write to w.
func (s *sender) init(w Writer, linger time.Duration) {
	s.w, s.linger = w, linger
	s.done = make(chan struct{})
	s.changed.L, s.deadline.changed = &s.mu, &s.changed
}

// write takes p over, and returns how much of it.
func (s *sender) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.err != nil:
			return n, s.err
		case s.closed:
			return n, net.ErrClosed
		case s.deadline.hasPassed():
			return n, os.ErrDeadlineExceeded
		}
		n += s.add(p[n:])
		if n == len(p) {
			return n, nil
		}
		s.deadline.wait()
	}
}

// add makes a beginning of p pending, as long as there is room for, and returns
// its length. The caller holds mu.
func (s *sender) add(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	if s.pending == nil {
		s.pending = acquireBuffer()
	}
	n := min(len(p), maxPending-len(s.pending.b))
	s.pending.b = append(s.pending.b, p[:n]...)
	if !s.sending {
		s.sending = true
		go s.send()
	}
	return n
}

// send is the goroutine.
func (s *sender) send() {
	var err error
	for {
		b := s.next(err)
		if b == nil {
			return
		}
		err = s.writeOut(b.b)
		b.free()
	}
}

// next records the error of the last write and takes what is pending. It returns
// nil if the goroutine is over.
func (s *sender) next(err error) (b *buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
	b, s.pending = s.pending, nil
	if s.err = err; err != nil {
		b.free()
		b = nil
	}
	if b == nil {
		s.sending = false
		s.endIfDone()
	}
	return b
}

// hasMore reports whether something is pending.
func (s *sender) hasMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending != nil
}

// writeOut writes b, and makes it leave unless more follows. A Writer of a handler
// that has returned panics.
func (s *sender) writeOut(b []byte) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%w: %v", errLeft, panicked)
		}
	}()
	_, err = s.w.Write(b)
	if err != nil || s.hasMore() {
		return err
	}
	return s.w.FlushError()
}

// errLeft is the error for a stream that ended while it was in use.
var errLeft = errors.New("the handler of the stream has returned, and must stay until the connection has ended")

// close refuses what is written from now on, and lets the rest leave.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.changed.Broadcast()
	if s.sending {
		s.late = time.AfterFunc(s.linger, s.abort)
	}
	s.endIfDone()
}

// endIfDone ends the stream if nothing is to be written any more. The caller holds
// mu.
func (s *sender) endIfDone() {
	if !s.closed || s.sending {
		return
	}
	if s.late != nil {
		s.late.Stop()
	}
	s.w.Close()
	close(s.done)
}

// awaitDone waits until w is not used any more, for at most d, and then aborts it.
func (s *sender) awaitDone(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
		s.abort()
		<-s.done
	}
}

// abort makes the goroutine end, if it exists.
func (s *sender) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending {
		s.w.Abort()
	}
}

// awaitSent waits until nothing is to be written, for at most d.
func (s *sender) awaitSent(d time.Duration) {
	over := false
	t := time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.changed.Broadcast()
	})
	defer t.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sending && !over {
		s.changed.Wait()
	}
}

// setDeadline sets the deadline of write.
func (s *sender) setDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.deadline.set(t)
	return nil
}

// A buffer has what is to be written.
type buffer struct{ b []byte }

// freeBuffers have those that are not in use.
var freeBuffers = sync.Pool{New: func() any { return new(buffer) }}

// acquireBuffer returns an empty buffer.
func acquireBuffer() *buffer { return freeBuffers.Get().(*buffer) }

// free gives b back, which may be nil.
func (b *buffer) free() {
	if b != nil {
		b.b = b.b[:0]
		freeBuffers.Put(b)
	}
}
