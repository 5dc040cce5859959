package websocket

import (
	"net"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A Conn is a WebSocket connection, made by an [Upgrader], a [Dialer] or
// [Wrap].
//
// One goroutine may read while another writes. More than one of a kind do no
// harm: they take turns. Close, WriteControl and the methods that set something
// may be called at any time.
type Conn struct {
	ws    *fullduplex.Conn
	read  readSide
	write writeSide
}

// Unwrap returns the connection that c stands on. Code that uses it may run
// beside code that uses c: both send whole messages. They should not both read,
// because each message goes to one of them only.
func (c *Conn) Unwrap() *fullduplex.Conn { return c.ws }

// Close closes the network connection at once, with no Close frame but the one
// that WriteControl has sent. Calls that wait return. It always returns nil.
//
// If a Close frame of the peer has been answered, or one of ours is on its way,
// the network connection is closed once that has left.
func (c *Conn) Close() error { return c.ws.CloseNow() }

// Subprotocol returns the subprotocol that both sides agreed on, or "".
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// LocalAddr returns the address of this side.
func (c *Conn) LocalAddr() net.Addr { return c.ws.LocalAddr() }

// RemoteAddr returns the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.ws.RemoteAddr() }

// NetConn returns the network connection, to set its options. To read from it,
// write to it, or set its deadlines breaks c.
func (c *Conn) NetConn() net.Conn { return c.ws.NetConn() }

// UnderlyingConn returns what NetConn does.
//
// Deprecated: Use NetConn.
func (c *Conn) UnderlyingConn() net.Conn { return c.ws.NetConn() }
