package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// AcceptConn reads an opening handshake from nc, without net/http's server, and
// returns the connection and the request. It takes nc over: if it returns an
// error, which is always a [*HandshakeError], the client has been sent Status,
// unless that is 0, and nc is closed. The handshake is bounded by ctx, by
// HandshakeTimeout, and by 64 KiB and 256 fields of header; a client that is
// refused is given up to two seconds more to read why. ctx does not end the
// connection after AcceptConn has returned, but is the context of the request.
// The TLS handshake of a *[tls.Conn] need not have been done.
func AcceptConn(ctx context.Context, nc net.Conn, opts *AcceptOptions) (*Conn, *http.Request, error) {
	a := acceptorFor(opts)
	return a.acceptConn(ctx, nc)
}

// acceptConn is AcceptConn. The handshake has a goroutine of its own, because
// it needs a large stack, and a stack that has grown stays: the caller may be
// the goroutine that serves the connection for all of its life.
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
	exited   bool          // application code panicked or called runtime.Goexit
	panicked any           // what it panicked with, nil after runtime.Goexit
	done     chan struct{} // closed at the end; the caller then reads the rest
}

// run is the goroutine. It closes the net.Conn if application code, such as a
// policy, does not return.
func (h *handshakeTask) run(ctx context.Context) {
	h.exited = true
	defer close(h.done)
	defer func() {
		if h.exited {
			h.panicked = recover()
			closeNow(h.nc)
		}
	}()
	h.c, h.r, h.err = h.acceptor.handshake(ctx, h.nc)
	h.exited = false
}

// handshake reads an opening handshake from nc and answers it. With an error,
// nc is closed.
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

// exchange reads a request, checks it and, unless it is refused, sends the
// answer, in the time that HandshakeTimeout and ctx leave. With an error, nc may
// still be open.
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

// readRequest reads a request with the Reader of nc, or returns its refusal.
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

// requestError returns the refusal of a request that could not be read or
// parsed because of err.
func requestError(err error) error {
	e := &HandshakeError{Reason: "request was not received", Err: err}
	switch {
	case errors.Is(err, http1.ErrTooLarge):
		e.Status, e.Reason = http.StatusRequestHeaderFieldsTooLarge, "request is not acceptable"
	case errors.Is(err, http1.ErrMalformed), errors.Is(err, http1.ErrStartLine), errors.Is(err, http1.ErrTarget):
		e.Status, e.Reason = http.StatusBadRequest, "request is not acceptable"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Status = http.StatusRequestTimeout
	}
	return e
}

// refusalTime bounds the time in which a client must take its refusal.
const refusalTime = time.Second

// refuseConn sends the client the refusal that err is, if it is one, and closes
// nc. It waits for up to refusalTime until nc has taken the refusal, and then
// for up to lingerTime until the client has read it.
func refuseConn(nc net.Conn, err error) {
	defer closeNow(nc)
	e := refusalIn(err)
	if e == nil {
		return
	}
	defer startTimer(nc, refusalTime).stop()
	if _, err := nc.Write(appendRefusal(nil, e)); err == nil {
		linger(nc)
	}
}

// Bounds on what linger waits for.
const (
	lingerTime     = 500 * time.Millisecond
	maxLingerBytes = 4 * http1.MaxHeadBytes
)

// linger ends this side's direction of nc and waits, for up to lingerTime, for
// the end of the peer's, so that the peer can read what was sent last: to close
// nc with input unread would reset the connection.
func linger(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, nc, maxLingerBytes)
}
