package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket"
)

// greet sends one message and closes.
func greet(c *websocket.Conn) error {
	return c.WriteString(c.Context(), "hello")
}

// users have a token each.
var users = map[string]string{"Bearer open sesame": "Ali"}

// A room that only users enter. What the connection needs of the request is
// taken before it is answered: afterwards the request belongs to others.
func ExampleHandler() {
	enter := func(r *http.Request) (func(c *websocket.Conn) error, error) {
		user, ok := users[r.Header.Get("Authorization")]
		if !ok {
			return nil, errors.New("not a user") // 403
		}
		room := r.PathValue("room")
		return func(c *websocket.Conn) error {
			return c.WriteString(c.Context(), user+" is in the "+room)
		}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("/rooms/{room}", websocket.Handler(nil, enter))
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx := context.Background()
	for _, token := range []string{"Bearer open sesame", "Bearer open barley"} {
		c, _, err := websocket.Dial(ctx, server.URL+"/rooms/cave", &websocket.DialOptions{
			Header: http.Header{"Authorization": {token}},
		})
		if err != nil {
			fmt.Println(err)
			continue
		}
		for m := range c.Messages(ctx) {
			fmt.Printf("%s\n", m.Data)
		}
	}
	// Output:
	// Ali is in the cave
	// websocket: opening handshake: server refused (HTTP status 403, body "request is not allowed")
}

// A bearer is an http.RoundTripper that adds a token, as those of OAuth clients
// do.
type bearer struct{ token string }

// RoundTrip sends the request with the token.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}

// The handshake goes through an http.Client, with all that its RoundTrippers do
// for other requests.
func ExampleDialOptions_hTTPClient() {
	server := httptest.NewServer(websocket.Handler(nil, func(r *http.Request) (func(c *websocket.Conn) error, error) {
		user := users[r.Header.Get("Authorization")]
		return func(c *websocket.Conn) error { return c.WriteString(c.Context(), "hello "+user) }, nil
	}))
	defer server.Close()

	ctx := context.Background()
	client := &http.Client{Transport: bearer{"open sesame"}}
	c, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		log.Fatal(err)
	}
	for m := range c.Messages(ctx) {
		fmt.Printf("%s\n", m.Data)
	}
	// Output: hello Ali
}

// The function given to Handler, like a policy, can say how a request is
// refused.
func ExampleHandshakeError() {
	enter := func(r *http.Request) (func(c *websocket.Conn) error, error) {
		if users[r.Header.Get("Authorization")] == "" {
			return nil, &websocket.HandshakeError{
				Status:   http.StatusUnauthorized,
				Reason:   "a token is needed",
				Response: &http.Response{Header: http.Header{"WWW-Authenticate": {"Bearer"}}},
			}
		}
		return greet, nil
	}
	server := httptest.NewServer(websocket.Handler(nil, enter))
	defer server.Close()

	_, _, err := websocket.Dial(context.Background(), server.URL, nil)
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) {
		fmt.Println(refused.Status, refused.Response.Header.Get("WWW-Authenticate"))
	}
	// Output: 401 Bearer
}

// A refusal with a body of its own: the problem details of RFC 9457.
func ExampleHandshakeError_body() {
	enter := func(r *http.Request) (func(c *websocket.Conn) error, error) {
		return nil, &websocket.HandshakeError{
			Status: http.StatusForbidden,
			Reason: "the room is full",
			Response: &http.Response{
				Header: http.Header{"Content-Type": {"application/problem+json"}},
				Body:   io.NopCloser(strings.NewReader(`{"type": "about:blank", "title": "the room is full", "status": 403}`)),
			},
		}
	}
	server := httptest.NewServer(websocket.Handler(nil, enter))
	defer server.Close()

	_, response, err := websocket.Dial(context.Background(), server.URL, nil)
	if response == nil {
		log.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	fmt.Printf("%s: %s\n", response.Header.Get("Content-Type"), body)
	// Output: application/problem+json: {"type": "about:blank", "title": "the room is full", "status": 403}
}

// One address for a page and for its WebSocket.
func ExampleIsUpgrade() {
	socket := websocket.HandlerFunc(nil, greet)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsUpgrade(r) {
			socket.ServeHTTP(w, r)
			return
		}
		io.WriteString(w, "a page")
	}))
	defer server.Close()

	page, err := http.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer page.Body.Close()
	text, _ := io.ReadAll(page.Body)
	fmt.Printf("%s\n", text)

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	for m := range c.Messages(ctx) {
		fmt.Printf("%s\n", m.Data)
	}
	// Output:
	// a page
	// hello
}

// Pages of two origins may connect, and programs that are not browsers.
func ExampleAllowOrigins() {
	policy := websocket.AllowOrigins("https://example.com", "https://*.example.com")
	for _, origin := range []string{"https://www.example.com", "https://example.com.evil.net"} {
		r := &http.Request{Host: "example.com", Header: http.Header{"Origin": {origin}}}
		fmt.Println(origin, policy(r))
	}
	// Output:
	// https://www.example.com <nil>
	// https://example.com.evil.net websocket: page of origin "https://example.com.evil.net" may not connect to "example.com"
}

// A server without net/http.
func ExampleAcceptConn() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go func() {
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		c, r, err := websocket.AcceptConn(context.Background(), nc, nil)
		if err != nil {
			return
		}
		c.WriteString(context.Background(), "you asked for "+r.URL.Path)
		c.Close(websocket.CloseNormal, "")
	}()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, "ws://"+listener.Addr().String()+"/news", nil)
	if err != nil {
		log.Fatal(err)
	}
	for m := range c.Messages(ctx) {
		fmt.Printf("%s\n", m.Data)
	}
	// Output: you asked for /news
}

// Two ends in memory, without a handshake. A server that is not of net/http does
// the same with what its handshake led to: the net.Conn, the fields of its
// response, and what it has read beyond the request.
func ExampleNewConn() {
	near, far := net.Pipe()
	agreed := websocket.ConnOptions{Subprotocol: "news.v2", Extensions: "permessage-deflate"}
	s, err := websocket.NewConn(near, &agreed)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		s.WriteString(s.Context(), "hello, "+s.Subprotocol())
		s.Close(websocket.CloseNormal, "")
	}()

	agreed.Client = true
	c, err := websocket.NewConn(far, &agreed)
	if err != nil {
		log.Fatal(err)
	}
	for m := range c.Messages(c.Context()) {
		fmt.Printf("%s\n", m.Data)
	}
	// Output: hello, news.v2
}

// A client with a proxy, cookies, a redirect and a subprotocol that it insists
// on.
func ExampleDial() {
	opts := &websocket.AcceptOptions{Config: websocket.Config{Subprotocols: []string{"news.v2"}}}
	mux := http.NewServeMux()
	mux.Handle("/news", websocket.HandlerFunc(opts, greet))
	mux.Handle("/", http.RedirectHandler("/news", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()

	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, response, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{
		Config:             websocket.Config{Subprotocols: []string{"news.v2", "news.v1"}},
		RequireSubprotocol: true,
		Redirects:          3,
		Jar:                jar,
		Proxy: func(r *http.Request) (*url.URL, error) {
			if strings.HasPrefix(r.URL.Host, "127.") {
				return nil, nil
			}
			return url.Parse("socks5h://user:password@proxy.example.com")
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	_, message, err := c.Read(ctx)
	fmt.Println(c.Subprotocol(), response.Request.URL.Path, string(message), err)
	// Output: news.v2 /news hello <nil>
}

// A client that comes back when the server restarts, and stops when it says
// that all is done.
func ExampleRedial() {
	visits := 0
	server := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		if visits++; visits == 1 {
			return websocket.CloseServiceRestart
		}
		return greet(c)
	}))
	defer server.Close()

	ctx := context.Background()
	backoff := websocket.Backoff{Min: 10 * time.Millisecond, Max: time.Second, Attempts: 5}
	for c, err := range websocket.Redial(ctx, server.URL, nil, backoff) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		for m, err := range c.Messages(ctx) {
			if err != nil {
				fmt.Println(err)
				break
			}
			fmt.Printf("%s\n", m.Data)
		}
	}
	// Output:
	// websocket: closed: 1012 (service restart)
	// hello
}
