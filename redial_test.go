package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// redialScripts returns options with which the n-th dial meets the n-th script;
// a nil script refuses the connection, and so does the end of the list.
func redialScripts(dials *[]time.Time, scripts ...answering) *DialOptions {
	return &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) {
		n := len(*dials)
		*dials = append(*dials, time.Now())
		if n >= len(scripts) || scripts[n] == nil {
			return nil, errors.New("connection refused")
		}
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if r, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				scripts[n](far, r)
			}
		}()
		return near, nil
	}}
}

// closing returns the script that opens a connection and closes it after a
// while with a code, or without a word if that is 0.
func closing(after time.Duration, code CloseCode) answering {
	return func(nc net.Conn, r *http.Request) {
		io.WriteString(nc, strings.ReplaceAll(response(), sampleAccept, acceptFor(r)))
		go io.Copy(io.Discard, nc)
		time.Sleep(after)
		if code != 0 {
			nc.Write([]byte{0x88, 2, byte(code >> 8), byte(code)})
			time.Sleep(time.Second)
		}
	}
}

// drain reads c until it ends.
func drain(c *Conn) {
	for _, err := range c.Messages(context.Background()) {
		if err != nil {
			return
		}
	}
}

// redialEvents runs Redial to its end, with a body that reads, and says what
// happened.
func redialEvents(ctx context.Context, opts *DialOptions, b Backoff) []string {
	return redialEventsOf(ctx, opts, b, drain)
}

// redialEventsOf is redialEvents with another body.
func redialEventsOf(ctx context.Context, opts *DialOptions, b Backoff, body func(c *Conn)) (events []string) {
	for c, err := range Redial(ctx, "ws://example.com/", opts, b) {
		var e *RedialError
		switch {
		case err == nil:
			body(c)
			events = append(events, "connection")
		case !errors.As(err, &e):
			events = append(events, err.Error())
		case e.Final:
			events = append(events, fmt.Sprintf("final after %d", e.Attempt))
		default:
			events = append(events, fmt.Sprintf("failure %d", e.Attempt))
		}
	}
	return events
}

func TestRedial(t *testing.T) {
	covers(t, "X20")
	status := func(s string) answering { return reply("HTTP/1.1 " + s + "\r\nContent-Length: 0\r\n\r\n") }
	for _, c := range []struct {
		name    string
		scripts []answering
		want    string
	}{
		{"ends normally", []answering{closing(time.Second, CloseNormal)}, "connection"},
		{"goes away", []answering{closing(time.Second, CloseGoingAway), closing(0, CloseNormal)}, "connection, connection"},
		{"is cut", []answering{closing(0, 0), nil, closing(0, CloseNormal)}, "connection, failure 2, connection"},
		{"long life starts anew", []answering{nil, nil, closing(time.Minute, CloseServiceRestart), nil, closing(0, CloseNormal)},
			"failure 1, failure 2, connection, failure 2, connection"},
		{"policy", []answering{closing(0, ClosePolicyViolation)}, "connection, final after 1"},
		{"private code", []answering{closing(0, 4000), closing(0, CloseNormal)}, "connection, connection"},
		{"403", []answering{status("403 No")}, "final after 1"},
		{"401 later", []answering{nil, status("401 No")}, "failure 1, final after 2"},
		{"301", []answering{status("301 No")}, "final after 1"},
		{"200", []answering{status("200 OK")}, "final after 1"},
		{"501", []answering{status("501 No")}, "final after 1"},
		{"503", []answering{status("503 Busy"), closing(0, CloseNormal)}, "failure 1, connection"},
		{"429", []answering{status("429 Busy"), closing(0, CloseNormal)}, "failure 1, connection"},
		{"wrong answer", []answering{reply(response("Sec-WebSocket-Accept: x"))}, "final after 1"},
		{"attempts", []answering{nil, nil, nil, nil}, "failure 1, failure 2, failure 3, final after 4"},
		{"attempts with connections", []answering{closing(0, 0), closing(0, 0), closing(0, 0), closing(0, 0)},
			"connection, connection, connection, connection, final after 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials []time.Time
				got := redialEvents(t.Context(), redialScripts(&dials, c.scripts...), Backoff{Attempts: 4})
				if strings.Join(got, ", ") != c.want || len(dials) != len(c.scripts) {
					t.Errorf("got %q after %d dials, want %q", got, len(dials), c.want)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// farEnd returns the script that opens a connection and runs a server's end of
// it.
func farEnd(end func(nc net.Conn, s *Conn)) answering {
	return func(nc net.Conn, r *http.Request) {
		io.WriteString(nc, strings.ReplaceAll(response(), sampleAccept, acceptFor(r)))
		end(nc, newConn(nc, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil))
	}
}

// closes returns the script of a server that closes with code, 0 for none.
func closes(code CloseCode) answering {
	return farEnd(func(_ net.Conn, s *Conn) { s.Close(code, "") })
}

// echoes is the script of a server that answers our Close frame.
var echoes = farEnd(func(_ net.Conn, s *Conn) { waitForEnd(s) })

// waitForEnd reads until s has ended, and its answer has left.
func waitForEnd(s *Conn) {
	readToEnd(s)
	<-s.transportClosedChan()
}

// dozes is the script of a server that reads, and answers our Close frame, after
// a second.
var dozes = farEnd(func(_ net.Conn, s *Conn) {
	time.Sleep(time.Second)
	waitForEnd(s)
})

// sends returns the script of a server that sends wire, and answers our Close
// frame.
func sends(wire string) answering {
	return farEnd(func(nc net.Conn, s *Conn) {
		io.WriteString(nc, wire)
		waitForEnd(s)
	})
}

// says returns the script of a server that sends a Close frame with code once
// ours has come, whatever that says.
func says(code CloseCode) answering {
	return func(nc net.Conn, r *http.Request) {
		io.WriteString(nc, strings.ReplaceAll(response(), sampleAccept, acceptFor(r)))
		in := make([]byte, 1000)
		nc.Read(in)
		nc.Write([]byte{0x88, 2, byte(code >> 8), byte(code)})
		nc.Close()
	}
}

// isDeaf is the script of a server that reads nothing for an hour.
func isDeaf(nc net.Conn, r *http.Request) {
	io.WriteString(nc, strings.ReplaceAll(response(), sampleAccept, acceptFor(r)))
	time.Sleep(time.Hour)
	nc.Close()
}

// The bodies of loops over Redial.
var (
	closesWith = func(code CloseCode) func(*Conn) { return func(c *Conn) { c.Close(code, "") } }
	leavesOpen = func(*Conn) {}
	dropsIt    = func(c *Conn) { c.CloseNow() }
	overwhelms = func(c *Conn) {
		for c.Send(Binary, make([]byte, 1000)) == nil {
		}
	}
)

// TestRedialLooksAtWhoEnded ends connections in every way, and proves what Redial
// does then, by who ended them and with what.
func TestRedialLooksAtWhoEnded(t *testing.T) {
	covers(t, "V19", "X20")
	const on, quiet, final = "connection, connection", "connection", "connection, final after 1"
	slow := Config{SlowConsumer: CloseSlow, MaxQueuedBytes: 10_000}
	for _, c := range []struct {
		who, how string
		cfg      Config
		peer     answering
		body     func(c *Conn)
		want     string
	}{
		{"the peer", "1000", Config{}, closes(CloseNormal), drain, quiet},
		{"the peer", "1001", Config{}, closes(CloseGoingAway), drain, on},
		{"the peer", "1002", Config{}, closes(CloseProtocolError), drain, final},
		{"the peer", "1003", Config{}, closes(CloseUnsupportedData), drain, final},
		{"the peer", "no code", Config{}, closes(0), drain, on},
		{"the peer", "1007", Config{}, closes(CloseInvalidPayload), drain, final},
		{"the peer", "1008", Config{}, closes(ClosePolicyViolation), drain, final},
		{"the peer", "1009", Config{}, closes(CloseMessageTooBig), drain, final},
		{"the peer", "1010", Config{}, closes(CloseMandatoryExtension), drain, final},
		{"the peer", "1011", Config{}, closes(CloseInternalError), drain, on},
		{"the peer", "1012", Config{}, closes(CloseServiceRestart), drain, on},
		{"the peer", "1013", Config{}, closes(CloseTryAgainLater), drain, on},
		{"the peer", "3000", Config{}, closes(3000), drain, on},
		{"the peer", "4000", Config{}, closes(4000), drain, on},
		{"the network", "no Close frame", Config{}, farEnd(func(_ net.Conn, s *Conn) { s.CloseNow() }), drain, on},

		{"our times", "IdleTimeout", Config{IdleTimeout: time.Second}, echoes, drain, on},
		{"our times", "IdleTimeout, peer deaf", Config{IdleTimeout: time.Second}, isDeaf, drain, on},
		{"our times", "PongTimeout", Config{}, isDeaf, drain, on},
		{"our limits", "MaxMessageSize", Config{MaxMessageSize: 3}, sends("\x81\x04abcd"), drain, on},
		{"our limits", "MaxFragments", Config{MaxFragments: 1}, sends("\x01\x01a\x80\x01b"), drain, on},
		{"our limits", "CloseSlow", slow, isDeaf, overwhelms, on},
		{"our limits", "CloseSlow, peer answers", slow, dozes, overwhelms, on},
		{"the protocol", "reserved opcode", Config{}, sends("\x83\x00"), drain, on},
		{"the protocol", "text not UTF-8", Config{}, sends("\x81\x01\xff"), drain, on},

		{"the body", "1000", Config{}, echoes, closesWith(CloseNormal), on},
		{"the body", "1008", Config{}, echoes, closesWith(ClosePolicyViolation), on},
		{"the body", "1009", Config{}, echoes, closesWith(CloseMessageTooBig), on},
		{"the body", "no code", Config{}, echoes, closesWith(0), on},
		{"the body", "4000", Config{}, echoes, closesWith(4000), on},
		{"the body", "1008, answered 1000", Config{}, says(CloseNormal), closesWith(ClosePolicyViolation), on},
		{"the body", "no code, answered 1000", Config{}, says(CloseNormal), closesWith(0), on},
		{"the body", "CloseNow", Config{}, echoes, dropsIt, on},
		{"the body", "nothing", Config{}, echoes, leavesOpen, on},
		{"both", "1000 and 1008", Config{}, says(ClosePolicyViolation), closesWith(CloseNormal), on},
		{"both", "nothing and 1003", Config{}, says(CloseUnsupportedData), leavesOpen, on},
	} {
		t.Run(c.who+", "+c.how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials []time.Time
				opts := redialScripts(&dials, c.peer, closing(0, CloseNormal))
				opts.Config = c.cfg
				n := 0
				body := func(conn *Conn) {
					if n++; n == 1 {
						c.body(conn)
					} else {
						drain(conn)
					}
				}
				if got := strings.Join(redialEventsOf(t.Context(), opts, Backoff{Attempts: 9}, body), ", "); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// TestNextAfterEnd judges ends that only races and faulty peers lead to.
func TestNextAfterEnd(t *testing.T) {
	covers(t, "V19")
	for _, c := range []struct {
		name string
		end  CloseError
		ours bool
		want nextStep
	}{
		{"a limit, and the peer answers", CloseError{Code: CloseMessageTooBig, Received: true, Err: ErrMessageTooBig}, false, dialAgain},
		{"a limit, and the peer ends with 1000", CloseError{Code: CloseNormal, Received: true, Err: ErrSlowConsumer}, false, dialAgain},
		{"1000, and no answer", CloseError{Code: CloseNormal, Sent: true}, false, dialAgain},
		{"1008, and no answer", CloseError{Code: ClosePolicyViolation, Sent: true}, false, dialAgain},
		{"closed by us, and 1008", CloseError{Code: ClosePolicyViolation, Received: true}, true, dialAgain},
	} {
		if got := nextAfterEnd(&c.end, c.ours); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// TestRedialContextEndsBesideConnection lets the context end while a connection
// is used, however that ends then: the context's error is what the loop is told
// at last.
func TestRedialContextEndsBesideConnection(t *testing.T) {
	covers(t, "V19")
	reason := errors.New("the user left")
	for _, c := range []struct {
		name string
		peer answering
		body func(c *Conn)
	}{
		{"left open", echoes, leavesOpen},
		{"closed by the body", echoes, closesWith(CloseNormal)},
		{"dropped by the body", echoes, dropsIt},
		{"closed by the peer", closes(CloseNormal), drain},
		{"refused by the peer", closes(ClosePolicyViolation), drain},
		{"cut by the peer", farEnd(func(_ net.Conn, s *Conn) { s.CloseNow() }), drain},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var dials []time.Time
				var last error
				for conn, err := range Redial(ctx, "ws://h", redialScripts(&dials, c.peer), Backoff{}) {
					if last = err; err == nil {
						cancel(reason)
						c.body(conn)
					}
				}
				var e *RedialError
				if !errors.As(last, &e) || !e.Final || !errors.Is(e.Err, context.Canceled) || !errors.Is(e.Err, reason) || e.Closed == nil {
					t.Errorf("got %v", last)
				}
				var end *CloseError
				if errors.As(last, &end) {
					t.Errorf("the error tells of the connection: %v", last)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestRedialContextEndsBesideFailure lets the context end in a dial that fails
// for another reason.
func TestRedialContextEndsBesideFailure(t *testing.T) {
	covers(t, "V19")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dial := func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return nil, errors.New("connection refused")
	}
	var errs []error
	for _, err := range Redial(ctx, "ws://h", &DialOptions{NetDial: dial}, Backoff{}) {
		errs = append(errs, err)
	}
	var e *RedialError
	if len(errs) != 1 || !errors.As(errs[0], &e) || !e.Final || e.Err != context.Canceled {
		t.Errorf("got %v", errs)
	}
}

func TestRedialInvalidRequest(t *testing.T) {
	for c, err := range Redial(t.Context(), "ftp://h", nil, Backoff{}) {
		var e *RedialError
		if c != nil || !errors.As(err, &e) || !e.Final || statusOf(err) != 0 || e.Closed != nil {
			t.Errorf("got %v, %v", c, err)
		}
	}
}

// TestRedialWaits checks that waits are random and stay below a bound that
// grows to its limit.
func TestRedialWaits(t *testing.T) {
	covers(t, "X20")
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{Min: time.Second, Max: 10 * time.Second, Attempts: 50}
		var dials []time.Time
		distinct := make(map[time.Duration]bool)
		var longest time.Duration
		for _, err := range Redial(t.Context(), "ws://h", redialScripts(&dials), b) {
			var e *RedialError
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			if bound := min(time.Second<<min(e.Attempt-1, 10), 10*time.Second); e.Wait > bound || e.Final != (e.Attempt == 50) {
				t.Errorf("attempt %d waits %v of %v", e.Attempt, e.Wait, bound)
			}
			distinct[e.Wait] = true
			longest = max(longest, e.Wait)
		}
		if len(dials) != 50 || len(distinct) < 45 || longest < 5*time.Second {
			t.Errorf("%d dials, %d distinct waits up to %v", len(dials), len(distinct), longest)
		}
	})
}

func TestBackoffBound(t *testing.T) {
	covers(t, "X20")
	for _, c := range []struct {
		b        Backoff
		failures int
		want     time.Duration
	}{
		{Backoff{}, 1, time.Second},
		{Backoff{}, 2, 2 * time.Second},
		{Backoff{}, 5, 16 * time.Second},
		{Backoff{}, 6, 30 * time.Second},
		{Backoff{}, 1 << 30, 30 * time.Second},
		{Backoff{Min: time.Minute}, 1, 30 * time.Second},
		{Backoff{Min: 3, Max: 7}, 2, 6},
		{Backoff{Min: 3, Max: 7}, 3, 7},
		{Backoff{Max: 1<<63 - 1}, 1 << 30, 1<<63 - 1},
	} {
		if got := c.b.bound(c.failures); got != c.want {
			t.Errorf("%+v after %d: got %v, want %v", c.b, c.failures, got, c.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	covers(t, "X20")
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "100000": 10 * time.Minute, "-1": 0, "x": 0, "9999999999999999999": 0,
	} {
		e := &HandshakeError{Status: 503, Response: &http.Response{Header: http.Header{"Retry-After": {value}}}}
		if got := retryAfter(e); got != want {
			t.Errorf("%q: got %v", value, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		busy := reply("HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
		redialEvents(t.Context(), redialScripts(&dials, busy, closing(0, CloseNormal)), Backoff{})
		if d := dials[1].Sub(dials[0]); d != 2*time.Minute {
			t.Errorf("waited %v", d)
		}
		time.Sleep(time.Minute)
	})
}

func TestRedialContext(t *testing.T) {
	covers(t, "Q.B10")
	for name, dial := range map[string]func(ctx context.Context, _, _ string) (net.Conn, error){
		"while waiting": func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") },
		"while dialing": func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				var last error
				for _, err := range Redial(ctx, "ws://h", &DialOptions{NetDial: dial}, Backoff{}) {
					last = err
				}
				var e *RedialError
				if !errors.As(last, &e) || !e.Final || !errors.Is(last, context.DeadlineExceeded) || time.Since(began) != time.Hour {
					t.Errorf("got %v after %v", last, time.Since(began))
				}
			})
		})
	}
}

func TestRedialBodyDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		opts := redialScripts(&dials, closing(time.Hour, CloseNormal), closing(time.Hour, CloseNormal))
		var kept *Conn
		for c, err := range Redial(t.Context(), "ws://h", opts, Backoff{}) {
			if err != nil {
				t.Fatal(err)
			}
			if len(dials) == 2 {
				kept = c
				break
			}
			// The first is left before it has ended, and is closed for us.
		}
		if kept == nil || kept.Context().Err() != nil {
			t.Error("the connection of a loop that was left is closed")
		}
		kept.CloseNow()
		time.Sleep(2 * time.Hour)
	})
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		for range Redial(t.Context(), "ws://h", redialScripts(&dials), Backoff{}) {
			break
		}
		if len(dials) != 1 {
			t.Errorf("%d dials after the loop was left", len(dials))
		}
	})
}

func TestRedialTellsOfLastClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		var e *RedialError
		opts := redialScripts(&dials, closing(0, CloseServiceRestart), reply("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"))
		for c, err := range Redial(t.Context(), "ws://h", opts, Backoff{}) {
			if err == nil {
				drain(c)
			} else if !errors.As(err, &e) {
				t.Fatal(err)
			}
		}
		if e == nil || e.Closed == nil || e.Closed.Code != CloseServiceRestart || statusOf(e) != 403 {
			t.Errorf("got %+v", e)
		}
		if want := "websocket: attempt 2, the last: opening handshake: server refused (HTTP status 403)"; e.Error() != want {
			t.Errorf("text %q", e)
		}
		time.Sleep(time.Minute)
	})
}
