package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
)

// These tests judge every way to open a connection, to read and to write. The
// testees close as the examples do: defer c.CloseNow().

// A serverEntryPoint serves an echo on a listener until the listener is closed.
type serverEntryPoint func(l net.Listener, config websocket.Config, echo testee.Echo)

var serverEntryPoints = map[string]serverEntryPoint{
	"Accept": func(l net.Listener, config websocket.Config, echo testee.Echo) {
		http.Serve(l, testee.AcceptHandler(config, echo))
	},
	"AcceptConn": func(l net.Listener, config websocket.Config, echo testee.Echo) {
		opts := &websocket.AcceptOptions{Config: config}
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if c, _, err := websocket.AcceptConn(context.Background(), nc, opts); err == nil {
					defer c.CloseNow()
					echo(c)
				}
			}()
		}
	},
	"Handler": func(l net.Listener, config websocket.Config, echo testee.Echo) {
		http.Serve(l, testee.Handler(config, echo))
	},
	"ReceiverHandler": func(l net.Listener, config websocket.Config, _ testee.Echo) {
		http.Serve(l, testee.ReceiverHandler(config))
	},
	"NewConn": func(l net.Listener, config websocket.Config, echo testee.Echo) {
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := acceptByHand(w, r, config); err == nil {
				defer c.CloseNow()
				echo(c)
			}
		}))
	},
}

// acceptByHand answers the opening handshake without the library.
func acceptByHand(w http.ResponseWriter, r *http.Request, config websocket.Config) (*websocket.Conn, error) {
	nc, buffers, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	extensions := answerByHand(r.Header.Get("Sec-WebSocket-Extensions"))
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if extensions != "" {
		head += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	if _, err := io.WriteString(nc, head+"\r\n"); err != nil {
		nc.Close()
		return nil, err
	}
	return websocket.NewConn(nc, &websocket.ConnOptions{Config: config, Extensions: extensions, Buffered: buffered(buffers.Reader)})
}

// answerByHand returns an answer to the first offer of an extension list, which
// is one of permessage-deflate, or nothing to an empty one.
func answerByHand(offers string) string {
	if offers == "" {
		return ""
	}
	offer, _, _ := strings.Cut(offers, ",")
	answer := "permessage-deflate"
	for param := range strings.SplitSeq(offer, ";") {
		if param = strings.TrimSpace(param); strings.HasPrefix(param, "server_") {
			answer += "; " + param
		}
	}
	return answer
}

// buffered returns what r has read already.
func buffered(r *bufio.Reader) []byte {
	p, _ := r.Peek(r.Buffered())
	return p
}

// A clientEntryPoint connects to a URL.
type clientEntryPoint func(ctx context.Context, address string, opts *websocket.DialOptions) (*websocket.Conn, error)

var clientEntryPoints = map[string]clientEntryPoint{
	"Dial": func(ctx context.Context, address string, opts *websocket.DialOptions) (*websocket.Conn, error) {
		c, _, err := websocket.Dial(ctx, address, opts)
		return c, err
	},
	"Dial by HTTPClient": func(ctx context.Context, address string, opts *websocket.DialOptions) (*websocket.Conn, error) {
		own := *opts
		own.HTTPClient = new(http.Client)
		c, _, err := websocket.Dial(ctx, address, &own)
		return c, err
	},
	"DialConn": func(ctx context.Context, address string, opts *websocket.DialOptions) (*websocket.Conn, error) {
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return nil, err
		}
		c, _, err := websocket.DialConn(ctx, nc, address, opts)
		return c, err
	},
	"NewConn": dialByHand,
}

// dialByHand does the opening handshake without the library.
func dialByHand(ctx context.Context, address string, opts *websocket.DialOptions) (*websocket.Conn, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(address, "ws:", "http:", 1), nil)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
	} {
		r.Header.Set(name, value)
	}
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", r.Host)
	if err != nil {
		return nil, err
	}
	br := bufio.NewReader(nc)
	if err := r.Write(nc); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(br, r)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("answered with %v: %w", response, err)
	}
	return websocket.NewConn(nc, &websocket.ConnOptions{
		Config:     opts.Config,
		Client:     true,
		Extensions: response.Header.Get("Sec-WebSocket-Extensions"),
		Buffered:   buffered(br),
	})
}

// A way says how a testee opens connections, reads and writes.
type way struct{ entryPoint, reading, writing string }

// echo returns the testee's echo.
func (w way) echo() testee.Echo {
	return func(c *websocket.Conn) error { return testee.Readings[w.reading](c, testee.Writings[w.writing]) }
}

// waysAt returns all ways with the first entry point, and one with each of the
// others.
func waysAt(first string, others ...string) (ways []way) {
	for r := range testee.Readings {
		ways = append(ways, way{first, r, "Write"})
	}
	for w := range testee.Writings {
		if w != "Write" {
			ways = append(ways, way{first, "Messages", w})
		}
	}
	for _, entryPoint := range others {
		ways = append(ways, way{entryPoint, "Read", "Write"})
	}
	return ways
}

// chosenFor reports whether the conversation with this index is played in a way.
// For the most common way these are all small conversations and all with small
// compressed messages; for others, those of the closing handshake and a sample.
func (w way) chosenFor(i int, c *conversation.Conversation) bool {
	switch {
	case !small(c) && !compressedSmall(c):
		return false
	case w.reading == "Messages" && w.writing == "Write" && !raced && !testing.Short():
		return true
	case testing.Short():
		return c.Category() == 7 && i%3 == 0
	default:
		return c.Category() == 7 && i%2 == 0 || i%17 == 0
	}
}

// playWays plays conversations with the testees that work in these ways. A
// verdict that is not strictly OK is one line.
func playWays(t *testing.T, ways []way, start func(way, *testing.T) player) {
	for _, w := range ways {
		t.Run(w.entryPoint+"/"+w.reading+"/"+w.writing, func(t *testing.T) {
			t.Parallel()
			play := start(w, t)
			for i, c := range conversation.All() {
				if w.chosenFor(i, c) {
					t.Run(c.ID, func(t *testing.T) {
						t.Parallel()
						if r := play(t, c); !r.Strict() {
							t.Errorf("behavior %s, behaviorClose %s, close code %d %q; received: %.100s", r.Behavior, r.BehaviorClose, r.CloseCode, r.CloseReason, r.Received)
						}
					})
				}
			}
		})
	}
}

// reduced is the setting for the conversations of this file.
var reduced = with(func(s *setting) { s.volume = 1 << 12 })

// TestServerEntryPoints judges the library's server with each function that
// makes connections (V01, V03, V07): its last frames arrive, although its handler
// calls CloseNow at once.
func TestServerEntryPoints(t *testing.T) {
	t.Parallel()
	ways := append(waysAt("Accept", "AcceptConn", "Handler", "NewConn"), way{"ReceiverHandler", "Receiver", "Write"})
	playWays(t, ways, func(w way, t *testing.T) player {
		l := listen(t)
		go serverEntryPoints[w.entryPoint](l, reduced.config(), w.echo())
		return func(t *testing.T, c *conversation.Conversation) *judge.Result {
			return judge.JudgeServer(t.Context(), "ws://"+l.Addr().String()+"/", c, reduced.options())
		}
	})
}

// TestClientEntryPoints judges the library's client with each function that dials.
func TestClientEntryPoints(t *testing.T) {
	t.Parallel()
	playWays(t, waysAt("Dial", "DialConn", "NewConn", "Dial by HTTPClient"), func(w way, t *testing.T) player {
		l := listen(t)
		server := judge.NewServer(conversation.All(), reduced.options())
		go server.Serve(l)
		t.Cleanup(server.Stop)
		return func(t *testing.T, c *conversation.Conversation) *judge.Result {
			query := url.Values{"casetuple": {c.ID}, "agent": {"library"}}
			conn, err := clientEntryPoints[w.entryPoint](t.Context(), "ws://"+l.Addr().String()+"/runCase?"+query.Encode(), &websocket.DialOptions{Config: reduced.config()})
			if err != nil {
				t.Fatal(err)
			}
			w.echo()(conn)
			conn.CloseNow()
			r, err := server.Result(t.Context(), "library", c.ID)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	})
}

// listen returns a listener on the loopback interface that is closed when the
// test ends.
func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
