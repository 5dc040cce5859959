package websocket_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// echo echoes messages with the original.
func echo(w http.ResponseWriter, r *http.Request) {
	up := gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(w, r, http.Header{"Set-Cookie": {"session=1"}})
	if err != nil {
		return
	}
	defer c.Close()
	for {
		messageType, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		c.WriteMessage(messageType, p)
	}
}

// requireEcho proves that c is connected to echo, and closes it.
func requireEcho(t *testing.T, c *websocket.Conn, err error) {
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("hi")))
	_, p, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "hi", string(p))
}

// TestDialHeader proves that the fields of the request and of the response are
// where the original has them.
func TestDialHeader(t *testing.T) {
	requests := make(chan *http.Request, 1)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Clone(context.Background())
		echo(w, r)
	})
	jar, _ := cookiejar.New(nil)
	d := websocket.Dialer{Jar: jar}
	h := http.Header{"Origin": {"http://o.example"}, "Cookie": {"x=y"}, "X-Mine": {"1", "2"}, "Host": {"host.example"}, "Sec-Websocket-Protocol": {"a, b"}}
	before := h.Clone()
	c, response, err := d.Dial(u, h)
	requireEcho(t, c, err)
	require.Equal(t, before, h)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	require.Equal(t, []string{"session=1"}, response.Header["Set-Cookie"])
	r := receive(t, requests)
	require.Equal(t, "host.example", r.Host)
	require.Equal(t, []string{"1", "2"}, r.Header["X-Mine"])
	require.Equal(t, "http://o.example", r.Header.Get("Origin"))
	require.Equal(t, "x=y", r.Header.Get("Cookie"))
	require.Equal(t, []string{"a", "b"}, websocket.Subprotocols(r))
	c, _, err = d.Dial(u, nil)
	requireEcho(t, c, err)
	require.Equal(t, "session=1", receive(t, requests).Header.Get("Cookie"))
}

// TestDialRefused proves that the answer of a server that refuses comes with
// ErrBadHandshake.
func TestDialRefused(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic")
		http.Error(w, "who are you?", http.StatusUnauthorized)
	})
	c, response, err := websocket.DefaultDialer.Dial(u, nil)
	require.Nil(t, c)
	require.True(t, err == websocket.ErrBadHandshake)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Equal(t, "Basic", response.Header.Get("WWW-Authenticate"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, "who are you?\n", string(body))
}

// TestDialArguments proves that bad arguments are errors before anything is
// dialed.
func TestDialArguments(t *testing.T) {
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { panic("dialed") }, Subprotocols: []string{"a"}}
	for _, u := range []string{"http://example.com/", "//example.com/", "ws+unix:///x", "ws://user:secret@example.com/", "://", ""} {
		_, response, err := d.Dial(u, nil)
		require.Error(t, err, u)
		require.Nil(t, response)
	}
	for _, name := range []string{"Sec-Websocket-Protocol", "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions"} {
		_, _, err := d.Dial("ws://example.com/", http.Header{name: {"x"}})
		require.Error(t, err, name)
	}
}

// TestDialFunctions proves which function of a Dialer connects.
func TestDialFunctions(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer srv.Close()
	plain := serve(t, echo)
	var used string
	var netDialer net.Dialer
	dial := func(name string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			used = name
			return netDialer.DialContext(ctx, network, addr)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	config := &tls.Config{RootCAs: roots}
	d := websocket.Dialer{TLSClientConfig: config}
	require := func(u, want string) {
		t.Helper()
		used = ""
		c, _, err := d.Dial(u, nil)
		requireEcho(t, c, err)
		if used != want {
			t.Errorf("%q connected, not %q", used, want)
		}
	}
	secure := "wss" + strings.TrimPrefix(srv.URL, "https")
	require(plain, "")
	require(secure, "")
	d.NetDial = func(network, addr string) (net.Conn, error) { return dial("NetDial")(background, network, addr) }
	require(plain, "NetDial")
	require(secure, "NetDial")
	d.NetDialContext = dial("NetDialContext")
	require(plain, "NetDialContext")
	require(secure, "NetDialContext")
	d.TLSClientConfig = nil
	d.NetDialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		used = "NetDialTLSContext"
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
	}
	require(plain, "NetDialContext")
	require(secure, "NetDialTLSContext")
}

// background is a context that does not end.
var background = context.Background()

// TestDialErrors proves that errors of the network and of the context are found
// in what Dial returns.
func TestDialErrors(t *testing.T) {
	broken := errors.New("broken")
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return nil, broken }}
	_, response, err := d.Dial("ws://example.com/", nil)
	require.ErrorIs(t, err, broken)
	require.Nil(t, response)

	d = websocket.Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, broken }}
	_, _, err = d.Dial("ws://example.com/", nil)
	require.ErrorIs(t, err, broken)

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	u := "ws://" + silent.Addr().String()
	ctx, cancel := context.WithCancel(background)
	cancel()
	d = websocket.Dialer{}
	_, _, err = d.DialContext(ctx, u, nil)
	require.ErrorIs(t, err, context.Canceled)

	d.HandshakeTimeout = 10 * time.Millisecond
	_, _, err = d.Dial(u, nil)
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), err)
}

// TestDialContextBoundsTheHandshake proves that a connection outlives the
// context.
func TestDialContextBoundsTheHandshake(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	c, _, err := websocket.DefaultDialer.DialContext(ctx, serve(t, echo), nil)
	cancel()
	requireEcho(t, c, err)
}

// TestDialTimeoutThatHasPassed dials with a negative HandshakeTimeout.
func TestDialTimeoutThatHasPassed(t *testing.T) {
	d := websocket.Dialer{HandshakeTimeout: -1}
	_, _, err := d.Dial("ws://localhost:1/", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestDialProxy proves that the proxy is used that a function returns, and none
// without a function, whatever the environment says.
func TestDialProxy(t *testing.T) {
	u := serve(t, echo)
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		nc, err := net.Dial("tcp", r.Host)
		if err != nil {
			return
		}
		defer nc.Close()
		client, _, _ := w.(http.Hijacker).Hijack()
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(nc, client)
		io.Copy(client, nc)
	}))
	defer proxy.Close()
	proxyURL, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	d := websocket.Dialer{Proxy: func(r *http.Request) (*url.URL, error) {
		require.Equal(t, "http", r.URL.Scheme)
		return proxyURL, nil
	}}
	c, _, err := d.Dial(u, nil)
	requireEcho(t, c, err)
	require.Equal(t, "CONNECT "+strings.TrimPrefix(u, "ws://"), receive(t, asked))
	t.Setenv("HTTP_PROXY", proxy.URL)
	d = websocket.Dialer{}
	c, _, err = d.Dial(u, nil)
	requireEcho(t, c, err)
	require.Empty(t, asked)
}

// TestNilDialer proves that a nil *Dialer dials as DefaultDialer.
func TestNilDialer(t *testing.T) {
	var d *websocket.Dialer
	c, _, err := d.Dial(serve(t, echo), nil)
	requireEcho(t, c, err)
}

func TestNewClient(t *testing.T) {
	u, err := url.Parse(serve(t, echo))
	require.NoError(t, err)
	nc, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	c, response, err := websocket.NewClient(nc, u, http.Header{"Origin": {"http://o.example"}}, 1024, 1024)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	requireEcho(t, c, err)

	a, b := net.Pipe()
	defer b.Close()
	_, _, err = websocket.NewClient(a, &url.URL{Scheme: "http"}, nil, 0, 0)
	require.Error(t, err)
	_, err = a.Write(nil)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// TestBufferSizes proves that all sizes are accepted.
func TestBufferSizes(t *testing.T) {
	u := serve(t, echo)
	for _, n := range []int{-1, 0, 1, 300, 64 << 10, 1 << 30} {
		d := websocket.Dialer{ReadBufferSize: n, WriteBufferSize: n}
		c, _, err := d.Dial(u, nil)
		requireEcho(t, c, err)
	}
}
