package websocket

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEndsOfHandlersOverHTTP2 ends what serves a stream in all ways, on the
// goroutine of its handler: the Close frame comes first, and then the end of the
// stream.
func TestEndsOfHandlersOverHTTP2(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(c *Conn) error
		code  byte // the low one of the Close frame
	}{
		"nil":    {func(*Conn) error { return nil }, 0xe8},
		"error":  {func(*Conn) error { return errors.New("some") }, 0xf3},
		"panic":  {func(*Conn) error { panic(http.ErrAbortHandler) }, 0xf3},
		"Goexit": {func(*Conn) error { runtime.Goexit(); return nil }, 0xf3},
	} {
		for kind, h := range map[string]http.Handler{
			"Handler": HandlerFunc(nil, c.serve),
			"ReceiverHandler": ReceiverHandler(nil, func(*http.Request) (Receiver, error) {
				return openedFunc(c.serve), nil
			}),
			"Deliver": HandlerFunc(nil, func(conn *Conn) error { return conn.Deliver(openedFunc(c.serve)) }),
		} {
			if name == "nil" && kind != "Handler" {
				continue // a Receiver goes on
			}
			t.Run(kind+"/"+name, func(t *testing.T) {
				s, err := serveHTTP2(t, h).connect()
				require.NoError(t, err)
				head := make([]byte, 4)
				_, err = io.ReadFull(s, head)
				require.NoError(t, err)
				require.Equal(t, []byte{0x88, 0x03, c.code}, []byte{head[0], head[2], head[3]})
				_, err = s.Write(clientFrame(0x88, "\x03\xe8"))
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, s)
				if name != "Goexit" || err != errStreamReset { // net/http takes the end of a handler's goroutine for a panic
					require.NoError(t, err)
				}
			})
		}
	}
}

// An openedFunc is a Receiver that is called once.
type openedFunc func(c *Conn) error

func (f openedFunc) Opened(c *Conn) error       { return f(c) }
func (openedFunc) Receive(*Conn, Message) error { return nil }
func (openedFunc) Closed(*Conn, *CloseError)    {}
