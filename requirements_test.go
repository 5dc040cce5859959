package websocket

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A requirement is one row of testdata/requirements.tsv.
type requirement struct {
	id       string
	section  string
	rule     string
	untested string // why no test can carry the ID; usually empty
}

// needsTest reports whether a test must carry r's ID: those of sections 1 to
// 13, promises and decisions, and of hostile input. The others are there so that a
// misspelt ID is noticed.
func (r requirement) needsTest() bool {
	if r.untested != "" {
		return false
	}
	return strings.HasPrefix(r.id, "Q.") || len(r.id) == 3 && strings.Contains("UCSFKGOXRTENZVPH", r.id[:1])
}

// readRequirements reads testdata/requirements.tsv.
func readRequirements(t *testing.T) []requirement {
	t.Helper()
	data, err := os.ReadFile("testdata/requirements.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var rows []requirement
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		col := strings.Split(line, "\t")
		if len(col) < 3 || len(col) > 4 {
			t.Fatalf("requirements.tsv: %d columns in %q", len(col), line)
		}
		col = append(col, "")
		rows = append(rows, requirement{col[0], col[1], col[2], col[3]})
	}
	return rows
}

// TestRequirements fails if a requirement has no test, if a requirement that
// cannot be tested has one, or if a test names a requirement that is not
// there.
func TestRequirements(t *testing.T) {
	covered := coveredIDs(t)
	for _, r := range readRequirements(t) {
		where := covered[r.id]
		delete(covered, r.id)
		switch {
		case r.needsTest() && len(where) == 0:
			t.Errorf("%s has no test: %s (%s)", r.id, r.rule, r.section)
		case r.untested != "" && len(where) > 0:
			t.Errorf("%s is said to have no test, but see %s", r.id, where[0])
		}
	}
	for id, where := range covered {
		t.Errorf("%s: there is no requirement %q", where[0], id)
	}
}

// TestRequirementsAreDistinct fails if two requirements have one ID.
func TestRequirementsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range readRequirements(t) {
		if seen[r.id] {
			t.Errorf("%s stands twice", r.id)
		}
		seen[r.id] = true
	}
}

// coveredIDs returns the places that carry each ID: calls of covers in the
// test files of the tree, and covers lines of the conversations.
func coveredIDs(t *testing.T) map[string][]string {
	t.Helper()
	covered := map[string][]string{}
	add := func(id, where string) { covered[id] = append(covered[id], where) }
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "node_modules", "vendor"}, d.Name()):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			coversCalls(t, path, add)
		case strings.HasSuffix(path, ".txt") && strings.HasPrefix(filepath.ToSlash(path), "testdata/wire/"):
			coversLines(t, path, add)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return covered
}

// coversCalls reports the literal arguments of calls of covers in a Go file.
func coversCalls(t *testing.T, path string, add func(id, where string)) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || call.Ellipsis.IsValid() || len(call.Args) == 0 {
			return true
		}
		if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "covers" {
			return true
		}
		for _, arg := range call.Args[1:] {
			where := files.Position(arg.Pos()).String()
			literal, ok := arg.(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: covers wants string literals", where)
				continue
			}
			id, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Errorf("%s: %v", where, err)
			}
			add(id, where)
		}
		return true
	})
}

// coversLines reports the IDs of the covers lines in a file of conversations.
func coversLines(t *testing.T, path string, add func(id, where string)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for number := 1; lines.Scan(); number++ {
		ids, ok := strings.CutPrefix(lines.Text(), "covers ")
		if !ok {
			continue
		}
		for id := range strings.FieldsSeq(ids) {
			add(id, path+":"+strconv.Itoa(number))
		}
	}
}
