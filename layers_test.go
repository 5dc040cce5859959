package websocket

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// floors are the files of the package from the ground up. A file may use what
// files of its own floor and of those below declare.
var floors = [][]string{
	{"errors.go", "mask.go", "mask_amd64.go", "mask_other.go"},
	{"frame.go"},
	{"state.go"},
	{"config.go", "trace.go", "pool.go", "turn.go", "guard.go", "socket.go", "socket_unix.go", "socket_other.go"},
	{"read.go", "write.go", "flush.go"},
	{"handshake.go", "extension.go", "head.go", "target.go", "compress.go"},
	{"conn.go", "message.go", "send.go", "stream.go", "queue.go", "close.go", "keepalive.go", "stats.go", "prepared.go"},
	{"server.go", "handler.go", "client.go", "opening.go", "origin.go", "proxy.go", "redirect.go", "redial.go", "registry.go", "group.go", "netconn.go", "doc.go"},
}

// strangers are files of one floor that must not know each other.
var strangers = [][2]string{{"read.go", "write.go"}, {"read.go", "flush.go"}}

// pureFloors are the lowest floors, which do no I/O.
const pureFloors = 3

// impure are the packages that pure floors do not import.
var impure = []string{"net", "net/http", "time", "sync", "sync/atomic", "io", "os", "context"}

func TestFloors(t *testing.T) {
	fset := token.NewFileSet()
	files := parseFloors(t, fset)
	uses := make(map[*ast.Ident]types.Object)
	var noImports importError
	cfg := types.Config{Importer: noImports, Error: func(error) {}}
	cfg.Check("websocket", fset, files, &types.Info{Uses: uses})
	for ident, obj := range uses {
		if obj.Pkg() == nil || obj.Pkg().Name() != "websocket" || !obj.Pos().IsValid() {
			continue
		}
		from, to := fileOf(fset, ident.Pos()), fileOf(fset, obj.Pos())
		if floorOf(to) > floorOf(from) || isStranger(from, to) {
			t.Errorf("%s uses %s of %s", fset.Position(ident.Pos()), obj.Name(), to)
		}
	}
}

func TestPureFloors(t *testing.T) {
	fset := token.NewFileSet()
	for _, file := range parseFloors(t, fset) {
		name := fileOf(fset, file.Pos())
		if floorOf(name) >= pureFloors {
			continue
		}
		for _, spec := range file.Imports {
			if path := strings.Trim(spec.Path.Value, `"`); slices.Contains(impure, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

// An importError is an importer that finds nothing: only the package's own
// names matter here.
type importError struct{}

func (importError) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// parseFloors parses the package's files. Each must stand on a floor.
func parseFloors(t *testing.T, fset *token.FileSet) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_js.go") || strings.HasSuffix(name, "_other.go") {
			continue
		}
		require.GreaterOrEqual(t, floorOf(name), 0, "%s stands on no floor", name)
		file, err := parser.ParseFile(fset, name, nil, 0)
		require.NoError(t, err)
		files = append(files, file)
	}
	return files
}

// fileOf returns the name of the file that holds pos.
func fileOf(fset *token.FileSet, pos token.Pos) string {
	return filepath.Base(fset.Position(pos).Filename)
}

// floorOf returns the floor on which a file stands, or -1.
func floorOf(file string) int {
	return slices.IndexFunc(floors, func(names []string) bool { return slices.Contains(names, file) })
}

// isStranger reports whether the files must not know each other.
func isStranger(a, b string) bool {
	return slices.Contains(strangers, [2]string{a, b}) || slices.Contains(strangers, [2]string{b, a})
}
