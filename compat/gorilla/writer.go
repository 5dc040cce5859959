package websocket

import (
	"io"
	"sync"
	"unsafe"

	fullduplex "github.com/fullduplex-go/websocket"
)

// NextWriter begins a message of any type and returns a writer for it. The
// message is complete when the writer is closed; before that, parts of a long
// one leave as they are written. If the writer before it is open, NextWriter
// closes it, and so does every other method that sends a message.
//
// The writer is also an io.StringWriter and an io.ReaderFrom.
func (c *Conn) NextWriter(messageType int) (io.WriteCloser, error) {
	if !isData(messageType) && !isControl(messageType) {
		return nil, errBadMessageType
	}
	if err := c.beginWrite(); err != nil {
		return nil, err
	}
	w := &messageWriter{c: c, messageType: messageType}
	c.write.open.Store(w)
	return w, nil
}

// A messageWriter sends one message. What fits in a buffer is sent whole; a
// longer data message becomes a stream.
type messageWriter struct {
	c           *Conn
	messageType int

	mu     sync.Mutex                // held across I/O; guards what follows
	buffer *buffer                   // all that was written, or nil once there is a stream
	stream *fullduplex.MessageWriter // takes the rest of a long message; or nil
	err    error                     // permanent
}

// Write adds p to the message.
func (w *messageWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.makeRoom(len(p)); err != nil {
		return 0, err
	}
	if w.stream == nil {
		w.buffer.b = append(w.buffer.b, p...)
		return len(p), nil
	}
	n, err := w.stream.Write(p)
	return n, w.check(err)
}

// WriteString adds s to the message.
func (w *messageWriter) WriteString(s string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// ReadFrom adds all that r has to the message, and does not close it. An error
// of r leaves the message open.
func (w *messageWriter) ReadFrom(r io.Reader) (read int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n, err := w.readSome(r)
		read += int64(n)
		if err == io.EOF {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

// readSome adds what one call to r returns. The caller holds w.mu.
func (w *messageWriter) readSome(r io.Reader) (n int, err error) {
	if err := w.makeRoom(1); err != nil {
		return 0, err
	}
	if w.stream == nil {
		n, err = r.Read(w.buffer.room())
		w.buffer.extend(n)
		return n, err
	}
	chunk := newBuffer()
	defer chunk.free()
	chunk.grow()
	n, err = r.Read(chunk.room())
	if _, failed := w.stream.Write(chunk.b[:n]); failed != nil {
		return n, w.check(failed)
	}
	return n, err
}

// makeRoom makes sure that n more bytes fit in the buffer, or that there is a
// stream. The caller holds w.mu.
func (w *messageWriter) makeRoom(n int) error {
	switch {
	case w.err != nil || w.stream != nil:
		return w.err
	case w.buffer == nil:
		w.buffer = newBuffer()
	}
	switch used := len(w.buffer.b); {
	case isControl(w.messageType) && used+n > maxControlPayload:
		return w.end(errInvalidControlFrame)
	case used+n > bufferSize:
		return w.openStream()
	default:
		return nil
	}
}

// openStream makes the message a stream. The caller holds w.mu.
func (w *messageWriter) openStream() error {
	w.stream = streams.Get().(*fullduplex.MessageWriter)
	if err := w.beginStream(); err != nil {
		return w.check(err)
	}
	_, err := w.stream.Write(w.buffer.b)
	w.buffer.free()
	w.buffer = nil
	return w.check(err)
}

// beginStream makes w.stream a writer of the connection. Writer and WriterPlain
// are inlined, and what they return is copied, so that nothing is allocated. The
// caller holds w.mu.
func (w *messageWriter) beginStream() error {
	t := fullduplex.MessageType(w.messageType)
	if w.c.write.isPlain() {
		stream, err := w.c.ws.WriterPlain(background, t)
		if err != nil {
			return err
		}
		*w.stream = *stream
		return nil
	}
	stream, err := w.c.ws.Writer(background, t)
	if err != nil {
		return err
	}
	*w.stream = *stream
	return nil
}

// streams are those of messages that have ended.
var streams = sync.Pool{New: func() any { return new(fullduplex.MessageWriter) }}

// Close sends what is left of the message. Calls after the first return an
// error.
func (w *messageWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	err := w.complete()
	w.end(errWriterClosed)
	return err
}

// complete sends what is left of the message. The caller holds w.mu.
func (w *messageWriter) complete() error {
	var whole []byte
	if w.buffer != nil {
		whole = w.buffer.b
	}
	switch {
	case isControl(w.messageType):
		return w.c.writeControlMessage(w.messageType, whole)
	case w.stream != nil:
		return w.c.endWrite(w.stream.Close())
	default:
		return w.c.endWrite(w.c.send(fullduplex.MessageType(w.messageType), whole))
	}
}

// check returns the error of a call for one of the fullduplex.Conn, or nil. An
// error ends the message. The caller holds w.mu.
func (w *messageWriter) check(err error) error {
	if err == nil {
		return nil
	}
	return w.end(w.c.endWrite(err))
}

// end ends the message, and makes err the error of later calls and returns it.
// The caller holds w.mu.
func (w *messageWriter) end(err error) error {
	w.err = err
	w.buffer.free()
	w.buffer = nil
	if w.stream != nil {
		*w.stream = fullduplex.MessageWriter{}
		streams.Put(w.stream)
		w.stream = nil
	}
	w.c.write.open.CompareAndSwap(w, nil)
	return err
}
