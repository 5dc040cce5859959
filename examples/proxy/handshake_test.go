package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fullduplex-go/websocket"
)

func TestSubprotocols(t *testing.T) {
	for _, c := range []struct {
		offered, supported []string
		want               string
	}{
		{[]string{"a", "b"}, []string{"b"}, "b"},
		{[]string{"a", "b"}, []string{"b", "a"}, "b"},
		{[]string{"a"}, nil, ""},
		{nil, []string{"a"}, ""},
	} {
		h, conns := hold(&websocket.AcceptOptions{Config: websocket.Config{Subprotocols: c.supported}})
		client := start(t, h).dial("/", &websocket.DialOptions{Config: websocket.Config{Subprotocols: c.offered}})
		backend := <-conns
		defer backend.CloseNow()
		if client.Subprotocol() != c.want || backend.Subprotocol() != c.want {
			t.Errorf("%q offered, %q supported: %q and %q", c.offered, c.supported, client.Subprotocol(), backend.Subprotocol())
		}
	}
}

// handshake sends a handshake with more fields through the proxy by net/http
// and returns the response, which need not be closed, and its body.
func (f *fixture) handshake(path string, fields http.Header) (*http.Response, string) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(deadline(f.t), http.MethodGet, "http"+strings.TrimPrefix(f.url, "ws")+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for name, values := range fields {
		r.Header[name] = values
	}
	resp, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, string(body)
}

// TestRefusals checks that a client gets the server's own refusal: status, body
// and the fields that are meant for it.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("no, ", 5000)
	for _, c := range []struct {
		status int
		field  string
		value  string
		body   string
	}{
		{401, "Www-Authenticate", `Basic realm="here"`, "who are you?"},
		{403, "Content-Type", "application/json", `{"error":"forbidden"}`},
		{404, "Content-Type", "text/html", "<p>nothing here"},
		{429, "Retry-After", "7", "later"},
		{503, "Set-Cookie", "a=b", long},
		{302, "Location", "https://elsewhere.example/", "moved"},
		{599, "Cache-Control", "no-store", "odd"},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(c.field, c.value)
				w.Header().Set("X-Internal", "secret")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			resp, body := f.handshake("/", nil)
			if resp.StatusCode != c.status || body != c.body || resp.Header.Get(c.field) != c.value {
				t.Errorf("got %s, %v, a body of %d bytes", resp.Status, resp.Header, len(body))
			}
			if resp.Header.Get("X-Internal") != "" {
				t.Error("a field was passed on that is not for the client")
			}
			if line := f.journal.await(t, "refused", 0); line["status"] != float64(c.status) {
				t.Errorf("the log says %v", line)
			}
		})
	}
}

func TestCompressedRefusal(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusForbidden)
		z := gzip.NewWriter(w)
		io.WriteString(z, "no")
		z.Close()
	}))
	resp, body := f.handshake("/", http.Header{"Accept-Encoding": {"gzip"}})
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); string(text) != "no" || err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %q, %v, %v", text, err, resp.Header)
	}
}

// TestBadGateway checks what a client gets if the server is no WebSocket server,
// or not there.
func TestBadGateway(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a page") }))
	defer page.Close()
	for name, url := range map[string]string{"gone": gone.URL, "a page": page.URL, "garbage": garbage(t)} {
		f := startFor(t, []string{url})
		if resp, body := f.handshake("/", nil); resp.StatusCode != http.StatusBadGateway || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: got %s, %q", name, resp.Status, body)
		}
	}
}

// garbage returns the URL of a server that does not speak HTTP.
func garbage(t *testing.T) string {
	l := listener(t, func(nc net.Conn) { io.WriteString(nc, "220 ready\r\n") })
	return "ws://" + l.Addr().String()
}

// listener accepts connections until the test ends, and serves each.
func listener(t *testing.T, serve func(nc net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { nc.Close() })
			serve(nc)
		}
	}()
	return l
}

func TestGatewayTimeout(t *testing.T) {
	l := listener(t, func(net.Conn) {})
	f := startFor(t, []string{"ws://" + l.Addr().String()}, "-handshake-timeout", "10ms")
	if resp, _ := f.handshake("/", nil); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("got %s", resp.Status)
	}
}

// TestClientGoesDuringHandshake checks that a client that does not wait for the
// server's answer leaves nothing behind.
func TestClientGoesDuringHandshake(t *testing.T) {
	asked, left := make(chan bool, 1), make(chan bool, 1)
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
		left <- true
	}))
	ctx, cancel := context.WithCancel(deadline(t))
	dialed := make(chan error, 1)
	go func() {
		_, _, err := websocket.Dial(ctx, f.url, nil)
		dialed <- err
	}()
	<-asked
	cancel()
	if err := <-dialed; err == nil {
		t.Error("connected")
	}
	<-left
	if line := f.journal.await(t, "refused", 0); line["status"] != float64(statusClientGone) {
		t.Errorf("the log says %v", line)
	}
	if f.proxy.clients.conns != 0 || f.proxy.backends.all[0].conns != 0 {
		t.Error("the connection still counts")
	}
}

// TestRefusedBehindTheServer checks that the connection to the server ends when
// the client is refused although the server has accepted.
func TestRefusedBehindTheServer(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h)
	if err := f.proxy.conns.Shutdown(deadline(t), websocket.CloseGoingAway, ""); err != nil {
		t.Fatal(err)
	}
	if resp, _ := f.handshake("/", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", resp.Status)
	}
	wantEnd(t, <-conns, websocket.CloseAbnormal, "")
}

// TestStopDuringHandshake checks that a server which does not answer does not
// hold up the end of the program.
func TestStopDuringHandshake(t *testing.T) {
	asked := make(chan net.Conn, 1)
	l := listener(t, func(nc net.Conn) { asked <- nc })
	f := startFor(t, []string{"ws://" + l.Addr().String()}, "-handshake-timeout", "1h")
	go func() {
		<-asked
		f.stop()
	}()
	if resp, _ := f.handshake("/", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", resp.Status)
	}
}

// TestServerClosesAtOnce checks that messages and a Close that the server sends
// before the client is answered arrive.
func TestServerClosesAtOnce(t *testing.T) {
	f := start(t, websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		if err := c.WriteString(c.Context(), "hello"); err != nil {
			return err
		}
		return &websocket.CloseError{Code: 4000, Reason: "that is all"}
	}))
	for range 50 {
		c := f.dial("/", nil)
		if _, p, err := c.Read(deadline(t)); err != nil || string(p) != "hello" {
			t.Errorf("got %q, %v", p, err)
		}
		wantEnd(t, c, 4000, "that is all")
	}
}

// TestRequest checks what the server sees of a client's handshake.
func TestRequest(t *testing.T) {
	requests := make(chan *http.Request, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.Header().Set("Set-Cookie", "session=1")
		if c, err := websocket.Accept(w, r, nil); err == nil {
			c.CloseNow()
		}
	})
	sent := http.Header{
		"Authorization":     {"Bearer token"},
		"Cookie":            {"a=b"},
		"User-Agent":        {"test"},
		"X-Request-Id":      {"my-id.1"},
		"X-Tenant":          {"7"},
		"X-Forwarded-For":   {"192.0.2.1"},
		"X-Forwarded-Proto": {"https"},
		"Forwarded":         {"for=192.0.2.1"},
		"X-User":            {"root"},
		"Te":                {"trailers"},
		"Keep-Alive":        {"1"},
		"X-Hop":             {"1"},
		"Connection":        {"Upgrade, X-Hop"},
	}
	server := httptest.NewServer(h)
	defer server.Close()
	f := startFor(t, []string{server.URL + "/base"}, "-pass", "x-tenant", "-pass", "x-hop")
	sent["Origin"] = []string{"http" + strings.TrimPrefix(f.url, "ws")}
	resp, _ := f.handshake("/path/%2f?q=1;2&r=%20", sent)
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Set-Cookie") != "session=1" || resp.Header.Get(requestID) != "my-id.1" {
		t.Errorf("got %s, %v", resp.Status, resp.Header)
	}
	r := <-requests
	if r.RequestURI != "/base/path/%2f?q=1;2&r=%20" || r.Host != strings.TrimPrefix(f.url, "ws://") {
		t.Errorf("the server was asked for %s of %s", r.RequestURI, r.Host)
	}
	want := map[string]string{
		"Authorization": "Bearer token", "Cookie": "a=b", "User-Agent": "test", "X-Request-Id": "my-id.1", "X-Tenant": "7",
		"Origin": sent["Origin"][0], "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": r.Host,
		"Forwarded": "", "X-User": "", "Te": "", "Keep-Alive": "", "X-Hop": "",
	}
	for name, value := range want {
		if got := strings.Join(r.Header.Values(name), ", "); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if r.Header.Get("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ==" {
		t.Error("the client's key was passed on")
	}
}

// TestOddRequestID checks that an id which is not plain is replaced.
func TestOddRequestID(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h)
	for _, id := range []string{"", "a b", `a"b`, strings.Repeat("x", 65)} {
		resp, _ := f.handshake("/", http.Header{requestID: {id}})
		if got := resp.Header.Get(requestID); got == id || !plainID.MatchString(got) {
			t.Errorf("%q became %q", id, got)
		}
		(<-conns).CloseNow()
	}
}

func TestOrigins(t *testing.T) {
	h, conns := hold(&websocket.AcceptOptions{Origin: websocket.InsecureAnyOrigin()})
	for _, c := range []struct {
		args   []string
		origin string
		want   int
	}{
		{nil, "https://elsewhere.example", http.StatusForbidden},
		{[]string{"-origin", "https://*.example"}, "https://elsewhere.example", http.StatusSwitchingProtocols},
		{[]string{"-origin", "https://*.example"}, "https://elsewhere.test", http.StatusForbidden},
	} {
		f := start(t, h, c.args...)
		resp, _ := f.handshake("/", http.Header{"Origin": {c.origin}})
		if resp.StatusCode != c.want {
			t.Errorf("%q, %s: got %s, want %d", c.args, c.origin, resp.Status, c.want)
		}
		if c.want == http.StatusSwitchingProtocols {
			(<-conns).CloseNow()
		}
	}
	if len(conns) > 0 {
		t.Error("the server was asked for a page that may not connect")
	}
}

// TestLeastConnections checks which server a connection goes to, also when one
// is down.
func TestLeastConnections(t *testing.T) {
	h1, conns1 := hold(nil)
	h2, conns2 := hold(nil)
	one, two := httptest.NewServer(h1), httptest.NewServer(h2)
	defer one.Close()
	defer two.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	f := startFor(t, []string{gone.URL, one.URL, two.URL})
	for i := range 6 {
		f.dial("/", nil)
		f.journal.await(t, "accepted", i)
	}
	for i := range 3 {
		for server, conns := range map[string]chan *websocket.Conn{"first": conns1, "second": conns2} {
			select {
			case c := <-conns:
				defer c.CloseNow()
			case <-deadline(t).Done():
				t.Fatalf("the %s server got %d connections, want 3", server, i)
			}
		}
	}
	if n := testutil.ToFloat64(f.proxy.metrics.backendErrors.WithLabelValues(strings.TrimPrefix(gone.URL, "http://"), "unusable")); n == 0 {
		t.Error("the server that is down does not count")
	}
}

// TestPages checks that other requests are passed on with -http, and refused
// without.
func TestPages(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /page", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", body, r.Header.Get("X-Forwarded-For"), r.Header.Get("Upgrade"), r.Host)
	})
	mux.Handle("/ws", websocket.HandlerFunc(nil, echo))
	f := start(t, mux, "-http")
	url := "http" + strings.TrimPrefix(f.url, "ws")
	r, err := http.NewRequestWithContext(deadline(t), http.MethodPost, url+"/page", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "h2c")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello 127.0.0.1  "+r.URL.Host {
		t.Errorf("got %q, %v", body, err)
	}
	passesEcho(t, f.dial("/ws", nil))

	plain := start(t, mux)
	resp, err = http.Get("http" + strings.TrimPrefix(plain.url, "ws") + "/page")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without -http: %s", resp.Status)
	}
}

// passesEcho checks that a message comes back.
func passesEcho(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.WriteString(deadline(t), "hello"); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(deadline(t)); err != nil || string(p) != "hello" {
		t.Errorf("got %q, %v", p, err)
	}
}

// TestMalformedHandshake checks that the server is not asked for what is no
// handshake.
func TestMalformedHandshake(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(f.url, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 || resp.StatusCode > 499 {
			t.Errorf("got %s for\n%s", resp.Status, request)
		}
	}
	if len(conns) > 0 {
		t.Error("the server got a connection")
	}
}

// TestGorilla puts gorilla/websocket on one side and on the other.
func TestGorilla(t *testing.T) {
	up := gorilla.Upgrader{Subprotocols: []string{"b"}, EnableCompression: true}
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			typ, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := c.WriteMessage(typ, p); err != nil {
				return
			}
		}
	}), "-compress", "both")
	d := gorilla.Dialer{Subprotocols: []string{"a", "b"}, EnableCompression: true}
	c, _, err := d.DialContext(deadline(t), f.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Subprotocol() != "b" {
		t.Errorf("the subprotocol is %q", c.Subprotocol())
	}
	for _, size := range []int{0, 5, 5000, 500_000} {
		text := strings.Repeat("x", size)
		if err := c.WriteMessage(gorilla.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if typ, p, err := c.ReadMessage(); err != nil || typ != gorilla.TextMessage || string(p) != text {
			t.Errorf("got %d, %d bytes, %v, want %d bytes of text", typ, len(p), err, size)
		}
	}
	bye := gorilla.FormatCloseMessage(4000, "bye")
	if err := c.WriteMessage(gorilla.CloseMessage, bye); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, 4000) {
		t.Errorf("the connection ended with %v", err)
	}
}

// TestCoder puts coder/websocket on one side and on the other.
func TestCoder(t *testing.T) {
	ends := make(chan error, 1)
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"b"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for {
			typ, p, err := c.Read(context.Background())
			if err != nil {
				ends <- err
				return
			}
			if err := c.Write(context.Background(), typ, p); err != nil {
				ends <- err
				return
			}
		}
	}))
	ctx := deadline(t)
	c, _, err := coder.Dial(ctx, f.url, &coder.DialOptions{Subprotocols: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for _, size := range []int{0, 5, 5000, 500_000} {
		sent := slices.Repeat([]byte{'x'}, size)
		if err := c.Write(ctx, coder.MessageBinary, sent); err != nil {
			t.Fatal(err)
		}
		if typ, p, err := c.Read(ctx); err != nil || typ != coder.MessageBinary || !slices.Equal(p, sent) {
			t.Errorf("got %v, %d bytes, %v, want %d bytes", typ, len(p), err, size)
		}
	}
	if err := c.Close(4000, "bye"); err != nil {
		t.Error(err)
	}
	if err := <-ends; coder.CloseStatus(err) != 4000 {
		t.Errorf("the server was told %v", err)
	}
}
