package websocket

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fullduplex "github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

// background bounds nothing.
var background = context.Background()

// patience is how long a test on real sockets waits for what must happen.
const patience = 20 * time.Second

// patiently returns a context that ends only if something does not happen.
func patiently(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, patience)
	t.Cleanup(cancel)
	return ctx
}

// startServer returns the URL of a server that ends with the test.
func startServer(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// serve returns the URL of a server of lib that calls f for each connection.
func serve(t testing.TB, lib library, o options, f func(endpoint)) string {
	return startServer(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := lib.accept(w, r, o)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer c.CloseNow()
		f(c)
	})
}

// connect returns both ends of a connection over loopback.
func connect(t testing.TB, server, client library, so, co options) (s, c endpoint) {
	accepted, over := make(chan endpoint), make(chan struct{})
	t.Cleanup(func() { close(over) })
	url := serve(t, server, so, func(c endpoint) {
		accepted <- c
		<-over
	})
	c, err := client.dial(patiently(t), url, co)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return <-accepted, c
}

// pipe returns both ends of a connection in memory, also for a bubble.
func pipe(t testing.TB) (s, c *Conn) {
	d := new(DialOptions).options()
	d.HTTPClient = nil
	server, client := wstest.Pipe(t, new(AcceptOptions).options(), d)
	return Wrap(server), Wrap(client)
}

// rawClient returns a server's connection and its peer.
func rawClient(t testing.TB) (*Conn, *wstest.RawPeer) {
	c, peer := wstest.ServerConn(t, new(AcceptOptions).options())
	return Wrap(c), peer
}

// canceled returns a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(background)
	cancel()
	return ctx
}

// within returns a context that ends after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(background, d)
	t.Cleanup(cancel)
	return ctx
}

// pattern returns n bytes of text that no shift of itself is equal to.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		b.WriteString(string(rune('a'+i%26)) + string(rune('A'+i/26%26)) + " lorem ipsum ")
	}
	return b.Bytes()[:n]
}

// sends sends a message.
func sends(t testing.TB, c interface {
	Write(context.Context, MessageType, []byte) error
}, s string) {
	t.Helper()
	require.NoError(t, c.Write(patiently(t), MessageText, []byte(s)))
}

// offers sends a message that the test may not wait for.
func offers(c interface {
	Write(context.Context, MessageType, []byte) error
}, s string) {
	c.Write(background, MessageText, []byte(s))
}

// receives expects a message.
func receives(t testing.TB, c interface {
	Read(context.Context) (MessageType, []byte, error)
}, s string) {
	t.Helper()
	typ, p, err := c.Read(patiently(t))
	require.NoError(t, err)
	require.Equal(t, MessageText, typ)
	require.Equal(t, s, string(p))
}

// hasEnded reports whether c is closed.
func hasEnded(c *Conn) bool { return c.ended() != nil }

// endOf waits for the end of c.
func endOf(c *Conn) *fullduplex.CloseError {
	<-c.ws.Context().Done()
	return c.ended()
}
