package websocket_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestNextWriter(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		ways := map[string]func(w io.Writer, p []byte) error{
			"Write": func(w io.Writer, p []byte) error { _, err := w.Write(p); return err },
			"WriteString": func(w io.Writer, p []byte) error {
				_, err := w.(io.StringWriter).WriteString(string(p))
				return err
			},
			"ReadFrom": func(w io.Writer, p []byte) error { _, err := io.Copy(w, readerOnly{bytes.NewReader(p)}); return err },
			"pieces": func(w io.Writer, p []byte) error {
				for len(p) > 0 {
					n, err := w.Write(p[:min(len(p), 1000)])
					if err != nil {
						return err
					}
					p = p[n:]
				}
				return nil
			},
		}
		for name, write := range ways {
			for _, n := range sizes {
				go func() {
					w, err := c.NextWriter(websocket.BinaryMessage)
					if err == nil && write(w, payload(n)) == nil {
						w.Close()
					}
				}()
				_, p, err := peer.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, string(payload(n)), string(p), name)
			}
		}
	})
}

// readerOnly hides WriteTo.
type readerOnly struct{ io.Reader }

// TestNextWriterClosesTheLast proves that whatever sends a message completes the
// one before it, and that its writer is of no use any more.
func TestNextWriterClosesTheLast(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pm, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte("next"))
		require.NoError(t, err)
		for _, size := range []int{10, 100_000} {
			for _, next := range []func(){
				func() { c.WriteMessage(websocket.TextMessage, []byte("next")) },
				func() { c.WritePreparedMessage(pm) },
				func() {
					w, _ := c.NextWriter(websocket.TextMessage)
					io.WriteString(w, "next")
					w.Close()
				},
			} {
				go func() {
					w, _ := c.NextWriter(websocket.BinaryMessage)
					w.Write(payload(size))
					next()
					_, err := w.Write([]byte("more"))
					if err == nil || w.Close() == nil {
						panic("the writer still writes")
					}
				}()
				_, p, err := peer.ReadMessage()
				require.NoError(t, err)
				require.Len(t, p, size)
				_, p, err = peer.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, "next", string(p))
			}
		}
	})
}

// TestControlOvertakesWriter proves that a control frame leaves while a message
// is open.
func TestControlOvertakesWriter(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pinged := make(chan string, 1)
		peer.SetPingHandler(func(s string) error { pinged <- s; return nil })
		go peer.ReadMessage()
		w, err := c.NextWriter(websocket.BinaryMessage)
		require.NoError(t, err)
		w.Write(payload(100_000))
		require.NoError(t, c.WriteControl(websocket.PingMessage, []byte("hi"), soon()))
		require.Equal(t, "hi", receive(t, pinged))
		require.NoError(t, w.Close())
	})
}

// TestWriterOfControlMessages proves that all message types have writers.
func TestWriterOfControlMessages(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		pinged := make(chan string, 1)
		peer.SetPingHandler(func(s string) error { pinged <- s; return nil })
		read := make(chan error, 1)
		go func() {
			_, _, err := peer.ReadMessage()
			read <- err
		}()
		w, err := c.NextWriter(websocket.PingMessage)
		require.NoError(t, err)
		io.WriteString(w, strings.Repeat("p", 100))
		io.WriteString(w, strings.Repeat("p", 25))
		require.NoError(t, w.Close())
		require.Equal(t, strings.Repeat("p", 125), receive(t, pinged))

		w, err = c.NextWriter(websocket.PingMessage)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 126))
		require.Error(t, err)
		require.Error(t, w.Close())

		w, err = c.NextWriter(websocket.CloseMessage)
		require.NoError(t, err)
		w.Write(websocket.FormatCloseMessage(1001, "bye"))
		require.NoError(t, w.Close())
		require.True(t, gorilla.IsCloseError(receive(t, read), 1001))
		_, err = c.NextWriter(websocket.TextMessage)
		require.True(t, err == websocket.ErrCloseSent)
	})
}

// TestReadFromKeepsOpen proves that an error of what is read leaves the message
// open.
func TestReadFromKeepsOpen(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		broken := errors.New("broken")
		for _, n := range []int{100, 100_000} {
			go func() {
				w, _ := c.NextWriter(websocket.BinaryMessage)
				r := io.MultiReader(iotest.HalfReader(bytes.NewReader(payload(n))), iotest.ErrReader(broken))
				if read, err := io.Copy(w, r); read != int64(n) || err != broken {
					panic(err)
				}
				io.WriteString(w, "rest")
				w.Close()
			}()
			_, p, err := peer.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, string(payload(n))+"rest", string(p))
		}
	})
}
