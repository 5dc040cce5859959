// Command coder is the peer of coder/websocket.
package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/fullduplex-go/websocket/internal/interop/peers/peer"
)

// conn answers with the code of its own Close frame after that.
type conn struct {
	*websocket.Conn
	pong   *atomic.Value
	closed error
}

func newConn(c *websocket.Conn, pong *atomic.Value) *conn {
	c.SetReadLimit(peer.Limit)
	return &conn{Conn: c, pong: pong}
}

func (c *conn) Read() (peer.Message, error) {
	if c.closed != nil {
		return peer.Message{}, c.closed
	}
	t, content, err := c.Conn.Read(context.Background())
	var end websocket.CloseError
	if errors.As(err, &end) {
		err = peer.Closed{Code: int(end.Code), Reason: end.Reason}
	}
	return peer.Message{Text: t == websocket.MessageText, Content: content}, err
}

func kind(m peer.Message) websocket.MessageType {
	if m.Text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (c *conn) Write(m peer.Message, fragments bool) error {
	if !fragments {
		return c.Conn.Write(context.Background(), kind(m), m.Content)
	}
	w, err := c.Writer(context.Background(), kind(m))
	if err != nil {
		return err
	}
	for _, part := range m.Thirds() {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

// Ping does not wait: the Pong is read while Read waits for the end.
func (c *conn) Ping() error {
	go c.Conn.Ping(context.Background())
	return nil
}

func (c *conn) Pong() string {
	pong, _ := c.pong.Load().(string)
	return pong
}

func (c *conn) Close(code int, reason string) error {
	err := c.Conn.Close(websocket.StatusCode(code), reason)
	c.closed = peer.Closed{Code: code, Reason: reason}
	return err
}

func main() {
	mode := websocket.CompressionDisabled
	if peer.Deflate {
		mode = websocket.CompressionContextTakeover
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		pong := new(atomic.Value)
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, OnPongReceived: keep(pong)})
		if err != nil {
			return
		}
		peer.Use(newConn(c, pong), r.URL.Path)
	}
	peer.Main(http.HandlerFunc(serve), func(url string) (peer.Conn, error) {
		pong := new(atomic.Value)
		opts := &websocket.DialOptions{CompressionMode: mode, OnPongReceived: keep(pong)}
		c, _, err := websocket.Dial(context.Background(), url, opts)
		if err != nil {
			return nil, err
		}
		return newConn(c, pong), nil
	})
}

// keep returns a callback that keeps the payload of the last Pong.
func keep(pong *atomic.Value) func(context.Context, []byte) {
	return func(_ context.Context, payload []byte) { pong.Store(string(payload)) }
}
