package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
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

	// RefuseCompression reports whether a client must not be answered with
	// compression, such as one known to get it wrong. Nil: none.
	RefuseCompression func(r *http.Request) bool

	// Header is added to the response. Fields of the handshake itself, or
	// control characters, refuse every request with 500.
	Header http.Header

	// Registry keeps the connections until they end, and closes them when
	// the server stops. Requests that come later get 503. Nil: none does.
	Registry *Registry
}

// Accept answers the opening handshake in r and returns the connection. If it
// returns an error, which is always a [*HandshakeError], the response is
// written too: 400, 403, 405, 426, 500, 501, 503, 505 or what a policy said. A
// handler has nothing left to do then but return.
//
// 501 is for a ResponseWriter that hides the connection: the error names the
// type, of a middleware most often, which needs the method Unwrap()
// http.ResponseWriter (see [http.ResponseController]), or Hijack. Where the
// connection has been taken over before, in another call of Accept for example,
// the error wraps [http.ErrHijacked], and nothing is written.
//
// Header fields that w has already, such as Set-Cookie, go out with the
// response. The connection outlives the handler and keeps nothing of r or its
// context. Whoever calls Accept closes the connection: defer c.CloseNow().
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	var ans answer
	defer func() { ans.reservation.release() }()
	return acceptorFor(opts).accept(w, r, &ans, nil)
}

// AcceptConn reads an opening handshake from nc, without net/http's server,
// and returns the connection and the request. It takes nc over: if it returns
// an error, which is always a [*HandshakeError], the client has been told and
// nc is closed. The handshake is bounded by ctx, by HandshakeTimeout, and by 64
// KiB of header; ctx means nothing once AcceptConn has returned. A *[tls.Conn]
// may have its TLS handshake before it.
func AcceptConn(ctx context.Context, nc net.Conn, opts *AcceptOptions) (*Conn, *http.Request, error) {
	a := acceptorFor(opts)
	return a.acceptConn(ctx, nc)
}

// An acceptor is AcceptOptions made ready: settled once, used for many
// requests at a time.
type acceptor struct {
	cfg               *Config
	origin            OriginPolicy
	selectSubprotocol func(r *http.Request, offered []string) (string, error)
	refuseCompression func(r *http.Request) bool
	fields            []byte // the lines of AcceptOptions.Header
	registry          *Registry
	optionsErr        error // what is wrong with the options
}

var (
	defaultOptions  AcceptOptions
	defaultAcceptor = newAcceptor(&defaultOptions)
)

func acceptorFor(opts *AcceptOptions) *acceptor {
	if opts == nil {
		return defaultAcceptor
	}
	return newAcceptor(opts)
}

func newAcceptor(opts *AcceptOptions) *acceptor {
	a := &acceptor{
		cfg:               opts.Config.settled(),
		origin:            opts.Origin,
		selectSubprotocol: opts.SelectSubprotocol,
		refuseCompression: opts.RefuseCompression,
		registry:          opts.Registry,
	}
	if a.origin == nil {
		a.origin = checkSameOrigin
	}
	if a.optionsErr = checkAcceptOptions(opts); a.optionsErr == nil {
		a.fields = http1.AppendFields(nil, opts.Header, isReservedField)
	}
	return a
}

// checkAcceptOptions returns an error if o has a value that means nothing, or a
// response cannot say what it wants.
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
}

// accept is Accept. Everything is judged before the connection is taken from
// net/http, so that every refusal is an ordinary response; at the end, and with
// a place in the Registry, by admit, if that is not nil. The caller leaves
// ans.place, whatever happens.
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

// upgrade takes the connection from net/http and opens it.
func (a *acceptor) upgrade(w http.ResponseWriter, r *http.Request, ans *answer) (*Conn, error) {
	response := a.appendResponse(make([]byte, 0, 256), r, *ans)
	response = http1.AppendFields(response, w.Header(), isContentOrReservedField)
	nc, early, err := hijack(w)
	if err != nil {
		return nil, err
	}
	timer := startTimer(nc, a.cfg.HandshakeTimeout)
	if err = timer.finish(writeResponse(nc, response)); err != nil {
		abandon(nc)
		return nil, err
	}
	c := newConn(nc, server, a.cfg, ans.agreed, early)
	ans.reservation.add(c)
	return c, nil
}

// serverOf returns the server that r came by, or nil.
func serverOf(r *http.Request) *http.Server {
	srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	return srv
}

// acceptConn is AcceptConn. A handshake needs a large stack, which it leaves
// behind with a goroutine of its own: the caller may be the goroutine that
// serves the connection for all of its life, and a stack that has grown stays.
func (a *acceptor) acceptConn(ctx context.Context, nc net.Conn) (*Conn, *http.Request, error) {
	h := handshakeTask{acceptor: a, nc: nc, done: make(chan struct{})}
	go h.run(ctx)
	<-h.done
	switch {
	case h.panicked != nil:
		panic(h.panicked)
	case h.exited:
		runtime.Goexit()
	}
	return h.c, h.r, h.err
}

// A handshakeTask is an opening handshake on a goroutine of its own.
type handshakeTask struct {
	acceptor *acceptor
	nc       net.Conn
	c        *Conn
	r        *http.Request
	err      error
	exited   bool // a policy panicked, with that, or called runtime.Goexit
	panicked any
	done     chan struct{} // closed at the end
}

// run is the goroutine.
func (h *handshakeTask) run(ctx context.Context) {
	h.exited = true
	defer close(h.done)
	defer func() {
		if h.exited {
			h.panicked = recover()
			abandon(h.nc)
		}
	}()
	h.c, h.r, h.err = h.acceptor.handshake(ctx, h.nc)
	h.exited = false
}

// handshake answers the opening handshake that it reads from nc.
func (a *acceptor) handshake(ctx context.Context, nc net.Conn) (c *Conn, r *http.Request, err error) {
	var ans answer
	defer func() { ans.reservation.commit(c) }()
	began := time.Now()
	reader := http1.NewRequestReader(nc)
	defer reader.Release()
	r, err = a.exchange(ctx, nc, &reader, &ans)
	if err != nil {
		refuseConn(nc, err)
	} else {
		c = newConn(nc, server, a.cfg, ans.agreed, reader.Rest())
	}
	a.cfg.traceHandshake(c, r, ans.agreed, began, err)
	return c, r, err
}

// exchange reads a request, checks it and sends the answer, in the time that
// HandshakeTimeout and ctx leave.
func (a *acceptor) exchange(ctx context.Context, nc net.Conn, reader *http1.Reader, ans *answer) (r *http.Request, err error) {
	timer := startTimer(nc, a.cfg.HandshakeTimeout)
	stop := closeWhenDone(ctx, nc)
	if r, err = readRequest(ctx, nc, reader); err == nil {
		*ans, err = a.acceptRequest(r)
	}
	if err == nil {
		ans.reservation, err = a.registry.reserve(serverOf(r))
	}
	if err == nil {
		err = writeResponse(nc, a.appendResponse(make([]byte, 0, 256), r, *ans))
	}
	if late := stop(); late != nil {
		timer.stop()
		return r, &HandshakeError{Reason: "handshake was given up", Err: late}
	}
	return r, timer.finish(err)
}

// readRequest reads a request from nc, whose Reader is given.
func readRequest(ctx context.Context, nc net.Conn, reader *http1.Reader) (*http.Request, error) {
	head, err := reader.Next()
	if err != nil {
		return nil, requestError(err)
	}
	r, err := http1.ParseRequest(ctx, head)
	if err != nil {
		return nil, requestError(err)
	}
	if addr := nc.RemoteAddr(); addr != nil {
		r.RemoteAddr = addr.String()
	}
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		r.TLS = &state
	}
	return r, nil
}

// requestError returns the refusal of a request that could not be read.
func requestError(err error) error {
	e := &HandshakeError{Reason: "request was not received", Err: err}
	switch {
	case errors.Is(err, http1.ErrTooLarge):
		e.Status, e.Reason = http.StatusRequestHeaderFieldsTooLarge, "request is not acceptable"
	case errors.Is(err, http1.ErrMalformed), errors.Is(err, http1.ErrStartLine):
		e.Status, e.Reason = http.StatusBadRequest, "request is not acceptable"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Status = http.StatusRequestTimeout
	}
	return e
}

// refuseConn tells the client of a refusal, if there is something to tell, within
// a second, and closes nc.
func refuseConn(nc net.Conn, err error) {
	defer abandon(nc)
	e := refusalIn(err)
	if e == nil {
		return
	}
	defer startTimer(nc, time.Second).stop()
	if _, err := nc.Write(appendRefusal(nil, e)); err == nil {
		linger(nc)
	}
}

// lingerTime and maxLingerBytes bound what linger waits for.
const (
	lingerTime     = 500 * time.Millisecond
	maxLingerBytes = 4 * http1.MaxHeadBytes
)

// linger ends this side's direction of nc and waits for the end of the peer's,
// for up to lingerTime, so that the peer can read what was sent to it last:
// closing at once, with input unread, would reset the connection.
func linger(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, nc, maxLingerBytes)
}

// refusalIn returns the refusal that the client must be told of, nil if there is
// none.
func refusalIn(err error) *HandshakeError {
	if e, ok := err.(*HandshakeError); ok && e.Status != 0 {
		return e
	}
	return nil
}

// writeRefusal answers a request that does not lead to a connection.
func writeRefusal(w http.ResponseWriter, e *HandshakeError) {
	if e.Response != nil {
		maps.Copy(w.Header(), e.Response.Header)
	}
	http.Error(w, e.Reason, e.Status)
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

// policyRefusal returns the refusal by an application's policy. A HandshakeError
// keeps its status if that refuses anything.
func policyRefusal(err error, status int, reason string) *HandshakeError {
	e := &HandshakeError{Status: status, Reason: reason, Err: err}
	var own *HandshakeError
	if errors.As(err, &own) {
		e.Response = own.Response
		if own.Status >= 300 && own.Status <= 599 {
			e.Status = own.Status
		}
		if own.Reason != "" {
			e.Reason, e.Err = own.Reason, own.Err
		}
	}
	return e
}

// subprotocolFor returns the subprotocol to use, "" for none.
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

// compressionFor returns what may be answered to this request.
func (a *acceptor) compressionFor(r *http.Request) *Compression {
	if a.cfg.Compression == nil || a.refuseCompression != nil && a.refuseCompression(r) {
		return nil
	}
	return a.cfg.Compression
}

// appendResponse appends the 101 response without the blank line.
func (a *acceptor) appendResponse(b []byte, r *http.Request, ans answer) []byte {
	b = appendSwitchingProtocols(b, http1.TrimSpace(r.Header[keyField][0]), ans.agreed, ans.extensions)
	return append(b, a.fields...)
}

// isContentOrReservedField reports whether a field that a ResponseWriter has
// already must not go out with a 101, which has no content.
func isContentOrReservedField(name string) bool {
	return isReservedField(name) || strings.HasPrefix(http1.CanonicalName(name), "Content-")
}

// hijack takes the connection from net/http and returns it with the bytes that
// were read behind the request. Both buffers are emptied in place: a handler
// that stays would keep their 8 KiB for the life of the connection.
func hijack(w http.ResponseWriter) (nc net.Conn, early []byte, err error) {
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

// hijackError returns the refusal of a request whose connection w did not
// hand over because of err. A connection that is somebody else's already, as
// in a second call of Accept, is not written to.
func hijackError(w http.ResponseWriter, err error) error {
	switch {
	case errors.Is(err, http.ErrHijacked):
		return &HandshakeError{Reason: "connection was taken over before", Err: err}
	case errors.Is(err, http.ErrNotSupported):
		return &HandshakeError{
			Status: http.StatusNotImplemented,
			Reason: "connection cannot be upgraded: a ResponseWriter of the server lacks Unwrap() http.ResponseWriter",
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

// innermostWriter returns the ResponseWriter that is asked for the connection: the
// first below w that has Hijack, or no Unwrap.
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

// writeResponse ends the response with its blank line and writes it in one
// write.
func writeResponse(nc net.Conn, response []byte) error {
	if _, err := nc.Write(append(response, "\r\n"...)); err != nil {
		return &HandshakeError{Reason: "response was not sent", Err: err}
	}
	return nil
}
