package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

// runMain is an environment variable that makes the test binary run main.
const runMain = "WSCAT_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// deadline returns a context that ends a hanging test.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// serve returns the URL of a server that calls talk with each connection.
func serve(t *testing.T, opts *websocket.AcceptOptions, talk func(c *websocket.Conn) error) string {
	t.Helper()
	s := httptest.NewServer(websocket.HandlerFunc(opts, talk))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// echo sends every message back.
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

// A buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A result is what a run of the program has left.
type result struct {
	code     int
	out, err string
}

// wscat runs the program with stdin as its input.
func wscat(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, stderr buffer
	code := run(deadline(t), args, strings.NewReader(stdin), &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

// want checks the exit code and standard output, and that standard error contains
// said, or is empty if said is.
func (r result) want(t *testing.T, code int, out, said string) {
	t.Helper()
	if r.code != code || r.out != out {
		t.Errorf("exit code %d and %.200q, want %d and %.200q; standard error is %q", r.code, r.out, code, out, r.err)
	}
	if !strings.Contains(r.err, said) || said == "" && r.err != "" {
		t.Errorf("standard error is %q, want %q in it", r.err, said)
	}
}

// orderly returns the URL of a server that sends every message back and does
// nothing else meanwhile: it sees a Close frame behind what it has answered.
func orderly(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		peer := wstest.RawServer(t, nc)
		peer.Accept(nil)
		for {
			f, err := peer.NextFrame()
			if err != nil {
				return
			}
			f.Mask = wstest.MaskByRole
			peer.SendFrame(f)
			if f.Opcode == wstest.OpClose {
				return
			}
		}
	}()
	return "ws://" + l.Addr().String()
}

// TestPipe sends lines and prints what an echo server sends back.
func TestPipe(t *testing.T) {
	t.Parallel()
	url := serve(t, &websocket.AcceptOptions{Config: websocket.Config{
		MaxMessageSize: 4 << 20,
		Compression:    new(websocket.Compression),
	}}, echo)
	long := strings.Repeat("long ", 300_000)
	for name, c := range map[string]struct {
		stdin, args, out string
	}{
		"lines":              {"one\ntwo\n", "-n=2", "one\ntwo\n"},
		"last line unended":  {"one\ntwo", "-n=2", "one\ntwo\n"},
		"lines of Windows":   {"one\r\ntwo\r\n", "-n=2", "one\ntwo\n"},
		"empty line":         {"\n", "-n=1", "\n"},
		"nothing":            {"", "-wait=0", ""},
		"slashes are text":   {"/quit\n//\n", "-n=2", "/quit\n//\n"},
		"very long line":     {long, "-n=1", long + "\n"},
		"compressed":         {long, "-n=1 -compress", long + "\n"},
		"as long as allowed": {"12345\n", "-n=1 -max-size=5", "12345\n"},
		"binary":             {"\xff/\n", "-n=1 -binary", "ff2f\n"},
		"binary, raw":        {"\xff\n\xfe\n", "-n=2 -binary -raw", "\xff\xfe"},
		"hex":                {"CA fe\n\n", "-n=2 -hex", "cafe\n\n"},
		"messages":           {"unread\n", "-n=2 -x a -x b", "a\nb\n"},
		"hex messages":       {"", "-n=1 -x cafe -hex", "cafe\n"},
		"count":              {"a\nb\nc\n", "-n=2", "a\nb\n"},
		"control characters": {"\x1b[31m\n", "-n=1", "\x1b[31m\n"},
		"JSON":               {`{"a":[1]}` + "\n{\n", "-n=2 -json", "{\n  \"a\": [\n    1\n  ]\n}\n{\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wscat(t, c.stdin, append(strings.Fields(c.args), url)...).want(t, exitOK, c.out, "")
		})
	}
}

// TestBadLines checks what becomes of a line that cannot be sent, and of those
// before it.
func TestBadLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stdin, flag, out, said string
	}{
		"too long":      {"1\n123456\n", "-max-size=5", "1\n", "wscat: line 2 is longer than 5 bytes"},
		"much too long": {strings.Repeat("long ", 300_000), "-max-size=5", "", "wscat: line 1 is longer than 5 bytes"},
		"not UTF-8":     {"1\n\xff\n", "-wait=0", "1\n", "wscat: line 2 is not UTF-8, which text must be: send it with -binary"},
		"bad hex":       {"ca\nfefe1\n", "-hex", "ca\n", "wscat: line 2 is not pairs of hexadecimal digits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wscat(t, c.stdin, c.flag, orderly(t)).want(t, exitUsage, c.out, c.said)
		})
	}
}

// TestSlowAnswer sends to a server that answers only once the client has said that
// it will say no more.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	url := serve(t, &websocket.AcceptOptions{Config: websocket.Config{
		OnClose: func(c *websocket.Conn, end *websocket.CloseError) (websocket.CloseCode, string) {
			if err := c.Send(websocket.Text, []byte("at last")); err != nil {
				t.Errorf("Send: %v", err)
			}
			return 0, ""
		},
	}}, func(c *websocket.Conn) error {
		for _, err := range c.Messages(c.Context()) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	wscat(t, "hi\n", "-wait=0", url).want(t, exitOK, "at last\n", "")
}

// TestStay checks that the server closes first where the user says so.
func TestStay(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-wait=-1s", "-wait=1h", "-n=5"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			ends := make(chan error, 1)
			url := serve(t, nil, func(c *websocket.Conn) error {
				c.Read(c.Context()) // the last line
				_, err := c.Ping(c.Context())
				c.WriteString(c.Context(), "news")
				c.Close(websocket.CloseGoingAway, "the server stops")
				ends <- errors.Join(err, context.Cause(c.Context()))
				return nil
			})
			wscat(t, "last\n", flag, url).want(t, exitOK, "news\n", "")
			if err := <-ends; !errors.Is(err, websocket.CloseGoingAway) {
				t.Errorf("the connection ended with %v, want the server's 1001", err)
			}
		})
	}
}

// TestWaitEnds checks that wscat closes at the end of -wait, also if fewer
// messages have come than -n says.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	wscat(t, "a\n", "-wait=1ms", "-n=2", orderly(t)).want(t, exitOK, "a\n", "")
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[websocket.CloseCode]struct {
		exit int
		said string
	}{
		websocket.CloseNormal:          {exitOK, ""},
		websocket.CloseGoingAway:       {exitOK, ""},
		websocket.CloseNoStatus:        {exitOK, ""},
		websocket.CloseInternalError:   {exitBadClose, "closed: 1011 (internal error): because\n"},
		websocket.ClosePolicyViolation: {exitBadClose, "closed: 1008 (policy violation): because\n"},
		4000:                           {exitBadClose, "closed: 4000: because\n"},
		websocket.CloseAbnormal:        {exitLost, "connection lost: 1006 (abnormal closure)"},
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			url := serve(t, nil, func(c *websocket.Conn) error {
				c.WriteString(c.Context(), "before")
				c.Close(code, "because") // CloseAbnormal is no code to send: it closes at once
				return nil
			})
			wscat(t, "", "-wait=-1s", url).want(t, want.exit, "before\n", want.said)
		})
	}
}

// TestTooBig checks that -max-size bounds what comes.
func TestTooBig(t *testing.T) {
	t.Parallel()
	url := serve(t, nil, func(c *websocket.Conn) error {
		c.WriteString(c.Context(), "123456")
		_, _, err := c.Read(c.Context())
		return err
	})
	wscat(t, "", "-max-size=5", "-wait=-1s", url).want(t, exitBadClose, "", "closed: 1009 (message too big): a message from the server is longer than -max-size\n")
}

// TestUnanswered checks that wscat does not wait for ever for a server that does
// not answer its Close frame.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	results := make(chan result, 1)
	go func() { results <- wscat(t, "", "-wait=0", l.Addr().String()) }()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer := wstest.RawServer(t, nc)
	peer.Accept(nil)
	peer.ExpectClose(websocket.CloseNormal)
	r := <-results
	r.want(t, exitLost, "", "connection lost: 1006 (abnormal closure): the server did not close too\n")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "who\x1b[31m are you?\n"+strings.Repeat("line\n", 20))
	}))
	t.Cleanup(s.Close)
	got := wscat(t, "", s.URL)
	got.want(t, exitNoConn, "", "wscat: the server refused: 401 Unauthorized\nWWW-Authenticate: Basic realm=\"tests\"\nwho\\x1b[31m are you?\nline\n")
	if lines := strings.Count(got.err, "\n"); lines != 2+maxBodyLines {
		t.Errorf("%d lines, want %d:\n%s", lines, 2+maxBodyLines, got.err)
	}
	wscat(t, "", "-v", s.URL).want(t, exitNoConn, "", "HTTP/1.1 401 Unauthorized\n")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	wscat(t, "", l.Addr().String()).want(t, exitNoConn, "", "wscat: opening handshake: connection failed: dial tcp")
}

// TestTLS checks what users do about certificates.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(websocket.HandlerFunc(nil, echo))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of certificates that are not trusted
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	wscat(t, "a", s.URL).want(t, exitNoConn, "", "Trust its issuer with -ca FILE")
	wscat(t, "a", "-n=1", s.URL, "-ca", ca).want(t, exitOK, "a\n", "")
	wscat(t, "a", "-n=1", s.URL, "-insecure").want(t, exitOK, "a\n", "")
	plain := serve(t, nil, echo)
	wscat(t, "a", "wss"+strings.TrimPrefix(plain, "ws")).want(t, exitNoConn, "", "is it ws:// and not wss://?")
}

// TestRequest checks that what flags say arrives.
func TestRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	opts := &websocket.AcceptOptions{
		Config: websocket.Config{Subprotocols: []string{"b"}},
		Origin: websocket.AllowOrigins("https://pages.example"),
	}
	s := httptest.NewServer(websocket.Handler(opts, func(r *http.Request) (func(*websocket.Conn) error, error) {
		requests <- r.Clone(context.Background())
		return echo, nil
	}))
	t.Cleanup(s.Close)
	wscat(t, "", "-H", "X-One: 1", "-H", "x-two:2", "-H", "host: virtual.example", "-origin", "https://pages.example",
		"-user", "me:secret:", "-subprotocol", "a, b", "-subprotocol=c", "-v", "-wait=0", s.URL+"/path?q=1",
	).want(t, exitOK, "", ", subprotocol b\n")
	r := <-requests
	user, password, _ := r.BasicAuth()
	got := strings.Join([]string{r.Header.Get("X-One"), r.Header.Get("X-Two"), r.Host, r.RequestURI, user, password,
		strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ", ")}, " | ")
	if want := "1 | 2 | virtual.example | /path?q=1 | me | secret: | a, b, c"; got != want {
		t.Errorf("the server got %s, want %s", got, want)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	target := serve(t, nil, echo)
	s := httptest.NewServer(http.RedirectHandler("http"+strings.TrimPrefix(target, "ws"), http.StatusFound))
	t.Cleanup(s.Close)
	wscat(t, "a", s.URL).want(t, exitNoConn, "", "the server refused: 302 Found\nLocation: http://")
	wscat(t, "a", "-n=1", "-redirects=1", s.URL).want(t, exitOK, "a\n", "")
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "wscat") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Skip("no Unix sockets:", err)
	}
	s := httptest.NewUnstartedServer(websocket.HandlerFunc(nil, echo))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	wscat(t, "a", "-n=1", "ws+unix://"+filepath.ToSlash(filepath.Join(dir, "s"))+":/ws").want(t, exitOK, "a\n", "")
}

// TestVerbose checks what -v adds to a conversation.
func TestVerbose(t *testing.T) {
	t.Parallel()
	url := serve(t, nil, func(c *websocket.Conn) error {
		c.SendPing([]byte("are you there?"))
		_, err := c.Ping(c.Context())
		return err
	})
	wscat(t, "", "-v", "-wait=-1s", url).want(t, exitOK, "", `ping "are you there?"`)
	wscat(t, "", "-wait=-1s", url).want(t, exitOK, "", "")
	verbose := wscat(t, "", "-v", "-compress", "-wait=0", serve(t, &websocket.AcceptOptions{
		Config: websocket.Config{Compression: new(websocket.Compression)},
	}, echo))
	verbose.want(t, exitOK, "", "HTTP/1.1 101 Switching Protocols\n")
	verbose.want(t, exitOK, "", ", compressed\nclosed: 1000 (normal closure)\n")
}

// TestUnwritable checks that wscat leaves when its output is full.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	url := serve(t, nil, func(c *websocket.Conn) error {
		err := c.WriteString(c.Context(), "a")
		_, _, end := c.Read(c.Context())
		ends <- errors.Join(err, end)
		return nil
	})
	var stderr buffer
	stdin, hold := io.Pipe()
	defer hold.Close()
	code := run(deadline(t), []string{url}, stdin, full{}, &stderr)
	result{code, "", stderr.String()}.want(t, exitUsage, "", "wscat: no space")
	if err := <-ends; !errors.Is(err, websocket.CloseNormal) {
		t.Errorf("the connection ended with %v, want 1000", err)
	}
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

// TestInterrupt stops the program as Ctrl-C does.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent Ctrl-C on Windows")
	}
	t.Parallel()
	heard, ends := make(chan struct{}), make(chan error, 1)
	url := serve(t, nil, func(c *websocket.Conn) error {
		if _, _, err := c.Read(c.Context()); err == nil {
			close(heard)
		}
		_, _, err := c.Read(c.Context())
		ends <- err
		return nil
	})
	cmd := exec.CommandContext(deadline(t), os.Args[0], "-v", url)
	cmd.Env = append(os.Environ(), runMain+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var out, stderr buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stdin, "I am here\n")
	<-heard
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ends; !errors.Is(err, websocket.CloseNormal) {
		t.Errorf("the connection ended with %v, want 1000", err)
	}
	cmd.Wait()
	result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}.want(t, exitOK, "", "closed: 1000 (normal closure)\n")
}

// TestEscape checks what a terminal is shown of characters that it would act on.
func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\nof two lines": "plain\ttext\nof two lines",
		"\x1b]0;title\x07":          `\x1b]0;title\a`,
		"over\rwritten":             `over\rwritten`,
		"\u009b31m":                 `\u009b31m`,
		"\x00\x7f":                  `\x00\x7f`,
		"right \u202e to left":      `right \u202e to left`,
		"a\xff\x9bb":                `a\xff\x9bb`,
		"\uFFFD is a character":     "\uFFFD is a character",
		"日本 👩‍👩‍👧":                  "日本 👩‍👩‍👧",
	} {
		if got := escape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestShown checks messages as a terminal shows them.
func TestShown(t *testing.T) {
	s := &screen{o: &options{json: true}, terminal: true}
	for _, c := range []struct {
		m    websocket.Message
		want string
	}{
		{websocket.Message{Type: websocket.Text, Data: []byte("a\nb\x1b")}, "< a\n  b\\x1b\n"},
		{websocket.Message{Type: websocket.Text, Data: []byte("[1]")}, "< [\n    1\n  ]\n"},
		{websocket.Message{Type: websocket.Binary}, "< 0 bytes\n"},
		{websocket.Message{Type: websocket.Binary, Data: []byte("\xca\xfe.")},
			"< 3 bytes\n00000000  ca fe 2e                                          |...|\n"},
	} {
		if got := s.shown(c.m); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.m.Type, c.m.Data, got, c.want)
		}
	}
	s.colors = true
	if got := s.shown(websocket.Message{Type: websocket.Text, Data: []byte("a")}); got != green+"< "+plain+"a\n" {
		t.Errorf("in color: %q", got)
	}
}

// TestHistory checks which lines are kept, and for how long.
func TestHistory(t *testing.T) {
	var notes buffer
	s := newScreen(new(options), io.Discard, &notes)
	name := filepath.Join(t.TempDir(), "new", "history")
	h := openHistory(name, s)
	for _, line := range []string{"one", "two", "two", " secret", "", "three"} {
		h.Add(line)
	}
	for i := range 2*maxHistory - 3 {
		h.Add(strconv.Itoa(i))
	}
	h.file.Close()
	again := openHistory(name, s) // which shortens the file
	defer again.file.Close()
	if again.Len() != maxHistory || again.At(0) != strconv.Itoa(2*maxHistory-4) {
		t.Errorf("%d lines, the last of them %q", again.Len(), again.At(0))
	}
	third := openHistory(name, s)
	defer third.file.Close()
	if third.Len() != maxHistory || third.At(0) != again.At(0) {
		t.Errorf("%d lines, the last of them %q", third.Len(), third.At(0))
	}
	data, err := os.ReadFile(name)
	if err != nil || bytes.Contains(data, []byte("secret")) {
		t.Errorf("the file has %q, %v", data, err)
	}
	if h := openHistory("", s); h.file != nil {
		t.Error("a file without a name")
	}
	if notes.String() != "" {
		t.Errorf("the user was told %q", notes.String())
	}
	openHistory(filepath.Join(name, "below a file"), s).Add("kept in memory")
	if !strings.Contains(notes.String(), "lines are not kept") {
		t.Errorf("the user was told %q", notes.String())
	}
}

func TestHelp(t *testing.T) {
	r := wscat(t, "", "-h")
	for _, want := range []string{"wscat [flags] URL", "Exit codes:", "-subprotocol name"} {
		if r.code != exitOK || !strings.Contains(r.out, want) || r.err != "" {
			t.Errorf("exit code %d without %q in:\n%s%s", r.code, want, r.out, r.err)
		}
	}
}
