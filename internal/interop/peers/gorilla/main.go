// Command gorilla is the peer of gorilla/websocket.
package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/fullduplex-go/websocket/internal/interop/peers/peer"
)

// buffer is the size in bytes of the buffer for writing: longer messages go out in
// fragments if they are written to NextWriter.
const buffer = 64

type conn struct {
	*websocket.Conn
	pong string
}

func newConn(c *websocket.Conn) *conn {
	c.SetReadLimit(peer.Limit)
	wrapped := &conn{Conn: c}
	c.SetPongHandler(func(payload string) error {
		wrapped.pong = payload
		return nil
	})
	return wrapped
}

func (c *conn) Read() (peer.Message, error) {
	t, content, err := c.ReadMessage()
	var end *websocket.CloseError
	if errors.As(err, &end) {
		c.Conn.Close()
		return peer.Message{}, peer.Closed{Code: end.Code, Reason: end.Text}
	}
	return peer.Message{Text: t == websocket.TextMessage, Content: content}, err
}

func kind(m peer.Message) int {
	if m.Text {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

func (c *conn) Write(m peer.Message, fragments bool) error {
	if !fragments {
		return c.WriteMessage(kind(m), m.Content)
	}
	w, err := c.NextWriter(kind(m))
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

func (c *conn) Ping() error {
	return c.WriteControl(websocket.PingMessage, []byte(peer.Payload), time.Time{})
}

func (c *conn) Pong() string { return c.pong }

func (c *conn) Close(code int, reason string) error {
	return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{})
}

func main() {
	u := websocket.Upgrader{EnableCompression: peer.Deflate, WriteBufferSize: buffer}
	d := websocket.Dialer{EnableCompression: peer.Deflate, WriteBufferSize: buffer}
	serve := func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		peer.Use(newConn(c), r.URL.Path)
	}
	peer.Main(http.HandlerFunc(serve), func(url string) (peer.Conn, error) {
		c, _, err := d.Dial(url, nil)
		if err != nil {
			return nil, err
		}
		return newConn(c), nil
	})
}
