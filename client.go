package websocket

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket/internal/hostport"
	"github.com/fullduplex-go/websocket/internal/http1"
)

// DialOptions set a client's side of a connection. The zero value, and nil, are
// good defaults.
type DialOptions struct {
	Config

	// Header is added to the request, with names spelled as its keys are.
	// Fields of the handshake itself, including Host, are errors.
	Header http.Header

	// Host is the value of the Host field. "": the host of the URL.
	Host string

	// Jar adds cookies to the request and keeps those of the response. Nil:
	// none.
	Jar http.CookieJar

	// TLS configures wss, and the connection to an https proxy. Nil: the
	// defaults of crypto/tls. It is cloned; no protocol but http/1.1 is
	// offered, and a missing ServerName is the host of the URL.
	TLS *tls.Config

	// Proxy returns the proxy for a request, whose URL has the scheme http
	// or https, or nil for none. Nil: [http.ProxyFromEnvironment]. Schemes
	// of proxies are http and https for CONNECT, and socks5 and socks5h,
	// which leaves the resolution of names to the proxy. Userinfo is sent
	// to the proxy and never to the server. DialConn and connections to
	// Unix sockets use no proxy.
	Proxy func(*http.Request) (*url.URL, error)

	// ProxyHeader is added to the CONNECT request, with names spelled as its
	// keys are.
	ProxyHeader http.Header

	// NetDial connects to addr on network, "tcp" or "unix"; addr is the
	// proxy's if there is one. TLS is done on what it returns. Nil: a
	// [net.Dialer]. It should return when ctx ends: if it does not, Dial
	// returns first, and closes the connection that NetDial returns later.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// NetDialTLS is called in place of NetDial for wss, and returns a
	// connection on which TLS has been done: by another implementation, or
	// with keys that crypto/tls cannot use. The option TLS is then ignored. If
	// the connection has a method HandshakeContext, as those of crypto/tls and
	// its forks do, that is called. ALPN must have agreed on http/1.1 or on
	// nothing. NetDialTLS is not used through a proxy: it is an error if Proxy
	// returns one. It is called for the targets of redirects too, and decides
	// itself what credentials to show them.
	NetDialTLS func(ctx context.Context, network, addr string) (net.Conn, error)

	// HTTPClient sends the handshake, if it is not nil: to go through its
	// RoundTrippers, which authenticate, observe or play the server, or to
	// share its settings. Its Transport connects, also by proxies, its
	// CheckRedirect decides on redirects, to which ws and wss are http and
	// https and which never go back to ws, its Jar keeps cookies, and its
	// Timeout bounds the handshake too. TLS, Proxy, ProxyHeader, NetDial,
	// NetDialTLS, Jar and Redirects must not be set. For ws, net/http asks an
	// HTTP proxy to pass the request on, and not for a tunnel as it does for
	// wss.
	//
	// The connection is the Body of the 101 response of HTTP/1.1, which must
	// be an [io.ReadWriteCloser], as those of net/http are. A RoundTripper
	// that wraps it sees calls that deadlines interrupt fail. The context of
	// the request ends when the connection is closed or the handshake fails.
	HTTPClient *http.Client

	// Redirects is how many redirects Dial follows, one after another. 0:
	// none. It never follows from wss to ws. Credentials, cookies of Header
	// and client certificates do not cross to another origin.
	Redirects int

	// RequireSubprotocol fails a handshake in which the server picks none of
	// the subprotocols offered, as browsers do.
	RequireSubprotocol bool
}

// Dial connects to a server and opens a WebSocket connection. Its errors are of
// type [*HandshakeError]. It returns the server's response with a connection
// and with a refusal; the body of the response need not be closed.
//
// The schemes of url are ws and wss, with the aliases http and https, and, for
// a Unix socket, ws+unix and wss+unix as in
//
//	ws+unix:///path/to/socket:/request/path?query
//
// where a colon within the socket's path is written %3A and the host is
// localhost. Userinfo in url is sent as Basic authentication unless Header has
// an Authorization. A host that is not ASCII is an error: give its ASCII form.
//
// ctx and HandshakeTimeout bound the handshake, and nothing after it. The hooks
// of net/http/httptrace that ctx has are called as net/http's client calls them.
//
// On js/wasm the browser connects, and its limits apply: see the package
// documentation.
func Dial(ctx context.Context, url string, opts *DialOptions) (*Conn, *http.Response, error) {
	d, err := newDialer(url, opts)
	if err != nil {
		return nil, nil, err
	}
	if dialBrowser != nil {
		return dialBrowser(d, ctx)
	}
	ctx, cancel := within(ctx, d.timeout())
	defer cancel()
	if d.opts.HTTPClient != nil {
		return d.open(ctx, d.handshakeByClient)
	}
	for left := d.opts.Redirects; ; left-- {
		c, r, err := d.dial(ctx, d.connect)
		if err == nil || left <= 0 || !isRedirect(r) {
			return c, r, err
		}
		if d, err = d.followRedirect(r); err != nil {
			return nil, r, err
		}
	}
}

// dialBrowser opens a connection through the browser that the program runs in.
// It is nil everywhere else.
var dialBrowser func(d *dialer, ctx context.Context) (*Conn, *http.Response, error)

// DialConn opens a WebSocket connection to url over nc, which the caller has
// connected. For wss and https, TLS is done first, unless nc does that itself: a
// *[tls.Conn], any other net.Conn that has the method HandshakeContext of one,
// and, if DialOptions.NetDialTLS is set, whatever nc is. DialConn takes nc over:
// if it returns an error, nc is closed.
func DialConn(ctx context.Context, nc net.Conn, url string, opts *DialOptions) (*Conn, *http.Response, error) {
	d, err := newDialer(url, opts)
	if err == nil && d.opts.HTTPClient != nil {
		err = invalidRequestError(errors.New("HTTPClient connects by itself, and not over the connection that DialConn is given"))
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	ctx, cancel := within(ctx, d.cfg.HandshakeTimeout)
	defer cancel()
	return d.dial(ctx, func(ctx context.Context) (net.Conn, error) {
		if _, ok := nc.(handshaker); ok || d.opts.NetDialTLS != nil {
			return nc, finishTLS(ctx, nc)
		}
		return d.secureConn(ctx, nc)
	})
}

// A dialer is one opening handshake of a client (RFC 6455, Section 4.1).
type dialer struct {
	opts    *DialOptions
	cfg     *Config
	uri     *wsURI
	request *http.Request
	offer   offer
}

// newDialer returns a handshake with the server at url. It checks everything
// that the application set, before anything is dialed, and makes the request.
func newDialer(url string, opts *DialOptions) (*dialer, error) {
	if opts == nil {
		opts = new(DialOptions)
	}
	u, err := parseURI(url)
	if err != nil {
		return nil, invalidRequestError(err)
	}
	return newDialerTo(u, opts)
}

// newDialerTo is newDialer with a parsed URI.
func newDialerTo(u *wsURI, opts *DialOptions) (*dialer, error) {
	d := &dialer{opts: opts, cfg: opts.Config.withDefaults(), uri: u}
	if err := checkDialOptions(opts); err != nil {
		return nil, invalidRequestError(err)
	}
	if err := checkHTTPClient(opts, u); err != nil {
		return nil, invalidRequestError(err)
	}
	if err := d.setOffer(); err != nil {
		return nil, invalidRequestError(err)
	}
	d.setRequest()
	return d, nil
}

// invalidRequestError returns the error for a URL or options that do not make a
// request.
func invalidRequestError(err error) error {
	return &HandshakeError{Reason: "request is not valid", Err: err, invalid: true}
}

// checkDialOptions returns an error if a value in o means nothing or cannot
// stand in a request.
func checkDialOptions(o *DialOptions) error {
	if _, _, ok := hostport.Split(o.Host); o.Host != "" && !ok {
		return fmt.Errorf("host %q is not a host and port in ASCII", o.Host)
	}
	if err := o.Config.check(); err != nil {
		return err
	}
	if err := checkSubprotocols(o.Subprotocols); err != nil {
		return err
	}
	if err := checkFields(o.ProxyHeader); err != nil {
		return err
	}
	return checkFields(o.Header)
}

// setOffer sets the offer, with a fresh key: "a nonce consisting of a randomly
// selected 16-byte value" (RFC 6455, Section 4.1).
func (d *dialer) setOffer() error {
	var nonce [16]byte
	if _, err := io.ReadFull(rand.Reader, nonce[:]); err != nil {
		return err
	}
	d.offer = offer{
		key:                base64.StdEncoding.EncodeToString(nonce[:]),
		subprotocols:       d.cfg.Subprotocols,
		requireSubprotocol: d.opts.RequireSubprotocol,
		compression:        d.cfg.Compression,
	}
	return nil
}

// setRequest sets the request: first what the application adds, then the fields
// of the handshake, which replace others of the same name.
func (d *dialer) setRequest() {
	r := &http.Request{
		Method:     http.MethodGet,
		URL:        d.uri.url(),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     make(http.Header, len(d.opts.Header)+len(requestFields)),
		Body:       http.NoBody,
		Host:       d.uri.hostField,
	}
	if d.opts.Host != "" {
		r.Host = d.opts.Host
	}
	for name, values := range d.opts.Header {
		r.Header[name] = slices.Clone(values)
	}
	if u := d.uri.user; u != nil && r.Header[http1.KeyOf(r.Header, "Authorization")] == nil {
		password, _ := u.Password()
		r.SetBasicAuth(u.Username(), password)
	}
	if d.opts.Jar != nil {
		addCookies(r.Header, d.opts.Jar.Cookies(r.URL))
	}
	setRequestFields(r.Header, d.offer.key, d.offer.subprotocols, offerExtensions(d.offer.compression))
	d.request = r
}

// addCookies adds cookies to those in h, however that spells the field: "the
// user agent MUST NOT attach more than one Cookie header field" (RFC 6265,
// Section 5.4).
func addCookies(h http.Header, cookies []*http.Cookie) {
	if len(cookies) == 0 {
		return
	}
	key := http1.KeyOf(h, "Cookie")
	r := http.Request{Header: make(http.Header)}
	if own := h[key]; len(own) > 0 {
		r.Header.Set("Cookie", strings.Join(own, "; "))
	}
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	h[key] = r.Header["Cookie"]
}

// timeout returns how long the handshake may take.
func (d *dialer) timeout() time.Duration {
	if c := d.opts.HTTPClient; c != nil && c.Timeout > 0 {
		return min(c.Timeout, d.cfg.HandshakeTimeout)
	}
	return d.cfg.HandshakeTimeout
}

// within returns ctx with a timeout, unless that is forever.
func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == forever {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// A handshaking does an opening handshake. With an error, the response is what
// there is of one, or nil, and nothing is left open.
type handshaking func(ctx context.Context) (*Conn, *http.Response, agreement, error)

// open opens a WebSocket connection by shake, and traces the outcome.
func (d *dialer) open(ctx context.Context, shake handshaking) (*Conn, *http.Response, error) {
	began := time.Now()
	c, r, agreed, err := shake(ctx)
	if err != nil {
		err = asHandshakeError(ctx, err, r)
	}
	request := d.request
	if r != nil {
		request = r.Request
	}
	d.cfg.traceHandshake(c, request, agreed, began, err)
	return c, r, err
}

// dial opens a WebSocket connection over the net.Conn that connect returns. With
// an error, connect may return a net.Conn to close.
func (d *dialer) dial(ctx context.Context, connect func(context.Context) (net.Conn, error)) (*Conn, *http.Response, error) {
	return d.open(ctx, func(ctx context.Context) (c *Conn, r *http.Response, agreed agreement, err error) {
		nc, err := connect(ctx)
		if err == nil {
			c, r, agreed, err = d.handshake(ctx, nc)
		}
		if err != nil && nc != nil {
			closeNow(nc)
		}
		return c, r, agreed, err
	})
}

// asHandshakeError returns err as the HandshakeError of a handshake that ctx
// bounds. If ctx has ended, its error is the cause. r is the server's response,
// or nil.
func asHandshakeError(ctx context.Context, err error, r *http.Response) error {
	var e *HandshakeError
	if !errors.As(err, &e) {
		e = &HandshakeError{Reason: "connection failed", Err: err}
	}
	if done := ctx.Err(); done != nil && !errors.Is(e, done) {
		e.Err = done
	}
	if r != nil {
		e.Response, e.received = r, true
	}
	return e
}

// handshake exchanges request and response over nc until ctx ends. With an
// error, nc is still the caller's to close.
func (d *dialer) handshake(ctx context.Context, nc net.Conn) (c *Conn, r *http.Response, agreed agreement, err error) {
	reader := http1.NewResponseReader(nc)
	defer reader.Release()
	stop := closeWhenDone(ctx, nc)
	r, agreed, err = d.exchange(clientTraceOf(ctx), nc, &reader)
	if late := stop(); late != nil && err == nil {
		err = late
	}
	if err != nil {
		return nil, r, agreed, err
	}
	return newConn(nc, client, d.cfg, agreed, reader.Rest()), r, agreed, nil
}

// exchange sends the request, reads the response and checks it.
func (d *dialer) exchange(trace clientTrace, nc net.Conn, reader *http1.Reader) (r *http.Response, agreed agreement, err error) {
	trace.gotConn(nc)
	request := appendRequest(nil, d.request, d.uri.resourceName)
	_, err = nc.Write(request)
	if trace.wroteRequest(request, err); err != nil {
		return nil, agreed, &HandshakeError{Reason: "request was not sent", Err: err}
	}
	r, head, err := readResponse(trace, reader)
	if err != nil {
		return nil, agreed, &HandshakeError{Reason: "response was not received", Err: err}
	}
	r.Request = d.request
	d.keepCookies(r)
	if r.StatusCode != http.StatusSwitchingProtocols {
		return r, agreed, notSwitchedError(r, reader.ReadErrorBody(r, head))
	}
	agreed, err = checkResponse(r, &d.offer)
	return r, agreed, err
}

// readResponse reads the final response, and returns its head too.
func readResponse(trace clientTrace, reader *http1.Reader) (r *http.Response, head string, err error) {
	if err := reader.Await(); err != nil {
		return nil, "", err
	}
	trace.gotFirstByte()
	return reader.ReadFinalResponse(trace.gotInterim)
}

// keepCookies puts the cookies of r into the jar, if there is one.
func (d *dialer) keepCookies(r *http.Response) {
	if cookies := r.Cookies(); d.opts.Jar != nil && len(cookies) > 0 {
		d.opts.Jar.SetCookies(d.request.URL, cookies)
	}
}

// notSwitchedError returns the error for a response with another status than
// 101. body is the beginning of its body.
func notSwitchedError(r *http.Response, body []byte) error {
	e := &HandshakeError{Status: r.StatusCode, Reason: "server refused", quoted: quotedFrom(r, body)}
	versions := r.Header[versionField]
	switch {
	case len(versions) > 0:
		e.Reason = fmt.Sprintf("server refused and speaks WebSocket version %s", excerpt(strings.Join(versions, ", ")))
	case isRedirect(r):
		e.Reason = "server redirects, and Dial follows as many redirects as DialOptions.Redirects, or HTTPClient, says"
	case r.StatusCode < 300:
		e.Reason = "URL is no WebSocket endpoint, or a proxy on the way removed Upgrade from the request"
	}
	return e
}
