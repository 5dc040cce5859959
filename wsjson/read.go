package wsjson

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/internal/lend"
)

// A DecodeError is a message that is not JSON, or not JSON for the type that
// was asked for. The connection is still open.
type DecodeError struct {
	// Offset is where in the message the error was noticed: that many bytes
	// were read. It is negative if an UnmarshalJSON method returned the error.
	Offset int64
	// Err is the error of encoding/json, often a *json.SyntaxError or a
	// *json.UnmarshalTypeError.
	Err error
}

// Error names the offset and the cause.
func (e *DecodeError) Error() string { return "wsjson: " + e.place() + ": " + e.Err.Error() }

// place says what is wrong and where, without a word of the message or of
// types.
func (e *DecodeError) place() string {
	if e.Offset < 0 {
		return "unwanted JSON"
	}
	return "unwanted JSON at byte " + strconv.FormatInt(e.Offset, 10)
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// Read returns the next message, decoded. The error is a [*DecodeError] or
// that of [websocket.Conn.Read].
func Read[T any](ctx context.Context, c *websocket.Conn) (T, error) {
	var v T
	err := lend.Message(ctx, c, func(kind byte, p []byte) error {
		return decode(websocket.MessageType(kind), p, &v)
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// Messages returns the messages as they come, decoded. The loop ends like that
// of [websocket.Conn.Messages]: quietly after a normal end, else with the
// error. A [*DecodeError] does not end it: it stands for one message, and the
// next turn brings the next.
func Messages[T any](ctx context.Context, c *websocket.Conn) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		defer c.Flush()
		for {
			v, err := Read[T](ctx, c)
			var invalid *DecodeError
			if err != nil && !errors.As(err, &invalid) {
				if !endedQuietly(err) {
					yield(v, err)
				}
				return
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// endedQuietly reports whether both sides agreed on the end, for no reason
// that anyone must hear of.
func endedQuietly(err error) bool {
	var end *websocket.CloseError
	if !errors.As(err, &end) || !end.Received || !end.Sent {
		return false
	}
	switch end.Code {
	case websocket.CloseNormal, websocket.CloseGoingAway, websocket.CloseNoStatus:
		return true
	default:
		return false
	}
}

// Reject closes c with 1007 if err is a [*DecodeError], and returns err. The
// peer is told the offset, and nothing of the types of this program.
func Reject(c *websocket.Conn, err error) error {
	var invalid *DecodeError
	if errors.As(err, &invalid) {
		c.Close(websocket.CloseInvalidPayload, invalid.place())
	}
	return err
}

// errNotUTF8 refuses what RFC 8259, Section 8.1 does: "JSON text exchanged
// between systems that are not part of a closed ecosystem MUST be encoded
// using UTF-8". Text messages were checked when they arrived.
var errNotUTF8 = errors.New("invalid UTF-8")

// decode stores the message p in v, a pointer.
func decode(t websocket.MessageType, p []byte, v any) error {
	if t == websocket.Binary && !utf8.Valid(p) {
		return &DecodeError{Offset: firstInvalid(p), Err: errNotUTF8}
	}
	err := json.Unmarshal(p, v)
	if err == nil {
		return nil
	}
	return &DecodeError{Offset: offset(err), Err: err}
}

// offset returns the offset that an error of encoding/json names, or -1.
func offset(err error) int64 {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Offset
	case errors.As(err, &mismatch):
		return mismatch.Offset
	default:
		return -1
	}
}

// firstInvalid returns the offset of the first byte of p that is not UTF-8.
func firstInvalid(p []byte) int64 {
	n := 0
	for n < len(p) {
		r, size := utf8.DecodeRune(p[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return int64(n)
}
