package servers

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/fullduplex-go/websocket"
)

// The code of docs/servers.md.

// news is what serves each connection of the server below.
func news(c *websocket.Conn) error { return echoMessages(c) }

// fasthttpServer leaves connections to those that have taken them.
var fasthttpServer = &fasthttp.Server{Handler: serveNews, KeepHijackedConns: true}

// sameOrigin is the policy for pages.
var sameOrigin = websocket.SameOrigin()

// serveNews answers an opening handshake.
func serveNews(ctx *fasthttp.RequestCtx) {
	var r http.Request
	if err := fasthttpadaptor.ConvertRequest(ctx, &r, true); err != nil {
		ctx.Error("bad request", fasthttp.StatusBadRequest)
		return
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	switch {
	case !websocket.IsUpgrade(&r) || !ctx.IsGet() || key == "" || r.Header.Get("Sec-WebSocket-Version") != "13":
		ctx.Error("this is a WebSocket endpoint", fasthttp.StatusBadRequest)
		return
	case sameOrigin(&r) != nil:
		ctx.Error("origin is not allowed", fasthttp.StatusForbidden)
		return
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	ctx.Response.Header.Set("Upgrade", "websocket")
	ctx.Response.Header.Set("Connection", "Upgrade")
	ctx.Response.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	ctx.Hijack(func(hijacked net.Conn) {
		nc, early := socketOf(hijacked)
		c, err := websocket.NewConn(nc, &websocket.ConnOptions{Buffered: early})
		if err != nil {
			return
		}
		defer c.CloseNow()
		news(c)
	})
}

// socketOf returns the socket below a connection that fasthttp has handed over,
// and what fasthttp has read from it: with a deadline in the past, nothing else
// is returned. NewConn removes the deadline.
func socketOf(hijacked net.Conn) (nc net.Conn, early []byte) {
	below, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return hijacked, nil
	}
	hijacked.SetReadDeadline(time.Unix(1, 0))
	early, _ = io.ReadAll(hijacked)
	return below.UnsafeConn(), early
}

// startFasthttp starts a server and returns its address.
func startFasthttp(t *testing.T, s *fasthttp.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return l.Addr().String()
}

// mustEcho exchanges messages with an echo, and closes.
func mustEcho(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/", nil)
	require.NoError(t, err)
	defer c.CloseNow()
	for _, text := range []string{"one", "two"} {
		require.NoError(t, c.WriteString(ctx, text))
		_, p, err := c.Read(ctx)
		require.NoError(t, err)
		require.Equal(t, text, string(p))
	}
	require.NoError(t, c.Close(websocket.CloseNormal, ""))
}

// TestFasthttp talks to the server of the guide, and sends requests that it
// refuses.
func TestFasthttp(t *testing.T) {
	addr := startFasthttp(t, fasthttpServer)
	mustEcho(t, addr)
	_, response, err := websocket.Dial(t.Context(), "ws://"+addr, &websocket.DialOptions{Header: http.Header{"Origin": {"http://evil.example"}}})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, response.StatusCode)
	response, err = http.Get("http://" + addr)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
}

// TestFasthttpKeepsEarlyFrames sends frames in the segment of the request, whole
// and cut: they are echoed, on the socket itself.
func TestFasthttpKeepsEarlyFrames(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	const frame = "\x81\x85\x00\x00\x00\x00Hello"
	const wire = request + frame + frame
	addr := startFasthttp(t, fasthttpServer)
	for _, cut := range []int{len(wire), len(wire) - 1, len(request) + 1, len(request)} {
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(nc, wire[:cut])
		br := bufio.NewReader(nc)
		response, err := http.ReadResponse(br, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
		io.WriteString(nc, wire[cut:])
		got := make([]byte, 14)
		_, err = io.ReadFull(br, got)
		require.NoError(t, err)
		require.Equal(t, "\x81\x05Hello\x81\x05Hello", string(got))
		nc.Close()
	}
}

// TestFasthttpGivesItsSocket checks that what the guide unwraps is a socket, on
// which a connection takes the least.
func TestFasthttpGivesItsSocket(t *testing.T) {
	below := make(chan net.Conn, 1)
	addr := startFasthttp(t, &fasthttp.Server{KeepHijackedConns: true, Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.Hijack(func(hijacked net.Conn) {
			nc, early := socketOf(hijacked)
			require.Empty(t, early)
			below <- nc
			hijacked.Close()
		})
	}})
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer nc.Close()
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	require.IsType(t, (*net.TCPConn)(nil), <-below)
}

// TestFasthttpAdaptor serves handlers of net/http through fasthttp's adaptor.
func TestFasthttpAdaptor(t *testing.T) {
	for name, h := range waysIn {
		t.Run(name, func(t *testing.T) {
			mustEcho(t, startFasthttp(t, &fasthttp.Server{Handler: fasthttpadaptor.NewFastHTTPHandler(h)}))
		})
	}
}
