package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"time"
)

// A bodyConn is the net.Conn of a connection that net/http's client opened, if
// RoundTrippers have wrapped the Body of the response, or made it up: reading,
// writing and closing go through it. It does the rest with the net.Conn below, if that
// is known; otherwise it has no deadlines.
type bodyConn struct {
	body  io.ReadWriteCloser
	conn  net.Conn     // below body; nil if it is not known
	addr  string       // host and port of the server
	close func() error // closes body, once
}

// newBodyConn returns the net.Conn of body. conn is the net.Conn below, or nil,
// and addr the server's host and port.
func newBodyConn(body io.ReadWriteCloser, conn net.Conn, addr string) *bodyConn {
	if own, ok := body.(net.Conn); ok {
		conn = own
	}
	return &bodyConn{body: body, conn: conn, addr: addr, close: sync.OnceValue(body.Close)}
}

// connIn returns the net.Conn in a Body that net/http made and nobody wrapped,
// with a copy of the bytes that were received behind the response. Without the
// Body between, a Conn can use a socket directly. ok is false if body is
// something else.
func connIn(body io.ReadWriteCloser) (nc net.Conn, early []byte, ok bool) {
	v := reflect.ValueOf(body)
	if v.Kind() != reflect.Pointer || v.Elem().Type().PkgPath() != "net/http" {
		return nil, nil, false
	}
	below, buffered := fieldOf(v.Elem(), "ReadWriteCloser"), fieldOf(v.Elem(), "br")
	if below.Kind() != reflect.Interface || !below.CanInterface() || buffered.Kind() != reflect.Pointer {
		return nil, nil, false
	}
	if nc, ok = below.Interface().(net.Conn); !ok {
		return nil, nil, false
	}
	for p := [512]byte{}; !buffered.IsNil(); { // such a read does not wait
		n, err := body.Read(p[:])
		if err != nil {
			return nil, nil, false
		}
		early = append(early, p[:n]...)
	}
	return nc, early, true
}

// Read reads.
func (c *bodyConn) Read(p []byte) (int, error) { return c.body.Read(p) }

// Write writes.
func (c *bodyConn) Write(p []byte) (int, error) { return c.body.Write(p) }

// Close closes the Body.
func (c *bodyConn) Close() error { return c.close() }

// closeNow closes what lies below first: the Close of a Body over TLS would wait
// to send an alert.
func (c *bodyConn) closeNow() {
	if c.conn != nil {
		closeNow(c.conn)
	}
	c.Close()
}

// CloseWrite shuts the sending half, if the Body or the net.Conn below can do
// that.
func (c *bodyConn) CloseWrite() error {
	for _, layer := range [...]any{c.body, c.conn} {
		if half, ok := layer.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
	}
	return errors.ErrUnsupported
}

// NetConn returns the net.Conn below, or nil if it is not known.
func (c *bodyConn) NetConn() net.Conn { return c.conn }

// LocalAddr returns the address of the net.Conn below, or one that says nothing.
func (c *bodyConn) LocalAddr() net.Addr {
	if c.conn == nil {
		return hostAddr("unknown")
	}
	return c.conn.LocalAddr()
}

// RemoteAddr returns the address of the net.Conn below, or host and port of the
// URL.
func (c *bodyConn) RemoteAddr() net.Addr {
	if c.conn == nil {
		return hostAddr(c.addr)
	}
	return c.conn.RemoteAddr()
}

// SetDeadline sets both deadlines. The error is os.ErrNoDeadline if there are
// none.
func (c *bodyConn) SetDeadline(t time.Time) error {
	if c.conn == nil {
		return os.ErrNoDeadline
	}
	return c.conn.SetDeadline(t)
}

// SetReadDeadline sets the deadline for Read, as SetDeadline does.
func (c *bodyConn) SetReadDeadline(t time.Time) error {
	if c.conn == nil {
		return os.ErrNoDeadline
	}
	return c.conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline for Write, as SetDeadline does.
func (c *bodyConn) SetWriteDeadline(t time.Time) error {
	if c.conn == nil {
		return os.ErrNoDeadline
	}
	return c.conn.SetWriteDeadline(t)
}

// A hostAddr is an address of which only a name is known.
type hostAddr string

// Network returns "http".
func (hostAddr) Network() string { return "http" }

// String returns the name.
func (a hostAddr) String() string { return string(a) }
