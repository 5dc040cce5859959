// Command wscat talks to a WebSocket server from a terminal or a script.
//
// Lines that are typed or piped in are sent as messages, and messages that come
// are printed. Run it with -h for its flags, and see README.md.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/fullduplex-go/websocket"
)

// Exit codes. The help text explains them.
const (
	exitOK       = 0 // closed normally
	exitUsage    = 1 // wrong flags or input
	exitNoConn   = 2 // no connection was opened
	exitBadClose = 3 // closed with a code that means trouble
	exitLost     = 4 // ended without a closing handshake
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program with its arguments, and returns its exit code. When ctx
// ends, it closes the connection with 1000.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	s := newScreen(o, stdout, stderr)
	if err != nil {
		s.note("wscat: %v\nRun wscat -h for the flags.", err)
		return exitUsage
	}
	typed := o.say == nil && s.terminal && isTerminal(stdin)
	c, err := connect(ctx, o, s, typed)
	if err != nil {
		s.note("wscat: %s", explain(err))
		return exitNoConn
	}
	defer c.CloseNow()
	v := &conversation{c: c, o: o, s: s, typed: typed, bad: make(chan error, 1)}
	if v.lines, err = openInput(o, s, stdin, typed); err != nil {
		s.note("wscat: %v", err)
		return exitUsage
	}
	defer s.close()
	return v.hold(ctx)
}

// connect opens the connection, and shows what was agreed on if a person types or
// wants to know.
func connect(ctx context.Context, o *options, s *screen, typed bool) (*websocket.Conn, error) {
	if o.verbose {
		o.dial.OnPing = func(_ *websocket.Conn, p []byte) bool { s.note("ping %q", p); return true }
		o.dial.OnPong = func(_ *websocket.Conn, p []byte) { s.note("pong %q", p) }
	}
	c, response, err := websocket.Dial(ctx, o.url, &o.dial)
	if response != nil && o.verbose {
		s.note("%s", head(response))
	}
	if err != nil {
		return nil, err
	}
	if typed || o.verbose {
		s.note("connected to %s%s", redacted(o.url), agreed(c))
	}
	if typed {
		s.note("Lines are sent as messages; /help lists commands, Ctrl-C closes.")
	}
	return c, nil
}

// head returns the status line and the header of a response, one field a line
// and sorted.
func head(r *http.Response) string {
	var fields bytes.Buffer
	r.Header.Write(&fields)
	lines := strings.ReplaceAll(fields.String(), "\r\n", "\n")
	return strings.TrimSuffix(r.Proto+" "+r.Status+"\n"+lines, "\n")
}

// agreed returns what c's handshake agreed on, as the end of a sentence.
func agreed(c *websocket.Conn) string {
	s := ""
	if p := c.Subprotocol(); p != "" {
		s += ", subprotocol " + p
	}
	if c.CompressionAgreed() {
		s += ", compressed"
	}
	return s
}

// redacted returns a URL without the password it may have.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.Redacted()
}

// explain returns why no connection was opened and, where that is known, what to
// do.
func explain(err error) string {
	var refused *websocket.HandshakeError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	text := strings.TrimPrefix(err.Error(), "websocket: ")
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Status != http.StatusSwitchingProtocols:
		return explainRefusal(refused.Response)
	case errors.As(err, &certificate):
		return text + "\nTrust its issuer with -ca FILE, or anybody with -insecure."
	case errors.As(err, &record):
		return text + "\nThe server does not speak TLS here: is it ws:// and not wss://?"
	}
	return text
}

// maxBodyLines is how many lines of the body of a refusal are shown.
const maxBodyLines = 10

// explainRefusal returns the status of a response that is not 101, the field
// that says what to do about it, and the first lines of its body.
func explainRefusal(r *http.Response) string {
	lines := []string{"the server refused: " + r.Status}
	for _, name := range []string{"Location", "WWW-Authenticate", "Retry-After"} {
		if value := r.Header.Get(name); value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	body, _ := io.ReadAll(r.Body) // of at most 1024 bytes, or what there is of them
	if text := strings.TrimSpace(string(body)); text != "" {
		said := strings.Split(text, "\n")
		lines = slices.Concat(lines, said[:min(len(said), maxBodyLines)])
	}
	return strings.Join(lines, "\n")
}
