package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// A roundTripper is an http.RoundTripper made of a function.
type roundTripper func(r *http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// byClient returns options to dial through a client with this RoundTripper.
func byClient(rt http.RoundTripper) *DialOptions {
	return &DialOptions{HTTPClient: &http.Client{Transport: rt}}
}

// mustEchoBy opens a connection to url through opts.HTTPClient, and echoes.
func mustEchoBy(t *testing.T, url string, opts *DialOptions) (*Conn, *http.Response) {
	t.Helper()
	c, r, err := Dial(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	mustEcho(t, c)
	return c, r
}

// switched returns the response of a server that accepts r, with this body, as a
// RoundTripper may make it up.
func switched(r *http.Request, body io.ReadCloser) *http.Response {
	h := http.Header{}
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set("Sec-WebSocket-Accept", string(appendAcceptKey(nil, r.Header.Get("Sec-WebSocket-Key"))))
	return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: h, Body: body}
}

// answeredBy returns a RoundTripper that plays an echo server on a pipe, whose
// other end wrap makes a Body of.
func answeredBy(t *testing.T, wrap func(nc net.Conn) io.ReadCloser) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		near, far := net.Pipe()
		s := newConn(far, server, silent.withDefaults(), agreement{}, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			echo(s)
		}()
		t.Cleanup(func() { s.CloseNow(); <-done })
		return switched(r, wrap(near)), nil
	}
}

// bare hides all but the methods of an io.ReadWriteCloser.
func bare(nc net.Conn) io.ReadCloser { return struct{ io.ReadWriteCloser }{nc} }

func TestHTTPClient(t *testing.T) {
	covers(t, "C32", "E06")
	plain, secure := echoServer(t)
	for _, c := range []struct {
		url    string
		client *http.Client
	}{
		{"ws" + strings.TrimPrefix(plain.URL, "http"), http.DefaultClient},
		{plain.URL, new(http.Client)},
		{"wss" + strings.TrimPrefix(secure.URL, "https"), secure.Client()},
		{secure.URL, secure.Client()},
	} {
		opts := &DialOptions{HTTPClient: c.client, Config: Config{Subprotocols: []string{"chat"}}}
		conn, r := mustEchoBy(t, c.url, opts)
		if r.StatusCode != 101 || conn.Subprotocol() != "chat" || r.Request == nil || (r.TLS != nil) != strings.HasSuffix(r.Request.URL.Scheme, "s") {
			t.Errorf("response %+v, subprotocol %q", r, conn.Subprotocol())
		}
		u, _ := url.Parse(c.url)
		if conn.RemoteAddr().String() != u.Host || conn.LocalAddr().Network() != "tcp" {
			t.Errorf("addresses %v, %v", conn.RemoteAddr(), conn.LocalAddr())
		}
		big := sentence(1<<20, 1)
		go conn.WriteString(t.Context(), big)
		if _, p, err := conn.Read(t.Context()); string(p) != big || err != nil {
			t.Errorf("got %d bytes, %v", len(p), err)
		}
		if err := conn.Close(CloseNormal, ""); err != nil {
			t.Errorf("closed with %v", err)
		}
	}
}

// TestHTTPClientOptions refuses what the client decides itself, and says what to
// set instead.
func TestHTTPClientOptions(t *testing.T) {
	covers(t, "U04")
	jar, _ := cookiejar.New(nil)
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errFault }
	for want, o := range map[string]DialOptions{
		"TLS is set together with HTTPClient: set the TLSClientConfig of its Transport": {TLS: new(tls.Config)},
		"Proxy is set":       {Proxy: http.ProxyFromEnvironment},
		"ProxyHeader is set": {ProxyHeader: http.Header{}},
		"NetDial is set":     {NetDial: dial},
		"NetDialTLS is set":  {NetDialTLS: dial},
		"Jar is set":         {Jar: jar},
		"Redirects is set":   {Redirects: 1},
	} {
		o.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			t.Errorf("%s: a request is sent", want)
			return nil, errFault
		})}
		_, _, err := Dial(t.Context(), "ws://h", &o)
		var e *HandshakeError
		if !errors.As(err, &e) || !e.invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, url := range []string{"ws+unix:///run/a", "wss+unix:///run/a"} {
		if _, _, err := Dial(t.Context(), url, &DialOptions{HTTPClient: new(http.Client)}); err == nil || !strings.Contains(err.Error(), "DialContext dials the socket") {
			t.Errorf("%s: got %v", url, err)
		}
	}
	near, far := net.Pipe()
	if _, _, err := DialConn(t.Context(), near, "ws://h", &DialOptions{HTTPClient: new(http.Client)}); err == nil || !strings.Contains(err.Error(), "HTTPClient connects by itself") {
		t.Errorf("DialConn: got %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("DialConn leaves its net.Conn open: %v", err)
	}
}

// TestHTTPClientRequest looks at the request that a RoundTripper is given, and at
// what it finds by Get.
func TestHTTPClientRequest(t *testing.T) {
	covers(t, "U07", "C17")
	var got *http.Request
	answer := answeredBy(t, bare)
	opts := byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
		got = r
		return answer(r)
	}))
	opts.Host = "other:81"
	opts.Subprotocols = []string{"a", "b"}
	opts.Header = http.Header{"x-api_KEY": {"1"}, "user-agent": {"me"}}
	_, r := mustEchoBy(t, "ws://user:pass%2Fword@[fe80::1%25zone]/chat?a=b", opts)
	if got.Method != "GET" || got.URL.String() != "http://[fe80::1%25zone]:80/chat?a=b" || got.Host != "other:81" || r.Request != got {
		t.Errorf("%s %s with Host %q", got.Method, got.URL, got.Host)
	}
	if user, password, _ := got.BasicAuth(); user != "user" || password != "pass/word" {
		t.Errorf("userinfo %q, %q", user, password)
	}
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "a, b",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s is %q", name, v)
		}
	}
	if !hasKey(got.Header, "x-api_KEY") || !hasKey(got.Header, "user-agent") || !isKey(got.Header.Get("Sec-WebSocket-Key")) {
		t.Errorf("header %v", got.Header)
	}
	if _, ok := opts.Header["User-Agent"]; ok || len(opts.Header) != 2 {
		t.Errorf("the caller's header was changed: %v", opts.Header)
	}
}

// TestHTTPClientSpelling has net/http's Transport write names as RFC 6455 and
// the application spell them, and shows requests with ordinary keys.
func TestHTTPClientSpelling(t *testing.T) {
	covers(t, "C11", "C17")
	heads := make(chan string, 1)
	var hooked []string
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			reader := http1.NewRequestReader(far)
			defer reader.Release()
			head, _ := reader.Next()
			heads <- head
			if r, err := http1.ParseRequest(t.Context(), head); err == nil {
				reply(response())(far, r)
			}
		}()
		return near, nil
	}}
	opts := byClient(transport)
	opts.Header = http.Header{"x-api_KEY": {"1"}, "user-agent": {"me"}, "X-A": {"1"}, "x-a": {"2"}}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteHeaderField: func(name string, _ []string) { hooked = append(hooked, name) }})
	c, r, err := Dial(ctx, "ws://h/", opts)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	head := <-heads
	for _, line := range []string{"Sec-WebSocket-Key: ", "Sec-WebSocket-Version: 13\r\n", "x-api_KEY: 1\r\n", "user-agent: me\r\n", "X-A: 1\r\n", "x-a: 2\r\n"} {
		if strings.Count(head, "\r\n"+line) != 1 {
			t.Errorf("%q is not once in %q", line, head)
		}
	}
	if strings.Contains(head, "User-Agent") || strings.Contains(head, "Websocket-") {
		t.Errorf("got %q", head)
	}
	if r.Request.Header.Get("Sec-WebSocket-Version") != "13" || !slices.Contains(hooked, "Sec-WebSocket-Version") {
		t.Errorf("request %v, hooks %q", r.Request.Header, hooked)
	}
}

// TestHTTPClientWithHTTP2 opens a connection by HTTP/1.1 with a Transport that
// speaks HTTP/2, and has a connection for it, to a server that does too.
func TestHTTPClientWithHTTP2(t *testing.T) {
	covers(t, "C07", "C08")
	s := newQuietServer(http.HandlerFunc(hinting))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	client := &http.Client{Transport: transport}
	r, err := client.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.ProtoMajor != 2 {
		t.Errorf("an ordinary request goes by %s", r.Proto)
	}
	mustEchoBy(t, s.URL, &DialOptions{HTTPClient: client})
	var only http.Protocols
	only.SetHTTP2(true)
	transport = s.Client().Transport.(*http.Transport).Clone()
	transport.Protocols = &only
	transport.DialTLSContext = nil
	for name, rt := range map[string]http.RoundTripper{
		"h2": roundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Del("Upgrade")
			r.Header.Del("Connection")
			return transport.RoundTrip(r)
		}),
		"h2, with Upgrade": roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New(`http2: invalid Upgrade request header: ["websocket"]`)
		}),
	} {
		if _, _, err := Dial(t.Context(), s.URL, byClient(rt)); err == nil || !strings.Contains(err.Error(), "give it a Transport that speaks HTTP/1.1") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestHTTPClientForcedToHTTP2 has a Transport that can do nothing but HTTP/2
// without TLS, so that net/http itself refuses to send the request.
func TestHTTPClientForcedToHTTP2(t *testing.T) {
	covers(t, "C07")
	s := newQuietServer(http.HandlerFunc(hinting))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	_, _, err := Dial(t.Context(), s.URL, byClient(&http.Transport{Protocols: only}))
	if err == nil || !strings.Contains(err.Error(), "give it a Transport that speaks HTTP/1.1") {
		t.Errorf("got %v", err)
	}
}

// TestHTTPClientMocks opens connections on Bodies that RoundTrippers make up.
func TestHTTPClientMocks(t *testing.T) {
	for name, c := range map[string]struct {
		wrap      func(net.Conn) io.ReadCloser
		deadlines bool
	}{
		"net.Conn":           {func(nc net.Conn) io.ReadCloser { return nc }, true},
		"io.ReadWriteCloser": {bare, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := byClient(answeredBy(t, c.wrap))
				opts.PingInterval = -1
				conn, r := mustEchoBy(t, "ws://h/", opts)
				if r.Request == nil || r.Proto != "HTTP/1.1" {
					t.Errorf("response %+v", r)
				}
				if conn.LocalAddr() == nil || conn.RemoteAddr() == nil || !c.deadlines && conn.RemoteAddr().String() != "h:80" {
					t.Errorf("addresses %v, %v", conn.LocalAddr(), conn.RemoteAddr())
				}
				if err := conn.NetConn().SetDeadline(time.Time{}); (err == nil) != c.deadlines {
					t.Errorf("SetDeadline returns %v", err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				synctest.Wait()
				waits := conn.read.background.state.Load() == backgroundReadOn // for the background reader, not for the network
				_, _, err := conn.Read(ctx)
				var end *CloseError
				if survives := c.deadlines || waits; !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &end) == survives {
					t.Errorf("an interrupted read returns %v", err)
				}
				if c.deadlines {
					mustEcho(t, conn)
				}
				conn.CloseNow()
			})
		})
	}
}

// TestHTTPClientBodies has RoundTrippers return what no connection can be made
// of.
func TestHTTPClientBodies(t *testing.T) {
	covers(t, "C24", "C31", "C34")
	for want, answer := range map[string]func(r *http.Request) *http.Response{
		"struct { io.Reader; io.Closer }, which cannot be written to": func(r *http.Request) *http.Response {
			return switched(r, struct {
				io.Reader
				io.Closer
			}{strings.NewReader(""), io.NopCloser(nil)})
		},
		"Body of the response is a io.nopCloser": func(r *http.Request) *http.Response { return switched(r, nil) },
		"Accept does not belong to our key": func(r *http.Request) *http.Response {
			response := switched(r, http.NoBody)
			response.Header.Set("Sec-WebSocket-Accept", "x")
			return response
		},
		"in HTTP/3.0, where there is no Upgrade": func(r *http.Request) *http.Response {
			response := switched(r, http.NoBody)
			response.Proto, response.ProtoMajor = "HTTP/3.0", 3
			return response
		},
		"response is not HTTP/1.1": func(r *http.Request) *http.Response {
			response := switched(r, http.NoBody)
			response.Proto, response.ProtoMajor = "HTTP/1.0", 1
			return response
		},
	} {
		closed := 0
		_, r, err := Dial(t.Context(), "ws://h/", byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
			response := answer(r)
			if c, ok := response.Body.(struct {
				io.Reader
				io.Closer
			}); ok {
				c.Closer = closerFunc(func() error { closed++; return nil })
				response.Body = c
			}
			return response, nil
		})))
		if statusOf(err) != 101 || r == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want %q", r, err, want)
		}
		if strings.HasPrefix(want, "struct") && closed != 1 {
			t.Errorf("the Body was closed %d times", closed)
		}
	}
}

// A closerFunc is an io.Closer made of a function.
type closerFunc func() error

// Close calls f.
func (f closerFunc) Close() error { return f() }

// TestHTTPClientWrappedBody has a RoundTripper count what goes through the Body,
// as those that trace do, and sees that nothing goes past it, but that deadlines
// and addresses are those of the connection.
func TestHTTPClientWrappedBody(t *testing.T) {
	covers(t, "E06")
	for _, s := range servers(t) {
		counted := new(countingBody)
		transport := s.Client().Transport
		conn, _ := mustEchoBy(t, s.URL, byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
			response, err := transport.RoundTrip(r)
			if err == nil {
				counted.ReadWriteCloser = response.Body.(io.ReadWriteCloser)
				response.Body = counted
			}
			return response, err
		})))
		if counted.read.Load() != 7 || counted.written.Load() != 11 || conn.RemoteAddr().String() != s.Listener.Addr().String() {
			t.Errorf("%d bytes were read and %d written, from %v", counted.read.Load(), counted.written.Load(), conn.RemoteAddr())
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, _, err := conn.Read(ctx); err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
			cancel()
		}
		mustEcho(t, conn)
		if err := conn.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
		conn.CloseNow()
		if got := counted.closed.Load(); got != 1 {
			t.Errorf("the Body was closed %d times", got)
		}
	}
}

// servers returns those of echoServer.
func servers(t *testing.T) []*httptest.Server {
	plain, secure := echoServer(t)
	return []*httptest.Server{plain, secure}
}

// A countingBody counts what goes through it.
type countingBody struct {
	io.ReadWriteCloser
	read, written, closed atomic.Int64
}

// Read counts.
func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// Write counts.
func (b *countingBody) Write(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Write(p)
	b.written.Add(int64(n))
	return n, err
}

// Close counts.
func (b *countingBody) Close() error {
	b.closed.Add(1)
	return b.ReadWriteCloser.Close()
}

// TestHTTPClientAuthorizes has a RoundTripper that gets a token, by a request of
// its own with the same context, and adds it.
func TestHTTPClientAuthorizes(t *testing.T) {
	s := newQuietServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			io.WriteString(w, "secret")
		case r.Header.Get("Authorization") != "Bearer secret":
			http.Error(w, "who are you?", http.StatusUnauthorized)
		default:
			HandlerFunc(nil, echo).ServeHTTP(w, r)
		}
	}))
	s.Start()
	defer s.Close()
	authorize := func(r *http.Request) (*http.Response, error) {
		ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.URL+"/token", nil)
		if err != nil {
			return nil, err
		}
		response, err := s.Client().Transport.RoundTrip(ask)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		token, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+string(token))
		return s.Client().Transport.RoundTrip(r)
	}
	c, _ := mustEchoBy(t, s.URL, byClient(roundTripper(authorize)))
	if c.RemoteAddr().String() != s.Listener.Addr().String() {
		t.Errorf("address %v", c.RemoteAddr())
	}
	answer := answeredBy(t, bare)
	c, _ = mustEchoBy(t, s.URL, byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
		authorize(r.Clone(r.Context()))
		return answer(r)
	})))
	if _, ok := c.NetConn().(*bodyConn); !ok {
		t.Errorf("NetConn is a %T", c.NetConn())
	}
}

// TestHTTPClientTakesNoOther does not take the connection of another request,
// which was put back, for that of the handshake.
func TestHTTPClientTakesNoOther(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	answer := answeredBy(t, bare)
	c, _ := mustEchoBy(t, "ws://h/", byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
		ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			return nil, err
		}
		response, err := s.Client().Do(ask)
		if err != nil {
			return nil, err
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		return answer(r)
	})))
	if got := c.RemoteAddr().String(); got != "h:80" {
		t.Errorf("address %v", got)
	}
}

func TestHTTPClientRefusals(t *testing.T) {
	covers(t, "C19", "C34")
	long := strings.Repeat("x", 5000)
	var handler http.HandlerFunc
	s := newQuietServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r) }))
	s.Start()
	defer s.Close()
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, "hello", "is no WebSocket endpoint"},
		{401, "who are you?", `(HTTP status 401, body "who are you?")`},
		{503, long, `body "` + long[:200] + `...")`},
		{302, "", "server redirects"},
	} {
		handler = func(w http.ResponseWriter, r *http.Request) {
			if c.status == 302 {
				w.Header().Set("Location", "/")
			}
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}
		opts := &DialOptions{HTTPClient: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		_, r, err := Dial(t.Context(), s.URL, opts)
		var e *HandshakeError
		if !errors.As(err, &e) || e.Status != c.status || e.Response != r || r == nil || !strings.Contains(err.Error(), c.want) {
			t.Fatalf("%d: got %v, %v", c.status, r, err)
		}
		body, err := io.ReadAll(r.Body)
		if want := c.body[:min(len(c.body), http1.MaxErrorBody)]; string(body) != want || err != nil {
			t.Errorf("%d: body %q, %v", c.status, body, err)
		}
	}
}

// TestHTTPClientReusesConnections has a refusal that was read to its end leave
// the connection to the next request, as net/http does.
func TestHTTPClientReusesConnections(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	reused := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
	opts := &DialOptions{HTTPClient: s.Client()}
	for range 2 {
		if _, _, err := Dial(ctx, s.URL, opts); statusOf(err) != 404 {
			t.Fatal(err)
		}
	}
	if !reused {
		t.Error("each has a connection of its own")
	}
}

func TestHTTPClientRedirects(t *testing.T) {
	covers(t, "C20", "Q.B07")
	plain := newSite(t, (*httptest.Server).Start)
	secure := newSite(t, (*httptest.Server).StartTLS)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	var asked []string
	client := func(check func(*http.Request, []*http.Request) error) *DialOptions {
		own := *secure.Client()
		own.Jar, own.CheckRedirect = jar, check
		return &DialOptions{HTTPClient: &own, Header: http.Header{"X-A": {"b"}}}
	}
	note := func(r *http.Request, via []*http.Request) error {
		asked = append(asked, r.URL.String())
		return nil
	}
	for _, c := range []struct {
		name, url string
		check     func(*http.Request, []*http.Request) error
		status    int
		want      string // in the error
	}{
		{"path", plain.ws("/3"), nil, 101, ""},
		{"many", plain.ws("/11"), nil, 303, "stopped after 10 redirects"},
		{"ws", plain.to(plain.ws("/0")), note, 101, ""},
		{"wss", plain.to(secure.ws("/0")), note, 101, ""},
		{"https", plain.to(secure.URL + "/0"), nil, 101, ""},
		{"wss to ws", secure.to(plain.ws("/0")), note, 302, "redirect target is not wss"},
		{"wss to http", secure.to(plain.URL), nil, 302, "redirect target is not wss"},
		{"refused", plain.ws("/1"), func(*http.Request, []*http.Request) error { return stop }, 302, "stop"},
		{"not followed", plain.ws("/1"), func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, 302, "server redirects"},
		{"Unix socket", plain.to("ws+unix:///run/a"), nil, 0, "unsupported protocol scheme"},
		{"malformed", plain.to("ws://h:x/"), nil, 0, "Location"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, r, err := Dial(t.Context(), c.url, client(c.check))
			if conn != nil {
				mustEcho(t, conn)
				conn.CloseNow()
			}
			if (c.status != 0) != (r != nil) || r != nil && r.StatusCode != c.status || (err == nil) != (c.status == 101) || statusOf(err)%101 != c.status%101 {
				t.Fatalf("got %v, %v", r, err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "Get ")) {
				t.Errorf("got %v", err)
			}
			if r != nil && r.Body != http.NoBody {
				if _, err := io.ReadAll(r.Body); err != nil {
					t.Errorf("body: %v", err)
				}
			}
		})
	}
	if want := []string{plain.URL + "/0", secure.URL + "/0"}; !slices.Equal(asked, want) {
		t.Errorf("CheckRedirect was asked about %q, want %q", asked, want)
	}
	last := secure.requests[len(secure.requests)-1]
	if last.Header.Get("X-A") != "b" || last.Header.Get("Cookie") != "hop=1" {
		t.Errorf("header %v", last.Header)
	}
}

// TestHTTPClientProxies goes through proxies with net/http's Transport: by a
// tunnel for wss, and by a proxy that passes requests on for ws.
func TestHTTPClientProxies(t *testing.T) {
	covers(t, "C03", "Q.B09")
	plain, secure := echoServer(t)
	var through []string
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}
	p := newQuietServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through = append(through, r.Method)
		if r.Method == http.MethodConnect {
			relay(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	p.Start()
	defer p.Close()
	proxyURL, _ := url.Parse(p.URL)
	transport := secure.Client().Transport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(proxyURL)
	for _, s := range []*httptest.Server{plain, secure} {
		c, _ := mustEchoBy(t, s.URL, byClient(transport))
		if got := c.RemoteAddr().String(); got != proxyURL.Host {
			t.Errorf("address %v", got)
		}
	}
	if fmt.Sprint(through) != "[GET CONNECT]" {
		t.Errorf("through the proxy went %v", through)
	}
}

func TestHTTPClientAndRedial(t *testing.T) {
	s := newSite(t, (*httptest.Server).Start)
	for c, err := range Redial(t.Context(), s.ws("/1"), &DialOptions{HTTPClient: s.Client()}, Backoff{}) {
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c)
		c.CloseNow()
		break
	}
	var failed *RedialError
	for _, err := range Redial(t.Context(), "ws://h/", &DialOptions{HTTPClient: s.Client(), Redirects: 1}, Backoff{}) {
		if !errors.As(err, &failed) || !failed.Final {
			t.Errorf("got %v", err)
		}
	}
}

// TestHTTPClientTraces has Trace.Handshake told of the last request, and the
// hooks of the application called beside those of the package.
func TestHTTPClientTraces(t *testing.T) {
	s := newSite(t, (*httptest.Server).Start)
	var traced []HandshakeTrace
	opts := &DialOptions{HTTPClient: s.Client()}
	opts.Trace = &Trace{Handshake: func(_ *Conn, h HandshakeTrace) { traced = append(traced, h) }}
	got := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got++ }})
	c, _, err := Dial(ctx, s.ws("/1"), opts)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if len(traced) != 1 || traced[0].Status != 101 || traced[0].Request.URL.Path != "/0" || traced[0].Err != nil || got != 2 {
		t.Errorf("traced %+v, GotConn was called %d times", traced, got)
	}
	if _, _, err := Dial(t.Context(), "ws://h/", &DialOptions{Config: opts.Config, HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errFault
	})}}); !errors.Is(err, errFault) || len(traced) != 2 || traced[1].Err != err || traced[1].Request.URL.Host != "h" {
		t.Errorf("got %v, traced %+v", err, traced)
	}
}

// TestHTTPClientSecrets keeps the query of the URL out of the error.
func TestHTTPClientSecrets(t *testing.T) {
	covers(t, "Q.J06")
	_, _, err := Dial(t.Context(), "ws://user:secret@h/?token=secret", byClient(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errFault
	})))
	if !errors.Is(err, errFault) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// TestHTTPClientContextEndsAtEveryStage lets the context end, in each way that
// there is, while the client waits for one thing after another: Dial returns at
// once and leaves nothing open. A synctest bubble ends only when its goroutines
// have.
func TestHTTPClientContextEndsAtEveryStage(t *testing.T) {
	covers(t, "C34", "Q.B10")
	for stage, serve := range map[string]func(far net.Conn){
		"dial":    nil,
		"request": func(net.Conn) {},
		"response": func(far net.Conn) {
			io.Copy(io.Discard, far)
		},
		"rest of the response": func(far net.Conn) {
			http.ReadRequest(bufio.NewReader(far))
			io.WriteString(far, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
			io.Copy(io.Discard, far)
		},
		"body": func(far net.Conn) {
			http.ReadRequest(bufio.NewReader(far))
			io.WriteString(far, "HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\nhi")
			io.Copy(io.Discard, far)
		},
	} {
		for how, want := range map[string]error{
			"canceled": context.Canceled, "deadline": context.DeadlineExceeded,
			"HandshakeTimeout": context.DeadlineExceeded, "Client.Timeout": context.DeadlineExceeded,
		} {
			t.Run(stage+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := net.Pipe()
					defer far.Close()
					if serve != nil {
						go serve(far)
					}
					opts := byClient(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
						if serve == nil { // the Transport goes on without those that asked for it
							time.Sleep(time.Hour)
							near.Close()
							return nil, errFault
						}
						return near, nil
					}})
					opts.HandshakeTimeout = time.Minute
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					switch how {
					case "canceled":
						time.AfterFunc(time.Second, cancel)
					case "deadline":
						ctx, cancel = context.WithTimeout(ctx, time.Second)
						defer cancel()
					case "HandshakeTimeout":
						opts.HandshakeTimeout = time.Second
					case "Client.Timeout":
						opts.HTTPClient.Timeout = time.Second
					}
					began := time.Now()
					_, r, err := Dial(ctx, "ws://h", opts)
					if d := time.Since(began); !errors.Is(err, want) || d != time.Second {
						t.Errorf("got %v after %v", err, d)
					}
					if stage == "body" {
						if b, _ := io.ReadAll(r.Body); string(b) != "hi" || statusOf(err) != 503 {
							t.Errorf("got %v with body %q", err, b)
						}
					}
					if _, err := io.Copy(io.Discard, far); err != nil { // ends when near is closed
						t.Errorf("the other end: %v", err)
					}
				})
			})
		}
	}
}

// TestHTTPClientDeaf has RoundTrippers that do not look at their context: Dial
// does not wait for them, and closes what they return later.
func TestHTTPClientDeaf(t *testing.T) {
	covers(t, "Q.B10")
	synctest.Test(t, func(t *testing.T) {
		closed := false
		opts := byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Hour)
			return switched(r, struct {
				io.ReadWriter
				io.Closer
			}{nil, closerFunc(func() error { closed = true; return nil })}), nil
		}))
		opts.HandshakeTimeout = time.Second
		began := time.Now()
		if _, _, err := Dial(t.Context(), "ws://h", opts); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !closed {
			t.Error("the Body is not closed")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		silence, _ := io.Pipe()
		closed := 0
		opts := byClient(roundTripper(func(*http.Request) (*http.Response, error) {
			body := struct {
				io.Reader
				io.Closer
			}{silence, closerFunc(func() error { closed++; return silence.Close() })}
			return &http.Response{StatusCode: 503, Body: body}, nil
		}))
		opts.HandshakeTimeout = time.Second
		if _, r, err := Dial(t.Context(), "ws://h", opts); !errors.Is(err, context.DeadlineExceeded) || statusOf(err) != 503 || r == nil {
			t.Errorf("got %v, %v", r, err)
		}
		if closed != 1 {
			t.Errorf("the Body was closed %d times", closed)
		}
	})
}

// TestHTTPClientDoesNotReturn has a RoundTripper panic, which reaches the caller,
// exit, and return nothing.
func TestHTTPClientDoesNotReturn(t *testing.T) {
	covers(t, "Q.H12")
	dial := func(f func()) (recovered any, err error) {
		defer func() { recovered = recover() }()
		_, _, err = Dial(t.Context(), "ws://h", byClient(roundTripper(func(*http.Request) (*http.Response, error) {
			f()
			return nil, nil
		})))
		return nil, err
	}
	if got, _ := dial(func() { panic("the trap") }); got != "the trap" {
		t.Errorf("recovered %v", got)
	}
	if _, err := dial(runtime.Goexit); err == nil || !strings.Contains(err.Error(), "HTTPClient exited") {
		t.Errorf("got %v", err)
	}
	if _, err := dial(func() {}); err == nil {
		t.Error("a RoundTripper without a result does not fail")
	}
}

// TestHTTPClientContextOfRequest has the context that a RoundTripper sees go on
// for as long as the connection, whatever becomes of the one for Dial, and end
// with it.
func TestHTTPClientContextOfRequest(t *testing.T) {
	covers(t, "Q.B11")
	type key struct{}
	plain, _ := echoServer(t)
	var seen context.Context
	opts := byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = r.Context()
		return plain.Client().Transport.RoundTrip(r)
	}))
	opts.HTTPClient.Timeout = time.Hour
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	c, _, err := Dial(ctx, plain.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	mustEcho(t, c)
	if seen.Err() != nil || seen.Value(key{}) != "value" {
		t.Errorf("context of the request: %v", seen)
	}
	c.CloseNow()
	<-seen.Done()
	if _, _, err := Dial(t.Context(), "ws://h/", byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = r.Context()
		return &http.Response{StatusCode: 404}, nil
	}))); statusOf(err) != 404 || seen.Err() == nil {
		t.Errorf("got %v, the context is still %v", err, seen.Err())
	}
}

// TestHTTPClientWithoutEnd opens a connection under a context that does not end
// and without a timeout: the request still has a context that ends with it.
func TestHTTPClientWithoutEnd(t *testing.T) {
	plain, _ := echoServer(t)
	var seen context.Context
	opts := byClient(roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = r.Context()
		return plain.Client().Transport.RoundTrip(r)
	}))
	opts.HandshakeTimeout = -1
	c, _, err := Dial(context.Background(), plain.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, c)
	if seen.Err() != nil {
		t.Errorf("context of the request: %v", seen)
	}
	c.CloseNow()
	<-seen.Done()
	if _, _, err := Dial(context.Background(), plain.URL+"/404", &DialOptions{Config: opts.Config, HTTPClient: &http.Client{
		Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errFault }),
	}}); !errors.Is(err, errFault) {
		t.Errorf("got %v", err)
	}
}

// TestHTTPClientLeavesNothing has no goroutine of net/http stay with a
// connection, or after a refusal.
func TestHTTPClientLeavesNothing(t *testing.T) {
	covers(t, "Q.B03", "C36")
	plain, _ := echoServer(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	u, _ := url.Parse(plain.URL)
	before := runtime.NumGoroutine()
	for range 20 {
		c, _ := mustEchoBy(t, "ws://"+u.Host, &DialOptions{HTTPClient: client, Config: silent})
		c.CloseNow()
	}
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

// TestHTTPClientIsNotChanged leaves the application's client as it is.
func TestHTTPClientIsNotChanged(t *testing.T) {
	plain, _ := echoServer(t)
	client := &http.Client{Timeout: time.Minute}
	mustEchoBy(t, plain.URL, &DialOptions{HTTPClient: client})
	if client.Timeout != time.Minute || client.CheckRedirect != nil || client.Transport != nil {
		t.Errorf("got %+v", client)
	}
}

// TestHTTPClientCompresses agrees on compression through the client.
func TestHTTPClientCompresses(t *testing.T) {
	covers(t, "C32")
	cfg := Config{Compression: &Compression{}}
	s := httptest.NewServer(HandlerFunc(&AcceptOptions{Config: cfg}, echo))
	defer s.Close()
	compressed := false
	opts := &DialOptions{Config: cfg, HTTPClient: s.Client()}
	opts.Trace = &Trace{FrameIn: func(_ *Conn, f FrameTrace) { compressed = compressed || f.Compressed }}
	c, _, err := Dial(t.Context(), s.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	text := sentence(10_000, 1)
	if err := c.WriteString(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(t.Context()); string(p) != text || err != nil || !compressed {
		t.Errorf("got %d bytes, %v, compressed %v", len(p), err, compressed)
	}
}

// TestHTTPClientEarlyFrames reads frames that came in one segment with the
// response.
func TestHTTPClientEarlyFrames(t *testing.T) {
	covers(t, "C33")
	opts := byClient(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return servePipe(t, reply(response("Content-Length: 2")+"\x81\x02hi\x81\x05Hello")), nil
	}})
	c, _, err := Dial(t.Context(), "ws://h", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for _, want := range []string{"hi", "Hello"} {
		if _, p, err := c.Read(t.Context()); string(p) != want || err != nil {
			t.Errorf("got %q, %v", p, err)
		}
	}
}

// TestHTTPClientUsesTheSocket finds the net.Conn in the Body that net/http made,
// and what was received behind the response.
func TestHTTPClientUsesTheSocket(t *testing.T) {
	plain, secure := echoServer(t)
	c, _ := mustEchoBy(t, plain.URL, &DialOptions{HTTPClient: plain.Client()})
	if _, ok := c.NetConn().(*net.TCPConn); !ok || !c.socket().isRaw() {
		t.Errorf("NetConn is a %T", c.NetConn())
	}
	c, _ = mustEchoBy(t, secure.URL, &DialOptions{HTTPClient: secure.Client()})
	if _, ok := c.NetConn().(*tls.Conn); !ok {
		t.Errorf("NetConn is a %T", c.NetConn())
	}
	early := strings.Repeat("early ", 500)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		head := appendSwitchingProtocols(nil, keyIn(r), agreement{}, nil)
		nc.Write(append(append(head, "\r\n"...), appendFrame(nil, header{byte0: 0x81, length: int64(len(early))}, []byte(early)).b...))
	}))
	defer s.Close()
	c, _, err := Dial(t.Context(), s.URL, &DialOptions{HTTPClient: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, p, err := c.Read(t.Context()); string(p) != early {
		t.Errorf("Read: %.20q, %v", p, err)
	}
	if _, ok := c.NetConn().(*net.TCPConn); !ok {
		t.Errorf("NetConn is a %T", c.NetConn())
	}
}
