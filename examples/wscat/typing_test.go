//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
	"golang.org/x/term"
)

// A person is a process of the program in a terminal of its own, with somebody
// who types and watches.
type person struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File // what the person types and sees
	tty    *os.File // the program's side
	before *term.State

	mu    sync.Mutex
	more  *sync.Cond
	shown string // what was shown and not looked at
	gone  bool   // nothing more is shown
}

// sit starts the program in a terminal without colors.
func sit(t *testing.T, args ...string) *person {
	t.Helper()
	return sitAt(t, []string{"TERM=xterm", "NO_COLOR=1"}, args...)
}

// sitAt starts the program in a terminal that the environment describes.
func sitAt(t *testing.T, env []string, args ...string) *person {
	t.Helper()
	p := furnish(t, env, args...)
	p.start()
	return p
}

// furnish returns what sitAt does, before the program is started.
func furnish(t *testing.T, env []string, args ...string) *person {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); tty.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	p := &person{t: t, master: master, tty: tty, cmd: exec.CommandContext(ctx, os.Args[0], args...)}
	p.more = sync.NewCond(&p.mu)
	context.AfterFunc(ctx, p.end)
	if p.before, err = term.GetState(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append(append(os.Environ(), runMain+"=1"), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // Ctrl-C there is its signal
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	return p
}

// start starts the program.
func (p *person) start() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go p.watch()
}

// watch collects what is shown.
func (p *person) watch() {
	defer p.end()
	b := make([]byte, 4096)
	for {
		n, err := p.master.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.shown += string(b[:n])
		p.more.Broadcast()
		p.mu.Unlock()
	}
}

// end tells those that wait for something to be shown that nothing more will be.
func (p *person) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.more.Broadcast()
}

// sees waits until text is shown, and forgets what was shown up to its end.
func (p *person) sees(text string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if _, rest, ok := strings.Cut(p.shown, text); ok {
			p.shown = rest
			return
		}
		if p.gone {
			p.t.Fatalf("%q is not shown, but %q", text, p.shown)
		}
		p.more.Wait()
	}
}

// types presses keys.
func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.master, keys); err != nil {
		p.t.Fatal(err)
	}
}

// leaves waits until the program has ended, with an exit code and the terminal as
// it was.
func (p *person) leaves(code int) {
	p.t.Helper()
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d", got, code)
	}
	after, err := term.GetState(int(p.tty.Fd()))
	if err != nil {
		p.t.Fatal(err)
	}
	if !reflect.DeepEqual(after, p.before) {
		p.t.Error("the terminal is not as it was")
	}
}

// A desk is a server that tells what it hears, and says what it is told.
type desk struct {
	t      *testing.T
	url    string
	hears  chan string
	says   chan string
	closed chan error
}

// openDesk starts a desk for one connection.
func openDesk(t *testing.T) *desk {
	d := &desk{t: t, hears: make(chan string), says: make(chan string), closed: make(chan error, 1)}
	d.url = serve(t, nil, func(c *websocket.Conn) error {
		go func() {
			for text := range d.says {
				c.WriteString(c.Context(), text)
			}
		}()
		for m, err := range c.Messages(c.Context()) {
			if err != nil {
				break
			}
			d.hears <- string(m.Data)
		}
		d.closed <- context.Cause(c.Context())
		return nil
	})
	t.Cleanup(func() { close(d.says) })
	return d
}

// heard waits for a message, which must be want.
func (d *desk) heard(want string) {
	d.t.Helper()
	select {
	case got := <-d.hears:
		if got != want {
			d.t.Errorf("the server got %q, want %q", got, want)
		}
	case <-deadline(d.t).Done():
		d.t.Fatalf("the server never got %q", want)
	}
}

// TestTyping types, edits, recalls, and is interrupted by messages.
func TestTyping(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	kept := filepath.Join(t.TempDir(), "history")
	p := sit(t, "-history", kept, d.url)
	p.sees("connected to ")
	p.sees("> ")

	p.types("helo\x1b[D") // and left
	p.sees("helo")
	p.types("l\r")
	d.heard("hello")

	p.types("wor")
	p.sees("wor")
	d.says <- "news\x1b[31m"
	p.sees(`< news\x1b[31m` + "\r\n> wor")
	p.types("ld\r")
	d.heard("world")

	p.types("\x1b[A\x1b[A\r") // up, up
	d.heard("hello")
	p.types(" secret\r")
	d.heard(" secret")
	p.types("\r//quit\r")
	d.heard("/quit")
	p.types("/binary ca fe\r")
	d.heard("\xca\xfe")
	p.types("/binary c\r")
	p.sees("not sent: not pairs of hexadecimal digits")
	p.types("/nope\r")
	p.sees("there is no command /nope")
	p.types("/close 1005\r")
	p.sees("not sent: a close code is")
	p.types("/help\r")
	p.sees("/quit ")
	p.types("/ping\r")
	p.sees("pong after ")
	p.types("\x1b[200~a\tb\x1b[201~\r") // pasted
	d.heard("a\tb")

	p.types("unsent\x03") // Ctrl-C
	p.sees("closed: 1000 (normal closure)")
	p.leaves(exitOK)
	data, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(data); !strings.HasPrefix(s, "hello\nworld\nhello\n//quit\n") || strings.Contains(s, "secret") {
		t.Errorf("the history is %q", s)
	}
}

// TestColors checks when there are any.
func TestColors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"color":       {[]string{"TERM=xterm", "NO_COLOR="}, green + "< " + plain + "red"},
		"NO_COLOR":    {[]string{"TERM=xterm", "NO_COLOR=1"}, "K< red"},
		"no terminal": {[]string{"TERM=dumb", "NO_COLOR="}, "K< red"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDesk(t)
			p := sitAt(t, c.env, "-history=", d.url)
			p.sees("> ")
			d.says <- "red"
			p.sees(c.want)
			p.types("/quit\r")
			p.leaves(exitOK)
		})
	}
}

// TestSecondInterrupt leaves a server that does not answer.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := sit(t, "-history=", l.Addr().String())
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer := wstest.RawServer(t, nc)
	peer.Accept(nil)
	p.sees("> ")
	p.types("\x03")
	peer.ExpectClose(websocket.CloseNormal)
	p.types("\x03")
	p.sees("left before the server had closed too")
	p.leaves(exitLost)
}

// TestOutputElsewhere checks that a terminal is left alone, and lines are sent as
// they are, if standard output is a file.
func TestOutputElsewhere(t *testing.T) {
	t.Parallel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := furnish(t, []string{"TERM=xterm"}, "-n=1", serve(t, nil, echo))
	p.cmd.Stdout = out
	p.start()
	p.types("/quit\n\x04")
	p.leaves(exitOK)
	got, err := os.ReadFile(out.Name())
	if err != nil || string(got) != "/quit\n" {
		t.Errorf("the file has %q, %v", got, err)
	}
}

// TestRecall recalls a line of an earlier run, and leaves with Ctrl-D.
func TestRecall(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(kept, []byte("from before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openDesk(t)
	p := sit(t, "-history", kept, d.url)
	p.sees("> ")
	p.types("\x1b[A\r")
	d.heard("from before")
	p.types("\x04")
	p.leaves(exitOK)
	if err := <-d.closed; !errors.Is(err, websocket.CloseNormal) {
		t.Errorf("the connection ended with %v, want 1000", err)
	}
}

// TestCloseCommand closes with a code and a reason.
func TestCloseCommand(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	p := sit(t, "-history=", d.url)
	p.sees("> ")
	p.types("/close 4001 had enough\r")
	p.sees("closed: 4001: had enough")
	p.leaves(exitOK)
	if err := <-d.closed; !errors.Is(err, websocket.CloseCode(4001)) || !strings.Contains(err.Error(), "had enough") {
		t.Errorf("the connection ended with %v, want 4001", err)
	}
}

// TestClosedWhileTyping checks that the terminal is given back however the
// connection ends.
func TestClosedWhileTyping(t *testing.T) {
	t.Parallel()
	typed := make(chan struct{})
	p := sit(t, "-history=", serve(t, nil, func(c *websocket.Conn) error {
		<-typed
		return websocket.CloseInternalError
	}))
	p.sees("> ")
	p.types("half a li")
	p.sees("half a li")
	close(typed)
	p.sees("closed: 1011 (internal error)")
	p.leaves(exitBadClose)
	q := sit(t, "-history=", serve(t, nil, func(c *websocket.Conn) error { return websocket.ClosePolicyViolation }))
	q.sees("closed: 1008 (policy violation)")
	q.leaves(exitBadClose)
}

// TestLongTyped checks that a line that may have been cut is not sent.
func TestLongTyped(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	p := sit(t, "-history=", d.url)
	p.sees("> ")
	for range 5000 / 50 {
		p.types(strings.Repeat("long ", 10))
		p.sees("long ")
	}
	p.types("\r")
	p.sees("not sent: a typed line has fewer than 4096 characters")
	p.types("short\r")
	d.heard("short")
	p.types("/quit\r")
	p.leaves(exitOK)
}
