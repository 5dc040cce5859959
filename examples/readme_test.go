// Package examples holds programs that show how to use the library, and a test
// that keeps the README in step with them.
package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme checks that every block of Go in the README is part of one of the
// programs here, which compile and have tests, and that every linked path
// exists.
func TestReadme(t *testing.T) {
	readme := read(t, "../README.md")
	programs, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, path := range programs {
		code.WriteString(read(t, path))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(blocks) < 2 {
		t.Errorf("the README has %d pieces of Go, want a server and a client", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(code.String(), block[1]) {
			t.Errorf("not in any of %v:\n%s", programs, block[1])
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat(filepath.Join("..", link[1])); err != nil {
			t.Errorf("the README links to %s: %v", link[1], err)
		}
	}
}

// TestReadmeCommands checks that the packages in the README's go run commands
// exist.
func TestReadmeCommands(t *testing.T) {
	commands := regexp.MustCompile(`go run (\./examples/[a-z]+)`).FindAllStringSubmatch(read(t, "../README.md"), -1)
	if len(commands) == 0 {
		t.Error("the README has no go run command")
	}
	for _, command := range commands {
		if _, err := os.Stat(filepath.Join("..", command[1], "main.go")); err != nil {
			t.Errorf("%s: %v", command[0], err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}
