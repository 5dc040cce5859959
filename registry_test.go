package websocket

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// dial opens a connection to srv, which the test ends.
func dial(t *testing.T, srv *httptest.Server) *Conn {
	t.Helper()
	c, _, err := Dial(t.Context(), srv.URL, nil)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// dialed is dial for when the server must know of the connection: it does once
// it has answered.
func dialed(t *testing.T, srv *httptest.Server) *Conn {
	t.Helper()
	c := dial(t, srv)
	require.NoError(t, c.WriteString(t.Context(), "hello"))
	_, _, err := c.Read(t.Context())
	require.NoError(t, err)
	return c
}

// readToEnd returns why c ended.
func readToEnd(c *Conn) error {
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return err
		}
	}
}

// registeredServer serves echoing handlers with the registry.
func registeredServer(t *testing.T, r *Registry) *httptest.Server {
	srv := httptest.NewUnstartedServer(HandlerFunc(&AcceptOptions{Registry: r}, echo))
	r.Attach(srv.Config)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

func TestServerShutdownClosesItsConnections(t *testing.T) {
	covers(t, "Q.A20", "R11")
	var r Registry
	one, other := registeredServer(t, &r), registeredServer(t, &r)
	a, b, c := dialed(t, one), dialed(t, one), dialed(t, other)
	require.Equal(t, 3, r.Len())
	require.NoError(t, one.Config.Shutdown(t.Context()))
	require.ErrorIs(t, readToEnd(a), CloseGoingAway)
	require.ErrorIs(t, readToEnd(b), CloseGoingAway)

	require.NoError(t, c.WriteString(t.Context(), "still here"))
	_, p, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "still here", string(p))

	ended := make(chan error)
	go func() { ended <- readToEnd(c) }()
	require.NoError(t, r.Shutdown(t.Context(), 4000, "maintenance"))
	require.ErrorIs(t, <-ended, CloseCode(4000))
	require.Zero(t, r.Len())
	require.Empty(t, slices.Collect(r.Conns()))
	require.NoError(t, r.Shutdown(t.Context(), 4000, "again"))
	require.NoError(t, other.Config.Shutdown(t.Context()))
}

func TestNewcomersGet503(t *testing.T) {
	covers(t, "Q.A20")
	var r Registry
	srv := registeredServer(t, &r)
	require.NoError(t, r.Shutdown(t.Context(), CloseGoingAway, ""))
	_, resp, err := Dial(t.Context(), srv.URL, nil)
	var refusal *HandshakeError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)

	nc, ns := tcpPair(t)
	go DialConn(t.Context(), nc, "ws://test/", nil)
	_, _, err = AcceptConn(t.Context(), ns, &AcceptOptions{Registry: &r})
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, http.StatusServiceUnavailable, refusal.Status)
	require.Zero(t, r.busy)
}

func TestNewcomersOfAStoppedServerGet503(t *testing.T) {
	covers(t, "Q.A20")
	var r Registry
	var stopped http.Server
	r.stop(&stopped, &CloseError{Code: CloseGoingAway})
	r.stop(&stopped, &CloseError{Code: CloseServiceRestart})
	req := httptest.NewRequest("GET", "/", nil)
	req = req.WithContext(context.WithValue(req.Context(), http.ServerContextKey, &stopped))
	_, err := r.admit(serverOf(req))
	require.ErrorContains(t, err, "503")
	p, err := r.admit(nil)
	require.NoError(t, err)
	p.fill(nil)
	require.Zero(t, r.busy)
}

// TestShutdownDuringHandshake stops while handshakes have their place.
func TestShutdownDuringHandshake(t *testing.T) {
	covers(t, "Q.A20")
	for _, stop := range []struct {
		code CloseCode
		do   func(r *Registry, srv *http.Server) <-chan struct{}
	}{
		{CloseGoingAway, func(r *Registry, srv *http.Server) <-chan struct{} {
			r.stop(srv, &CloseError{Code: CloseGoingAway})
			return nil
		}},
		{4000, func(r *Registry, _ *http.Server) <-chan struct{} { return r.stopAll(&CloseError{Code: 4000}) }},
	} {
		var r Registry
		var srv http.Server
		first, err := r.admit(&srv)
		require.NoError(t, err)
		second, err := r.admit(&srv)
		require.NoError(t, err)
		quiet := stop.do(&r, &srv)
		c, s := connPair(t, nil)
		first.fill(s)
		require.ErrorIs(t, readToEnd(c), stop.code)
		<-s.goneChan()
		second.fill(s) // which has ended
		if quiet != nil {
			<-quiet
		}
		require.Zero(t, r.busy)
	}
}

func TestShutdownWaitsForHandlers(t *testing.T) {
	covers(t, "Q.A20")
	var r Registry
	leave := make(chan struct{})
	srv := httptest.NewServer(HandlerFunc(&AcceptOptions{Registry: &r}, func(c *Conn) error {
		defer func() { <-leave }()
		return echo(c)
	}))
	defer srv.Close()
	c := dial(t, srv)
	go readToEnd(c)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- r.Shutdown(ctx, CloseGoingAway, "") }()
	<-c.Context().Done()
	cancel(nil)
	require.ErrorIs(t, <-done, context.Canceled)
	close(leave)
	require.NoError(t, r.Shutdown(t.Context(), CloseGoingAway, ""))
}

func TestShutdownDropsWhoDoesNotAnswer(t *testing.T) {
	covers(t, "Q.A20", "X22")
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		for range 10 {
			p, err := r.admit(nil)
			require.NoError(t, err)
			s, _ := memoryConn(server, &Config{CloseTimeout: time.Hour})
			p.fill(s)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Shutdown(ctx, CloseGoingAway, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "10 connections dropped")
		require.Equal(t, time.Second, time.Since(began))
		require.Zero(t, r.Len())
	})
}

// TestShutdownIsStaggered measures the time between the first and the last
// connection that is closed.
func TestShutdownIsStaggered(t *testing.T) {
	covers(t, "Q.A20")
	for _, test := range []struct {
		conns int
		limit time.Duration
		want  time.Duration
	}{
		{10, 0, 10 * time.Millisecond},
		{10, 22 * time.Millisecond, 10 * time.Millisecond},
		{10, 11 * time.Millisecond, 5 * time.Millisecond},
		{9999, 0, 5 * time.Second * 9999 / 10000},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if test.limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.limit)
				defer cancel()
			}
			var r Registry
			ended := &CloseError{Code: CloseNormal}
			for range test.conns {
				c := new(Conn)
				c.cfg = new(Config)
				c.terminate(ended, true)
				c.gone = true
				r.left = append(r.left, farewell{c, ended})
			}
			began := time.Now()
			r.closeLeft(ctx)
			require.Equal(t, test.want, time.Since(began))
		})
	}
}

func TestShutdownRefusesBadCodes(t *testing.T) {
	covers(t, "R02")
	var r Registry
	require.Error(t, r.Shutdown(t.Context(), CloseAbnormal, ""))
	_, err := r.admit(nil)
	require.NoError(t, err)
}

// TestRegistryForgets lets connections end in every way.
func TestRegistryForgets(t *testing.T) {
	covers(t, "Q.I01")
	var r Registry
	srv := registeredServer(t, &r)
	for i := range 30 {
		c := dial(t, srv)
		switch i % 3 {
		case 0:
			require.NoError(t, c.Close(CloseNormal, ""))
		case 1:
			c.CloseNow()
		case 2:
			c.NetConn().(*net.TCPConn).SetLinger(0)
			c.NetConn().Close()
		}
	}
	require.NoError(t, r.Shutdown(t.Context(), CloseGoingAway, ""))
	require.Empty(t, r.conns)
	require.Empty(t, r.left)
	require.Zero(t, r.busy)
}

func TestRegistryLoopMayEndEarly(t *testing.T) {
	var r Registry
	srv := registeredServer(t, &r)
	dialed(t, srv)
	dialed(t, srv)
	n := 0
	for c := range r.Conns() {
		require.True(t, strings.HasPrefix(c.RemoteAddr().String(), "127.0.0.1:"))
		n++
		break
	}
	require.Equal(t, 1, n)
}
