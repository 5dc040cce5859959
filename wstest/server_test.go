package wstest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
)

// echo is a handler that sends every message back.
var echo = websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
})

func TestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(t, echo)
		c := s.Dial("/", nil)
		require.NoError(t, c.WriteString(t.Context(), "hello"))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
		require.NoError(t, c.Close(websocket.CloseNormal, ""))
	})
}

func TestServerPassesThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan string, 1)
		s := NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.RequestURI
			echo.ServeHTTP(w, r)
		}))
		s.Dial("/room?name=x", nil)
		require.Equal(t, "/room?name=x", <-asked)
	})
}

func TestServerOfCodeThatDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(t, echo)
		c, _, err := websocket.Dial(t.Context(), "ws://anywhere.test/", &websocket.DialOptions{NetDial: s.NetDial})
		require.NoError(t, err)
		defer c.CloseNow()
		require.NoError(t, c.Close(websocket.CloseNormal, ""))
	})
}

func TestServerEndsWhatIsLeftOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handlers sync.WaitGroup
		handlers.Add(2)
		s := NewServer(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
			defer handlers.Done()
			_, _, err := c.Read(context.Background())
			return err
		}))
		s.RawPeer().Open("/", nil)
		_, _, err := websocket.Dial(t.Context(), "ws://anywhere.test/", &websocket.DialOptions{NetDial: s.NetDial})
		require.NoError(t, err)
		synctest.Wait()
		s.l.hangUp()
		handlers.Wait()
	})
}

func TestServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewServer(t, echo).RawPeer()
		p.Send([]byte("GET / HTTP/1.1\r\nHost: server.test\r\n\r\n"))
		require.Equal(t, http.StatusUpgradeRequired, p.ReadResponse().StatusCode)
	})
}

func TestServerThatEnded(t *testing.T) {
	s := NewServer(t, echo)
	s.l.Close()
	_, err := s.NetDial(t.Context(), "tcp", "")
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorContains(t, err, host)
	require.Contains(t, stops(t, func(t testing.TB) {
		s := &Server{t: t, l: s.l}
		s.RawPeer()
	}), "closed")
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen(t)
		go func() {
			c, _, err := websocket.Dial(t.Context(), l.URL, &websocket.DialOptions{NetDial: l.NetDial})
			if err == nil {
				c.Close(websocket.CloseGoingAway, "off")
			}
		}()
		p := l.Accept()
		require.Equal(t, host, p.Accept(nil).Host)
		require.Equal(t, "off", p.ExpectClose(websocket.CloseGoingAway))
		p.SendFrame(CloseFrame(websocket.CloseGoingAway, ""))
		p.CloseWrite()
		p.ExpectEOF()
	})
}

func TestListenerTCP(t *testing.T) {
	l := ListenTCP(t)
	nc, err := l.NetDial(t.Context(), "", "")
	require.NoError(t, err)
	client := RawClient(t, nc)
	p := l.Accept()
	opened := make(chan *http.Response, 1)
	go func() { opened <- client.Open("/", nil) }()
	require.Equal(t, host, p.Accept(nil).Host)
	require.Equal(t, http.StatusSwitchingProtocols, (<-opened).StatusCode)
	p.Window(1 << 10)
	p.Reset()
	_, err = client.NextFrame()
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestListenerThatEnded(t *testing.T) {
	require.Contains(t, stops(t, func(t testing.TB) {
		l := Listen(t)
		l.l.Close()
		l.Accept()
	}), "closed")
	l := listen()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.dial(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
