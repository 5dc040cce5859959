package interop

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fullduplex-go/websocket"
	_ "github.com/fullduplex-go/websocket/h2"
)

// An http2Server is a server of ours for WebSockets over HTTP/2.
type http2Server struct {
	url      string
	accepted chan *websocket.Conn
}

// startHTTP2 returns an http2Server that ends with the test.
func startHTTP2(t *testing.T, ours *websocket.Compression) *http2Server {
	t.Helper()
	s := &http2Server{accepted: make(chan *websocket.Conn, 1)}
	mux := http.NewServeMux()
	mux.Handle("/chat", websocket.HandlerFunc(&websocket.AcceptOptions{Config: config(ours)}, s.lend))
	mux.Handle("GET /pattern", websocket.HandlerFunc(nil, s.lend))
	h := httptest.NewUnstartedServer(mux)
	h.Config.Protocols = new(http.Protocols)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	h.Start()
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

// lend passes c on to the test, and stays until it ends.
func (s *http2Server) lend(c *websocket.Conn) error {
	s.accepted <- c
	<-c.Context().Done()
	return nil
}

// connect opens a WebSocket of ws that does what act names, and returns our side
// and what was agreed.
func (s *http2Server) connect(t *testing.T, p *peer, act string, theirs deflateOptions) (*websocket.Conn, string) {
	t.Helper()
	p.order(t, map[string]any{"url": s.url + "/chat", "deflate": theirs, "http2": act})
	line := p.next(t)
	if line.Status != http.StatusOK {
		t.Fatalf("status %d", line.Status)
	}
	c := <-s.accepted
	t.Cleanup(func() { c.CloseNow() })
	return c, line.Extensions
}

// TestServerOfWsOverHTTP2 is TestServerOfWs on the streams of a session of
// node:http2.
func TestServerOfWsOverHTTP2(t *testing.T) {
	p := startPeer(t)
	eachTerms(t, func(t *testing.T, k terms) {
		s := startHTTP2(t, k.wanted())
		c, agreed := s.connect(t, p, "echo", deflateOptions{ServerMaxWindowBits: 15})
		k.check(t, agreed, "server", "client")
		exchange(t, c, uint64(k.window))
	})
}

// TestSessionOfWebSockets has 20 WebSockets on one session at once.
func TestSessionOfWebSockets(t *testing.T) {
	p := startPeer(t)
	s := startHTTP2(t, &websocket.Compression{Threshold: -1})
	var conns []*websocket.Conn
	for range 20 {
		c, _ := s.connect(t, p, "echo", deflateOptions{})
		conns = append(conns, c)
		if c.RemoteAddr().String() != conns[0].RemoteAddr().String() {
			t.Fatalf("%v, and the first one from %v", c.RemoteAddr(), conns[0].RemoteAddr())
		}
	}
	t.Run("exchange", func(t *testing.T) {
		for i, c := range conns {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				exchange(t, c, uint64(i))
			})
		}
	})
}

// TestPingOverHTTP2 has both sides ping.
func TestPingOverHTTP2(t *testing.T) {
	p := startPeer(t)
	c, _ := startHTTP2(t, nil).connect(t, p, "ping", deflateOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	c.CloseRead(ctx)
	if _, err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
	if got := p.next(t).Pong; got != "are you there?" {
		t.Errorf("Pong %q", got)
	}
}

// TestEndsOverHTTP2 ends WebSockets from either side, and without a Close frame.
func TestEndsOverHTTP2(t *testing.T) {
	p := startPeer(t)
	s := startHTTP2(t, nil)
	t.Run("Close of ours", func(t *testing.T) {
		c, _ := s.connect(t, p, "await", deflateOptions{})
		if err := c.Close(4002, "server says bye"); err != nil {
			t.Error(err)
		}
		if got := p.next(t); got.Code != 4002 || got.Reason != "server says bye" {
			t.Errorf("%+v", got)
		}
	})
	for _, test := range []struct {
		act    string
		code   websocket.CloseCode
		reason string
	}{
		{"close", 4001, "bye"},
		{"end", websocket.CloseAbnormal, ""},
		{"reset", websocket.CloseAbnormal, ""},
	} {
		t.Run(test.act, func(t *testing.T) {
			c, _ := s.connect(t, p, test.act, deflateOptions{})
			_, _, err := c.Read(t.Context())
			var end *websocket.CloseError
			if !errors.As(err, &end) || end.Code != test.code || end.Reason != test.reason {
				t.Error(err)
			}
			if test.act != "close" {
				return
			}
			if got := p.next(t); got.Code != int(test.code) || got.Reason != test.reason {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestRefusedOverHTTP2 opens a WebSocket that is refused beside one that echoes on
// the same session.
func TestRefusedOverHTTP2(t *testing.T) {
	p := startPeer(t)
	s := startHTTP2(t, &websocket.Compression{Threshold: -1})
	c, _ := s.connect(t, p, "echo", deflateOptions{})
	p.order(t, map[string]any{"url": s.url + "/pattern", "http2": "echo"})
	if got := p.next(t).Status; got != http.StatusMethodNotAllowed {
		t.Errorf("status %d", got)
	}
	exchange(t, c, 1)
}
