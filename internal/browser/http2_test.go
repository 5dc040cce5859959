package browser

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	_ "github.com/fullduplex-go/websocket/h2"
)

// An arrival is what the server saw of a request.
type arrival struct {
	Path, Proto, Method, Protocol, RemoteAddr string
}

// A secureServer serves the page testdata/http2.html and what it opens, over TLS
// and HTTP/2.
type secureServer struct {
	*httptest.Server
	registry websocket.Registry
	ends     chan *websocket.CloseError // of the WebSockets that say so

	mu       sync.Mutex
	arrivals []arrival
}

// startSecure returns a secureServer that ends with the test.
func startSecure(t *testing.T) *secureServer {
	s := &secureServer{ends: make(chan *websocket.CloseError, 10)}
	s.Server = httptest.NewUnstartedServer(s.log(s.routes()))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// log notes each request before h handles it.
func (s *secureServer) log(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.arrivals = append(s.arrivals, arrival{r.URL.Path, r.Proto, r.Method, r.Header.Get(":protocol"), r.RemoteAddr})
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// arrived returns what was seen of the requests for these paths, in this order,
// each once.
func (s *secureServer) arrived(t *testing.T, paths ...string) (found []arrival) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range paths {
		for _, a := range s.arrivals {
			if a.Path == path {
				found = append(found, a)
			}
		}
	}
	if len(found) != len(paths) {
		t.Fatalf("requests for %q: %+v", paths, found)
	}
	return found
}

// routes are a WebSocket for each kind of handler, and more.
func (s *secureServer) routes() http.Handler {
	config := websocket.Config{
		Subprotocols: []string{"chat.v2", "chat.v1"},
		Compression:  new(websocket.Compression),
		Trace:        &websocket.Trace{Closed: func(_ *websocket.Conn, end *websocket.CloseError) { s.ends <- end }},
	}
	opts := &websocket.AcceptOptions{Config: config, Registry: &s.registry}
	foreign := &websocket.AcceptOptions{Origin: websocket.AllowOrigins("https://elsewhere.example")}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.HandleFunc("/accept", func(w http.ResponseWriter, r *http.Request) { acceptEcho(w, r, opts) })
	mux.Handle("/handler", websocket.HandlerFunc(opts, echo))
	mux.Handle("/receiver", websocket.ReceiverHandler(opts, func(*http.Request) (websocket.Receiver, error) {
		return echoReceiver{}, nil
	}))
	mux.Handle("/closing", websocket.HandlerFunc(opts, closeAfterMessage))
	mux.Handle("/foreign", websocket.HandlerFunc(foreign, echo))
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not you", http.StatusForbidden)
	})
	mux.Handle("GET /pattern", websocket.HandlerFunc(opts, echo))
	return mux
}

// acceptEcho echoes until the end.
func acceptEcho(w http.ResponseWriter, r *http.Request, opts *websocket.AcceptOptions) {
	c, err := websocket.Accept(w, r, opts)
	if err != nil {
		return
	}
	defer c.CloseNow()
	echo(c)
}

// closeAfterMessage closes with a code and a reason once a message has come.
func closeAfterMessage(c *websocket.Conn) error {
	if _, _, err := c.Read(c.Context()); err != nil {
		return err
	}
	return c.Close(4002, "server says bye")
}

// An echoReceiver sends every message back.
type echoReceiver struct{}

func (echoReceiver) Opened(*websocket.Conn) error { return nil }

func (echoReceiver) Receive(c *websocket.Conn, m websocket.Message) error {
	return c.Write(c.Context(), m.Type, m.Data)
}

func (echoReceiver) Closed(*websocket.Conn, *websocket.CloseError) {}

// end waits for the next end of a WebSocket.
func (s *secureServer) end(t *testing.T) *websocket.CloseError {
	t.Helper()
	select {
	case end := <-s.ends:
		return end
	case <-time.After(callTimeout):
		t.Fatal("the server has seen no end")
		return nil
	}
}

// open shows the page in a browser of its own, which forgets pages that it left: a
// page that it keeps, to go back to, keeps its WebSockets.
func (s *secureServer) open(t *testing.T) (*Browser, *Tab) {
	t.Helper()
	b := Start(t, "--ignore-certificate-errors-spki-list="+keyHash(s.Server), "--disable-features=BackForwardCache")
	return b, s.openTab(b)
}

// openTab shows the page in a new tab.
func (s *secureServer) openTab(b *Browser) *Tab {
	b.t.Helper()
	tab := b.Open(s.URL + "/http2.html")
	tab.Until(`typeof exchange === "function"`)
	return tab
}

// An outcome is what the page has of a WebSocket that it opened: what was agreed on,
// or its CloseEvent.
type outcome struct {
	Protocol, Extensions, Reason string
	Code, Errors                 int
	WasClean                     bool
}

// socket opens the WebSocket of a path and names it as the path.
func (tab *Tab) socket(path string) (o outcome) {
	tab.b.t.Helper()
	tab.Eval(fmt.Sprintf(`open(%q, %[1]q, ["chat.v1", "chat.v2"])`, path), &o)
	return o
}

// echoes exchanges messages from nothing to 1 MiB on the WebSocket of a path.
func (tab *Tab) echoes(path string, seed int) {
	tab.b.t.Helper()
	var wrong []int
	tab.Eval(fmt.Sprintf(`exchange(%q, %d, [0, 1, 125, 126, 4095, 65535, 65536, 300001, 1048576])`, path, seed), &wrong)
	if len(wrong) > 0 {
		tab.b.t.Errorf("%s: messages of these sizes did not come back: %v", path, wrong)
	}
}

// handlerPaths are the paths of the WebSockets that echo.
var handlerPaths = []string{"/accept", "/handler", "/receiver"}

// TestBrowserOverHTTP2 opens WebSockets from a page that came over HTTP/2: they
// are streams of the page's connection, and do all that others do.
func TestBrowserOverHTTP2(t *testing.T) {
	s := startSecure(t)
	_, tab := s.open(t)
	paths := append(handlerPaths, "/closing")
	for _, path := range paths {
		if o := tab.socket(path); o.Protocol != "chat.v2" || !strings.HasPrefix(o.Extensions, "permessage-deflate") {
			t.Fatalf("%s: %+v", path, o)
		}
	}
	page := s.arrived(t, "/http2.html")[0]
	if page.Proto != "HTTP/2.0" {
		t.Fatalf("%+v", page)
	}
	for _, got := range s.arrived(t, paths...) {
		if want := (arrival{got.Path, page.Proto, http.MethodConnect, "websocket", page.RemoteAddr}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	}
	for i, path := range handlerPaths {
		tab.echoes(path, i+1)
	}
	s.closings(t, tab)
}

// closings lets the page close WebSockets, and the server another one.
func (s *secureServer) closings(t *testing.T, tab *Tab) {
	t.Helper()
	var o outcome
	for _, path := range handlerPaths {
		tab.Eval(fmt.Sprintf(`close(%q, 4001, "bye")`, path), &o)
		if o.Code != 4001 || o.Reason != "bye" || !o.WasClean || o.Errors != 0 {
			t.Errorf("%s: %+v", path, o)
		}
		if end := s.end(t); end.Code != 4001 || end.Reason != "bye" || !end.Received || !end.Sent {
			t.Errorf("%s: %v", path, end)
		}
	}
	tab.Eval(`sockets["/closing"].send("close"), sockets["/closing"].closed`, &o)
	if o.Code != 4002 || o.Reason != "server says bye" || !o.WasClean || o.Errors != 0 {
		t.Errorf("%+v", o)
	}
	if end := s.end(t); end.Code != 4002 || !end.Received || !end.Sent {
		t.Error(end)
	}
}

// TestBrowserOverHTTP2Refused opens WebSockets that are refused: the page has 1006,
// the browser tries no other protocol, and the WebSocket beside them goes on.
func TestBrowserOverHTTP2Refused(t *testing.T) {
	s := startSecure(t)
	_, tab := s.open(t)
	tab.socket("/handler")
	refused := []string{"/foreign", "/forbidden", "/pattern", "/nowhere"}
	for _, path := range refused {
		if o := tab.socket(path); o.Code != 1006 || o.WasClean || o.Errors != 1 {
			t.Errorf("%s: %+v", path, o)
		}
	}
	tab.echoes("/handler", 7)
	page := s.arrived(t, "/http2.html")[0]
	for _, got := range s.arrived(t, refused...) {
		if got.Proto != page.Proto || got.RemoteAddr != page.RemoteAddr {
			t.Errorf("%+v, and the page %+v", got, page)
		}
	}
}

// leavings are ways to leave a page.
var leavings = map[string]func(tab *Tab){
	"reload":       func(tab *Tab) { tab.Call("Page.reload", nil, nil) },
	"another page": func(tab *Tab) { tab.Call("Page.navigate", map[string]any{"url": "about:blank"}, nil) },
	"close":        func(tab *Tab) { tab.Call("Page.close", nil, nil) },
}

// TestBrowserOverHTTP2Left leaves the page: Chromium resets the streams of its
// WebSockets and sends no Close frames. The connection goes on.
func TestBrowserOverHTTP2Left(t *testing.T) {
	for name, leave := range leavings {
		t.Run(name, func(t *testing.T) {
			s := startSecure(t)
			b, tab := s.open(t)
			for _, path := range handlerPaths {
				tab.socket(path)
			}
			leave(tab)
			for range handlerPaths {
				if end := s.end(t); end.Code != websocket.CloseAbnormal || end.Received {
					t.Error(end)
				}
			}
			s.openTab(b).socket("/closing")
			was := s.arrived(t, "/handler")[0]
			if is := s.arrived(t, "/closing")[0]; is.RemoteAddr != was.RemoteAddr {
				t.Errorf("%+v, and before %+v", is, was)
			}
		})
	}
}

// TestBrowserOverHTTP2Shutdown stops the server's WebSockets.
func TestBrowserOverHTTP2Shutdown(t *testing.T) {
	s := startSecure(t)
	_, tab := s.open(t)
	for _, path := range handlerPaths {
		tab.socket(path)
	}
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	if err := s.registry.Shutdown(ctx, websocket.CloseGoingAway, "deploy"); err != nil {
		t.Error(err)
	}
	for _, path := range handlerPaths {
		var o outcome
		tab.Eval(fmt.Sprintf(`sockets[%q].closed`, path), &o)
		if o.Code != 1001 || o.Reason != "deploy" || !o.WasClean {
			t.Errorf("%s: %+v", path, o)
		}
		if end := s.end(t); !errors.Is(end, websocket.CloseGoingAway) || !end.Received {
			t.Error(end)
		}
	}
}
