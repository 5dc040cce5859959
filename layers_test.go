package websocket

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors are the files of the package from the ground up. A file may use what
// files of its own floor and of those below declare.
var floors = [][]string{
	{"errors.go", "mask.go", "mask_amd64.go", "mask_other.go"},
	{"frame.go"},
	{"frame_rules.go"},
	{"config.go", "trace.go", "clock.go", "flags.go", "buffer.go", "masking_key.go", "fifo_lock.go", "wheel.go", "deadlines.go", "socket.go", "socket_unix.go", "socket_linux.go", "socket_other.go",
		"poller.go", "poller_linux.go", "descriptor.go", "descriptor_linux.go", "descriptor_table.go"},
	{"read_buffer.go", "frame_reader.go", "frame_writer.go", "write_state.go", "flush.go", "work.go", "withdraw.go"},
	{"handshake.go", "handshake_response.go", "handshake_error.go", "extension.go", "uri.go", "compress.go"},
	{
		"conn.go", "read_state.go", "inbound.go", "read.go", "write.go", "stream.go", "send_queue.go", "send.go", "prepared.go",
		"ping.go", "hooks.go", "delivery.go", "parked.go", "close_read.go", "application.go", "background_read.go", "background_poll.go", "keepalive.go", "close.go", "last_words.go", "lifetime.go", "stats.go",
	},
	{
		"server.go", "http2.go", "accept_conn.go", "hijack.go", "middleware.go", "new_conn.go", "handler.go", "receiver.go", "client.go", "client_trace.go", "http_client.go", "body_conn.go", "transport.go", "handshake_timer.go", "handshake_trace.go", "origin.go",
		"proxy.go", "redirect.go", "redial.go", "registry.go", "group.go", "netconn.go", "doc.go",
	},
}

// strangers are files of one floor that must not know each other.
var strangers = [][2]string{
	{"frame_reader.go", "frame_writer.go"}, {"frame_reader.go", "flush.go"},
	{"frame_reader.go", "work.go"}, {"frame_reader.go", "withdraw.go"}, {"frame_reader.go", "write_state.go"},
}

// handles are files that name the type Conn, of a floor above theirs, because
// functions of the application are given one. They do nothing with it.
var handles = []string{"config.go", "trace.go"}

// pureFloors are the lowest floors, which do no I/O.
const pureFloors = 3

// impure are the packages that pure floors do not import.
var impure = []string{"net", "net/http", "time", "sync", "sync/atomic", "io", "os", "context"}

// TestFloors fails if a file uses a name of a floor above its own, or of a
// stranger.
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
		if obj.Name() == "Conn" && slices.Contains(handles, from) {
			continue
		}
		if floorOf(to) > floorOf(from) || isStranger(from, to) {
			t.Errorf("%s uses %s of %s", fset.Position(ident.Pos()), obj.Name(), to)
		}
	}
}

// TestPureFloors fails if one of the lowest floors imports a package that does
// I/O.
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

// waiting are the methods that wait for the network to take something, or for
// others who write.
var waiting = map[string][]string{
	"frameWriter": {
		"flush", "awaitTicket", "awaitWake", "lead", "push", "pushSome", "writeSome", "flushDetached",
		"flushAll", "flushAllInternal", "flushAdded", "flushClose",
	},
	"Conn": {"Flush", "Drain", "Write", "WriteString", "write", "writeFrame", "lockSending", "enqueue", "close", "emptyQueue"},
}

// readingFiles and readingFuncs are the files and functions that read.
var (
	readingFiles = []string{"read_buffer.go", "frame_reader.go", "read_state.go", "inbound.go", "read.go"}
	readingFuncs = []string{
		"lockReading", "awaitReadLock", "unlockReading", "awaitInput", "awaitMessage", "beforeWait", "afterWait",
		"pollInput", "noInput", "fillFirst", "readControlFrame", "handleControl", "discardAll", "dropMessages", "handleClose", "failProtocol", "openReader",
	}
)

// TestReadingCannotWaitForWriting follows the calls that reading makes, but not
// what goes on a goroutine of its own: none leads to a method that waits (V05).
func TestReadingCannotWaitForWriting(t *testing.T) {
	covers(t, "V05")
	g := parseCalls(t)
	for _, name := range readingFuncs {
		if !slices.Contains(g.names(), name) {
			t.Errorf("there is no %s", name)
		}
	}
	for receiver, names := range waiting {
		for _, name := range names {
			if g.method(receiver, name) == nil {
				t.Errorf("there is no %s.%s", receiver, name)
			}
		}
	}
	for f, decl := range g.bodies {
		file := fileOf(g.fset, decl.Pos())
		if slices.Contains(readingFiles, file) || slices.Contains(readingFuncs, f.Name()) || receiverOf(f) == "MessageReader" {
			g.follow(t, f, f.Name())
		}
	}
}

// calls are the functions of the package and what they call.
type calls struct {
	fset   *token.FileSet
	uses   map[*ast.Ident]types.Object
	bodies map[*types.Func]*ast.FuncDecl
	seen   map[*types.Func]bool
}

// parseCalls returns the calls of the package.
func parseCalls(t *testing.T) *calls {
	g := &calls{
		fset:   token.NewFileSet(),
		uses:   make(map[*ast.Ident]types.Object),
		bodies: make(map[*types.Func]*ast.FuncDecl),
		seen:   make(map[*types.Func]bool),
	}
	files := parseFloors(t, g.fset)
	defs := make(map[*ast.Ident]types.Object)
	var noImports importError
	cfg := types.Config{Importer: noImports, Error: func(error) {}}
	cfg.Check("websocket", g.fset, files, &types.Info{Uses: g.uses, Defs: defs})
	for _, file := range files {
		for _, d := range file.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if f, isFunc := defs[identOf(decl)].(*types.Func); ok && isFunc {
				g.bodies[f] = decl
			}
		}
	}
	return g
}

// identOf returns the name in decl, or nil.
func identOf(decl *ast.FuncDecl) *ast.Ident {
	if decl == nil {
		return nil
	}
	return decl.Name
}

// names returns the names of all functions and methods.
func (g *calls) names() (names []string) {
	for f := range g.bodies {
		names = append(names, f.Name())
	}
	return names
}

// method returns a method, or nil.
func (g *calls) method(receiver, name string) *types.Func {
	for f := range g.bodies {
		if f.Name() == name && receiverOf(f) == receiver {
			return f
		}
	}
	return nil
}

// follow reports the calls of f that wait. way is the chain of calls that leads
// to f.
func (g *calls) follow(t *testing.T, f *types.Func, way string) {
	if slices.Contains(waiting[receiverOf(f)], f.Name()) {
		t.Errorf("%s waits", way)
		return
	}
	decl := g.bodies[f]
	if decl == nil || g.seen[f] {
		return
	}
	g.seen[f] = true
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			return false
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "AfterFunc" {
				return false
			}
		case *ast.Ident:
			if callee, ok := g.uses[n].(*types.Func); ok {
				g.follow(t, callee, way+" > "+callee.Name())
			}
		}
		return true
	})
}

// receiverOf returns the name of the type that f is a method of.
func receiverOf(f *types.Func) string {
	recv := f.Signature().Recv()
	if recv == nil {
		return ""
	}
	at := recv.Type()
	if p, ok := at.(*types.Pointer); ok {
		at = p.Elem()
	}
	if named, ok := at.(*types.Named); ok {
		return named.Obj().Name()
	}
	return ""
}

// An importError is an importer that finds nothing: only the package's own
// names matter here.
type importError struct{}

// Import finds nothing.
func (importError) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// parseFloors parses the package's files. Each must stand on a floor.
func parseFloors(t *testing.T, fset *token.FileSet) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_js.go") || strings.HasSuffix(name, "_other.go") {
			continue
		}
		if floorOf(name) < 0 {
			t.Fatalf("%s stands on no floor", name)
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
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

// suites are the test files that are not about one source file: tests of whole
// connections, of the source itself and of its documentation, and the fixtures
// that these need.
var suites = []string{
	"alloc_test.go", "amplify_test.go", "doc_test.go", "ends_process_test.go", "ends_test.go", "exhaustive_test.go", "fault_test.go", "fuzz_test.go", "generator_test.go",
	"guides_test.go", "hostile_test.go", "layers_test.go", "memory_test.go", "misuse_test.go",
	"panic_test.go", "requirements_test.go", "schedule_test.go", "schedule_world_test.go", "tls_test.go", "twins_test.go", "twoends_test.go", "wire_test.go",

	"conversation_test.go", "endpoint_test.go", "helpers_test.go", "model_inflate_test.go", "model_test.go", "rawpeer_test.go",
}

// TestNamesOfTestFiles fails for a test file that neither begins with the name
// of a source file nor is a suite, and for a suite that does not exist or that
// docs/design.md does not explain.
func TestNamesOfTestFiles(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "example_") && !slices.Contains(suites, name) && !testsSource(name, names) {
			t.Errorf("%s is named after no source file, and is not among the suites", name)
		}
	}
	design, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range suites {
		if !slices.Contains(names, suite) || !strings.Contains(string(design), "| ["+suite+"]") {
			t.Errorf("%s does not exist, or docs/design.md does not explain it", suite)
		}
	}
}

// testsSource reports whether a test file is named after one of the files.
func testsSource(test string, files []string) bool {
	return slices.ContainsFunc(files, func(file string) bool {
		source := strings.TrimSuffix(file, ".go")
		return !strings.HasSuffix(source, "_test") && strings.HasPrefix(test, source+"_")
	})
}
