package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A proxy is a handler that passes connections on to servers.
type proxy struct {
	set       *settings
	log       *slog.Logger
	clients   *clients
	backends  *backends
	metrics   *metrics
	transport *http.Transport
	pages     http.Handler // for requests that ask for no WebSocket; nil: they are refused
	conns     websocket.Registry
	accept    websocket.AcceptOptions // of every connection
	dial      websocket.DialOptions   // of every connection
	fields    []string                // of a client's handshake that are passed on
	stopping  context.Context         // done when the program stops
}

// closeTimeout bounds the closing handshake on each side. It is shorter than
// the patience of most peers, because one waits for both.
const closeTimeout = 3 * time.Second

// newProxy returns a proxy that set describes. ctx ends when the program stops.
func newProxy(ctx context.Context, set *settings, log *slog.Logger) *proxy {
	p := &proxy{
		set:       set,
		log:       log,
		clients:   newClients(set.limits),
		backends:  newBackends(set.back.servers),
		metrics:   newMetrics(),
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute},
		fields:    slices.Concat(passedOn, set.back.headers),
		stopping:  ctx,
	}
	both := websocket.Config{
		MaxMessageSize: cmp.Or(set.limits.message, -1),
		CloseTimeout:   closeTimeout,
	}
	p.accept = websocket.AcceptOptions{Config: both, Registry: &p.conns}
	p.accept.IdleTimeout = set.idle
	if len(set.origins) > 0 {
		p.accept.Origin = websocket.AllowOrigins(set.origins...)
	}
	p.dial = websocket.DialOptions{Config: both}
	p.dial.HandshakeTimeout = -1 // the context has it
	if set.compress == "client" || set.compress == "both" {
		p.accept.Compression = new(websocket.Compression)
	}
	if set.compress == "backend" || set.compress == "both" {
		p.dial.Compression = new(websocket.Compression)
	}
	if set.back.pages {
		p.pages = http.HandlerFunc(p.servePage)
	}
	return p
}

// ServeHTTP passes one request on. The server is asked before the client is
// answered, by the last of the checks of the handshake, so that the client gets
// the server's refusal or the subprotocol that it chose.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.pages != nil && !websocket.IsUpgrade(r) {
		p.pages.ServeHTTP(w, r)
		return
	}
	s := p.newSession(r)
	w.Header().Set(requestID, s.id)
	opts := p.accept
	opts.OnClose = s.onClose(&s.client, &s.backend)
	opts.Trace = &websocket.Trace{Handshake: s.answered}
	opts.SelectSubprotocol = func(r *http.Request, offered []string) (string, error) {
		return s.open(w.Header(), r, offered)
	}
	websocket.Handler(&opts, func(*http.Request) (func(*websocket.Conn) error, error) {
		return s.serve, nil
	}).ServeHTTP(w, r)
}

// servePage passes a request on that asks for no WebSocket.
func (p *proxy) servePage(w http.ResponseWriter, r *http.Request) {
	b := p.backends.take(nil)
	defer p.backends.release(b)
	pages := httputil.ReverseProxy{
		Transport: p.transport,
		ErrorLog:  slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		Rewrite: func(pr *httputil.ProxyRequest) {
			p.address(pr, b.url)
			pr.Out.Header.Del("Connection") // no other protocol either
			pr.Out.Header.Del("Upgrade")
		},
	}
	pages.ServeHTTP(w, r)
}

// address makes pr.Out a request to the server at to, with fields that say on
// whose behalf. What the client says of that is not passed on unless it is a
// trusted proxy.
func (p *proxy) address(pr *httputil.ProxyRequest, to *url.URL) {
	trusted := p.set.clients.trusts(peerOf(pr.In))
	if trusted {
		pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
	}
	pr.SetURL(to)
	pr.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if said := pr.In.Header[name]; trusted && len(said) > 0 {
			pr.Out.Header[name] = said
		}
	}
	pr.Out.Host = cmp.Or(p.set.back.host, pr.In.Host)
	pr.Out.Header.Set(requestID, requestIDOf(pr.In))
}

// requestID is the field with which logs of the client, the proxy and the
// server are told to be about the same request.
const requestID = "X-Request-Id"

// plainID matches what is taken as the client's own id.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestIDOf returns the id of r, and gives it one if it has none.
func requestIDOf(r *http.Request) string {
	if !plainID.MatchString(r.Header.Get(requestID)) {
		r.Header.Set(requestID, rand.Text())
	}
	return r.Header.Get(requestID)
}

// passedOn are the fields of a client's handshake that are passed on. All
// others are left out, unless -pass names them: the server may believe them to
// be the proxy's.
var passedOn = []string{"Accept-Language", "Authorization", "Cookie", "Origin", "User-Agent"}

// handshakeTo returns the request that passes the handshake r on to the server
// at to. The fields of the WebSocket handshake are left to Dial.
func (p *proxy) handshakeTo(to *url.URL, r *http.Request) *http.Request {
	u := *r.URL
	out := &http.Request{URL: &u, Header: only(r.Header, p.fields)}
	for _, name := range strings.Split(strings.Join(r.Header["Connection"], ","), ",") {
		out.Header.Del(strings.TrimSpace(name)) // the client meant it for the next hop alone
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // which keeps net/http from adding its own
	}
	p.address(&httputil.ProxyRequest{In: r, Out: out}, to)
	return out
}

// statusClientGone stands in logs and metrics for the answer to a client that
// did not wait for it.
const statusClientGone = 499

// refusalFor returns what the client that sent r is refused with, after the
// handshake with a server has failed with err: the server's own answer, with
// its body, if there is one. Otherwise, its Err is err.
func (p *proxy) refusalFor(r *http.Request, err error, body []byte) *websocket.HandshakeError {
	var e *websocket.HandshakeError
	switch errors.As(err, &e); {
	case r.Context().Err() != nil:
		return &websocket.HandshakeError{Status: statusClientGone, Reason: "client has gone", Err: err}
	case p.stopping.Err() != nil:
		return &websocket.HandshakeError{Status: http.StatusServiceUnavailable, Reason: goingAway, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &websocket.HandshakeError{Status: http.StatusGatewayTimeout, Reason: "server did not answer in time", Err: err}
	case e == nil || e.Status < 300 || e.Status > 599:
		return &websocket.HandshakeError{Status: http.StatusBadGateway, Reason: "server cannot be reached or speaks no WebSocket", Err: err}
	}
	return &websocket.HandshakeError{
		Status:   e.Status,
		Reason:   "server refused the connection",
		Response: &http.Response{Header: only(e.Response.Header, answerFields), Body: io.NopCloser(bytes.NewReader(body))},
	}
}

// answerFields are the fields of a server's refusal that the client is sent.
var answerFields = []string{"Cache-Control", "Content-Encoding", "Content-Language", "Content-Type", "Location", "Retry-After", "Set-Cookie", "Www-Authenticate"}

// only returns the fields of h with these names, which are canonical.
func only(h http.Header, names []string) http.Header {
	some := make(http.Header)
	for _, name := range names {
		if values := h[name]; len(values) > 0 {
			some[name] = values
		}
	}
	return some
}

// A keeper is a RoundTripper that keeps the body of a refusal, of which Dial
// returns no more than the beginning.
type keeper struct {
	base http.RoundTripper
	body []byte // of the last refusal
}

// maxKept is one byte more than a refusal's body may have to be sent.
const maxKept = 64<<10 + 1

// RoundTrip keeps the body of a response, unless that is the connection.
func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := k.base.RoundTrip(r)
	if err != nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, err
	}
	defer resp.Body.Close()
	if k.body, err = io.ReadAll(io.LimitReader(resp.Body, maxKept)); err != nil {
		k.body = nil // half of it would mislead
	}
	resp.Body = io.NopCloser(bytes.NewReader(k.body))
	return resp, nil
}
