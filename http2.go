package websocket

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/fullduplex-go/websocket/internal/http2stream"
)

// This file opens WebSockets over HTTP/2 (RFC 8441), which net/http's server
// offers in programs that import package h2. The opening handshake is a request
// with the method CONNECT, and the connection is the stream of that request:
// internal/http2stream makes a net.Conn of it, which is used like any other. Only
// its handler must not return before the end: net/http ends the stream then, and
// uses what the ResponseWriter consists of for something else.

// openStream answers an extended CONNECT with 200 and returns the net.Conn of its
// stream. With an error, the stream ends when the handler returns.
func (a *acceptor) openStream(w http.ResponseWriter, r *http.Request, ans *answer) (net.Conn, error) {
	s := streamResponseIn(w)
	if !s.canFlush() {
		return nil, s.hiddenError()
	}
	if s.isBegun() {
		return nil, &HandshakeError{Reason: "response was begun before", Err: errBegun}
	}
	deadline := s.bound(a.cfg.HandshakeTimeout)
	a.setConnectResponse(w.Header(), *ans)
	s.announce(w, http.StatusOK)
	s.sendHead(w.Header())
	if err := s.FlushError(); err != nil {
		return nil, notSentError(err, deadline)
	}
	s.removeDeadlines()
	return http2stream.New(http2stream.Options{
		Body:   r.Body,
		Writer: s,
		Direct: ans.delivers,
		Linger: a.cfg.CloseTimeout,
		Local:  localAddrOf(r),
		Remote: remoteAddrOf(r),
	}), nil
}

// setConnectResponse makes h the header of the response to an extended CONNECT:
// fields that it does not have are removed, others stay.
func (a *acceptor) setConnectResponse(h http.Header, ans answer) {
	a.setApplicationFields(h)
	setAgreement(h, ans.agreed, ans.extensions)
}

// A streamResponse is the ResponseWriter that an HTTP/2 server makes for a
// request, and that middleware may wrap. It is what the stream is written to, past
// the middleware.
type streamResponse struct {
	serverResponse
	control *http.ResponseController
}

// streamResponseIn returns the streamResponse that w is or wraps.
func streamResponseIn(w http.ResponseWriter) *streamResponse {
	s, ok := serverResponseIn(w)
	if !ok { // of another server than net/http's
		s.ResponseWriter = w
		for below := w; below != nil; below = wrappedBy(below) {
			s.ResponseWriter = below
		}
	}
	return &streamResponse{s, http.NewResponseController(s.ResponseWriter)}
}

// canFlush reports whether what is written can be made to leave.
func (s *streamResponse) canFlush() bool {
	switch s.ResponseWriter.(type) {
	case http.Flusher, interface{ FlushError() error }:
		return true
	}
	return false
}

// hiddenError returns the refusal of a request whose stream is hidden.
func (s *streamResponse) hiddenError() error {
	return &HandshakeError{
		Status: http.StatusNotImplemented,
		Reason: lacksUnwrap,
		Err: fmt.Errorf("%T hides the stream: add the method Unwrap() http.ResponseWriter to it, "+
			"or serve this path without that middleware: %w", s.ResponseWriter, errors.ErrUnsupported),
	}
}

// sendHead sends the head with these fields, unless whoever was told of it has
// done that.
func (s *streamResponse) sendHead(h http.Header) {
	if wrote, known := s.wroteHeader(); wrote && known {
		return
	}
	own := s.Header()
	for name, values := range h {
		own[name] = values
	}
	s.WriteHeader(http.StatusOK)
}

// FlushError makes what was written leave.
func (s *streamResponse) FlushError() error { return s.control.Flush() }

// Abort makes a write that waits fail. The server ends the stream.
func (s *streamResponse) Abort() { s.control.SetWriteDeadline(time.Unix(1, 0)) }

// Close does nothing: the server ends the stream when the handler returns.
func (s *streamResponse) Close() error { return nil }

// removeDeadlines removes those that the server has set for requests, and that of
// the handshake.
func (s *streamResponse) removeDeadlines() {
	s.control.SetReadDeadline(time.Time{})
	s.control.SetWriteDeadline(time.Time{})
}

// localAddrOf returns the address at which r was received.
func localAddrOf(r *http.Request) net.Addr {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addr
	}
	return hostAddr("unknown")
}

// remoteAddrOf returns the address that r came from. Names, which middleware may
// have put there, are not looked up.
func remoteAddrOf(r *http.Request) net.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return hostAddr(r.RemoteAddr)
	}
	return net.TCPAddrFromAddrPort(addr)
}

// receiveInBackground receives for c, a stream of HTTP/2 whose handler is the
// application's, and makes what closes c wait until the handler may return.
func receiveInBackground(c *Conn) {
	s := c.socket()
	s.own.hosted.Store(true)
	go s.stream().Receive()
}
