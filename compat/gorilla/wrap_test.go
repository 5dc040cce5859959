package websocket_test

import (
	"context"
	"testing"

	fullduplex "github.com/fullduplex-go/websocket"
	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// wrapOf returns a connection of the other API, and its peer.
func wrapOf(t *testing.T, cfg fullduplex.Config) (*fullduplex.Conn, *gorilla.Conn) {
	accepted := make(chan *fullduplex.Conn, 1)
	h := fullduplex.HandlerFunc(&fullduplex.AcceptOptions{Config: cfg}, func(c *fullduplex.Conn) error {
		accepted <- c
		<-c.Context().Done()
		return nil
	})
	peer, _, err := gorilla.DefaultDialer.Dial(serve(t, h.ServeHTTP), nil)
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	return receive(t, accepted), peer
}

// TestWrap proves that a connection can be used by both APIs, with the handlers
// of this one.
func TestWrap(t *testing.T) {
	var cfg fullduplex.Config
	websocket.Configure(&cfg)
	ws, peer := wrapOf(t, cfg)
	c := websocket.Wrap(ws)
	require.Same(t, c, websocket.Wrap(ws))
	require.Same(t, ws, c.Unwrap())
	pinged := make(chan string, 1)
	c.SetPingHandler(func(s string) error { pinged <- s; return nil })
	c.SetCloseHandler(func(code int, text string) error {
		return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, text), soon())
	})
	peer.WriteControl(gorilla.PingMessage, []byte("p"), soon())
	peer.WriteMessage(gorilla.TextMessage, []byte("one"))
	peer.WriteMessage(gorilla.TextMessage, []byte("two"))
	peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "end"), soon())
	_, p, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "one", string(p))
	require.Equal(t, "p", receive(t, pinged))
	_, p, err = ws.Read(context.Background())
	require.NoError(t, err)
	require.Equal(t, "two", string(p))
	_, _, err = c.ReadMessage()
	require.Equal(t, &websocket.CloseError{Code: 1000, Text: "end"}, err)
	_, _, err = peer.ReadMessage()
	require.Equal(t, &gorilla.CloseError{Code: 4000, Text: "end"}, err)
	<-ws.Context().Done()
	require.Eventually(t, func() bool { return websocket.Wrap(ws) != c }, patience, 1e6) // it is not kept
}

// TestWrapUnprepared proves that a connection without the hooks works, and
// answers Pings.
func TestWrapUnprepared(t *testing.T) {
	ws, peer := wrapOf(t, fullduplex.Config{})
	c := websocket.Wrap(ws)
	ponged := make(chan string, 1)
	peer.SetPongHandler(func(s string) error { ponged <- s; return nil })
	go peer.ReadMessage()
	peer.WriteControl(gorilla.PingMessage, []byte("p"), soon())
	peer.WriteMessage(gorilla.TextMessage, []byte("one"))
	_, p, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "one", string(p))
	require.Equal(t, "p", receive(t, ponged))
	require.NoError(t, c.Close())
}
