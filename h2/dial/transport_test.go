package dial_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/h2/dial"
	"github.com/stretchr/testify/require"
)

// TestEcho sends messages of all sizes of the header, with and without compression.
func TestEcho(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		for _, compression := range []*websocket.Compression{nil, {}} {
			s := start(t, echoing(&websocket.AcceptOptions{Config: websocket.Config{Compression: compression}}))
			c := s.open(t, &websocket.DialOptions{Config: websocket.Config{Compression: compression}})
			require.Equal(t, compression != nil, c.CompressionAgreed())
			for _, size := range []int{0, 1, 125, 126, 64 << 10, 1 << 20} {
				for _, kind := range []websocket.MessageType{websocket.Text, websocket.Binary} {
					exchange(t, c, kind, bytes.Repeat([]byte("abc"), size)[:size])
				}
			}
			require.NoError(t, c.Close(websocket.CloseNormal, ""))
		}
	})
}

// TestFragments sends a message of several frames.
func TestFragments(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		c := start(t, echoing(nil)).open(t, nil)
		ctx := within(t)
		w, err := c.Writer(ctx, websocket.Text)
		require.NoError(t, err)
		for range 5 {
			_, err = io.WriteString(w, strings.Repeat("fragment ", 1000))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		_, got, err := c.Read(ctx)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("fragment ", 5000), string(got))
	})
}

// TestResponse shows what a server answers, and keeps its cookies.
func TestResponse(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		accept := echoing(&websocket.AcceptOptions{
			Config: websocket.Config{Subprotocols: []string{"chat.v2", "chat.v1"}},
			Header: http.Header{"X-Room": {"7"}},
		})
		var cookies, paths []string
		s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cookies = append(cookies, r.Header.Get("Cookie"))
			paths = append(paths, r.Host+r.URL.String())
			http.SetCookie(w, &http.Cookie{Name: "seat", Value: "12"})
			accept.ServeHTTP(w, r)
		}))
		s.client.Jar, _ = cookiejar.New(nil)
		for range 2 {
			c, r, err := s.dial(t, "/room?id=%207&x=", &websocket.DialOptions{
				Config: websocket.Config{Subprotocols: []string{"chat.v1", "other"}},
			})
			require.NoError(t, err)
			require.Equal(t, "chat.v1", c.Subprotocol())
			require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
			require.Equal(t, "7", r.Header.Get("X-Room"))
			require.Equal(t, "seat=12", r.Header.Get("Set-Cookie"))
			require.Equal(t, s.Listener.Addr().String(), c.RemoteAddr().String())
			require.NoError(t, c.Close(websocket.CloseNormal, ""))
		}
		require.Equal(t, []string{"", "seat=12"}, cookies)
		want := s.Listener.Addr().String() + "/room?id=%207&x="
		require.Equal(t, []string{want, want}, paths)
	})
}

// TestRefusals returns the status and the body of servers that refuse.
func TestRefusals(t *testing.T) {
	stopped := new(websocket.Registry)
	require.NoError(t, stopped.Shutdown(context.Background(), websocket.CloseGoingAway, ""))
	mux := http.NewServeMux()
	mux.Handle("/members", websocket.Handler(nil, func(*http.Request) (func(*websocket.Conn) error, error) {
		return nil, &websocket.HandshakeError{Status: http.StatusForbidden, Reason: "members only"}
	}))
	mux.Handle("/stopped", echoing(&websocket.AcceptOptions{Registry: stopped}))
	mux.Handle("/origin", echoing(nil))
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "who are you?", http.StatusUnauthorized)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, strings.Repeat("long ", 1<<20))
		<-r.Context().Done()
	})
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		s := start(t, mux)
		for _, want := range []struct {
			path, origin string
			status       int
			body         string
		}{
			{path: "/members", status: http.StatusForbidden, body: "members only"},
			{path: "/nowhere", status: http.StatusNotFound, body: "404 page not found\n"},
			{path: "/stopped", status: http.StatusServiceUnavailable},
			{path: "/origin", origin: "https://elsewhere.example", status: http.StatusForbidden},
			{path: "/token", status: http.StatusUnauthorized, body: "who are you?\n"},
			{path: "/endless", status: http.StatusTeapot, body: "long long"},
		} {
			opts := new(websocket.DialOptions)
			if want.origin != "" {
				opts.Header = http.Header{"Origin": {want.origin}}
			}
			_, r, err := s.dial(t, want.path, opts)
			var refusal *websocket.HandshakeError
			require.ErrorAs(t, err, &refusal, want.path)
			require.Equal(t, want.status, refusal.Status, "%v", err)
			body, _ := io.ReadAll(r.Body)
			require.NotEmpty(t, body)
			require.Contains(t, string(body), want.body)
			if want.status == http.StatusUnauthorized {
				require.Equal(t, "Bearer", r.Header.Get("WWW-Authenticate"))
			}
		}
		require.Equal(t, 1, s.accepted.count())
		noneLeft(t)
	})
}

// TestRedirects follows one to another path, and not one that the client refuses.
func TestRedirects(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		mux := http.NewServeMux()
		mux.Handle("/old", http.RedirectHandler("/new", http.StatusTemporaryRedirect))
		mux.Handle("/new", echoing(nil))
		s := start(t, mux)
		c, r, err := s.dial(t, "/old", nil)
		require.NoError(t, err)
		require.Equal(t, "/new", r.Request.URL.Path)
		exchange(t, c, websocket.Text, []byte("moved"))
		require.NoError(t, c.Close(websocket.CloseNormal, ""))

		s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		_, _, err = s.dial(t, "/old", nil)
		var refusal *websocket.HandshakeError
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, http.StatusTemporaryRedirect, refusal.Status)
	})
}

// TestOtherRequests go over HTTP/2 as they are.
func TestOtherRequests(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Method, " ", r.Proto)
		}))
		r, err := s.client.Get(s.URL)
		require.NoError(t, err)
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "GET HTTP/2.0", string(body))
	})
}

// TestOnlyHTTP1 dials a server that agrees on HTTP/1.1.
func TestOnlyHTTP1(t *testing.T) {
	asked := atomic.Int32{}
	s := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }), (*httptest.Server).StartTLS)
	_, _, err := s.dial(t, "/", nil)
	require.IsType(t, new(websocket.HandshakeError), err)
	require.ErrorIs(t, err, dial.ErrNotOffered)
	require.ErrorContains(t, err, "dial it without this HTTPClient")
	require.Zero(t, asked.Load())
}

// TestOneConnection has 50 WebSockets on one connection, which all echo.
func TestOneConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		s := start(t, echoing(nil))
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				c, _, err := s.dial(t, "/", nil)
				if err == nil {
					err = roundTrips(within(t), c, fmt.Sprint(i))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.Equal(t, 1, s.accepted.count())
		noneLeft(t)
	})
}

// roundTrips exchanges messages on c and closes it.
func roundTrips(ctx context.Context, c *websocket.Conn, text string) error {
	for range 20 {
		if err := c.WriteString(ctx, text); err != nil {
			return err
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != text {
			return fmt.Errorf("got %q, %w", got, err)
		}
	}
	return c.Close(websocket.CloseNormal, "")
}

// TestManyStreams opens more WebSockets than one connection may have.
func TestManyStreams(t *testing.T) {
	s := withoutTLS(t, echoing(nil))
	for range 300 { // 250 is net/http's limit
		s.open(t, nil)
	}
	require.Equal(t, 2, s.accepted.count())
}

// TestClosingHandshake is begun by either side, and both see its code.
func TestClosingHandshake(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		t.Run("client", func(t *testing.T) {
			e := newEnding(1)
			c := start(t, e).open(t, nil)
			require.NoError(t, c.Close(4001, "enough"))
			end := e.next(t)
			require.Equal(t, websocket.CloseCode(4001), end.Code)
			require.Equal(t, "enough", end.Reason)
			require.True(t, end.Received && end.Sent)
			require.True(t, endOf(t, c).Received)
			noneLeft(t)
		})
		t.Run("server", func(t *testing.T) {
			s := start(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
				return &websocket.CloseError{Code: 4002, Reason: "closed here"}
			}))
			end := endOf(t, s.open(t, nil))
			require.Equal(t, websocket.CloseCode(4002), end.Code)
			require.Equal(t, "closed here", end.Reason)
			require.True(t, end.Received && end.Sent)
			noneLeft(t)
		})
	})
}

// TestViolation tells the server why the client fails the connection.
func TestViolation(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		ended := make(chan error, 1)
		s := start(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
			c.WriteString(c.Context(), "too long")
			_, _, err := c.Read(c.Context())
			ended <- err
			return err
		}))
		c := s.open(t, &websocket.DialOptions{Config: websocket.Config{MaxMessageSize: 3}})
		require.Equal(t, websocket.CloseMessageTooBig, endOf(t, c).Code)
		require.ErrorIs(t, <-ended, websocket.CloseMessageTooBig)
		noneLeft(t)
	})
}

// TestCloseNow lets the server see 1006, and its handler return, after what was
// written before.
func TestCloseNow(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		e := newEnding(1)
		s := start(t, e)
		for range 20 {
			c := s.open(t, nil)
			require.NoError(t, c.Write(within(t), websocket.Binary, make([]byte, 100<<10)))
			c.CloseNow()
			require.Equal(t, websocket.CloseAbnormal, e.next(t).Code)
		}
		require.Equal(t, 1, s.accepted.count())
		noneLeft(t)
	})
}

// TestCloseNowAfterWrite does not lose what was written.
func TestCloseNowAfterWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		got := make(chan string, 1)
		s := start(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
			_, p, err := c.Read(c.Context())
			got <- fmt.Sprint(len(p), err)
			return err
		}))
		for range 20 {
			c := s.open(t, nil)
			require.NoError(t, c.Write(within(t), websocket.Binary, make([]byte, 300<<10)))
			c.CloseNow()
			require.Equal(t, "307200 <nil>", <-got)
		}
	})
}

// TestConnectionLost ends all WebSockets on it with 1006.
func TestConnectionLost(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		e := newEnding(10)
		s := start(t, e)
		var conns []*websocket.Conn
		for range 10 {
			conns = append(conns, s.open(t, nil))
		}
		s.accepted.closeAll()
		for _, c := range conns {
			require.Equal(t, websocket.CloseAbnormal, endOf(t, c).Code)
			require.Error(t, c.WriteString(within(t), "too late"))
			require.Equal(t, websocket.CloseAbnormal, e.next(t).Code)
		}
		noneLeft(t)
		exchange(t, s.open(t, nil), websocket.Text, []byte("on another"))
	})
}

// TestReadInterrupted lets the connection live on after a deadline and the end of a
// context.
func TestReadInterrupted(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		c := start(t, echoing(nil)).open(t, nil)
		for range 3 {
			ctx, cancel := context.WithTimeout(within(t), 5*time.Millisecond)
			_, _, err := c.Read(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
			_, _, err = c.Read(within(t))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, c.SetReadDeadline(time.Time{}))
			exchange(t, c, websocket.Text, []byte("still here"))
		}
	})
}

// TestContextOfHandshake ends the handshake, but not the connection later.
func TestContextOfHandshake(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		e := newEnding(1)
		arrived, gone := make(chan struct{}), make(chan struct{})
		mux := http.NewServeMux()
		mux.Handle("/", e)
		mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
			close(gone)
		})
		s := start(t, mux)
		ctx, cancel := context.WithCancel(within(t))
		go func() {
			<-arrived
			cancel()
		}()
		_, _, err := websocket.Dial(ctx, s.URL+"/slow", &websocket.DialOptions{HTTPClient: s.client})
		require.ErrorIs(t, err, context.Canceled)
		<-gone

		ctx, cancel = context.WithCancel(within(t))
		c, _, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{HTTPClient: s.client})
		require.NoError(t, err)
		cancel()
		exchange(t, c, websocket.Text, []byte("lives on"))
		require.NoError(t, c.Close(websocket.CloseNormal, ""))
		require.Equal(t, websocket.CloseNormal, e.next(t).Code)
		require.Equal(t, 1, s.accepted.count())
		noneLeft(t)
	})
}

// TestPeerDoesNotRead ends writes after a deadline and after WriteTimeout, while
// another WebSocket on the connection goes on.
func TestPeerDoesNotRead(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		release, returned := make(chan struct{}), make(chan struct{}, 2)
		mux := http.NewServeMux()
		mux.Handle("/", echoing(nil))
		mux.Handle("/deaf", websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
			<-release
			_, _, err := c.Read(c.Context())
			returned <- struct{}{}
			return err
		}))
		s := start(t, mux)
		other := s.open(t, nil)
		for _, want := range []struct {
			cfg  websocket.Config
			time time.Duration
			err  error
		}{
			{cfg: websocket.Config{CloseTimeout: 50 * time.Millisecond}, time: 100 * time.Millisecond, err: context.DeadlineExceeded},
			{cfg: websocket.Config{WriteTimeout: 100 * time.Millisecond}, time: patience, err: websocket.CloseAbnormal},
		} {
			c, _, err := s.dial(t, "/deaf", &websocket.DialOptions{Config: want.cfg})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(within(t), want.time)
			for err = nil; err == nil; {
				err = c.Write(ctx, websocket.Binary, make([]byte, 64<<10))
			}
			cancel()
			require.ErrorIs(t, err, want.err)
			exchange(t, other, websocket.Text, []byte("not stuck"))
			c.CloseNow()
		}
		require.NoError(t, other.Close(websocket.CloseNormal, ""))
		noneLeft(t)
		require.Equal(t, 1, s.accepted.count())
		close(release)
		<-returned
		<-returned
	})
}

// TestNotReading holds back what the server sends, while another WebSocket on the
// connection goes on, and is closed nevertheless.
func TestNotReading(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		ended := make(chan error, 1)
		mux := http.NewServeMux()
		mux.Handle("/", echoing(nil))
		mux.Handle("/loud", websocket.HandlerFunc(nil, func(c *websocket.Conn) (err error) {
			for err == nil {
				err = c.Write(c.Context(), websocket.Binary, make([]byte, 64<<10))
			}
			ended <- err
			return err
		}))
		s := start(t, mux)
		loud, _, err := s.dial(t, "/loud", nil)
		require.NoError(t, err)
		_, _, err = loud.Read(within(t))
		require.NoError(t, err)
		quiet := s.open(t, nil)
		for range 100 {
			exchange(t, quiet, websocket.Binary, make([]byte, 64<<10))
		}
		loud.CloseNow()
		require.Error(t, <-ended)
		exchange(t, quiet, websocket.Binary, make([]byte, 1<<20))
		require.NoError(t, quiet.Close(websocket.CloseNormal, ""))
		noneLeft(t)
	})
}

// TestAsNetConn copies a stream of bytes both ways.
func TestAsNetConn(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		s := start(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
			nc := websocket.AsNetConn(c, websocket.Binary)
			_, err := io.Copy(nc, nc)
			return err
		}))
		nc := websocket.AsNetConn(s.open(t, nil), websocket.Binary)
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(patience)))
		want := bytes.Repeat([]byte("stream of bytes "), 1<<16)
		go nc.Write(want)
		got := make([]byte, len(want))
		_, err = io.ReadFull(nc, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		require.NoError(t, nc.Close())
		noneLeft(t)
	})
}

// TestRedial goes on over a new connection when the first is lost.
func TestRedial(t *testing.T) {
	s := overTLS(t, echoing(nil))
	served := 0
	for c, err := range websocket.Redial(within(t), s.URL, &websocket.DialOptions{HTTPClient: s.client}, websocket.Backoff{Min: time.Millisecond}) {
		if err != nil {
			continue
		}
		exchange(t, c, websocket.Text, []byte("hello"))
		if served++; served == 3 {
			require.NoError(t, c.Close(websocket.CloseNormal, ""))
			break
		}
		s.accepted.closeAll()
		require.Equal(t, websocket.CloseAbnormal, endOf(t, c).Code)
	}
	require.Equal(t, 3, served)
	require.Equal(t, 3, s.accepted.count())
	noneLeft(t)
}

// TestKeepalive has both sides send Pings, and answer them.
func TestKeepalive(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		answered := make(chan struct{}, 1000)
		cfg := websocket.Config{PingInterval: 5 * time.Millisecond, OnPong: func(*websocket.Conn, []byte) { answered <- struct{}{} }}
		s := start(t, echoing(&websocket.AcceptOptions{Config: cfg}))
		c := s.open(t, &websocket.DialOptions{Config: cfg})
		ctx := c.CloseRead(within(t))
		for range 6 {
			select {
			case <-answered:
			case <-ctx.Done():
				require.FailNow(t, "no Pong", "%v", context.Cause(ctx))
			}
		}
		_, err := c.Ping(within(t))
		require.NoError(t, err)
		require.NoError(t, c.Close(websocket.CloseNormal, ""))
		noneLeft(t)
	})
}

// TestNothingStays opens and closes a thousand WebSockets, in turns with a closing
// handshake and without.
func TestNothingStays(t *testing.T) {
	e := newEnding(1001)
	s := withoutTLS(t, e)
	s.open(t, nil).Close(websocket.CloseNormal, "")
	<-e.returned
	noneLeft(t)
	before := runtime.NumGoroutine()
	for i := range 1000 {
		c := s.open(t, nil)
		if i%2 == 0 {
			exchange(t, c, websocket.Text, []byte("hello"))
			require.NoError(t, c.Close(websocket.CloseNormal, ""))
		} else {
			c.CloseNow()
		}
		<-e.returned
	}
	require.Equal(t, 1, s.accepted.count())
	noneLeft(t)
	others := 20 // of the test and of other tests
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+others }, patience, time.Millisecond)
}

// TestNetDial is called for both schemes, and its error is that of Dial.
func TestNetDial(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(testing.TB, http.Handler) *testServer) {
		s := start(t, echoing(nil))
		dialed := ""
		s.transport.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed = network + " " + addr
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		exchange(t, s.open(t, nil), websocket.Text, []byte("hello"))
		require.Equal(t, "tcp "+s.Listener.Addr().String(), dialed)

		failure := errors.New("no route")
		failing := &dial.Transport{NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, failure }}
		_, _, err := s.dial(t, "/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: failing}})
		require.ErrorIs(t, err, failure)
	})
}
