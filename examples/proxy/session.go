package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A session is a client's connection and the one to a server that belongs to
// it, from the handshake on.
type session struct {
	proxy   *proxy
	id      string // of the request
	address netip.Addr
	path    string
	from    *client  // nil before the session counts
	to      *backend // nil without a connection to it
	server  string   // host of to or, after a refusal, of the server that was tried last
	began   time.Time

	client, backend side
	ready           chan struct{}        // closed when the client was answered
	first           atomic.Pointer[side] // that whose peer closed first, if one has
}

// newSession returns a session for a handshake that is not answered yet. r is
// not kept.
func (p *proxy) newSession(r *http.Request) *session {
	path := r.URL.Path // without the query, which may have secrets
	return &session{
		proxy:   p,
		id:      requestIDOf(r),
		address: p.set.clients.clientOf(r),
		path:    path[:min(len(path), 256)],
		began:   time.Now(),
		client:  newSide("client"),
		backend: newSide("backend"),
		ready:   make(chan struct{}),
	}
}

// open connects to a server on behalf of the handshake r and returns the
// subprotocol that the server chose. What it does is undone by answered if the
// handshake fails. h is the header of the answer.
func (s *session) open(h http.Header, r *http.Request, offered []string) (subprotocol string, err error) {
	if s.from, err = s.proxy.clients.enter(s.address); err != nil {
		return "", err
	}
	resp, err := s.dial(r, offered)
	if err != nil {
		return "", err
	}
	for _, cookie := range resp.Header["Set-Cookie"] {
		h.Add("Set-Cookie", cookie)
	}
	return s.backend.conn.Subprotocol(), nil
}

// dial connects to the server that has the fewest connections or, if that
// cannot be reached, to the next.
func (s *session) dial(r *http.Request, offered []string) (*http.Response, error) {
	p := s.proxy
	ctx, cancel := context.WithTimeout(r.Context(), p.set.handshake)
	defer cancel()
	defer context.AfterFunc(p.stopping, cancel)()
	var tried []*backend
	var refusal error
	for b := p.backends.take(nil); b != nil; b = p.backends.take(tried) {
		s.server = b.url.Host
		body := keeper{base: p.transport}
		c, resp, err := s.dialOne(ctx, b, r, offered, &body)
		if err == nil {
			s.to, s.backend.conn = b, c
			return resp, nil
		}
		p.backends.release(b)
		refused := p.refusalFor(r, err, body.body)
		p.metrics.failed(b, refused)
		refusal = refused
		if resp != nil || ctx.Err() != nil {
			break
		}
		tried = append(tried, b)
	}
	return nil, refusal
}

// dialOne connects to b. A refusal's body is kept by body.
func (s *session) dialOne(ctx context.Context, b *backend, r *http.Request, offered []string, body *keeper) (*websocket.Conn, *http.Response, error) {
	p := s.proxy
	out := p.handshakeTo(b.url, r)
	opts := p.dial
	opts.Subprotocols = offered
	opts.Header, opts.Host = out.Header, out.Host
	opts.OnClose = s.onClose(&s.backend, &s.client)
	opts.HTTPClient = &http.Client{Transport: body, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return websocket.Dial(ctx, out.URL.String(), &opts)
}

// answered is called when the client's handshake was answered, before the
// connection c is served, or with nil if there is none.
func (s *session) answered(c *websocket.Conn, h websocket.HandshakeTrace) {
	s.proxy.metrics.answered(h.Status, h.Duration)
	s.client.conn = c
	close(s.ready)
	attrs := []any{"status", h.Status, "duration", h.Duration}
	if c == nil {
		s.release()
		s.log(slog.LevelInfo, "refused", append(attrs, "err", h.Err)...)
		return
	}
	s.proxy.metrics.open.Inc()
	s.log(slog.LevelInfo, "accepted", append(attrs, "subprotocol", h.Subprotocol)...)
}

// release gives up what open has taken. It closes the connection to the server
// unless that has ended.
func (s *session) release() {
	if s.to != nil {
		s.backend.conn.CloseNow()
		s.proxy.backends.release(s.to)
	}
	if s.from != nil {
		s.proxy.clients.leave(s.from)
	}
}

// serve serves the session until both sides have ended.
func (s *session) serve(*websocket.Conn) error {
	s.relayBoth()
	s.proxy.metrics.ended(&s.client)
	s.proxy.metrics.ended(&s.backend)
	s.logEnd()
	return nil
}

// relayBoth passes messages on in both directions until both sides have ended.
func (s *session) relayBoth() {
	defer s.proxy.metrics.open.Dec()
	defer s.release()
	var both sync.WaitGroup
	both.Go(func() { s.relay(&s.backend, &s.client) })
	s.relay(&s.client, &s.backend)
	both.Wait()
}

// logEnd logs how the session ended, and what the two peers have sent.
func (s *session) logEnd() {
	client, backend := s.client.conn.Stats(), s.backend.conn.Stats()
	s.log(slog.LevelInfo, "closed",
		"client_code", int(s.client.end.Code), "client_reason", s.client.end.Reason,
		"backend_code", int(s.backend.end.Code), "backend_reason", s.backend.end.Reason,
		"duration", time.Since(s.began),
		"client_messages", client.MessagesIn, "client_bytes", client.BytesIn,
		"backend_messages", backend.MessagesIn, "backend_bytes", backend.BytesIn)
}

// log logs a line about the session.
func (s *session) log(level slog.Level, text string, attrs ...any) {
	about := []any{"id", s.id, "client", s.address.String(), "path", s.path, "backend", s.server}
	s.proxy.log.Log(context.Background(), level, text, append(about, attrs...)...)
}
