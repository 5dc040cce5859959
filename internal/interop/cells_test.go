package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// An end is a library in one role, run as programs: one that offers or accepts
// compression, and one that does not.
type end struct {
	t        *testing.T // lives as long as the programs
	library  *library
	role     string // "client" or "server"
	built    string // the directory of compiled programs
	corpora  *corpora
	tally    *tally
	programs map[string]*program // by what follows their names
}

// A link is a connection between a program and us.
type link struct {
	*websocket.Conn
	program *program
	agreed  string // the header field Sec-WebSocket-Extensions of the response
	pings   chan string
}

// open returns a connection on which the program does what act names. It restarts a
// program whose last connection has gone wrong.
func (e *end) open(t *testing.T, act string, all corpus, ours *websocket.Compression) *link {
	t.Helper()
	options := []string{e.role, all.directory}
	if ours != nil {
		options = append(options, "deflate")
	}
	key := strings.Join(options, " ")
	p := e.programs[key]
	if p == nil {
		p = startProgram(e.t, e.role, append(e.library.command(e.t, e.built), options...))
		e.programs[key] = p
	}
	t.Cleanup(func() {
		if t.Failed() {
			delete(e.programs, key)
		}
	})
	l := &link{program: p, pings: make(chan string, 1)}
	if e.role == "server" {
		l.dial(t, act, l.config(ours))
	} else {
		l.accept(t, act, l.config(ours))
	}
	t.Cleanup(func() { l.CloseNow() })
	return l
}

// config is that of our side. It sees the Pings of the other.
func (l *link) config(ours *websocket.Compression) websocket.Config {
	c := config(ours)
	c.PingInterval = -1
	c.OnPing = func(_ *websocket.Conn, payload []byte) bool {
		l.pings <- string(payload)
		return true
	}
	return c
}

// dial connects to the program.
func (l *link) dial(t *testing.T, act string, c websocket.Config) {
	t.Helper()
	target := fmt.Sprintf("ws://127.0.0.1:%d/%s", l.program.port, act)
	conn, r, err := websocket.Dial(t.Context(), target, &websocket.DialOptions{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	l.Conn, l.agreed = conn, r.Header.Get("Sec-WebSocket-Extensions")
}

// accept asks the program to connect. It sees the response only where there is
// compression, so that other connections are on sockets.
func (l *link) accept(t *testing.T, act string, c websocket.Config) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	fmt.Fprintf(l.program.stdin, "ws://%s/%s\n", listener.Addr(), act)
	nc, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	seen := &firstWrite{Conn: nc}
	if c.Compression != nil {
		nc = seen
	}
	conn, _, err := websocket.AcceptConn(t.Context(), nc, &websocket.AcceptOptions{Config: c, Origin: websocket.InsecureAnyOrigin()})
	if err != nil {
		t.Fatal(err)
	}
	l.Conn, l.agreed = conn, seen.field("Sec-WebSocket-Extensions")
}

// A firstWrite remembers what is first written to a connection.
type firstWrite struct {
	net.Conn
	first []byte
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.first == nil {
		w.first = bytes.Clone(p)
	}
	return w.Conn.Write(p)
}

// field returns the value of a header field.
func (w *firstWrite) field(name string) string {
	for line := range strings.SplitSeq(string(w.first), "\r\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	return ""
}

// echoed sends all messages to a program that echoes them, compares what comes back
// and closes.
func (e *end) echoed(t *testing.T, all corpus, ours *websocket.Compression, write writeFunc) {
	l := e.open(t, "echo", all, ours)
	agreed(t, l.agreed, ours)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- l.writeAll(ctx, all, write) }()
	for i, m := range all.messages {
		kind, content, err := l.Read(ctx)
		if err != nil {
			t.Fatalf("message %d of %d: %v", i, len(all.messages), err)
		}
		if kind != m.kind || !bytes.Equal(content, m.content) {
			t.Fatalf("message %d of %d: %v of %d bytes has come back from %v of %d", i, len(all.messages), kind, len(content), m.kind, len(m.content))
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	l.ends(t, websocket.CloseNormal, "done")
	if got := l.program.next(t); got.Messages != len(all.messages) {
		t.Errorf("the program has seen %d of %d messages", got.Messages, len(all.messages))
	}
	s := l.Stats()
	if ours != nil && (s.CompressedOut == 0 || s.CompressedOut >= s.DeflatedOut) {
		t.Errorf("%d bytes were compressed to %d", s.DeflatedOut, s.CompressedOut)
	}
	e.tally.exchanged(s)
}

// A writeFunc sends one message.
type writeFunc func(ctx context.Context, c *websocket.Conn, m message) error

// whole sends a message in one frame.
func whole(ctx context.Context, c *websocket.Conn, m message) error {
	return c.Write(ctx, m.kind, m.content)
}

// inFragments sends a message in three or four.
func inFragments(ctx context.Context, c *websocket.Conn, m message) error {
	return send(ctx, c, []message{m})
}

func (l *link) writeAll(ctx context.Context, all corpus, write writeFunc) error {
	for _, m := range all.messages {
		if err := write(ctx, l.Conn, m); err != nil {
			return err
		}
	}
	return nil
}

// ends closes the connection.
func (l *link) ends(t *testing.T, code websocket.CloseCode, reason string) {
	t.Helper()
	if err := l.Close(code, reason); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// echoes sends back what a program sends, which compares it and closes.
func (e *end) echoes(t *testing.T, act string, all corpus, ours *websocket.Compression) {
	l := e.open(t, act, all, ours)
	agreed(t, l.agreed, ours)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	i := 0
	for ; ; i++ {
		kind, content, err := l.Read(ctx)
		if err != nil {
			expectEnd(t, err, websocket.CloseNormal, "done")
			break
		}
		if i >= len(all.messages) || kind != all.messages[i].kind || !bytes.Equal(content, all.messages[i].content) {
			t.Fatalf("message %d of %d is %v of %d bytes", i, len(all.messages), kind, len(content))
		}
		if err := l.Write(ctx, kind, content); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.program.next(t).Messages; i != len(all.messages) || got != i {
		t.Errorf("%d of %d messages have come, and %d back", i, len(all.messages), got)
	}
	if s := l.Stats(); act == "fragments" && s.FramesIn < s.MessagesIn+10 {
		t.Errorf("%d frames for %d messages", s.FramesIn, s.MessagesIn)
	}
	e.tally.exchanged(l.Stats())
}

// expectEnd checks how a connection has ended.
func expectEnd(t *testing.T, err error, code websocket.CloseCode, reason string) {
	t.Helper()
	var end *websocket.CloseError
	if !errors.As(err, &end) || end.Code != code || end.Reason != reason {
		t.Errorf("%v instead of code %d and reason %q", err, code, reason)
	}
}

// pings has both sides ping.
func (e *end) pings(t *testing.T) {
	l := e.open(t, "ping", e.corpora.short, nil)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	l.CloseRead(ctx)
	var seen string
	select {
	case seen = <-l.pings:
	case <-ctx.Done():
		t.Fatal("no Ping has come")
	}
	if _, err := l.Ping(ctx); err != nil {
		t.Error(err)
	}
	l.ends(t, websocket.CloseNormal, "done")
	if got := l.program.next(t).Pong; got != seen || got == "" {
		t.Errorf("Pong %q for Ping %q", got, seen)
	}
}

// answers has only us ping.
func (e *end) answers(t *testing.T) {
	l := e.open(t, "echo", e.corpora.short, nil)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	l.CloseRead(ctx)
	if _, err := l.Ping(ctx); err != nil {
		t.Error(err)
	}
	l.ends(t, websocket.CloseNormal, "done")
	l.program.next(t)
}

// closed has us close with a code, and checks what the other side has seen.
func (e *end) closed(t *testing.T, code websocket.CloseCode) {
	l := e.open(t, "echo", e.corpora.short, nil)
	reason := fmt.Sprint("Grüße, ", int(code))
	l.ends(t, code, reason)
	if got := l.program.next(t); got.Code != int(code) || got.Reason != reason {
		t.Errorf("the program has seen %d %q instead of %d %q", got.Code, got.Reason, code, reason)
	}
}

// closes has the other side close with a code.
func (e *end) closes(t *testing.T, code websocket.CloseCode) {
	l := e.open(t, fmt.Sprint("close/", int(code)), e.corpora.short, nil)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	_, _, err := l.Read(ctx)
	expectEnd(t, err, code, fmt.Sprint("Grüße, ", int(code)))
	l.program.next(t)
}
