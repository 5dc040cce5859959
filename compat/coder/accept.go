package websocket

import (
	"context"
	"net/http"

	fullduplex "github.com/fullduplex-go/websocket"
)

// AcceptOptions set a server's side of a connection. Nil is the zero value.
type AcceptOptions struct {
	// Subprotocols are those the server supports, in its order of preference.
	// A client that offers none of them is accepted all the same: see
	// [Conn.Subprotocol].
	Subprotocols []string

	// InsecureSkipVerify lets the pages of every site connect, with the
	// cookies of the user who visits them.
	InsecureSkipVerify bool

	// OriginPatterns are the hosts whose pages may connect, besides the host
	// of the request. They are patterns of [path.Match], and the case of
	// letters is ignored. One with "://" in it is compared with the scheme and
	// the host of the page, others with its host, and both with its port if it
	// has one. "*" means every page: rather set InsecureSkipVerify, whose name
	// warns.
	OriginPatterns []string

	// CompressionMode is CompressionDisabled unless set.
	CompressionMode CompressionMode

	// CompressionThreshold is the size in bytes below which a message is not
	// compressed. 0: 128, or 512 without context takeover; negative: every
	// message is tried.
	CompressionThreshold int

	// OnPingReceived is called with the payload of each Ping, and reports
	// whether it is answered. The payload is valid until it returns. It holds
	// up reading, and must not read. ctx ends with the connection.
	OnPingReceived func(ctx context.Context, payload []byte) bool

	// OnPongReceived is called with the payload of each Pong, under the same
	// rules.
	OnPongReceived func(ctx context.Context, payload []byte)
}

// Accept answers the opening handshake in r, and returns the connection. If it
// returns an error, it has answered r with the status that belongs to it; the
// error is a [*fullduplex.HandshakeError]. A page of another host is refused
// unless opts say otherwise.
//
// The context of r ends when the handler returns, and with some servers
// earlier; it says nothing about the connection. If r comes from no server of
// net/http, the response is written to w, and w.Hijack returns what the frames are
// written to.
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	if opts == nil {
		opts = new(AcceptOptions)
	}
	ws, err := fullduplex.Accept(writerFor(w, r), r, opts.options())
	if err != nil {
		return nil, err
	}
	return Wrap(ws), nil
}

// options returns fullduplex's options for o.
func (o *AcceptOptions) options() *fullduplex.AcceptOptions {
	return &fullduplex.AcceptOptions{
		Config: settings{
			subprotocols: o.Subprotocols,
			compression:  o.CompressionMode.compression(o.CompressionThreshold),
			onPing:       o.OnPingReceived,
			onPong:       o.OnPongReceived,
		}.config(),
		Origin: o.originPolicy(),
	}
}
