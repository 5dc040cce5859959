package websocket

import (
	"context"
	"runtime"
	"sync"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A Conn is a WebSocket connection. All its methods may be called by several
// goroutines at once, except Reader, and the readers that it returns: they are
// for one goroutine at a time. To call Read at the same time is allowed, and
// takes the next message.
//
// A context that ends while Read, Reader, Write or Writer wait, or a reader or
// writer of theirs, closes the connection, without a closing handshake. One
// that had ended before the call, and one that ends Ping, leaves it open.
//
// Control frames are handled whether somebody reads or not, up to the next data
// message.
//
// A connection must be closed.
type Conn struct {
	ws      *fullduplex.Conn
	reading *readStream  // what Reader has opened; belongs to the goroutine that reads
	writing *writeStream // what Writer has opened; belongs to the writer that is open

	mu       sync.Mutex
	readOver context.Context // what CloseRead returned, or nil; guarded by mu
}

// Wrap returns c with the methods of this package. Its options stay: no read
// limit is set, and keepalive goes on. If c is wrapped twice, each has its own
// CloseRead, of which only one can succeed.
func Wrap(c *fullduplex.Conn) *Conn { return &Conn{ws: c} }

// Unwrap returns the connection that c stands for. It may be used together with
// c.
func (c *Conn) Unwrap() *fullduplex.Conn { return c.ws }

// Subprotocol returns the subprotocol that both sides agreed on, or "".
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// Ping sends a Ping and waits for its Pong, whether somebody reads or not. It
// does not see a Pong behind a data message before that is read. If ctx ends
// first, the connection stays open. In a browser, which has no Pings for pages,
// it does nothing.
func (c *Conn) Ping(ctx context.Context) error {
	if runtime.GOOS == "js" {
		return nil
	}
	_, err := c.ws.Ping(ctx)
	switch {
	case err == nil:
		return nil
	case isContextError(err):
		return callError("ping", err)
	default:
		return c.failed("ping", err)
	}
}
