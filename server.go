package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// AcceptOptions set a server's side of a connection. The zero value, and nil,
// are safe on the open Internet.
type AcceptOptions struct {
	Config

	// Origin decides which pages may connect. Nil: SameOrigin().
	Origin OriginPolicy

	// SelectSubprotocol picks one of the subprotocols offered, or "". Nil:
	// the first of Config.Subprotocols that was offered. An error refuses
	// the request, with 400 or with what a [*HandshakeError] says.
	SelectSubprotocol func(r *http.Request, offered []string) (string, error)

	// RefuseCompression reports whether no compression is agreed on with the
	// client that sent r, such as one known to get it wrong. Nil: for none.
	RefuseCompression func(r *http.Request) bool

	// Header is added to the response, with names spelled as its keys are. If
	// it has fields of the handshake itself, or control characters, every
	// request is refused with 500.
	Header http.Header

	// Registry keeps the connections until they end, and closes them when
	// the server stops. Requests that come later are refused with 503. Nil:
	// the connections are in no Registry.
	Registry *Registry
}

// Accept answers the opening handshake in r and returns the connection. If it
// returns an error, which is always a [*HandshakeError], it has written the
// response too: 400, 403, 405, 426, 500, 501, 503, 505 or what a policy said. A
// handler then has nothing left to do but return.
//
// 501 is for a ResponseWriter that hides the connection: the error names its
// type, most often that of a middleware, which needs the method Unwrap()
// http.ResponseWriter (see [http.ResponseController]), or Hijack. If the
// connection has been taken over before, for example in another call of Accept,
// the error wraps [http.ErrHijacked], and nothing is written. If the 101
// response cannot be written, or a middleware does not hand the connection over
// behind it, the connection is closed.
//
// Header fields that w has already, such as Set-Cookie, are sent with the
// response. If w is a middleware's and wraps that of net/http's server, it is
// told of the response by w.WriteHeader(101), once and with all fields in
// w.Header(), so that it can record the status and add fields of its own. What
// wraps is looked through as [http.ResponseController] does, or by a field
// ResponseWriter; where that leads nowhere, nothing is told. If something was
// written to w before, Accept returns an error and leaves that response alone.
//
// The connection outlives the handler and keeps nothing of r or its context. The
// caller of Accept closes the connection: defer c.CloseNow().
//
// Over HTTP/2, which programs speak that import package h2, r is an extended
// CONNECT, and the response is a 200 with the same fields, but for those of
// Upgrade (RFC 8441, Section 5). There the connection is the stream of r: the
// handler must not return before it is closed, or it ends with an error. What
// CloseNow, Close, and the Close of [AsNetConn] need the stream for is over when
// they return.
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	var ans answer
	defer func() { ans.reservation.release() }()
	c, err := acceptorFor(opts).accept(w, r, &ans, nil)
	if err == nil && isExtendedConnect(r) {
		receiveInBackground(c)
	}
	return c, err
}

// An acceptor accepts connections as AcceptOptions say. It does not change, and
// serves any number of requests at once.
type acceptor struct {
	cfg               *Config // a result of withDefaults
	origin            OriginPolicy
	selectSubprotocol func(r *http.Request, offered []string) (string, error)
	refuseCompression func(r *http.Request) bool
	header            http.Header // AcceptOptions.Header, and its lines
	fields            []byte
	registry          *Registry
	optionsErr        error // what is wrong with the options, nil if nothing is
}

// defaultAcceptor is the acceptor for nil options.
var defaultAcceptor = newAcceptor(new(AcceptOptions))

// acceptorFor returns an acceptor for opts, which may be nil.
func acceptorFor(opts *AcceptOptions) *acceptor {
	if opts == nil {
		return defaultAcceptor
	}
	return newAcceptor(opts)
}

// newAcceptor returns an acceptor for opts, which it checks: if they are
// invalid, the acceptor refuses every request.
func newAcceptor(opts *AcceptOptions) *acceptor {
	a := &acceptor{
		cfg:               opts.Config.withDefaults(),
		origin:            opts.Origin,
		selectSubprotocol: opts.SelectSubprotocol,
		refuseCompression: opts.RefuseCompression,
		registry:          opts.Registry,
	}
	if a.origin == nil {
		a.origin = checkSameOrigin
	}
	if a.optionsErr = checkAcceptOptions(opts); a.optionsErr == nil {
		a.header = opts.Header.Clone()
		a.fields = http1.AppendFields(nil, a.header, isReservedField)
	}
	return a
}

// checkAcceptOptions returns an error if a value in o means nothing or cannot
// stand in a response.
func checkAcceptOptions(o *AcceptOptions) error {
	if err := o.Config.check(); err != nil {
		return err
	}
	if err := checkSubprotocols(o.Subprotocols); err != nil {
		return err
	}
	return checkFields(o.Header)
}

// An answer is the server's part of the opening handshake.
type answer struct {
	agreed      agreement
	extensions  []extension
	reservation reservation // in the Registry
	delivers    bool        // what comes is for a Receiver
}

// accept is Accept. Everything is checked before the connection is taken from
// net/http, so that every refusal is an ordinary response. If admit is not nil,
// it is called as the last check, when the Registry has a reservation; its
// error refuses the request. The caller releases ans.reservation, also after an
// error.
func (a *acceptor) accept(w http.ResponseWriter, r *http.Request, ans *answer, admit func() error) (c *Conn, err error) {
	began := time.Now()
	if *ans, err = a.acceptRequest(r); err == nil {
		ans.reservation, err = a.registry.reserve(serverOf(r))
	}
	if err == nil && admit != nil {
		err = admit()
	}
	if err == nil {
		c, err = a.upgrade(w, r, ans)
	}
	if e := refusalIn(err); e != nil {
		writeRefusal(w, e)
	}
	a.cfg.traceHandshake(c, r, ans.agreed, began, err)
	return c, err
}

// upgrade takes the connection from net/http, sends the response and returns
// the connection, which it adds to the Registry. If the response cannot be
// sent, it closes the net.Conn.
func (a *acceptor) upgrade(w http.ResponseWriter, r *http.Request, ans *answer) (*Conn, error) {
	var nc net.Conn
	var early []byte
	var err error
	if isExtendedConnect(r) {
		nc, err = a.openStream(w, r, ans)
	} else {
		nc, early, err = a.switchProtocols(w, r, ans)
	}
	if err != nil {
		return nil, err
	}
	c := newConn(nc, server, a.cfg, ans.agreed, early)
	ans.reservation.add(c)
	return c, nil
}

// switchProtocols sends the 101 response and takes the connection from net/http.
// It returns the connection with a copy of the bytes that were read behind the
// request.
func (a *acceptor) switchProtocols(w http.ResponseWriter, r *http.Request, ans *answer) (nc net.Conn, early []byte, err error) {
	s, ok := serverResponseIn(w)
	switch {
	case ok && s.isBegun() && !s.isHijacked():
		return nil, nil, &HandshakeError{Reason: "response was begun before", Err: errBegun}
	case ok && s.canSwitch(w):
		return a.switchBehind(s, w, r, ans)
	}
	response := a.appendResponse(make([]byte, 0, 256), r, *ans)
	response = http1.AppendFields(response, w.Header(), isContentOrReservedField)
	nc, early, refused := hijack(w)
	if refused != nil {
		return nil, nil, refused
	}
	return nc, early, a.send(nc, response)
}

// send sends a response without its blank line, within HandshakeTimeout. If it
// returns an error, it has closed nc.
func (a *acceptor) send(nc net.Conn, response []byte) error {
	timer := startTimer(nc, a.cfg.HandshakeTimeout)
	if err := timer.finish(writeResponse(nc, response)); err != nil {
		closeNow(nc)
		return err
	}
	return nil
}

// serverOf returns the server that received r, or nil.
func serverOf(r *http.Request) *http.Server {
	srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	return srv
}

// refusalIn returns err as a refusal to send to the client, or nil if there is
// nothing to send.
func refusalIn(err error) *HandshakeError {
	if e, ok := err.(*HandshakeError); ok && e.Status != 0 && e.Status != http.StatusSwitchingProtocols {
		return e
	}
	return nil
}

// writeRefusal sends a refusal through net/http.
func writeRefusal(w http.ResponseWriter, e *HandshakeError) {
	body, mediaType := e.content()
	h := w.Header()
	if e.Response != nil {
		for name, values := range e.Response.Header {
			if !e.isOwnField(name) {
				h[name] = values
			}
		}
	}
	h.Del("Content-Length")
	h.Set("Content-Type", mediaType)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.Status)
	w.Write(body)
}

// acceptRequest returns the answer to a request, or its refusal.
func (a *acceptor) acceptRequest(r *http.Request) (ans answer, err error) {
	if a.optionsErr != nil {
		return ans, &HandshakeError{Status: http.StatusInternalServerError, Reason: "server is set up wrongly", Err: a.optionsErr}
	}
	if err := checkRequest(r); err != nil {
		return ans, err
	}
	subprotocols, err := offeredSubprotocols(r)
	if err != nil {
		return ans, err
	}
	extensions, err := offeredExtensions(r)
	if err != nil {
		return ans, err
	}
	if err := a.origin(r); err != nil {
		return ans, policyRefusal(err, http.StatusForbidden, "origin is not allowed")
	}
	if ans.agreed.subprotocol, err = a.subprotocolFor(r, subprotocols); err != nil {
		return ans, err
	}
	ans.agreed.deflate, ans.extensions = acceptExtensions(extensions, a.compressionFor(r))
	return ans, nil
}

// policyRefusal returns the refusal for an error of an application's policy,
// with the given status and reason or with those of a HandshakeError that
// errors.As finds in err. A status that refuses nothing is not used.
func policyRefusal(err error, status int, reason string) *HandshakeError {
	e := &HandshakeError{Status: status, Reason: reason, Err: err}
	var given *HandshakeError
	if errors.As(err, &given) {
		e.Response = given.Response
		if given.Status >= 300 && given.Status <= 599 {
			e.Status = given.Status
		}
		if given.Reason != "" {
			e.Reason, e.Err = given.Reason, given.Err
		}
		if given.Response != nil && given.Response.Body != nil && !given.received {
			e.takeBody(given.Response.Body)
		}
	}
	return e
}

// maxRefusalBody bounds the body of a policy's refusal, in bytes.
const maxRefusalBody = 64 << 10

// takeBody makes body that of the refusal, if it can be read and is not too
// long, and closes it. If it is not used, and e has no other cause, that is the
// cause.
func (e *HandshakeError) takeBody(body io.ReadCloser) {
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, maxRefusalBody+1))
	if len(content) > maxRefusalBody {
		err = fmt.Errorf("body of the refusal is longer than %d bytes", maxRefusalBody)
	}
	if err == nil {
		e.body = content
	} else if e.Err == nil {
		e.Err = err
	}
}

// subprotocolFor returns the subprotocol to use for the client that sent r, ""
// for none, or the refusal of r.
func (a *acceptor) subprotocolFor(r *http.Request, offered []string) (string, error) {
	if a.selectSubprotocol == nil {
		return chooseSubprotocol(a.cfg.Subprotocols, offered), nil
	}
	s, err := a.selectSubprotocol(r, offered)
	switch {
	case err != nil:
		return "", policyRefusal(err, http.StatusBadRequest, "no subprotocol is acceptable")
	case s != "" && !slices.Contains(offered, s):
		return "", &HandshakeError{
			Status: http.StatusInternalServerError,
			Reason: "no subprotocol is acceptable",
			Err:    fmt.Errorf("SelectSubprotocol chose %q, which was not offered", s),
		}
	default:
		return s, nil
	}
}

// compressionFor returns the compression that may be agreed on with the client
// that sent r, nil for none.
func (a *acceptor) compressionFor(r *http.Request) *Compression {
	if a.cfg.Compression == nil || a.refuseCompression != nil && a.refuseCompression(r) {
		return nil
	}
	return a.cfg.Compression
}

// appendResponse appends the 101 response without the blank line.
func (a *acceptor) appendResponse(b []byte, r *http.Request, ans answer) []byte {
	b = appendSwitchingProtocols(b, keyIn(r), ans.agreed, ans.extensions)
	return append(b, a.fields...)
}

// keyIn returns the key in r, which has passed checkKey.
func keyIn(r *http.Request) string { return http1.TrimSpace(r.Header[keyField][0]) }

// isContentOrReservedField reports whether a field that a ResponseWriter has
// already is left out of a 101 response: those that are reserved for the
// handshake, and those that describe content, which a 101 does not have.
func isContentOrReservedField(name string) bool {
	return isReservedField(name) || strings.HasPrefix(http1.CanonicalName(name), "Content-")
}

// writeResponse ends the response with its blank line and writes it in one
// write.
func writeResponse(nc net.Conn, response []byte) error {
	if _, err := nc.Write(append(response, "\r\n"...)); err != nil {
		return &HandshakeError{Reason: "response was not sent", Err: err}
	}
	return nil
}
