package websocket

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// streams returns both ends of a connection as streams, and their connections.
func streams(t testing.TB) (s, c net.Conn, ws, wc *Conn) {
	ws, wc = pipe(t)
	return NetConn(background, ws, MessageBinary), NetConn(background, wc, MessageBinary), ws, wc
}

func TestNetConnIsAStream(t *testing.T) {
	for _, m := range meetings {
		t.Run(m.name(), func(t *testing.T) {
			a, b := connect(t, m.server, m.client, options{}, options{})
			s, c := a.NetConn(background, MessageBinary), b.NetConn(background, MessageBinary)
			go func() {
				io.Copy(s, s)
				s.Close()
			}()
			want := pattern(300_000) // over the read limit
			go func() {
				for i := 0; i < len(want); i += 100_000 {
					c.Write(want[i : i+100_000])
				}
			}()
			got := make([]byte, len(want))
			_, err := io.ReadFull(iotest.HalfReader(c), got)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
			require.NoError(t, c.Close())
		})
	}
}

// TestNetConnWritesMessages: each Write is one message.
func TestNetConnWritesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, wc := pipe(t)
		c := NetConn(background, wc, MessageText)
		ws.SetReadLimit(-1)
		for _, n := range []int{0, 5, 100_000} {
			written := make(chan error, 1)
			go func() {
				_, err := c.Write(pattern(n))
				written <- err
			}()
			typ, p, err := ws.Read(background)
			require.NoError(t, err)
			require.Equal(t, MessageText, typ)
			require.Len(t, p, n)
			require.NoError(t, <-written)
		}
	})
}

func TestNetConnSkipsEmptyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, _ := streams(t)
		go func() {
			s.Write(nil)
			s.Write(nil)
			s.Write([]byte("x"))
		}()
		n, err := c.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
		p := make([]byte, 4)
		n, err = c.Read(p)
		require.NoError(t, err)
		require.Equal(t, "x", string(p[:n]))
	})
}

func TestNetConnRefusesTheOtherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, ws, _ := streams(t)
		go ws.Write(background, MessageText, []byte("text"))
		_, err := c.Read(make([]byte, 4))
		require.ErrorContains(t, err, "MessageText in a stream of MessageBinary")
		end := endOf(ws)
		require.EqualValues(t, StatusUnsupportedData, end.Code)
		_, err = c.Read(make([]byte, 4))
		require.Error(t, err)
	})
}

func TestNetConnEnds(t *testing.T) {
	for code, want := range map[StatusCode]bool{1000: true, 1001: true, 1005: false, 1011: false, 4000: false} {
		synctest.Test(t, func(t *testing.T) {
			_, c, ws, _ := streams(t)
			go ws.Close(code, "")
			for range 2 {
				_, err := c.Read(make([]byte, 4))
				require.Equal(t, want, err == io.EOF, code)
				if !want {
					require.Equal(t, code, CloseStatus(err))
				}
			}
		})
	}
}

func TestNetConnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, _ := streams(t)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 4))
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-failed, net.ErrClosed)
		_, err := s.Read(make([]byte, 4))
		require.Equal(t, io.EOF, err)
		_, err = c.Write([]byte("late"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, c.Close(), net.ErrClosed)
	})
}

// isTimeout expects the error of a deadline.
func isTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var e net.Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.Timeout())
}

func TestNetConnDeadlineDuringACallCloses(t *testing.T) {
	for name, call := range map[string]func(net.Conn) error{
		"Read": func(c net.Conn) error {
			_, err := c.Read(make([]byte, 4))
			return err
		},
		"Write": func(c net.Conn) error {
			_, err := c.Write(make([]byte, 1<<20))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := rawClient(t)
				n := NetConn(background, c, MessageBinary)
				require.NoError(t, n.SetDeadline(time.Now().Add(time.Second)))
				isTimeout(t, call(n))
				require.True(t, hasEnded(c))
			})
		})
	}
}

// TestNetConnDeadlineIsMoved: a deadline that is set while a call waits counts.
func TestNetConnDeadlineIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, wc := streams(t)
		c.SetReadDeadline(time.Now().Add(time.Second))
		go func() {
			time.Sleep(time.Second / 2)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			time.Sleep(time.Minute)
			s.Write([]byte("late"))
			time.Sleep(time.Minute)
			c.SetReadDeadline(time.Now())
		}()
		n, err := c.Read(make([]byte, 4))
		require.NoError(t, err)
		require.Equal(t, 4, n)
		_, err = c.Read(make([]byte, 4))
		isTimeout(t, err)
		require.True(t, hasEnded(wc))
	})
}

// TestNetConnDeadlineBeforeACall: without a call that waits nothing is closed.
func TestNetConnDeadlineBeforeACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, wc := streams(t)
		c.SetDeadline(time.Now().Add(time.Second))
		time.Sleep(time.Minute)
		_, err := c.Read(make([]byte, 4))
		isTimeout(t, err)
		_, err = c.Write(make([]byte, 4))
		isTimeout(t, err)
		require.False(t, hasEnded(wc))
		c.SetDeadline(time.Time{})
		go c.Write([]byte("on"))
		n, err := s.Read(make([]byte, 4))
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})
}

func TestNetConnFollowsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, wc := pipe(t)
		ctx, cancel := context.WithCancel(background)
		c := NetConn(ctx, wc, MessageBinary)
		time.AfterFunc(time.Second, cancel)
		_, err := c.Read(make([]byte, 4))
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.Write(make([]byte, 4))
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, endOf(ws).Received)
	})
}

func TestNetConnAddresses(t *testing.T) {
	s, c := connect(t, this, this, options{}, options{})
	server, client := s.NetConn(background, MessageBinary), c.NetConn(background, MessageBinary)
	require.Equal(t, server.LocalAddr().String(), client.RemoteAddr().String())
	require.Equal(t, server.RemoteAddr().String(), client.LocalAddr().String())
}

func TestNetConnAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _, wc := streams(t)
		wc.CloseNow()
		require.Error(t, c.SetDeadline(time.Now()))
		_, err := c.Write(nil)
		require.Error(t, err)
	})
}

// TestNetConnEndRepeats reads nothing from a stream that is at its end.
func TestNetConnEndRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		n := NetConn(t.Context(), c, MessageText)
		go s.Close(StatusNormalClosure, "")
		read, err := n.Read(nil)
		require.NoError(t, err)
		require.Zero(t, read)
		_, err = n.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = n.Read(nil)
		require.Equal(t, io.EOF, err)
	})
}
