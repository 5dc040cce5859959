// Package dial opens WebSockets over HTTP/2 (RFC 8441). Its [Transport] goes into
// the option HTTPClient of websocket.Dial and websocket.Redial:
//
//	over2 := &http.Client{Transport: new(dial.Transport)}
//	c, _, err := websocket.Dial(ctx, "wss://example.com/chat", &websocket.DialOptions{HTTPClient: over2})
//
// All WebSockets to a server that are dialed with the same Transport are streams of
// one connection, until it has as many as the server allows. So each takes neither
// a TCP connection nor a handshake of TLS. Everything else is as it is over
// HTTP/1.1: subprotocols, compression, cookies, redirects, deadlines, and the
// errors of refusals.
//
// A server has to offer it, as those of net/http do in programs that import package
// h2. The error of one that does not offer it is [ErrNotOffered], and the program
// may then dial without HTTPClient. Nothing of the handshake was sent.
//
// What the server sends on a WebSocket that is not read waits in memory, up to 4
// MiB each. Others go on.
package dial

//lint:file-ignore SA1019 the Transport of net/http refuses the field ":protocol"

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// ErrNotOffered is the cause of the HandshakeError for a server that does not offer
// WebSockets over HTTP/2.
var ErrNotOffered = errors.New("the server does not offer WebSockets over HTTP/2: dial it without this HTTPClient")

// A Transport is an [http.RoundTripper] that opens WebSockets over HTTP/2. It sends
// other requests over HTTP/2 as they are. The zero Transport is ready to use. It
// must not be copied or changed after the first request.
type Transport struct {
	// TLS configures wss. Nil: the defaults of crypto/tls. It is cloned, and
	// its NextProtos do not matter.
	TLS *tls.Config

	// NetDial connects to addr on network, which is "tcp". Nil: a [net.Dialer].
	// TLS is done on what it returns for wss. On ws, HTTP/2 is spoken at once.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	once       sync.Once
	overTLS    *http2.Transport
	withoutTLS *http2.Transport
}

// Times after which a connection is given up, with all WebSockets on it.
const (
	idleTime   = 90 * time.Second // without a stream
	silentTime = 30 * time.Second // without a frame of the server: it is sent a PING, and must answer
	stuckTime  = 30 * time.Second // in which the network takes nothing of what is written
)

// RoundTrip sends r. The opening handshake of a WebSocket becomes an extended
// CONNECT, and a response of 2xx becomes the 101 of HTTP/1.1, whose Body is a
// [net.Conn].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.once.Do(t.init)
	next := t.overTLS
	if r.URL.Scheme == "http" {
		next = t.withoutTLS
	}
	if r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return next.RoundTrip(r)
	}
	h := &handshake{request: r}
	return h.roundTrip(next)
}

// CloseIdleConnections closes connections on which there is no stream.
func (t *Transport) CloseIdleConnections() {
	t.once.Do(t.init)
	t.overTLS.CloseIdleConnections()
	t.withoutTLS.CloseIdleConnections()
}

// init makes the Transports below.
func (t *Transport) init() {
	t.overTLS = newTransport(t.dialTLS)
	t.overTLS.TLSClientConfig = new(tls.Config)
	if t.TLS != nil {
		t.overTLS.TLSClientConfig = t.TLS.Clone()
	}
	// A server that knows no HTTP/2 chooses the other.
	t.overTLS.TLSClientConfig.NextProtos = []string{http2.NextProtoTLS, "http/1.1"}

	t.withoutTLS = newTransport(func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return t.dial(ctx, network, addr)
	})
	t.withoutTLS.AllowHTTP = true
}

// newTransport returns a Transport that connects with dial.
func newTransport(dial func(ctx context.Context, network, addr string, cfg *tls.Config) (net.Conn, error)) *http2.Transport {
	return &http2.Transport{
		DialTLSContext:     dial,
		DisableCompression: true,
		IdleConnTimeout:    idleTime,
		ReadIdleTimeout:    silentTime,
		WriteByteTimeout:   stuckTime,
	}
}

// dial connects to addr.
func (t *Transport) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if t.NetDial != nil {
		return t.NetDial(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// dialTLS connects to addr and does the handshake of TLS.
func (t *Transport) dialTLS(ctx context.Context, network, addr string, cfg *tls.Config) (net.Conn, error) {
	nc, err := t.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(nc, cfg)
	err = c.HandshakeContext(ctx)
	if err == nil && c.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		err = ErrNotOffered
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}
