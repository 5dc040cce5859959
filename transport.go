package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/fullduplex-go/websocket/internal/proxy"
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
	if d.uri.secure && d.opts.NetDialTLS != nil {
		return d.dialTLS(ctx, p)
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

// dialTLS is connect with NetDialTLS. p is the proxy that was chosen, which must
// be none.
func (d *dialer) dialTLS(ctx context.Context, p *proxy.Proxy) (net.Conn, error) {
	if p != nil {
		return nil, invalidRequestError(errors.New("NetDialTLS is not used through a proxy: " +
			"let it dial the proxy itself, and set Proxy to a function that returns nil"))
	}
	clientTraceOf(ctx).getConn(d.uri.addr)
	nc, err := callDial(ctx, "NetDialTLS", d.opts.NetDialTLS, d.uri.network, d.uri.addr)
	if err != nil {
		return nc, err
	}
	return nc, finishTLS(ctx, nc)
}

// netDial connects with NetDial, or with a [net.Dialer] if that is not set.
func (d *dialer) netDial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.opts.NetDial == nil {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, addr)
	}
	return callDial(ctx, "NetDial", d.opts.NetDial, network, addr)
}

// callDial calls a function of the application's that dials, the option with
// this name. It returns at the end of ctx even if the function does not; a
// connection that the function returns later is closed.
func callDial(ctx context.Context, name string, dial func(ctx context.Context, network, addr string) (net.Conn, error), network, addr string) (net.Conn, error) {
	nc, err := callUntilDone(ctx, name,
		func() (net.Conn, error) { return dial(ctx, network, addr) },
		func(nc net.Conn) {
			if nc != nil {
				nc.Close()
			}
		})
	if err == nil && nc == nil {
		err = errors.New(name + " returned neither a connection nor an error")
	}
	return nc, err
}

// callUntilDone calls f, which is application code known by name, and returns
// what it returns, or the error of ctx if that ends first: unless ctx has no end,
// f has a goroutine of its own. What f returns later without an error is passed to
// drop. If f panics, so does callUntilDone.
func callUntilDone[T any](ctx context.Context, name string, f func() (T, error), drop func(T)) (T, error) {
	if ctx.Done() == nil {
		return f()
	}
	c := awaitedCall[T]{err: errors.New(name + " exited"), ended: make(chan struct{})} // by runtime.Goexit
	go c.run(ctx, f, drop)
	select {
	case <-c.ended:
		if c.panicked != nil {
			panic(c.panicked)
		}
		return c.value, c.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// An awaitedCall is a call for whose end somebody waits, or has waited.
type awaitedCall[T any] struct {
	value    T
	err      error
	panicked any           // what the call panicked with, or nil
	ended    chan struct{} // takes a value from whoever waits for it
}

// run calls f. At the end it hands over to the one that waits, or drops the
// value if ctx has ended and nobody does.
func (c *awaitedCall[T]) run(ctx context.Context, f func() (T, error), drop func(T)) {
	defer func() {
		c.panicked = recover()
		select {
		case c.ended <- struct{}{}:
			return
		case <-ctx.Done():
		}
		switch {
		case c.panicked != nil:
			panic(c.panicked)
		case c.err == nil:
			drop(c.value)
		}
	}()
	growStack()
	c.value, c.err = f()
}

// callStack is about how many bytes of stack opening a connection takes.
const callStack = 6 << 10

// growStack makes room for that on the stack of a new goroutine, at once: as the
// stack grows step by step it is copied, with more frames on it each time.
//
//go:noinline
func growStack() {
	var room [callStack]byte
	runtime.KeepAlive(&room)
}

// secureConn returns nc, over TLS if the URL asks for it. With an error, too, it
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
	return t, finishTLS(ctx, t)
}

// finishTLS does the TLS handshake of nc, which does TLS itself, if it was not
// done before. A net.Conn that is no handshaker has done it.
func finishTLS(ctx context.Context, nc net.Conn) error {
	t, ok := nc.(handshaker)
	if !ok {
		return nil
	}
	stop := closeWhenDone(ctx, nc)
	trace := clientTraceOf(ctx)
	trace.startTLS(t)
	err := t.HandshakeContext(ctx)
	trace.doneTLS(t, err)
	if late := stop(); late != nil && err == nil {
		err = late
	}
	if err != nil {
		return &HandshakeError{Reason: "TLS handshake failed", Err: err}
	}
	return checkALPN(nc)
}

// checkALPN returns an error for a TLS peer with which another protocol than
// HTTP/1.1 was agreed on, such as HTTP/2: it would not understand an upgrade.
// Only crypto/tls is asked.
func checkALPN(nc net.Conn) error {
	t, ok := nc.(*tls.Conn)
	if !ok {
		return nil
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
		return &HandshakeError{Reason: fmt.Sprintf("TLS peer speaks %q, not http/1.1", p)}
	}
	return nil
}
