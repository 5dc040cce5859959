package websocket_test

import (
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestNextReaderDrops proves that the next message begins at its beginning
// whatever was read of the one before, whose reader is at its end then.
func TestNextReaderDrops(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		go func() {
			for range 4 {
				peer.WriteMessage(gorilla.BinaryMessage, payload(100_000))
			}
			peer.WriteMessage(gorilla.TextMessage, []byte("last"))
		}()
		for _, n := range []int{0, 1, 5000, 100_000} {
			_, r, err := c.NextReader()
			require.NoError(t, err)
			part := make([]byte, n)
			_, err = io.ReadFull(r, part)
			require.NoError(t, err)
			require.Equal(t, string(payload(n)), string(part))
			defer func() {
				n, err := r.Read(part)
				require.Zero(t, n)
				require.Equal(t, io.EOF, err)
			}()
		}
		_, p, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "last", string(p))
	})
}

func TestReaderOneByte(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.NoError(t, peer.WriteMessage(gorilla.TextMessage, payload(500)))
		_, r, err := c.NextReader()
		require.NoError(t, err)
		p, err := io.ReadAll(iotest.OneByteReader(r))
		require.NoError(t, err)
		require.Equal(t, string(payload(500)), string(p))
	})
}

// TestReaderEnds proves that an end inside a message is no end of the message.
func TestReaderEnds(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		w, err := peer.NextWriter(gorilla.BinaryMessage)
		require.NoError(t, err)
		io.CopyN(w, rand.Reader, 100_000)
		peer.Close()
		_, r, err := c.NextReader()
		require.NoError(t, err)
		_, err = io.ReadAll(r)
		require.True(t, websocket.IsCloseError(err, websocket.CloseAbnormalClosure), err)
		_, _, again := c.NextReader()
		require.True(t, again == err)
	})
}

func TestJoinMessages(t *testing.T) {
	for _, term := range []string{"", "\n", "--"} {
		eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
			messages := []string{"one", "", "three", string(payload(10_000))}
			for _, m := range messages {
				require.NoError(t, peer.WriteMessage(gorilla.TextMessage, []byte(m)))
			}
			peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, ""), soon())
			p, err := io.ReadAll(websocket.JoinMessages(c, term))
			require.Equal(t, strings.Join(messages, term)+term, string(p))
			require.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), err)
		})
	}
}
