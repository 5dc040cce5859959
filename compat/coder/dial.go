package websocket

import (
	"context"
	"net/http"
	"strings"

	fullduplex "github.com/fullduplex-go/websocket"
)

// DialOptions set a client's side of a connection. Nil is the zero value.
type DialOptions struct {
	// HTTPClient sends the handshake. Nil: [http.DefaultClient]. The body of
	// the response that its transport returns must be an [io.ReadWriteCloser],
	// as that of [http.Transport] is.
	HTTPClient *http.Client

	// HTTPHeader is added to the request. Fields of the handshake itself are
	// ignored.
	HTTPHeader http.Header

	// Host is the value of the Host field. "": the host of the URL.
	Host string

	// Subprotocols are those the client offers, in its order of preference.
	Subprotocols []string

	// CompressionMode is CompressionDisabled unless set.
	CompressionMode CompressionMode

	// CompressionThreshold is as in [AcceptOptions].
	CompressionThreshold int

	// OnPingReceived is as in [AcceptOptions].
	OnPingReceived func(ctx context.Context, payload []byte) bool

	// OnPongReceived is as in [AcceptOptions].
	OnPongReceived func(ctx context.Context, payload []byte)
}

// Dial opens a connection to the server at u, whose scheme is ws, wss, http or
// https. ctx, and the Timeout of the HTTPClient, bound the handshake and
// nothing after it.
//
// Dial returns the server's response with a connection, and with a refusal; its
// body, of which there are at most 1024 bytes, need not be closed. The error is
// a [*fullduplex.HandshakeError].
func Dial(ctx context.Context, u string, opts *DialOptions) (*Conn, *http.Response, error) {
	if opts == nil {
		opts = new(DialOptions)
	}
	u, _, _ = strings.Cut(u, "#") // a fragment is never sent
	ws, r, err := fullduplex.Dial(ctx, u, opts.options())
	if err != nil {
		return nil, r, err
	}
	return Wrap(ws), r, nil
}

// settings returns what o has in common with AcceptOptions.
func (o *DialOptions) settings() settings {
	return settings{
		subprotocols: o.Subprotocols,
		compression:  o.CompressionMode.compression(o.CompressionThreshold),
		onPing:       o.OnPingReceived,
		onPong:       o.OnPongReceived,
	}
}
