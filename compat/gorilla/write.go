package websocket

import (
	"compress/flate"
	"sync/atomic"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A writeSide is what the calls that write share.
type writeSide struct {
	open   atomic.Pointer[messageWriter] // that of NextWriter, until it is closed
	err    atomic.Pointer[error]         // permanent: every later write returns it
	off    atomic.Bool                   // EnableWriteCompression was called with false
	stored atomic.Bool                   // SetCompressionLevel was called with flate.NoCompression
}

// failure returns the permanent error, or nil.
func (w *writeSide) failure() error {
	if err := w.err.Load(); err != nil {
		return *err
	}
	return nil
}

// fail makes err permanent, unless there is an error before it.
func (w *writeSide) fail(err error) { w.err.CompareAndSwap(nil, &err) }

// WriteMessage sends data as one message, of any type. data is neither changed
// nor retained.
func (c *Conn) WriteMessage(messageType int, data []byte) error {
	if err := c.beginWrite(); err != nil {
		return err
	}
	if !isData(messageType) {
		return c.writeControlMessage(messageType, data)
	}
	return c.endWrite(c.send(fullduplex.MessageType(messageType), data))
}

// beginWrite begins a call that sends a message. It closes the writer of
// NextWriter, if that is open.
func (c *Conn) beginWrite() error {
	if w := c.write.open.Load(); w != nil {
		w.Close()
	}
	return c.write.failure()
}

// send sends a data message.
func (c *Conn) send(t fullduplex.MessageType, p []byte) error {
	if c.write.isPlain() {
		return c.ws.WritePlain(background, t, p)
	}
	return c.ws.Write(background, t, p)
}

// isPlain reports whether messages are not to be compressed.
func (w *writeSide) isPlain() bool { return w.off.Load() || w.stored.Load() }

// endWrite ends a call that sends a message, with an error of the
// fullduplex.Conn or nil, and returns the error of the call. That of a deadline
// is permanent.
func (c *Conn) endWrite(err error) error {
	if err == nil {
		return nil
	}
	err = writeError(err)
	if isTimeout(err) {
		c.write.fail(err)
	}
	return err
}

// SetWriteDeadline sets the time at which a write that waits returns an error
// whose Timeout method returns true. It is permanent: no later write succeeds.
// The zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return deadlineError(c.ws.SetWriteDeadline(t))
}

// EnableWriteCompression says whether later messages are compressed, if that
// was agreed on with the peer. At first they are.
func (c *Conn) EnableWriteCompression(enable bool) { c.write.off.Store(!enable) }

// SetCompressionLevel returns an error unless level is one of compress/flate.
// With flate.NoCompression, later messages are sent as they are; all other
// levels are the same here.
func (c *Conn) SetCompressionLevel(level int) error {
	if level < flate.HuffmanOnly || level > flate.BestCompression {
		return errInvalidLevel
	}
	c.write.stored.Store(level == flate.NoCompression)
	return nil
}
