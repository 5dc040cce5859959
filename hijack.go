package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
)

// hijack takes the connection from net/http and returns it with a copy of the
// bytes that were read behind the request. It empties both bufio structures of
// net/http where they are: a handler that does not return would keep their
// 8 KiB for the life of the connection.
func hijack(w http.ResponseWriter) (nc net.Conn, early []byte, refused *HandshakeError) {
	nc, buffers, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, hijackError(w, err)
	}
	if n := buffers.Reader.Buffered(); n > 0 {
		waiting, _ := buffers.Reader.Peek(n)
		early = slices.Clone(waiting)
	}
	*buffers.Reader = bufio.Reader{}
	*buffers.Writer = bufio.Writer{}
	return nc, early, nil
}

// hijackError returns the refusal of a request whose connection w did not hand
// over because of err. If the connection has been taken over before, as by
// another call of Accept, nothing is sent.
func hijackError(w http.ResponseWriter, err error) *HandshakeError {
	switch {
	case errors.Is(err, http.ErrHijacked):
		return &HandshakeError{Reason: "connection was taken over before", Err: err}
	case errors.Is(err, http.ErrNotSupported):
		return &HandshakeError{
			Status: http.StatusNotImplemented,
			Reason: lacksUnwrap,
			Err: fmt.Errorf("%T hides the connection: add the method Unwrap() http.ResponseWriter, or Hijack, to it, "+
				"or serve this path without that middleware: %w", innermostWriter(w), err),
		}
	default:
		return &HandshakeError{
			Status: http.StatusInternalServerError,
			Reason: "connection cannot be upgraded",
			Err:    fmt.Errorf("%T did not hand the connection over: %w", innermostWriter(w), err),
		}
	}
}

// lacksUnwrap is the reason for refusing a request whose connection is hidden.
const lacksUnwrap = "connection cannot be upgraded: a ResponseWriter of the server lacks Unwrap() http.ResponseWriter"

// innermostWriter returns the ResponseWriter that net/http asks for the
// connection: the first one, from w inwards, that has Hijack or lacks Unwrap.
func innermostWriter(w http.ResponseWriter) http.ResponseWriter {
	for {
		_, last := w.(http.Hijacker)
		below, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if last || !ok {
			return w
		}
		w = below.Unwrap()
	}
}
