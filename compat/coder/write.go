package websocket

import (
	"context"
	"io"

	fullduplex "github.com/fullduplex-go/websocket"
)

// Write sends p as one message, in one frame. p is not changed and not kept. If
// ctx ends while Write waits, the connection is closed.
func (c *Conn) Write(ctx context.Context, typ MessageType, p []byte) error {
	if err := ctx.Err(); err != nil {
		return callError("write", err)
	}
	if err := c.ws.Write(ctx, typ.outgoing(), p); err != nil {
		return c.failed("write", err)
	}
	return nil
}

// Writer begins a message, and returns a writer for its content, which must be
// closed: until then other messages wait. ctx bounds the writer as well: if it
// ends while either waits, the connection is closed.
func (c *Conn) Writer(ctx context.Context, typ MessageType) (io.WriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, callError("writer", err)
	}
	w, err := c.ws.Writer(ctx, typ.outgoing())
	if err != nil {
		return nil, c.failed("writer", err)
	}
	if c.writing == nil {
		c.writing = new(writeStream)
	}
	return c.writing.open(c, *w), nil
}

// A writeStream is where the message is that a messageWriter writes. From the
// return of Conn.Writer until that writer is closed or has failed, it belongs
// to the writer alone.
type writeStream struct {
	message fullduplex.MessageWriter
	writers batch[messageWriter]
}

// open makes m the message of a new writer.
func (s *writeStream) open(c *Conn, m fullduplex.MessageWriter) *messageWriter {
	s.message = m
	w := s.writers.next()
	w.c = c
	return w
}

// A messageWriter writes one message. It must be used by one goroutine at a
// time.
type messageWriter struct {
	c      *Conn
	closed bool // or failed: the stream may be another's
}

// Write adds p to the message.
func (w *messageWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, callError("write", errWriterClosed)
	}
	n, err := w.c.writing.message.Write(p)
	if err != nil {
		w.closed = true
		err = w.c.failed("write", err)
	}
	return n, err
}

// Close ends the message and lets others be sent. It is an error to call it
// again.
func (w *messageWriter) Close() error {
	if w.closed {
		return callError("close writer", errWriterClosed)
	}
	err := w.c.writing.message.Close()
	w.closed = true
	if err != nil {
		return w.c.failed("close writer", err)
	}
	return nil
}
