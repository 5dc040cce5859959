package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

func TestConnectionsOfOneClient(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h, "-conns-per-client", "2", "-trust", "127.0.0.0/8", "-trust", "::1")
	client := f.dial("/", nil)
	f.dial("/", nil)
	_, resp, err := f.tryDial("/", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a third connection got %v", err)
	}
	f.dial("/", &websocket.DialOptions{Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}) // another client
	if err := client.Close(websocket.CloseNormal, ""); err != nil {
		t.Error(err)
	}
	f.journal.await(t, "closed", 0)
	f.dial("/", nil)
	for range 4 {
		(<-conns).CloseNow()
	}
	f.stop()
	if len(f.proxy.clients.known) > 0 || f.proxy.clients.conns != 0 {
		t.Errorf("%d clients with %d connections are left", len(f.proxy.clients.known), f.proxy.clients.conns)
	}
}

func TestConnectionsInAll(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h, "-max-conns", "1")
	f.pair(conns)
	_, resp, err := f.tryDial("/", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second connection got %v", err)
	}
}

func TestClientOf(t *testing.T) {
	for _, c := range []struct {
		remote, field, want string
	}{
		{"192.0.2.1:1", "", "192.0.2.1/32"},
		{"192.0.2.1:1", "198.51.100.1", "192.0.2.1/32"}, // not trusted
		{"10.0.0.1:1", "", "10.0.0.1/32"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1/32"},
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.1", "198.51.100.1/32"}, // the first was made up
		{"10.0.0.1:1", "198.51.100.1, 10.0.0.2", "198.51.100.1/32"},
		{"10.0.0.1:1", "198.51.100.1, unknown", "10.0.0.1/32"},
		{"10.0.0.1:1", "10.0.0.3", "10.0.0.3/32"},
		{"[2001:db8::1]:1", "", "2001:db8::/64"},
		{"[::ffff:192.0.2.1]:1", "", "192.0.2.1/32"},
		{"@", "", "invalid Prefix"}, // a Unix socket
	} {
		id := identity{header: "X-Forwarded-For", trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": {c.field}}}
		if got := groupOf(id.clientOf(r)).String(); got != c.want {
			t.Errorf("%s, %q: got %s, want %s", c.remote, c.field, got, c.want)
		}
	}
}

// inMemory runs a proxy with args in front of a server that serves with that
// function, without a network, and connects a client. With the test all of it
// ends: synctest finds goroutines that do not.
func inMemory(t *testing.T, serve func(c *websocket.Conn) error, args ...string) (client *websocket.Conn, p *proxy) {
	t.Helper()
	server := wstest.NewServer(t, websocket.HandlerFunc(&websocket.AcceptOptions{Config: unlimited}, serve))
	p = newProxy(t.Context(), flagsFor(t, []string{"ws://server"}, args...), slog.New(slog.DiscardHandler))
	p.transport.DialContext = server.NetDial
	front := wstest.NewServer(t, p)
	client, _, err := websocket.Dial(t.Context(), "ws://proxy/", &websocket.DialOptions{NetDial: front.NetDial})
	if err != nil {
		t.Fatal(err)
	}
	return client, p
}

// TestRate checks that a client over its rate waits, and that all its messages
// arrive at that rate. The clock is the bubble's.
func TestRate(t *testing.T) {
	for flag, size := range map[string]int{"-rate=10": 1, "-bytes=10": 1, "-bytes=1000": 100} {
		t.Run(flag, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var arrived []time.Duration
				done := make(chan error, 1)
				client, _ := inMemory(t, func(c *websocket.Conn) error {
					done <- eachMessage(c, func(int) { arrived = append(arrived, time.Since(began)) })
					return nil
				}, flag)
				for range 30 {
					if err := client.Write(t.Context(), websocket.Binary, make([]byte, size)); err != nil {
						t.Fatal(err)
					}
				}
				if err := client.Close(websocket.CloseNormal, ""); err != nil {
					t.Error(err)
				}
				if err := <-done; err != nil || len(arrived) != 30 {
					t.Fatalf("%d messages arrived, %v", len(arrived), err)
				}
				if arrived[9] != 0 || arrived[10] != 100*time.Millisecond || arrived[29] != 2*time.Second {
					t.Errorf("messages arrived at %v", arrived)
				}
			})
		})
	}
}

// TestStopWhileSlowed checks that a client that is slowed down does not hold up
// the end of the program.
func TestStopWhileSlowed(t *testing.T) {
	f, client, backend := pair(t, "-bytes", "1", "-burst", "1h")
	passes(t, deadline(t), client, backend, strings.Repeat("x", 3600))
	if err := client.WriteString(deadline(t), strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	go f.stop()
	var both sync.WaitGroup
	both.Go(func() { wantEnd(t, backend, websocket.CloseGoingAway, goingAway) })
	wantEnd(t, client, websocket.CloseGoingAway, goingAway)
	both.Wait()
}

// TestStopWithASilentClient checks that the server is told that the program
// stops when a client does not answer its Close.
func TestStopWithASilentClient(t *testing.T) {
	t.Parallel() // it takes closeTimeout
	h, conns := hold(nil)
	f := start(t, h)
	nc, err := net.Dial("tcp", strings.TrimPrefix(f.url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	wstest.RawClient(t, nc).Open("/", nil)
	go f.stop()
	wantEnd(t, <-conns, websocket.CloseGoingAway, goingAway)
}

// eachMessage calls f with the size of each message of c.
func eachMessage(c *websocket.Conn, f func(size int)) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		f(len(m.Data))
	}
	return nil
}

// TestRateOfBigMessage passes a message on that is longer than what a client may
// send at once.
func TestRateOfBigMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		sizes := make(chan int, 1)
		client, _ := inMemory(t, func(c *websocket.Conn) error {
			return eachMessage(c, func(size int) { sizes <- size })
		}, "-bytes=100000", "-burst=100ms")
		if err := client.Write(t.Context(), websocket.Binary, make([]byte, 510_000)); err != nil {
			t.Fatal(err)
		}
		if size := <-sizes; size != 510_000 || time.Since(began).Round(time.Millisecond) != 5*time.Second {
			t.Errorf("%d bytes arrived after %v", size, time.Since(began))
		}
		client.Close(websocket.CloseNormal, "")
	})
}

// TestRefusedOverRate checks that both sides are told of a client that is over
// its rate, if that is not to wait.
func TestRefusedOverRate(t *testing.T) {
	for _, flag := range []string{"-rate=10", "-bytes=10"} {
		synctest.Test(t, func(t *testing.T) {
			const reason = "messages come too fast"
			count := 0
			ended := make(chan error, 1)
			client, _ := inMemory(t, func(c *websocket.Conn) error {
				for {
					if _, _, err := c.Read(context.Background()); err != nil {
						ended <- err
						return err
					}
					count++
				}
			}, flag, "-refuse-over-rate")
			for range 11 {
				if err := client.WriteString(t.Context(), "x"); err != nil {
					t.Fatal(err)
				}
			}
			wantEnd(t, client, websocket.ClosePolicyViolation, reason)
			if err := <-ended; !errors.Is(err, websocket.ClosePolicyViolation) || count != 10 {
				t.Errorf("%s: %d messages arrived, and %v", flag, count, err)
			}
		})
	}
}

// TestBackpressure checks that a client which does not read stops the server:
// nothing is kept for it between them.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages, size = 100, 64 << 10
		var written atomic.Int64
		client, _ := inMemory(t, func(c *websocket.Conn) error {
			for range messages {
				if err := c.Write(c.Context(), websocket.Binary, make([]byte, size)); err != nil {
					return err
				}
				written.Add(1)
			}
			return nil
		})
		synctest.Wait() // until everything waits for something
		if n := written.Load(); n > 16 {
			t.Errorf("the server wrote %d messages to a client that does not read", n)
		}
		for i := range messages {
			if _, p, err := client.Read(t.Context()); err != nil || len(p) != size {
				t.Fatalf("message %d: %d bytes, %v", i, len(p), err)
			}
		}
		wantEnd(t, client, websocket.CloseNormal, "")
	})
}

// TestCloseWithoutReading has a client close while the server sends and sends,
// and never read: that ends the server's connection too.
func TestCloseWithoutReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		done := make(chan error, 1)
		server := wstest.NewServer(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
			for {
				if err := c.Write(c.Context(), websocket.Binary, make([]byte, 64<<10)); err != nil {
					done <- err
					return err
				}
			}
		}))
		var log journal
		p := newProxy(t.Context(), flagsFor(t, []string{"ws://server"}), slog.New(slog.NewJSONHandler(&log, nil)))
		p.transport.DialContext = server.NetDial
		client := wstest.NewServer(t, p).RawPeer()
		client.Open("/", nil)
		client.SendFrame(wstest.CloseFrame(websocket.CloseNormal, ""))
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the server's write returned %v", err)
		}
		log.await(t, "closed", 0)
		if took := time.Since(began); took > 2*grace { // on the bubble's clock
			t.Errorf("the session ended after %v", took)
		}
	})
}

// TestIdle checks that both sides are told of a client that is silent for too
// long, and that one whose server alone is silent stays.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ended := make(chan error, 1)
		client, _ := inMemory(t, func(c *websocket.Conn) error {
			err := eachMessage(c, func(int) {})
			ended <- context.Cause(c.Context())
			return err
		}, "-idle=1m")
		for range 3 {
			if err := client.WriteString(t.Context(), "here"); err != nil {
				t.Fatal(err)
			}
			<-time.After(50 * time.Second)
		}
		end := endOf(t.Context(), client)
		if end.Code != websocket.ClosePolicyViolation || time.Since(began) < 160*time.Second {
			t.Errorf("after %v: %v", time.Since(began), end)
		}
		if err := <-ended; !errors.Is(err, websocket.ClosePolicyViolation) {
			t.Errorf("the server was told %v", err)
		}
	})
}

// TestKeptAlive checks that each side stays open for as long as its peer
// answers Pings.
func TestKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var backend *websocket.Conn
		client, _ := inMemory(t, func(c *websocket.Conn) error {
			backend = c
			return echo(c)
		})
		<-time.After(time.Hour)
		if err := client.WriteString(t.Context(), "still there?"); err != nil {
			t.Fatal(err)
		}
		if _, p, err := client.Read(t.Context()); err != nil || string(p) != "still there?" {
			t.Errorf("got %q, %v", p, err)
		}
		for name, c := range map[string]*websocket.Conn{"client": client, "backend": backend} {
			if n := c.Stats().FramesIn; n < 60 {
				t.Errorf("the %s got %d frames in an hour", name, n)
			}
		}
		client.Close(websocket.CloseNormal, "")
	})
}

// TestDeadPeer checks that a side whose peer is silent, also to Pings, is lost,
// and the other side with it.
func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := wstest.Listen(t)
		p := newProxy(t.Context(), flagsFor(t, []string{silent.URL}), slog.New(slog.DiscardHandler))
		p.transport.DialContext = silent.NetDial
		front := wstest.NewServer(t, p)
		dialed := make(chan *websocket.Conn, 1)
		go func() {
			c, _, err := websocket.Dial(t.Context(), "ws://proxy/", &websocket.DialOptions{NetDial: front.NetDial})
			if err != nil {
				t.Error(err)
			}
			dialed <- c
		}()
		backend := silent.Accept() // never reads
		backend.Accept(nil)
		client := <-dialed
		if end := endOf(t.Context(), client); end.Code != websocket.CloseAbnormal {
			t.Errorf("the client ended with %v", end)
		}
	})
}

// counted is what TestMetrics expects.
const counted = `
# HELP proxy_connections Connections that are open.
# TYPE proxy_connections gauge
proxy_connections 0
# HELP proxy_ends_total Ended connections, by side and close code.
# TYPE proxy_ends_total counter
proxy_ends_total{code="4xxx",side="backend"} 1
proxy_ends_total{code="4xxx",side="client"} 1
# HELP proxy_handshakes_total Opening handshakes, by the HTTP status that answered them.
# TYPE proxy_handshakes_total counter
proxy_handshakes_total{status="101"} 1
proxy_handshakes_total{status="403"} 1
# HELP proxy_message_bytes_total Payload of messages passed on, in bytes, by where they came from.
# TYPE proxy_message_bytes_total counter
proxy_message_bytes_total{from="backend"} 6
proxy_message_bytes_total{from="client"} 15
# HELP proxy_messages_total Messages passed on to their end, by where they came from.
# TYPE proxy_messages_total counter
proxy_messages_total{from="backend"} 1
proxy_messages_total{from="client"} 3
`

// TestMetrics checks what is counted, and what is logged.
func TestMetrics(t *testing.T) {
	h, conns := hold(nil)
	refusing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
	f := start(t, refusing)
	f.handshake("/refused", nil)
	client := f.dial("/path?secret", nil)
	backend := <-conns
	for range 3 {
		passes(t, deadline(t), client, backend, "hello")
	}
	passes(t, deadline(t), backend, client, "answer")
	go client.Close(4567, "because")
	wantEnd(t, backend, 4567, "because")
	line := f.journal.await(t, "closed", 0)
	for name, want := range map[string]any{
		"client": "127.0.0.1", "path": "/path", "client_code": 4567.0, "client_reason": "because", "backend_code": 4567.0,
		"client_messages": 3.0, "backend_messages": 1.0, "backend_bytes": 2.0 + 6 + 2 + 2 + 7,
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	accepted, refused := f.journal.await(t, "accepted", 0), f.journal.await(t, "refused", 0)
	if accepted["id"] != line["id"] || accepted["backend"] == "" || refused["backend"] != accepted["backend"] || refused["status"] != 403.0 {
		t.Errorf("the log says %v and %v", accepted, refused)
	}
	f.stop()
	if err := testutil.GatherAndCompare(f.proxy.metrics.registry, strings.NewReader(counted), "proxy_connections", "proxy_ends_total",
		"proxy_handshakes_total", "proxy_message_bytes_total", "proxy_messages_total"); err != nil {
		t.Error(err)
	}
	page := httptest.NewRecorder()
	f.proxy.metrics.handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if body := page.Body.String(); !strings.Contains(body, "proxy_handshake_seconds_count 2\n") {
		t.Errorf("the page is\n%s", body)
	}
}

// TestLabels checks that peers cannot make up labels.
func TestLabels(t *testing.T) {
	codes, statuses := make(map[string]bool), make(map[string]bool)
	for n := range 1 << 16 {
		codes[codeLabel(websocket.CloseCode(n))] = true
		statuses[statusLabel(n)] = true
	}
	if len(codes) != 19 || len(statuses) > 100 {
		t.Errorf("%d codes and %d statuses", len(codes), len(statuses))
	}
}
