package websocket_test

import (
	"strings"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestFormatCloseMessage(t *testing.T) {
	for _, code := range []int{0, 1000, 1005, 1006, 4999, 65535} {
		for _, text := range []string{"", "why", strings.Repeat("x", 200)} {
			require.Equal(t, gorilla.FormatCloseMessage(code, text), websocket.FormatCloseMessage(code, text))
		}
	}
}

// TestPingAndPong proves that both go both ways, with their payload.
func TestPingAndPong(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		theirs, ours := make(chan string, 1), make(chan string, 1)
		peer.SetPongHandler(func(s string) error { theirs <- s; return nil })
		c.SetPongHandler(func(s string) error { ours <- s; return nil })
		go peer.ReadMessage()
		go c.ReadMessage()
		for _, p := range []string{"", "x", strings.Repeat("y", 125)} {
			require.NoError(t, c.WriteControl(websocket.PingMessage, []byte(p), soon()))
			require.Equal(t, p, receive(t, ours))
			require.NoError(t, peer.WriteControl(gorilla.PingMessage, []byte(p), soon()))
			require.Equal(t, p, receive(t, theirs))
			require.NoError(t, c.WriteMessage(websocket.PongMessage, []byte(p)))
			require.Equal(t, p, receive(t, theirs))
			require.NoError(t, c.WriteControl(websocket.PongMessage, []byte(p), time.Time{}))
			require.Equal(t, p, receive(t, theirs))
		}
	})
}

func TestWriteControlArguments(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.Error(t, c.WriteControl(websocket.PingMessage, make([]byte, 126), soon()))
		require.Error(t, c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, strings.Repeat("x", 124)), soon()))
		for _, code := range []int{0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535} {
			require.Error(t, c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), soon()), code)
		}
		require.Error(t, c.WriteControl(websocket.CloseMessage, []byte{3}, soon()))
		require.True(t, isTimeout(c.WriteControl(websocket.PingMessage, nil, time.Now().Add(-time.Second))))
		require.True(t, isTimeout(c.WriteControl(websocket.CloseMessage, nil, time.Now().Add(-time.Second))))
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("still open")))
		_, _, err := peer.ReadMessage()
		require.NoError(t, err)
	})
}

// TestWriteClose proves that a Close frame is sent, and that nothing follows it.
func TestWriteClose(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("last")))
		require.NoError(t, c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "bye"), soon()))
		pm, _ := websocket.NewPreparedMessage(websocket.TextMessage, nil)
		_, err := c.NextWriter(websocket.TextMessage)
		for _, err := range []error{
			err,
			c.WriteMessage(websocket.TextMessage, nil),
			c.WriteJSON(1),
			c.WritePreparedMessage(pm),
			c.WriteControl(websocket.PingMessage, nil, soon()),
			c.WriteControl(websocket.CloseMessage, nil, soon()),
		} {
			require.True(t, err == websocket.ErrCloseSent, err)
		}
		_, p, err := peer.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "last", string(p))
		_, _, err = peer.ReadMessage()
		require.Equal(t, &gorilla.CloseError{Code: 4001, Text: "bye"}, err)
		_, _, err = c.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 4001), err)
	})
}

// answerSlowly lets the peer send messages before it answers a Close frame with
// 4002.
func answerSlowly(peer *gorilla.Conn) {
	peer.SetCloseHandler(func(code int, text string) error {
		for range 3 {
			peer.WriteMessage(gorilla.TextMessage, []byte("before the answer"))
		}
		return peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4002, "too"), soon())
	})
	peer.ReadMessage()
}

// requireSlowAnswer proves that c reads what answerSlowly sends.
func requireSlowAnswer(t *testing.T, c *websocket.Conn) {
	for range 3 {
		_, p, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "before the answer", string(p))
	}
	_, _, err := c.ReadMessage()
	require.Equal(t, &websocket.CloseError{Code: 4002, Text: "too"}, err)
}

// TestWriteCloseWhileReading proves that a goroutine that reads goes on up to
// the peer's Close frame when another sends ours.
func TestWriteCloseWhileReading(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		c.SetPingHandler(func(string) error { // called when a read waits
			go c.WriteControl(websocket.CloseMessage, nil, soon())
			return nil
		})
		require.NoError(t, peer.WriteControl(gorilla.PingMessage, nil, soon()))
		go answerSlowly(peer)
		requireSlowAnswer(t, c)
	})
}

// TestWriteCloseThenRead proves that reading may begin after our Close frame was
// sent.
func TestWriteCloseThenRead(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.NoError(t, c.WriteControl(websocket.CloseMessage, nil, soon()))
		answerSlowly(peer)
		requireSlowAnswer(t, c)
	})
}

// TestWriteCloseThenClose proves that Close at once does not overtake the Close
// frame, nor the message before it.
func TestWriteCloseThenClose(t *testing.T) {
	for range 20 {
		eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
			require.NoError(t, c.WriteMessage(websocket.BinaryMessage, payload(20_000)))
			require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye")))
			require.NoError(t, c.Close())
			_, p, err := peer.ReadMessage()
			require.NoError(t, err)
			require.Len(t, p, 20_000)
			_, _, err = peer.ReadMessage()
			require.Equal(t, &gorilla.CloseError{Code: 1000, Text: "bye"}, err)
		})
	}
}
