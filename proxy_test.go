package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// viaProxy returns options for a proxy that is at the far end of a pipe.
func viaProxy(proxyURL string, near net.Conn) *DialOptions {
	u, err := url.Parse(proxyURL)
	return &DialOptions{
		Proxy:   func(*http.Request) (*url.URL, error) { return u, err },
		NetDial: func(context.Context, string, string) (net.Conn, error) { return near, nil },
	}
}

// serveSwitch plays the server behind a proxy: it switches and says "hi".
func serveSwitch(nc net.Conn, br *bufio.Reader) {
	if r, err := http.ReadRequest(br); err == nil {
		reply(response()+"\x81\x02hi")(nc, r)
	}
}

func TestConnect(t *testing.T) {
	covers(t, "C03", "P16", "Q.B09", "H17")
	for _, c := range []struct {
		name, proxy, target, answer string
		header                      http.Header
		want                        string
	}{
		{"plain", "http://proxy", "ws://example.com/", "HTTP/1.1 200 OK\r\n\r\n", nil,
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"},
		{"port and IPv6", "http://proxy", "ws://[2001:db8::1]:8080/", "HTTP/1.1 200 OK\r\n\r\n", nil,
			"CONNECT [2001:db8::1]:8080 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n"},
		{"credentials", "http://user:pass%3Aword@proxy", "ws://u:p@example.com/", "HTTP/1.0 200 Connection established\r\n\r\n", nil,
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\nProxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n\r\n"},
		{"header", "http://user:password@proxy", "ws://example.com/", "HTTP/1.1 204 No\r\n\r\n",
			http.Header{"proxy-authorization": {"Bearer x"}, "User-Agent": {"me"}, "x-api_KEY": {"1"}, "X-Api_key": {"2"}},
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\nUser-Agent: me\r\nX-Api_key: 2\r\nproxy-authorization: Bearer x\r\nx-api_KEY: 1\r\n\r\n"},
		{"body is the tunnel", "http://proxy", "ws://example.com/", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", nil,
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"},
		{"no reason phrase", "http://proxy", "ws://example.com/", "HTTP/1.1 200\r\n\r\n", nil,
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"},
		{"interim response", "http://proxy", "ws://example.com/", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", nil,
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			opts := viaProxy(c.proxy, near)
			opts.ProxyHeader = c.header
			asked := make(chan string, 1)
			target := make(chan *http.Request, 1)
			go func() {
				reader := http1.NewRequestReader(far)
				head, _ := reader.Next()
				asked <- head
				io.WriteString(far, c.answer)
				r, err := http.ReadRequest(bufio.NewReader(far))
				if err != nil {
					return
				}
				target <- r
				reply(response()+"\x81\x02hi")(far, r)
			}()
			conn, _, err := Dial(t.Context(), c.target, opts)
			if got := <-asked; got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if _, p, err := conn.Read(t.Context()); string(p) != "hi" || err != nil {
				t.Errorf("got %q, %v", p, err)
			}
			if r := <-target; r.Header["Proxy-Authorization"] != nil || r.Header["User-Agent"] != nil {
				t.Errorf("server is sent %v", r.Header)
			}
		})
	}
}

// TestServerSpeaksFirst has the server speak before the client, in one segment
// with the proxy's response.
func TestServerSpeaksFirst(t *testing.T) {
	covers(t, "C03", "Q.B09")
	near, far := net.Pipe()
	opts := viaProxy("http://proxy", near)
	go func() {
		http.ReadRequest(bufio.NewReader(far))
		io.WriteString(far, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 103 Early Hints\r\n")
		r, err := http.ReadRequest(bufio.NewReader(far))
		if err == nil {
			reply("\r\n"+response()+"\x81\x02hi")(far, r)
		}
	}()
	c, _, err := Dial(t.Context(), "ws://example.com/", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, p, err := c.Read(t.Context()); string(p) != "hi" || err != nil {
		t.Errorf("got %q, %v", p, err)
	}
}

func TestProxyRefuses(t *testing.T) {
	covers(t, "C04", "Q.B09")
	for _, c := range []struct {
		name, answer string
		status       int
	}{
		{"407", "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", 407},
		{"407 without reason phrase", "HTTP/1.1 407\r\nContent-Length: 2\r\n\r\nno", 407},
		{"302", "HTTP/1.1 302 Found\r\nLocation: ws://other/\r\nContent-Length: 0\r\n\r\n", 302},
		{"502", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1073741824\r\n\r\n" + strings.Repeat("x", 5000), 502},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 101},
		{"garbage", "garbage\r\n\r\n", 0},
		{"end", "", 0},
		{"end in the header", "HTTP/1.1 200 OK\r\n", 0},
		{"huge header", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("x", 1<<20), 0},
		{"many interim responses", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			opts := viaProxy("http://user:secret@proxy", near)
			opts.Redirects = 1
			go func() {
				http.ReadRequest(bufio.NewReader(far))
				io.WriteString(far, c.answer)
				far.Close()
			}()
			_, r, err := Dial(t.Context(), "ws://example.com/", opts)
			var e *HandshakeError
			if !errors.As(err, &e) || e.Status != c.status || r != nil || strings.Contains(err.Error(), "secret") {
				t.Fatalf("got %v, %v", r, err)
			}
			if c.status == 407 && !strings.Contains(err.Error(), `a user name and password in its URL, or a Proxy-Authorization in DialOptions.ProxyHeader (HTTP status 407, body "no")`) {
				t.Errorf("error %v", err)
			}
			if (e.Response != nil) != (c.status != 0) || e.Response != nil && e.Response.StatusCode != c.status {
				t.Errorf("response %v", e.Response)
			}
			if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("connection is open: %v", err)
			}
		})
	}
}

func TestProxyThatStaysSilent(t *testing.T) {
	covers(t, "C04", "Q.B09", "Q.B10")
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		t.Run(scheme, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				go io.Copy(io.Discard, far)
				began := time.Now()
				opts := viaProxy(scheme+"://proxy", near)
				opts.HandshakeTimeout = time.Second
				_, _, err := Dial(t.Context(), "ws://192.0.2.1/", opts)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("got %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

func TestSOCKS(t *testing.T) {
	covers(t, "C03", "Q.B09")
	const ok = "05000001" + "7f000001" + "0050"
	for _, c := range []struct {
		name, proxy, target string
		steps               []string // we read, the proxy writes, in turns
	}{
		{"IPv4", "socks5://proxy", "ws://192.0.2.1:8080", []string{"050100", "0500", "05010001" + "c0000201" + "1f90", ok}},
		{"IPv6", "socks5h://proxy", "ws://[2001:db8::1]", []string{"050100", "0500", "05010004" + "20010db8000000000000000000000001" + "0050", ok}},
		{"IPv4 in IPv6", "socks5h://proxy", "ws://[::ffff:192.0.2.1]:8080", []string{"050100", "0500", "05010001" + "c0000201" + "1f90", ok}},
		{"name", "socks5h://proxy", "ws://ab.c", []string{"050100", "0500", "05010003" + "04" + "61622e63" + "0050", ok}},
		{"resolved name", "socks5://proxy", "ws://localhost", []string{"050100", "0500", "050100", ok}},
		{"password", "socks5h://u:pw@proxy", "ws://ab.c", []string{"05020002", "0502", "01" + "0175" + "027077", "0100", "05010003" + "0461622e630050", ok}},
		{"password not wanted", "socks5h://u:pw@proxy", "ws://ab.c", []string{"05020002", "0500", "050100030461622e630050", ok}},
		{"bound to a name", "socks5h://proxy", "ws://ab.c", []string{"050100", "0500", "050100030461622e630050", "05000003" + "03616263" + "0050"}},
		{"bound to IPv6", "socks5h://proxy", "ws://ab.c", []string{"050100", "0500", "050100030461622e630050", "05000004" + strings.Repeat("00", 18)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			go playSOCKS(t, far, c.steps)
			conn, _, err := Dial(t.Context(), c.target, viaProxy(c.proxy, near))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if _, p, err := conn.Read(t.Context()); string(p) != "hi" || err != nil {
				t.Errorf("got %q, %v", p, err)
			}
		})
	}
}

// playSOCKS reads and writes the steps and then plays the server.
func playSOCKS(t *testing.T, nc net.Conn, steps []string) {
	for i, step := range steps {
		b, err := hex.DecodeString(step)
		if err != nil {
			t.Error(err)
		}
		if i%2 == 1 {
			nc.Write(b)
			continue
		}
		got := make([]byte, 1024)
		n, _ := nc.Read(got)
		if len(b) > 3 && n != len(b) || !strings.HasPrefix(string(got[:n]), string(b)) {
			t.Errorf("step %d: got %x, want %x", i, got[:n], b)
		}
	}
	serveSwitch(nc, bufio.NewReader(nc))
}

func TestSOCKSRefuses(t *testing.T) {
	covers(t, "C04", "Q.B09")
	for _, c := range []struct {
		name, answers, want string // answers follow each other, whatever was asked
	}{
		{"version 4", "0400", "version"},
		{"no method", "05ff", "authentication"},
		{"method not offered", "0501", "authentication"},
		{"password refused", "0502" + "0101", "refused"},
		{"password version", "0502" + "0500", "refused"},
		{"general failure", "0500" + "05010001", "general"},
		{"refused", "0500" + "05050001", "connection refused"},
		{"unknown code", "0500" + "05ff0001", "255"},
		{"reply version", "0500" + "04000001", "malformed"},
		{"reserved byte", "0500" + "05000101", "malformed"},
		{"address kind", "0500" + "05000002", "address"},
		{"end", "", "EOF"},
		{"end in the greeting", "05", "EOF"},
		{"end in the reply", "0500" + "0500", "EOF"},
		{"end in the address", "0500" + "05000001" + "7f", "EOF"},
		{"end in the name", "0500" + "05000003", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			answers, _ := hex.DecodeString(c.answers)
			go io.Copy(io.Discard, far)
			go func() {
				far.Write(answers)
				far.Close()
			}()
			_, _, err := Dial(t.Context(), "ws://ab.c", viaProxy("socks5h://user:secret@proxy", near))
			if statusOf(err) != 0 || err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("connection is open: %v", err)
			}
		})
	}
}

// TestSOCKSPasswordUnasked has a proxy ask for the password that was not
// offered, and accept it.
func TestSOCKSPasswordUnasked(t *testing.T) {
	covers(t, "C04", "Q.B09")
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	go func() {
		io.WriteString(far, "\x05\x02"+"\x01\x00")
		far.Close()
	}()
	_, _, err := Dial(t.Context(), "ws://ab.c", viaProxy("socks5h://proxy", near))
	if err == nil || !strings.Contains(err.Error(), "none of our authentication methods") {
		t.Errorf("got %v", err)
	}
}

// TestProxyIsVerified has the certificate of a proxy verified for its own name,
// whatever name the server has.
func TestProxyIsVerified(t *testing.T) {
	covers(t, "C03", "C05")
	_, secure := echoServer(t)
	for serverName, proxyName := range map[string]string{"wrong.example": "example.com", "example.com": "wrong.example"} {
		near, far := net.Pipe()
		go func() {
			p := tls.Server(far, secure.TLS)
			if _, err := http.ReadRequest(bufio.NewReader(p)); err == nil {
				io.WriteString(p, "HTTP/1.1 407\r\n\r\n")
			}
			far.Close()
		}()
		opts := viaProxy("https://"+proxyName, near)
		opts.TLS = trust(secure)
		opts.TLS.ServerName = serverName
		_, _, err := Dial(t.Context(), "wss://192.0.2.1", opts)
		if verified := statusOf(err) == 407; verified != (proxyName == "example.com") {
			t.Errorf("proxy %s, ServerName %s: got %v", proxyName, serverName, err)
		}
	}
}

func TestProxyIsChosen(t *testing.T) {
	covers(t, "C03", "Q.B14")
	stop := errors.New("stop")
	for _, c := range []struct {
		name, url string
		opts      DialOptions
		want      string // the URL asked about, "" if none
	}{
		{"ws", "ws://u:p@h/a?b", DialOptions{}, "http://h/a?b"},
		{"wss", "wss://h:8443", DialOptions{}, "https://h:8443/"},
		{"Unix socket", "ws+unix:///no/such", DialOptions{}, ""},
		{"header", "ws://h", DialOptions{ProxyHeader: http.Header{"X-A": {"b\r\nX: y"}}}, ""},
	} {
		var asked string
		c.opts.Proxy = func(r *http.Request) (*url.URL, error) {
			asked = r.URL.String()
			return nil, stop
		}
		_, _, err := Dial(t.Context(), c.url, &c.opts)
		if asked != c.want || err == nil || errors.Is(err, stop) != (c.want != "") {
			t.Errorf("%s: asked about %q, %v", c.name, asked, err)
		}
	}
	opts := &DialOptions{Proxy: func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "ftp"}, nil }}
	if _, _, err := Dial(t.Context(), "ws://h", opts); err == nil {
		t.Error("any scheme is accepted")
	}
}

// A realProxy is a proxy from a package of the operating system.
type realProxy struct {
	program string
	run     func(t *testing.T, program, port, dir string) *exec.Cmd
	urls    []string // with PORT for the port
}

var realProxies = []realProxy{
	{"tinyproxy", runTinyproxy, []string{"http://user:password@127.0.0.1:PORT"}},
	{"squid", runSquid, []string{"http://127.0.0.1:PORT"}},
	{"microsocks", runMicrosocks, []string{"socks5://user:password@127.0.0.1:PORT", "socks5h://user:password@127.0.0.1:PORT"}},
	{"danted", runDanted, []string{"socks5://127.0.0.1:PORT", "socks5h://127.0.0.1:PORT"}},
}

func runTinyproxy(t *testing.T, program, port, dir string) *exec.Cmd {
	conf := filepath.Join(dir, "conf")
	writeFile(t, conf, "Port "+port+"\nListen 127.0.0.1\nAllow 127.0.0.1\nBasicAuth user password\nTimeout 60\n")
	return exec.Command(program, "-d", "-c", conf)
}

func runSquid(t *testing.T, program, port, dir string) *exec.Cmd {
	conf := filepath.Join(dir, "conf")
	writeFile(t, conf, "http_port 127.0.0.1:"+port+"\nhttp_access allow all\npid_filename none\ncache deny all\naccess_log none\n"+
		"cache_log /dev/null\ncoredump_dir none\nshutdown_lifetime 0 seconds\npinger_enable off\n")
	return exec.Command(program, "-N", "-n", "ws"+port, "-f", conf)
}

func runMicrosocks(_ *testing.T, program, port, _ string) *exec.Cmd {
	return exec.Command(program, "-i", "127.0.0.1", "-p", port, "-u", "user", "-P", "password")
}

func runDanted(t *testing.T, program, port, dir string) *exec.Cmd {
	conf := filepath.Join(dir, "conf")
	writeFile(t, conf, "logoutput: "+dir+"/log\ninternal: 127.0.0.1 port = "+port+"\nexternal: lo\nsocksmethod: none\nclientmethod: none\n"+
		"client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\nsocks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n")
	return exec.Command(program, "-f", conf, "-p", filepath.Join(dir, "pid"))
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the proxy and returns its port once it listens.
func (p realProxy) start(t *testing.T) string {
	program, err := exec.LookPath(p.program)
	if err != nil {
		t.Skipf("%s is not on PATH: install it to run this test", p.program)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := p.run(t, program, port, t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
	})
	awaitListener(t, "127.0.0.1:"+port)
	return port
}

// awaitListener returns when something accepts connections at addr.
func awaitListener(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("proxy does not listen: %v", err)
		}
	}
}

func TestRealProxies(t *testing.T) {
	covers(t, "C03", "Q.B09")
	if runtime.GOOS != "linux" {
		t.Skip("the configurations are for Linux")
	}
	plain, secure := echoServer(t)
	for _, p := range realProxies {
		t.Run(p.program, func(t *testing.T) {
			port := p.start(t)
			for _, rawURL := range p.urls {
				u, err := url.Parse(strings.ReplaceAll(rawURL, "PORT", port))
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range []*httptest.Server{plain, secure} {
					dialRealProxy(t, u, s, s == secure)
				}
			}
		})
	}
}

// dialRealProxy echoes through the proxy at u, and sees that a wrong password
// is refused.
func dialRealProxy(t *testing.T, u *url.URL, s *httptest.Server, isTLS bool) {
	t.Helper()
	asked := false
	opts := &DialOptions{Proxy: func(*http.Request) (*url.URL, error) { asked = true; return u, nil }}
	target := "ws://" + s.Listener.Addr().String()
	if isTLS {
		target = "wss" + strings.TrimPrefix(target, "ws")
		opts.TLS = trust(s)
	}
	c, _, err := Dial(t.Context(), target, opts)
	if err != nil || !asked {
		t.Fatalf("%s through %s: %v", target, u.Redacted(), err)
	}
	mustEcho(t, c)
	c.CloseNow()
	if u.User == nil {
		return
	}
	wrong := *u
	wrong.User = url.UserPassword("user", "wrong")
	opts.Proxy = func(*http.Request) (*url.URL, error) { return &wrong, nil }
	if _, _, err := Dial(t.Context(), target, opts); err == nil {
		t.Errorf("wrong password is accepted by %s", u.Redacted())
	}
}

// TestHTTPSProxy goes through a CONNECT proxy of our own over TLS, with TLS
// inside.
func TestHTTPSProxy(t *testing.T) {
	covers(t, "C03", "Q.B08")
	_, secure := echoServer(t)
	proxy := newQuietServer(http.HandlerFunc(relay))
	proxy.StartTLS()
	defer proxy.Close()
	u, _ := url.Parse(proxy.URL)
	opts := &DialOptions{TLS: trust(secure), Proxy: http.ProxyURL(u)}
	opts.TLS.RootCAs.AddCert(proxy.Certificate())
	c, _, err := Dial(t.Context(), "wss://"+secure.Listener.Addr().String(), opts)
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, c)
	c.CloseNow()
	opts.TLS = nil
	if _, _, err := Dial(t.Context(), "wss://"+secure.Listener.Addr().String(), opts); err == nil {
		t.Error("the proxy's certificate is not checked")
	}
}

// relay is a CONNECT proxy.
func relay(w http.ResponseWriter, r *http.Request) {
	to, err := net.Dial("tcp", r.Host)
	if r.Method != http.MethodConnect || err != nil {
		http.Error(w, "cannot connect", http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffers, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	fmt.Fprint(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(to, buffers)
		to.Close()
	}()
	io.Copy(from, to)
}
