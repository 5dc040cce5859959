package dial

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket/internal/http2stream"
)

// linger is for how long, after Close, what was written before may take to leave.
const linger = 5 * time.Second

// A conn is the net.Conn of a WebSocket.
type conn struct {
	*http2stream.Conn
	stream *stream
}

// CloseWrite ends what is sent with END_STREAM, once what was written has left.
func (c *conn) CloseWrite() error {
	c.AwaitSent(linger)
	return c.stream.pipe.Close()
}

// A stream is that of an extended CONNECT, as package http2 shows it: the body of
// the response, and a pipe to the body of the request.
type stream struct {
	body   io.ReadCloser
	pipe   *io.PipeWriter
	cancel context.CancelFunc
	ended  atomic.Bool // by the server
}

// reset ends both directions with RST_STREAM and CANCEL.
func (s *stream) reset() {
	s.pipe.CloseWithError(errReset)
	s.cancel()
	go s.body.Close() // which may wait for the network
}

// errReset is the error of writing to a stream that was reset.
var errReset = errors.New("stream was reset")

// An input is the direction from the server.
type input struct{ *stream }

// Read reads what has come.
func (in input) Read(p []byte) (int, error) {
	n, err := in.body.Read(p)
	if err == io.EOF {
		in.ended.Store(true)
	}
	return n, err
}

// Close does nothing, because it would reset the stream and what was written
// before would not leave. The Close of the output, which follows, makes a Read that
// waits return.
func (in input) Close() error { return nil }

// An output is the direction to the server: a http2stream.Writer.
type output struct{ *stream }

// Write returns once p was taken over, which is before the last of it has left.
func (out output) Write(p []byte) (int, error) { return out.pipe.Write(p) }

// FlushError waits until what was written has left: an empty write ends when the
// pipe is read again, which is after that.
func (out output) FlushError() error {
	_, err := out.pipe.Write(nil)
	return err
}

// Abort makes a write that waits fail.
func (out output) Abort() { out.reset() }

// Close ends the stream. Like TCP, it resets one that the server still sends on
// (RFC 8441, Section 5).
func (out output) Close() error {
	if !out.ended.Load() {
		out.reset()
		return nil
	}
	return out.pipe.Close()
}
