package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// This file makes the connection that a client's opening handshake runs over:
// TCP or a Unix socket, perhaps a proxy, perhaps TLS.

// connect returns a connection to the server, over TLS if the URL asks for it.
// With an error, it returns the connection to close, if there is one.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	p, err := d.chooseProxy()
	if err != nil {
		return nil, &HandshakeError{Reason: "no proxy", Err: err}
	}
	var nc net.Conn
	if p == nil {
		clientTraceOf(ctx).getConn(d.uri.addr)
		nc, err = d.netDial(ctx, d.uri.network, d.uri.addr)
	} else {
		clientTraceOf(ctx).getConn(p.Addr())
		nc, err = d.dialThrough(ctx, p)
	}
	if err != nil {
		return nc, err
	}
	return d.secureConn(ctx, nc)
}

// netDial connects with NetDial, or with a [net.Dialer] if that is not set. It
// returns at the end of ctx even if NetDial does not; a connection that NetDial
// returns later is closed.
func (d *dialer) netDial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.opts.NetDial == nil {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, addr)
	}
	type result struct {
		nc  net.Conn
		err error
	}
	results := make(chan result)
	go func() {
		r := result{err: errors.New("NetDial exited")} // by runtime.Goexit
		defer func() {
			select {
			case results <- r:
			case <-ctx.Done():
				if r.err == nil && r.nc != nil {
					r.nc.Close()
				}
			}
		}()
		r.nc, r.err = d.opts.NetDial(ctx, network, addr)
	}()
	select {
	case r := <-results:
		if r.err == nil && r.nc == nil {
			r.err = errors.New("NetDial returned neither a connection nor an error")
		}
		return r.nc, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// secureConn starts TLS on nc if the URL asks for it. With an error, too, it
// returns the connection to close.
func (d *dialer) secureConn(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if !d.uri.secure {
		return nc, nil
	}
	return startTLS(ctx, nc, tlsConfigFor(d.uri.host, d.opts.TLS))
}

// tlsConfigFor returns a copy of c, or of the defaults if c is nil, for a
// connection to the named host.
func tlsConfigFor(name string, c *tls.Config) *tls.Config {
	if c == nil {
		c = new(tls.Config)
	}
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName = name
	}
	c.NextProtos = []string{"http/1.1"}
	return c
}

// startTLS starts TLS on nc. With an error, too, it returns the connection to
// close.
func startTLS(ctx context.Context, nc net.Conn, config *tls.Config) (net.Conn, error) {
	t := tls.Client(nc, config)
	return t, handshakeTLS(ctx, t)
}

// handshakeTLS does the TLS handshake of t if it was not done before. A peer
// with which another protocol than HTTP/1.1 was agreed on, such as HTTP/2, is an
// error: it would not understand an upgrade.
func handshakeTLS(ctx context.Context, t *tls.Conn) error {
	stop := closeWhenDone(ctx, t)
	trace := clientTraceOf(ctx)
	trace.startTLS()
	err := t.HandshakeContext(ctx)
	trace.doneTLS(t, err)
	if late := stop(); late != nil && err == nil {
		err = late
	}
	if err != nil {
		return &HandshakeError{Reason: "TLS handshake failed", Err: err}
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
		return &HandshakeError{Reason: fmt.Sprintf("TLS peer speaks %q, not http/1.1", p)}
	}
	return nil
}
