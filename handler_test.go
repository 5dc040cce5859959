package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A sink keeps what is logged.
type sink struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// logger returns a Logger that writes to s.
func (s *sink) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// rawTo connects to h behind a server that logs to errors, sends wire and
// returns the response and the connection.
func rawTo(t *testing.T, h http.Handler, errors io.Writer, wire string) (*http.Response, net.Conn) {
	t.Helper()
	s := newServerLoggingTo(h, errors)
	s.Start()
	t.Cleanup(s.Close)
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	return roundTrip(t, nc, wire)
}

// newServerLoggingTo returns a server for h that logs to errors and is to be
// started.
func newServerLoggingTo(h http.Handler, errors io.Writer) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(errors, "", 0)
	return s
}

// mustShutDown shuts r down, which nothing may delay.
func mustShutDown(t *testing.T, r *Registry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, r.Shutdown(ctx, CloseGoingAway, ""))
}

// An ending is how a function of the application ends, and what the peer and
// the logs are told of it.
type ending struct {
	name  string
	end   func() error
	want  string // payload of the Close frame
	level string // of what is logged
	text  string // which is logged
}

// readClose reads the Close frame from nc and answers it.
func (e ending) readClose(t *testing.T, nc net.Conn) {
	t.Helper()
	frame := make([]byte, 2+len(e.want))
	_, err := io.ReadFull(nc, frame)
	require.NoError(t, err)
	require.Equal(t, "\x88", string(frame[:1]))
	require.Equal(t, e.want, string(frame[2:]))
	nc.Write(append([]byte{0x88, 0x82, 0, 0, 0, 0}, frame[2:4]...))
	io.Copy(io.Discard, nc)
}

// checkLogs checks what was logged of the client at an address: to the Logger,
// if there is one, and otherwise to the server's ErrorLog.
func (e ending) checkLogs(t *testing.T, withLogger bool, logged, serverLogged *sink, client string) {
	t.Helper()
	panicked := strings.HasPrefix(e.name, "panic")
	require.Equal(t, panicked && !withLogger, strings.Contains(serverLogged.String(), "websocket: panic serving "+client))
	require.Equal(t, panicked && !withLogger, strings.Contains(serverLogged.String(), "handler_test.go"), "the stack")
	if !withLogger || e.level == "" {
		require.Empty(t, logged.String())
		return
	}
	require.Contains(t, logged.String(), "level="+e.level)
	require.Contains(t, logged.String(), e.text)
	require.Contains(t, logged.String(), "peer="+client)
	require.Equal(t, panicked, strings.Contains(logged.String(), "handler panicked"))
	require.Equal(t, 1, strings.Count(logged.String(), `msg="websocket: handler `), logged.String())
}

// endings are the ways in which a function that serves a connection ends.
var endings = []ending{
	{"nil", func() error { return nil }, "\x03\xe8", "", ""},
	{"error", func() error { return errors.New("secret") }, "\x03\xf3", "ERROR", "secret"},
	{"code", func() error { return fmt.Errorf("x: %w", CloseTryAgainLater) }, "\x03\xf5", "INFO", "1013"},
	{"code and reason", func() error { return &CloseError{Code: 4001, Reason: "bye"} }, "\x0f\xa1bye", "INFO", "4001"},
	{"code that never travels", func() error { return CloseAbnormal }, "\x03\xf3", "INFO", "1006"},
	{"panic", func() error { panic("secret") }, "\x03\xf3", "ERROR", "secret"},
	{"panic with nil", func() error { panic(nil) }, "\x03\xf3", "ERROR", "nil argument"},
	{"abort", func() error { panic(http.ErrAbortHandler) }, "\x03\xf3", "", ""},
	{"Goexit", func() error { runtime.Goexit(); return nil }, "\x03\xf3", "ERROR", "ended its goroutine"},
}

// TestHandlerEnds lets functions end in every way, and looks at what the peer
// and the logs are told.
func TestHandlerEnds(t *testing.T) {
	covers(t, "Q.A19", "V21")
	for _, c := range endings {
		for _, withLogger := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, Logger %t", c.name, withLogger), func(t *testing.T) {
				var logged, serverLogged sink
				opts := new(AcceptOptions)
				if withLogger {
					opts.Logger = logged.logger()
				}
				_, nc := rawTo(t, HandlerFunc(opts, func(*Conn) error { return c.end() }), &serverLogged, request())
				c.readClose(t, nc)
				c.checkLogs(t, withLogger, &logged, &serverLogged, nc.LocalAddr().String())
			})
		}
	}
}

// TestPanicWithoutAnyLog is about a handler with no Logger, in a server with
// no ErrorLog: a panic goes to package log.
func TestPanicWithoutAnyLog(t *testing.T) {
	covers(t, "V21")
	var logged sink
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	s := httptest.NewServer(HandlerFunc(nil, func(*Conn) error { panic("visible") }))
	defer s.Close()
	c := dial(t, s)
	require.ErrorIs(t, readToEnd(c), CloseInternalError)
	require.Contains(t, logged.String(), "panic serving")
	require.Contains(t, logged.String(), "visible")
}

// TestPanicEndsItsConnectionAlone proves that a function that panics ends its
// own connection and no other.
func TestPanicEndsItsConnectionAlone(t *testing.T) {
	covers(t, "V21")
	var logged sink
	s := httptest.NewUnstartedServer(HandlerFunc(nil, func(c *Conn) error {
		for m, err := range c.Messages(c.Context()) {
			if err != nil {
				return err
			}
			if string(m.Data) == "panic" {
				panic("as asked")
			}
			if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
				return err
			}
		}
		return nil
	}))
	s.Config.ErrorLog = log.New(&logged, "", 0)
	s.Start()
	defer s.Close()
	bad, good := dialed(t, s), dialed(t, s)
	require.NoError(t, bad.WriteString(t.Context(), "panic"))
	require.ErrorIs(t, readToEnd(bad), CloseInternalError)
	mustEcho(t, good)
}

// TestOwnEndIsNoFailure lets functions return how their connection ended.
func TestOwnEndIsNoFailure(t *testing.T) {
	covers(t, "V21")
	for name, c := range map[string]struct {
		end     func(c *Conn)
		returns func(err error) error
		logs    string
	}{
		"clean":          {func(c *Conn) { c.Close(CloseGoingAway, "") }, func(err error) error { return err }, ""},
		"clean, wrapped": {func(c *Conn) { c.Close(4000, "") }, func(err error) error { return fmt.Errorf("read: %w", err) }, ""},
		"cut":            {func(c *Conn) { c.NetConn().Close() }, func(err error) error { return err }, "level=INFO msg=\"websocket: handler failed\""},
		"another's clean end": {
			func(c *Conn) { c.Close(4000, "") },
			func(error) error { return &CloseError{Code: 4001, Received: true, Sent: true} },
			"level=INFO msg=\"websocket: handler failed\"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var logged sink
			var r Registry
			opts := &AcceptOptions{Config: Config{Logger: logged.logger()}, Registry: &r}
			s := httptest.NewServer(HandlerFunc(opts, func(conn *Conn) error { return c.returns(readToEnd(conn)) }))
			defer s.Close()
			c.end(dial(t, s))
			mustShutDown(t, &r)
			require.Contains(t, logged.String(), c.logs)
			require.Equal(t, c.logs != "", strings.Contains(logged.String(), "handler failed"))
		})
	}
}

// TestOpenDecides is about what the function given to Handler returns.
func TestOpenDecides(t *testing.T) {
	covers(t, "V18", "Q.J08")
	secret := errors.New("secret")
	unauthorized := &HandshakeError{
		Status: 401, Reason: "who are you", Err: secret,
		Response: &http.Response{Header: http.Header{"Www-Authenticate": {"Basic"}}},
	}
	for _, c := range []struct {
		name   string
		serve  func(c *Conn) error
		err    error
		status int
		body   string
		log    string
	}{
		{"serve", echo, nil, 101, "", ""},
		{"error", nil, secret, 403, "request is not allowed\n", "level=INFO"},
		{"error beside a function", echo, secret, 403, "request is not allowed\n", "level=INFO"},
		{"HandshakeError", nil, unauthorized, 401, "who are you\n", "level=INFO"},
		{"HandshakeError, wrapped", nil, fmt.Errorf("x: %w", unauthorized), 401, "who are you\n", "level=INFO"},
		{"status that refuses nothing", nil, &HandshakeError{Status: 101}, 403, "request is not allowed\n", "level=INFO"},
		{"failure of the server", nil, &HandshakeError{Status: 500, Reason: "no database"}, 500, "no database\n", "level=ERROR"},
		{"nothing", nil, nil, 500, "server is set up wrongly\n", "level=ERROR msg=\"websocket: handshake refused\" err=\"websocket: opening handshake: " +
			"server is set up wrongly (HTTP status 500): the function given to the handler returned neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logged sink
			var r Registry
			opts := &AcceptOptions{Config: Config{Logger: logged.logger()}, Registry: &r}
			h := Handler(opts, func(*http.Request) (func(c *Conn) error, error) { return c.serve, c.err })
			response, nc := rawTo(t, h, io.Discard, request())
			require.Equal(t, c.status, response.StatusCode)
			if c.status == 101 {
				io.WriteString(nc, maskedHello)
				wantHello(t, nc)
				nc.Close()
			}
			body, _ := io.ReadAll(response.Body)
			require.Equal(t, c.body, string(body))
			require.Equal(t, c.status == 401, response.Header.Get("Www-Authenticate") == "Basic")
			require.Contains(t, logged.String(), c.log)
			mustShutDown(t, &r)
		})
	}
}

// TestOpenIsAskedLast sends requests that the library refuses by itself.
func TestOpenIsAskedLast(t *testing.T) {
	covers(t, "V18")
	var stopped Registry
	mustShutDown(t, &stopped)
	for _, c := range []struct {
		opts   *AcceptOptions
		wire   string
		status int
	}{
		{nil, request("-Sec-WebSocket-Key"), 400},
		{nil, request("Origin: http://evil.example"), 403},
		{&AcceptOptions{Registry: &stopped}, request(), 503},
		{&AcceptOptions{SelectSubprotocol: func(*http.Request, []string) (string, error) { return "", io.EOF }}, request(), 400},
	} {
		h := Handler(c.opts, func(*http.Request) (func(c *Conn) error, error) {
			assert.Fail(t, "asked about a request that is refused", "status %d", c.status)
			return echo, nil
		})
		response, _ := rawTo(t, h, io.Discard, c.wire)
		require.Equal(t, c.status, response.StatusCode)
	}
}

// TestOpenIsAskedFirst checks that nothing is answered before the application
// has let the request in.
func TestOpenIsAskedFirst(t *testing.T) {
	covers(t, "V18")
	w := new(countingWriter)
	h := Handler(nil, func(r *http.Request) (func(c *Conn) error, error) {
		require.Equal(t, "/chat", r.URL.Path)
		require.Empty(t, w.calls)
		return nil, io.EOF
	})
	h.ServeHTTP(w, parsed(t, request()))
	require.Equal(t, []string{"WriteHeader 403", "Write"}, w.calls)
}

// A countingWriter is a ResponseWriter that keeps the names of calls that the
// client would see something of, and whose connection is somebody else's.
type countingWriter struct{ calls []string }

func (w *countingWriter) Header() http.Header { return http.Header{} }
func (w *countingWriter) WriteHeader(status int) {
	w.calls = append(w.calls, fmt.Sprint("WriteHeader ", status))
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.calls = append(w.calls, "Write")
	return len(p), nil
}

func (w *countingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, fmt.Errorf("a middleware: %w", http.ErrHijacked)
}

// TestOpenPanics lets the function given to Handler panic: net/http deals with
// that, and no reservation in the Registry is left.
func TestOpenPanics(t *testing.T) {
	covers(t, "V18", "V20", "V21")
	for name, end := range map[string]func(){"panic": func() { panic("open") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			var r Registry
			ended := make(chan any)
			h := Handler(&AcceptOptions{Registry: &r}, func(*http.Request) (func(c *Conn) error, error) {
				end()
				return echo, nil
			})
			upgrade := parsed(t, request())
			go func() {
				defer func() { ended <- recover() }()
				h.ServeHTTP(new(countingWriter), upgrade)
			}()
			panicked := <-ended
			require.Equal(t, name == "panic", panicked == "open")
			mustShutDown(t, &r)
		})
	}
}

// TestHandlerWithoutFunction checks that the mistake is told where it is made.
func TestHandlerWithoutFunction(t *testing.T) {
	covers(t, "V22")
	require.PanicsWithValue(t, "websocket: Handler without a function", func() { Handler(nil, nil) })
	require.PanicsWithValue(t, "websocket: HandlerFunc without a function", func() { HandlerFunc(nil, nil) })
}

// A recycler is a router that uses the values that it hangs on a request's
// context, and the request, for the next one.
type recycler struct {
	next   http.Handler
	values sync.Pool // of *string
}

type recycledKey struct{}

func (h *recycler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := h.values.Get().(*string)
	if !ok {
		name = new(string)
	}
	*name = strings.TrimPrefix(r.URL.Path, "/")
	r = r.WithContext(context.WithValue(r.Context(), recycledKey{}, name))
	h.next.ServeHTTP(w, r)
	*name = "recycled"
	h.values.Put(name)
	clear(r.Header)
	*r.URL = url.URL{}
	*r = http.Request{}
}

// TestRequestIsGivenBack serves connections behind a router that recycles
// requests, with everything switched on that looks at one. What an open took
// is its own, and the race detector sees nobody look at a request later.
func TestRequestIsGivenBack(t *testing.T) {
	covers(t, "V18")
	var logged sink
	var registry Registry
	opts := &AcceptOptions{
		Config: Config{
			Subprotocols: []string{"chat"},
			Compression:  &Compression{},
			Logger:       logged.logger(),
			Trace:        &Trace{Handshake: func(_ *Conn, h HandshakeTrace) { _ = h.Request.URL.Path }, Closed: func(*Conn, *CloseError) {}},
		},
		Registry: &registry,
	}
	s := httptest.NewServer(&recycler{next: Handler(opts, nameAndEnd)})
	defer s.Close()
	var clients sync.WaitGroup
	for i := range 60 {
		clients.Go(func() {
			name := fmt.Sprint([]string{"nil", "error", "panic", "exit"}[i%4], i)
			c, _, err := Dial(t.Context(), s.URL+"/"+name, &DialOptions{Config: Config{Subprotocols: []string{"chat"}}})
			if !assert.NoError(t, err) {
				return
			}
			defer c.CloseNow()
			_, p, err := c.Read(t.Context())
			assert.Equal(t, name+" chat", string(p), "%s: %v", name, err)
			readToEnd(c)
		})
	}
	clients.Wait()
	mustShutDown(t, &registry)
}

// nameAndEnd tells the name in the request's context, and ends as it says.
func nameAndEnd(r *http.Request) (func(c *Conn) error, error) {
	name := *r.Context().Value(recycledKey{}).(*string)
	return func(c *Conn) error {
		if err := c.WriteString(c.Context(), name+" "+c.Subprotocol()); err != nil {
			return err
		}
		switch name[:2] {
		case "er":
			return errors.New(name)
		case "pa":
			panic(name)
		case "ex":
			runtime.Goexit()
		}
		return nil
	}, nil
}

func TestHandlerLogsRefusals(t *testing.T) {
	covers(t, "Q.J06")
	var log bytes.Buffer
	h := HandlerFunc(&AcceptOptions{Config: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}, echo)
	r := parsed(t, request("GET /?token=secret HTTP/1.1", "Origin: http://evil.example", "Cookie: secret"))
	r.RemoteAddr = "192.0.2.1:1"
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Contains(t, log.String(), "origin is not allowed")
	require.Contains(t, log.String(), "192.0.2.1")
	require.NotContains(t, log.String(), "secret")
}

// TestHandlerFreesServer waits for ServeHTTP, and for the end of the request's
// context, while the connection is served.
func TestHandlerFreesServer(t *testing.T) {
	covers(t, "Q.A22")
	entered, left := make(chan context.Context), make(chan bool)
	h := Handler(nil, func(r *http.Request) (func(c *Conn) error, error) {
		ctx := r.Context()
		return func(c *Conn) error {
			entered <- ctx
			return echo(c)
		}, nil
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		left <- true
	}))
	defer s.Close()
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	_, nc = roundTrip(t, nc, request())
	ctx := <-entered
	<-left
	<-ctx.Done()
	io.WriteString(nc, maskedHello)
	wantHello(t, nc)
}
