package websocket

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// An answering is a server on nc: it is given the request and writes what it
// likes.
type answering func(nc net.Conn, r *http.Request)

// reply returns the server that answers with wire, in which ACCEPT stands for
// the right Sec-WebSocket-Accept, and then waits for the client to go.
func reply(wire string) answering {
	return func(nc net.Conn, r *http.Request) {
		io.WriteString(nc, strings.ReplaceAll(wire, sampleAccept, acceptFor(r)))
		io.Copy(io.Discard, nc)
	}
}

func acceptFor(r *http.Request) string {
	return string(appendAcceptKey(nil, r.Header.Get(keyField)))
}

// servePipe runs s on the far end of a pipe and returns the near end.
func servePipe(t testing.TB, s answering) net.Conn {
	near, far := net.Pipe()
	done := make(chan bool)
	go func() {
		defer close(done)
		defer far.Close()
		r, err := http.ReadRequest(bufio.NewReader(far))
		if err == nil {
			s(far, r)
		}
	}()
	t.Cleanup(func() { near.Close(); <-done })
	return near
}

// dialScript opens a connection to a scripted server.
func dialScript(t testing.TB, s answering, opts *DialOptions) (*Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return DialConn(ctx, servePipe(t, s), "ws://example.com/chat", opts)
}

func TestDial(t *testing.T) {
	covers(t, "C32", "E06", "U01", "W01")
	plain, secure := echoServer(t)
	for _, scheme := range []string{"ws", "http", "wss", "https"} {
		t.Run(scheme, func(t *testing.T) {
			s := plain
			if strings.HasSuffix(scheme, "s") && scheme != "ws" {
				s = secure
			}
			opts := &DialOptions{TLS: trust(secure), Config: Config{Subprotocols: []string{"superchat", "chat"}}}
			c, r, err := Dial(t.Context(), scheme+"://"+s.Listener.Addr().String(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			if r.StatusCode != 101 || c.Subprotocol() != "chat" || r.Request == nil {
				t.Errorf("response %+v, subprotocol %q", r, c.Subprotocol())
			}
			mustEcho(t, c)
		})
	}
}

// TestNothingIsDialed checks that whatever can be known to be wrong before a
// connection is made is found before.
func TestNothingIsDialed(t *testing.T) {
	covers(t, "U02", "U04", "U05", "U06", "C15", "C17", "W02", "Q.B14", "Q.J06")
	for _, c := range []struct {
		name string
		url  string
		opts DialOptions
		want string
	}{
		{"fragment", "ws://h/p#f", DialOptions{}, "fragment"},
		{"scheme", "ftp://h/", DialOptions{}, "scheme"},
		{"host", "ws://exämple/", DialOptions{}, "xn--"},
		{"injection in URL", "ws://h/a\r\nX: y", DialOptions{}, "control"},
		{"userinfo", "ws://u:secret@h:x/", DialOptions{}, "malformed"},
		{"injection in header", "ws://h/", DialOptions{Header: http.Header{"X-A": {"secret\r\nX: y"}}}, "control"},
		{"injection in name", "ws://h/", DialOptions{Header: http.Header{"X-A: b\r\nX": {"y"}}}, "token"},
		{"reserved header", "ws://h/", DialOptions{Header: http.Header{"Sec-WebSocket-Key": {"x"}}}, "set by this package"},
		{"Host header", "ws://h/", DialOptions{Header: http.Header{"Host": {"x"}}}, "Host"},
		{"Host option", "ws://h/", DialOptions{Host: "a\r\nX: y"}, "host"},
		{"Host option with userinfo", "ws://h/", DialOptions{Host: "a@b"}, "host"},
		{"subprotocol", "ws://h/", DialOptions{Config: Config{Subprotocols: []string{"a\r\nX: y"}}}, "token"},
		{"subprotocol twice", "ws://h/", DialOptions{Config: Config{Subprotocols: []string{"a", "a"}}}, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opts.NetDial = func(context.Context, string, string) (net.Conn, error) {
				t.Error("dialed")
				return nil, io.EOF
			}
			_, _, err := Dial(t.Context(), c.url, &c.opts)
			var e *HandshakeError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			near, far := net.Pipe()
			if _, _, err := DialConn(t.Context(), near, c.url, &c.opts); err == nil {
				t.Error("DialConn does not fail")
			}
			if _, err := far.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("connection is open: %v", err)
			}
		})
	}
}

func TestRequestOfClient(t *testing.T) {
	covers(t, "C08", "C10", "C11", "C13", "C14", "C16", "C17", "C18", "U07", "E01")
	var got *http.Request
	s := func(nc net.Conn, r *http.Request) {
		got = r
		reply(response())(nc, r)
	}
	near := servePipe(t, s)
	opts := &DialOptions{
		Header: http.Header{"cookie": {"a=b"}, "X-A": {"1", "2"}, "Origin": {"http://o"}},
		Host:   "other:81",
	}
	before := opts.Header.Clone()
	c, r, err := DialConn(t.Context(), near, "ws://user:pass%2Fword@example.com/chat", opts)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if got.Method != "GET" || got.Proto != "HTTP/1.1" || got.RequestURI != "/chat" || got.Host != "other:81" {
		t.Errorf("request %+v", got)
	}
	if user, password, _ := got.BasicAuth(); user != "user" || password != "pass/word" {
		t.Errorf("userinfo %q, %q", user, password)
	}
	got.Header.Del("Authorization")
	got.Header.Del(keyField)
	want := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, versionField: {"13"},
		"Cookie": {"a=b"}, "X-A": {"1", "2"}, "Origin": {"http://o"},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got.Header, want)
	}
	if r.Request.URL.String() != "http://example.com/chat" || !reflect.DeepEqual(opts.Header, before) {
		t.Errorf("URL %v, header %v", r.Request.URL, opts.Header)
	}
}

// headSent returns the head of the request that a client with these options
// sends.
func headSent(t *testing.T, url string, opts *DialOptions) string {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go DialConn(t.Context(), near, url, opts)
	reader := http1.NewRequestReader(far)
	defer reader.Release()
	head, err := reader.Next()
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// TestNamesAsWritten has names of fields in any spelling, which is how they
// leave, because there are servers to which it matters.
func TestNamesAsWritten(t *testing.T) {
	covers(t, "C17")
	header := http.Header{"x-api_KEY": {"1"}, "X-Twice": {"a", "b"}, "x-twice": {"c"}, "origin": {"http://o"}}
	got := headSent(t, "ws://h/", &DialOptions{Header: header})
	const want = "X-Twice: a\r\nX-Twice: b\r\norigin: http://o\r\nx-api_KEY: 1\r\nx-twice: c\r\n\r\n"
	if !strings.HasSuffix(got, "\r\nSec-WebSocket-Version: 13\r\n"+want) {
		t.Errorf("got %q, want it to end with %q", got, want)
	}
	d, err := newDialer("ws://h/", &DialOptions{Header: header})
	if err != nil || !hasKey(d.request.Header, "x-api_KEY") || d.request.Header.Get("x-api_KEY") != "" {
		t.Errorf("hooks see %v, not the map as net/http would have it", d.request.Header)
	}
}

// hasKey reports whether h has this very key.
func hasKey(h http.Header, key string) bool {
	_, ok := h[key]
	return ok
}

// TestReservedNames refuses the fields of the handshake in any spelling.
func TestReservedNames(t *testing.T) {
	covers(t, "C17")
	for _, name := range []string{"sec-websocket-key", "SEC-WEBSOCKET-KEY", "host", "CONNECTION", "upgrade", "content-length", "Sec-WebSocket-Anything"} {
		if _, err := newDialer("ws://h/", &DialOptions{Header: http.Header{name: {"x"}}}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAuthorizationOfCaller(t *testing.T) {
	covers(t, "U07")
	head := headSent(t, "ws://u:p@h", &DialOptions{Header: http.Header{"authorization": {"Bearer x"}}})
	if !strings.Contains(head, "\r\nauthorization: Bearer x\r\n") || strings.Contains(head, "Basic") {
		t.Errorf("got %q", head)
	}
}

// TestCookiesJoin has the cookies of the jar and of the header leave in one
// field, however that is spelled: "the user agent MUST NOT attach more than one
// Cookie header field" (RFC 6265, Section 5.4).
func TestCookiesJoin(t *testing.T) {
	covers(t, "C20")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "http", Host: "h"}
	jar.SetCookies(u, []*http.Cookie{{Name: "jar", Value: "1"}})
	for _, name := range []string{"Cookie", "cookie", "COOKIE"} {
		opts := &DialOptions{Jar: jar, Header: http.Header{name: {"own=1", "too=2"}}}
		head := headSent(t, "ws://h/", opts)
		if !strings.Contains(head, "\r\n"+name+": own=1; too=2; jar=1\r\n") || strings.Count(strings.ToLower(head), "cookie") != 1 {
			t.Errorf("got %q", head)
		}
		if opts.Header[name][0] != "own=1" {
			t.Errorf("the caller's header was changed: %v", opts.Header)
		}
	}
}

func TestKeysAreFresh(t *testing.T) {
	covers(t, "C12", "Q.J10")
	seen := make(map[string]bool)
	for range 10_000 {
		d, err := newDialer("ws://h", nil)
		if err != nil || !isKey(d.offer.key) || seen[d.offer.key] {
			t.Fatalf("key %q, %v", d.offer.key, err)
		}
		seen[d.offer.key] = true
	}
}

func TestNoEntropy(t *testing.T) {
	covers(t, "C12")
	broken := errors.New("broken")
	defer func(r io.Reader) { rand.Reader = r }(rand.Reader)
	rand.Reader = iotest.ErrReader(broken)
	if _, _, err := Dial(t.Context(), "ws://h", nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	covers(t, "C19", "C20", "C34", "C35", "P16", "W04", "Q.B03", "Q.B07")
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name   string
		wire   string
		status int
		body   string
		want   string // in the error
	}{
		{"200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", "is no WebSocket endpoint"},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""},
		{"302", "HTTP/1.1 302 Found\r\nLocation: ws://other/?a=b\r\nContent-Length: 0\r\n\r\n", 302, "", `(HTTP status 302, Location "ws://other/?a=b")`},
		{"302 with password", "HTTP/1.1 302 Found\r\nLocation: ws://user:pass@other/\r\nContent-Length: 0\r\n\r\n", 302, "", `Location "ws://user:xxxxx@other/")`},
		{"302 with malformed Location", "HTTP/1.1 302 Found\r\nLocation: ws://u:p@[\r\nContent-Length: 0\r\n\r\n", 302, "", "(HTTP status 302)"},
		{"302 with long Location", "HTTP/1.1 302 Found\r\nLocation: /" + long + "\r\nContent-Length: 0\r\n\r\n", 302, "", `Location "/` + long[:199] + `...")`},
		{"302 with Location that is not ASCII", "HTTP/1.1 302 Found\r\nLocation: /\xc3\xa4\r\nContent-Length: 0\r\n\r\n", 302, "", `Location "/%C3%A4")`},
		{"403 without reason phrase", "HTTP/1.1 403\r\nContent-Length: 2\r\n\r\nno", 403, "no", `server refused (HTTP status 403, body "no")`},
		{"403 in lines", "HTTP/1.1 403 \r\nContent-Length: 20\r\n\r\nno\r\n\t way,\x1b \"you\" \xff\n", 403, "no\r\n\t way,\x1b \"you\" \xff\n", `body "no way,\x1b \"you\" \xff")`},
		{"403 in white space", "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\n\r\n \t", 403, "\r\n \t", "(HTTP status 403)"},
		{"403 in runes", "HTTP/1.1 403 No\r\nContent-Length: 202\r\n\r\n" + "x" + strings.Repeat("\u00e4", 100) + "y", 403, "x" + strings.Repeat("\u00e4", 100) + "y", `body "x` + strings.Repeat("\u00e4", 99) + `...")`},
		{"403 compressed", "HTTP/1.1 403 No\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", 403, "\x1f\x8b", "(HTTP status 403)"},
		{"401", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", 401, "no", ""},
		{"403 of HTTP/1.0", "HTTP/1.0 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, "no", ""},
		{"404 chunked", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 404, "no", ""},
		{"426", "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8, 7\r\nContent-Length: 0\r\n\r\n", 426, "", `"8, 7"`},
		{"500 with a long body", "HTTP/1.1 500 Oops\r\nContent-Length: 5000\r\n\r\n" + long, 500, long[:1024], `body "` + long[:200] + `...")`},
		{"500 with a huge body", "HTTP/1.1 500 Oops\r\nContent-Length: 1073741824\r\n\r\n" + long, 500, long[:1024], ""},
		{"500 with endless chunks", "HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("800\r\n"+long[:2048]+"\r\n", 3), 500, long[:1024], ""},
		{"500 with malformed chunks", "HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nx\r\n", 500, "hi", ""},
		{"500 of uncertain length", "HTTP/1.1 500 Oops\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", 500, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, r, err := dialScript(t, reply(c.wire), nil)
			var e *HandshakeError
			if conn != nil || !errors.As(err, &e) || e.Status != c.status || e.Response != r || r == nil {
				t.Fatalf("got %v, %v, %v", conn, r, err)
			}
			body, err := io.ReadAll(r.Body)
			if r.StatusCode != c.status || string(body) != c.body || err != nil {
				t.Errorf("status %d, body %q, %v", r.StatusCode, body, err)
			}
			if !strings.Contains(e.Error(), c.want) {
				t.Errorf("error %v", e)
			}
		})
	}
}

func TestBodyThatNeverEnds(t *testing.T) {
	covers(t, "C34", "Q.B03")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, r, err := dialScript(t, reply("HTTP/1.1 503 Busy\r\n\r\nhi"), &DialOptions{Config: Config{HandshakeTimeout: time.Second}})
		if statusOf(err) != 503 || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Fatalf("got %v after %v", err, time.Since(began))
		}
		if body, _ := io.ReadAll(r.Body); string(body) != "hi" {
			t.Errorf("body %q", body)
		}
	})
}

func TestMalformedResponses(t *testing.T) {
	covers(t, "C31", "C34", "Q.B02", "Q.B05", "Q.B13")
	for name, wire := range map[string]string{
		"garbage":            "garbage\r\n\r\n",
		"HTTP/2":             "HTTP/2 101 Switching Protocols\r\n\r\n",
		"HTTP/1.0":           response("HTTP/1.0 101 Switching Protocols"),
		"no status":          response("HTTP/1.1 "),
		"bare LF":            strings.ReplaceAll(response(), "\r\n", "\n"),
		"one bare LF":        strings.Replace(response(), "\r\n", "\n", 1),
		"folded":             response("X-A: b\r\n c"),
		"NUL":                response("X-A: b\x00"),
		"space before colon": response("X-A : b"),
		"SSH":                "SSH-2.0-OpenSSH_9.2\r\n",
		"SMTP":               "220 mail.example.com ESMTP\r\n",
		"TLS alert":          "\x15\x03\x01\x00\x02\x02\x28",
		"one byte":           "X",
		"a frame":            "\x81\x05Hello",
		"huge header":        "HTTP/1.1 101 Switching Protocols\r\nA: " + strings.Repeat("x", 1<<20),
		"many headers":       strings.TrimSuffix(response(), "\r\n") + strings.Repeat("A: b\r\n", http1.MaxHeadFields) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := dialScript(t, reply(wire), nil)
			var e *HandshakeError
			if c != nil || !errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, %v", c, err)
			}
		})
	}
}

// TestNoReasonPhrase has a server leave out the reason phrase and the space before
// it.
func TestNoReasonPhrase(t *testing.T) {
	covers(t, "P16")
	c, r, err := dialScript(t, reply(response("HTTP/1.1 101")), nil)
	if err != nil || r.StatusCode != 101 {
		t.Fatalf("got %v, %v", r, err)
	}
	c.CloseNow()
}

// TestHugeHeaderIsNotRead checks how much is read of a response without end.
func TestHugeHeaderIsNotRead(t *testing.T) {
	covers(t, "C34")
	var written int
	done := make(chan bool)
	_, _, err := dialScript(t, func(nc net.Conn, _ *http.Request) {
		defer close(done)
		n, err := io.WriteString(nc, "HTTP/1.1 101 X\r\n")
		for err == nil {
			written += n
			n, err = io.WriteString(nc, "X-A: "+strings.Repeat("x", 1000)+"\r\n")
		}
	}, nil)
	<-done
	if !errors.Is(err, http1.ErrTooLarge) || written > http1.MaxHeadBytes+4096 {
		t.Errorf("got %v after %d bytes", err, written)
	}
}

func TestInterimResponses(t *testing.T) {
	covers(t, "C21", "C34", "Q.B04")
	const early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	for n, ok := range map[int]bool{0: true, 1: true, http1.MaxInterim: true, http1.MaxInterim + 1: false, 100: false} {
		wire := "HTTP/1.1 100 Continue\r\n\r\n"[:min(n, 1)*25] + strings.Repeat(early, max(n-1, 0)) + response()
		c, _, err := dialScript(t, reply(wire), nil)
		if (err == nil) != ok {
			t.Errorf("%d interim responses: %v", n, err)
		}
		if c != nil {
			c.CloseNow()
		}
	}
}

func TestResponseSplitAtEveryByte(t *testing.T) {
	covers(t, "C33", "C36", "Q.B01")
	wire := response("Content-Length: 2") + "\x81\x02hi"
	for cut := range len(wire) + 1 {
		c, _, err := dialScript(t, func(nc net.Conn, r *http.Request) {
			whole := strings.ReplaceAll(wire, sampleAccept, acceptFor(r))
			io.WriteString(nc, whole[:cut])
			io.WriteString(nc, whole[cut:])
			io.Copy(io.Discard, nc)
		}, nil)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, p, err := c.Read(t.Context()); string(p) != "hi" || err != nil {
			t.Fatalf("cut at %d: %q, %v", cut, p, err)
		}
		c.CloseNow()
	}
}

func TestResponseCutAtEveryByte(t *testing.T) {
	covers(t, "C36", "Q.B05")
	for cut := range len(response()) {
		_, _, err := dialScript(t, func(nc net.Conn, r *http.Request) {
			io.WriteString(nc, strings.ReplaceAll(response(), sampleAccept, acceptFor(r))[:cut])
		}, nil)
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestHeadEndsWithBuffer(t *testing.T) {
	covers(t, "Q.B01")
	for _, size := range []int{4095, 4096, 4097, 8192} {
		pad := size - len(response("X-Pad: "))
		c, _, err := dialScript(t, reply(response("X-Pad: "+strings.Repeat("x", pad))+"\x81\x02hi"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(t.Context()); string(p) != "hi" || err != nil {
			t.Errorf("%d: %q, %v", size, p, err)
		}
		c.CloseNow()
	}
}

func TestNothingIsSentBeforeResponse(t *testing.T) {
	covers(t, "C18", "Q.J03")
	synctest.Test(t, func(t *testing.T) {
		c, _, err := dialScript(t, func(nc net.Conn, r *http.Request) {
			nc.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := nc.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %d bytes, %v", n, err)
			}
			nc.SetReadDeadline(time.Time{})
			reply(response())(nc, r)
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
	})
}

func TestServerHandshakeRejected(t *testing.T) {
	covers(t, "C24", "C26", "C29", "Q.B06")
	for _, change := range []string{
		"Sec-WebSocket-Accept: x", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate",
	} {
		c, r, err := dialScript(t, reply(response(change)), nil)
		if c != nil || statusOf(err) != 101 || r == nil {
			t.Errorf("%s: got %v, %v, %v", change, c, r, err)
		}
	}
}

func TestCookiesAreVisible(t *testing.T) {
	covers(t, "C32")
	c, r, err := dialScript(t, reply(response("Set-Cookie: a=b")), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if cookies := r.Cookies(); len(cookies) != 1 || cookies[0].Value != "b" {
		t.Errorf("cookies %v", cookies)
	}
}

// TestContextEndsAtEveryStage lets the context end while the client waits for
// one thing after another, and checks that it returns at once and leaves
// nothing open. A synctest bubble ends only when its goroutines have.
func TestContextEndsAtEveryStage(t *testing.T) {
	covers(t, "C34", "W09", "Q.B10", "Q.I02")
	for _, c := range []struct {
		name string
		url  string
		dial func(ctx context.Context, near, far net.Conn) (net.Conn, error)
	}{
		{"dial", "ws://h", func(ctx context.Context, near, _ net.Conn) (net.Conn, error) {
			<-ctx.Done()
			near.Close()
			return nil, ctx.Err()
		}},
		{"dial that does not look at its context", "ws://h", func(_ context.Context, near, _ net.Conn) (net.Conn, error) {
			time.Sleep(time.Hour)
			return near, nil
		}},
		{"dial of TLS", "wss://h", func(_ context.Context, near, _ net.Conn) (net.Conn, error) {
			time.Sleep(time.Hour)
			return near, nil
		}},
		{"TLS", "wss://h", func(_ context.Context, near, far net.Conn) (net.Conn, error) {
			go io.Copy(io.Discard, far)
			return near, nil
		}},
		{"TLS hello", "wss://h", func(_ context.Context, near, _ net.Conn) (net.Conn, error) { return near, nil }},
		{"request", "ws://h", func(_ context.Context, near, _ net.Conn) (net.Conn, error) { return near, nil }},
		{"response", "ws://h", func(_ context.Context, near, far net.Conn) (net.Conn, error) {
			go io.Copy(io.Discard, far)
			return near, nil
		}},
		{"rest of the response", "ws://h", func(_ context.Context, near, far net.Conn) (net.Conn, error) {
			go func() {
				http.ReadRequest(bufio.NewReader(far))
				for _, b := range []byte(response()) {
					if _, err := far.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(300 * time.Millisecond)
				}
			}()
			return near, nil
		}},
	} {
		for _, how := range []string{"canceled", "deadline", "HandshakeTimeout"} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := net.Pipe()
					defer far.Close()
					ctx, cancel := context.WithCancel(t.Context())
					want := context.DeadlineExceeded
					opts := &DialOptions{NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
						return c.dial(ctx, near, far)
					}}
					if c.name == "dial of TLS" {
						opts.NetDial, opts.NetDialTLS = nil, opts.NetDial
					}
					switch how {
					case "canceled":
						want = context.Canceled
						time.AfterFunc(time.Second, cancel)
					case "deadline":
						ctx, cancel = context.WithTimeout(ctx, time.Second)
					default:
						opts.HandshakeTimeout = time.Second
					}
					defer cancel()
					began := time.Now()
					_, _, err := Dial(ctx, c.url, opts)
					if d := time.Since(began); !errors.Is(err, want) || d != time.Second {
						t.Errorf("got %v after %v", err, d)
					}
					if _, err := io.Copy(io.Discard, far); err != nil { // ends when near is closed
						t.Errorf("the other end: %v", err)
					}
					time.Sleep(time.Second) // for the other end to notice
				})
			})
		}
	}
}

func TestContextEndsAfterwards(t *testing.T) {
	covers(t, "Q.B11")
	plain, _ := echoServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, _, err := Dial(ctx, "ws://"+plain.Listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	cancel()
	mustEcho(t, c)
}

func TestDialLeavesNothing(t *testing.T) {
	covers(t, "Q.B03", "C36")
	plain := httptest.NewServer(http.NotFoundHandler())
	u, _ := url.Parse(plain.URL)
	before := runtime.NumGoroutine()
	for range 50 {
		if _, _, err := Dial(t.Context(), "ws://"+u.Host, nil); statusOf(err) != 404 {
			t.Fatal(err)
		}
	}
	plain.Close() // waits for the server's side
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

func TestRequireSubprotocol(t *testing.T) {
	covers(t, "W03", "C29")
	for _, c := range []struct {
		offered []string
		answer  string
		ok      bool
	}{
		{[]string{"chat"}, response("Sec-WebSocket-Protocol: chat"), true},
		{[]string{"chat"}, response(), false},
		{nil, response(), true},
	} {
		opts := &DialOptions{RequireSubprotocol: true, Config: Config{Subprotocols: c.offered}}
		conn, r, err := dialScript(t, reply(c.answer), opts)
		if (err == nil) != c.ok || r == nil {
			t.Errorf("offered %q: %v", c.offered, err)
		}
		if conn != nil {
			conn.CloseNow()
		}
	}
}
