package websocket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialUnixSocket(t *testing.T) {
	for _, scheme := range []string{"ws+unix", "wss+unix"} {
		t.Run(scheme, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "ws")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			path := filepath.Join(dir, "a:b")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Skipf("no Unix sockets: %v", err)
			}
			requests := make(chan *http.Request, 1)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests <- r
				HandlerFunc(nil, echo).ServeHTTP(w, r)
			}))
			s.Listener = l
			opts := new(DialOptions)
			if scheme == "ws+unix" {
				s.Start()
			} else {
				s.StartTLS()
				opts.TLS = trust(s)
				opts.TLS.ServerName = "example.com"
			}
			defer s.Close()
			c, _, err := Dial(t.Context(), scheme+"://"+strings.ReplaceAll(path, ":", "%3A")+":/chat?x", opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			mustEcho(t, c)
			if r := <-requests; r.Host != "localhost" || r.RequestURI != "/chat?x" {
				t.Errorf("request %+v", r)
			}
		})
	}
}

func TestDialIPv6(t *testing.T) {
	covers(t, "U07")
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	s := httptest.NewUnstartedServer(HandlerFunc(nil, echo))
	s.Listener = l
	s.Start()
	defer s.Close()
	c, _, err := Dial(t.Context(), "ws://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	mustEcho(t, c)
}

func TestTLSFailures(t *testing.T) {
	covers(t, "C05", "Q.B08")
	_, secure := echoServer(t)
	var served atomic.Bool
	secure.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Store(true) })
	old := trust(secure)
	old.MaxVersion = tls.VersionTLS10
	old.MinVersion = tls.VersionTLS10
	wrongName := trust(secure)
	wrongName.ServerName = "wrong.example"
	expired := trust(secure)
	expired.Time = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	for name, c := range map[string]struct {
		config *tls.Config
		target any
	}{
		"unknown authority": {nil, &authority},
		"wrong name":        {wrongName, &hostname},
		"expired":           {expired, &invalid},
		"TLS 1.0":           {old, nil},
	} {
		_, _, err := Dial(t.Context(), "wss://"+secure.Listener.Addr().String(), &DialOptions{TLS: c.config})
		if err == nil || c.target != nil && !errors.As(err, c.target) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if served.Load() {
		t.Error("a request was sent")
	}
}

func TestServerNameAndALPN(t *testing.T) {
	covers(t, "C06", "C07")
	hello := make(chan *tls.ClientHelloInfo, 1)
	s := newQuietServer(HandlerFunc(nil, echo))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello <- h
		return nil, nil
	}}
	s.StartTLS()
	defer s.Close()
	config := trust(s)
	config.NextProtos = []string{"h2", "http/1.1"}
	c, _, err := Dial(t.Context(), "wss://example.com", &DialOptions{TLS: config, NetDial: dialTo(s.Listener.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	mustEcho(t, c)
	if h := <-hello; h.ServerName != "example.com" || fmt.Sprint(h.SupportedProtos) != "[http/1.1]" {
		t.Errorf("server name %q, protocols %v", h.ServerName, h.SupportedProtos)
	}
	if config.ServerName != "" || len(config.NextProtos) != 2 {
		t.Error("the configuration was changed")
	}
}

// dialTo returns a NetDial that always connects to addr.
func dialTo(addr net.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, addr.Network(), addr.String())
	}
}

func TestForcedHTTP2(t *testing.T) {
	covers(t, "C07", "Q.B08")
	s := newQuietServer(nil)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	near, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	config := trust(s)
	config.ServerName = "example.com"
	config.NextProtos = []string{"h2"}
	if _, _, err := DialConn(t.Context(), tls.Client(near, config), "wss://example.com", nil); err == nil || !strings.Contains(err.Error(), `"h2"`) {
		t.Errorf("got %v", err)
	}
}

func TestDialConnOverTLS(t *testing.T) {
	covers(t, "E06")
	_, s := echoServer(t)
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(nc net.Conn) net.Conn { return nc },
		"TLS": func(nc net.Conn) net.Conn {
			return tls.Client(nc, &tls.Config{RootCAs: trust(s).RootCAs, ServerName: "example.com"})
		},
	} {
		nc, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := DialConn(t.Context(), wrap(nc), "wss://example.com/", &DialOptions{TLS: trust(s)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mustEcho(t, c)
		c.CloseNow()
	}
}

func TestDialErrors(t *testing.T) {
	covers(t, "C04")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var op *net.OpError
	if _, _, err := Dial(t.Context(), "ws://"+l.Addr().String(), nil); !errors.As(err, &op) || statusOf(err) != 0 {
		t.Errorf("got %v", err)
	}
	opts := &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }}
	if _, _, err := Dial(t.Context(), "ws://h", opts); err == nil {
		t.Error("NetDial without a result does not fail")
	}
}

func TestNetDialArguments(t *testing.T) {
	covers(t, "U01", "U07")
	for rawURL, want := range map[string]string{
		"ws://h":                "tcp h:80",
		"wss://h:8443":          "tcp h:8443",
		"ws://[::1]":            "tcp [::1]:80",
		"ws+unix:///run/a:/b":   "unix /run/a",
		"ws://user:secret@h:9/": "tcp h:9",
	} {
		var got string
		stop := errors.New("stop")
		opts := &DialOptions{NetDial: func(_ context.Context, network, addr string) (net.Conn, error) {
			got = network + " " + addr
			return nil, stop
		}}
		_, _, err := Dial(t.Context(), rawURL, opts)
		if !errors.Is(err, stop) || got != want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: dialed %q, %v", rawURL, got, err)
		}
	}
}

// An otherTLS is the net.Conn of another implementation of TLS: it has the
// methods of that of crypto/tls, and is none. It counts what it is asked for.
type otherTLS struct {
	net.Conn
	t          *tls.Conn
	handshakes atomic.Int32
	closed     atomic.Int32
}

func newOtherTLS(nc net.Conn, config *tls.Config) *otherTLS {
	t := tls.Client(nc, config)
	return &otherTLS{Conn: t, t: t}
}

// HandshakeContext does the TLS handshake.
func (c *otherTLS) HandshakeContext(ctx context.Context) error {
	c.handshakes.Add(1)
	return c.t.HandshakeContext(ctx)
}

// NetConn returns the net.Conn below.
func (c *otherTLS) NetConn() net.Conn { return c.t.NetConn() }

// Close closes.
func (c *otherTLS) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

// named returns config for a server by the name in the certificate of httptest.
func named(config *tls.Config) *tls.Config {
	config.ServerName = "example.com"
	return config
}

// TestNetDialTLS has an application do TLS, in each way that there is.
func TestNetDialTLS(t *testing.T) {
	covers(t, "C05")
	plain, secure := echoServer(t)
	for name, wrap := range map[string]func(nc net.Conn) (net.Conn, error){
		"TLS, not begun": func(nc net.Conn) (net.Conn, error) { return tls.Client(nc, named(trust(secure))), nil },
		"TLS, done": func(nc net.Conn) (net.Conn, error) {
			c := tls.Client(nc, named(trust(secure)))
			return c, c.Handshake()
		},
		"other TLS": func(nc net.Conn) (net.Conn, error) { return newOtherTLS(nc, named(trust(secure))), nil },
		"hidden TLS": func(nc net.Conn) (net.Conn, error) {
			return struct{ net.Conn }{tls.Client(nc, named(trust(secure)))}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var dialed []string
			opts := &DialOptions{
				NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dialed = append(dialed, "NetDial")
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
				NetDialTLS: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dialed = append(dialed, "NetDialTLS "+network+" "+addr)
					nc, err := new(net.Dialer).DialContext(ctx, network, secure.Listener.Addr().String())
					if err != nil {
						return nil, err
					}
					return wrap(nc)
				},
			}
			for _, url := range []string{"wss://name.test", plain.URL} {
				c, _, err := Dial(t.Context(), url, opts)
				if err != nil {
					t.Fatal(err)
				}
				mustEcho(t, c)
				c.CloseNow()
			}
			if fmt.Sprint(dialed) != "[NetDialTLS tcp name.test:443 NetDial]" {
				t.Errorf("dialed %v", dialed)
			}
			nc, err := net.Dial("tcp", secure.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if nc, err = wrap(nc); err != nil {
				t.Fatal(err)
			}
			c, _, err := DialConn(t.Context(), nc, "wss://name.test", opts)
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c)
			c.CloseNow()
		})
	}
}

// TestOtherTLSHandshake has the handshake of another TLS done once, and its
// errors reported.
func TestOtherTLSHandshake(t *testing.T) {
	covers(t, "C05", "Q.B08")
	_, secure := echoServer(t)
	for name, want := range map[string]string{"example.com": "", "wrong.example": "TLS handshake failed"} {
		nc, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		config := trust(secure)
		config.ServerName = name
		other := newOtherTLS(nc, config)
		c, _, err := DialConn(t.Context(), other, "wss://h", nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v", name, err)
		}
		if c != nil {
			mustEcho(t, c)
			c.CloseNow()
		}
		if got := other.handshakes.Load(); got != 1 {
			t.Errorf("%s: %d handshakes", name, got)
		}
		if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) || other.closed.Load() == 0 {
			t.Errorf("%s: not closed: %v", name, err)
		}
	}
}

// TestNetDialTLSAgreesOnHTTP2 finds that HTTP/2 was agreed on.
func TestNetDialTLSAgreesOnHTTP2(t *testing.T) {
	covers(t, "C07", "Q.B08")
	s := newQuietServer(nil)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	_, _, err := Dial(t.Context(), s.URL, &DialOptions{NetDialTLS: func(ctx context.Context, network, addr string) (net.Conn, error) {
		config := trust(s)
		config.NextProtos = []string{"h2"}
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
	}})
	if err == nil || !strings.Contains(err.Error(), `"h2"`) {
		t.Errorf("got %v", err)
	}
}

// TestNetDialTLSAndProxy refuses to go through a proxy with NetDialTLS, for good,
// and says what to do. For ws it does not matter.
func TestNetDialTLSAndProxy(t *testing.T) {
	covers(t, "C03")
	stop := errors.New("stop")
	opts := &DialOptions{
		Proxy:   func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy") },
		NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, stop },
		NetDialTLS: func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialed")
			return nil, stop
		},
	}
	_, _, err := Dial(t.Context(), "wss://h", opts)
	var e *HandshakeError
	if !errors.As(err, &e) || !e.invalid || !strings.Contains(err.Error(), "let it dial the proxy itself") {
		t.Errorf("got %v", err)
	}
	if _, _, err := Dial(t.Context(), "ws://h", opts); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestNetDialTLSFails passes its error on, and finds that it has no result.
func TestNetDialTLSFails(t *testing.T) {
	covers(t, "C04")
	stop := errors.New("stop")
	for _, want := range []error{stop, nil} {
		_, _, err := Dial(t.Context(), "wss://h", &DialOptions{NetDialTLS: func(context.Context, string, string) (net.Conn, error) {
			return nil, want
		}})
		if err == nil || !errors.Is(err, want) && !strings.Contains(err.Error(), "NetDialTLS returned neither") {
			t.Errorf("got %v", err)
		}
	}
}

// TestRedirectWithNetDialTLS calls NetDialTLS for the target of a redirect.
func TestRedirectWithNetDialTLS(t *testing.T) {
	covers(t, "C20")
	plain := newSite(t, (*httptest.Server).Start)
	secure := newSite(t, (*httptest.Server).StartTLS)
	dialed := ""
	opts := &DialOptions{Redirects: 1, NetDialTLS: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed = addr
		return (&tls.Dialer{Config: trust(secure.Server)}).DialContext(ctx, network, addr)
	}}
	c, _, err := Dial(t.Context(), plain.to(secure.ws("/")), opts)
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, c)
	c.CloseNow()
	if dialed != secure.Listener.Addr().String() {
		t.Errorf("dialed %q", dialed)
	}
}

// TestNetDialPanics has the panic reach the caller, who can recover, as if
// NetDial had been called by it.
func TestNetDialPanics(t *testing.T) {
	covers(t, "Q.H12")
	defer func() {
		if got := recover(); got != "the trap" {
			t.Errorf("recovered %v", got)
		}
	}()
	Dial(t.Context(), "ws://h/", &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) { panic("the trap") }})
}

// TestNetDialExits lets NetDial end its goroutine, as t.FailNow does: Dial does
// not wait for what never comes.
func TestNetDialExits(t *testing.T) {
	covers(t, "Q.H12")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, _, err := Dial(t.Context(), "ws://h/", &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) {
			runtime.Goexit()
			return nil, nil
		}})
		if d := time.Since(began); err == nil || d != 0 {
			t.Errorf("got %v after %v", err, d)
		}
	})
}
