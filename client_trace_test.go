package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A hookLog is which hooks were called, in order. What follows itself is there
// once.
type hookLog struct {
	mu    sync.Mutex
	names []string
}

// note adds a call.
func (l *hookLog) note(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.names); n == 0 || l.names[n-1] != name {
		l.names = append(l.names, name)
	}
}

// called returns the calls.
func (l *hookLog) called() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.names)
}

// trace returns ctx with hooks that write to l.
func (l *hookLog) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { l.note("GetConn " + hostPort) },
		GotConn:              func(info httptrace.GotConnInfo) { l.note(fmt.Sprintf("GotConn %T", info.Conn)) },
		DNSStart:             func(httptrace.DNSStartInfo) { l.note("DNSStart") },
		DNSDone:              func(httptrace.DNSDoneInfo) { l.note("DNSDone") },
		ConnectStart:         func(network, addr string) { l.note("ConnectStart") },
		ConnectDone:          func(network, addr string, err error) { l.note("ConnectDone") },
		TLSHandshakeStart:    func() { l.note("TLSHandshakeStart") },
		TLSHandshakeDone:     func(s tls.ConnectionState, err error) { l.note(fmt.Sprint("TLSHandshakeDone ", s.HandshakeComplete)) },
		WroteHeaderField:     func(string, []string) { l.note("WroteHeaderField") },
		WroteHeaders:         func() { l.note("WroteHeaders") },
		WroteRequest:         func(info httptrace.WroteRequestInfo) { l.note(fmt.Sprint("WroteRequest ", info.Err == nil)) },
		GotFirstResponseByte: func() { l.note("GotFirstResponseByte") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			l.note(fmt.Sprint("Got1xxResponse ", code, h["Link"]))
			return nil
		},
	})
}

// hinting is a server that sends a 103 before its answer: a connection that
// echoes, or "OK" to an ordinary GET.
func hinting(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Link", "</a>")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	if r.Header.Get("Upgrade") != "" {
		HandlerFunc(nil, echo).ServeHTTP(w, r)
	}
}

// TestHooksLikeHTTPClient compares the hooks that Dial calls with those that
// net/http's client calls for a GET.
func TestHooksLikeHTTPClient(t *testing.T) {
	plain, secure := newQuietServer(http.HandlerFunc(hinting)), newQuietServer(http.HandlerFunc(hinting))
	plain.Start()
	defer plain.Close()
	secure.StartTLS()
	defer secure.Close()
	through := newQuietServer(http.HandlerFunc(relay))
	through.StartTLS()
	defer through.Close()
	proxyURL, _ := url.Parse(through.URL)
	config := trust(secure)
	config.RootCAs.AddCert(through.Certificate())
	for name, c := range map[string]struct {
		server *httptest.Server
		proxy  func(*http.Request) (*url.URL, error)
	}{
		"plain":   {plain, nil},
		"TLS":     {secure, nil},
		"proxied": {secure, http.ProxyURL(proxyURL)},
	} {
		t.Run(name, func(t *testing.T) {
			var theirs, ours hookLog
			transport := &http.Transport{TLSClientConfig: config, Proxy: c.proxy, DisableKeepAlives: true}
			r, err := http.NewRequestWithContext(theirs.trace(t.Context()), http.MethodGet, c.server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			conn, _, err := Dial(ours.trace(t.Context()), c.server.URL, &DialOptions{TLS: config, Proxy: c.proxy})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			mustEcho(t, conn)
			if want, got := theirs.called(), ours.called(); !slices.Equal(got, want) || len(got) < 9 {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// TestHooksOfDialConn finds all hooks called but those for connecting, which the
// caller did.
func TestHooksOfDialConn(t *testing.T) {
	_, secure := echoServer(t)
	nc, err := net.Dial("tcp", secure.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var log hookLog
	c, _, err := DialConn(log.trace(t.Context()), nc, "wss://example.com", &DialOptions{TLS: trust(secure)})
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	want := []string{
		"TLSHandshakeStart", "TLSHandshakeDone true", "GotConn *tls.Conn", "WroteHeaderField", "WroteHeaders", "WroteRequest true", "GotFirstResponseByte",
	}
	if got := log.called(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestHooksForNames has package net call the hooks for resolving a name.
func TestHooksForNames(t *testing.T) {
	plain, _ := echoServer(t)
	_, port, _ := net.SplitHostPort(plain.Listener.Addr().String())
	var log hookLog
	c, _, err := Dial(log.trace(t.Context()), "ws://localhost:"+port, nil)
	if err != nil {
		t.Skipf("localhost does not resolve: %v", err)
	}
	c.CloseNow()
	if got := log.called(); len(got) < 4 || got[0] != "GetConn localhost:"+port || got[1] != "DNSStart" || got[2] != "DNSDone" || got[3] != "ConnectStart" {
		t.Errorf("got %q", got)
	}
}

// TestHooksOfFields has the hook for fields called with what is on the wire, and
// once for lines of the same name.
func TestHooksOfFields(t *testing.T) {
	var names, values []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteHeaderField: func(name string, v []string) {
		names, values = append(names, name), append(values, strings.Join(v, "|"))
	}})
	opts := &DialOptions{Header: http.Header{"X-A": {"1", "2"}, "x-a": {"3: 4"}, "X-Empty": {""}}}
	c, _, err := DialConn(ctx, servePipe(t, reply(response())), "ws://h/", opts)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	want := []string{"Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "X-A", "X-Empty", "x-a"}
	if !slices.Equal(names, want) || values[0] != "h" || values[5] != "1|2" || values[6] != "" || values[7] != "3: 4" {
		t.Errorf("got %q with %q", names, values)
	}
}

// TestHooksOfFailures has hooks told of what failed.
func TestHooksOfFailures(t *testing.T) {
	_, secure := echoServer(t)
	var log hookLog
	if _, _, err := Dial(log.trace(t.Context()), secure.URL, nil); err == nil {
		t.Error("the certificate is not checked")
	}
	if got := log.called(); got[len(got)-1] != "TLSHandshakeDone false" {
		t.Errorf("got %q", got)
	}
	near, far := net.Pipe()
	far.Close()
	log = hookLog{}
	if _, _, err := DialConn(log.trace(t.Context()), near, "ws://h/", nil); err == nil {
		t.Error("nobody is there")
	}
	if got := log.called(); !slices.Equal(got, []string{"GotConn *net.pipe", "WroteRequest false"}) {
		t.Errorf("got %q", got)
	}
}

// TestHookGivesUp ends a handshake by the error of a hook.
func TestHookGivesUp(t *testing.T) {
	stop := errors.New("stop")
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return stop }})
	near := servePipe(t, reply("HTTP/1.1 103 Early Hints\r\n\r\n"+response()))
	if _, _, err := DialConn(ctx, near, "ws://h/", nil); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestHookPanics leaves nothing open when a hook does not return.
func TestHookPanics(t *testing.T) {
	trap := func() { panic("the trap") }
	for name, hooks := range map[string]*httptrace.ClientTrace{
		"GotConn":              {GotConn: func(httptrace.GotConnInfo) { trap() }},
		"TLSHandshakeStart":    {TLSHandshakeStart: trap},
		"TLSHandshakeDone":     {TLSHandshakeDone: func(tls.ConnectionState, error) { trap() }},
		"WroteHeaderField":     {WroteHeaderField: func(string, []string) { trap() }},
		"WroteRequest":         {WroteRequest: func(httptrace.WroteRequestInfo) { trap() }},
		"GotFirstResponseByte": {GotFirstResponseByte: trap},
	} {
		t.Run(name, func(t *testing.T) {
			_, secure := echoServer(t)
			near, err := net.Dial("tcp", secure.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				eventually(t, "the connection is closed", func() bool {
					_, err := near.Read(make([]byte, 1))
					return errors.Is(err, net.ErrClosed)
				})
			}()
			DialConn(httptrace.WithClientTrace(t.Context(), hooks), near, "wss://example.com", &DialOptions{TLS: trust(secure)})
		})
	}
}
