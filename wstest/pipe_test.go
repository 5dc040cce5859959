package wstest

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
)

// A recorder is a testing.TB that keeps what stops it.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	var text strings.Builder
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			text.WriteString(err.Error())
		}
	}
	r.fatal = format + " " + text.String()
	runtime.Goexit()
}

// stops runs f with a testing.TB and returns the message that f stops it with,
// as f must.
func stops(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	require.NotEmpty(t, r.fatal, "was not stopped")
	return r.fatal
}

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := Pipe(t,
			&websocket.AcceptOptions{Config: websocket.Config{Subprotocols: []string{"b"}}},
			&websocket.DialOptions{Config: websocket.Config{Subprotocols: []string{"a", "b"}}})
		require.Equal(t, "b", s.Subprotocol())
		require.Equal(t, "b", c.Subprotocol())
		require.NoError(t, c.WriteString(t.Context(), "hello"))
		typ, p, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, websocket.Text, typ)
		require.Equal(t, "hello", string(p))
	})
}

func TestPipeLetsTimePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := Pipe(t, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		go c.Read(ctx)
		began := time.Now()
		_, _, err := s.Read(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 24*time.Hour, time.Since(began))
		require.NoError(t, s.Context().Err(), "keepalive ended a living connection")
	})
}

func TestPipeEndsWithItsTest(t *testing.T) {
	var s, c *websocket.Conn
	t.Run("", func(t *testing.T) { s, c = Pipe(t, nil, nil) })
	require.ErrorIs(t, context.Cause(s.Context()), net.ErrClosed)
	require.ErrorIs(t, context.Cause(c.Context()), net.ErrClosed)
}

func TestPipeStopsTheTest(t *testing.T) {
	refuse := func(t testing.TB) {
		Pipe(t, &websocket.AcceptOptions{Origin: websocket.AllowOrigins("https://a.test")},
			&websocket.DialOptions{Header: map[string][]string{"Origin": {"https://b.test"}}})
	}
	require.Contains(t, stops(t, refuse), "403")
	require.Contains(t, stops(t, func(t testing.TB) {
		opening{err: errors.New("late")}.conn(t)
	}), "late")
}

func TestServerConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := ServerConn(t, &websocket.AcceptOptions{Config: websocket.Config{Subprotocols: []string{"chat"}}})
		require.Equal(t, "chat", s.Subprotocol())
		p.SendFrame(TextFrame("hello"))
		_, got, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.NoError(t, s.WriteString(t.Context(), "hi"))
		p.Expect(TextFrame("hi"))
	})
}

func TestClientConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := ClientConn(t, nil)
		p.SendFrame(TextFrame("hello"))
		_, got, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.NoError(t, c.WriteString(t.Context(), "hi"))
		p.Expect(TextFrame("hi"))
	})
}
