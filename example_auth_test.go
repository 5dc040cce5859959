package websocket_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
)

// The code of docs/authentication.md.

// A session is what a connection has to know of its user.
type session struct {
	user    string
	expires time.Time
}

// sessions has the session of each token.
var sessions = map[string]session{
	"open-sesame": {"Ali", time.Now().Add(time.Hour)},
	"open-barley": {"Kasim", time.Now().Add(-time.Hour)},
}

// sessionOf returns the session of a token, or the refusal of its request.
func sessionOf(token string) (session, error) {
	s, ok := sessions[token]
	if !ok || time.Now().After(s.expires) {
		return session{}, unauthorized()
	}
	return s, nil
}

// unauthorized returns the refusal of a request without a valid token.
func unauthorized() error {
	return &websocket.HandshakeError{
		Status:   http.StatusUnauthorized,
		Reason:   "a valid token is needed",
		Response: &http.Response{Header: http.Header{"WWW-Authenticate": {"Bearer"}}},
	}
}

// serve serves a connection until the session ends.
func (s session) serve(c *websocket.Conn) error {
	ctx, cancel := context.WithDeadline(c.Context(), s.expires)
	defer cancel()
	err := s.greet(ctx, c)
	if errors.Is(err, context.DeadlineExceeded) {
		return errExpired
	}
	return err
}

// errExpired closes a connection whose token has expired.
var errExpired = &websocket.CloseError{Code: 3000, Reason: "the token has expired"}

// greet greets the user, and echoes until ctx ends.
func (s session) greet(ctx context.Context, c *websocket.Conn) error {
	if err := c.WriteString(ctx, "hello, "+s.user); err != nil {
		return err
	}
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// enterByHeader is for programs, which can send any field.
func enterByHeader(r *http.Request) (func(c *websocket.Conn) error, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, unauthorized()
	}
	s, err := sessionOf(token)
	return s.serve, err
}

// enterByCookie is for pages of the server's own site.
func enterByCookie(r *http.Request) (func(c *websocket.Conn) error, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return nil, unauthorized()
	}
	s, err := sessionOf(cookie.Value)
	return s.serve, err
}

// tickets open one connection each, and only for a while.
type tickets struct {
	mu     sync.Mutex
	issued map[string]ticket
}

// A ticket stands for a session.
type ticket struct {
	session session
	until   time.Time
}

// ServeHTTP issues a ticket to a page that has authenticated itself as it does
// for all its requests.
func (t *tickets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := sessionOf(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		http.Error(w, "a valid token is needed", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, t.issue(s))
}

// issue returns a new ticket for s.
func (t *tickets) issue(s session) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, old := range t.issued {
		if time.Now().After(old.until) {
			delete(t.issued, name)
		}
	}
	name := rand.Text()
	t.issued[name] = ticket{s, time.Now().Add(30 * time.Second)}
	return name
}

// enter takes the ticket in the query. It is the open function of a Handler.
func (t *tickets) enter(r *http.Request) (func(c *websocket.Conn) error, error) {
	name := r.URL.Query().Get("ticket")
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.issued[name]
	delete(t.issued, name)
	if !ok || time.Now().After(found.until) {
		return nil, unauthorized()
	}
	return found.session.serve, nil
}

// newsOptions have the one subprotocol that is ever answered.
var newsOptions = &websocket.AcceptOptions{Config: websocket.Config{Subprotocols: []string{"news.v1"}}}

// enterBySubprotocol looks for a token among the subprotocols offered.
func enterBySubprotocol(r *http.Request) (func(c *websocket.Conn) error, error) {
	for _, offered := range websocket.Subprotocols(r) {
		if token, ok := strings.CutPrefix(offered, "token."); ok {
			s, err := sessionOf(token)
			return s.serve, err
		}
	}
	return nil, unauthorized()
}

// sessionKey is the key of a request's session in its context.
type sessionKey struct{}

// authenticated is middleware that puts the session of a request into its
// context.
func authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := sessionOf(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			http.Error(w, "a valid token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, s)))
	})
}

// enterFromContext takes what middleware has found out.
func enterFromContext(r *http.Request) (func(c *websocket.Conn) error, error) {
	s, ok := r.Context().Value(sessionKey{}).(session)
	if !ok {
		return nil, errors.New("no session")
	}
	return func(c *websocket.Conn) error {
		return greetUser(context.WithValue(c.Context(), sessionKey{}, s), c)
	}, nil
}

// greetUser finds the user in ctx, as functions do that also serve requests.
func greetUser(ctx context.Context, c *websocket.Conn) error {
	s := ctx.Value(sessionKey{}).(session)
	return c.WriteString(ctx, "hello, "+s.user)
}

// A guest is a Receiver for one connection, which ends with its session.
type guest struct {
	session session
	expiry  *time.Timer
}

// Opened starts the timer that closes the connection.
func (g *guest) Opened(c *websocket.Conn) error {
	g.expiry = time.AfterFunc(time.Until(g.session.expires), func() {
		c.Close(errExpired.Code, errExpired.Reason)
	})
	return c.WriteString(c.Context(), "hello, "+g.session.user)
}

// Receive echoes.
func (g *guest) Receive(c *websocket.Conn, m websocket.Message) error {
	return c.Write(c.Context(), m.Type, m.Data)
}

// Closed stops the timer.
func (g *guest) Closed(*websocket.Conn, *websocket.CloseError) { g.expiry.Stop() }

// printFirst prints the first message from url, or why there is none.
func printFirst(url string, opts *websocket.DialOptions) {
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, url, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	_, p, err := c.Read(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(p))
}

// withBearer returns options with a token in the header.
func withBearer(token string) *websocket.DialOptions {
	return &websocket.DialOptions{Header: http.Header{"Authorization": {"Bearer " + token}}}
}

// A token in the header Authorization.
func ExampleHandler_header() {
	server := httptest.NewServer(websocket.Handler(nil, enterByHeader))
	defer server.Close()
	printFirst(server.URL, withBearer("open-sesame"))
	printFirst(server.URL, withBearer("open-barley"))
	// Output:
	// hello, Ali
	// websocket: opening handshake: server refused (HTTP status 401, body "a valid token is needed")
}

// A token in a cookie, and a page of another site that has the browser send it.
func ExampleHandler_cookie() {
	server := httptest.NewServer(websocket.Handler(nil, enterByCookie))
	defer server.Close()
	for _, origin := range []string{server.URL, "https://evil.example"} {
		printFirst(server.URL, &websocket.DialOptions{
			Header: http.Header{"Cookie": {"session=open-sesame"}, "Origin": {origin}},
		})
	}
	// Output:
	// hello, Ali
	// websocket: opening handshake: server refused (HTTP status 403, body "origin is not allowed")
}

// A ticket in the query, which opens one connection.
func ExampleHandler_ticket() {
	t := &tickets{issued: make(map[string]ticket)}
	mux := http.NewServeMux()
	mux.Handle("POST /ticket", t)
	mux.Handle("/news", websocket.Handler(nil, t.enter))
	server := httptest.NewServer(mux)
	defer server.Close()

	request, err := http.NewRequest(http.MethodPost, server.URL+"/ticket", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer open-sesame")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	name, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	printFirst(server.URL+"/news?ticket="+string(name), nil)
	printFirst(server.URL+"/news?ticket="+string(name), nil)
	// Output:
	// hello, Ali
	// websocket: opening handshake: server refused (HTTP status 401, body "a valid token is needed")
}

// A token among the subprotocols, of which the server picks the other.
func ExampleHandler_subprotocol() {
	server := httptest.NewServer(websocket.Handler(newsOptions, enterBySubprotocol))
	defer server.Close()
	opts := &websocket.DialOptions{Config: websocket.Config{Subprotocols: []string{"news.v1", "token.open-sesame"}}}
	c, response, err := websocket.Dial(context.Background(), server.URL, opts)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	fmt.Println(c.Subprotocol(), response.Header["Sec-Websocket-Protocol"])
	// Output: news.v1 [news.v1]
}

// A session that middleware has put into the context of the request.
func ExampleHandler_context() {
	server := httptest.NewServer(authenticated(websocket.Handler(nil, enterFromContext)))
	defer server.Close()
	printFirst(server.URL, withBearer("open-sesame"))
	// Output: hello, Ali
}

// A session that ends with its token, served by a function and by a Receiver.
func ExampleHandler_expiry() {
	open := func() session { return session{"Ali", time.Now().Add(10 * time.Millisecond)} }
	mux := http.NewServeMux()
	mux.Handle("/function", websocket.Handler(nil, func(*http.Request) (func(c *websocket.Conn) error, error) {
		return open().serve, nil
	}))
	mux.Handle("/receiver", websocket.ReceiverHandler(nil, func(*http.Request) (websocket.Receiver, error) {
		return &guest{session: open()}, nil
	}))
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx := context.Background()
	for _, path := range []string{"/function", "/receiver"} {
		c, _, err := websocket.Dial(ctx, server.URL+path, nil)
		if err != nil {
			log.Fatal(err)
		}
		for err == nil {
			_, _, err = c.Read(ctx)
		}
		var end *websocket.CloseError
		if errors.As(err, &end) {
			fmt.Println(uint16(end.Code), end.Reason)
		}
	}
	// Output:
	// 3000 the token has expired
	// 3000 the token has expired
}
