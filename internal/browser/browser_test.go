package browser

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
)

// checks are the checks that the page testdata/checks.html runs. For each of
// them it posts what is wrong.
var checks = []string{
	"text",
	"binary as ArrayBuffer",
	"0 bytes",
	"lengths around the header's forms",
	"1 MiB",
	"one byte over the limit is 1009",
	"300 kB that the browser fragments",
	"a message in fragments from the server",
	"many messages in order",
	"queued messages arrive before the close",
	"compression is offered and taken",
	"compressed JSON",
	"compressed 1 MiB",
	"compressed 0 bytes",
	"compression without context",
	"subprotocol in the server's order",
	"no common subprotocol",
	"ping with nobody reading",
	"close code and reason from the server",
	"close code and reason from the page",
	"close without a code is 1005",
	"a page that is left closes with 1001",
	"how a handler ends is the close code",
	"refused origin",
	"refusal before the handshake",
	"TLS",
}

// TestBrowser lets a real browser talk to a real server, and has a subtest
// for each check of the page.
func TestBrowser(t *testing.T) {
	s := &pageServer{
		results: make(chan map[string]string, 1),
		refused: make(chan int, 1),
	}
	plain := httptest.NewServer(s.routes())
	t.Cleanup(plain.Close) // after the browser has ended: Close waits for requests
	secure := httptest.NewTLSServer(websocket.HandlerFunc(&websocket.AcceptOptions{
		Origin: websocket.AllowOrigins(plain.URL),
	}, echo))
	t.Cleanup(secure.Close)

	b := Start(t, "--ignore-certificate-errors-spki-list="+keyHash(secure))
	b.Open(plain.URL + "/checks.html?secure=" + url.QueryEscape("wss"+secure.URL[len("https"):]))
	results := s.wait(t)
	for _, name := range checks {
		t.Run(name, func(t *testing.T) {
			wrong, ok := results[name]
			if !ok {
				t.Fatal("the page did not run this check")
			}
			if wrong != "" {
				t.Error(wrong)
			}
		})
	}
	if len(results) != len(checks) {
		t.Errorf("the page ran %d checks, this test knows %d", len(results), len(checks))
	}
}

// keyHash returns the hash by which Chromium identifies the server's key.
func keyHash(s *httptest.Server) string {
	sum := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// A pageServer is the server of the page's checks.
type pageServer struct {
	results chan map[string]string // what the page posts when it is done
	ends    sync.Map               // name of a connection to /report: chan *websocket.CloseError
	refused chan int               // the status of a request to /refused
}

// wait returns what the page posts.
func (s *pageServer) wait(t *testing.T) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	select {
	case results := <-s.results:
		return results
	case <-ctx.Done():
		t.Fatal("the page posted no results in time")
		return nil
	}
}

func (s *pageServer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.Handle("/echo", websocket.HandlerFunc(nil, echo))
	mux.Handle("/frames", framesHandler())
	mux.Handle("/compressed", compressedHandler())
	mux.Handle("/fragments", websocket.HandlerFunc(nil, sendFragments))
	mux.Handle("/count", websocket.HandlerFunc(nil, sendNumbers))
	mux.Handle("/subprotocol", websocket.HandlerFunc(&websocket.AcceptOptions{
		Config: websocket.Config{Subprotocols: []string{"chat.v2", "chat.v1"}},
	}, tellSubprotocol))
	mux.Handle("/ping", websocket.HandlerFunc(nil, pingThenEcho))
	mux.Handle("/close", websocket.Handler(nil, closeAsAsked))
	mux.Handle("/end", websocket.Handler(nil, endAsAsked))
	mux.Handle("/report", websocket.Handler(nil, s.report))
	mux.HandleFunc("/reported", s.reported)
	mux.HandleFunc("/refused", s.refuse)
	mux.HandleFunc("/refusal", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, <-s.refused)
	})
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		var results map[string]string
		json.NewDecoder(r.Body).Decode(&results)
		s.results <- results
	})
	return mux
}

// refuse treats the page's origin as one that is not allowed, and passes on the
// status of the response.
func (s *pageServer) refuse(w http.ResponseWriter, r *http.Request) {
	recorder := &statusRecorder{ResponseWriter: w}
	websocket.HandlerFunc(&websocket.AcceptOptions{
		Origin: websocket.AllowOrigins("https://elsewhere.example"),
	}, echo).ServeHTTP(recorder, r)
	s.refused <- recorder.status
}

// A statusRecorder records the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func echo(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// framesHandler echoes each message, and then sends how many frames it had. It
// serves one connection at a time.
func framesHandler() http.Handler {
	var frames atomic.Int64
	count := func(*websocket.Conn, websocket.FrameTrace) { frames.Add(1) }
	opts := &websocket.AcceptOptions{Config: websocket.Config{Trace: &websocket.Trace{FrameIn: count}}}
	return websocket.HandlerFunc(opts, func(c *websocket.Conn) error {
		for m, err := range c.Messages(c.Context()) {
			if err != nil {
				return err
			}
			if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
				return err
			}
			if err := c.WriteString(c.Context(), strconv.FormatInt(frames.Swap(0), 10)); err != nil {
				return err
			}
		}
		return nil
	})
}

// A deflateReport describes what a connection to /compressed has done.
type deflateReport struct {
	Offer                                                string
	DeflatedOut, CompressedOut, InflatedIn, CompressedIn uint64
}

// compressedHandler echoes with compression, with or without context takeover as
// the query says. A page that sends "report" gets a deflateReport.
func compressedHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deflate := &websocket.Compression{PeerWindowBits: 12, Threshold: -1}
		if r.FormValue("context") == "no" {
			deflate.NoContextTakeover, deflate.PeerNoContextTakeover = true, true
		}
		opts := &websocket.AcceptOptions{Config: websocket.Config{Compression: deflate}}
		offer := r.Header.Get("Sec-WebSocket-Extensions")
		serve := func(c *websocket.Conn) error { return echoAndReport(c, offer) }
		websocket.HandlerFunc(opts, serve).ServeHTTP(w, r)
	})
}

func echoAndReport(c *websocket.Conn, offer string) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		answer := m.Data
		if string(answer) == "report" {
			s := c.Stats()
			answer, err = json.Marshal(deflateReport{offer, s.DeflatedOut, s.CompressedOut, s.InflatedIn, s.CompressedIn})
			if err != nil {
				return err
			}
		}
		if err := c.Write(c.Context(), m.Type, answer); err != nil {
			return err
		}
	}
	return nil
}

// sendFragments sends a text byte by byte, with a Ping in between.
func sendFragments(c *websocket.Conn) error {
	w, err := c.Writer(c.Context(), websocket.Text)
	if err != nil {
		return err
	}
	for i, b := range []byte("Grüße 😀") {
		if _, err := w.Write([]byte{b}); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if i == 3 {
			if _, err := c.Ping(c.Context()); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return echo(c)
}

// sendNumbers queues 1000 messages and returns.
func sendNumbers(c *websocket.Conn) error {
	for i := range 1000 {
		if err := c.Send(websocket.Text, strconv.AppendInt(nil, int64(i), 10)); err != nil {
			return err
		}
	}
	return nil
}

func tellSubprotocol(c *websocket.Conn) error {
	if err := c.WriteString(c.Context(), c.Subprotocol()); err != nil {
		return err
	}
	return echo(c)
}

// pingThenEcho pings before it reads anything.
func pingThenEcho(c *websocket.Conn) error {
	if _, err := c.Ping(c.Context()); err != nil {
		return err
	}
	if err := c.WriteString(c.Context(), "pong"); err != nil {
		return err
	}
	return echo(c)
}

// closeAsAsked closes with the code and the reason in the query.
func closeAsAsked(r *http.Request) (func(c *websocket.Conn) error, error) {
	code, err := strconv.ParseUint(r.FormValue("code"), 10, 16)
	reason := r.FormValue("reason")
	return func(c *websocket.Conn) error { return c.Close(websocket.CloseCode(code), reason) }, err
}

// endAsAsked ends the handler in the way the query says.
func endAsAsked(r *http.Request) (func(c *websocket.Conn) error, error) {
	how := r.FormValue("how")
	return func(*websocket.Conn) error {
		switch how {
		case "code":
			return websocket.CloseCode(4321)
		case "error":
			return errors.New("an error of the handler")
		case "panic":
			panic("a panic of the handler")
		}
		return nil
	}, nil
}

// end returns the channel for the end of the connection that r names.
func (s *pageServer) end(r *http.Request) chan *websocket.CloseError {
	end, _ := s.ends.LoadOrStore(r.FormValue("name"), make(chan *websocket.CloseError, 1))
	return end.(chan *websocket.CloseError)
}

// report passes on how the connection named in the query ends.
func (s *pageServer) report(r *http.Request) (func(c *websocket.Conn) error, error) {
	passOn := s.end(r)
	return func(c *websocket.Conn) error { return readToEnd(c, passOn) }, nil
}

// readToEnd reads until the connection ends, and passes on its CloseError.
func readToEnd(c *websocket.Conn, passOn chan<- *websocket.CloseError) error {
	for {
		_, _, err := c.Read(c.Context())
		if err == nil {
			continue
		}
		var end *websocket.CloseError
		if !errors.As(err, &end) {
			end = &websocket.CloseError{Reason: err.Error()}
		}
		passOn <- end
		return err
	}
}

// reported waits for the end of the named connection to /report, and writes it
// to w.
func (s *pageServer) reported(w http.ResponseWriter, r *http.Request) {
	select {
	case end := <-s.end(r):
		json.NewEncoder(w).Encode(map[string]any{
			"Code": end.Code, "Reason": end.Reason, "Received": end.Received, "Sent": end.Sent,
		})
	case <-r.Context().Done():
	}
}
