package http2

//lint:file-ignore SA1019 net/http's own Transport refuses the field :protocol, so x/net's is used

import (
	"flag"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
	_ "github.com/fullduplex-go/websocket/h2"
)

var all = flag.Bool("all", false, "play all 517 conversations with each testee, one testee after the other")

// atOnce is how many conversations are played at the same time: many of them mostly
// wait.
const atOnce = "32"

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", atOnce)
	os.Exit(m.Run())
}

// config returns the testees' settings.
func config() websocket.Config {
	c := testee.Config()
	c.HandshakeTimeout = time.Minute // other conversations may be busy for long
	return c
}

// testees are the servers that are judged: all ways to open a connection, to read
// and to write.
func testees() map[string]http.Handler {
	servers := map[string]http.Handler{
		"Accept":                      testee.AcceptHandler(config(), testee.Messages),
		"Accept that streams":         testee.AcceptHandler(config(), testee.Streams),
		"Handler":                     testee.Handler(config(), testee.Messages),
		"Handler that streams":        testee.Handler(config(), testee.Streams),
		"Handler that hands over":     testee.Handler(config(), testee.Receives),
		"ReceiverHandler":             testee.ReceiverHandler(config()),
		"Handler without compression": testee.Handler(withoutCompression(), testee.Messages),
	}
	for name, read := range testee.Readings {
		servers["Accept, "+name] = testee.AcceptHandler(config(), func(c *websocket.Conn) error { return read(c, testee.Writings["Write"]) })
	}
	for name, write := range testee.Writings {
		servers["Accept, "+name] = testee.AcceptHandler(config(), func(c *websocket.Conn) error { return testee.Readings["Messages"](c, write) })
	}
	return servers
}

// withoutCompression returns the settings of a testee that does not compress.
func withoutCompression() websocket.Config {
	c := config()
	c.Compression = nil
	return c
}

// plays reports whether the conversation with this index is played with a testee.
// Without -all each testee plays a few that take no time, others than the next.
func plays(name string, number, i int, c *conversation.Conversation) bool {
	switch {
	case name == "Handler without compression" && c.Compression != nil:
		return false // its verdict would be UNIMPLEMENTED
	case *all:
		return true
	case slices.Contains(everywhere, c.ID):
		return true
	default:
		return c.Turns == 0 && (i+number)%len(testees()) == 0
	}
}

// everywhere are conversations that all testees play.
var everywhere = []string{"2.11", "7.1.1", "7.3.6", "9.5.1", "10.1.1", "12.1.6", "13.3.6"}

// TestServer judges each testee over one connection of HTTP/2 without TLS.
func TestServer(t *testing.T) {
	atOnceUnlessAll(t)
	judgeAll(t, false)
}

// TestServerTLS judges each testee over one connection of HTTP/2 with TLS.
func TestServerTLS(t *testing.T) {
	atOnceUnlessAll(t)
	judgeAll(t, true)
}

// atOnceUnlessAll lets t run together with others, unless its conversations are
// large: they would disturb the small ones, some of which measure a second.
func atOnceUnlessAll(t *testing.T) {
	if !*all {
		t.Parallel()
	}
}

// judgeAll plays conversations with all testees, and fails unless each is strictly
// OK.
func judgeAll(t *testing.T, overTLS bool) {
	servers := testees()
	names := slices.Sorted(maps.Keys(servers))
	for number, name := range names {
		t.Run(name, func(t *testing.T) {
			atOnceUnlessAll(t)
			dial := serve(t, servers[name], overTLS)
			for i, c := range conversation.All() {
				if !plays(name, number, i, c) {
					continue
				}
				t.Run(c.ID, func(t *testing.T) {
					t.Parallel()
					if r := judge.JudgeServerBy(dial, c, options()); !r.Strict() {
						t.Error(r)
					}
				})
			}
		})
	}
}

// options returns the judge's options. A testee is given ten times the suite's
// limits: the machine may be busy with other conversations.
func options() *judge.Options {
	return &judge.Options{Patience: 10, Wait: 2 * time.Second, Volume: 1 << 15}
}

// serve serves h until the test ends. All that the function it returns dials are
// streams of one connection.
func serve(t *testing.T, h http.Handler, overTLS bool) judge.Dial {
	server := httptest.NewUnstartedServer(h)
	u := &url.URL{Scheme: "http", Host: server.Listener.Addr().String(), Path: "/"}
	transport := newTransport(nil)
	if overTLS {
		server.EnableHTTP2 = true
		server.StartTLS()
		u.Scheme = "https"
		transport = newTransport(server.Client().Transport.(*http.Transport).TLSClientConfig)
	} else {
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	}
	t.Cleanup(server.Close)
	t.Cleanup(transport.CloseIdleConnections)
	return func(offers []deflate.Params) (net.Conn, http.Header, error) {
		header := http.Header{}
		if len(offers) > 0 {
			header.Set("Sec-WebSocket-Extensions", peer.OfferList(offers))
		}
		return openStream(transport, u, header)
	}
}
