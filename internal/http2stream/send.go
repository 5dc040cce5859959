package http2stream

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// maxTaken is how many bytes Write takes over at once.
const maxTaken = 64 << 10

// A sender writes a copy of what it was given, on a goroutine that exists
// meanwhile. mu guards it; the goroutine uses w and what is in flight without.
//
//	      write                         has left, or failed
//	idle ───────► something in flight ───────────────────────► idle
//	                       │ close                     close     │
//	                       └────────► lingering ───────► done ◄──┘
type sender struct {
	w      Writer
	linger time.Duration
	done   chan struct{} // closed once w is not used any more

	mu       sync.Mutex
	changed  sync.Cond // for those that wait for anything below
	inFlight *buffer   // what the goroutine writes; nil: there is none
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

// write takes p over, returns how much of it, and waits until that has left. If
// the deadline passes meanwhile, the last of what it took over is still in flight.
func (s *sender) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline.hasPassed() {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		err := s.awaitLeft()
		if n == len(p) && (err == nil || err == os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += s.take(p[n:])
	}
}

// awaitLeft waits until nothing is in flight. It returns an error if the deadline
// passes before, if s is closed, or if writing has failed. The caller holds mu.
func (s *sender) awaitLeft() error {
	for {
		switch {
		case s.err != nil:
			return s.err
		case s.closed:
			return net.ErrClosed
		case s.inFlight == nil:
			return nil
		case s.deadline.hasPassed():
			return os.ErrDeadlineExceeded
		}
		s.deadline.wait()
	}
}

// take lets a beginning of p leave, and returns its length. The caller holds mu,
// and nothing is in flight.
func (s *sender) take(p []byte) int {
	p = p[:min(len(p), maxTaken)]
	if len(p) > 0 {
		s.inFlight = acquireBuffer()
		s.inFlight.b = append(s.inFlight.b, p...)
		go s.send(s.inFlight)
	}
	return len(p)
}

// send writes b, which is in flight.
func (s *sender) send(b *buffer) {
	err := s.writeOut(b.b)
	b.free()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = nil
	if s.err == nil {
		s.err = err
	}
	s.changed.Broadcast()
	s.endIfDone()
}

// writeOut writes b and makes it leave. The Writer of a handler that has returned
// panics.
func (s *sender) writeOut(b []byte) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%w: %v", errLeft, panicked)
		}
	}()
	if _, err = s.w.Write(b); err == nil {
		err = s.w.FlushError()
	}
	return err
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
	if s.inFlight != nil {
		s.late = time.AfterFunc(s.linger, s.abort)
	}
	s.endIfDone()
}

// endIfDone ends the stream if nothing is to be written any more. The caller holds
// mu.
func (s *sender) endIfDone() {
	if !s.closed || s.inFlight != nil {
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
	t := time.AfterFunc(d, s.abort)
	defer t.Stop()
	<-s.done
}

// abort makes what is in flight fail. The Writer of a handler that has returned
// panics, and fails by itself.
func (s *sender) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight != nil {
		defer func() { recover() }()
		s.w.Abort()
	}
}

// awaitSent waits until nothing is in flight, for at most d.
func (s *sender) awaitSent(d time.Duration) {
	end := deadline{changed: &s.changed}
	s.mu.Lock()
	defer s.mu.Unlock()
	for end.set(time.Now().Add(d)); s.inFlight != nil && !end.hasPassed(); {
		end.wait()
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

// A buffer has what is in flight.
type buffer struct{ b []byte }

// freeBuffers have those that are not in use.
var freeBuffers = sync.Pool{New: func() any { return new(buffer) }}

// acquireBuffer returns an empty buffer.
func acquireBuffer() *buffer { return freeBuffers.Get().(*buffer) }

// free gives b back.
func (b *buffer) free() {
	b.b = b.b[:0]
	freeBuffers.Put(b)
}
