package websocket

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A wrapper is a ResponseWriter of a middleware that only unwraps.
type wrapper struct{ w http.ResponseWriter }

func (w wrapper) Header() http.Header         { return w.w.Header() }
func (w wrapper) Write(b []byte) (int, error) { return w.w.Write(b) }
func (w wrapper) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrapper) Unwrap() http.ResponseWriter { return w.w }

// A hider is a ResponseWriter of a middleware that hides the one below it.
type hider struct{ http.ResponseWriter }

// A refuser is a ResponseWriter whose Hijack refuses.
type refuser struct{ hidden }

func (refuser) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("not today")
}

// TestNotHijackable is about middleware that does not let the connection
// through: the error says whose type it is, and what that type needs.
func TestNotHijackable(t *testing.T) {
	covers(t, "S25")
	for _, c := range []struct {
		name   string
		wrap   func(w http.ResponseWriter) http.ResponseWriter
		status int
		says   []string
	}{
		{"hidden", func(w http.ResponseWriter) http.ResponseWriter { return hider{w} },
			501, []string{"websocket.hider hides the connection", "Unwrap() http.ResponseWriter", "Hijack"}},
		{"hidden by a pointer", func(w http.ResponseWriter) http.ResponseWriter { return &hider{w} },
			501, []string{"*websocket.hider hides"}},
		{"hidden in the middle", func(w http.ResponseWriter) http.ResponseWriter { return wrapper{wrapper{hider{wrapper{w}}}} },
			501, []string{"websocket.hider hides"}},
		{"refused", func(w http.ResponseWriter) http.ResponseWriter { return wrapper{refuser{w}} },
			500, []string{"websocket.refuser did not hand the connection over: not today"}},
		{"unwrapped", func(w http.ResponseWriter) http.ResponseWriter { return wrapper{&wrapper{wrapper{w}}} },
			101, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logged sink
			h := HandlerFunc(&AcceptOptions{Config: Config{Logger: logged.logger()}}, echo)
			outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(c.wrap(w), r) })
			response, nc := rawTo(t, outer, io.Discard, request())
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != c.status || (c.status == 501) != strings.Contains(string(body), "Unwrap() http.ResponseWriter") {
				t.Errorf("got %d, %q", response.StatusCode, body)
			}
			if strings.Contains(string(body), "websocket.") {
				t.Errorf("the client is told of types: %q", body)
			}
			for _, text := range c.says {
				if !strings.Contains(logged.String(), text) || !strings.Contains(logged.String(), "level=ERROR") {
					t.Errorf("log is %q, want %q", logged.String(), text)
				}
			}
			if c.status == 101 {
				io.WriteString(nc, maskedHello)
				wantHello(t, nc)
			}
		})
	}
}

// TestNotHijackableByTheStandardLibrary is about ResponseWriters that the
// program cannot change.
func TestNotHijackableByTheStandardLibrary(t *testing.T) {
	covers(t, "S25")
	var refused error
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, refused = Accept(w, r, nil) })
	for name, h := range map[string]http.Handler{
		"*httptest.ResponseRecorder": accept,
		"*http.timeoutWriter":        http.TimeoutHandler(accept, time.Minute, ""),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, parsed(t, request()))
		if w.Code != 501 || w.Header().Get("Upgrade") != "" {
			t.Errorf("%s: got %d, %v", name, w.Code, w.Header())
		}
		if !errors.Is(refused, http.ErrNotSupported) || statusOf(refused) != 501 || !strings.Contains(refused.Error(), name+" hides") {
			t.Errorf("%s: got %v", name, refused)
		}
	}
}

// A spy counts the calls that write to a response.
type spy struct {
	wrapper
	calls *int
}

func (w spy) Write(b []byte) (int, error) { *w.calls++; return w.wrapper.Write(b) }
func (w spy) WriteHeader(status int)      { *w.calls++; w.wrapper.WriteHeader(status) }

// TestAcceptAfterHijack accepts a request whose connection is taken already, by
// another call of Accept or by the program. The error says so, nothing is
// written, and the connection goes on.
func TestAcceptAfterHijack(t *testing.T) {
	covers(t, "S25", "V20")
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	for name, take := range map[string]func(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (io.Closer, error){
		"by Accept": func(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (io.Closer, error) {
			c, err := Accept(w, r, opts)
			if err != nil {
				return nil, err
			}
			return closer(func() { c.Close(CloseNormal, "") }), nil
		},
		"by the program": func(w http.ResponseWriter, r *http.Request, _ *AcceptOptions) (io.Closer, error) {
			nc, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return nil, err
			}
			io.WriteString(nc, answer)
			return closer(func() { io.WriteString(nc, "\x88\x02\x03\xe8"); nc.Close() }), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var registry Registry
			opts := &AcceptOptions{Registry: &registry}
			var errs []error
			calls := 0
			h := func(w http.ResponseWriter, r *http.Request) {
				w = spy{wrapper{w}, &calls}
				c, err := take(w, r, opts)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = Accept(w, r, opts)
				errs = append(errs, err)
				HandlerFunc(opts, func(*Conn) error { t.Error("served"); return nil }).ServeHTTP(w, r)
				c.Close()
			}
			var logged sink
			_, nc := rawTo(t, http.HandlerFunc(h), &logged, request())
			frame := make([]byte, 4)
			if _, err := io.ReadFull(nc, frame); err != nil || string(frame) != "\x88\x02\x03\xe8" {
				t.Errorf("behind the response there is %q, %v", frame, err)
			}
			io.WriteString(nc, "\x88\x82\x00\x00\x00\x00\x03\xe8")
			if rest, _ := io.ReadAll(nc); len(rest) > 0 {
				t.Errorf("behind the Close frame there is %q", rest)
			}
			nc.Close()
			mustShutDown(t, &registry)
			var e *HandshakeError
			if len(errs) != 1 || !errors.As(errs[0], &e) || e.Status != 0 || !errors.Is(errs[0], http.ErrHijacked) {
				t.Errorf("got %v", errs)
			}
			if told := name == "by Accept"; (calls == 1) != told || calls > 1 || logged.String() != "" {
				t.Errorf("%d calls wrote, log is %q", calls, logged.String())
			}
		})
	}
}

// A closer closes by a function.
type closer func()

func (f closer) Close() error { f(); return nil }

func TestBehindMiddleware(t *testing.T) {
	covers(t, "S25", "S17", "Q.A21", "Q.J08")
	mux := http.NewServeMux()
	mux.Handle("/chat", HandlerFunc(nil, echo))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(wrapper{wrapper{w}}, r)
	}))
	defer s.Close()
	for path, want := range map[string]int{"/chat": 101, "/other": 404} {
		nc, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r, nc := roundTrip(t, nc, request("GET "+path+" HTTP/1.1", "Expect: 100-continue")+maskedHello)
		if r.StatusCode != want {
			t.Fatalf("%s: got %d", path, r.StatusCode)
		}
		if want == 101 {
			wantHello(t, nc)
		}
	}
}

func TestHTTP2(t *testing.T) {
	covers(t, "S25", "Q.A07")
	s := httptest.NewUnstartedServer(HandlerFunc(nil, echo))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	r, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if r.ProtoMajor != 2 || r.StatusCode != 505 || !strings.Contains(string(body), "came in HTTP/2.0: a proxy in front") {
		t.Errorf("got %d over %s, %q", r.StatusCode, r.Proto, body)
	}
}

func TestServerDeadlinesAreCleared(t *testing.T) {
	covers(t, "S26")
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		s := &http.Server{Handler: HandlerFunc(nil, echo), ReadTimeout: time.Second, WriteTimeout: time.Second}
		go s.Serve(&oneListener{nc: far})
		go io.WriteString(near, request())
		br := bufio.NewReader(near)
		if r, err := http.ReadResponse(br, nil); err != nil || r.StatusCode != 101 {
			t.Fatal(r, err)
		}
		time.Sleep(10 * time.Second)
		go io.WriteString(near, maskedHello)
		wantHello(t, bufferedConn{near, br})
	})
}
