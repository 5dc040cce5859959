package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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
	r.stopServer(&stopped, &CloseError{Code: CloseGoingAway})
	r.stopServer(&stopped, &CloseError{Code: CloseServiceRestart})
	req := httptest.NewRequest("GET", "/", nil)
	req = req.WithContext(context.WithValue(req.Context(), http.ServerContextKey, &stopped))
	_, err := r.reserve(serverOf(req))
	require.ErrorContains(t, err, "503")
	p, err := r.reserve(nil)
	require.NoError(t, err)
	p.commit(nil)
	require.Zero(t, r.busy)
}

// TestShutdownDuringHandshake stops while handshakes have reservations.
func TestShutdownDuringHandshake(t *testing.T) {
	covers(t, "Q.A20")
	for _, stop := range []struct {
		code CloseCode
		do   func(r *Registry, srv *http.Server) <-chan struct{}
	}{
		{CloseGoingAway, func(r *Registry, srv *http.Server) <-chan struct{} {
			r.stopServer(srv, &CloseError{Code: CloseGoingAway})
			return nil
		}},
		{4000, func(r *Registry, _ *http.Server) <-chan struct{} { return r.stopAll(&CloseError{Code: 4000}) }},
	} {
		var r Registry
		var srv http.Server
		first, err := r.reserve(&srv)
		require.NoError(t, err)
		second, err := r.reserve(&srv)
		require.NoError(t, err)
		quiet := stop.do(&r, &srv)
		c, s := connPair(t, nil)
		first.commit(s)
		require.ErrorIs(t, readToEnd(c), stop.code)
		<-s.transportClosedChan()
		second.commit(s) // which has ended
		if quiet != nil {
			<-quiet
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, r.Shutdown(ctx, CloseGoingAway, ""), "a reservation was not released")
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

// farewells lets n clients connect to srv, and returns the function that waits
// for their ends and returns how often each occurred.
func farewells(t *testing.T, srv *httptest.Server, n int) func() map[string]int {
	t.Helper()
	ends := make(chan string, n)
	for range n {
		c := dialed(t, srv)
		go func() {
			var end *CloseError
			errors.As(readToEnd(c), &end)
			ends <- fmt.Sprintf("%d %s", end.Code, end.Reason)
		}()
	}
	return func() map[string]int {
		seen := make(map[string]int)
		for range n {
			seen[<-ends]++
		}
		return seen
	}
}

// TestOneVerdictForAServer stops an attached server, and the Registry with
// another code, in every order: all clients are told the same.
func TestOneVerdictForAServer(t *testing.T) {
	covers(t, "V20")
	const clients = 100
	deploy := func(r *Registry) error { return r.Shutdown(t.Context(), CloseServiceRestart, "deploy") }
	for _, c := range []struct {
		name string
		stop func(r *Registry, srv *http.Server) error
		want []string // the ends of which all have one
	}{
		{"server, then Registry", func(r *Registry, srv *http.Server) error {
			return errors.Join(srv.Shutdown(t.Context()), deploy(r))
		}, []string{"1001 ", "1012 deploy"}},
		{"server has begun", func(r *Registry, srv *http.Server) error {
			r.stopServer(srv, &CloseError{Code: CloseGoingAway})
			return errors.Join(deploy(r), srv.Shutdown(t.Context()))
		}, []string{"1001 "}},
		{"Registry, then server", func(r *Registry, srv *http.Server) error {
			return errors.Join(deploy(r), srv.Shutdown(t.Context()))
		}, []string{"1012 deploy"}},
		{"Registry, while it is at it", func(r *Registry, srv *http.Server) error {
			quiet := r.stopAll(&CloseError{Code: CloseServiceRestart, Reason: "deploy"})
			err := errors.Join(srv.Shutdown(t.Context()), r.Shutdown(t.Context(), CloseTryAgainLater, "no"))
			<-quiet
			return err
		}, []string{"1012 deploy"}},
		{"at once", func(r *Registry, srv *http.Server) error {
			done := make(chan error)
			go func() { done <- srv.Shutdown(t.Context()) }()
			return errors.Join(deploy(r), <-done)
		}, []string{"1001 ", "1012 deploy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Registry
			srv := registeredServer(t, &r)
			ends := farewells(t, srv, clients)
			require.NoError(t, c.stop(&r, srv.Config))
			require.Zero(t, r.Len())
			seen := ends()
			require.Len(t, seen, 1, "%v", seen)
			for end := range seen {
				require.Contains(t, c.want, end)
			}
		})
	}
}

// TestOtherServersHaveTheirVerdict has two servers in a Registry, of which one
// is stopped before: the other's connections are told of what comes later.
func TestOtherServersHaveTheirVerdict(t *testing.T) {
	covers(t, "V20")
	var r Registry
	one, other := registeredServer(t, &r), registeredServer(t, &r)
	onesEnds, othersEnds := farewells(t, one, 20), farewells(t, other, 20)
	r.stopServer(one.Config, &CloseError{Code: CloseGoingAway})
	require.NoError(t, r.Shutdown(t.Context(), CloseServiceRestart, "deploy"))
	require.Equal(t, map[string]int{"1001 ": 20}, onesEnds())
	require.Equal(t, map[string]int{"1012 deploy": 20}, othersEnds())
}

// TestShutdownWaitsForHandlerThatHasNotBegun ends a connection after its
// handshake and before its function runs.
func TestShutdownWaitsForHandlerThatHasNotBegun(t *testing.T) {
	covers(t, "V20")
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		opened, goOn := make(chan bool), make(chan bool)
		hook := func(*Conn, HandshakeTrace) {
			for c := range r.Conns() {
				c.CloseNow()
			}
			close(opened)
			<-goOn
		}
		begun := false
		h := HandlerFunc(&AcceptOptions{Registry: &r, Config: Config{Trace: &Trace{Handshake: hook}}}, func(*Conn) error {
			begun = true
			return nil
		})
		near, far := net.Pipe()
		defer near.Close()
		go (&http.Server{Handler: h}).Serve(&oneListener{nc: far})
		go io.WriteString(near, request())
		go io.Copy(io.Discard, near)
		<-opened
		synctest.Wait()
		require.Zero(t, r.Len())
		done := make(chan error, 1)
		go func() { done <- r.Shutdown(t.Context(), CloseGoingAway, "") }()
		synctest.Wait()
		require.Empty(t, done, "Shutdown has returned")
		close(goOn)
		require.NoError(t, <-done)
		require.True(t, begun)
	})
}

// TestShutdownWaitsForHandshake shuts down while a response has not left, or
// the application has not yet said whether there will be one. The connection is
// closed as all are, and waited for.
func TestShutdownWaitsForHandshake(t *testing.T) {
	covers(t, "V20")
	serve := func(nc net.Conn, h http.Handler) { (&http.Server{Handler: h}).Serve(&oneListener{nc: nc}) }
	for name, accept := range map[string]func(t *testing.T, nc net.Conn, opts *AcceptOptions, goOn <-chan bool){
		"Accept": func(t *testing.T, nc net.Conn, opts *AcceptOptions, _ <-chan bool) {
			serve(nc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := Accept(w, r, opts)
				require.NoError(t, err)
				readToEnd(c)
			}))
		},
		"AcceptConn": func(t *testing.T, nc net.Conn, opts *AcceptOptions, _ <-chan bool) {
			c, _, err := AcceptConn(t.Context(), nc, opts)
			require.NoError(t, err)
			readToEnd(c)
		},
		"Handler": func(_ *testing.T, nc net.Conn, opts *AcceptOptions, _ <-chan bool) {
			serve(nc, HandlerFunc(opts, readToEnd))
		},
		"Handler, being asked": func(_ *testing.T, nc net.Conn, opts *AcceptOptions, goOn <-chan bool) {
			serve(nc, Handler(opts, func(*http.Request) (func(c *Conn) error, error) {
				<-goOn
				return readToEnd, nil
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r Registry
				near, far := net.Pipe()
				defer near.Close()
				goOn := make(chan bool)
				go accept(t, far, &AcceptOptions{Registry: &r}, goOn)
				go io.WriteString(near, request())
				synctest.Wait()
				done := make(chan error, 1)
				go func() { done <- r.Shutdown(t.Context(), CloseServiceRestart, "deploy") }()
				synctest.Wait()
				require.Empty(t, done, "Shutdown has returned")
				close(goOn)
				br := bufio.NewReader(near)
				response, err := http.ReadResponse(br, nil)
				require.NoError(t, err)
				require.Equal(t, 101, response.StatusCode)
				frame := make([]byte, 10)
				_, err = io.ReadFull(br, frame)
				require.NoError(t, err)
				require.Equal(t, "\x88\x08\x03\xf4deploy", string(frame))
				synctest.Wait()
				require.Empty(t, done, "Shutdown has returned")
				io.WriteString(near, "\x88\x82\x00\x00\x00\x00\x03\xf4")
				go io.Copy(io.Discard, br)
				near.Close()
				require.NoError(t, <-done)
			})
		})
	}
}

func TestShutdownDropsWhoDoesNotAnswer(t *testing.T) {
	covers(t, "Q.A20", "X22")
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		for range 10 {
			p, err := r.reserve(nil)
			require.NoError(t, err)
			s, _ := memoryConn(server, &Config{CloseTimeout: time.Hour})
			p.commit(s)
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
		{0, 0, 0},
		{1, 0, 0},
		{10, 0, 9 * time.Millisecond},
		{10, 22 * time.Millisecond, 9 * time.Millisecond},
		{10, 11 * time.Millisecond, 4500 * time.Microsecond},
		{9999, 0, 5 * time.Second * 9998 / 10000},
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
				c.nc.Store(new(socket))
				c.cfg = new(Config)
				c.terminate(ended, dropUnsent)
				c.life.transportClosed = true
				r.pending = append(r.pending, pendingClose{c, ended})
			}
			began := time.Now()
			r.closePending(ctx)
			require.Equal(t, test.want, time.Since(began))
		})
	}
}

func TestShutdownRefusesBadCodes(t *testing.T) {
	covers(t, "R02")
	var r Registry
	require.Error(t, r.Shutdown(t.Context(), CloseAbnormal, ""))
	_, err := r.reserve(nil)
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
	require.Empty(t, r.pending)
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
