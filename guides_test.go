package websocket

import (
	"go/ast"
	"go/doc"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readGuide returns the text of a file below docs.
func readGuide(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// codeSpan matches code in a line of Markdown.
var codeSpan = regexp.MustCompile("`([^`]+)`")

// ours returns the names in the second column of a guide's tables.
func ours(text string) (names []string) {
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		for _, span := range codeSpan.FindAllStringSubmatch(cells[2], -1) {
			names = append(names, span[1])
		}
	}
	return names
}

// TestMigrationGuides checks that every name that a migration guide sends its
// reader to is there.
func TestMigrationGuides(t *testing.T) {
	guides, err := filepath.Glob("docs/from-*.md")
	if err != nil || len(guides) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	exported := exportedNames(t, ".", "")
	exported = append(exported, exportedNames(t, "wsjson", "wsjson.")...)
	exported = append(exported, exportedNames(t, "wstest", "wstest.")...)
	for _, path := range guides {
		names := ours(readGuide(t, path))
		if len(names) < 30 {
			t.Errorf("%s has %d names only", path, len(names))
		}
		for _, name := range names {
			if !slices.Contains(exported, name) {
				t.Errorf("%s: there is no %s", path, name)
			}
		}
	}
}

// exportedNames returns the exported names of the package in dir: functions,
// values, types, and with a dot their methods and fields. prefix stands before
// each.
func exportedNames(t *testing.T, dir, prefix string) (names []string) {
	t.Helper()
	for _, p := range parsePackage(t, dir) {
		add := func(name string) { names = append(names, prefix+name) }
		addValues(p.Consts, add)
		addValues(p.Vars, add)
		addFuncs(p.Funcs, "", add)
		for _, typ := range p.Types {
			add(typ.Name)
			addValues(typ.Consts, add)
			addValues(typ.Vars, add)
			addFuncs(typ.Funcs, "", add)
			addFuncs(typ.Methods, typ.Name+".", add)
			addFields(typ, add)
		}
	}
	return names
}

// addValues adds the names of constants or variables.
func addValues(values []*doc.Value, add func(name string)) {
	for _, v := range values {
		for _, name := range v.Names {
			add(name)
		}
	}
}

// addFuncs adds the names of functions or methods.
func addFuncs(funcs []*doc.Func, prefix string, add func(name string)) {
	for _, f := range funcs {
		add(prefix + f.Name)
	}
}

// addFields adds the names of the fields of typ, if it is a struct.
func addFields(typ *doc.Type, add func(name string)) {
	for _, spec := range typ.Decl.Specs {
		structure, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range structure.Fields.List {
			for _, name := range field.Names {
				add(typ.Name + "." + name.Name)
			}
		}
	}
}

// guideCode are the guides with pieces of Go, and the tests that have them.
var guideCode = map[string][]string{
	"docs/authentication.md": {"example_auth_test.go"},
	"docs/gorilla-chat.md":   {"compat/gorilla/example_chat_test.go", "example_chat_test.go"},
	"docs/http2.md":          {"http2_buffer_test.go"},
	"docs/servers.md":        {"internal/servers/fasthttp_test.go"},
	"docs/ssh-tunnel.md":     {"internal/nettest/ssh_tunnel_test.go"},
	"docs/testing.md":        {"wstest/example_test.go"},
}

// TestGuideCode checks that every piece of Go in a guide is a piece of tests that
// are compiled and run, and that no other guide has any.
func TestGuideCode(t *testing.T) {
	guides, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, guide := range guides {
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readGuide(t, guide), -1)
		sources := guideCode[guide]
		if (len(sources) > 0) != (len(blocks) > 0) {
			t.Errorf("%s has %d pieces of Go, from %q", guide, len(blocks), sources)
		}
		for _, block := range blocks {
			if !slices.ContainsFunc(sources, func(source string) bool {
				return strings.Contains(readGuide(t, source), block[1])
			}) {
				t.Errorf("%s: not in %s:\n%s", guide, sources, block[1])
			}
		}
	}
}
