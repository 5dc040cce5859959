package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
)

var full = flag.Bool("full", false, "send the suite's 1000 messages in each case of categories 12 and 13, about 11 GB each way")

// atOnce is how many conversations are played at the same time. Many of the
// small ones mostly wait, so it is more than the number of processors.
const atOnce = "32"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
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
	chop        int
	tls         bool
	echo        testee.Echo
	compression *websocket.Compression // of the testee; nil: none
	volume      int                    // octets sent in a case of categories 12 and 13
	fixed       bool                   // volume is the same in a short run and under the race detector
}

// plain plays the conversations as the suite does.
var plain = setting{echo: testee.Messages, compression: testee.Config().Compression, volume: 1 << 18}

// with returns plain after a change.
func with(change func(*setting)) setting {
	s := plain
	change(&s)
	return s
}

// options returns the judge's options. A testee is given ten times the suite's
// limits, and the waits are longer: the machine may be busy with other tests.
func (s setting) options() *judge.Options {
	o := &judge.Options{Patience: 10, Wait: 2 * time.Second, Chop: s.chop, Volume: s.volume}
	switch {
	case *full && s.volume == plain.volume:
		o.Volume = 0
	case !s.fixed && (testing.Short() || raced):
		o.Volume = 1 << 10
	}
	return o
}

// config returns the testees' settings.
func (s setting) config() websocket.Config {
	config := testee.Config()
	config.Compression = s.compression
	config.HandshakeTimeout = time.Minute // other conversations may be busy for long
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

// certificates returns TLS settings for a server on the loopback interface and
// its client.
func certificates(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, s.Client().Transport.(*http.Transport).TLSClientConfig
}

// play plays conversations in parallel, a subtest each, and fails unless each is
// strictly OK.
func play(t *testing.T, s setting, start func(setting, *testing.T) player, wanted func(*conversation.Conversation) bool) {
	player := start(s, t)
	for _, c := range conversation.All() {
		if !wanted(c) {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			check(t, player(t, c))
		})
	}
}

// check fails unless r is strictly OK.
func check(t *testing.T, r *judge.Result) {
	if !r.Strict() {
		t.Error(r)
	}
}

// small reports whether c is one of categories 1 to 7 and 10.
func small(c *conversation.Conversation) bool { return c.Turns == 0 }

// chopped reports whether c is played in single octets: categories 1 to 7.
func chopped(c *conversation.Conversation) bool { return c.Category() <= 7 }

// large reports whether c is one of categories 9, 12 and 13; in a short run or
// under the race detector it must also be a quick one.
func large(c *conversation.Conversation) bool {
	switch {
	case c.Turns == 0:
		return false
	case c.Compression != nil:
		return !testing.Short() || compressedSmall(c)
	case testing.Short():
		return slices.Contains(limitsShort, c.ID)
	case raced && c.Turns == 1:
		return slices.Contains(limitsRaced, c.ID)
	default:
		return true
	}
}

// compressedSmall reports whether c is one of categories 12 and 13 with
// messages up to 8 KiB.
func compressedSmall(c *conversation.Conversation) bool {
	return c.Compression != nil && c.Compression.Size <= 8192
}

// The conversations of category 9 that are played in a short run, and those of
// one message that are played under the race detector.
var (
	limitsShort = []string{"9.1.1", "9.2.1", "9.5.1", "9.6.1", "9.7.1", "9.8.1"}
	limitsRaced = []string{"9.1.1", "9.1.4", "9.2.1", "9.2.4", "9.3.4", "9.4.4", "9.4.9", "9.5.1", "9.6.1"}
)

// The large conversations come first and alone: they would disturb the small
// ones, some of which measure a second.

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

func singleOctets(s *setting)       { s.chop = 1 }
func throughTLS(s *setting)         { s.tls = true }
func withoutCompression(s *setting) { s.compression = nil }
func streaming(s *setting)          { s.echo = testee.Streams }
func handedOver(s *setting)         { s.echo = testee.Receives }

func TestServerSingleOctets(t *testing.T) {
	t.Parallel()
	play(t, with(singleOctets), setting.servers, chopped)
}

func TestClientSingleOctets(t *testing.T) {
	t.Parallel()
	play(t, with(singleOctets), setting.clients, chopped)
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	play(t, with(throughTLS), setting.servers, small)
}

func TestClientTLS(t *testing.T) {
	t.Parallel()
	play(t, with(throughTLS), setting.clients, small)
}

func TestServerWithoutCompression(t *testing.T) {
	t.Parallel()
	play(t, with(withoutCompression), setting.servers, small)
}

func TestClientWithoutCompression(t *testing.T) {
	t.Parallel()
	play(t, with(withoutCompression), setting.clients, small)
}

func TestServerStreams(t *testing.T) {
	t.Parallel()
	play(t, with(streaming), setting.servers, small)
}

func TestClientStreams(t *testing.T) {
	t.Parallel()
	play(t, with(streaming), setting.clients, small)
}

func TestServerReceives(t *testing.T) {
	t.Parallel()
	play(t, with(handedOver), setting.servers, small)
}

func TestClientReceives(t *testing.T) {
	t.Parallel()
	play(t, with(handedOver), setting.clients, small)
}

// The same with large conversations, which would disturb the others.

func TestServerTLSVolume(t *testing.T)      { playVolume(t, throughTLS, setting.servers, large) }
func TestClientTLSVolume(t *testing.T)      { playVolume(t, throughTLS, setting.clients, large) }
func TestServerStreamsVolume(t *testing.T)  { playVolume(t, streaming, setting.servers, streamed) }
func TestClientStreamsVolume(t *testing.T)  { playVolume(t, streaming, setting.clients, streamed) }
func TestServerReceivesVolume(t *testing.T) { playVolume(t, handedOver, setting.servers, streamed) }
func TestClientReceivesVolume(t *testing.T) { playVolume(t, handedOver, setting.clients, streamed) }

func TestServerWithoutCompressionVolume(t *testing.T) {
	playVolume(t, withoutCompression, setting.servers, limits)
}

func TestClientWithoutCompressionVolume(t *testing.T) {
	playVolume(t, withoutCompression, setting.clients, limits)
}

// limits reports whether c is one of category 9.
func limits(c *conversation.Conversation) bool { return c.Category() == 9 }

// streamed reports whether c is one of categories 9, 12 and 13 that is played
// with a streaming echo.
func streamed(c *conversation.Conversation) bool {
	return large(c) && limits(c) || compressedSmall(c)
}

// playVolume plays large conversations after a change of plain: none in a
// short run, and under the race detector only quick compressed ones.
func playVolume(t *testing.T, change func(*setting), start func(setting, *testing.T) player, wanted func(*conversation.Conversation) bool) {
	if testing.Short() {
		t.Skip("plain ones are enough")
	}
	s := with(change)
	s.volume = 1 << 15
	play(t, s, start, func(c *conversation.Conversation) bool { return wanted(c) && (!raced || compressedSmall(c)) })
}

// compressions are settings of compression other than those of the testees.
var compressions = map[string]websocket.Compression{
	"defaults":    {},
	"no context":  {Threshold: -1, NoContextTakeover: true},
	"window 9":    {Threshold: -1, WindowBits: 9},
	"level 9":     {Threshold: -1, Level: 9, WindowBits: 15},
	"peer limits": {Threshold: -1, PeerWindowBits: 9, PeerNoContextTakeover: true},
}

// compressing returns plain with other settings of compression.
func compressing(c *websocket.Compression) setting {
	return with(func(s *setting) { s.compression, s.volume = c, 1<<15 })
}

func TestServerCompressions(t *testing.T) {
	for name, c := range compressions {
		t.Run(name, func(t *testing.T) { play(t, compressing(&c), setting.servers, compressedSmall) })
	}
}

func TestClientCompressions(t *testing.T) {
	for name, c := range compressions {
		t.Run(name, func(t *testing.T) { play(t, compressing(&c), setting.clients, compressedSmall) })
	}
}

// TestCompressionIsUsed checks that the testees compress, since an uncompressed
// echo would pass too.
func TestCompressionIsUsed(t *testing.T) {
	for role, start := range map[string]func(setting, *testing.T) player{"server": setting.servers, "client": setting.clients} {
		t.Run(role, func(t *testing.T) {
			player := start(with(func(s *setting) { s.fixed = true }), t)
			for id, most := range map[string]int{"12.1.6": 32768, "13.3.6": 512, "13.5.6": 512, "13.7.6": 512} {
				r := player(t, conversation.Find(id))
				check(t, r)
				if r.Farthest < most/2 || r.Farthest > most {
					t.Errorf("%s: matches reach %d octets back, of at most %d", id, r.Farthest, most)
				}
			}
		})
	}
}

// TestURLProtocol runs the client by the suite's protocol: it asks for the
// number of cases, runs them in order and asks for the reports.
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
