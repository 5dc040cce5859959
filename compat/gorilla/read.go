package websocket

import (
	"context"
	"sync"
	"time"
)

// A readSide is what the calls that read share, and what they share with the
// hooks of the connection, which handlers.go is about.
type readSide struct {
	handlers handlers

	mu      sync.Mutex // held while a handler runs
	calls   int        // calls that read now
	message uint64     // number of the message that is read, or was read last
	err     error      // permanent: every later read returns it
	held    []control  // what came while nobody read, for handlers of the application
	closed  bool       // the handler of Close frames has had its turn
	answer  answer
	wanted  chan struct{} // closed by the next read; nil unless the handler of Close frames waits for that
}

// background is the context of all calls: deadlines end them.
var background = context.Background()

// ReadMessage returns the type of the next message and the message, in memory
// that is the caller's.
//
// After an error every read returns that error again.
func (c *Conn) ReadMessage() (messageType int, p []byte, err error) {
	if _, err := c.beginMessage(); err != nil {
		return noMessage, nil, err
	}
	t, p, err := c.ws.Read(background)
	if err := c.endRead(err); err != nil {
		return noMessage, nil, err
	}
	return int(t), p, nil
}

// readInto is ReadMessage into memory of the caller, buf[:0], or more of it.
func (c *Conn) readInto(buf []byte) (p []byte, err error) {
	if _, err := c.beginMessage(); err != nil {
		return nil, err
	}
	_, p, err = c.ws.ReadInto(background, buf)
	if err := c.endRead(err); err != nil {
		return nil, err
	}
	return p, nil
}

// beginMessage begins a call that reads the next message, whose number it
// returns. After it has returned nil, endRead must be called.
func (c *Conn) beginMessage() (number uint64, err error) {
	r := &c.read
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := c.beginLocked(); err != nil {
		return 0, err
	}
	r.message++
	return r.message, nil
}

// resumeMessage begins a call that reads the message with a number. ok is false
// if that is not read any more. After it has returned true and nil, endRead
// must be called.
func (c *Conn) resumeMessage(number uint64) (ok bool, err error) {
	r := &c.read
	r.mu.Lock()
	defer r.mu.Unlock()
	if number != r.message {
		return false, nil
	}
	return true, c.beginLocked()
}

// beginLocked begins a call that reads, by letting handlers have what came
// while nobody did. The caller holds read.mu.
func (c *Conn) beginLocked() error {
	r := &c.read
	if len(r.held) > 0 {
		c.releaseLocked()
	}
	if r.err == nil {
		r.calls++
	}
	if r.wanted != nil {
		close(r.wanted)
		r.wanted = nil
	}
	return r.err
}

// endRead ends a call that reads, with an error of the fullduplex.Conn or nil,
// and returns the error of the call. That may be one of a handler.
func (c *Conn) endRead(err error) error {
	r := &c.read
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls--
	if err != nil && r.err == nil {
		c.failLocked(err)
	}
	return r.err
}

// failLocked makes an error of the fullduplex.Conn permanent. If the peer has
// closed and the handler was not asked when its Close frame came, it is now.
// The caller holds read.mu.
func (c *Conn) failLocked(err error) {
	r := &c.read
	r.err = readError(err)
	end, ok := r.err.(*CloseError)
	if ok && end.Code != CloseAbnormalClosure {
		if err := c.handleCloseLocked(end.Code, end.Text); err != nil {
			r.err = err
		}
	}
}

// SetReadDeadline sets the time at which a read that waits returns an error
// whose Timeout method returns true. It is permanent: no later read succeeds.
// The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return deadlineError(c.ws.SetReadDeadline(t)) }

// SetReadLimit sets how many bytes a message may have, after decompression. A
// longer one ends the connection: the peer is told 1009, and reads return
// [ErrReadLimit]. 0 and less mean any number. The limit is for messages whose
// beginning has not been read yet.
func (c *Conn) SetReadLimit(limit int64) {
	if limit <= 0 {
		limit = -1
	}
	c.ws.SetMaxMessageSize(limit)
}
