// Package peer is what the peers in Go share: their arguments, the messages, and
// what the path of a URL asks for. README.md of the directory above describes it.
package peer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Limit is the length in bytes of the longest message that is accepted.
const Limit = 64 << 20

// Payload is that of a Ping, where it can be chosen.
const Payload = "are you there?"

// Deflate reports whether compression is offered or accepted.
var Deflate = slices.Contains(os.Args[3:], "deflate")

// A Message is a message.
type Message struct {
	Text    bool
	Content []byte
}

// Thirds returns the fragments of a message.
func (m Message) Thirds() [3][]byte {
	n := len(m.Content) / 3
	return [3][]byte{m.Content[:n], m.Content[n : 2*n], m.Content[2*n:]}
}

// Closed is how a connection ends with a Close frame.
type Closed struct {
	Code   int
	Reason string
}

// Error returns the code and the reason.
func (c Closed) Error() string { return fmt.Sprintf("closed with %d %q", c.Code, c.Reason) }

// A Conn is a connection of a library. Read returns Closed at its end.
type Conn interface {
	Read() (Message, error)
	Write(m Message, fragments bool) error
	Ping() error
	Pong() string // payload of the last Pong
	Close(code int, reason string) error
}

// report is the line that is printed for a connection.
type report struct {
	Messages int    `json:"messages"`
	Pong     string `json:"pong"`
	Code     int    `json:"code"`
	Reason   string `json:"reason"`
	Error    string `json:"error,omitempty"`
}

var output sync.Mutex

func tell(line any) {
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(1)
	}
}

// corpus returns the messages.
func corpus() ([]Message, error) {
	data, err := os.ReadFile(filepath.Join(os.Args[2], "data"))
	if err != nil {
		return nil, err
	}
	lines, err := os.ReadFile(filepath.Join(os.Args[2], "messages"))
	if err != nil {
		return nil, err
	}
	var all []Message
	for line := range strings.Lines(string(lines)) {
		var kind string
		var offset, length int
		if _, err := fmt.Sscan(line, &kind, &offset, &length); err != nil {
			return nil, err
		}
		all = append(all, Message{kind == "text", data[offset : offset+length]})
	}
	return all, nil
}

// Use does what path asks for, and tells what came of it.
func Use(c Conn, path string) {
	var r report
	err := use(c, path, &r.Messages)
	r.Pong = c.Pong()
	var closed Closed
	if errors.As(err, &closed) {
		r.Code, r.Reason = closed.Code, closed.Reason
	} else if !strings.HasPrefix(path, "/close/") {
		r.Error = fmt.Sprint(err)
	}
	tell(r)
}

func use(c Conn, path string, count *int) error {
	act, code, _ := strings.Cut(strings.Trim(path, "/"), "/")
	switch act {
	case "close":
		n, err := strconv.Atoi(code)
		if err != nil {
			return err
		}
		if err := c.Close(n, "Grüße, "+code); err != nil {
			return err
		}
	case "ping":
		if err := c.Ping(); err != nil {
			return err
		}
	case "send", "fragments":
		if err := send(c, act == "fragments", count); err != nil {
			return err
		}
		if err := c.Close(1000, "done"); err != nil {
			return err
		}
	}
	for ; ; *count++ {
		m, err := c.Read()
		if err != nil {
			return err
		}
		if act != "echo" {
			continue
		}
		if err := c.Write(m, false); err != nil {
			return err
		}
	}
}

// send sends the messages, and compares what comes back.
func send(c Conn, fragments bool, count *int) error {
	all, err := corpus()
	if err != nil {
		return err
	}
	for i, m := range all {
		if err := c.Write(m, fragments); err != nil {
			return err
		}
		got, err := c.Read()
		if err != nil {
			return err
		}
		if got.Text != m.Text || !bytes.Equal(got.Content, m.Content) {
			return fmt.Errorf("message %d has not come back", i)
		}
		*count++
	}
	return nil
}

// Main serves with h, or calls connect for the URL on each line of input.
func Main(h http.Handler, connect func(url string) (Conn, error)) {
	if os.Args[1] == "server" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tell(report{Error: err.Error()})
			return
		}
		tell(map[string]int{"port": l.Addr().(*net.TCPAddr).Port})
		go http.Serve(l, h)
		io.Copy(io.Discard, os.Stdin)
		return
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		target := lines.Text()
		c, err := connect(target)
		if err != nil {
			tell(report{Error: err.Error()})
			continue
		}
		u, err := url.Parse(target)
		if err != nil {
			tell(report{Error: err.Error()})
			continue
		}
		Use(c, u.Path)
	}
}
