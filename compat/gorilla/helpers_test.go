package websocket_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// patience is how long tests wait for what should come at once.
const patience = 20 * time.Second

// A pairing says how two ends of a connection are set up.
type pairing struct {
	compress bool
	secure   bool // over TLS
}

// eachRole runs a test with this package as the server of the original's client,
// and as the client of its server: without compression and with it, and over
// TLS.
func eachRole(t *testing.T, test func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn)) {
	for name, p := range map[string]pairing{"plain": {}, "compressed": {compress: true}, "secure": {secure: true}} {
		t.Run("server "+name, func(t *testing.T) {
			c, peer := ourServer(t, p)
			test(t, c, peer)
		})
		t.Run("client "+name, func(t *testing.T) {
			c, peer := ourClient(t, p)
			test(t, c, peer)
		})
	}
}

// ourServer returns the two ends of a connection of which this package is the
// server.
func ourServer(t *testing.T, p pairing) (*websocket.Conn, *gorilla.Conn) {
	up := websocket.Upgrader{EnableCompression: p.compress}
	accepted := make(chan *websocket.Conn, 1)
	url := p.serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err == nil {
			accepted <- c
		}
	})
	d := gorilla.Dialer{EnableCompression: p.compress, TLSClientConfig: trusting}
	peer, _, err := d.Dial(url, nil)
	require.NoError(t, err)
	return closeAfter(t, receive(t, accepted), peer)
}

// ourClient returns the two ends of a connection of which this package is the
// client.
func ourClient(t *testing.T, p pairing) (*websocket.Conn, *gorilla.Conn) {
	up := gorilla.Upgrader{EnableCompression: p.compress}
	accepted := make(chan *gorilla.Conn, 1)
	url := p.serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err == nil {
			accepted <- c
		}
	})
	d := websocket.Dialer{EnableCompression: p.compress, TLSClientConfig: trusting}
	c, _, err := d.Dial(url, nil)
	require.NoError(t, err)
	return closeAfter(t, c, receive(t, accepted))
}

// closeAfter closes both ends when the test is over, and bounds how long they
// read.
func closeAfter(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) (*websocket.Conn, *gorilla.Conn) {
	c.SetReadDeadline(time.Now().Add(patience))
	peer.SetReadDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close(); peer.Close() })
	return c, peer
}

// serve serves a handler on loopback and returns its ws URL.
func serve(t testing.TB, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// trusting is the configuration of clients that trust every server.
var trusting = &tls.Config{InsecureSkipVerify: true}

// serve serves a handler on loopback and returns its URL.
func (p pairing) serve(t testing.TB, h http.HandlerFunc) string {
	if !p.secure {
		return serve(t, h)
	}
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	return "wss" + strings.TrimPrefix(srv.URL, "https")
}

// receive returns what comes from ch.
func receive[T any](t testing.TB, ch <-chan T) (v T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case v = <-ch:
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	return v
}

// soon is a deadline for what should come at once.
func soon() time.Time { return time.Now().Add(patience) }
