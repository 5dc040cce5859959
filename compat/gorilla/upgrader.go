package websocket

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// An Upgrader turns requests into connections. It may be used by several
// goroutines at the same time, as long as none changes it.
type Upgrader struct {
	// HandshakeTimeout bounds the sending of the response. 0: no limit.
	HandshakeTimeout time.Duration

	// ReadBufferSize is the size in bytes of the buffer for reading, which a
	// connection has only while it reads: at least 256 and at most 1 MiB. 0: a
	// good one. WriteBufferSize is not used.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is not used: writing takes buffers from a pool anyhow.
	WriteBufferPool BufferPool

	// Subprotocols are those of the server, in its order of preference. The
	// first one that the client asks for is agreed on. Nil: the one that the
	// field Sec-WebSocket-Protocol of responseHeader names, if the client asks
	// for it.
	Subprotocols []string

	// Error writes the response to a request that is refused, with a status
	// and the HandshakeError that Upgrade returns. Nil: http.Error, with the
	// text of the status.
	Error func(w http.ResponseWriter, r *http.Request, status int, reason error)

	// CheckOrigin reports whether the page that sent a request may connect.
	// If it does not, the request is refused with 403. Nil: the host of Origin
	// must be that of the request, if there is an Origin.
	CheckOrigin func(r *http.Request) bool

	// EnableCompression agrees to permessage-deflate (RFC 7692), without
	// context takeover, if the client offers it.
	EnableCompression bool
}

// Upgrade answers the opening handshake in r and returns the connection. The
// fields of responseHeader are added to the response. If Upgrade returns an
// error, it has answered the request, as Error says.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header) (*Conn, error) {
	if _, ok := responseHeader[extensionsField]; ok {
		return nil, u.refuse(w, r, http.StatusInternalServerError, "responseHeader has Sec-WebSocket-Extensions, which is not the application's")
	}
	c := new(Conn)
	opts := u.options(responseHeader)
	c.setHooks(&opts.Config)
	ws, err := fullduplex.Accept(&answerWriter{ResponseWriter: w}, r, opts)
	if err != nil {
		return nil, u.refuseFor(w, r, err)
	}
	c.ws = ws
	return c, nil
}

// options returns the options of a connection whose response has the fields of
// h besides those of the handshake.
func (u *Upgrader) options(h http.Header) *fullduplex.AcceptOptions {
	opts := &fullduplex.AcceptOptions{
		Config: settings{
			handshakeTimeout: u.HandshakeTimeout,
			readBufferSize:   u.ReadBufferSize,
			subprotocols:     u.Subprotocols,
			compress:         u.EnableCompression,
		}.config(),
		Origin: u.checkOrigin,
		Header: h,
	}
	if chosen, ok := h[protocolField]; ok {
		opts.Header = maps.Clone(h)
		delete(opts.Header, protocolField)
		if u.Subprotocols == nil {
			opts.SelectSubprotocol = chooseFrom(chosen)
		}
	}
	return opts
}

// chooseFrom returns a function that chooses the first of some subprotocols, if
// the client asks for it.
func chooseFrom(chosen []string) func(r *http.Request, offered []string) (string, error) {
	return func(_ *http.Request, offered []string) (string, error) {
		if len(chosen) > 0 && slices.Contains(offered, chosen[0]) {
			return chosen[0], nil
		}
		return "", nil
	}
}

// errOrigin refuses requests of foreign pages.
var errOrigin = &fullduplex.HandshakeError{
	Status: http.StatusForbidden,
	Reason: "origin of the request is not allowed by CheckOrigin",
}

// checkOrigin is the policy for origins.
func (u *Upgrader) checkOrigin(r *http.Request) error {
	check := u.CheckOrigin
	if check == nil {
		check = sameHost
	}
	if !check(r) {
		return errOrigin
	}
	return nil
}

// sameHost reports whether the host of Origin is that of the request, or there
// is no Origin.
func sameHost(r *http.Request) bool {
	origins := r.Header["Origin"]
	switch len(origins) {
	case 0:
		return true
	case 1:
		origin, err := url.Parse(origins[0])
		return err == nil && len(origin.Host) == len(r.Host) && strings.EqualFold(origin.Host, r.Host)
	default:
		return false
	}
}

// refuseFor refuses a request for an error of Accept, unless the connection has
// been taken over, and returns the error for the application.
func (u *Upgrader) refuseFor(w http.ResponseWriter, r *http.Request, err error) error {
	var e *fullduplex.HandshakeError
	if !errors.As(err, &e) || e.Status == 0 {
		return err
	}
	reason := e.Reason
	if e.Err != nil {
		reason += ": " + e.Err.Error()
	}
	return u.refuse(w, r, statusOf(e.Status), reason)
}

// statusOf returns the status of this package for one of Accept.
func statusOf(status int) int {
	switch status {
	case http.StatusUpgradeRequired, http.StatusHTTPVersionNotSupported:
		return http.StatusBadRequest
	case http.StatusNotImplemented:
		return http.StatusInternalServerError
	default:
		return status
	}
}

// refuse answers a request with a status, and returns the error for the
// application.
func (u *Upgrader) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) error {
	err := HandshakeError{"websocket: " + reason}
	if u.Error != nil {
		u.Error(w, r, status, err)
		return err
	}
	w.Header().Set(versionField, "13")
	http.Error(w, http.StatusText(status), status)
	return err
}

// An answerWriter lets the response of Accept through that opens a connection,
// and drops those that refuse one: Upgrader.Error writes them.
type answerWriter struct {
	http.ResponseWriter
	header http.Header
}

// Header returns the fields of the response that may be dropped.
func (w *answerWriter) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader begins the response if it opens a connection.
func (w *answerWriter) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		maps.Copy(w.ResponseWriter.Header(), w.header)
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write drops p, which belongs to a response that is dropped.
func (w *answerWriter) Write(p []byte) (int, error) { return len(p), nil }

// Unwrap returns what http.ResponseController hijacks.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Upgrade answers the opening handshake in r, whatever its Origin, and returns
// the connection. If it returns an error, which is a HandshakeError, it has not
// answered the request.
//
// Deprecated: Use [Upgrader], which looks at Origin.
func Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header, readBufSize, writeBufSize int) (*Conn, error) {
	u := Upgrader{
		ReadBufferSize: readBufSize,
		CheckOrigin:    func(*http.Request) bool { return true },
		Error:          func(http.ResponseWriter, *http.Request, int, error) {},
	}
	return u.Upgrade(w, r, responseHeader)
}
