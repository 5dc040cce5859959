package jstest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wsjson"
	"github.com/fullduplex-go/websocket/wstest"
)

// dial connects to a path of the server that the page came from.
func dial(t *testing.T, path string, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), os.Getenv("SERVER")+path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestEcho(t *testing.T) {
	c := dial(t, "/echo", &websocket.DialOptions{Config: websocket.Config{MaxMessageSize: 4 << 20}})
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 3 << 20} {
		for _, typ := range []websocket.MessageType{websocket.Text, websocket.Binary} {
			want := bytes.Repeat([]byte("a"), size)
			require.NoError(t, c.Write(t.Context(), typ, want))
			got, p, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, typ, got)
			require.True(t, bytes.Equal(want, p), "%d bytes", size)
		}
	}
	require.NoError(t, c.WriteString(t.Context(), "Grüße \x00 😀"))
	_, p, err := c.ReadInto(t.Context(), make([]byte, 100))
	require.NoError(t, err)
	require.Equal(t, "Grüße \x00 😀", string(p))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	require.NoError(t, c.Write(t.Context(), websocket.Binary, all))
	_, p, err = c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, all, p)
	require.NoError(t, c.Close(websocket.CloseNormal, "done"))
}

func TestMessagesInOrder(t *testing.T) {
	c := dial(t, "/echo", nil)
	const messages = 500
	for i := range messages {
		require.NoError(t, c.Send(websocket.Text, fmt.Append(nil, i)))
	}
	i := 0
	for m, err := range c.Messages(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(m.Data))
		if i++; i == messages {
			break
		}
	}
	require.Equal(t, messages, i)
}

func TestStreams(t *testing.T) {
	c := dial(t, "/echo", nil)
	for _, typ := range []websocket.MessageType{websocket.Text, websocket.Binary} {
		w, err := c.Writer(t.Context(), typ)
		require.NoError(t, err)
		for _, part := range []string{"a fragment, ", "another, ", strings.Repeat("x", 20_000)} {
			_, err = io.WriteString(w, part)
			require.NoError(t, err)
			require.NoError(t, w.Flush())
		}
		require.NoError(t, w.Close())
		got, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		require.Equal(t, typ, got)
		p, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "a fragment, another, "+strings.Repeat("x", 20_000), string(p))
	}
}

// TestBackPressure writes to a server that does not read until a write has to
// wait, which must happen before the browser has buffered everything.
func TestBackPressure(t *testing.T) {
	c := dial(t, "/stall", nil)
	const most, size = 400, 256 << 10
	written := 0
	for written < most {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := c.Write(ctx, websocket.Binary, make([]byte, size))
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			break
		}
		written++
	}
	require.Less(t, written, most)
	get(t, "/go")
	// Not an empty message: a browser that was stalled may keep that for ever.
	require.NoError(t, c.WriteString(t.Context(), "that is all"))
	_, p, err := c.Read(t.Context())
	require.NoError(t, err)
	total, err := strconv.Atoi(string(p))
	require.NoError(t, err)
	require.Zero(t, total%size)
	require.GreaterOrEqual(t, total/size, written)
}

func TestSubprotocol(t *testing.T) {
	opts := &websocket.DialOptions{Config: websocket.Config{Subprotocols: []string{"chat.v1", "chat.v2"}}}
	c, r, err := websocket.Dial(t.Context(), os.Getenv("SERVER")+"/echo", opts)
	require.NoError(t, err)
	defer c.CloseNow()
	require.Equal(t, "chat.v2", c.Subprotocol())
	require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
	require.Equal(t, "chat.v2", r.Header.Get("Sec-WebSocket-Protocol"))
}

// TestCompressionAgreed connects to a server that compresses and to one that does
// not.
func TestCompressionAgreed(t *testing.T) {
	for path, want := range map[string]bool{"/compressed": true, "/echo": false} {
		var traced bool
		c := dial(t, path, &websocket.DialOptions{Config: websocket.Config{Trace: &websocket.Trace{
			Handshake: func(_ *websocket.Conn, h websocket.HandshakeTrace) { traced = h.Compression },
		}}})
		require.Equal(t, want, c.CompressionAgreed())
		require.Equal(t, want, traced)
		require.NoError(t, c.WritePlain(t.Context(), websocket.Text, bytes.Repeat([]byte("plain "), 1000)))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("plain ", 1000), string(p))
		require.NoError(t, c.Close(websocket.CloseNormal, ""))
	}
}

func TestAddr(t *testing.T) {
	c := dial(t, "/echo", nil)
	require.Equal(t, strings.TrimPrefix(os.Getenv("SERVER"), "http://"), c.RemoteAddr().String())
	require.Equal(t, "websocket", c.RemoteAddr().Network())
}

func TestServerCloses(t *testing.T) {
	for query, want := range map[string]websocket.CloseError{
		"code=1000&reason=done": {Code: websocket.CloseNormal, Reason: "done", Received: true, Sent: true},
		"code=1001":             {Code: websocket.CloseGoingAway, Received: true, Sent: true},
		"code=1011&reason=%22":  {Code: websocket.CloseInternalError, Reason: `"`, Received: true, Sent: true},
		"code=4321&reason=ü":    {Code: 4321, Reason: "ü", Received: true, Sent: true},
		"code=0":                {Code: websocket.CloseNoStatus, Received: true, Sent: true},
	} {
		c := dial(t, "/close?"+query, nil)
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "bye", string(p))
		_, _, err = c.Read(t.Context())
		var end *websocket.CloseError
		require.ErrorAs(t, err, &end)
		require.Equal(t, want, *end)
		require.ErrorIs(t, err, net.ErrClosed)
		require.Equal(t, err, context.Cause(c.Context()))
		require.Equal(t, err, c.WriteString(t.Context(), "late"))
	}
}

func TestServerDrops(t *testing.T) {
	c := dial(t, "/drop", nil)
	_, _, err := c.Read(t.Context())
	require.ErrorIs(t, err, websocket.CloseAbnormal)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// get returns what the server answers to a request for path.
func get(t *testing.T, path string) string {
	t.Helper()
	r, err := http.Get(os.Getenv("SERVER") + path)
	require.NoError(t, err)
	defer r.Body.Close()
	p, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(p)
}

// reported returns how the server saw the connection to /report end.
func reported(t *testing.T) string {
	t.Helper()
	return get(t, "/reported")
}

func TestClose(t *testing.T) {
	for _, end := range []struct {
		code   websocket.CloseCode
		reason string
		want   string
	}{
		{websocket.CloseNormal, "done", `websocket: closed: 1000 (normal closure) "done"`},
		{4000, strings.Repeat("ü", 100), `websocket: closed: 4000 "` + strings.Repeat("ü", 61) + `"`},
		{0, "", `websocket: closed: 1005 (no status received)`},
	} {
		c := dial(t, "/report", nil)
		require.NoError(t, c.Close(end.code, end.reason))
		require.Equal(t, end.want, reported(t))
		require.NoError(t, c.Close(end.code, end.reason))
	}
}

func TestCloseWithAnotherCode(t *testing.T) {
	for _, code := range []websocket.CloseCode{websocket.CloseGoingAway, websocket.CloseInternalError} {
		c := dial(t, "/echo", nil)
		require.ErrorContains(t, c.Close(code, ""), "a browser cannot close with")
		_, _, err := c.Read(t.Context())
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

func TestCloseNow(t *testing.T) {
	c := dial(t, "/report", nil)
	require.NoError(t, c.CloseNow())
	_, _, err := c.Read(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
	require.Contains(t, reported(t), "1005")
}

func TestMessageTooBig(t *testing.T) {
	c := dial(t, "/echo", &websocket.DialOptions{Config: websocket.Config{MaxMessageSize: 10}})
	require.NoError(t, c.WriteString(t.Context(), "eleven byte"))
	_, _, err := c.Read(t.Context())
	require.ErrorIs(t, err, websocket.ErrMessageTooBig)
	require.ErrorIs(t, err, websocket.CloseMessageTooBig)
}

func TestReadGoesOnAfterItsContext(t *testing.T) {
	c := dial(t, "/late", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := c.Read(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, c.WriteString(t.Context(), "now"))
	for _, want := range []string{"one", "two"} {
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, string(p))
	}
}

func TestPing(t *testing.T) {
	c := dial(t, "/echo", nil)
	_, err := c.Ping(t.Context())
	require.ErrorContains(t, err, "a browser sends no Pings")
	require.NoError(t, c.Context().Err())
}

func TestDialFails(t *testing.T) {
	for _, path := range []string{"/nothing", "/index.html"} {
		_, _, err := websocket.Dial(t.Context(), os.Getenv("SERVER")+path, nil)
		var refused *websocket.HandshakeError
		require.ErrorAs(t, err, &refused)
		require.ErrorContains(t, err, "browser did not connect")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := websocket.Dial(ctx, os.Getenv("SERVER")+"/never", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	opts := &websocket.DialOptions{Config: websocket.Config{HandshakeTimeout: 20 * time.Millisecond}}
	_, _, err = websocket.Dial(t.Context(), os.Getenv("SERVER")+"/never", opts)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// honoured are the options that Dial honors in a browser. It refuses the others.
var honoured = []string{
	"RequireSubprotocol", "Subprotocols", "MaxMessageSize", "MaxFragments", "MaxQueuedBytes", "SlowConsumer", "PongTimeout",
	"WriteTimeout", "IdleTimeout", "HandshakeTimeout", "CloseTimeout", "HoldReplies", "ReadBufferSize", "Trace", "Logger",
}

// optionFields returns the names of a struct's fields, including those of
// embedded structs.
func optionFields(typ reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(typ) {
		if !f.Anonymous {
			names = append(names, f.Name)
		}
	}
	return names
}

func TestOptionsOfABrowser(t *testing.T) {
	var refused []string
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	for name, opts := range map[string]*websocket.DialOptions{
		"Header":        {Header: http.Header{"Authorization": {"Basic"}}},
		"Host":          {Host: "other.test"},
		"TLS":           {TLS: &tls.Config{}},
		"NetDial":       {NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialed") }},
		"NetDialTLS":    {NetDialTLS: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialed") }},
		"HTTPClient":    {HTTPClient: http.DefaultClient},
		"Jar":           {Jar: jar},
		"Proxy":         {Proxy: http.ProxyFromEnvironment},
		"ProxyHeader":   {ProxyHeader: http.Header{"A": {"b"}}},
		"Redirects":     {Redirects: 1},
		"Compression":   {Config: websocket.Config{Compression: &websocket.Compression{}}},
		"SkipUTF8Check": {Config: websocket.Config{SkipUTF8Check: true}},
		"PingInterval":  {Config: websocket.Config{PingInterval: time.Second}},
		"OnPing":        {Config: websocket.Config{OnPing: func(*websocket.Conn, []byte) bool { return true }}},
		"OnPong":        {Config: websocket.Config{OnPong: func(*websocket.Conn, []byte) {}}},
		"OnClose": {Config: websocket.Config{OnClose: func(*websocket.Conn, *websocket.CloseError) (websocket.CloseCode, string) {
			return 0, ""
		}}},
	} {
		_, _, err := websocket.Dial(t.Context(), os.Getenv("SERVER")+"/echo", opts)
		require.ErrorContains(t, err, name+" cannot be set in a browser")
		refused = append(refused, name)
		for _, err := range websocket.Redial(t.Context(), os.Getenv("SERVER")+"/echo", opts, websocket.Backoff{}) {
			var failed *websocket.RedialError
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Final, name)
		}
	}
	require.ElementsMatch(t, optionFields(reflect.TypeFor[websocket.DialOptions]()), append(refused, honoured...))
	dial(t, "/echo", &websocket.DialOptions{Config: websocket.Config{PingInterval: -1}})
	for url, want := range map[string]string{
		"ws+unix:///socket:/path":   "no Unix sockets",
		"ws://user:secret@a.test/":  "userinfo cannot be sent",
		"wss://localhost:1/nothing": "browser did not connect",
	} {
		_, _, err := websocket.Dial(t.Context(), url, nil)
		require.ErrorContains(t, err, want)
	}
	opts := &websocket.DialOptions{Config: websocket.Config{Subprotocols: []string{"twice", "twice"}}}
	_, _, err = websocket.Dial(t.Context(), os.Getenv("SERVER")+"/echo", opts)
	require.Error(t, err)
	opts.RequireSubprotocol, opts.Subprotocols = true, []string{"chat.v3"}
	_, _, err = websocket.Dial(t.Context(), os.Getenv("SERVER")+"/echo", opts)
	require.ErrorContains(t, err, "browser did not connect")
}

func TestTrace(t *testing.T) {
	var seen []string
	c := dial(t, "/echo", &websocket.DialOptions{Config: websocket.Config{Trace: &websocket.Trace{
		Handshake: func(_ *websocket.Conn, h websocket.HandshakeTrace) {
			seen = append(seen, fmt.Sprint("handshake ", h.Status))
		},
		Closed: func(_ *websocket.Conn, e *websocket.CloseError) { seen = append(seen, e.Error()) },
	}}})
	require.NoError(t, c.Close(websocket.CloseNormal, ""))
	require.Equal(t, []string{"handshake 101", "websocket: closed: 1000 (normal closure)"}, seen)
}

func TestJSON(t *testing.T) {
	c := dial(t, "/echo", nil)
	want := map[string]int{"a": 1}
	require.NoError(t, wsjson.Write(t.Context(), c, want))
	got, err := wsjson.Read[map[string]int](t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestPipe uses DialConn and AcceptConn, which have none of a browser's limits.
func TestPipe(t *testing.T) {
	s, c := wstest.Pipe(t, nil, nil)
	go s.Read(t.Context())
	_, err := c.Ping(t.Context())
	require.NoError(t, err)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(websocket.CloseGoingAway, "") }()
	_, _, err = s.Read(t.Context())
	require.ErrorIs(t, err, websocket.CloseGoingAway)
	require.NoError(t, <-closed)
}
