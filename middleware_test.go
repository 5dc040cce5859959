package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Models of what middleware does with a ResponseWriter.

// A statusRecorder is that of an access log or a metric.
type statusRecorder struct {
	wrapper
	statuses *[]int
}

func (w statusRecorder) WriteHeader(status int) {
	*w.statuses = append(*w.statuses, status)
	w.wrapper.WriteHeader(status)
}

// An oldRecorder is one that is older than http.ResponseController.
type oldRecorder struct {
	http.ResponseWriter
	statuses *[]int
}

func (w *oldRecorder) WriteHeader(status int) {
	*w.statuses = append(*w.statuses, status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *oldRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// A nestedRecorder embeds another.
type nestedRecorder struct{ *oldRecorder }

// A silentRecorder does not say what it wraps.
type silentRecorder struct {
	hidden
	statuses *[]int
}

func (w silentRecorder) WriteHeader(status int) {
	*w.statuses = append(*w.statuses, status)
	w.hidden.WriteHeader(status)
}

func (w silentRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.hidden.(http.Hijacker).Hijack()
}

// A sessionWriter sets its cookie as late as it can.
type sessionWriter struct{ wrapper }

func (w sessionWriter) WriteHeader(status int) {
	http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	w.wrapper.WriteHeader(status)
}

// A ginWriter keeps the status until it has to be written, as that of gin does.
type ginWriter struct {
	wrapper
	status  int
	written bool
}

func (w *ginWriter) WriteHeader(status int) { w.status = status }
func (w *ginWriter) WriteHeaderNow() {
	if !w.written {
		w.written = true
		w.wrapper.WriteHeader(w.status)
	}
}

// A gzipWriter keeps the status until it knows whether it compresses.
type gzipWriter struct {
	wrapper
	status int
}

func (w *gzipWriter) WriteHeader(status int) { w.status = status }
func (w *gzipWriter) close() {
	if w.status != 0 {
		w.wrapper.WriteHeader(w.status)
	}
}

// A chain is middleware around w. It may return what is to be called when the
// handler has returned.
type chain func(w http.ResponseWriter, statuses *[]int) (outermost http.ResponseWriter, after func())

// chains are those that Accept is behind, with what they see and say.
var chains = map[string]struct {
	wrap   chain
	told   bool // of the 101
	cookie bool
	logs   bool // net/http complains of a late WriteHeader
}{
	"none": {func(w http.ResponseWriter, _ *[]int) (http.ResponseWriter, func()) { return w, nil }, false, false, false},
	"recorder": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return statusRecorder{wrapper{w}, statuses}, nil
	}, true, false, false},
	"recorder in the middle": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return wrapper{statusRecorder{wrapper{wrapper{w}}, statuses}}, nil
	}, true, false, false},
	"old recorder": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return &oldRecorder{w, statuses}, nil
	}, true, false, false},
	"old recorder, embedded": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return wrapper{nestedRecorder{&oldRecorder{w, statuses}}}, nil
	}, true, false, false},
	"recorder that hides": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return silentRecorder{w, statuses}, nil
	}, false, false, false},
	"session": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return sessionWriter{wrapper{statusRecorder{wrapper{w}, statuses}}}, nil
	}, true, true, false},
	"gin": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return &ginWriter{wrapper: wrapper{statusRecorder{wrapper{w}, statuses}}}, nil
	}, true, false, false},
	"session in gin": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		return sessionWriter{wrapper{&ginWriter{wrapper: wrapper{statusRecorder{wrapper{w}, statuses}}}}}, nil
	}, true, true, false},
	"session in gzip in a recorder": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		gz := &gzipWriter{wrapper: wrapper{statusRecorder{wrapper{w}, statuses}}}
		return sessionWriter{wrapper{gz}}, gz.close
	}, true, true, true},
	"recorder in gzip": {func(w http.ResponseWriter, statuses *[]int) (http.ResponseWriter, func()) {
		gz := &gzipWriter{wrapper: wrapper{w}}
		return statusRecorder{wrapper{gz}, statuses}, gz.close
	}, true, false, true},
}

// accepts are the ways to accept a connection and echo on it.
var accepts = map[string]func(opts *AcceptOptions) http.Handler{
	"Accept": func(opts *AcceptOptions) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := Accept(w, r, opts); err == nil {
				go echo(c)
			}
		})
	},
	"Handler": func(opts *AcceptOptions) http.Handler {
		return Handler(opts, func(*http.Request) (func(c *Conn) error, error) { return echo, nil })
	},
	"HandlerFunc": func(opts *AcceptOptions) http.Handler { return HandlerFunc(opts, echo) },
	"ReceiverHandler": func(opts *AcceptOptions) http.Handler {
		return ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return echoReceiver{}, nil })
	},
}

// TestThroughMiddleware accepts connections behind middleware of all kinds: it is
// told of the status once, what it adds to the header arrives, and there is one
// response with frames behind it, whoever sends it.
func TestThroughMiddleware(t *testing.T) {
	covers(t, "S20", "S23", "S25")
	for kind, c := range chains {
		for name, accept := range accepts {
			t.Run(kind+"/"+name, func(t *testing.T) {
				opts := &AcceptOptions{
					Config: Config{Subprotocols: []string{"chat"}, Compression: &Compression{}},
					Header: http.Header{"x-own": {"a", "b"}, "X-Both": {"own"}},
				}
				h := accept(opts)
				var statuses []int
				served := make(chan bool)
				outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(served)
					w.Header().Set("X-Both", "theirs")
					w.Header().Set("Connection", "close")
					w.Header().Set("sec-websocket-accept", "x")
					w.Header().Set("Content-Type", "text/html")
					w, after := c.wrap(w, &statuses)
					if after != nil {
						defer after()
					}
					h.ServeHTTP(w, r)
				})
				var logged sink
				wire := request("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate") + maskedHello
				head, nc := rawHeadTo(t, outer, &logged, wire)
				for _, line := range []string{
					"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + sampleAccept,
					"Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate",
					"x-own: a", "x-own: b", "X-Both: own", "X-Both: theirs",
				} {
					require.Equal(t, 1, strings.Count(head, "\r\n"+line+"\r\n"), "%q in %q", line, head)
				}
				require.True(t, strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n"), head)
				require.NotContains(t, head, "Content-")
				require.NotContains(t, head, "Connection: close")
				require.Equal(t, 1, strings.Count(strings.ToLower(head), "sec-websocket-accept"))
				require.Equal(t, c.cookie, strings.Contains(head, "\r\nSet-Cookie: session=1\r\n"))
				wantHello(t, nc)
				io.WriteString(nc, maskedHello)
				wantHello(t, nc)
				<-served
				if c.told {
					require.Equal(t, []int{101}, statuses)
				} else {
					require.Empty(t, statuses)
				}
				require.Equal(t, c.logs, strings.Contains(logged.String(), "WriteHeader on hijacked connection"), logged.String())
				require.Equal(t, c.logs, logged.String() != "")
			})
		}
	}
}

// rawHeadTo is rawTo, but returns the head of the response as it came.
func rawHeadTo(t *testing.T, h http.Handler, errors io.Writer, wire string) (head string, nc net.Conn) {
	t.Helper()
	s := newServerLoggingTo(h, errors)
	s.Start()
	t.Cleanup(s.Close)
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	_, err = io.WriteString(nc, wire)
	require.NoError(t, err)
	br := bufio.NewReader(nc)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := br.ReadString('\n')
		require.NoError(t, err)
		head += line
	}
	return head, bufferedConn{nc, br}
}

// TestThroughMiddlewareOverTLS does it once over TLS, with our client.
func TestThroughMiddlewareOverTLS(t *testing.T) {
	covers(t, "S25", "E06")
	var statuses []int
	h := HandlerFunc(nil, echo)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(sessionWriter{wrapper{statusRecorder{wrapper{w}, &statuses}}}, r)
	}))
	defer s.Close()
	c, response, err := Dial(t.Context(), "wss"+strings.TrimPrefix(s.URL, "https"), &DialOptions{TLS: trust(s)})
	require.NoError(t, err)
	defer c.CloseNow()
	require.Equal(t, "session=1", response.Header.Get("Set-Cookie"))
	mustEcho(t, c)
}

// TestMiddlewareSeesRefusals checks that a refusal is an ordinary response to
// middleware, and leaves no field of a handshake.
func TestMiddlewareSeesRefusals(t *testing.T) {
	for _, wire := range []string{request("-Sec-WebSocket-Key"), request("GET / HTTP/1.0"), request("Origin: http://evil.example")} {
		var statuses []int
		h := HandlerFunc(nil, echo)
		r, _ := rawTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(sessionWriter{wrapper{statusRecorder{wrapper{w}, &statuses}}}, r)
		}), io.Discard, wire)
		require.Equal(t, []int{r.StatusCode}, statuses)
		require.Equal(t, "session=1", r.Header.Get("Set-Cookie"))
		require.Empty(t, r.Header["Sec-Websocket-Accept"])
	}
}

// A lateRefuser is a middleware whose Hijack refuses, and that says what it
// wraps. It may take the connection for itself.
type lateRefuser struct {
	wrapper
	takes bool
}

func (w lateRefuser) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.takes {
		nc, _, err := w.w.(http.Hijacker).Hijack()
		if err != nil {
			return nil, nil, err
		}
		nc.Close()
	}
	return nil, nil, errors.New("not today")
}

// TestMiddlewareRefusesAfterwards is about middleware that was told of a 101 and
// does not hand the connection over. Nothing can be taken back, so the
// connection ends, and the error says whose fault it was.
func TestMiddlewareRefusesAfterwards(t *testing.T) {
	covers(t, "S25", "V22")
	for _, takes := range []bool{false, true} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			var logged sink
			var registry Registry
			seen := make(chan HandshakeTrace, 1)
			opts := &AcceptOptions{
				Config:   Config{Logger: logged.logger(), Trace: &Trace{Handshake: func(_ *Conn, h HandshakeTrace) { seen <- h }}},
				Registry: &registry,
			}
			h := HandlerFunc(opts, echo)
			head, nc := rawHeadTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(wrapper{lateRefuser{wrapper{w}, takes}}, r)
			}), &logged, request()+maskedHello)
			require.True(t, strings.HasPrefix(head, "HTTP/1.1 101 "))
			rest, _ := io.ReadAll(nc)
			require.Empty(t, rest)
			require.Error(t, (<-seen).Err)
			mustShutDown(t, &registry)
			require.Contains(t, logged.String(), "level=ERROR")
			require.Contains(t, logged.String(), "websocket.lateRefuser did not hand the connection over: not today")
			require.NotContains(t, logged.String(), "http: ")
		})
	}
}

// TestAcceptAfterWriting accepts a request to which something was answered: a
// 101 behind that would mean nothing. The error says so, and the response that
// was begun goes on.
func TestAcceptAfterWriting(t *testing.T) {
	covers(t, "V22")
	for _, wrap := range []func(w http.ResponseWriter) http.ResponseWriter{
		func(w http.ResponseWriter) http.ResponseWriter { return w },
		func(w http.ResponseWriter) http.ResponseWriter { return wrapper{w} },
	} {
		for name, write := range map[string]func(w http.ResponseWriter){
			"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(202) },
			"Write":       func(w http.ResponseWriter) { io.WriteString(w, "") },
			"Flush":       func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
		} {
			t.Run(name, func(t *testing.T) {
				var logged sink
				h := HandlerFunc(&AcceptOptions{Config: Config{Logger: logged.logger()}}, echo)
				r, _ := rawTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w = wrap(w)
					write(w)
					h.ServeHTTP(w, r)
					io.WriteString(w, "goes on")
				}), &logged, request())
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, "goes on", string(body))
				require.Contains(t, logged.String(), "level=ERROR")
				require.Contains(t, logged.String(), "response was begun before")
				require.NotContains(t, logged.String(), "http: ")
			})
		}
	}
	early, _ := rawTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints) // is no answer yet
		HandlerFunc(nil, echo).ServeHTTP(w, r)
	}), io.Discard, request())
	require.Equal(t, 103, early.StatusCode)
}

// TestMiddlewarePeerNeverReads has a client that does not take the response that
// net/http sends: the time for the handshake bounds it.
func TestMiddlewarePeerNeverReads(t *testing.T) {
	covers(t, "Q.A16", "Q.A17")
	acceptsWhilePeerNeverReads(t, func(w http.ResponseWriter) http.ResponseWriter { return wrapper{w} })
}

// TestMiddlewarePeerIsGone has a client that is gone before net/http sends it the
// response.
func TestMiddlewarePeerIsGone(t *testing.T) {
	covers(t, "Q.A16")
	near, far := net.Pipe()
	result := make(chan error, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		near.Close()
		_, err := Accept(wrapper{w}, r, nil)
		result <- err
	})}
	go s.Serve(&oneListener{nc: far})
	go io.WriteString(near, request())
	err := <-result
	require.ErrorContains(t, err, "response was not sent")
	require.ErrorIs(t, err, errWrite)
	require.Zero(t, statusOf(err))
}

// TestServerDeadlinesBehindMiddleware checks that no deadline of the handshake
// or of the server is left, also if the handshake has no bound.
func TestServerDeadlinesBehindMiddleware(t *testing.T) {
	covers(t, "S26")
	for _, timeout := range []time.Duration{0, -1} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			h := HandlerFunc(&AcceptOptions{Config: Config{HandshakeTimeout: timeout}}, echo)
			s := &http.Server{ReadTimeout: time.Second, WriteTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(wrapper{w}, r)
			})}
			go s.Serve(&oneListener{nc: far})
			go io.WriteString(near, request())
			br := bufio.NewReader(near)
			if r, err := http.ReadResponse(br, nil); err != nil || r.StatusCode != 101 {
				t.Fatal(r, err)
			}
			time.Sleep(20 * time.Second)
			go io.WriteString(near, maskedHello)
			wantHello(t, bufferedConn{near, br})
		})
	}
}

// TestFieldsOfServerResponse looks for the fields of net/http's struct that are
// read by their names. If a release of Go does not have one, this fails, and
// what is assumed instead has to be thought about.
func TestFieldsOfServerResponse(t *testing.T) {
	rawTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := serverResponseIn(wrapper{w})
		if !ok || s.ResponseWriter != w {
			t.Error("net/http's response is not recognized")
			return
		}
		if wrote, known := s.wroteHeader(); wrote || !known {
			t.Error("whether a header was written is not known")
		}
		w.WriteHeader(204)
		if wrote, known := s.wroteHeader(); !wrote || !known {
			t.Error("a header was written, and that is not known")
		}
		for _, name := range []string{"hijackedv", "werr"} {
			if !fieldOf(s.conn, name).IsValid() {
				t.Errorf("the connection has no %s", name)
			}
		}
		if s.isHijacked() || s.writeFailed() {
			t.Error("the connection is hijacked or broken")
		}
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil || !s.isHijacked() {
			t.Error("the connection is hijacked, and that is not known")
			return
		}
		nc.Close()
	}), io.Discard, request())
}

// TestUnknownServerResponse is about a release of Go whose struct has other
// fields: WriteHeader is taken to have written.
func TestUnknownServerResponse(t *testing.T) {
	var statuses []int
	w := statusRecorder{wrapper{httptest.NewRecorder()}, &statuses}
	var s serverResponse
	require.True(t, s.announce(w, http.StatusSwitchingProtocols))
	require.Equal(t, []int{101}, statuses)
	require.False(t, s.isBegun())
	require.False(t, s.isHijacked())
	require.False(t, s.writeFailed())
}

// TestWrappedBy looks below ResponseWriters of many kinds.
func TestWrappedBy(t *testing.T) {
	below := httptest.NewRecorder()
	type private struct{ hidden }
	type inPointer struct{ *oldRecorder }
	type other struct {
		hidden
		ResponseWriter int
	}
	for _, c := range []struct {
		w     http.ResponseWriter
		found bool
	}{
		{wrapper{below}, true},
		{&wrapper{below}, true},
		{hider{below}, true},
		{&hider{below}, true},
		{&oldRecorder{ResponseWriter: below}, true},
		{inPointer{&oldRecorder{ResponseWriter: below}}, true},
		{inPointer{}, false},
		{(*hider)(nil), false},
		{hider{}, false},
		{private{below}, false},
		{other{hidden: below}, false},
		{below, false},
		{new(countingWriter), false},
	} {
		got := wrappedBy(c.w)
		if c.found != (got == http.ResponseWriter(below)) || !c.found && got != nil {
			t.Errorf("below %T is %T", c.w, got)
		}
	}
}

// TestHeadersAgree compares the two forms of a 101 response: as lines, and as an
// http.Header.
func TestHeadersAgree(t *testing.T) {
	covers(t, "S20")
	for _, c := range []struct {
		agreed agreement
		answer []extension
	}{
		{agreement{}, nil},
		{agreement{subprotocol: "chat"}, []extension{{name: "a", params: []param{{"x", "10", true}}}, {name: "b"}}},
	} {
		h := http.Header{}
		setSwitchingProtocols(h, sampleKey, c.agreed, c.answer)
		var b strings.Builder
		h.Write(&b)
		want := strings.Split(string(appendSwitchingProtocols(nil, sampleKey, c.agreed, c.answer)), "\r\n")[1:]
		got := strings.Split(b.String(), "\r\n")
		slices.Sort(want)
		slices.Sort(got)
		require.Equal(t, want, got)
	}
}
