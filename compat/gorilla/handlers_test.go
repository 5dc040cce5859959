package websocket_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestPingHandler proves that a handler replaces the Pong, and may send one.
func TestPingHandler(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pinged, ponged := make(chan string, 3), make(chan string, 3)
		peer.SetPongHandler(func(s string) error { ponged <- s; return nil })
		go peer.ReadMessage()
		go c.ReadMessage()
		c.SetPingHandler(func(s string) error { pinged <- s; return nil })
		require.NoError(t, peer.WriteControl(gorilla.PingMessage, []byte("unanswered"), soon()))
		require.Equal(t, "unanswered", receive(t, pinged))
		c.SetPingHandler(func(s string) error {
			return c.WriteControl(websocket.PongMessage, []byte("my "+s), soon())
		})
		require.NoError(t, peer.WriteControl(gorilla.PingMessage, []byte("second"), soon()))
		require.Equal(t, "my second", receive(t, ponged))
		c.SetPingHandler(nil)
		require.NoError(t, peer.WriteControl(gorilla.PingMessage, []byte("third"), soon()))
		require.Equal(t, "third", receive(t, ponged))
	})
}

// TestDefaultHandlers proves that handlers which call the default ones do what
// those do.
func TestDefaultHandlers(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pinged, ponged, read := make(chan string, 1), make(chan string, 1), make(chan error, 1)
		ping, pong, end := c.PingHandler(), c.PongHandler(), c.CloseHandler()
		c.SetPingHandler(func(s string) error { pinged <- s; return ping(s) })
		c.SetPongHandler(pong)
		c.SetCloseHandler(end)
		require.NoError(t, c.PongHandler()(""))
		peer.SetPongHandler(func(s string) error { ponged <- s; return nil })
		go c.ReadMessage()
		go func() {
			_, _, err := peer.ReadMessage()
			read <- err
		}()
		require.NoError(t, peer.WriteControl(gorilla.PongMessage, nil, soon()))
		require.NoError(t, peer.WriteControl(gorilla.PingMessage, []byte("p"), soon()))
		require.Equal(t, "p", receive(t, pinged))
		require.Equal(t, "p", receive(t, ponged))
		require.NoError(t, peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(3001, "ignored"), soon()))
		require.Equal(t, &gorilla.CloseError{Code: 3001}, receive(t, read))
		require.NoError(t, ping("after the end"))
	})
}

// TestHandlerErrorsEndReading proves that the error of a handler is the one of
// the read, and permanent, also if a message follows.
func TestHandlerErrorsEndReading(t *testing.T) {
	broken := errors.New("broken")
	for name, fail := range map[string]func(c *websocket.Conn, peer *gorilla.Conn){
		"Ping": func(c *websocket.Conn, peer *gorilla.Conn) {
			c.SetPingHandler(func(string) error { return broken })
			peer.WriteControl(gorilla.PingMessage, nil, soon())
		},
		"Pong": func(c *websocket.Conn, peer *gorilla.Conn) {
			c.SetPongHandler(func(string) error { return broken })
			peer.WriteControl(gorilla.PongMessage, nil, soon())
		},
		"Pong before a message": func(c *websocket.Conn, peer *gorilla.Conn) {
			c.SetPongHandler(func(string) error { return broken })
			peer.WriteControl(gorilla.PongMessage, nil, soon())
			peer.WriteMessage(gorilla.TextMessage, nil)
		},
		"Close": func(c *websocket.Conn, peer *gorilla.Conn) {
			c.SetCloseHandler(func(int, string) error { return broken })
			peer.WriteControl(gorilla.CloseMessage, nil, soon())
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
				fail(c, peer)
				for range 3 {
					_, _, err := c.ReadMessage()
					require.True(t, err == broken, "%v", err)
				}
			})
		})
	}
}

// TestPongHandlerMovesTheDeadline proves that the read that calls a handler obeys
// the deadline that the handler sets.
func TestPongHandlerMovesTheDeadline(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		c.SetPongHandler(func(s string) error {
			switch s {
			case "later":
				return c.SetReadDeadline(soon())
			case "now":
				return c.SetReadDeadline(time.Now())
			}
			return errors.New(s)
		})
		require.NoError(t, c.SetReadDeadline(soon()))
		peer.WriteControl(gorilla.PongMessage, []byte("later"), soon())
		peer.WriteMessage(gorilla.TextMessage, []byte("message"))
		_, p, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "message", string(p))
		peer.WriteControl(gorilla.PongMessage, []byte("now"), soon())
		_, _, err = c.ReadMessage()
		require.True(t, isTimeout(err), err)
	})
}

// TestCloseHandler proves that the handler has the code and text, may send
// before the answer, and says what that is.
func TestCloseHandler(t *testing.T) {
	for name, c := range map[string]struct {
		answer []byte // nil: none
		want   gorilla.CloseError
	}{
		"no answer":    {nil, gorilla.CloseError{Code: 4000}},
		"another code": {websocket.FormatCloseMessage(4444, "my reason"), gorilla.CloseError{Code: 4444, Text: "my reason"}},
		"no code":      {[]byte{}, gorilla.CloseError{Code: 1005}},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, conn *websocket.Conn, peer *gorilla.Conn) {
				conn.SetCloseHandler(func(code int, text string) error {
					if code != 4000 || text != "their reason" {
						return fmt.Errorf("got %d %q", code, text)
					}
					conn.WriteMessage(websocket.TextMessage, []byte("last"))
					if c.answer != nil {
						return conn.WriteControl(websocket.CloseMessage, c.answer, soon())
					}
					return nil
				})
				require.NoError(t, peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4000, "their reason"), soon()))
				_, _, err := conn.ReadMessage()
				require.Equal(t, &websocket.CloseError{Code: 4000, Text: "their reason"}, err)
				require.True(t, conn.WriteMessage(websocket.TextMessage, nil) == websocket.ErrCloseSent)
				_, p, err := peer.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, "last", string(p))
				_, _, err = peer.ReadMessage()
				require.Equal(t, &c.want, err)
			})
		})
	}
}

// closeUnread lets the peer close while nobody reads, and returns how often the
// handler was called, which answers with 4444.
func closeUnread(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) (calls *int) {
	calls = new(int)
	before := c.Unwrap().Stats().FramesIn
	c.SetCloseHandler(func(code int, text string) error {
		*calls++
		return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4444, ""), soon())
	})
	require.NoError(t, peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, ""), soon()))
	require.Eventually(t, func() bool { return c.Unwrap().Stats().FramesIn > before }, patience, time.Millisecond)
	return calls
}

// TestCloseHandlerWaitsForARead proves that a Close frame that came with nobody
// reading is answered by the handler, which the next read calls.
func TestCloseHandlerWaitsForARead(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		calls := closeUnread(t, c, peer)
		_, _, err := c.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 1000), err)
		require.Equal(t, 1, *calls)
		_, _, err = peer.ReadMessage()
		require.True(t, gorilla.IsCloseError(err, 4444), err)
	})
}

// TestCloseWhileTheHandlerWaits proves that Close ends a connection whose
// handler of Close frames waits for a read.
func TestCloseWhileTheHandlerWaits(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		calls := closeUnread(t, c, peer)
		require.NoError(t, c.Close())
		_, _, err := peer.ReadMessage()
		require.Error(t, err)
		require.Zero(t, *calls)
		_, _, err = c.ReadMessage()
		require.Error(t, err)
	})
}

// TestCloseHandlerAfterOurs proves that the handler is called for the answer to
// our Close frame, too.
func TestCloseHandlerAfterOurs(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		calls := 0
		c.SetCloseHandler(func(code int, text string) error { calls++; return nil })
		require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
		go peer.ReadMessage()
		_, _, err := c.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 1000), err)
		require.Equal(t, 1, calls)
	})
}

// TestHandlersRunWhileReading proves that handlers of the application wait for
// a read, which calls them on its own before it returns. The race detector
// watches.
func TestHandlersRunWhileReading(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		var got []string // no lock: handlers do not run beside this goroutine
		c.SetPingHandler(func(s string) error { got = append(got, "ping "+s); return nil })
		c.SetPongHandler(func(s string) error { got = append(got, "pong "+s); return nil })
		c.SetCloseHandler(func(code int, s string) error { got = append(got, "close "+s); return nil })
		before := c.Unwrap().Stats().FramesIn
		for i := range 3 {
			peer.WriteControl(gorilla.PingMessage, fmt.Append(nil, i), soon())
			peer.WriteControl(gorilla.PongMessage, fmt.Append(nil, i), soon())
		}
		require.Eventually(t, func() bool { return c.Unwrap().Stats().FramesIn >= before+6 }, patience, time.Millisecond)
		require.Empty(t, got)
		peer.WriteMessage(gorilla.TextMessage, nil)
		peer.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "end"), soon())
		_, _, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, []string{"ping 0", "pong 0", "ping 1", "pong 1", "ping 2", "pong 2"}, got)
		_, _, err = c.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 1000))
		require.Equal(t, "close end", got[len(got)-1])
	})
}

// TestHeldFramesAreBounded proves that a peer that sends control frames which
// nobody reads fills no memory: the last ones are kept.
func TestHeldFramesAreBounded(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		var got []string
		c.SetPingHandler(func(s string) error { got = append(got, s); return nil })
		const sent = 1000
		for i := range sent {
			require.NoError(t, peer.WriteControl(gorilla.PingMessage, fmt.Append(nil, i), soon()))
		}
		require.Eventually(t, func() bool { return c.Unwrap().Stats().FramesIn >= sent }, patience, time.Millisecond)
		peer.WriteMessage(gorilla.TextMessage, nil)
		_, _, err := c.ReadMessage()
		require.NoError(t, err)
		require.Len(t, got, 16)
		require.Equal(t, fmt.Sprint(sent-1), got[15])
	})
}

// TestPingsAnsweredUnread proves that under the default handler Pings are
// answered while nobody reads.
func TestPingsAnsweredUnread(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		ponged := make(chan string, 1)
		peer.SetPongHandler(func(s string) error { ponged <- s; return nil })
		go peer.ReadMessage()
		require.NoError(t, peer.WriteControl(gorilla.PingMessage, []byte("there?"), soon()))
		require.Equal(t, "there?", receive(t, ponged))
	})
}
