package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
)

// options are what the command line says.
type options struct {
	url      string
	dial     websocket.DialOptions
	say      []string      // the messages of -x, in place of standard input
	form     form          // of lines that are sent
	wait     time.Duration // from the end of the input to the Close; negative: for ever
	count    int           // messages after which to close; 0: any number
	json     bool          // indent JSON that is received
	raw      bool          // print binary messages as they are
	verbose  bool
	history  string // a file; "": none
	maxBytes int    // of a message, in both directions
}

// A form is how a line becomes a message.
type form uint8

// The forms of lines.
const (
	asText   form = iota // a text message
	asBinary             // a binary message with the bytes of the line
	asHex                // a binary message with the bytes that its digits stand for
)

// message returns the message that a line stands for.
func (f form) message(line string) (websocket.Message, error) {
	switch {
	case f == asHex:
		b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			return websocket.Message{}, fmt.Errorf("not pairs of hexadecimal digits: %w", err)
		}
		return websocket.Message{Type: websocket.Binary, Data: b}, nil
	case f == asBinary:
		return websocket.Message{Type: websocket.Binary, Data: []byte(line)}, nil
	case !utf8.ValidString(line):
		return websocket.Message{}, errors.New("not UTF-8, which text must be: send it with -binary")
	}
	return websocket.Message{Type: websocket.Text, Data: []byte(line)}, nil
}

// usage is the help text before the list of flags.
const usage = `wscat talks to a WebSocket server: it sends lines as messages and prints messages.

    wscat [flags] URL

URL begins with ws://, wss://, http://, https://, ws+unix:// or wss+unix://.
Without a scheme it is ws://, and :8080/path is on localhost. A proxy is taken
from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.

    wscat localhost:8080/chat                  # type; /help lists commands
    echo hello | wscat wss://example.com/echo  # one message for each line
    wscat -x '{"op":"list"}' -n 1 -json URL    # ask, print one answer, leave
    wscat -wait -1s URL </dev/null             # print until the server closes
    wscat -hex -x 'ca fe' -raw -n 1 URL >file  # bytes out, bytes in
    wscat ws+unix:///run/app.sock:/ws          # a Unix socket and a path

At the end of the input it waits, because a server may drop its answers once it
is told to close: as long as -wait says, or for as many messages as -n says. Then
it closes with 1000, and prints what comes before the server has closed too.

At a terminal, lines can be edited and recalled, and control characters in
messages are shown escaped. Elsewhere standard output is the messages, each with
a newline, and standard error is all the rest.

Exit codes:

    0  closed with 1000, 1001, without a code, or with the code of /close
    1  wrong flags, or input that cannot be sent
    2  no connection: not reachable, or refused
    3  closed with another code
    4  ended without a closing handshake

Flags:

`

// parseFlags returns the options in args. If they ask for help, it writes that to
// help and returns flag.ErrHelp.
func parseFlags(args []string, help io.Writer) (*options, error) {
	o := &options{history: defaultHistory()}
	o.dial.Header = make(http.Header)
	o.dial.SlowConsumer = websocket.DropNewest // a person who types does not wait for the server
	fs := flag.NewFlagSet("wscat", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints the error
	fs.Usage = func() {}
	o.defineConnection(fs)
	o.defineMessages(fs)
	urls, err := parseAnywhere(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(help, usage)
		fs.SetOutput(help)
		fs.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case len(urls) != 1:
		return o, fmt.Errorf("give one URL, such as localhost:8080/ws, and not %d", len(urls))
	}
	o.url = withScheme(urls[0])
	if o.count > 0 && !isSet(fs, "wait") {
		o.wait = -1
	}
	return o, o.check()
}

// isSet reports whether the command line had a flag.
func isSet(fs *flag.FlagSet, name string) (set bool) {
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// parseAnywhere parses flags before and after other arguments, which it returns.
func parseAnywhere(fs *flag.FlagSet, args []string) (others []string, err error) {
	for {
		if err := fs.Parse(args); err != nil || fs.NArg() == 0 {
			return others, err
		}
		others = append(others, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// hasScheme matches URLs that have one.
var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// withScheme returns url with ws:// and localhost where it has nothing in their
// place.
func withScheme(url string) string {
	switch {
	case hasScheme.MatchString(url):
		return url
	case strings.HasPrefix(url, ":"):
		return "ws://localhost" + url
	}
	return "ws://" + url
}

// defineConnection defines the flags that are about the connection.
func (o *options) defineConnection(fs *flag.FlagSet) {
	d := &o.dial
	fs.Func("H", "add a `'Name: value'` to the request; repeatable", o.addHeader)
	fs.Func("origin", "the `URL` of the Origin header", func(s string) error {
		d.Header.Set("Origin", s)
		return nil
	})
	fs.Func("user", "`name:password` for Basic authentication", o.setUser)
	fs.Func("subprotocol", "offer subprotocols, a `name` or several with commas; repeatable", func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			d.Subprotocols = append(d.Subprotocols, strings.TrimSpace(name))
		}
		return nil
	})
	onSwitch(fs, "insecure", "accept any certificate: for tests only", func() { o.tls().InsecureSkipVerify = true })
	fs.Func("ca", "trust the certificates in a PEM `file` too", o.addCA)
	onSwitch(fs, "compress", "offer compression (permessage-deflate)", func() { d.Compression = new(websocket.Compression) })
	fs.IntVar(&d.Redirects, "redirects", 0, "follow up to `n` redirects")
	fs.DurationVar(&d.HandshakeTimeout, "timeout", 10*time.Second, "give up connecting after this `duration`")
	fs.DurationVar(&d.PingInterval, "ping", 30*time.Second, "send a ping after so long a silence; negative: never")
}

// defineMessages defines the flags that are about messages and the terminal.
func (o *options) defineMessages(fs *flag.FlagSet) {
	fs.Func("x", "send a `message`, and nothing of standard input; repeatable", func(s string) error {
		o.say = append(o.say, s)
		return nil
	})
	onSwitch(fs, "binary", "send lines as binary messages", func() { o.form = max(o.form, asBinary) })
	onSwitch(fs, "hex", "lines are hexadecimal digits: send their bytes as binary messages", func() { o.form = asHex })
	fs.IntVar(&o.count, "n", 0, "close after `count` messages have come, however long it takes unless -wait is given; 0: do not count")
	fs.DurationVar(&o.wait, "wait", time.Second, "after the end of the input, stay for this `duration` before closing; negative: until the server closes")
	fs.BoolVar(&o.json, "json", false, "indent messages that are JSON")
	fs.BoolVar(&o.raw, "raw", false, "print binary messages as they are, with no newline, and not in hexadecimal; not to a terminal")
	fs.IntVar(&o.maxBytes, "max-size", 16<<20, "longest message in `bytes`, in both directions")
	fs.StringVar(&o.history, "history", o.history, "`file` for lines typed at a terminal, except those that begin with a space; empty: keep none")
	fs.BoolVar(&o.verbose, "v", false, "show the response, what was agreed on, pings, pongs and the close code")
}

// onSwitch defines a flag without a value that calls turnOn.
func onSwitch(fs *flag.FlagSet, name, usage string, turnOn func()) {
	fs.BoolFunc(name, usage, func(value string) error {
		on, err := strconv.ParseBool(value)
		if on {
			turnOn()
		}
		return err
	})
}

// defaultHistory returns the file for typed lines, or "" if the system has no
// place for it.
func defaultHistory() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "wscat", "history")
}

// addHeader adds a field such as "Name: value" to the request.
func (o *options) addHeader(field string) error {
	name, value, ok := strings.Cut(field, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case !ok || name == "":
		return errors.New("not of the form 'Name: value'")
	case http.CanonicalHeaderKey(name) == "Host":
		o.dial.Host = value
	default:
		o.dial.Header.Add(name, value)
	}
	return nil
}

// setUser sets the request's Authorization.
func (o *options) setUser(user string) error {
	name, password, ok := strings.Cut(user, ":")
	if !ok {
		return errors.New("not of the form name:password")
	}
	r := http.Request{Header: o.dial.Header}
	r.SetBasicAuth(name, password)
	return nil
}

// tls returns the settings of TLS to change.
func (o *options) tls() *tls.Config {
	if o.dial.TLS == nil {
		o.dial.TLS = new(tls.Config)
	}
	return o.dial.TLS
}

// addCA adds the certificates in a file to those of the system.
func (o *options) addCA(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	roots := o.tls().RootCAs
	if roots == nil {
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
	}
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("the file has no certificate in PEM")
	}
	o.tls().RootCAs = roots
	return nil
}

// check returns an error for the first option that makes no sense, and passes
// the limit on messages on.
func (o *options) check() error {
	switch {
	case o.maxBytes <= 0:
		return errors.New("-max-size is a positive number of bytes")
	case o.count < 0:
		return errors.New("-n is a positive number of messages, or 0")
	case o.dial.HandshakeTimeout <= 0:
		return errors.New("-timeout is a positive duration, such as 5s")
	case o.dial.PingInterval == 0:
		return errors.New("-ping is a positive duration, such as 5s, or negative")
	}
	o.dial.MaxMessageSize = int64(o.maxBytes)
	for _, line := range o.say {
		if _, err := o.form.message(line); err != nil {
			return fmt.Errorf("-x %q is %w", line, err)
		}
	}
	return nil
}
