package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An entryPoint is one of the ways into the server. It sends wire and returns the
// response with its body, and the connection behind it.
type entryPoint struct {
	name string
	open func(t *testing.T, opts *AcceptOptions, wire string) (*http.Response, net.Conn)
}

// entryPoints are all of them.
var entryPoints = []entryPoint{{"Accept", viaAccept}, {"AcceptConn", viaAcceptConn}}

// viaAccept goes through net/http's server.
func viaAccept(t *testing.T, opts *AcceptOptions, wire string) (*http.Response, net.Conn) {
	s := newQuietServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, opts); err == nil {
			echo(c)
			c.CloseNow()
		}
	}))
	s.Start()
	t.Cleanup(s.Close)
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, nc, wire)
}

// viaAcceptConn goes through AcceptConn on a TCP connection.
func viaAcceptConn(t *testing.T, opts *AcceptOptions, wire string) (*http.Response, net.Conn) {
	near, far := tcpPair(t)
	go func() {
		if c, _, err := AcceptConn(t.Context(), far, opts); err == nil {
			echo(c)
			c.CloseNow()
		}
	}()
	return roundTrip(t, near, wire)
}

func TestRequestStatus(t *testing.T) {
	covers(t, "Q.A01", "Q.A02", "Q.A03", "Q.A04", "Q.A05", "Q.A06", "Q.A07", "Q.A08", "Q.A11", "Q.A12", "Q.A21", "Q.J01", "Q.M10", "S01", "S02", "S03",
		"S04", "S05", "S06", "S07", "S08", "S10", "S11", "S12", "S13", "S16", "S19", "S20", "S24", "S28")
	long := strings.Repeat("x", 10<<10)
	for _, c := range []struct {
		name   string
		wire   string
		status int
	}{
		{"good", request(), 101},
		{"unknown field", request("X-Foo: 1"), 101},
		{"POST", request("POST /chat HTTP/1.1", "Content-Length: 0"), 405},
		{"PUT", request("PUT /chat HTTP/1.1", "Content-Length: 0"), 405},
		{"HEAD", request("HEAD /chat HTTP/1.1"), 405},
		{"CONNECT", request("CONNECT h:80 HTTP/1.1"), 405},
		{"get", request("get /chat HTTP/1.1"), 405},
		{"HTTP/1.0", request("GET /chat HTTP/1.0"), 505},
		{"asterisk", request("GET * HTTP/1.1"), 400},
		{"target without path", request("GET mailto:a HTTP/1.1"), 400},
		{"absolute target", request("GET http://server.example.com/chat HTTP/1.1"), 101},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"no Host", request("-Host"), 400},
		{"empty Host", request("Host:"), 400},
		{"two Hosts", request("+Host: other"), 400},
		{"Upgrade missing", request("-Upgrade"), 426},
		{"Upgrade list", request("Upgrade: h2c, WebSocket"), 101},
		{"Upgrade lines", request("Upgrade: h2c", "+Upgrade: websocket"), 101},
		{"Upgrade in capitals", request("Upgrade: WEBSOCKET"), 101},
		{"Upgrade with version", request("Upgrade: websocket/13"), 400},
		{"Upgrade websockets", request("Upgrade: websockets"), 400},
		{"Upgrade h2c", request("Upgrade: h2c"), 400},
		{"Connection list", request("Connection: keep-alive, Upgrade"), 101},
		{"Connection lines", request("Connection: keep-alive", "+Connection: Upgrade"), 101},
		{"Connection with empty elements", request("Connection:  , ,upgrade"), 101},
		{"Connection in capitals", request("Connection: UPGRADE"), 101},
		{"Connection with parameter", request("Connection: Upgrade;q=1"), 400},
		{"Connection notupgrade", request("Connection: notupgrade"), 400},
		{"Connection upgrade-insecure", request("Connection: upgrade-insecure"), 400},
		{"Connection upgrade-x", request("Connection: upgrade-x"), 400},
		{"Connection missing", request("-Connection"), 400},
		{"Connection of 10,000 tokens", request("Connection: " + strings.Repeat("a,", 10_000)), 400},
		{"key missing", request("-Sec-WebSocket-Key"), 400},
		{"key empty", request("Sec-WebSocket-Key:"), 400},
		{"key of 15 bytes", request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), 400},
		{"key of 18 bytes", request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"), 400},
		{"key in the other alphabet", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-_=="), 400},
		{"key with space", request("Sec-WebSocket-Key: dGhlIHNhbXBs SBub25jZQ=="), 400},
		{"key of the RFC", request("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="), 101},
		{"key of 10 KiB", request("Sec-WebSocket-Key: " + long), 400},
		{"key folded", request("Sec-WebSocket-Key: dGhlIHNhbXBs\r\n ZSBub25jZQ=="), 400},
		{"same key twice", request("+Sec-WebSocket-Key: " + sampleKey), 400},
		{"two keys", request("+Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="), 400},
		{"version 8", request("Sec-WebSocket-Version: 8"), 426},
		{"version 12", request("Sec-WebSocket-Version: 12"), 426},
		{"version 013", request("Sec-WebSocket-Version: 013"), 426},
		{"version list", request("Sec-WebSocket-Version: 13, 8"), 426},
		{"version empty", request("Sec-WebSocket-Version:"), 426},
		{"version long", request("Sec-WebSocket-Version: " + strings.Repeat("1", 10<<10)), 426},
		{"version in spaces", request("Sec-WebSocket-Version: \t13 "), 101},
		{"version twice", request("+Sec-WebSocket-Version: 13"), 400},
		{"version missing", request("-Sec-WebSocket-Version"), 400},
		{"subprotocol malformed", request("Sec-WebSocket-Protocol: chat, a b"), 400},
		{"subprotocol twice", request("Sec-WebSocket-Protocol: chat, chat"), 400},
		{"subprotocols with empty element", request("Sec-WebSocket-Protocol: chat,,superchat"), 101},
		{"subprotocol not UTF-8", request("Sec-WebSocket-Protocol: \xff"), 400},
		{"extensions malformed", request("Sec-WebSocket-Extensions: permessage-deflate; ="), 400},
		{"quoted value is no token", request(`Sec-WebSocket-Extensions: permessage-deflate; a="x y"`), 400},
		{"unterminated quote", request(`Sec-WebSocket-Extensions: permessage-deflate; a="x`), 400},
		{"10,000 extensions", request("Sec-WebSocket-Extensions: " + strings.Repeat("a,", 10_000)), 400},
		{"extensions unknown", request("Sec-WebSocket-Extensions: constructor, __proto__; x"), 101},
		{"origin same", request("Origin: http://SERVER.example.com"), 101},
		{"no origin", request(), 101},
		{"origin other", request("Origin: http://evil.example"), 403},
		{"origin null", request("Origin: null"), 403},
		{"two origins", request("Origin: http://server.example.com", "+Origin: http://evil.example"), 403},
		{"body", request("Content-Length: 11") + maskedHello, 400},
		{"chunked body", request("Transfer-Encoding: chunked") + "5\r\nHello\r\n0\r\n\r\n", 400},
		{"body both ways", request("Content-Length: 5", "Transfer-Encoding: chunked") + "5\r\nHello\r\n0\r\n\r\n", 400},
		{"expectation", request("Expect: 100-continue"), 101},
		{"not HTTP", "Hello\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		{"no colon", request("Bad line"), 400},
		{"2 MiB line", request("X-Long: " + strings.Repeat("x", 2<<20)), 431},
	} {
		for _, d := range entryPoints {
			t.Run(c.name+"/"+d.name, func(t *testing.T) {
				r, nc := d.open(t, nil, c.wire)
				if r.StatusCode != c.status {
					t.Fatalf("got %d, want %d", r.StatusCode, c.status)
				}
				checkFraming(t, r)
				if c.status == 101 {
					io.WriteString(nc, maskedHello)
					wantHello(t, nc)
				}
			})
		}
	}
}

// TestRequestTarget has every form of a request target, and what is of none. Only
// a path, and the URI of one, are for GET.
func TestRequestTarget(t *testing.T) {
	covers(t, "Q.A07", "Q.M10", "S02", "S03")
	const notOurs, fragment, malformed = "neither a path nor an http or https URI", "has a fragment", "request target is malformed"
	for target, want := range map[string]string{
		"/":                                 "",
		"/chat?a=b?c":                       "",
		"//other.example/chat":              "",
		"/*":                                "",
		"http://server.example.com":         "",
		"HTTPS://server.example.com:1/chat": "",
		"http://[::1]/?a":                   "",
		"*":                                 notOurs,
		"server.example.com:80":             notOurs,
		"localhost:http":                    notOurs,
		"mailto:a":                          notOurs,
		"http:chat":                         notOurs,
		"http:/chat":                        notOurs,
		"http:///chat":                      notOurs,
		"http://:80/chat":                   notOurs,
		"http://user@server.example.com/":   notOurs,
		"ftp://server.example.com/chat":     notOurs,
		"ws://server.example.com/chat":      notOurs,
		"/chat#there":                       fragment,
		"http://server.example.com/#":       fragment,
		"**":                                malformed,
		"chat":                              malformed,
		"?chat":                             malformed,
		"192.0.2.1:80":                      malformed,
		"[::1]:80":                          malformed,
		"/%zz":                              malformed,
		"http://server.example.com:x/chat":  malformed,
	} {
		wire := request("GET " + target + " HTTP/1.1")
		status := http.StatusBadRequest
		if want == "" {
			status = http.StatusSwitchingProtocols
		}
		for _, d := range entryPoints {
			r, _ := d.open(t, nil, wire)
			body, _ := io.ReadAll(r.Body)
			if r.StatusCode != status {
				t.Errorf("%s: %s: got %s %q, want %d", target, d.name, r.Status, body, status)
			}
		}
		if want == "" {
			continue
		}
		near, far := net.Pipe()
		go io.Copy(io.Discard, near)
		go io.WriteString(near, wire)
		_, _, err := AcceptConn(t.Context(), far, nil)
		var e *HandshakeError
		if !errors.As(err, &e) || e.Status != http.StatusBadRequest || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", target, err, want)
		}
	}
}

// TestRefusalsSayWhatToDo sends requests that a proxy has changed, and one like
// that of a browser which visits the address.
func TestRefusalsSayWhatToDo(t *testing.T) {
	const pass = "a proxy in front of this server must pass Upgrade and Connection on"
	for _, c := range []struct {
		name   string
		wire   string
		status int
		want   []string
	}{
		{"HTTP/1.0", request("GET /chat HTTP/1.0", "-Upgrade", "Connection: close"), 505,
			[]string{"came in HTTP/1.0", "must speak HTTP/1.1 to it, and pass Upgrade and Connection on", "proxy_http_version 1.1"}},
		{"Upgrade removed", request("-Upgrade"), 426, []string{"Upgrade is missing: " + pass}},
		{"both removed", request("-Upgrade", "-Connection"), 426, []string{"Upgrade is missing: " + pass}},
		{"Upgrade changed", request("Upgrade: h2c"), 400, []string{"Upgrade does not name websocket: " + pass}},
		{"Connection removed", request("-Connection"), 400, []string{"Connection does not name Upgrade: " + pass}},
		{"Connection changed", request("Connection: keep-alive"), 400, []string{"Connection does not name Upgrade: " + pass, `proxy_set_header Connection "upgrade"`}},
		{"visitor", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426, []string{"this is a WebSocket endpoint: open it with a WebSocket client\n"}},
	} {
		for _, d := range entryPoints {
			t.Run(c.name+"/"+d.name, func(t *testing.T) {
				r, _ := d.open(t, nil, c.wire)
				body, _ := io.ReadAll(r.Body)
				for _, want := range c.want {
					if r.StatusCode != c.status || !strings.Contains(string(body), want) {
						t.Errorf("got %d, %q, want %q", r.StatusCode, body, want)
					}
				}
			})
		}
	}
}

// checkFraming checks the fields that a response of its status must have, and
// must not have.
func checkFraming(t *testing.T, r *http.Response) {
	t.Helper()
	ours := r.Header.Get("X-Content-Type-Options") != "" // net/http refuses some itself
	if (r.StatusCode == 405) != (r.Header.Get("Allow") == "GET") {
		t.Errorf("Allow is %q", r.Header["Allow"])
	}
	if upgrade := r.Header.Get("Upgrade"); (r.StatusCode == 426 || r.StatusCode == 101) != (upgrade == "websocket") {
		t.Errorf("Upgrade is %q", upgrade)
	}
	switch {
	case r.StatusCode == 101:
		if r.Header["Content-Length"] != nil || r.Header["Transfer-Encoding"] != nil || r.Header["Date"] != nil {
			t.Errorf("101 has %v", r.Header)
		}
	case r.StatusCode == 426:
		if v := r.Header[versionField]; len(v) != 1 || v[0] != "13" || !r.Close && !containsToken(r.Header["Connection"], "upgrade") {
			t.Errorf("426 has %v", r.Header)
		}
	case ours && r.ContentLength < 0 && r.Request.Method != "HEAD":
		t.Errorf("length of the body is not known")
	}
}

func TestGoldenResponse(t *testing.T) {
	covers(t, "S20", "S18", "C24")
	for _, d := range entryPoints {
		t.Run(d.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			go acceptAs(d.name, far, &AcceptOptions{
				Config: Config{Subprotocols: []string{"superchat", "chat"}},
				Header: http.Header{"X-B": {"2"}, "x-b": {"3"}, "x-api_KEY": {"4"}, "set-cookie": {"a=b", "c=d"}},
			})
			go io.WriteString(near, request("Sec-WebSocket-Protocol: chat, superchat"))
			want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: " + sampleAccept + "\r\nSec-WebSocket-Protocol: superchat\r\n" +
				"X-B: 2\r\nset-cookie: a=b\r\nset-cookie: c=d\r\nx-api_KEY: 4\r\nx-b: 3\r\n\r\n"
			got := make([]byte, len(want)+1)
			n, err := near.Read(got) // one write
			if string(got[:n]) != want || err != nil {
				t.Errorf("got  %q, %v\nwant %q", got[:n], err, want)
			}
		})
	}
}

// acceptAs serves one connection on nc by the function with that name.
func acceptAs(name string, nc net.Conn, opts *AcceptOptions) {
	if name == "AcceptConn" {
		AcceptConn(context.Background(), nc, opts)
		return
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Accept(w, r, opts) })}
	s.Serve(&oneListener{nc: nc})
}

func TestRequestSplitAtEveryByte(t *testing.T) {
	covers(t, "S22", "S23", "Q.A01", "Q.A09")
	wire := request() + maskedHello
	for _, name := range []string{"Accept", "AcceptConn"} {
		for cut := range len(wire) + 1 {
			near, far := net.Pipe()
			go acceptEcho(name, far)
			go func() {
				io.WriteString(near, wire[:cut])
				io.WriteString(near, wire[cut:])
			}()
			near.SetDeadline(time.Now().Add(10 * time.Second))
			br := bufio.NewReader(near)
			if r, err := http.ReadResponse(br, nil); err != nil || r.StatusCode != 101 {
				t.Fatalf("%s cut at %d: %v, %v", name, cut, r, err)
			}
			wantHello(t, bufferedConn{near, br})
			near.Close()
		}
	}
}

// acceptEcho echoes over nc, accepted by the function with that name.
func acceptEcho(name string, nc net.Conn) {
	if name == "AcceptConn" {
		if c, _, err := AcceptConn(context.Background(), nc, nil); err == nil {
			echo(c)
			c.CloseNow()
		}
		return
	}
	s := &http.Server{Handler: HandlerFunc(nil, echo)}
	s.Serve(&oneListener{nc: nc})
}

func TestRequestOneByteAtATime(t *testing.T) {
	covers(t, "Q.A01")
	near, far := net.Pipe()
	defer near.Close()
	go acceptEcho("AcceptConn", far)
	go func() {
		for _, b := range []byte(request() + maskedHello) {
			near.Write([]byte{b})
		}
	}()
	br := bufio.NewReader(near)
	if r, err := http.ReadResponse(br, nil); err != nil || r.StatusCode != 101 {
		t.Fatalf("%v, %v", r, err)
	}
	wantHello(t, bufferedConn{near, br})
}

func TestEarlyFrames(t *testing.T) {
	covers(t, "S23", "Q.A09")
	for _, d := range entryPoints {
		for _, n := range []int{1, 100, 10_000} {
			t.Run(fmt.Sprint(d.name, "/", n), func(t *testing.T) {
				r, nc := d.open(t, nil, request()+strings.Repeat(maskedHello, n))
				if r.StatusCode != 101 {
					t.Fatal(r.Status)
				}
				for range n {
					wantHello(t, nc)
				}
			})
		}
	}
}

func TestPolicies(t *testing.T) {
	covers(t, "E09", "Q.J05", "S15", "S16", "S18", "S27")
	secret := errors.New("secret")
	unauthorized := &HandshakeError{
		Status: 401, Reason: "who are you", Err: secret,
		Response: &http.Response{Header: http.Header{"Www-Authenticate": {"Basic"}}},
	}
	choose := func(s string, err error) *AcceptOptions {
		return &AcceptOptions{SelectSubprotocol: func(*http.Request, []string) (string, error) { return s, err }}
	}
	origin := func(err error) *AcceptOptions {
		return &AcceptOptions{Origin: func(*http.Request) error { return err }}
	}
	for _, c := range []struct {
		name   string
		opts   *AcceptOptions
		status int
		text   string // of the body, or the subprotocol
	}{
		{"origin refused", origin(secret), 403, "origin is not allowed\n"},
		{"origin asks for authentication", origin(unauthorized), 401, "who are you\n"},
		{"origin asks, wrapped", origin(fmt.Errorf("%w", unauthorized)), 401, "who are you\n"},
		{"redirect", origin(&HandshakeError{Status: 307, Reason: "over there"}), 307, "over there\n"},
		{"status that refuses nothing", origin(&HandshakeError{Status: 101}), 403, "origin is not allowed\n"},
		{"status of success", origin(&HandshakeError{Status: 200, Reason: "fine"}), 403, "fine\n"},
		{"status below those that refuse", origin(&HandshakeError{Status: 299}), 403, "origin is not allowed\n"},
		{"subprotocol chosen", choose("b", nil), 101, "b"},
		{"no subprotocol chosen", choose("", nil), 101, ""},
		{"subprotocol not offered", choose("c", nil), 500, "no subprotocol is acceptable\n"},
		{"subprotocol with CRLF", choose("b\r\nX: y", nil), 500, "no subprotocol is acceptable\n"},
		{"subprotocol refused", choose("", secret), 400, "no subprotocol is acceptable\n"},
		{"subprotocol refused with status", choose("", unauthorized), 401, "who are you\n"},
		{"first of ours", &AcceptOptions{Config: Config{Subprotocols: []string{"x", "b", "a"}}}, 101, "b"},
		{"none of ours", &AcceptOptions{Config: Config{Subprotocols: []string{"x", "B"}}}, 101, ""},
		{"reserved header", &AcceptOptions{Header: http.Header{"Sec-WebSocket-Accept": {"x"}}}, 500, "server is set up wrongly\n"},
		{"header with CRLF", &AcceptOptions{Header: http.Header{"X-A": {"b\r\nX: y"}}}, 500, "server is set up wrongly\n"},
	} {
		for _, d := range entryPoints {
			t.Run(c.name+"/"+d.name, func(t *testing.T) {
				r, _ := d.open(t, c.opts, request("Sec-WebSocket-Protocol: a, b"))
				body, _ := io.ReadAll(r.Body)
				text := string(body)
				if r.StatusCode == 101 {
					text = r.Header.Get(protocolField)
				}
				if r.StatusCode != c.status || text != c.text {
					t.Fatalf("got %d, %q", r.StatusCode, text)
				}
				if got := r.Header.Get("Www-Authenticate"); (got == "Basic") != (c.status == 401) {
					t.Errorf("WWW-Authenticate is %q", got)
				}
				if v, ok := r.Header[protocolField]; ok && (len(v) != 1 || v[0] == "") {
					t.Errorf("Sec-WebSocket-Protocol is %q", v)
				}
			})
		}
	}
}

func TestRefuseCompression(t *testing.T) {
	on := &Compression{}
	for _, c := range []struct {
		opts AcceptOptions
		want *Compression
	}{
		{AcceptOptions{}, nil},
		{AcceptOptions{Config: Config{Compression: on}}, on},
		{AcceptOptions{Config: Config{Compression: on}, RefuseCompression: func(*http.Request) bool { return true }}, nil},
		{AcceptOptions{Config: Config{Compression: on}, RefuseCompression: func(*http.Request) bool { return false }}, on},
	} {
		if got := newAcceptor(&c.opts).compressionFor(&http.Request{}); got != c.want {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}

func TestHeaderOfResponseWriter(t *testing.T) {
	covers(t, "S20")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Connection", "close")
		w.Header().Set("Sec-WebSocket-Accept", "x")
		if c, err := Accept(w, r, nil); err == nil {
			c.CloseNow()
		}
	}))
	defer s.Close()
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r, _ := roundTrip(t, nc, request())
	want := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, acceptField: {sampleAccept}, "Set-Cookie": {"a=b"}}
	if fmt.Sprint(r.Header) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", r.Header, want)
	}
}

func TestConnectionSurvivesRefusal(t *testing.T) {
	covers(t, "S01", "Q.J04")
	_, nc := viaAccept(t, nil, request("-Sec-WebSocket-Key"))
	io.WriteString(nc, request())
	if r, err := http.ReadResponse(nc.(bufferedConn).r, nil); err != nil || r.StatusCode != 101 {
		t.Fatalf("second request: %v, %v", r, err)
	}
}

func TestConnectionEndsAfterBody(t *testing.T) {
	covers(t, "S24", "X19", "Q.A08")
	for _, d := range entryPoints {
		r, nc := d.open(t, nil, request("Content-Length: 11")+maskedHello)
		if rest, err := io.ReadAll(nc); r.StatusCode != 400 || len(rest) != 0 || err != nil {
			t.Errorf("%s: %d, then %q, %v", d.name, r.StatusCode, rest, err)
		}
	}
}

func TestAcceptPeerNeverReads(t *testing.T) {
	covers(t, "Q.A16", "Q.A17")
	acceptsWhilePeerNeverReads(t, func(w http.ResponseWriter) http.ResponseWriter { return w })
}

// acceptsWhilePeerNeverReads proves that Accept gives up after HandshakeTimeout,
// behind middleware that wraps the ResponseWriter.
func acceptsWhilePeerNeverReads(t *testing.T, wrap func(http.ResponseWriter) http.ResponseWriter) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		result := make(chan error, 1)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := Accept(wrap(w), r, &AcceptOptions{Config: Config{HandshakeTimeout: time.Minute}})
			result <- err
		})}
		go s.Serve(&oneListener{nc: far})
		began := time.Now()
		go io.WriteString(near, request())
		var e *HandshakeError
		if err := <-result; !errors.As(err, &e) || e.Status != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("took %v", d)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("connection is open: %v", err)
		}
	})
}

// TestInvalidHost sends Host fields that are none: "A server MUST respond with a
// 400 (Bad Request) status code to any HTTP/1.1 request message that [...]
// contains [...] a Host header field with an invalid field value" (RFC 9112,
// Section 3.2).
func TestInvalidHost(t *testing.T) {
	for _, host := range []string{"a b", "h/evil", "a, b", "a@b", `a"b`, `a\b`, "\xff\xfe", "<script>"} {
		for _, d := range entryPoints {
			if r, _ := d.open(t, nil, request("Host: "+host)); r.StatusCode != 400 {
				t.Errorf("%s: Host %q: got %d, want 400", d.name, host, r.StatusCode)
			}
		}
	}
}

// TestRefusalWithForwardedResponse proves that a policy may refuse with a response
// that it got elsewhere: the fields that describe its body do not go out with
// ours.
func TestRefusalWithForwardedResponse(t *testing.T) {
	got := http.Header{
		"Content-Encoding": {"gzip"}, "content-range": {"bytes 0-1/2"}, "Content-Length": {"7"}, "Content-Type": {"text/html"},
		"Trailer": {"X"}, "Transfer-Encoding": {"chunked"},
		"Content-Security-Policy": {"default-src 'none'"}, "Www-Authenticate": {"Basic"},
	}
	refuse := func(*http.Request) error {
		return &HandshakeError{Status: 401, Reason: "who are you?", Response: &http.Response{Header: got}}
	}
	for _, d := range entryPoints {
		r, _ := d.open(t, &AcceptOptions{Origin: refuse}, request())
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err, d.name)
		require.Equal(t, "who are you?\n", string(body), d.name)
		require.Equal(t, 401, r.StatusCode, d.name)
		require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type"), d.name)
		require.Equal(t, "Basic", r.Header.Get("Www-Authenticate"), d.name)
		require.Equal(t, "default-src 'none'", r.Header.Get("Content-Security-Policy"), d.name)
		for _, name := range []string{"Content-Encoding", "Content-Range", "Trailer"} {
			require.Empty(t, r.Header.Get(name), "%s: %s", d.name, name)
		}
	}
}

// A refusalBody is the Body of a policy's refusal. It counts how often it is
// closed.
type refusalBody struct {
	io.Reader
	closed *atomic.Int32
}

func (b refusalBody) Close() error { b.closed.Add(1); return nil }

// refusalPolicies are the places from which an application refuses, each as a
// server of its own.
var refusalPolicies = map[string]func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn){
	"Accept, Origin": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return viaAccept(t, &AcceptOptions{Origin: func(*http.Request) error { return refuse() }}, wire)
	},
	"AcceptConn, Origin": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return viaAcceptConn(t, &AcceptOptions{Origin: func(*http.Request) error { return refuse() }}, wire)
	},
	"Accept, SelectSubprotocol": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return viaAccept(t, &AcceptOptions{SelectSubprotocol: func(*http.Request, []string) (string, error) { return "", refuse() }}, wire)
	},
	"AcceptConn, SelectSubprotocol": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return viaAcceptConn(t, &AcceptOptions{SelectSubprotocol: func(*http.Request, []string) (string, error) { return "", refuse() }}, wire)
	},
	"HandlerFunc, Origin": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return rawTo(t, HandlerFunc(&AcceptOptions{Origin: func(*http.Request) error { return refuse() }}, echo), io.Discard, wire)
	},
	"Handler, open": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return rawTo(t, Handler(nil, func(*http.Request) (func(c *Conn) error, error) { return nil, refuse() }), io.Discard, wire)
	},
	"ReceiverHandler, open": func(t *testing.T, refuse func() error, wire string) (*http.Response, net.Conn) {
		return rawTo(t, ReceiverHandler(nil, func(*http.Request) (Receiver, error) { return nil, refuse() }), io.Discard, wire)
	},
}

// TestRefusalBody refuses with a body of the application's, from each place that
// may: it is sent as its header says, or the reason is if there is none.
func TestRefusalBody(t *testing.T) {
	covers(t, "S15", "E09", "Q.J05")
	const page, text = "<script>alert(1)</script>", "text/plain; charset=utf-8"
	const reason = "no\n"
	for _, c := range []struct {
		name     string
		header   http.Header
		body     io.Reader
		want     string
		kind     string // its Content-Type
		encoding string
	}{
		{"problem", http.Header{"Content-Type": {"application/problem+json"}}, strings.NewReader(`{"status":403}`), `{"status":403}`, "application/problem+json", ""},
		{"name in lower case", http.Header{"content-type": {"text/html"}}, strings.NewReader(page), page, "text/html", ""},
		{"no type", nil, strings.NewReader(page), page, text, ""},
		{"empty type", http.Header{"Content-Type": {""}}, strings.NewReader(page), page, text, ""},
		{"type with CRLF", http.Header{"Content-Type": {"text/html\r\nX-Evil: 1"}}, strings.NewReader(page), page, text, ""},
		{"lies about itself", http.Header{
			"Content-Length": {"3"}, "Transfer-Encoding": {"chunked"}, "Content-Range": {"bytes 0-1/2"}, "Trailer": {"X"}, "X-Content-Type-Options": {"x"},
		}, strings.NewReader(page), page, text, ""},
		{"encoded", http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"text/html"}}, strings.NewReader("\x1f\x8b"), "\x1f\x8b", "text/html", "gzip"},
		{"longest", nil, strings.NewReader(strings.Repeat("x", maxRefusalBody)), strings.Repeat("x", maxRefusalBody), text, ""},
		{"too long", http.Header{"Content-Type": {"text/html"}}, strings.NewReader(strings.Repeat("x", maxRefusalBody+1)), reason, text, ""},
		{"endless", nil, zeros{}, reason, text, ""},
		{"empty", http.Header{"Content-Type": {"text/html"}, "Content-Encoding": {"gzip"}}, strings.NewReader(""), reason, text, ""},
		{"broken", nil, iotest.ErrReader(errFault), reason, text, ""},
		{"broken later", nil, io.MultiReader(strings.NewReader(page), iotest.ErrReader(errFault)), reason, text, ""},
	} {
		for place, serve := range refusalPolicies {
			t.Run(c.name+"/"+place, func(t *testing.T) {
				if s, ok := c.body.(io.Seeker); ok {
					s.Seek(0, io.SeekStart)
				}
				var closed atomic.Int32
				if c.header == nil {
					c.header = http.Header{}
				}
				c.header.Set("X-Other", "kept")
				refuse := func() error {
					return fmt.Errorf("wrapped: %w", &HandshakeError{
						Status: 403, Reason: "no", Response: &http.Response{Header: c.header, Body: refusalBody{c.body, &closed}},
					})
				}
				r, _ := serve(t, refuse, request())
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != c.want || r.StatusCode != 403 {
					t.Errorf("got %d, %d bytes %.40q, %v", r.StatusCode, len(body), body, err)
				}
				got := []string{r.Header.Get("Content-Type"), r.Header.Get("X-Content-Type-Options"), r.Header.Get("Content-Encoding"),
					r.Header.Get("X-Other"), r.Header.Get("X-Evil"), r.Header.Get("Content-Range"), r.Header.Get("Trailer")}
				require.Equal(t, []string{c.kind, "nosniff", c.encoding, "kept", "", "", ""}, got)
				require.EqualValues(t, 1, closed.Load(), "times that the Body was closed")
			})
		}
	}
}

// zeros is a Reader without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestRefusalBodyIsMissed tells the program why its body was not sent.
func TestRefusalBodyIsMissed(t *testing.T) {
	covers(t, "V22")
	for says, c := range map[string]struct {
		body io.Reader
		err  error
	}{
		"longer than 65536 bytes": {zeros{}, nil},
		errFault.Error():          {iotest.ErrReader(errFault), nil},
		"the cause":               {zeros{}, errors.New("the cause")},
	} {
		given := &HandshakeError{Status: 403, Reason: "no", Err: c.err, Response: &http.Response{Body: io.NopCloser(c.body)}}
		_, err := newAcceptor(&AcceptOptions{Origin: func(*http.Request) error { return given }}).acceptRequest(parsed(t, request()))
		require.ErrorContains(t, err, says)
		require.Equal(t, c.err, given.Err, "the application's error is changed")
	}
}

// TestRefusalWithErrorOfDial lets a server refuse because another has refused it.
// Status and fields are passed on; the body, of which a client has only the
// beginning, is not.
func TestRefusalWithErrorOfDial(t *testing.T) {
	backend := newQuietServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("X-Backend", "b")
		w.WriteHeader(418)
		io.WriteString(w, strings.Repeat("secrets ", 1000))
	}))
	backend.Start()
	defer backend.Close()
	for place, serve := range refusalPolicies {
		t.Run(place, func(t *testing.T) {
			r, _ := serve(t, func() error {
				_, _, err := Dial(context.Background(), backend.URL, nil)
				return fmt.Errorf("backend: %w", err)
			}, request())
			body, _ := io.ReadAll(r.Body)
			require.Equal(t, 418, r.StatusCode)
			require.Equal(t, "b", r.Header.Get("X-Backend"))
			require.Equal(t, "server refused\n", string(body))
			require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type"))
		})
	}
}
