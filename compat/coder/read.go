package websocket

import (
	"context"
	"io"

	fullduplex "github.com/fullduplex-go/websocket"
)

// defaultReadLimit is the longest message that is accepted unless SetReadLimit
// says otherwise, in bytes.
const defaultReadLimit = 32768

// SetReadLimit sets the longest message that is accepted, in bytes after
// inflation, from the next message on; a negative n sets no limit, and 0 is the
// same as 1. A longer message ends the connection with StatusMessageTooBig, and
// reads with an error that is [ErrMessageTooBig]. Without a call the limit is
// 32768 bytes.
func (c *Conn) SetReadLimit(n int64) {
	if n == 0 {
		n = 1 // 0 is the default of fullduplex
	}
	c.ws.SetMaxMessageSize(n)
}

// Read returns the next message. If ctx ends while it waits, the connection is
// closed.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, callError("read", err)
	}
	t, p, err := c.ws.Read(ctx)
	if err != nil {
		return 0, nil, c.readFailed(err)
	}
	return MessageType(t), p, nil
}

// Reader waits for the next message, and returns its type and a reader for its
// content. ctx bounds the reader as well: if it ends while either waits, the
// connection is closed. Only one reader is open at a time: the next call of
// Reader or Read drops what was not read of the message, and the reader fails.
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, callError("reader", err)
	}
	t, r, err := c.ws.Reader(ctx)
	if err != nil {
		return 0, nil, c.readFailed(err)
	}
	if c.reading == nil {
		c.reading = new(readStream)
	}
	return MessageType(t), c.reading.open(c, *r), nil
}

// readFailed is failed for a call that reads.
func (c *Conn) readFailed(err error) error {
	if c.isReadClosed() && !endsConn(err) {
		return callError("read", errCloseRead)
	}
	return c.failed("read", err)
}

// A readStream is where the message is that a messageReader reads.
type readStream struct {
	message fullduplex.MessageReader
	reader  *messageReader // of message
	readers batch[messageReader]
}

// open makes m the message of a new reader.
func (s *readStream) open(c *Conn, m fullduplex.MessageReader) *messageReader {
	s.message = m
	s.reader = s.readers.next()
	s.reader.c = c
	return s.reader
}

// A messageReader reads one message. It knows when the connection has gone on to
// another one.
type messageReader struct {
	c        *Conn
	finished bool // it has returned io.EOF
}

// Read reads up to len(p) bytes of the message, and returns io.EOF at its end.
func (r *messageReader) Read(p []byte) (int, error) {
	s := r.c.reading
	if s.reader != r {
		return 0, r.endOfStale()
	}
	n, err := s.message.Read(p)
	if err != nil {
		err = r.ended(err)
	}
	return n, err
}

// WriteTo writes the rest of the message to w, in pieces as they arrive.
func (r *messageReader) WriteTo(w io.Writer) (int64, error) {
	if r.finished {
		return 0, nil
	}
	s := r.c.reading
	if s.reader != r {
		return 0, r.endOfStale()
	}
	to := destination{w: w}
	n, err := s.message.WriteTo(&to)
	switch {
	case err == nil:
		r.finished = true
		return n, nil
	case to.failed:
		return n, err
	default:
		return n, r.ended(err)
	}
}

// ended returns the error of Read for err, which is not nil.
func (r *messageReader) ended(err error) error {
	if err == io.EOF {
		r.finished = true
		return io.EOF
	}
	return r.c.readFailed(err)
}

// endOfStale returns the error of a reader whose message is not the last one.
func (r *messageReader) endOfStale() error {
	if r.finished {
		return io.EOF
	}
	return callError("read", errStaleReader)
}

// A destination is the writer that is given to WriteTo.
type destination struct {
	w      io.Writer
	failed bool // an error came from w, and not from the connection
}

// Write writes p to w.
func (d *destination) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.failed = err != nil || n < len(p)
	return n, err
}
