package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// An undated is a net.Conn without deadlines: its methods for them return err
// and do nothing.
type undated struct {
	net.Conn
	err error
}

func (c undated) SetDeadline(time.Time) error      { return c.err }
func (c undated) SetReadDeadline(time.Time) error  { return c.err }
func (c undated) SetWriteDeadline(time.Time) error { return c.err }

// undateds are the ways in which a net.Conn has no deadlines, and how long
// after a deadline that is noticed.
var undateds = map[string]struct {
	err   error
	grace time.Duration
}{

	"deadlines fail":        {errors.New("deadline not supported"), 0},
	"deadlines are ignored": {nil, deadlineGrace},
}

// openingEndings are what ends a handshake after a second, and the error.
var openingEndings = map[string]error{
	"canceled": context.Canceled, "deadline": context.DeadlineExceeded, "HandshakeTimeout": os.ErrDeadlineExceeded,
}

// endingAfter returns the context and timeout of an ending.
func endingAfter(t *testing.T, ending string) (ctx context.Context, timeout time.Duration) {
	ctx, timeout = t.Context(), -1
	cancel := func() {}
	switch ending {
	case "canceled":
		ctx, cancel = context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
	case "deadline":
		ctx, cancel = context.WithTimeout(ctx, time.Second)
	default:
		timeout = time.Second
	}
	t.Cleanup(cancel)
	return ctx, timeout
}

// mustBeClosed checks that the other end of far was closed.
func mustBeClosed(t *testing.T, far net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, far); err != nil {
		t.Errorf("the other end: %v", err)
	}
}

// TestAcceptConnWithoutDeadlines has clients that stop somewhere in the
// handshake: what ends it still does, by closing the net.Conn.
func TestAcceptConnWithoutDeadlines(t *testing.T) {
	covers(t, "V16", "Q.A01", "Q.A16", "Q.A17")
	shakeless := func(nc net.Conn) net.Conn { return tls.Server(nc, &tls.Config{}) }
	plain := func(nc net.Conn) net.Conn { return nc }
	for kind, u := range undateds {
		for ending, want := range openingEndings {
			for name, c := range map[string]struct {
				wire string
				wrap func(net.Conn) net.Conn
			}{
				"nothing":                     {"", plain},
				"half a request":              {request()[:50], plain},
				"response is not read":        {request(), plain},
				"TLS, nothing":                {"", shakeless},
				"TLS, part of a first record": {"\x16\x03\x01\x02\x00", shakeless},
			} {
				t.Run(kind+"/"+ending+"/"+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						near, far := net.Pipe()
						go io.WriteString(far, c.wire)
						ctx, timeout := endingAfter(t, ending)
						began := time.Now()
						_, _, err := AcceptConn(ctx, c.wrap(undated{near, u.err}), &AcceptOptions{Config: Config{HandshakeTimeout: timeout}})
						took := time.Second
						if ending == "HandshakeTimeout" {
							took += u.grace
						}
						if d := time.Since(began); !errors.Is(err, want) || d != took {
							t.Errorf("got %v after %v, want %v after %v", err, d, want, took)
						}
						mustBeClosed(t, far)
					})
				})
			}
		}
	}
}

// TestRefusalWithoutDeadlines checks that the client is told, and that no more
// than a second is spent on one that does not listen.
func TestRefusalWithoutDeadlines(t *testing.T) {
	covers(t, "V16", "Q.A17")
	for kind, u := range undateds {
		for _, listens := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go io.WriteString(far, request("POST / HTTP/1.1"))
				said := make(chan string, 1)
				if listens {
					go func() {
						b, _ := io.ReadAll(far)
						said <- string(b)
					}()
				}
				began := time.Now()
				_, _, err := AcceptConn(t.Context(), undated{near, u.err}, nil)
				took := time.Duration(0)
				if !listens {
					took = time.Second + u.grace
				}
				if d := time.Since(began); statusOf(err) != 405 || d != took {
					t.Errorf("%s: got %v after %v, want 405 after %v", kind, err, d, took)
				}
				if listens {
					if s := <-said; !strings.HasPrefix(s, "HTTP/1.1 405 ") || !strings.Contains(s, "GET") {
						t.Errorf("%s: the client is told %q", kind, s)
					}
				}
			})
		}
	}
}

// An undatedWriter is a middleware's ResponseWriter that wraps the net.Conn in
// one without deadlines. net/http's server itself cannot do without.
type undatedWriter struct {
	hidden
	err error
}

// hidden is what a wrapper embeds that does not say what it wraps.
type hidden = http.ResponseWriter

func (w undatedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := w.hidden.(http.Hijacker).Hijack()
	return undated{nc, w.err}, rw, err
}

// TestConnectionWithoutDeadlines opens connections, which outlive the time for
// the handshake.
func TestConnectionWithoutDeadlines(t *testing.T) {
	covers(t, "V16")
	cfg := Config{PingInterval: -1}
	open := map[string]func(t *testing.T, nc net.Conn) (*Conn, error){
		"AcceptConn": func(t *testing.T, nc net.Conn) (*Conn, error) {
			c, _, err := AcceptConn(t.Context(), nc, &AcceptOptions{Config: cfg})
			return c, err
		},
		"Accept": func(t *testing.T, nc net.Conn) (c *Conn, err error) {
			accepted := make(chan bool)
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err = Accept(undatedWriter{w, nc.(undated).err}, r, &AcceptOptions{Config: cfg})
				close(accepted)
			})}
			go s.Serve(&oneListener{nc: nc.(undated).Conn})
			<-accepted
			return c, err
		},
	}
	for kind, u := range undateds {
		for name, open := range open {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				go io.WriteString(far, request())
				answered := make(chan *http.Response, 1)
				go func() {
					r, _ := http.ReadResponse(bufio.NewReader(far), nil)
					answered <- r
				}()
				c, err := open(t, undated{near, u.err})
				if r := <-answered; err != nil || r == nil || r.StatusCode != 101 {
					t.Fatalf("%s, %s: got %v, %v", kind, name, r, err)
				}
				defer c.CloseNow()
				<-time.After(time.Minute)
				go io.WriteString(far, maskedHello)
				if _, p, err := c.Read(context.Background()); string(p) != "Hello" || err != nil {
					t.Errorf("%s, %s: got %q, %v", kind, name, p, err)
				}
			})
		}
	}
}

// TestAcceptWithoutDeadlines has a client that does not read the response.
func TestAcceptWithoutDeadlines(t *testing.T) {
	covers(t, "V16", "Q.A17")
	for kind, u := range undateds {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			failed := make(chan error, 1)
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := Accept(undatedWriter{w, u.err}, r, nil)
				failed <- err
			})}
			go s.Serve(&oneListener{nc: near})
			began := time.Now()
			go io.WriteString(far, request())
			err := <-failed
			if d := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || d != 10*time.Second+u.grace {
				t.Errorf("%s: got %v after %v", kind, err, d)
			}
			mustBeClosed(t, far)
		})
	}
}

// A silence is a server, or a proxy, that leaves a client waiting.
type silence struct {
	url, proxy string
	behave     func(far net.Conn)
}

// silences are those of every stage of the client's handshake.
var silences = map[string]silence{
	"request is not taken": {url: "ws://192.0.2.1", behave: func(net.Conn) {}},
	"no response":          {url: "ws://192.0.2.1", behave: swallowAll},
	"half a response": {url: "ws://192.0.2.1", behave: func(far net.Conn) {
		go swallowAll(far)
		io.WriteString(far, response()[:40])
	}},
	"body without end": {url: "ws://192.0.2.1", behave: func(far net.Conn) {
		go swallowAll(far)
		io.WriteString(far, "HTTP/1.1 503 Busy\r\n\r\nhi")
	}},
	"TLS hello is not taken":    {url: "wss://192.0.2.1", behave: func(net.Conn) {}},
	"TLS hello is not answered": {url: "wss://192.0.2.1", behave: swallowAll},
	"CONNECT is not taken":      {url: "ws://192.0.2.1", proxy: "http://p", behave: func(net.Conn) {}},
	"CONNECT is not answered":   {url: "ws://192.0.2.1", proxy: "http://p", behave: swallowAll},
	"TLS of the proxy":          {url: "ws://192.0.2.1", proxy: "https://p", behave: swallowAll},
	"SOCKS is not answered":     {url: "ws://192.0.2.1", proxy: "socks5://p", behave: swallowAll},
	"TLS through the proxy": {url: "wss://192.0.2.1", proxy: "http://p", behave: func(far net.Conn) {
		go swallowAll(far)
		io.WriteString(far, "HTTP/1.1 200\r\n\r\n")
	}},
}

func swallowAll(far net.Conn) { io.Copy(io.Discard, far) }

// TestDialWithoutDeadlines has servers and proxies that stop somewhere in the
// handshake: what ends it does so on time, by closing the net.Conn.
func TestDialWithoutDeadlines(t *testing.T) {
	covers(t, "V16", "C34", "Q.B10")
	for kind, u := range undateds {
		for ending, want := range openingEndings {
			if want == os.ErrDeadlineExceeded {
				want = context.DeadlineExceeded
			}
			for name, s := range silences {
				for _, function := range []string{"Dial", "DialConn"} {
					if function == "DialConn" && s.proxy != "" {
						continue
					}
					t.Run(strings.Join([]string{kind, ending, name, function}, "/"), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							near, far := net.Pipe()
							go s.behave(far)
							ctx, timeout := endingAfter(t, ending)
							nc := undated{near, u.err}
							opts := viaProxy(s.proxy, nc)
							if s.proxy == "" {
								opts.Proxy = nil
							}
							opts.HandshakeTimeout = timeout
							began := time.Now()
							var err error
							if function == "Dial" {
								_, _, err = Dial(ctx, s.url, opts)
							} else {
								_, _, err = DialConn(ctx, nc, s.url, opts)
							}
							if d := time.Since(began); !errors.Is(err, want) || d != time.Second {
								t.Errorf("got %v after %v, want %v", err, d, want)
							}
							mustBeClosed(t, far)
						})
					})
				}
			}
		}
	}
}

// TestTLSInTLSWithoutDeadlines has a server behind a proxy, both with TLS, that
// stops in its handshake and reads nothing more.
func TestTLSInTLSWithoutDeadlines(t *testing.T) {
	covers(t, "V16")
	_, secure := echoServer(t)
	proxy := secure.TLS.Clone()
	for kind, u := range undateds {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			go func() {
				p := tls.Server(far, proxy)
				http.ReadRequest(bufio.NewReader(p))
				io.WriteString(p, "HTTP/1.1 200\r\n\r\n")
				p.Read(make([]byte, 4096)) // the hello for the server, in one record
			}()
			opts := viaProxy("https://example.com", undated{near, u.err})
			opts.TLS = trust(secure)
			opts.TLS.Time = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
			opts.HandshakeTimeout = time.Second
			began := time.Now()
			_, _, err := Dial(t.Context(), "wss://example.com", opts)
			if d := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
				t.Errorf("%s: got %v after %v", kind, err, d)
			}
		})
	}
}

// TestHandshakeWithoutTimeout has nothing but the context bound a handshake.
func TestHandshakeWithoutTimeout(t *testing.T) {
	covers(t, "V13")
	for _, timeout := range []time.Duration{-1, math.MinInt64, math.MaxInt64, longest} {
		for name, handshake := range map[string]func(ctx context.Context, nc net.Conn) error{
			"AcceptConn": func(ctx context.Context, nc net.Conn) error {
				_, _, err := AcceptConn(ctx, nc, &AcceptOptions{Config: Config{HandshakeTimeout: timeout}})
				return err
			},
			"DialConn": func(ctx context.Context, nc net.Conn) error {
				_, _, err := DialConn(ctx, nc, "ws://h", &DialOptions{Config: Config{HandshakeTimeout: timeout}})
				return err
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				if err := handshake(ctx, near); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
					t.Errorf("%s, %d: got %v after %v", name, timeout, err, time.Since(began))
				}
				mustBeClosed(t, far)
			})
		}
	}
}

// TestHandshakeWithoutProgress is about a net.Conn whose Read returns nothing,
// without an error, for ever: the opening handshake gives up.
func TestHandshakeWithoutProgress(t *testing.T) {
	covers(t, "Q.G10")
	handshakes := map[string]func(nc net.Conn) error{
		"AcceptConn": func(nc net.Conn) error {
			_, _, err := AcceptConn(context.Background(), nc, nil)
			return err
		},
		"DialConn": func(nc net.Conn) error {
			_, _, err := DialConn(context.Background(), nc, "ws://h/", nil)
			return err
		},
	}
	for name, handshake := range handshakes {
		t.Run(name, func(t *testing.T) {
			near, far := faultnet.Pipe()
			defer far.Close()
			ended := make(chan error, 1)
			go func() { ended <- handshake(faultnet.EmptyReads(near, 0, -1)) }()
			select {
			case err := <-ended:
				if !errors.Is(err, io.ErrNoProgress) {
					t.Errorf("got %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Error("the handshake still reads nothing")
			}
		})
	}
}
