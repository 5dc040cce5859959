package peer

import (
	"context"
	"net"
	"net/http"

	"github.com/fullduplex-go/websocket"
)

// ours is the library of this repository: Messages, which lends each message,
// Write, and Group with prepared messages.
type ours struct{}

// oursModule is the module path of the library.
const oursModule = "github.com/fullduplex-go/websocket"

func init() {
	floorAt := len(peers) - 1
	peers = append(peers[:floorAt:floorAt], ours{}, parked{}, Floor)
	modules[ours{}.Name()] = oursModule
	modules[parked{}.Name()] = oursModule
}

// oursConn is a connection as a Behaviour sees it.
type oursConn struct{ *websocket.Conn }

func (c oursConn) Write(t byte, data []byte) error {
	return c.Conn.Write(context.Background(), websocket.MessageType(t), data)
}

func (ours) Name() string { return "ours" }

// oursConfig is the configuration for o.
func oursConfig(o Options) websocket.Config {
	c := websocket.Config{MaxMessageSize: readLimit}
	if o.Compress {
		c.Compression = &websocket.Compression{NoContextTakeover: !o.Takeover}
	}
	if o.NoKeepalive {
		c.PingInterval = -1
	}
	return c
}

func (ours) Handler(o Options, b Behaviour) http.Handler {
	opts := &websocket.AcceptOptions{Config: oursConfig(o)}
	return websocket.HandlerFunc(opts, func(c *websocket.Conn) error { return serveOurs(c, b) })
}

func (ours) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	opts := &websocket.AcceptOptions{Config: oursConfig(o)}
	return func(nc net.Conn) error {
		c, _, err := websocket.AcceptConn(context.Background(), nc, opts)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		return serveOurs(c, b)
	}
}

func (ours) Dial(addr string, o Options, b Behaviour) error {
	opts := &websocket.DialOptions{Config: oursConfig(o), TLS: o.TLS}
	c, _, err := websocket.Dial(context.Background(), o.url(addr), opts)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	return serveOurs(c, b)
}

// serveOurs hands every message of c to b.
func serveOurs(c *websocket.Conn, b Behaviour) error {
	b.opened(oursConn{c})
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := b.Message(oursConn{c}, byte(m.Type), m.Data); err != nil {
			return err
		}
	}
	return nil
}

// oursGroup is the library's Group.
type oursGroup struct{ websocket.Group }

func (ours) NewGroup() Group { return new(oursGroup) }

func (g *oursGroup) Add(c Conn) { g.Group.Add(c.(oursConn).Conn) }

func (g *oursGroup) Send(t byte, data []byte) error {
	g.Group.Send(websocket.Prepare(websocket.MessageType(t), data))
	return nil
}
