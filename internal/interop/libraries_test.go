package interop

import (
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// A library is one that we are tested against: a row of the table.
type library struct {
	name    string
	program func(built string) ([]string, error) // the words that run its program
	needs   []string                             // a command that succeeds if it is installed
	// cannot says what it cannot do and why, by patterns for role/cell.
	cannot map[string]string
	once   sync.Once
	words  []string
	err    error
}

// command returns the words that run the library's program, compiled once.
func (l *library) command(t *testing.T, built string) []string {
	t.Helper()
	l.once.Do(func() { l.words, l.err = l.program(built) })
	if l.err != nil {
		t.Fatal(l.err)
	}
	return slices.Clone(l.words)
}

// installed skips the test unless the library is installed.
func (l *library) installed(t *testing.T) {
	t.Helper()
	cmd := exec.Command(l.needs[0], l.needs[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%s is not installed: run install.sh in internal/interop (%v: %.100s)", l.name, err, out)
	}
}

// excuse returns why a library cannot do what a cell asks for, or "".
func (l *library) excuse(role, cell string) string {
	for pattern, reason := range l.cannot {
		matched, err := path.Match(pattern, role+"/"+cell)
		if err != nil {
			panic(err)
		}
		if matched {
			return reason
		}
	}
	return ""
}

// agreed checks that permessage-deflate was agreed on if, and only if, we want it.
func agreed(t *testing.T, got string, ours *websocket.Compression) {
	t.Helper()
	if ours == nil {
		if got != "" {
			t.Errorf("%q was agreed on without an offer", got)
		}
		return
	}
	if !strings.HasPrefix(got, "permessage-deflate") {
		t.Fatalf("%q was agreed on", got)
	}
}

// The commands that run programs.

func interpreted(words ...string) func(string) ([]string, error) {
	return func(string) ([]string, error) { return words, nil }
}

// compiled returns a command that words make in the directory of compiled programs.
// OUT stands for its path.
func compiled(name string, words ...string) func(string) ([]string, error) {
	return func(built string) ([]string, error) {
		out := filepath.Join(built, name)
		build := slices.Clone(words)
		build[slices.Index(build, "OUT")] = out
		if text, err := exec.Command(build[0], build[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(build, " "), err, text)
		}
		return []string{out}, nil
	}
}

// python is the interpreter whose packages are Debian's.
const python = "/usr/bin/python3"

func inPython(module string, cannot map[string]string) *library {
	return &library{
		name: module, program: interpreted(python, "peers/peer_"+module+".py"),
		needs: []string{python, "-c", "import " + module}, cannot: cannot,
	}
}

func inGo(name string, cannot map[string]string) *library {
	return &library{
		name: name, program: compiled(name, "go", "build", "-o", "OUT", "./peers/"+name),
		needs: []string{"go", "version"}, cannot: cannot,
	}
}

func inNode(name string, cannot map[string]string) *library {
	return &library{
		name: name, program: interpreted("node", "peers/"+name+".js"),
		needs: []string{"node", "-e", "require('" + name + "')"}, cannot: cannot,
	}
}

// libraries returns the table.
func libraries() []*library {
	const (
		noFragments = "has no interface that sends a message in fragments"
		noCode      = "sends 1000 and 3000 to 4999 only"
		ownWindow   = "answers with the client window it is set to, here 12"
		clientOnly  = "is a client only"
	)
	return []*library{
		inNode("ws", nil),
		inNode("undici", map[string]string{
			"server/*":                        clientOnly,
			"client/*fragments of theirs":     noFragments,
			"client/ping of theirs":           "has no interface that sends a Ping",
			"client/close 1001 of theirs":     noCode,
			"client/close 100[3-9] of theirs": noCode,
			"client/close 101? of theirs":     noCode,
		}),
		inGo("gorilla", nil),
		inGo("coder", nil),
		inGo("gobwas", nil),
		inGo("gws", map[string]string{
			"server/deflate with window 9,*":     ownWindow,
			"server/deflate with window 1[01],*": ownWindow,
		}),
		inPython("websockets", nil),
		inPython("aiohttp", map[string]string{"*/*fragments of theirs": noFragments}),
		inPython("tornado", map[string]string{
			"*/*fragments of theirs":                noFragments,
			"client/deflate with *theirs new true*": "reads only parameters that have a value, so not client_no_context_takeover",
		}),
		inPython("autobahn", map[string]string{
			"*/close 1001 of theirs":     noCode,
			"*/close 100[3-9] of theirs": noCode,
			"*/close 101? of theirs":     noCode,
		}),
	}
}
