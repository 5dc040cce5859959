package websocket

import (
	"errors"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// This file takes a 101 response through the ResponseWriters of middleware.
// Hijack alone tells them nothing: an access log or a metric would record 200,
// and a session would lose its cookie. So they are told by WriteHeader(101), and
// net/http's server sends the head when the connection is taken from it.

// switchBehind sends the 101 response through w, which wraps s, and takes the
// connection from net/http. It returns the connection with a copy of the bytes
// that were read behind the request, or an error, and the connection is closed.
func (a *acceptor) switchBehind(s serverResponse, w http.ResponseWriter, r *http.Request, ans *answer) (nc net.Conn, early []byte, err error) {
	deadline := s.bound(a.cfg.HandshakeTimeout)
	a.setResponse(w.Header(), r, *ans)
	sends := s.announce(w, http.StatusSwitchingProtocols)
	nc, early, refused := hijack(w)
	switch {
	case refused != nil:
		return nil, nil, s.abandon(refused)
	case !sends:
		head := appendSwitchingProtocols(nil, keyIn(r), ans.agreed, ans.extensions)
		return nc, early, a.send(nc, http1.AppendFields(head, w.Header(), isContentOrReservedField))
	case s.writeFailed():
		closeNow(nc)
		return nil, nil, notSentError(errWrite, deadline)
	default:
		return nc, early, nil
	}
}

// setResponse makes h the header of the 101 response.
func (a *acceptor) setResponse(h http.Header, r *http.Request, ans answer) {
	a.setApplicationFields(h)
	setSwitchingProtocols(h, keyIn(r), ans.agreed, ans.extensions)
}

// setApplicationFields makes h the header of a response that opens a connection,
// but for the handshake's own fields: fields that it cannot have are removed,
// others stay.
func (a *acceptor) setApplicationFields(h http.Header) {
	for name := range h {
		if isContentOrReservedField(name) {
			delete(h, name)
		}
	}
	for name, values := range a.header {
		h[name] = slices.Concat(values, h[name])
	}
}

// notSentError returns the error for a response that net/http could not send
// because of err, which need not say that the deadline has passed.
func notSentError(err error, deadline time.Time) error {
	e := &HandshakeError{Reason: "response was not sent", Err: err}
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		e.Err = os.ErrDeadlineExceeded
	}
	return e
}

// errBegun is the error for a request to which something was answered before.
var errBegun = errors.New("WriteHeader, Write or Flush of the ResponseWriter was called before the handshake was accepted")

// errWrite is the error of a write of net/http's server.
var errWrite = errors.New("net/http could not write to the connection")

// A serverResponse is the ResponseWriter that net/http's server makes for a
// request, and that middleware wraps. What it does not tell is read
// from unexported fields of its struct. A future release may not have them:
// each is then taken for what lets the handshake go on, and a test fails.
type serverResponse struct {
	http.ResponseWriter
	response reflect.Value // the struct
	conn     reflect.Value // that of its connection in HTTP/1, or the zero Value
}

// serverResponseIn returns the serverResponse that w is or wraps. ok is false
// if there is none: if the server is not net/http's, or if a wrapper does not
// say what it wraps.
func serverResponseIn(w http.ResponseWriter) (s serverResponse, ok bool) {
	for ; w != nil; w = wrappedBy(w) {
		t := reflect.TypeOf(w)
		if t.Kind() != reflect.Pointer || t.Elem().PkgPath() != "net/http" {
			continue
		}
		switch v := reflect.ValueOf(w).Elem(); t.Elem().Name() {
		case "response":
			s.ResponseWriter, s.response = w, v
			if c := fieldOf(v, "conn"); c.Kind() == reflect.Pointer {
				s.conn = c.Elem()
			}
			return s, true
		case "http2responseWriter":
			s.ResponseWriter = w
			if state := fieldOf(v, "rws"); state.Kind() == reflect.Pointer {
				s.response = state.Elem()
			}
			return s, true
		}
	}
	return s, false
}

// wrappedBy returns the ResponseWriter that w wraps, or nil if it does not say:
// what Unwrap returns or, of the many types that are older than
// http.ResponseController and have Hijack instead, the field ResponseWriter,
// which they embed.
func wrappedBy(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	f := fieldOf(reflect.Indirect(reflect.ValueOf(w)), "ResponseWriter")
	if !f.IsValid() || !f.CanInterface() {
		return nil
	}
	below, _ := f.Interface().(http.ResponseWriter)
	return below
}

// fieldOf returns the field of a struct, or the zero Value if v is no struct or
// has no such field.
func fieldOf(v reflect.Value, name string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	index := fieldIndex(v.Type(), name)
	if index == nil {
		return reflect.Value{}
	}
	f, err := v.FieldByIndexErr(index)
	if err != nil { // in an embedded struct that is not there
		return reflect.Value{}
	}
	return f
}

// A knownField is a field of a struct that was looked for before.
type knownField struct {
	of    reflect.Type
	name  string
	index []int // nil: there is none
	older *knownField
}

// knownFields has the newest one; fields are added and never removed. There are
// few, so that looking through them takes less time, and stack, than a map.
var knownFields atomic.Pointer[knownField]

// fieldIndex returns the index of a field of t, or nil if there is none. To ask
// package reflect each time would take longer than all else that is asked of
// net/http.
func fieldIndex(t reflect.Type, name string) []int {
	newest := knownFields.Load()
	for f := newest; f != nil; f = f.older {
		if f.of == t && f.name == name {
			return f.index
		}
	}
	field, _ := t.FieldByName(name)
	knownFields.CompareAndSwap(newest, &knownField{t, name, field.Index, newest}) // or the next one does
	return field.Index
}

// wroteHeader reports whether WriteHeader was called with a status that is not
// informational, if that is known.
func (s serverResponse) wroteHeader() (wrote, known bool) {
	f := fieldOf(s.response, "wroteHeader")
	if f.Kind() != reflect.Bool {
		return false, false
	}
	return f.Bool(), true
}

// isBegun reports whether s is known to have begun a response.
func (s serverResponse) isBegun() bool {
	wrote, known := s.wroteHeader()
	return wrote && known
}

// isHijacked reports whether the connection is known to be taken over.
func (s serverResponse) isHijacked() bool {
	f := fieldOf(s.conn, "hijackedv")
	return f.Kind() == reflect.Bool && f.Bool()
}

// writeFailed reports whether a write to the connection is known to have failed.
func (s serverResponse) writeFailed() bool {
	f := fieldOf(s.conn, "werr")
	return f.Kind() == reflect.Interface && !f.IsNil()
}

// canSwitch reports whether w, which wraps s, is to be told of a 101 response:
// whether it hands the connection over then.
func (s serverResponse) canSwitch(w http.ResponseWriter) bool {
	_, ok := innermostWriter(w).(http.Hijacker)
	return ok && s.ResponseWriter != w && !s.isHijacked()
}

// bound bounds the time in which s can send a head, and returns when that ends:
// the zero time for never. Taking the connection over removes the bound.
func (s serverResponse) bound(timeout time.Duration) (deadline time.Time) {
	if timeout != forever {
		deadline = time.Now().Add(timeout)
	}
	http.NewResponseController(s.ResponseWriter).SetWriteDeadline(deadline)
	return deadline
}

// announce tells w, which wraps s, the status of the response, with the fields of
// w.Header(). It reports whether s sends it: a wrapper may have kept the status to
// itself, as those do that compress.
func (s serverResponse) announce(w http.ResponseWriter, status int) (sends bool) {
	w.WriteHeader(status)
	for layer := w; layer != nil && !s.isBegun(); layer = wrappedBy(layer) {
		if gin, ok := layer.(interface{ WriteHeaderNow() }); ok { // it keeps the status until then
			gin.WriteHeaderNow()
		}
	}
	wrote, known := s.wroteHeader()
	return wrote || !known
}

// abandon closes the connection after a 101 response, because a wrapper of s did
// not hand it over, for the reason in refused. It returns the error of the
// handshake.
func (s serverResponse) abandon(refused *HandshakeError) error {
	if nc, _, err := http.NewResponseController(s.ResponseWriter).Hijack(); err == nil {
		closeNow(nc)
	}
	refused.Status = http.StatusSwitchingProtocols
	return refused
}
