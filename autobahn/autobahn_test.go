package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
)

var full = flag.Bool("full", false, "send the suite's 1000 messages in each case of categories 12 and 13, about 11 GB each way")

// atOnce is how many conversations are played at the same time. Many of the
// small ones consist of waiting, so it is more than there are processors.
const atOnce = "32"

func TestMain(m *testing.M) {
	if os.Getenv(fakeSuite) != "" {
		if err := runFakeSuite(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	flag.Set("test.parallel", atOnce)
	os.Exit(m.Run())
}

// A setting is a way to play the conversations.
type setting struct {
	chop       int
	tls        bool
	echo       testee.Echo
	compressed bool
}

// plain plays them as the suite does.
var plain = setting{echo: testee.Messages, compressed: true}

// options returns the judge's options. A testee is given ten times the suite's
// limits, and the waits are longer: the machine may be busy with other tests.
func (s setting) options() *judge.Options {
	o := &judge.Options{Patience: 10, Wait: 2 * time.Second, Chop: s.chop, Volume: 1 << 18}
	switch {
	case *full:
		o.Volume = 0
	case testing.Short():
		o.Volume = 1 << 14
	}
	return o
}

// config returns the testees' settings.
func (s setting) config() websocket.Config {
	config := testee.Config()
	if !s.compressed {
		config.Compression = nil
	}
	return config
}

// A player plays one conversation.
type player func(t *testing.T, c *conversation.Conversation) *judge.Result

// servers judges the library's server.
func (s setting) servers(t *testing.T) player {
	server := httptest.NewUnstartedServer(testee.Handler(s.config(), s.echo))
	options := s.options()
	scheme := "ws"
	if s.tls {
		server.StartTLS()
		scheme = "wss"
		options.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	address := scheme + "://" + server.Listener.Addr().String() + "/"
	return func(t *testing.T, c *conversation.Conversation) *judge.Result {
		return judge.JudgeServer(t.Context(), address, c, options)
	}
}

// clients judges the library's client.
func (s setting) clients(t *testing.T) player {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	options := s.options()
	client := &testee.Client{
		URL: "ws://" + l.Addr().String(), Agent: "library", Echo: s.echo,
		Dial: websocket.DialOptions{Config: s.config()},
	}
	if s.tls {
		client.URL = "wss://" + l.Addr().String()
		options.TLS, client.Dial.TLS = certificates(t)
	}
	server := judge.NewServer(conversation.All(), options)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func(t *testing.T, c *conversation.Conversation) *judge.Result {
		if err := client.RunCase(t.Context(), "casetuple", c.ID); err != nil {
			t.Fatal(err)
		}
		r, err := server.Result(t.Context(), client.Agent, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// certificates returns TLS settings for a server on loopback and its client.
func certificates(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, s.Client().Transport.(*http.Transport).TLSClientConfig
}

// play plays conversations side by side, a subtest each, and wants each to be
// strictly OK.
func play(t *testing.T, s setting, start func(setting, *testing.T) player, wanted func(*conversation.Conversation) bool) {
	compresses := sync.OnceValue(implementsCompression)
	player := start(s, t)
	for _, c := range conversation.All() {
		if !wanted(c) {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			r := player(t, c)
			if r.Behavior == judge.Unimplemented && !compresses() {
				t.Skip("the library does not implement permessage-deflate yet")
			}
			check(t, r)
		})
	}
}

// check fails unless r is strictly OK.
func check(t *testing.T, r *judge.Result) {
	if !r.Strict() {
		t.Errorf("behavior %s, behaviorClose %s, close code %d %q\nexpected: %s\nreceived: %s\nextension: %s\n%s",
			r.Behavior, r.BehaviorClose, r.CloseCode, r.CloseReason, r.Expected, r.Received, r.Extension, strings.Join(r.Notes, "\n"))
	}
}

// implementsCompression reports whether two endpoints of the library agree on
// permessage-deflate at all.
func implementsCompression() bool {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if c, _, err := websocket.AcceptConn(ctx, far, &websocket.AcceptOptions{Config: testee.Config()}); err == nil {
			c.CloseNow()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, response, err := websocket.DialConn(ctx, near, "ws://localhost/", &websocket.DialOptions{Config: testee.Config()})
	return err == nil && response.Header.Get("Sec-WebSocket-Extensions") != ""
}

// small reports whether c is one of categories 1 to 7 and 10.
func small(c *conversation.Conversation) bool { return c.Turns == 0 }

// chopped reports whether c is played in single octets: categories 1 to 7.
func chopped(c *conversation.Conversation) bool { return c.Category() <= 7 }

// large reports whether c is one of categories 9, 12 and 13, and in a short
// run one that takes no time.
func large(c *conversation.Conversation) bool {
	switch {
	case c.Turns == 0:
		return false
	case !testing.Short():
		return true
	case c.Compression != nil:
		return c.Compression.Size <= 8192
	default:
		return c.Category() == 9 && strings.HasSuffix(c.ID, ".1") && !strings.HasPrefix(c.ID, "9.3") && !strings.HasPrefix(c.ID, "9.4")
	}
}

// The large conversations come first and alone: beside them the small ones,
// some of which measure a second, would be disturbed.

func TestServerVolume(t *testing.T) { play(t, plain, setting.servers, large) }
func TestClientVolume(t *testing.T) { play(t, plain, setting.clients, large) }

func TestServer(t *testing.T) {
	t.Parallel()
	play(t, plain, setting.servers, small)
}

func TestClient(t *testing.T) {
	t.Parallel()
	play(t, plain, setting.clients, small)
}

func TestServerSingleOctets(t *testing.T) {
	t.Parallel()
	play(t, setting{chop: 1, echo: testee.Messages, compressed: true}, setting.servers, chopped)
}

func TestClientSingleOctets(t *testing.T) {
	t.Parallel()
	play(t, setting{chop: 1, echo: testee.Messages, compressed: true}, setting.clients, chopped)
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	play(t, setting{tls: true, echo: testee.Messages, compressed: true}, setting.servers, small)
}

func TestClientTLS(t *testing.T) {
	t.Parallel()
	play(t, setting{tls: true, echo: testee.Messages, compressed: true}, setting.clients, small)
}

func TestServerWithoutCompression(t *testing.T) {
	t.Parallel()
	play(t, setting{echo: testee.Messages}, setting.servers, small)
}

func TestClientWithoutCompression(t *testing.T) {
	t.Parallel()
	play(t, setting{echo: testee.Messages}, setting.clients, small)
}

func TestServerStreams(t *testing.T) {
	t.Parallel()
	play(t, setting{echo: testee.Streams, compressed: true}, setting.servers, small)
}

func TestClientStreams(t *testing.T) {
	t.Parallel()
	play(t, setting{echo: testee.Streams, compressed: true}, setting.clients, small)
}

// TestURLProtocol runs the client as the suite wants it: it asks for the
// number of cases, runs them in order and has the reports written.
func TestURLProtocol(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cases := conversation.All()[:20]
	server := judge.NewServer(cases, plain.options())
	updated := ""
	server.Update = func(agent string) { updated = agent }
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	client := &testee.Client{URL: "ws://" + l.Addr().String(), Agent: "library", Echo: testee.Messages, Dial: websocket.DialOptions{Config: testee.Config()}}
	if err := client.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	results := server.Results("library")
	for _, c := range cases {
		if results[c.ID] == nil {
			t.Errorf("%s was not run", c.ID)
			continue
		}
		check(t, results[c.ID])
	}
	if updated != "library" {
		t.Errorf("reports were written for %q", updated)
	}
	var refusal *websocket.HandshakeError
	if err := client.RunCase(t.Context(), "case", "21"); !errors.As(err, &refusal) || refusal.Status != http.StatusInternalServerError {
		t.Errorf("a case that does not exist: %v", err)
	}
	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
