package websocket

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// greet serves a connection: it sends what the request said of itself.
func greet(say func(r *http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := say(r)
		c, err := Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Write(background, MessageText, []byte(text))
		c.CloseRead(background)
		<-c.CloseRead(background).Done()
	}
}

// greeted dials and returns what the server says.
func greeted(t *testing.T, url string, o *DialOptions) string {
	c, r, err := Dial(patiently(t), url, o)
	require.NoError(t, err)
	defer c.Close(StatusNormalClosure, "")
	require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
	_, p, err := c.Read(patiently(t))
	require.NoError(t, err)
	return string(p)
}

func TestDialHeader(t *testing.T) {
	url := startServer(t, greet(func(r *http.Request) string {
		return r.Host + " " + r.Header.Get("X-Api-Key") + " " + strings.Join(r.Header["Sec-Websocket-Key"], "|")
	}))
	h := http.Header{ // as of a request that is passed on
		"X-Api-Key": {"k"}, "Connection": {"keep-alive"}, "Upgrade": {"h2c"}, "Host": {"elsewhere"},
		"Sec-WebSocket-Key": {"x"}, "Sec-Websocket-Version": {"12"}, "Content-Length": {"5"},
	}
	said := greeted(t, url, &DialOptions{HTTPHeader: h, Host: "name.example"})
	require.Regexp(t, `^name\.example k [\w+/]{22}==$`, said)
	require.Len(t, h, 7)
}

func TestDialSchemes(t *testing.T) {
	s := httptest.NewTLSServer(greet(func(*http.Request) string { return "hi" }))
	defer s.Close()
	for _, scheme := range []string{"wss", "https"} {
		u := scheme + strings.TrimPrefix(s.URL, "https") + "/path?q#fragment"
		require.Equal(t, "hi", greeted(t, u, &DialOptions{HTTPClient: s.Client()}))
	}
	plain := startServer(t, greet(func(*http.Request) string { return "hi" }))
	require.Equal(t, "hi", greeted(t, strings.Replace(plain, "http", "ws", 1), nil))
	require.Equal(t, "hi", greeted(t, plain, nil))
}

func TestDialErrors(t *testing.T) {
	refuse := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, strings.Repeat("no ", 1000), http.StatusTeapot)
	})
	_, r, err := Dial(patiently(t), refuse, nil)
	require.ErrorContains(t, err, "418")
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Len(t, body, 1024)
	for _, u := range []string{"ftp://host", "host", ":", "ws://"} {
		_, _, err = Dial(patiently(t), u, nil)
		require.Error(t, err)
	}
	_, _, err = Dial(canceled(), refuse, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// TestDialContext: ctx bounds the handshake and nothing after it.
func TestDialContext(t *testing.T) {
	url := startServer(t, greet(func(*http.Request) string { return "hi" }))
	ctx, cancel := context.WithCancel(background)
	c, _, err := Dial(ctx, url, &DialOptions{HTTPClient: &http.Client{Timeout: time.Minute}})
	require.NoError(t, err)
	cancel()
	receives(t, c, "hi")
	require.NoError(t, c.Close(StatusNormalClosure, ""))
}

// TestDialTimeout: so does the Timeout of the client.
func TestDialTimeout(t *testing.T) {
	over := make(chan struct{})
	url := startServer(t, func(http.ResponseWriter, *http.Request) { <-over })
	defer close(over)
	_, _, err := Dial(patiently(t), url, &DialOptions{HTTPClient: &http.Client{Timeout: time.Millisecond}})
	require.Error(t, err)
}

// TestDialDefaultClient: what the program has done to http.DefaultClient counts.
func TestDialDefaultClient(t *testing.T) {
	url := startServer(t, greet(func(r *http.Request) string { return r.Header.Get("X-Trace") }))
	old := http.DefaultClient.Transport
	defer func() { http.DefaultClient.Transport = old }()
	http.DefaultClient.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("X-Trace", "traced")
		return http.DefaultTransport.RoundTrip(r)
	})
	require.Equal(t, "traced", greeted(t, url, nil))
}

// A roundTrip is a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDialRedirectsAndCookies(t *testing.T) {
	target := startServer(t, greet(func(r *http.Request) string {
		cookie, err := r.Cookie("session")
		if err != nil {
			return err.Error()
		}
		return cookie.Value
	}))
	url := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1", Path: "/"})
		http.Redirect(w, r, strings.Replace(target, "http", "ws", 1), http.StatusTemporaryRedirect)
	})
	jar, _ := cookiejar.New(nil)
	require.Equal(t, "s1", greeted(t, url, &DialOptions{HTTPClient: &http.Client{Jar: jar}}))
}

func TestDialThroughAProxy(t *testing.T) {
	target := httptest.NewTLSServer(greet(func(*http.Request) string { return "hi" }))
	defer target.Close()
	connected := make(chan string, 1)
	proxy := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		connected <- r.Method
		tunnel(w, r)
	})
	client := target.Client()
	client.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	require.Equal(t, "hi", greeted(t, target.URL, &DialOptions{HTTPClient: client}))
	require.Equal(t, http.MethodConnect, <-connected)
}

// tunnel answers CONNECT.
func tunnel(w http.ResponseWriter, r *http.Request) {
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(to, from)
		to.Close()
	}()
	io.Copy(from, to)
	from.Close()
}

// TestDialMock: a transport may return any body that can be written to.
func TestDialMock(t *testing.T) {
	serverEnd, clientEnd := net.Pipe()
	defer serverEnd.Close()
	mock := roundTrip(func(r *http.Request) (*http.Response, error) {
		go func() {
			req, err := http.ReadRequest(bufio.NewReader(serverEnd))
			if err == nil {
				Accept(&pipeResponse{nc: serverEnd, header: http.Header{}}, req, nil)
			}
		}()
		if err := r.Write(clientEnd); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(clientEnd), r)
		if err == nil {
			resp.Body = clientEnd
		}
		return resp, err
	})
	c, _, err := Dial(patiently(t), "ws://mock.example", &DialOptions{HTTPClient: &http.Client{Transport: mock}})
	require.NoError(t, err)
	require.NoError(t, c.Ping(patiently(t)))
	n := NetConn(background, c, MessageText)
	require.NotNil(t, n.LocalAddr())
	require.NotNil(t, n.RemoteAddr())
	require.NoError(t, c.Close(StatusNormalClosure, ""))
}

// A pipeResponse is the response of a server on a net.Conn, to be taken over.
type pipeResponse struct {
	nc     net.Conn
	header http.Header
}

func (p *pipeResponse) Header() http.Header         { return p.header }
func (p *pipeResponse) Write(b []byte) (int, error) { return len(b), nil }
func (p *pipeResponse) WriteHeader(status int) {
	fmt.Fprintf(p.nc, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	p.header.Write(p.nc)
	io.WriteString(p.nc, "\r\n")
}
func (p *pipeResponse) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.nc, bufio.NewReadWriter(bufio.NewReader(p.nc), bufio.NewWriter(p.nc)), nil
}
