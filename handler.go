package websocket

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"runtime/debug"
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
// lives as long as the connection and carries no values of the request.
//
// When serve returns, the connection is closed: with 1000 for nil, with the
// code and reason of a [*CloseError] or the code of a [CloseCode] that
// errors.As finds in the error, if that code may be sent, else with 1011. The
// text of an error is not sent; it is logged to Config.Logger, unless it is the
// closing handshake that ended the connection.
// A panic of serve and runtime.Goexit close with 1011. A panic is recovered and
// logged, to Config.Logger or, if there is none, to the ErrorLog of the
// [http.Server], as net/http logs panics of other handlers;
// http.ErrAbortHandler is not logged.
func Handler(opts *AcceptOptions, open func(r *http.Request) (serve func(c *Conn) error, err error)) http.Handler {
	if open == nil {
		panic("websocket: Handler without a function")
	}
	return &handler{acceptor: acceptorFor(opts), open: open}
}

// HandlerFunc is [Handler] for programs that do not look at the request: serve
// serves every connection.
func HandlerFunc(opts *AcceptOptions, serve func(c *Conn) error) http.Handler {
	if serve == nil {
		panic("websocket: HandlerFunc without a function")
	}
	return Handler(opts, func(*http.Request) (func(c *Conn) error, error) { return serve, nil })
}

// A handler is what Handler returns.
type handler struct {
	acceptor *acceptor
	open     func(r *http.Request) (serve func(c *Conn) error, err error)
}

// ServeHTTP returns when the handshake is over. The reservation in the Registry
// then belongs to the goroutine that serves the connection.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ans answer
	defer func() { ans.reservation.release() }()
	var serve func(c *Conn) error
	c, err := h.acceptor.accept(w, r, &ans, func() (err error) {
		serve, err = h.ask(r)
		return err
	})
	if err != nil {
		h.log(refusalLevel(err), "websocket: handshake refused", r.RemoteAddr, slog.Any("err", err))
		return
	}
	ans.reservation = reservation{}
	go h.run(c, serve, serverOf(r))
}

// errNothingServes is the error for an open function that returns nothing.
var errNothingServes = errors.New("the function given to Handler returned neither a function that serves the connection nor an error")

// ask calls open and returns the function that serves the connection, or the
// refusal of the request.
func (h *handler) ask(r *http.Request) (serve func(c *Conn) error, err error) {
	serve, err = h.open(r)
	switch {
	case err != nil:
		return nil, policyRefusal(err, http.StatusForbidden, "request is not allowed")
	case serve == nil:
		return nil, &HandshakeError{Status: http.StatusInternalServerError, Reason: "server is set up wrongly", Err: errNothingServes}
	default:
		return serve, nil
	}
}

// errHandlerExit is what closes a connection whose serve called runtime.Goexit
// or panicked.
var errHandlerExit = errors.New("websocket: handler ended its goroutine")

// run serves a connection, on the goroutine that the connection has for all of
// its life. Its frame stays small, so that the smallest stack is enough for an
// idle connection.
func (h *handler) run(c *Conn, serve func(c *Conn) error, srv *http.Server) {
	err := errHandlerExit
	defer h.finish(c, srv, &err)
	err = serve(c)
}

// finish is deferred. It closes the connection, logs *err, which serve
// returned, or what serve panicked with, and releases the reservation in the
// Registry.
func (h *handler) finish(c *Conn, srv *http.Server, err *error) {
	defer h.acceptor.registry.release()
	if panicked := recover(); panicked != nil {
		h.logPanic(c, srv, panicked)
	} else {
		h.logError(c, *err)
	}
	c.Close(closeFor(*err))
}

// logPanic logs what serve panicked with.
func (h *handler) logPanic(c *Conn, srv *http.Server, panicked any) {
	switch {
	case panicked == http.ErrAbortHandler:
	case h.acceptor.cfg.Logger != nil:
		h.log(slog.LevelError, "websocket: handler panicked", peerAddr(c),
			slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
	default:
		printf := log.Printf
		if srv != nil && srv.ErrorLog != nil {
			printf = srv.ErrorLog.Printf
		}
		printf("websocket: panic serving %s: %v\n%s", peerAddr(c), panicked, debug.Stack())
	}
}

// logError logs the error that serve returned, unless it only says that the
// closing handshake ended the connection. An error that says how a connection
// ends or is to end is logged as information.
func (h *handler) logError(c *Conn, err error) {
	end := asCloseError(err)
	if err == nil || end != nil && end.clean() && end == c.terminal() {
		return
	}
	level := slog.LevelError
	var code CloseCode
	if end != nil || errors.As(err, &code) {
		level = slog.LevelInfo
	}
	h.log(level, "websocket: handler failed", peerAddr(c), slog.Any("err", err))
}

// refusalLevel returns the level at which a refusal is logged: that of an error
// if the server is at fault, that of information if not.
func refusalLevel(err error) slog.Level {
	switch e := refusalIn(err); {
	case e == nil:
		return slog.LevelInfo
	case e.Status == http.StatusInternalServerError, e.Status == http.StatusNotImplemented:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// peerAddr returns the address of the peer for a log.
func peerAddr(c *Conn) string {
	if addr := c.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// closeFor returns the close code and reason for the error that serve returned.
func closeFor(err error) (CloseCode, string) {
	if err == nil {
		return CloseNormal, ""
	}
	if closing := asCloseError(err); closing != nil && closing.Code.onWire() {
		return closing.Code, closing.Reason
	}
	var code CloseCode
	if errors.As(err, &code) && code.onWire() {
		return code, ""
	}
	return CloseInternalError, ""
}

// log logs an event to Config.Logger, if there is one.
func (h *handler) log(level slog.Level, event, peer string, attrs ...slog.Attr) {
	if l := h.acceptor.cfg.Logger; l != nil {
		l.LogAttrs(context.Background(), level, event, append(attrs, slog.String("peer", peer))...)
	}
}
