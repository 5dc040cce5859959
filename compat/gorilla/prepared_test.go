package websocket_test

import (
	"sync"
	"testing"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestPreparedMessage proves that one message goes to connections of all kinds,
// from several goroutines, whatever becomes of the memory that it was made of.
func TestPreparedMessage(t *testing.T) {
	for _, size := range sizes {
		data := payload(size)
		pm, err := websocket.NewPreparedMessage(websocket.TextMessage, data)
		require.NoError(t, err)
		clear(data)
		var all sync.WaitGroup
		defer all.Wait()
		eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
			for _, compress := range []bool{true, false} {
				c.EnableWriteCompression(compress)
				all.Go(func() { c.WritePreparedMessage(pm) })
				messageType, p, err := peer.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, gorilla.TextMessage, messageType)
				require.Equal(t, string(payload(size)), string(p))
			}
		})
	}
}

func TestPreparedControlMessage(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pinged, read := make(chan string, 1), make(chan error, 1)
		peer.SetPingHandler(func(s string) error { pinged <- s; return nil })
		go func() {
			_, _, err := peer.ReadMessage()
			read <- err
		}()
		ping, err := websocket.NewPreparedMessage(websocket.PingMessage, []byte("p"))
		require.NoError(t, err)
		require.NoError(t, c.WritePreparedMessage(ping))
		require.Equal(t, "p", receive(t, pinged))
		end, err := websocket.NewPreparedMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""))
		require.NoError(t, err)
		require.NoError(t, c.WritePreparedMessage(end))
		require.True(t, gorilla.IsCloseError(receive(t, read), 1001))
		require.True(t, c.WritePreparedMessage(ping) == websocket.ErrCloseSent)
		_, err = websocket.NewPreparedMessage(websocket.PingMessage, make([]byte, 126))
		require.Error(t, err)
	})
}
