package wsjson

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
)

// A DecodeError reports a message that is not JSON, or not JSON for the wanted
// type. The connection is still open.
type DecodeError struct {
	// Offset is the number of bytes of the message read before the error was
	// noticed. It is negative if an UnmarshalJSON method returned the error.
	Offset int64
	// Err is the error of encoding/json, often a *json.SyntaxError or a
	// *json.UnmarshalTypeError.
	Err error
}

// Error returns a text with the offset and the cause.
func (e *DecodeError) Error() string { return "wsjson: " + e.place() + ": " + e.Err.Error() }

// place says what is wrong and where, and quotes neither the message nor the
// names of types.
func (e *DecodeError) place() string {
	if e.Offset < 0 {
		return "unwanted JSON"
	}
	return "unwanted JSON at byte " + strconv.FormatInt(e.Offset, 10)
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// Read returns the next message, decoded. The error is a [*DecodeError] or
// comes from [websocket.Conn.Read].
func Read[T any](ctx context.Context, c *websocket.Conn) (T, error) {
	var v T
	scratch := scratches.Get().(*[]byte)
	t, p, err := c.ReadInto(ctx, *scratch)
	if err != nil {
		return v, err
	}
	err = decode(t, p, &v)
	if cap(p) <= maxScratch {
		*scratch = p[:0]
	}
	scratches.Put(scratch)
	if err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// scratches are slices that messages are read into. The decoder retains none
// of them.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch is the size in bytes of the largest slice that is kept.
const maxScratch = 64 << 10

// Messages returns the messages as they come, decoded. The loop ends like that
// of [websocket.Conn.Messages]: quietly after a normal end, otherwise with the
// error. A [*DecodeError] does not end it: it stands for one message, and the
// next iteration yields the next one.
func Messages[T any](ctx context.Context, c *websocket.Conn) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for m, err := range c.Messages(ctx) {
			var v T
			if err == nil {
				err = decode(m.Type, m.Data, &v)
			}
			if err != nil {
				var zero T
				v = zero
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// Reject closes c with 1007 if err is a [*DecodeError], and returns err. The
// reason tells the peer the offset, and nothing about the program's types.
func Reject(c *websocket.Conn, err error) error {
	var invalid *DecodeError
	if errors.As(err, &invalid) {
		c.Close(websocket.CloseInvalidPayload, invalid.place())
	}
	return err
}

// errNotUTF8 refuses a binary message by RFC 8259, Section 8.1: "JSON text
// exchanged between systems that are not part of a closed ecosystem MUST be
// encoded using UTF-8". Text messages were checked when they arrived.
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

// firstInvalid returns the offset of the first byte of p that is not valid
// UTF-8.
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
