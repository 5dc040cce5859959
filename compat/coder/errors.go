package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	fullduplex "github.com/fullduplex-go/websocket"
)

// ErrMessageTooBig is in the errors of reads that found a message over the read
// limit.
var ErrMessageTooBig = errors.New("websocket: message too big")

// Errors of calls that the connection survives.
var (
	errCloseRead    = errors.New("nothing can be read after CloseRead")
	errStaleReader  = errors.New("another message was read after this one")
	errWriterClosed = errors.New("the writer is closed")
)

// An endError is the error of calls on a connection that has ended. It wraps
// the cause and, as errors.As finds it, is a [CloseError] if the peer's Close
// frame was received.
type endError struct {
	op  string // the call
	end *fullduplex.CloseError
}

// Error returns the call and how the connection ended.
func (e *endError) Error() string {
	if e.end.Received {
		return "websocket: " + e.op + ": received Close frame: " + e.closeError().Error()
	}
	return "websocket: " + e.op + ": " + withoutPrefix(e.end)
}

// withoutPrefix returns the text of err for use within another error of this
// package.
func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "websocket: ") }

// closeError returns what the peer's Close frame said.
func (e *endError) closeError() CloseError {
	return CloseError{Code: StatusCode(e.end.Code), Reason: e.end.Reason}
}

// Unwrap returns the cause. The end itself is not returned, because it is
// net.ErrClosed in every case.
func (e *endError) Unwrap() error { return e.end.Err }

// As finds a CloseError, if the peer's Close frame was received, and always
// fullduplex's own error.
func (e *endError) As(target any) bool {
	switch t := target.(type) {
	case *CloseError:
		if !e.end.Received {
			return false
		}
		*t = e.closeError()
		return true
	case **fullduplex.CloseError:
		*t = e.end
		return true
	}
	return false
}

// Is reports whether the connection ended as target says: net.ErrClosed for an
// end by Close frames, io.EOF for one by the network, [ErrMessageTooBig], a
// CloseError, or one of fullduplex's codes.
func (e *endError) Is(target error) bool {
	switch target := target.(type) {
	case CloseError:
		return e.end.Received && e.closeError() == target
	case fullduplex.CloseCode:
		return e.end.Is(target)
	}
	switch target {
	case net.ErrClosed:
		return e.end.Received || e.end.Err == nil
	case io.EOF:
		return errors.Is(e.end.Err, io.ErrUnexpectedEOF)
	case ErrMessageTooBig:
		return errors.Is(e.end.Err, fullduplex.ErrMessageTooBig)
	}
	return false
}

// failed returns the error of the call op for err, which is not nil. A call
// that its context has interrupted closes the connection.
func (c *Conn) failed(op string, err error) error {
	var end *fullduplex.CloseError
	if errors.As(err, &end) {
		return &endError{op: op, end: end}
	}
	if isContextError(err) {
		c.ws.CloseNow()
	}
	return callError(op, err)
}

// isContextError reports whether err is that of a context.
func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// callError returns the error of the call op for err, and closes nothing.
func callError(op string, err error) error {
	return &opError{op: op, err: err}
}

// An opError is the error of a call on a connection that has not ended.
type opError struct {
	op  string
	err error
}

// Error returns the call and what went wrong.
func (e *opError) Error() string {
	return fmt.Sprintf("websocket: %s: %s", e.op, withoutPrefix(e.err))
}

// Unwrap returns what went wrong.
func (e *opError) Unwrap() error { return e.err }

// A timeoutError is the error of a call whose deadline has passed. It is a
// [net.Error], and equal to both errors that say so.
type timeoutError struct{}

// Error returns a text.
func (timeoutError) Error() string { return "deadline exceeded" }

// Timeout reports true.
func (timeoutError) Timeout() bool { return true }

// Temporary reports true, as that of os.ErrDeadlineExceeded does.
func (timeoutError) Temporary() bool { return true }

// Is reports whether target is one of the errors for this.
func (timeoutError) Is(target error) bool {
	return target == os.ErrDeadlineExceeded || target == context.DeadlineExceeded
}
