package websocket

import (
	"context"
	"io"
	"net"
	"net/http"

	original "github.com/coder/websocket"
	originaljson "github.com/coder/websocket/wsjson"
)

// An endpoint is a connection of either library, for tests and benchmarks that
// run the same code over both.
type endpoint interface {
	Read(ctx context.Context) (MessageType, []byte, error)
	Reader(ctx context.Context) (MessageType, io.Reader, error)
	Write(ctx context.Context, t MessageType, p []byte) error
	Writer(ctx context.Context, t MessageType) (io.WriteCloser, error)
	ReadJSON(ctx context.Context, v any) error
	WriteJSON(ctx context.Context, v any) error
	Ping(ctx context.Context) error
	Close(code StatusCode, reason string) error
	CloseNow() error
	CloseRead(ctx context.Context) context.Context
	CloseStatus(err error) StatusCode
	SetReadLimit(n int64)
	Subprotocol() string
	NetConn(ctx context.Context, t MessageType) net.Conn
}

// options are those of both roles and libraries.
type options struct {
	subprotocols []string
	mode         CompressionMode
	threshold    int
	header       http.Header
	onPing       func(context.Context, []byte) bool
	onPong       func(context.Context, []byte)
}

// A library opens connections.
type library struct {
	name   string
	accept func(w http.ResponseWriter, r *http.Request, o options) (endpoint, error)
	dial   func(ctx context.Context, url string, o options) (endpoint, error)
}

// Both libraries.
var (
	this  = library{"this", acceptOurs, dialOurs}
	coder = library{"coder", acceptTheirs, dialTheirs}
)

// ours is a connection of this package.
type ours struct{ *Conn }

func (c ours) CloseStatus(err error) StatusCode { return CloseStatus(err) }

func (c ours) NetConn(ctx context.Context, t MessageType) net.Conn { return NetConn(ctx, c.Conn, t) }

// ReadJSON and WriteJSON do what package wsjson does, which cannot be imported
// here: its own tests compare it with the original.
func (c ours) ReadJSON(ctx context.Context, v any) error { return readJSON(ctx, c.Conn, v) }

func (c ours) WriteJSON(ctx context.Context, v any) error { return writeJSON(ctx, c.Conn, v) }

// readJSON and writeJSON are those of package wsjson, set by the external test
// package.
var readJSON, writeJSON func(ctx context.Context, c *Conn, v any) error

func acceptOurs(w http.ResponseWriter, r *http.Request, o options) (endpoint, error) {
	c, err := Accept(w, r, &AcceptOptions{
		Subprotocols: o.subprotocols, CompressionMode: o.mode, CompressionThreshold: o.threshold,
		OnPingReceived: o.onPing, OnPongReceived: o.onPong,
	})
	return ours{c}, err
}

func dialOurs(ctx context.Context, url string, o options) (endpoint, error) {
	c, _, err := Dial(ctx, url, &DialOptions{
		Subprotocols: o.subprotocols, CompressionMode: o.mode, CompressionThreshold: o.threshold,
		HTTPHeader: o.header, OnPingReceived: o.onPing, OnPongReceived: o.onPong,
	})
	return ours{c}, err
}

// theirs is a connection of the original.
type theirs struct{ *original.Conn }

func (c theirs) Read(ctx context.Context) (MessageType, []byte, error) {
	t, p, err := c.Conn.Read(ctx)
	return MessageType(t), p, err
}

func (c theirs) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	t, r, err := c.Conn.Reader(ctx)
	return MessageType(t), r, err
}

func (c theirs) Write(ctx context.Context, t MessageType, p []byte) error {
	return c.Conn.Write(ctx, original.MessageType(t), p)
}

func (c theirs) Writer(ctx context.Context, t MessageType) (io.WriteCloser, error) {
	return c.Conn.Writer(ctx, original.MessageType(t))
}

func (c theirs) Close(code StatusCode, reason string) error {
	return c.Conn.Close(original.StatusCode(code), reason)
}

func (c theirs) CloseStatus(err error) StatusCode { return StatusCode(original.CloseStatus(err)) }

func (c theirs) ReadJSON(ctx context.Context, v any) error { return originaljson.Read(ctx, c.Conn, v) }

func (c theirs) WriteJSON(ctx context.Context, v any) error {
	return originaljson.Write(ctx, c.Conn, v)
}

func (c theirs) NetConn(ctx context.Context, t MessageType) net.Conn {
	return original.NetConn(ctx, c.Conn, original.MessageType(t))
}

func acceptTheirs(w http.ResponseWriter, r *http.Request, o options) (endpoint, error) {
	c, err := original.Accept(w, r, &original.AcceptOptions{
		Subprotocols: o.subprotocols, CompressionMode: original.CompressionMode(o.mode), CompressionThreshold: o.threshold,
		OnPingReceived: o.onPing, OnPongReceived: o.onPong,
	})
	return theirs{c}, err
}

func dialTheirs(ctx context.Context, url string, o options) (endpoint, error) {
	c, _, err := original.Dial(ctx, url, &original.DialOptions{
		Subprotocols: o.subprotocols, CompressionMode: original.CompressionMode(o.mode), CompressionThreshold: o.threshold,
		HTTPHeader: o.header, OnPingReceived: o.onPing, OnPongReceived: o.onPong,
	})
	return theirs{c}, err
}
