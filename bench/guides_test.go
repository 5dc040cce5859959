package bench

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMigrationGuidesAreComplete checks that the first column of each guide's
// tables lists every exported name of the other library.
func TestMigrationGuidesAreComplete(t *testing.T) {
	for _, g := range []struct {
		guide, module string
		packages      map[string]string // prefix of a package's names, by directory
	}{
		{"from-gorilla.md", "github.com/gorilla/websocket", map[string]string{".": ""}},
		{"from-coder.md", "github.com/coder/websocket", map[string]string{".": "", "wsjson": "wsjson."}},
	} {
		t.Run(g.guide, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "docs", g.guide))
			if err != nil {
				t.Fatal(err)
			}
			module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", g.module).Output()
			if err != nil {
				t.Fatal(err)
			}
			dir, version, _ := strings.Cut(strings.TrimSpace(string(module)), " ")
			if !strings.Contains(string(text), g.module+" "+version) {
				t.Errorf("the guide is not about %s", version)
			}
			var want []string
			for sub, prefix := range g.packages {
				want = append(want, exportedNames(t, filepath.Join(dir, sub), prefix)...)
			}
			got := firstColumn(string(text))
			for _, name := range want {
				if !slices.Contains(got, name) {
					t.Errorf("%s is missing", name)
				}
			}
			for _, name := range got {
				if !slices.Contains(want, name) {
					t.Errorf("%s is not in %s", name, g.module)
				}
			}
		})
	}
}

// firstColumn returns the names in the first column of a guide's tables.
func firstColumn(text string) (names []string) {
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		for i, span := range strings.Split(cells[1], "`") {
			if i%2 == 1 {
				names = append(names, span)
			}
		}
	}
	return names
}

// exportedNames returns the exported names of the package in dir: functions,
// values, types, and their methods and fields in the form Type.Name.
func exportedNames(t *testing.T, dir, prefix string) (names []string) {
	t.Helper()
	p := parsePackage(t, dir)
	add := func(name string) {
		if token.IsExported(name[strings.LastIndex(name, ".")+1:]) {
			names = append(names, prefix+name)
		}
	}
	values := func(values []*doc.Value) {
		for _, v := range values {
			for _, name := range v.Names {
				add(name)
			}
		}
	}
	funcs := func(funcs []*doc.Func, receiver string) {
		for _, f := range funcs {
			add(receiver + f.Name)
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs(p.Funcs, "")
	for _, typ := range p.Types {
		add(typ.Name)
		values(typ.Consts)
		values(typ.Vars)
		funcs(typ.Funcs, "")
		funcs(typ.Methods, typ.Name+".")
		for _, member := range members(typ) {
			add(typ.Name + "." + member)
		}
	}
	return names
}

// members returns the fields of a struct, or the methods of an interface.
func members(typ *doc.Type) (names []string) {
	for _, spec := range typ.Decl.Specs {
		var list *ast.FieldList
		switch underlying := spec.(*ast.TypeSpec).Type.(type) {
		case *ast.StructType:
			list = underlying.Fields
		case *ast.InterfaceType:
			list = underlying.Methods
		default:
			continue
		}
		for _, field := range list.List {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// parsePackage returns the documentation of the package in dir, without its
// files for js.
func parsePackage(t *testing.T, dir string) *doc.Package {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_js.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(fset, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
