package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/fullduplex-go/websocket"
	"golang.org/x/term"
)

// A screen is where messages and notes go. It may be used by several goroutines.
type screen struct {
	o        *options
	mu       sync.Mutex
	out      io.Writer // of messages
	notes    io.Writer // of all else
	terminal bool      // out is one
	colors   bool      // of notes and of what marks a message
	editor   *editor   // nil: there is no line being typed
}

// newScreen returns a screen that writes to stdout and stderr.
func newScreen(o *options, stdout, stderr io.Writer) *screen {
	s := &screen{o: o, out: stdout, notes: stderr, terminal: isTerminal(stdout)}
	s.colors = s.terminal && isTerminal(stderr) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// isTerminal reports whether f is a terminal that can show escape sequences.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && showsEscapes(file)
}

// edit makes all output appear above the line that e edits.
func (s *screen) edit(e *editor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.editor = e
}

// close gives the terminal back, if a line was edited.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.editor != nil {
		s.editor.close()
		s.editor = nil
	}
}

// write writes text above the line that is edited or, if there is none, to w. The
// caller holds mu.
func (s *screen) write(w io.Writer, text []byte) error {
	if s.editor != nil {
		w = s.editor
	}
	_, err := w.Write(text)
	return err
}

// note tells the user something that is not a message.
func (s *screen) note(format string, args ...any) {
	text := escape(fmt.Sprintf(format, args...))
	if s.colors {
		text = dim + text + plain
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(s.notes, []byte(text+"\n"))
}

// message prints a message: on a terminal so that it can do no harm there,
// elsewhere as it is.
func (s *screen) message(m websocket.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		return s.write(s.out, s.bare(m))
	}
	return s.write(s.out, []byte(s.shown(m)))
}

// bare returns a message as programs want it.
func (s *screen) bare(m websocket.Message) []byte {
	switch {
	case m.Type == websocket.Text:
		return append(s.indented(m.Data), '\n')
	case s.o.raw:
		return m.Data
	}
	return append(hex.AppendEncode(nil, m.Data), '\n')
}

// shown returns a message as people want it: marked, on lines of its own, without
// control characters.
func (s *screen) shown(m websocket.Message) string {
	mark := "< "
	if s.colors {
		mark = green + mark + plain
	}
	if m.Type == websocket.Binary {
		return fmt.Sprintf("%s%d bytes\n%s", mark, len(m.Data), hex.Dump(m.Data))
	}
	text := escape(string(s.indented(m.Data)))
	return mark + strings.ReplaceAll(text, "\n", "\n  ") + "\n"
}

// indented returns a copy of text, indented if it is JSON and -json was given.
func (s *screen) indented(text []byte) []byte {
	if s.o.json {
		var b bytes.Buffer
		if json.Indent(&b, text, "", "  ") == nil {
			return b.Bytes()
		}
	}
	return bytes.Clone(text)
}

// Escape sequences for colors.
const (
	green = "\x1b[32m"
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// escape returns s with the characters that a terminal acts on, or that change
// the direction of text, written as Go does in strings. Newlines and tabs stay.
func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i]) // not UTF-8
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
