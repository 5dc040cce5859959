package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"
)

// maxTyped is the number of characters at which the editor takes no more.
const maxTyped = 4096

// errCut tells that a line has as many characters as the editor takes, and that
// there may have been more.
var errCut = fmt.Errorf("not sent: a typed line has fewer than %d characters; longer ones can be piped in", maxTyped)

// openTyping returns the lines that a person types at the terminal in, which is
// the one of s. When they are over, the terminal is as it was, and Ctrl-C is a
// signal again.
func openTyping(in *os.File, s *screen) (input, error) {
	e, err := openEditor(in, s.out.(*os.File), openHistory(s.o.history, s))
	if err != nil {
		return nil, fmt.Errorf("lines cannot be edited on this terminal: %w", err)
	}
	s.edit(e)
	return func(say func(string) error) error {
		defer s.close()
		return e.lines(func(line string) error {
			if utf8.RuneCountInString(line) == maxTyped {
				s.note("%v", errCut)
				return nil
			}
			return say(line)
		})
	}, nil
}

// An editor edits a line at the bottom of a terminal. What is written to it
// appears above that line.
type editor struct {
	*term.Terminal
	in, out *os.File
	before  *term.State
}

// openEditor lets each key arrive as it is pressed, and returns an editor.
func openEditor(in, out *os.File, h term.History) (*editor, error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	e := &editor{in: in, out: out, before: before}
	e.Terminal = term.NewTerminal(keys{e}, "> ")
	e.History = h
	e.SetBracketedPasteMode(true) // so that tabs that are pasted arrive
	e.resize()
	return e, nil
}

// lines calls say with each line that is not empty, until Ctrl-C or Ctrl-D.
func (e *editor) lines(say func(string) error) error {
	for {
		line, err := e.ReadLine()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, term.ErrPasteIndicator):
			return err
		case line == "":
			continue
		}
		if err := say(line); err != nil {
			return err
		}
	}
}

// Write writes above the line that is edited.
func (e *editor) Write(p []byte) (int, error) {
	e.resize()
	return e.Terminal.Write(p)
}

// resize tells the editor how wide the terminal is.
func (e *editor) resize() {
	if width, height, err := term.GetSize(int(e.out.Fd())); err == nil && width > 0 {
		e.SetSize(width, height)
	}
}

// close erases the line and gives the terminal back.
func (e *editor) close() {
	e.SetBracketedPasteMode(false)
	io.WriteString(e.out, "\r\x1b[K")
	term.Restore(int(e.in.Fd()), e.before)
}

// keys are the terminal below an editor. With each key the editor learns how wide
// the terminal is.
type keys struct{ e *editor }

func (k keys) Read(p []byte) (int, error) {
	n, err := k.e.in.Read(p)
	k.e.resize()
	return n, err
}

func (k keys) Write(p []byte) (int, error) { return k.e.out.Write(p) }
