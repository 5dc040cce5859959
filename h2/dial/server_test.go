package dial_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	_ "github.com/fullduplex-go/websocket/h2"
	"github.com/fullduplex-go/websocket/h2/dial"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

// A testServer is a server of net/http that speaks HTTP/2, with a Transport for it.
type testServer struct {
	*httptest.Server
	transport *dial.Transport
	client    *http.Client
	accepted  *countingListener
}

// A countingListener keeps the connections that it has accepted.
type countingListener struct {
	net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// Accept returns the next connection.
func (l *countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, nc)
	}
	return nc, err
}

// count returns how many there were.
func (l *countingListener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// closeAll closes those that there were, without a word.
func (l *countingListener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, nc := range l.conns {
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
}

// overTLS starts a server for wss.
func overTLS(t testing.TB, h http.Handler) *testServer {
	return start(t, h, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
}

// withoutTLS starts a server for ws.
func withoutTLS(t testing.TB, h http.Handler) *testServer {
	return start(t, h, func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	})
}

// start starts a server of h.
func start(t testing.TB, h http.Handler, begin func(*httptest.Server)) *testServer {
	t.Helper()
	s := &testServer{Server: httptest.NewUnstartedServer(h), transport: new(dial.Transport)}
	s.accepted = &countingListener{Listener: s.Listener}
	s.Listener = s.accepted
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 64 << 10}
	begin(s.Server)
	s.transport.TLS = trusting(s.Server)
	s.client = &http.Client{Transport: s.transport}
	t.Cleanup(s.Close)
	t.Cleanup(s.transport.CloseIdleConnections)
	t.Cleanup(s.accepted.closeAll)
	return s
}

// trusting returns a configuration that trusts s.
func trusting(s *httptest.Server) *tls.Config {
	if s.Certificate() == nil {
		return nil
	}
	return s.Client().Transport.(*http.Transport).TLSClientConfig
}

// onBoth runs f with TLS and without.
func onBoth(t *testing.T, f func(t *testing.T, start func(testing.TB, http.Handler) *testServer)) {
	t.Helper()
	t.Run("TLS", func(t *testing.T) { f(t, overTLS) })
	t.Run("h2c", func(t *testing.T) { f(t, withoutTLS) })
}

// dial opens a WebSocket to path. opts may be nil.
func (s *testServer) dial(t testing.TB, path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	var o websocket.DialOptions
	if opts != nil {
		o = *opts
	}
	if o.HTTPClient == nil {
		o.HTTPClient = s.client
	}
	return websocket.Dial(within(t), s.URL+path, &o)
}

// open opens a WebSocket that must open.
func (s *testServer) open(t testing.TB, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := s.dial(t, "/", opts)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// within returns a context for what the test waits for.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// echo sends back what comes.
func echo(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// echoing is a handler of echo.
func echoing(opts *websocket.AcceptOptions) http.Handler { return websocket.HandlerFunc(opts, echo) }

// exchange sends a message and expects it back.
func exchange(t testing.TB, c *websocket.Conn, kind websocket.MessageType, p []byte) {
	t.Helper()
	ctx := within(t)
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, kind, p) }()
	gotKind, got, err := c.Read(ctx)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.Equal(t, kind, gotKind)
	require.Equal(t, string(p), string(got))
}

// An ending is a handler whose serve reads until the connection ends, and tells
// how.
type ending struct {
	http.Handler
	ended    chan *websocket.CloseError // what reading ended with
	returned chan struct{}              // the handler has
}

// newEnding returns an ending of size connections.
func newEnding(size int) *ending {
	e := &ending{ended: make(chan *websocket.CloseError, size), returned: make(chan struct{}, size)}
	h := websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		err := echo(c)
		var end *websocket.CloseError
		errors.As(context.Cause(c.Context()), &end)
		e.ended <- end
		return err
	})
	e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		e.returned <- struct{}{}
	})
	return e
}

// next returns how the next connection ended on the server's side, once its handler
// has returned.
func (e *ending) next(t testing.TB) *websocket.CloseError {
	t.Helper()
	ctx := within(t)
	select {
	case end := <-e.ended:
		require.NotNil(t, end)
		select {
		case <-e.returned:
			return end
		case <-ctx.Done():
			require.FailNow(t, "handler does not return", "%s", goroutines())
		}
	case <-ctx.Done():
		require.FailNow(t, "connection does not end", "%s", goroutines())
	}
	return nil
}

// endOf returns how c, from which nothing more is expected, ends.
func endOf(t testing.TB, c *websocket.Conn) *websocket.CloseError {
	t.Helper()
	_, p, err := c.Read(within(t))
	var end *websocket.CloseError
	require.ErrorAs(t, err, &end, "%q", p)
	return end
}

// noneLeft waits until no goroutine is in code of this package.
func noneLeft(t testing.TB) {
	t.Helper()
	gone := func() bool { return !strings.Contains(goroutines(), "/h2/dial.") }
	if !assert.Eventually(t, gone, patience, time.Millisecond) {
		require.FailNow(t, "goroutines are left", "%s", goroutines())
	}
}

// goroutines returns the stacks of all.
func goroutines() string {
	b := make([]byte, 8<<20)
	return string(b[:runtime.Stack(b, true)])
}
