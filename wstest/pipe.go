package wstest

import (
	"net"
	"net/http"
	"testing"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// Pipe returns a server's and a client's connection that are joined in memory,
// after an opening handshake with these options. Either may be nil.
func Pipe(t testing.TB, server *websocket.AcceptOptions, client *websocket.DialOptions) (s, c *websocket.Conn) {
	t.Helper()
	near, far := faultnet.Pipe()
	accepting := accept(t, far, server)
	c = dialConn(t, near, "/", client)
	return (<-accepting).conn(t), c
}

// ServerConn returns a server's connection and, at its other end, a RawPeer in
// the client's role. The opening handshake is done; the peer has offered the
// server's subprotocols and no extension.
func ServerConn(t testing.TB, opts *websocket.AcceptOptions) (*websocket.Conn, *RawPeer) {
	t.Helper()
	near, far := faultnet.Pipe()
	accepting := accept(t, far, opts)
	p := RawClient(t, near)
	header := make(http.Header)
	if opts != nil && len(opts.Subprotocols) > 0 {
		header["Sec-WebSocket-Protocol"] = opts.Subprotocols
	}
	p.Open("/", header)
	return (<-accepting).conn(t), p
}

// ClientConn returns a client's connection and, at its other end, a RawPeer in
// the server's role. The opening handshake is done, without a subprotocol or an
// extension.
func ClientConn(t testing.TB, opts *websocket.DialOptions) (*websocket.Conn, *RawPeer) {
	t.Helper()
	near, far := faultnet.Pipe()
	dialing := make(chan opening, 1)
	ctx := t.Context()
	go func() {
		c, _, err := websocket.DialConn(ctx, near, url("/"), opts)
		dialing <- opening{c, err}
	}()
	p := RawServer(t, far)
	p.Accept(nil)
	return (<-dialing).conn(t), p
}

// An opening is the outcome of an opening handshake.
type opening struct {
	c   *websocket.Conn
	err error
}

// conn returns the connection, which is closed when the test ends.
func (o opening) conn(t testing.TB) *websocket.Conn {
	t.Helper()
	if o.err != nil {
		t.Fatalf("wstest: %v", o.err)
	}
	t.Cleanup(func() { o.c.CloseNow() })
	return o.c
}

// accept performs the server's side of the opening handshake on nc in the
// background.
func accept(t testing.TB, nc net.Conn, opts *websocket.AcceptOptions) <-chan opening {
	accepting := make(chan opening, 1)
	ctx := t.Context()
	go func() {
		c, _, err := websocket.AcceptConn(ctx, nc, opts)
		accepting <- opening{c, err}
	}()
	return accepting
}

// dialConn performs the client's side of the opening handshake on nc.
func dialConn(t testing.TB, nc net.Conn, path string, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DialConn(t.Context(), nc, url(path), opts)
	return opening{c, err}.conn(t)
}

// host is the name of every server in memory.
const host = "server.test"

// url returns the URL of a path on a server in memory.
func url(path string) string { return "ws://" + host + path }
