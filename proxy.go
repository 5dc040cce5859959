package websocket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/fullduplex-go/websocket/internal/proxy"
)

// This file chooses a proxy, dials it and turns its refusals into errors of
// Dial. What is said to a proxy is in internal/proxy.

// chooseProxy returns the proxy for this handshake, nil if there is none.
func (d *dialer) chooseProxy() (*proxy.Proxy, error) {
	choose := d.opts.Proxy
	if choose == nil {
		choose = proxyFromEnvironment
	}
	if d.uri.network != "tcp" {
		return nil, nil
	}
	u, err := choose(d.request)
	if err != nil || u == nil {
		return nil, err
	}
	return proxy.Parse(u)
}

// proxyFromEnvironment is [http.ProxyFromEnvironment] with an error that does
// not show the password.
func proxyFromEnvironment(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("proxy in the environment is malformed")
	}
	return u, nil
}

// dialThrough connects to the server through p. With an error it returns the
// connection to close, if there is one.
func (d *dialer) dialThrough(ctx context.Context, p *proxy.Proxy) (net.Conn, error) {
	nc, err := d.netDial(ctx, "tcp", p.Addr())
	if err != nil {
		return nil, err
	}
	if name := p.ServerName(); name != "" {
		config := tlsConfigFor(name, d.opts.TLS)
		config.ServerName = name
		if nc, err = startTLS(ctx, nc, config); err != nil {
			return nc, err
		}
	}
	stop := closeWhenDone(ctx, nc)
	through, err := p.Connect(ctx, nc, d.uri.host, d.uri.port, d.opts.ProxyHeader)
	if late := stop(); late != nil && err == nil {
		err = late
	}
	if err != nil {
		return nc, proxyError(err)
	}
	return through, nil
}

// proxyError returns the HandshakeError for an error of internal/proxy. Any
// other error stays as it is.
func proxyError(err error) error {
	var e *proxy.Error
	if !errors.As(err, &e) {
		return err
	}
	failed := &HandshakeError{Reason: e.Reason, Err: e.Err}
	if r := e.Response; r != nil {
		failed.Status, failed.Response, failed.quoted = r.StatusCode, r, quotedFrom(r, e.Body)
	}
	if failed.Status == http.StatusProxyAuthRequired {
		failed.Reason = "proxy refused: give it a user name and password in its URL, or a Proxy-Authorization in DialOptions.ProxyHeader"
	}
	return failed
}
