package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A Dialer opens connections to servers. It may be used by several goroutines at
// the same time, as long as none changes it.
type Dialer struct {
	// NetDial connects to a server or proxy, if NetDialContext is nil. Nil: a
	// net.Dialer does.
	NetDial func(network, addr string) (net.Conn, error)

	// NetDialContext connects to a server or proxy. Nil: NetDial does.
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// NetDialTLSContext connects to a server for wss, and does TLS. It cannot
	// be used with a proxy. Nil: TLS is done on a connection of NetDialContext.
	NetDialTLSContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the proxy for a request, or nil for none. Nil: no proxy.
	Proxy func(*http.Request) (*url.URL, error)

	// TLSClientConfig configures TLS for wss, unless NetDialTLSContext does
	// that. Nil: the defaults of crypto/tls.
	TLSClientConfig *tls.Config

	// HandshakeTimeout bounds the opening handshake, with connecting. 0: no
	// limit.
	HandshakeTimeout time.Duration

	// ReadBufferSize is the size in bytes of the buffer for reading, which a
	// connection has only while it reads: at least 256 and at most 1 MiB. 0: a
	// good one. WriteBufferSize is not used.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is not used: writing takes buffers from a pool anyhow.
	WriteBufferPool BufferPool

	// Subprotocols are those that the client offers, in its order of
	// preference.
	Subprotocols []string

	// EnableCompression offers permessage-deflate (RFC 7692), without context
	// takeover.
	EnableCompression bool

	// Jar adds cookies to the request and keeps those of the response. Nil:
	// none.
	Jar http.CookieJar
}

// DefaultDialer is the Dialer that a nil *Dialer stands for.
var DefaultDialer = &Dialer{
	Proxy:            http.ProxyFromEnvironment,
	HandshakeTimeout: 45 * time.Second,
}

// Errors of arguments.
var (
	errMalformedURL = errors.New("websocket: URL is not one of ws or wss, or has a user")
	errTwice        = errors.New("websocket: Dialer.Subprotocols and the field Sec-WebSocket-Protocol exclude each other")
)

// Dial is DialContext with a context that does not end.
func (d *Dialer) Dial(urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	return d.DialContext(background, urlStr, requestHeader)
}

// DialContext connects to a server and opens a WebSocket connection. The fields
// of requestHeader are added to the request: Origin, cookies and others.
// Subprotocols may be there instead of in the Dialer, and Host replaces the one
// of the URL. ctx bounds the opening handshake and nothing after it.
//
// If the server answers in another way than a WebSocket server, the error is
// [ErrBadHandshake], and the response is returned with up to 1024 bytes of its
// body, which need not be closed.
func (d *Dialer) DialContext(ctx context.Context, urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	if d == nil {
		d = DefaultDialer
	}
	return d.open(urlStr, requestHeader, func(opts *fullduplex.DialOptions) (*fullduplex.Conn, *http.Response, error) {
		return fullduplex.Dial(ctx, urlStr, opts)
	})
}

// open opens a connection with a function that dials.
func (d *Dialer) open(urlStr string, h http.Header, dial func(*fullduplex.DialOptions) (*fullduplex.Conn, *http.Response, error)) (*Conn, *http.Response, error) {
	u, err := url.Parse(urlStr)
	if err != nil {
		return nil, nil, err
	}
	if u.Scheme != "ws" && u.Scheme != "wss" || u.User != nil {
		return nil, nil, errMalformedURL
	}
	opts, err := d.options(h)
	if err != nil {
		return nil, nil, err
	}
	c := new(Conn)
	c.setHooks(&opts.Config)
	ws, response, err := dial(opts)
	if err != nil {
		return nil, response, dialError(err)
	}
	c.ws = ws
	return c, response, nil
}

// options returns the options for a request with the fields of h.
func (d *Dialer) options(h http.Header) (*fullduplex.DialOptions, error) {
	opts := &fullduplex.DialOptions{
		Config: settings{
			handshakeTimeout: d.timeout(),
			readBufferSize:   d.ReadBufferSize,
			subprotocols:     d.Subprotocols,
			compress:         d.EnableCompression,
		}.config(),
		Jar:        d.Jar,
		TLS:        d.TLSClientConfig,
		Proxy:      d.Proxy,
		NetDial:    d.netDial(),
		NetDialTLS: d.NetDialTLSContext,
	}
	if opts.Proxy == nil {
		opts.Proxy = noProxy
	}
	return opts, setHeader(opts, h)
}

// timeout returns the bound of the opening handshake; 0 is none. One that is
// negative has passed.
func (d *Dialer) timeout() time.Duration {
	if d.HandshakeTimeout < 0 {
		return time.Nanosecond
	}
	return d.HandshakeTimeout
}

// setHeader adds the fields of h to the request. Those that are options are set
// as such.
func setHeader(opts *fullduplex.DialOptions, h http.Header) error {
	opts.Header = maps.Clone(h)
	if hosts := opts.Header["Host"]; len(hosts) > 0 {
		opts.Host = hosts[0]
	}
	delete(opts.Header, "Host")
	offered, ok := opts.Header[protocolField]
	if !ok {
		return nil
	}
	delete(opts.Header, protocolField)
	if len(opts.Subprotocols) > 0 {
		return errTwice
	}
	for s := range strings.SplitSeq(strings.Join(offered, ","), ",") {
		if s = strings.TrimSpace(s); s != "" {
			opts.Subprotocols = append(opts.Subprotocols, s)
		}
	}
	return nil
}

// netDial returns the function that connects, or nil for the default.
func (d *Dialer) netDial() func(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.NetDialContext != nil || d.NetDial == nil {
		return d.NetDialContext
	}
	return func(_ context.Context, network, addr string) (net.Conn, error) { return d.NetDial(network, addr) }
}

// noProxy chooses no proxy for any request.
func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// dialError returns the error of dialing for one of the other package.
func dialError(err error) error {
	var e *fullduplex.HandshakeError
	switch {
	case !errors.As(err, &e):
		return err
	case e.Response != nil:
		return ErrBadHandshake
	case e.Err != nil:
		return e.Err
	default:
		return err
	}
}

// NewClient opens a WebSocket connection to u over netConn, which it takes over:
// if it returns an error, netConn is closed. Its results are those of
// DialContext.
//
// Deprecated: Use [Dialer].
func NewClient(netConn net.Conn, u *url.URL, requestHeader http.Header, readBufSize, writeBufSize int) (c *Conn, response *http.Response, err error) {
	d := Dialer{ReadBufferSize: readBufSize}
	c, response, err = d.open(u.String(), requestHeader, func(opts *fullduplex.DialOptions) (*fullduplex.Conn, *http.Response, error) {
		return fullduplex.DialConn(background, netConn, u.String(), opts)
	})
	if err != nil {
		netConn.Close()
	}
	return c, response, err
}
