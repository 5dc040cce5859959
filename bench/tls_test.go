package bench

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fullduplex-go/websocket/bench/peer"
)

// serveTLS starts an echo server of p over TLS. It returns the address and
// the configuration of a client.
func serveTLS(t testing.TB, p peer.Peer) (addr string, config *tls.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(p.Handler(peer.Options{}, peer.Echo))
	server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	server.StartTLS()
	t.Cleanup(server.Close)
	config = server.Client().Transport.(*http.Transport).TLSClientConfig
	return server.Listener.Addr().String(), config
}

// dialTLS connects to a WebSocket server over TLS.
func dialTLS(t testing.TB, addr string, config *tls.Config) net.Conn {
	t.Helper()
	nc, err := tls.Dial("tcp4", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	greet(t, nc, "https", addr)
	return nc
}
