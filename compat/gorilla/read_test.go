package websocket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// sizes are lengths of messages around those at which something changes.
var sizes = []int{0, 1, 125, 126, 127, 128, 4095, 4096, 4097, 16 << 10, 65535, 65536, 300_000}

// payload returns a message of n bytes that can be compressed a little.
func payload(n int) []byte { return bytes.Repeat([]byte("0123456789abcde\n"), n/16+1)[:n] }

func TestReadMessage(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		go func() {
			for _, n := range sizes {
				peer.WriteMessage(gorilla.TextMessage, payload(n))
				peer.WriteMessage(gorilla.BinaryMessage, payload(n))
			}
		}()
		for _, n := range sizes {
			for _, want := range []int{websocket.TextMessage, websocket.BinaryMessage} {
				got, p, err := c.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, string(payload(n)), string(p))
			}
		}
	})
}

func TestReadFragments(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		go func() {
			for range 2 {
				w, _ := peer.NextWriter(gorilla.BinaryMessage)
				for range 100 {
					w.Write(payload(1000))
					peer.WriteControl(gorilla.PingMessage, nil, soon())
				}
				w.Close()
			}
		}()
		want := strings.Repeat(string(payload(1000)), 100)
		_, p, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, want, string(p))
		messageType, r, err := c.NextReader()
		require.NoError(t, err)
		require.Equal(t, websocket.BinaryMessage, messageType)
		p, err = io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, want, string(p))
	})
}

// TestReadText proves that text is handed on as it is.
func TestReadText(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.NoError(t, peer.WriteMessage(gorilla.TextMessage, []byte("\xff")))
		_, p, err := c.ReadMessage()
		require.NoError(t, err)
		require.NoError(t, c.WriteMessage(websocket.TextMessage, p))
		_, p, err = peer.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "\xff", string(p))
	})
}

// TestReadErrorIsPermanent proves that each end is told by every later read.
func TestReadErrorIsPermanent(t *testing.T) {
	for name, end := range map[string]struct {
		end   func(c *websocket.Conn, peer *gorilla.Conn)
		check func(err error) bool
	}{
		"Close frame": {
			func(c *websocket.Conn, peer *gorilla.Conn) {
				peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4000, "bye"), soon())
			},
			func(err error) bool {
				e, ok := err.(*websocket.CloseError)
				return ok && *e == websocket.CloseError{Code: 4000, Text: "bye"}
			},
		},
		"empty Close frame": {
			func(c *websocket.Conn, peer *gorilla.Conn) { peer.WriteControl(gorilla.CloseMessage, nil, soon()) },
			func(err error) bool { return websocket.IsCloseError(err, websocket.CloseNoStatusReceived) },
		},
		"no Close frame": {
			func(c *websocket.Conn, peer *gorilla.Conn) { peer.Close() },
			func(err error) bool { return websocket.IsCloseError(err, websocket.CloseAbnormalClosure) },
		},
		"Close": {
			func(c *websocket.Conn, peer *gorilla.Conn) { c.Close() },
			func(err error) bool { return errors.Is(err, net.ErrClosed) },
		},
		"deadline": {
			func(c *websocket.Conn, peer *gorilla.Conn) { c.SetReadDeadline(time.Now()) },
			isTimeout,
		},
		"limit": {
			func(c *websocket.Conn, peer *gorilla.Conn) {
				c.SetReadLimit(10)
				peer.WriteMessage(gorilla.TextMessage, payload(11))
			},
			func(err error) bool { return err == websocket.ErrReadLimit },
		},
		"violation": {
			func(c *websocket.Conn, peer *gorilla.Conn) { peer.NetConn().Write([]byte{0x83, 0x80, 0, 0, 0, 0}) },
			func(err error) bool {
				return !websocket.IsCloseError(err) && strings.Contains(err.Error(), "websocket: ")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
				end.end(c, peer)
				_, _, first := c.ReadMessage()
				require.Error(t, first)
				require.True(t, end.check(first), "%T %v", first, first)
				c.SetReadDeadline(time.Time{})
				for range 2000 { // the original panics after 1000
					_, r, err := c.NextReader()
					require.Nil(t, r)
					require.True(t, err == first)
				}
				messageType, p, err := c.ReadMessage()
				require.Equal(t, -1, messageType)
				require.Nil(t, p)
				require.True(t, err == first)
				require.True(t, c.ReadJSON(new(any)) == first)
			})
		})
	}
}

// isTimeout reports whether err is a net.Error of a deadline.
func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestReadDeadlineOfAWaitingRead proves that a deadline ends a read that waits
// already, and that one that is moved in time does not.
func TestReadDeadlineOfAWaitingRead(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		c.SetReadDeadline(time.Time{})
		read := make(chan error)
		go func() {
			for {
				_, _, err := c.ReadMessage()
				read <- err
				if err != nil {
					return
				}
			}
		}()
		require.NoError(t, c.SetReadDeadline(soon()))
		require.NoError(t, peer.WriteMessage(gorilla.TextMessage, []byte("in time")))
		require.NoError(t, receive(t, read))
		require.NoError(t, c.SetReadDeadline(time.Now()))
		require.True(t, isTimeout(receive(t, read)))
	})
}

// TestReadLimit proves that the limit is for whole messages, and can be changed
// and removed.
func TestReadLimit(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		send := func(n int) {
			require.NoError(t, peer.WriteMessage(gorilla.BinaryMessage, payload(n)))
			_, p, err := c.ReadMessage()
			require.NoError(t, err)
			require.Len(t, p, n)
		}
		send(3 << 20) // more than the other API's default
		c.SetReadLimit(1000)
		send(1000)
		c.SetReadLimit(0)
		send(1001)
		c.SetReadLimit(-1)
		send(1001)
		c.SetReadLimit(2000)
		go func() {
			w, _ := peer.NextWriter(gorilla.BinaryMessage)
			w.Write(payload(1500))
			w.Write(payload(1500))
			w.Close()
		}()
		_, _, err := c.ReadMessage()
		require.True(t, err == websocket.ErrReadLimit)
		_, _, err = peer.ReadMessage()
		require.True(t, gorilla.IsCloseError(err, gorilla.CloseMessageTooBig), err)
		require.True(t, c.WriteMessage(websocket.TextMessage, nil) == websocket.ErrCloseSent)
	})
}
