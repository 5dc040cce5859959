package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// This file has the opening handshake sent through DialOptions.HTTPClient. For
// that it is a request like any other, and the connection is the Body of the
// response: RoundTrippers, redirects, cookies and proxies are the client's.

// checkHTTPClient returns an error for options that make no sense together with
// HTTPClient, which has its own means for what they do, or for a URL that it
// cannot be given.
func checkHTTPClient(o *DialOptions, u *wsURI) error {
	if o.HTTPClient == nil {
		return nil
	}
	for _, option := range []struct {
		name  string
		isSet bool
		means string // what the client has instead
	}{
		{"TLS", o.TLS != nil, "the TLSClientConfig of its Transport"},
		{"Proxy", o.Proxy != nil, "the Proxy of its Transport"},
		{"ProxyHeader", o.ProxyHeader != nil, "the ProxyConnectHeader of its Transport"},
		{"NetDial", o.NetDial != nil, "the DialContext of its Transport"},
		{"NetDialTLS", o.NetDialTLS != nil, "the DialTLSContext of its Transport"},
		{"Jar", o.Jar != nil, "its Jar"},
		{"Redirects", o.Redirects != 0, "its CheckRedirect"},
	} {
		if option.isSet {
			return fmt.Errorf("%s is set together with HTTPClient: set %s instead", option.name, option.means)
		}
	}
	if u.network != "tcp" {
		return errors.New("HTTPClient knows no ws+unix: give it http, and a Transport whose DialContext dials the socket")
	}
	return nil
}

// handshakeByClient sends the request through HTTPClient until ctx ends, and
// makes a connection of the response.
func (d *dialer) handshakeByClient(ctx context.Context) (c *Conn, r *http.Response, agreed agreement, err error) {
	life := newRequestLife(ctx)
	if r, err = d.roundTrip(ctx, life); err != nil {
		life.end(err)
		return nil, r, agreed, err
	}
	nc, early, agreed, err := d.connOf(ctx, life, r)
	if late := life.stop(); late != nil && err == nil {
		closeNow(nc)
		err = late
	}
	if err != nil {
		life.end(err)
		return nil, r, agreement{}, err
	}
	c = newConn(nc, client, d.cfg, agreed, early)
	if !c.watch(life) {
		life.gone(c)
	}
	return c, r, agreed, nil
}

// roundTrip has HTTPClient send the request and follow redirects. It returns at
// the end of ctx even if a RoundTripper does not. With an error, a response is
// that of a redirect which is not followed.
func (d *dialer) roundTrip(ctx context.Context, life *requestLife) (*http.Response, error) {
	c := clientFor(d.opts.HTTPClient)
	request := d.clientRequest(life.ctx)
	r, err := callUntilDone(ctx, "HTTPClient",
		func() (*http.Response, error) { return c.Do(request) },
		func(r *http.Response) { r.Body.Close() })
	switch {
	case err == nil:
		if r.Request == nil {
			r.Request = request
		}
		return r, nil
	case r == nil:
		return nil, clientError(err)
	default:
		r.Body = http.NoBody // it is closed
		return r, &HandshakeError{Status: r.StatusCode, Reason: "redirect is not followed", Err: withoutURL(err), quoted: quotedFrom(r, nil)}
	}
}

// clientRequest returns the request as net/http's client wants it.
func (d *dialer) clientRequest(ctx context.Context) *http.Request {
	r := d.request.WithContext(ctx)
	if strings.Contains(d.uri.addr, "%") {
		u := *r.URL
		u.Host = d.uri.addr // to dial it, its zone is needed
		r.URL = &u
	}
	if key := http1.KeyOf(r.Header, "User-Agent"); key != "User-Agent" && r.Header[key] != nil {
		r.Header = maps.Clone(r.Header)
		r.Header["User-Agent"] = []string{""} // which keeps net/http from adding its own
	}
	return r
}

// clientError returns the error for a request that got no response.
func clientError(err error) error {
	err = withoutURL(err)
	e := &HandshakeError{Reason: "HTTPClient got no response", Err: err}
	if strings.Contains(err.Error(), "invalid Upgrade request header") {
		e.Reason = "HTTPClient speaks HTTP/2" + withoutUpgrade
	}
	return e
}

// withoutURL returns an error of net/http's client without the URL, whose query
// may hold secrets.
func withoutURL(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}

// connOf returns the net.Conn that the Body of r is, with the bytes that were
// received behind the response, and what was agreed on. With an error, the Body
// is closed.
func (d *dialer) connOf(ctx context.Context, life *requestLife, r *http.Response) (nc net.Conn, early []byte, agreed agreement, err error) {
	body := r.Body
	r.Body = http.NoBody
	if r.Proto == "" && r.ProtoMajor == 0 { // from a RoundTripper that makes up its responses
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	}
	if r.StatusCode != http.StatusSwitchingProtocols && r.ProtoMajor == 1 {
		return nil, nil, agreement{}, refusalOf(ctx, r, body)
	}
	if agreed, err = d.checkClientResponse(r, body); err != nil {
		body.Close()
		return nil, nil, agreement{}, err
	}
	stream := body.(io.ReadWriteCloser)
	if nc, early, ok := connIn(stream); ok {
		return nc, early, agreed, nil
	}
	return newBodyConn(stream, life.conn(), d.uri.addr), nil, agreed, nil
}

// checkClientResponse returns what was agreed on by r, the response that
// HTTPClient got, with this Body, or why there is no connection.
func (d *dialer) checkClientResponse(r *http.Response, body io.ReadCloser) (agreement, error) {
	if r.ProtoMajor != 1 {
		return agreement{}, &HandshakeError{Status: r.StatusCode, Reason: "HTTPClient got its response in " + r.Proto + withoutUpgrade}
	}
	agreed, err := checkResponse(r, &d.offer)
	if _, ok := body.(io.ReadWriteCloser); !ok && err == nil {
		err = badResponseError(fmt.Sprintf("Body of the response is a %T, which cannot be written to: "+
			"a RoundTripper of HTTPClient that wraps the Body of a 101 response must return an io.ReadWriteCloser", body))
	}
	return agreed, err
}

// withoutUpgrade ends the reason for a handshake that was to go by HTTP/2 or
// later.
const withoutUpgrade = ", where there is no Upgrade: give it a Transport that speaks HTTP/1.1"

// refusalOf returns the error for a response with another status than 101, and
// has r hold the beginning of its body, which it closes.
func refusalOf(ctx context.Context, r *http.Response, body io.ReadCloser) error {
	closeBody := sync.OnceFunc(func() { body.Close() })
	defer closeBody()
	defer context.AfterFunc(ctx, closeBody)()
	beginning, _ := io.ReadAll(io.LimitReader(body, http1.MaxErrorBody))
	r.Body = io.NopCloser(bytes.NewReader(beginning))
	return notSwitchedError(r, beginning)
}

// A requestLife is the life of a request of net/http's client. Its context ends
// with the handshake's if the handshake fails, and when the connection is closed
// if it succeeds; in between, it does not end.
type requestLife struct {
	ctx  context.Context
	end  context.CancelCauseFunc
	stop func() error // parts ctx from that of the handshake, and returns its error if it has ended

	got atomic.Pointer[net.Conn] // what the request was sent on
}

// newRequestLife returns the life of a request for a handshake that ends with
// ctx.
func newRequestLife(ctx context.Context) *requestLife {
	l := new(requestLife)
	l.ctx, l.end = context.WithCancelCause(context.WithoutCancel(ctx))
	l.stop = l.follow(ctx)
	l.ctx = httptrace.WithClientTrace(l.ctx, &httptrace.ClientTrace{
		GotConn:     func(info httptrace.GotConnInfo) { l.got.Store(&info.Conn) },
		PutIdleConn: func(error) { l.got.Store(nil) },
	})
	return l
}

// follow ends the context of the request with ctx, until the result is called,
// which returns the error of ctx if it has ended.
func (l *requestLife) follow(ctx context.Context) (stop func() error) {
	if ctx.Done() == nil {
		return func() error { return nil }
	}
	stopped := context.AfterFunc(ctx, func() { l.end(context.Cause(ctx)) })
	return func() error {
		if stopped() {
			return nil
		}
		return ctx.Err()
	}
}

// ended does nothing: the context goes on until gone is called.
func (l *requestLife) ended(*Conn) {}

// gone ends the context: the net.Conn is closed.
func (l *requestLife) gone(*Conn) { l.end(net.ErrClosed) }

// conn returns the net.Conn that net/http sent the request on, or nil if it is
// not known: the last one of those that were taken and not put back, since a
// RoundTripper may send others before it, to be given a token.
func (l *requestLife) conn() net.Conn {
	if nc := l.got.Load(); nc != nil {
		return *nc
	}
	return nil
}

// clientFor returns a copy of c for opening handshakes. It has no Timeout, which
// would go on for as long as the connection lasts.
func clientFor(c *http.Client) *http.Client {
	own := *c
	own.Timeout = 0
	own.CheckRedirect = checkRedirects(c.CheckRedirect)
	if own.Transport == nil {
		own.Transport = http.DefaultTransport
	}
	if t, ok := own.Transport.(*http.Transport); ok {
		own.Transport = spellingTransport{t}
	}
	return &own
}

// maxClientRedirects is how many redirects net/http's client follows by default.
const maxClientRedirects = 10

// checkRedirects returns a CheckRedirect that lets check, or net/http's rule if
// that is nil, decide on redirects. It makes http and https of ws and wss, which
// net/http does not know, and never goes back from https.
func checkRedirects(check func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		switch r.URL.Scheme {
		case "ws":
			r.URL.Scheme = "http"
		case "wss":
			r.URL.Scheme = "https"
		}
		switch {
		case r.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "https":
			return errors.New("redirect target is not wss")
		case check != nil:
			return check(r, via)
		case len(via) >= maxClientRedirects:
			return fmt.Errorf("stopped after %d redirects", maxClientRedirects)
		default:
			return nil
		}
	}
}

// A spellingTransport sends the fields of the handshake with the names that RFC
// 6455 gives them, because there are servers to which that matters. Other
// RoundTrippers are given the keys that [http.Header.Get] finds.
type spellingTransport struct{ next *http.Transport }

// RoundTrip sends r.
func (t spellingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	spelled := r.WithContext(r.Context())
	spelled.Header = maps.Clone(r.Header)
	for _, field := range requestFields {
		if v, ok := spelled.Header[field.key]; ok {
			delete(spelled.Header, field.key)
			spelled.Header[field.name] = v
		}
	}
	response, err := t.next.RoundTrip(spelled)
	if response != nil {
		response.Request = r
	}
	return response, err
}
