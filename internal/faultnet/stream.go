package faultnet

import (
	"io"
	"sync"
	"syscall"
)

// A stream is one direction of a connection: bytes written and not yet read.
// Its lock is never held while anyone waits.
type stream struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	data      []byte
	window    int  // len(data) that stops the writer
	finished  bool // the writer has closed it
	abandoned bool // the reader has closed it
	broken    bool // reset
}

func newStream() *stream {
	return &stream{changed: make(chan struct{}), window: DefaultWindow}
}

// wakeLocked wakes all goroutines that wait for a change.
func (s *stream) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// take moves bytes to p. If it returns no bytes and no error, changed is closed
// when the caller should try again.
func (s *stream) take(p []byte) (n int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken:
		return 0, nil, syscall.ECONNRESET
	case len(s.data) > 0:
		n = copy(p, s.data)
		s.data = s.data[n:]
		s.wakeLocked()
		return n, nil, nil
	case s.finished:
		return 0, nil, io.EOF
	default:
		return 0, s.changed, nil
	}
}

// put appends as much of p as the window allows. If n < len(p) and there is no
// error, changed is closed when the caller should try again.
func (s *stream) put(p []byte) (n int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken:
		return 0, nil, syscall.ECONNRESET
	case s.abandoned, s.finished:
		return 0, nil, syscall.EPIPE
	}
	n = min(max(s.window-len(s.data), 0), len(p))
	s.data = append(s.data, p[:n]...)
	if n > 0 {
		s.wakeLocked()
	}
	return n, s.changed, nil
}

// finish closes the stream for the writer; the reader can take the rest.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	s.wakeLocked()
}

// reset breaks the stream for both sides and drops unread bytes. It does nothing
// if the stream is finished and the reader has taken everything.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished && len(s.data) == 0 {
		return
	}
	s.broken = true
	s.data = nil
	s.wakeLocked()
}

// abandon closes the stream for the reader. It returns the number of unread
// bytes.
func (s *stream) abandon() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	unread := len(s.data)
	s.abandoned = true
	s.data = nil
	s.wakeLocked()
	return unread
}

func (s *stream) setWindow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window = n
	s.wakeLocked()
}

func (s *stream) unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.data)
}

func (s *stream) isAbandoned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.abandoned
}
