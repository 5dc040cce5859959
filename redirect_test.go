package websocket

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// A site is a server that redirects /N to /N-1 and opens connections at /0,
// and keeps the requests.
type site struct {
	*httptest.Server
	requests []*http.Request
}

func newSite(t *testing.T, start func(*httptest.Server)) *site {
	s := new(site)
	s.Server = newQuietServer(http.HandlerFunc(s.serve))
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.requests = append(s.requests, r)
	if to := r.URL.Query().Get("to"); to != "" {
		http.SetCookie(w, &http.Cookie{Name: "hop", Value: "1"})
		w.Header()["Location"] = []string{to}
		w.WriteHeader(http.StatusFound)
		return
	}
	var n int
	if fmt.Sscanf(r.URL.Path, "/%d", &n); n > 0 {
		http.Redirect(w, r, fmt.Sprintf("/%d#fragment", n-1), []int{301, 302, 303, 307, 308}[n%5])
		return
	}
	HandlerFunc(nil, echo).ServeHTTP(w, r)
}

// url returns the URL of path with a redirect to another URL.
func (s *site) to(other string) string {
	return s.ws("/?to=" + url.QueryEscape(other))
}

func (s *site) ws(path string) string {
	return "ws" + strings.TrimPrefix(s.URL, "http") + path
}

func TestRedirects(t *testing.T) {
	covers(t, "C20", "Q.B07")
	s := newSite(t, (*httptest.Server).Start)
	for _, c := range []struct {
		hops, limit int
		status      int
	}{
		{1, 0, 302}, {1, 1, 101}, {5, 5, 101}, {5, 4, 302}, {3, 100, 101}, {1, -1, 302},
	} {
		conn, r, err := Dial(t.Context(), s.ws(fmt.Sprintf("/%d", c.hops)), &DialOptions{Redirects: c.limit})
		if r == nil || r.StatusCode != c.status || (err == nil) != (c.status == 101) {
			t.Errorf("%d hops, limit %d: %v, %v", c.hops, c.limit, r, err)
		}
		if conn != nil {
			mustEcho(t, conn)
			conn.CloseNow()
		}
	}
}

func TestRedirectLoop(t *testing.T) {
	covers(t, "C20", "Q.B07")
	s := newSite(t, (*httptest.Server).Start)
	here := s.to("/?to=" + url.QueryEscape("/?to=/"))
	if _, _, err := Dial(t.Context(), here, &DialOptions{Redirects: 1}); statusOf(err) != 302 || len(s.requests) != 2 {
		t.Errorf("got %v after %d requests", err, len(s.requests))
	}
}

func TestRedirectsNotFollowed(t *testing.T) {
	covers(t, "C20", "Q.B07")
	plain := newSite(t, (*httptest.Server).Start)
	secure := newSite(t, (*httptest.Server).StartTLS)
	for _, c := range []struct {
		from *site
		to   string
		want string
	}{
		{secure, plain.ws("/"), "not wss"},
		{secure, plain.URL, "not wss"},
		{plain, "ftp://h/", "scheme"},
		{plain, "ws+unix:///run/a", "Unix"},
		{plain, "ws://exämple/", "xn--"},
		{plain, "ws://h:x/", "malformed"},
		{plain, "ws:opaque", "//"},
	} {
		opts := &DialOptions{Redirects: 5, TLS: trust(secure.Server)}
		_, r, err := Dial(t.Context(), c.from.to(c.to), opts)
		if statusOf(err) != 302 || r == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.to, err)
		}
	}
}

func TestRedirectToTLS(t *testing.T) {
	covers(t, "C20")
	plain := newSite(t, (*httptest.Server).Start)
	secure := newSite(t, (*httptest.Server).StartTLS)
	for _, to := range []string{secure.ws("/"), secure.URL} {
		c, _, err := Dial(t.Context(), plain.to(to), &DialOptions{Redirects: 1, TLS: trust(secure.Server)})
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c)
		c.CloseNow()
	}
}

func TestCredentialsStayAtOrigin(t *testing.T) {
	covers(t, "C20", "Q.B07")
	a := newSite(t, (*httptest.Server).Start)
	b := newSite(t, (*httptest.Server).Start)
	// From a to a, to b, and back to a.
	start := a.to(a.to(b.to(a.ws("/0"))))
	start = "ws://user:password@" + strings.TrimPrefix(start, "ws://")
	opts := &DialOptions{
		Redirects: 3,
		Host:      "virtual.example",
		Header:    http.Header{"cookie": {"secret"}, "proxy-authorization": {"secret"}, "X-A": {"b"}, "x-a": {"c"}},
	}
	before := opts.Header.Clone()
	c, _, err := Dial(t.Context(), start, opts)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if len(a.requests) != 3 || len(b.requests) != 1 {
		t.Fatalf("%d and %d requests", len(a.requests), len(b.requests))
	}
	for i, r := range []*http.Request{a.requests[0], a.requests[1], b.requests[0], a.requests[2]} {
		first := i < 2
		_, password, _ := r.BasicAuth()
		if first != (password == "password") || first != (r.Header.Get("Cookie") == "secret") ||
			first != (r.Header.Get("Proxy-Authorization") == "secret") || first != (r.Host == "virtual.example") {
			t.Errorf("request %d to %s: %v", i, r.Host, r.Header)
		}
		if fmt.Sprint(r.Header["X-A"]) != "[b c]" {
			t.Errorf("request %d: %v", i, r.Header)
		}
	}
	if !reflect.DeepEqual(opts.Header, before) {
		t.Error("the caller's header was changed")
	}
}

// TestUserinfoOfLocation has a server that sends the client on with a name and
// password of its choice.
func TestUserinfoOfLocation(t *testing.T) {
	covers(t, "C20", "Q.B07")
	a := newSite(t, (*httptest.Server).Start)
	b := newSite(t, (*httptest.Server).Start)
	for _, to := range []*site{a, b} {
		c, _, err := Dial(t.Context(), a.to("ws://evil:password@"+strings.TrimPrefix(to.ws("/0"), "ws://")), &DialOptions{Redirects: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		if r := to.requests[len(to.requests)-1]; r.URL.Path != "/0" || r.Header["Authorization"] != nil {
			t.Errorf("got %s with %v", r.URL, r.Header)
		}
	}
}

func TestCertificateStaysAtOrigin(t *testing.T) {
	covers(t, "C20", "Q.B07")
	t.Run("Certificates", func(t *testing.T) {
		certificateStaysAtOrigin(t, func(c *tls.Config, own []tls.Certificate) { c.Certificates = own })
	})
	t.Run("GetClientCertificate", func(t *testing.T) {
		certificateStaysAtOrigin(t, func(c *tls.Config, own []tls.Certificate) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own[0], nil }
		})
	})
}

// certificateStaysAtOrigin has one server lead to another, and both ask for the
// certificate that give sets.
func certificateStaysAtOrigin(t *testing.T, give func(c *tls.Config, own []tls.Certificate)) {
	asks := func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
	}
	a, b := newSite(t, asks), newSite(t, asks)
	config := trust(a.Server)
	config.RootCAs.AddCert(b.Certificate())
	give(config, a.TLS.Certificates)
	config.ServerName = "example.com"
	c, _, err := Dial(t.Context(), a.to(b.ws("/")), &DialOptions{Redirects: 1, TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if got := len(a.requests[0].TLS.PeerCertificates); got != 1 {
		t.Errorf("the server got %d certificates", got)
	}
	if got := b.requests[0].TLS; len(got.PeerCertificates) != 0 || got.ServerName != "" {
		t.Errorf("the other server got %d certificates, name %q", len(got.PeerCertificates), got.ServerName)
	}
}

func TestJar(t *testing.T) {
	covers(t, "C20", "C32", "W05")
	s := newSite(t, (*httptest.Server).Start)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := &DialOptions{Jar: jar, Redirects: 1, Header: http.Header{"Cookie": {"own=1"}}}
	c, _, err := Dial(t.Context(), s.to("/0"), opts)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	for i, want := range []string{"own=1", "own=1; hop=1"} {
		if got := s.requests[i].Header.Get("Cookie"); got != want {
			t.Errorf("request %d has cookies %q, want %q", i, got, want)
		}
	}
}

func TestUnixSocketRedirectsAreNotFollowed(t *testing.T) {
	covers(t, "C20")
	d, err := newDialer("ws+unix:///run/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.followRedirect(&http.Response{StatusCode: 302, Header: http.Header{"Location": {"/b"}}})
	if statusOf(err) != 302 {
		t.Errorf("got %v", err)
	}
}
