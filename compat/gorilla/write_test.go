package websocket_test

import (
	"compress/flate"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestWriteMessage(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		for _, compress := range []bool{true, false} {
			c.EnableWriteCompression(compress)
			go func() {
				for _, n := range sizes {
					c.WriteMessage(websocket.TextMessage, payload(n))
					c.WriteMessage(websocket.BinaryMessage, payload(n))
				}
			}()
			for _, n := range sizes {
				for _, want := range []int{gorilla.TextMessage, gorilla.BinaryMessage} {
					got, p, err := peer.ReadMessage()
					require.NoError(t, err)
					require.Equal(t, want, got)
					require.Equal(t, string(payload(n)), string(p))
				}
			}
		}
	})
}

// TestWriteLeavesDataAlone proves that masking happens elsewhere.
func TestWriteLeavesDataAlone(t *testing.T) {
	c, peer := ourClient(t, pairing{})
	for _, n := range sizes {
		p := payload(n)
		require.NoError(t, c.WriteMessage(websocket.BinaryMessage, p))
		require.Equal(t, string(payload(n)), string(p))
		_, _, err := peer.ReadMessage()
		require.NoError(t, err)
	}
}

func TestWriteBadType(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		for _, bad := range []int{-1, 0, 3, 7, 11, 256 + websocket.TextMessage} {
			require.Error(t, c.WriteMessage(bad, nil))
			require.Error(t, c.WriteControl(bad, nil, soon()))
			_, err := c.NextWriter(bad)
			require.Error(t, err)
			_, err = websocket.NewPreparedMessage(bad, nil)
			require.Error(t, err)
		}
		require.Error(t, c.WriteControl(websocket.TextMessage, nil, soon()))
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("still open")))
		_, p, err := peer.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "still open", string(p))
	})
}

// TestConcurrentWrites proves that calls that the original forbids send whole
// messages.
func TestConcurrentWrites(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pm, err := websocket.NewPreparedMessage(websocket.BinaryMessage, payload(5000))
		require.NoError(t, err)
		const writers, each = 8, 50
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				for range each {
					switch i % 4 {
					case 0:
						c.WriteMessage(websocket.BinaryMessage, payload(5000))
					case 1:
						c.WriteJSON("text")
					case 2:
						c.WritePreparedMessage(pm)
					case 3:
						c.WriteControl(websocket.PingMessage, []byte("ping"), soon())
					}
				}
			})
		}
		for range writers * each * 3 / 4 {
			messageType, p, err := peer.ReadMessage()
			require.NoError(t, err)
			if messageType == gorilla.TextMessage {
				require.Equal(t, "\"text\"\n", string(p))
			} else {
				require.Equal(t, string(payload(5000)), string(p))
			}
		}
		all.Wait()
	})
}

// TestWriteDeadlineIsPermanent proves that no write succeeds after one whose
// deadline has passed, also if that is moved, and that reading goes on.
func TestWriteDeadlineIsPermanent(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(-time.Second)))
		require.True(t, isTimeout(c.WriteMessage(websocket.TextMessage, []byte("late"))))
		require.NoError(t, c.SetWriteDeadline(time.Time{}))
		require.True(t, isTimeout(c.WriteMessage(websocket.TextMessage, []byte("later"))))
		require.True(t, isTimeout(c.WriteJSON(1)))
		require.True(t, isTimeout(c.WriteControl(websocket.PingMessage, nil, soon())))
		_, err := c.NextWriter(websocket.TextMessage)
		require.True(t, isTimeout(err))
		require.NoError(t, peer.WriteMessage(gorilla.TextMessage, []byte("read")))
		_, p, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "read", string(p))
	})
}

// TestWriteDeadlineOfAStalledPeer proves that a write ends by its deadline when
// the peer does not read, also that of a Ping.
func TestWriteDeadlineOfAStalledPeer(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		stall(t, c)
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
		require.True(t, isTimeout(c.WriteMessage(websocket.PingMessage, nil)))
		require.True(t, isTimeout(c.WriteMessage(websocket.BinaryMessage, payload(1<<20))))
		require.True(t, isTimeout(c.WriteMessage(websocket.BinaryMessage, nil)))
	})
}

// stall writes until the peer, which does not read, takes no more. Writes that
// follow have to wait.
func stall(t *testing.T, c *websocket.Conn) {
	nc := c.NetConn()
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	require.NoError(t, nc.(*net.TCPConn).SetWriteBuffer(4096))
	c.EnableWriteCompression(false)
	go c.WriteMessage(websocket.BinaryMessage, make([]byte, 16<<20))
	before := -1
	require.Eventually(t, func() bool {
		sent := int(c.Unwrap().Stats().BytesOut)
		defer func() { before = sent }()
		return sent > 0 && sent == before
	}, patience, 20*time.Millisecond)
}

// TestCloseEndsWrites proves that Close ends a write that waits.
func TestCloseEndsWrites(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		wrote := make(chan error)
		go func() { wrote <- c.WriteMessage(websocket.BinaryMessage, make([]byte, 16<<20)) }()
		require.NoError(t, c.Close())
		require.Error(t, receive(t, wrote))
		require.ErrorIs(t, c.WriteMessage(websocket.TextMessage, nil), net.ErrClosed)
		require.ErrorIs(t, c.WriteControl(websocket.PingMessage, nil, soon()), net.ErrClosed)
		require.NoError(t, c.Close())
	})
}

func TestSetCompressionLevel(t *testing.T) {
	for _, compress := range []bool{true, false} {
		c, peer := ourServer(t, pairing{compress: compress})
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			require.NoError(t, c.SetCompressionLevel(level))
			before := c.Unwrap().Stats().CompressedOut
			require.NoError(t, c.WriteMessage(websocket.TextMessage, payload(1000)))
			require.Equal(t, compress && level != flate.NoCompression, c.Unwrap().Stats().CompressedOut > before)
			_, p, err := peer.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, string(payload(1000)), string(p))
		}
		require.Error(t, c.SetCompressionLevel(flate.HuffmanOnly-1))
		require.Error(t, c.SetCompressionLevel(flate.BestCompression+1))
	}
}

// TestEnableWriteCompression proves that it decides what travels.
func TestEnableWriteCompression(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pm, err := websocket.NewPreparedMessage(websocket.TextMessage, payload(10_000))
		require.NoError(t, err)
		send := map[string]func() error{
			"WriteMessage":         func() error { return c.WriteMessage(websocket.TextMessage, payload(10_000)) },
			"WritePreparedMessage": func() error { return c.WritePreparedMessage(pm) },
			"NextWriter": func() error {
				w, err := c.NextWriter(websocket.TextMessage)
				if err == nil {
					w.Write(payload(10_000))
					err = w.Close()
				}
				return err
			},
			"NextWriter, long": func() error {
				w, err := c.NextWriter(websocket.TextMessage)
				for range 10 {
					w.Write(payload(10_000))
				}
				w.Close()
				return err
			},
		}
		for name, send := range send {
			for _, enable := range []bool{true, false} {
				c.EnableWriteCompression(enable)
				before := c.Unwrap().Stats().CompressedOut
				require.NoError(t, send())
				_, _, err := peer.ReadMessage()
				require.NoError(t, err)
				compressed := c.Unwrap().Stats().CompressedOut > before
				require.Equal(t, enable && c.Unwrap().CompressionAgreed(), compressed, name)
			}
		}
	})
}
