package websocket

import (
	"fmt"
	"net"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// ConnOptions set a connection whose opening handshake others have done: what
// they agreed on, and what this side does with it. The zero value, and nil, are
// a server's side without subprotocol and extensions.
type ConnOptions struct {
	// Config is that of any connection. Subprotocols and HandshakeTimeout
	// mean nothing here, and Trace.Handshake is not called.
	Config

	// Client says that this side is the client, whose frames are masked.
	Client bool

	// Subprotocol is the one agreed on, the value of Sec-WebSocket-Protocol
	// in the response. "": none.
	Subprotocol string

	// Extensions is the value of Sec-WebSocket-Extensions in the response.
	// "": none. The one that may be there is permessage-deflate; if
	// Config.Compression is nil then, it is taken for new(Compression).
	// Where Compression asks this side for less than was agreed on, such as
	// a smaller window, it is heeded; Compression.RequirePeer makes what it
	// asks of the peer a demand, as in a handshake.
	Extensions string

	// Buffered is what was received behind the handshake: the peer's first
	// frames, or the beginning of one. It is copied.
	Buffered []byte

	// Registry keeps the connection until it ends. If it has been shut down,
	// the connection is closed at once, with the Registry's code and reason.
	// Nil: the connection is in no Registry.
	Registry *Registry
}

// NewConn returns a connection on nc, on which others have done the opening
// handshake: a server that is not of net/http, or a program's own client. That
// they have checked it, the Origin included, is left to them.
//
// NewConn takes nc over: it removes deadlines that nc may have, and if it
// returns an error, which is always a [*HandshakeError], nc is closed. It is an
// error if an option means nothing, and if Extensions is no answer that a
// handshake can have. A *[net.TCPConn] or *[net.UnixConn] is best given as it
// is, with what a wrapper has buffered in opts.Buffered: a wrapper works, and
// takes more memory and system calls.
func NewConn(nc net.Conn, opts *ConnOptions) (*Conn, error) {
	if opts == nil {
		opts = new(ConnOptions)
	}
	agreed, err := opts.agreement()
	if err != nil {
		closeNow(nc)
		return nil, &HandshakeError{Reason: "options are not valid", Err: err}
	}
	nc.SetDeadline(time.Time{}) // that nc cannot have one is no error
	c := newConn(nc, opts.role(), opts.config(), agreed, opts.Buffered)
	reservation{registry: opts.Registry}.add(c)
	return c, nil
}

// role returns the role of this side.
func (o *ConnOptions) role() role {
	if o.Client {
		return client
	}
	return server
}

// config returns the Config of the connection, with defaults.
func (o *ConnOptions) config() *Config {
	if o.Extensions == "" || o.Compression != nil {
		return o.Config.withDefaults()
	}
	cfg := o.Config
	cfg.Compression = &defaultCompression
	return cfg.withDefaults()
}

// defaultCompression is the Compression of connections that compress although
// Config.Compression is nil.
var defaultCompression Compression

// agreement returns what the handshake led to, or what is wrong with the
// options.
func (o *ConnOptions) agreement() (agreed agreement, err error) {
	if err := o.Config.check(); err != nil {
		return agreed, err
	}
	if o.Subprotocol != "" && !http1.IsToken(o.Subprotocol) {
		return agreed, fmt.Errorf("ConnOptions.Subprotocol is %.100q: it is a token, or empty", o.Subprotocol)
	}
	agreed.subprotocol = o.Subprotocol
	if agreed.deflate, err = parseAgreement(o.Extensions, o.role(), o.Compression); err != nil {
		return agreed, fmt.Errorf("ConnOptions.Extensions is %.100q: %w", o.Extensions, err)
	}
	return agreed, nil
}
