// Command gws is the peer of lxzan/gws.
package main

import (
	"bytes"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/lxzan/gws"

	"github.com/fullduplex-go/websocket/internal/interop/peers/peer"
)

// conn is what a connection's events are queued in.
type conn struct {
	gws.BuiltinEventHandler
	*gws.Conn
	messages chan peer.Message
	end      error
	closed   atomic.Pointer[peer.Closed] // what we have closed it with
	pong     string
}

func newConn() *conn { return &conn{messages: make(chan peer.Message, 16)} }

func (c *conn) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.messages <- peer.Message{Text: m.Opcode == gws.OpcodeText, Content: bytes.Clone(m.Bytes())}
}

func (c *conn) OnPing(socket *gws.Conn, payload []byte) { socket.WritePong(payload) }

func (c *conn) OnPong(_ *gws.Conn, payload []byte) { c.pong = string(payload) }

func (c *conn) OnClose(_ *gws.Conn, err error) {
	c.end = err
	var end *gws.CloseError
	if errors.As(err, &end) {
		c.end = peer.Closed{Code: int(end.Code), Reason: string(end.Reason)}
	}
	if ours := c.closed.Load(); ours != nil {
		c.end = *ours
	}
	close(c.messages)
}

func (c *conn) Read() (peer.Message, error) {
	m, ok := <-c.messages
	if !ok {
		return m, c.end
	}
	return m, nil
}

func kind(m peer.Message) gws.Opcode {
	if m.Text {
		return gws.OpcodeText
	}
	return gws.OpcodeBinary
}

// Write sends in fragments what is long: WriteFile makes them.
func (c *conn) Write(m peer.Message, fragments bool) error {
	if fragments {
		return c.WriteFile(kind(m), bytes.NewReader(m.Content))
	}
	return c.WriteMessage(kind(m), m.Content)
}

func (c *conn) Ping() error { return c.WritePing([]byte(peer.Payload)) }

func (c *conn) Pong() string { return c.pong }

// Close ends the connection at once: gws does not wait for the answer.
func (c *conn) Close(code int, reason string) error {
	c.closed.Store(&peer.Closed{Code: code, Reason: reason})
	return c.WriteClose(uint16(code), []byte(reason))
}

func main() {
	deflate := gws.PermessageDeflate{
		Enabled: peer.Deflate, ServerContextTakeover: true, ClientContextTakeover: true, Threshold: 1,
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		c := newConn()
		u := gws.NewUpgrader(c, &gws.ServerOption{
			PermessageDeflate: deflate, CheckUtf8Enabled: true,
			ReadMaxPayloadSize: peer.Limit, WriteMaxPayloadSize: peer.Limit,
		})
		socket, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		c.Conn = socket
		go socket.ReadLoop()
		peer.Use(c, r.URL.Path)
	}
	peer.Main(http.HandlerFunc(serve), func(url string) (peer.Conn, error) {
		c := newConn()
		socket, _, err := gws.NewClient(c, &gws.ClientOption{
			Addr: url, PermessageDeflate: deflate, CheckUtf8Enabled: true,
			ReadMaxPayloadSize: peer.Limit, WriteMaxPayloadSize: peer.Limit,
		})
		if err != nil {
			return nil, err
		}
		c.Conn = socket
		go socket.ReadLoop()
		return c, nil
	})
}
