package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxHistory is the number of lines that are recalled from earlier runs.
const maxHistory = 1000

// A history is lines that were typed, the last one last, and the file that keeps
// them.
type history struct {
	typed []string
	file  *os.File // nil: they are not kept
}

// openHistory returns the history in a file, which only its user can read. If
// there is none, or "" names it, lines are kept until the program ends.
func openHistory(name string, s *screen) *history {
	h := new(history)
	if name == "" {
		return h
	}
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		h.file, err = os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	}
	if err == nil {
		err = h.load()
	}
	if err != nil {
		s.note("lines are not kept (-history names another file): %v", err)
	}
	return h
}

// load reads the file. If that has become long, only its end is left in it.
func (h *history) load() error {
	lines := bufio.NewScanner(h.file)
	for lines.Scan() {
		h.typed = append(h.typed, lines.Text())
	}
	if err := lines.Err(); err != nil || len(h.typed) < 2*maxHistory {
		return err
	}
	h.typed = h.typed[len(h.typed)-maxHistory:]
	if err := h.file.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(h.file, strings.Join(h.typed, "\n"))
	return err
}

// Add keeps a line, unless it is the one before again or begins with a space, by
// which its user says that it has a secret.
func (h *history) Add(line string) {
	if line == "" || strings.HasPrefix(line, " ") || h.Len() > 0 && line == h.At(0) {
		return
	}
	h.typed = append(h.typed, line)
	if h.file != nil {
		fmt.Fprintln(h.file, line) // a full disk is no reason not to type on
	}
}

// Len returns the number of lines.
func (h *history) Len() int { return len(h.typed) }

// At returns a line: 0 is the last one.
func (h *history) At(i int) string { return h.typed[len(h.typed)-1-i] }
