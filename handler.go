package websocket

import (
	"errors"
	"log"
	"log/slog"
	"net/http"
	"sync/atomic"
)

// Handler returns a handler that calls open for each request and, if open
// returns a function, accepts the connection and serves it with that function.
//
// open is called on net/http's goroutine, after the handshake and its origin
// have been checked and before the handshake is answered. It authenticates,
// takes what it needs from r, such as values of a router or of r.Context(), and
// returns serve, which serves the connection on a goroutine of its own. An
// error refuses the request, with 403 or with what errors.As finds in it as a
// [*HandshakeError]; its text is not sent. To return neither a function nor an
// error is a mistake of the program, and refuses the request with 500. A panic
// of open is handled like that of any handler.
//
// r must not be used after open has returned: net/http's goroutine, its buffers
// and r are then reused, and r.Context() is canceled. Use c.Context(), which
// lives as long as the connection and carries no values of the request. Over
// HTTP/2, see [Accept], the handler returns when the connection has ended.
//
// When serve returns, the connection is closed: with 1000 for nil, with the
// code and reason of a [*CloseError] or the code of a [CloseCode] that
// errors.As finds in the error, if that code may be sent, else with 1011. The
// text of an error is not sent; it is logged to Config.Logger, unless it is the
// closing handshake that ended the connection.
// A panic of serve and runtime.Goexit close with 1011. A panic is recovered and
// logged, to Config.Logger or, if there is none, to the ErrorLog of the
// [http.Server], as net/http logs panics of other handlers;
// http.ErrAbortHandler is not logged. A serve that has called [Conn.Deliver] and
// returns nil leaves the connection open: it is the Receiver's.
func Handler(opts *AcceptOptions, open func(r *http.Request) (serve func(c *Conn) error, err error)) http.Handler {
	if open == nil {
		panic("websocket: Handler without a function")
	}
	return &handler{acceptor: acceptorFor(opts), open: func(r *http.Request) (service, error) {
		serve, err := open(r)
		if serve == nil {
			return nil, err
		}
		return serveFunc(serve), err
	}}
}

// HandlerFunc is [Handler] for programs that do not look at the request: serve
// serves every connection.
func HandlerFunc(opts *AcceptOptions, serve func(c *Conn) error) http.Handler {
	if serve == nil {
		panic("websocket: HandlerFunc without a function")
	}
	return Handler(opts, func(*http.Request) (func(c *Conn) error, error) { return serve, nil })
}

// A handler is what Handler and ReceiverHandler return.
type handler struct {
	acceptor *acceptor
	open     func(r *http.Request) (service, error)
	lastHost atomic.Pointer[deliveryHost] // of the last Receiver
}

// A service serves one connection.
type service interface {
	// begin begins to serve c, and does not wait. h holds a reservation in the
	// Registry, which is released when nothing serves c any more.
	begin(h *handler, c *Conn, errorLog *log.Logger)
	// stay is begin for a stream of HTTP/2, on the goroutine of its handler. It
	// returns when the handler may.
	stay(h *handler, c *Conn, errorLog *log.Logger)
}

// ServeHTTP returns when the handshake is over. The reservation in the Registry
// then belongs to what serves the connection.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ans answer
	defer func() { ans.reservation.release() }()
	var s service
	c, err := h.acceptor.accept(w, r, &ans, func() (err error) {
		s, err = h.ask(r)
		_, ans.delivers = s.(receiverService)
		return err
	})
	if err != nil {
		h.acceptor.cfg.log(refusalLevel(err), "websocket: handshake refused", r.RemoteAddr, slog.Any("err", err))
		return
	}
	ans.reservation = reservation{}
	var errorLog *log.Logger
	if srv := serverOf(r); srv != nil {
		errorLog = srv.ErrorLog
	}
	if isExtendedConnect(r) {
		s.stay(h, c, errorLog)
	} else {
		s.begin(h, c, errorLog)
	}
}

// errNothingServes is the error for an open function that returns nothing.
var errNothingServes = errors.New("the function given to the handler returned neither what serves the connection nor an error")

// ask calls open and returns what serves the connection, or the refusal of the
// request.
func (h *handler) ask(r *http.Request) (service, error) {
	s, err := h.open(r)
	switch {
	case err != nil:
		return nil, policyRefusal(err, http.StatusForbidden, "request is not allowed")
	case s == nil:
		return nil, &HandshakeError{Status: http.StatusInternalServerError, Reason: "server is set up wrongly", Err: errNothingServes}
	default:
		return s, nil
	}
}

// refusalLevel returns the level at which a handshake without a connection is
// logged: that of an error if the server is at fault, that of information if
// not.
func refusalLevel(err error) slog.Level {
	var e *HandshakeError
	switch errors.As(err, &e); {
	case e.Status == http.StatusInternalServerError, e.Status == http.StatusNotImplemented,
		e.Status == http.StatusSwitchingProtocols, e.Err == errBegun:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// A serveFunc serves a connection on a goroutine of its own.
type serveFunc func(c *Conn) error

// begin serves c on a goroutine of its own.
func (serve serveFunc) begin(h *handler, c *Conn, errorLog *log.Logger) {
	go serve.run(h, c, errorLog)
}

// stay serves c on a goroutine of its own, so that the stream ends with the
// connection and not when serve returns, and receives for it.
func (serve serveFunc) stay(h *handler, c *Conn, errorLog *log.Logger) {
	s := c.socket().stream()
	serve.begin(h, c, errorLog)
	s.Receive()
	<-s.Done()
}

// run serves a connection, on the goroutine that the connection has for all of
// its life. Its frame stays small, so that the smallest stack is enough for an
// idle connection.
func (serve serveFunc) run(h *handler, c *Conn, errorLog *log.Logger) {
	err := errHandlerExit
	defer h.finish(c, errorLog, &err)
	err = serve(c)
}

// finish is deferred. It closes the connection, logs *err, which serve
// returned, or what serve panicked with, and releases the reservation in the
// Registry once the net.Conn is closed. For that of a connection that has ended
// no goroutine waits, unless it is a stream of HTTP/2. If the connection was
// handed over to a Receiver, the reservation is kept until the end of the
// delivery, to which the rest is left if serve returned nil.
func (h *handler) finish(c *Conn, errorLog *log.Logger, err *error) {
	release := h.acceptor.registry.release
	if c.hasReceiver() {
		defer c.setHost(&deliveryHost{errorLog, release})
		if *err == nil {
			return
		}
	} else {
		defer c.whenTransportClosed(release)
	}
	if panicked := recover(); panicked != nil {
		c.logPanic(errorLog, panicked)
	} else {
		c.logError(*err)
	}
	if c.terminal() == nil || c.socket().stream() != nil {
		c.Close(closeFor(*err))
	}
}
