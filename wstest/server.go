package wstest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// A Server is an http.Server in memory, for handlers under test.
type Server struct {
	t testing.TB
	l *listener
}

// NewServer returns a Server that runs h until the test ends.
func NewServer(t testing.TB, h http.Handler) *Server {
	s := &Server{t: t, l: listen()}
	served := make(chan struct{})
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(served)
		server.Serve(s.l)
	}()
	t.Cleanup(func() {
		server.Close()
		s.l.hangUp()
		<-served
	})
	return s
}

// Dial returns a connection to the handler. path is the request target, such
// as "/chat?room=1". opts may be nil; its NetDial, Proxy and TLS are not used.
func (s *Server) Dial(path string, opts *websocket.DialOptions) *websocket.Conn {
	s.t.Helper()
	return dialConn(s.t, s.dial(), path, opts)
}

// NetDial connects to the Server and ignores the address. It is for the
// DialOptions or the http.Transport of code under test that dials by itself.
func (s *Server) NetDial(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.l.dial(ctx)
}

// RawPeer returns a RawPeer in the client's role that is connected to the
// Server. Nothing has been sent: see [RawPeer.Open].
func (s *Server) RawPeer() *RawPeer {
	s.t.Helper()
	return RawClient(s.t, s.dial())
}

// dial is NetDial for the test itself.
func (s *Server) dial() net.Conn {
	s.t.Helper()
	nc, err := s.l.dial(s.t.Context())
	if err != nil {
		s.t.Fatalf("wstest: %v", err)
	}
	return nc
}
