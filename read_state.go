package websocket

import "sync"

// This file decides what a connection holds for reading:
//
//	           reading: there is something to read
//	idle      ─────────────────────────────────────►  reading
//	Conn.in   ◄─────────────────────────────────────  Conn.in is a readState
//	is nil       stopReading: a read has to wait,
//	             and readState.isIdle
//
// A read that has to wait returns the state to the pool: on a raw socket once
// nothing has come, on any other net.Conn before it asks. When bytes come there
// is a state again. So, of what is called with read.lock held, only a read that
// ends with an error can leave Conn.in nil, and never in the middle of a message.
//
// What outlives the state is in readSide. What may still be used is not given
// back:
//
//	isIdle  ⇒  nothing is lent, neither part of the read buffer nor inbound.partial
//
// The next connection gets the state as if it were new, but for inbound.number,
// which counts on:
//
//	a state and a number of it  belong to one message of one connection, for ever
//	the number of a loop        belongs to one loop, for ever
//
// So a MessageReader whose message is over knows it, whatever has become of the
// state, and a loop never takes for its own what another has borrowed.

// A readState is what it takes to read: frames, and the message that they make.
// A reader takes one from a pool, and a read that has to wait returns it if it
// is idle.
type readState struct {
	frameReader
	msg         inbound
	pongPending bool // a Pong waits to be flushed
	yieldFirst  bool // messages were returned since the last wait
}

// readStates has those that nobody uses.
var readStates = sync.Pool{New: func() any {
	s := new(readState)
	s.raw.callback = s.readReady
	return s
}}

// isIdle reports whether nothing of s is needed: it is between messages, all
// that was received was taken, nothing is lent, and the network has not failed.
func (s *readState) isIdle() bool {
	return s.isDrained() && !s.msg.isOpen() && !s.rules.inside && s.err == nil &&
		!s.pinned && s.borrowed == nil && s.msg.partial == nil
}

// reading returns the state of reading, which is a new one if reading was idle.
// The caller holds read.lock.
func (c *Conn) reading() *readState {
	if c.in == nil {
		c.startReading()
	}
	return c.in
}

// startReading ends that reading is idle. The caller holds read.lock.
func (c *Conn) startReading() {
	s := readStates.Get().(*readState)
	s.nc, s.intake = c.socket(), &c.read.intake
	s.baseSize, s.busy = int32(c.cfg.ReadBufferSize), c.read.busy
	s.rules = frameRules{
		role:         c.read.role,
		deflate:      c.deflate != nil,
		maxSize:      c.maxMessageSize(),
		maxFragments: c.cfg.MaxFragments,
	}
	c.in = s
}

// stopReading returns the state of reading to the pool, where the next
// connection finds it. Nothing of it may be needed or lent. The caller holds
// read.lock.
func (c *Conn) stopReading() {
	s := c.in
	c.in = nil
	c.read.busy = s.busy
	s.buf.free()
	number, callback := s.msg.number, s.raw.callback
	*s = readState{}
	s.msg.number, s.raw.callback = number, callback
	readStates.Put(s)
}

// keepLittle returns the state of reading if it is idle; otherwise it parts with
// memory of it that is not in use. The caller holds read.lock.
func (c *Conn) keepLittle() {
	if c.in.isIdle() {
		c.stopReading()
		return
	}
	c.in.trim()
	c.in.msg.trim()
}

// readReady is called by RawConn.Read, as frameReader.readReady says. While it
// waits, reading may be idle.
func (c *Conn) readReady(fd uintptr) bool {
	done := c.reading().readReady(fd)
	if !done && c.in.isIdle() {
		c.stopReading()
	}
	return done
}

// fill waits for bytes from the network, as frameReader.fill does. Meanwhile
// reading may be idle; when it returns nil, it is not. The caller holds
// read.lock.
func (c *Conn) fill(target []byte) (int, error) {
	switch {
	case target != nil || !c.in.isIdle():
		return c.in.fill(target)
	case c.socket().isRaw():
		return 0, c.noteRaw(c.awaitRaw())
	default:
		return 0, c.fillFirst()
	}
}

// awaitRaw waits until something can be read from a raw socket, and reads into
// the buffer. There must be no permanent error. noteRaw must be called with
// what it returns: the two are fill(nil) on a small stack (see Stack budget in
// docs/design.md).
func (c *Conn) awaitRaw() error {
	if c.in != nil {
		c.in.raw.n = 0
	}
	nc := c.socket()
	if nc.own == nil {
		return nc.rawConn().Read(c.readReady) // a call like Close, which waits for a parked connection
	}
	return nc.rawConn().Read(nc.own.onReadable)
}

// noteRaw records what awaitRaw brought and returns what fill does.
func (c *Conn) noteRaw(err error) error {
	if c.in == nil { // nothing
		c.read.intake.note(0)
		return err
	}
	return c.in.noteRaw(err)
}

// fillFirst is fill for a net.Conn that cannot be asked whether anything has
// come, while reading is idle.
func (c *Conn) fillFirst() error {
	c.stopReading()
	c.read.intake.waitingSince.Store(int64(now()))
	n, err := readSome(c.socket(), c.socket().own.waitBuf[:])
	in := c.reading()
	if n > 0 {
		copy(in.room(), c.socket().own.waitBuf[:n])
		in.noteFilled(n)
	}
	if err = in.noteRead(n, err); in.isIdle() {
		c.stopReading()
	}
	return err
}
