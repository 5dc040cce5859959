package websocket

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDocumentation fails for every exported name of any package of the module
// that has no doc comment.
func TestDocumentation(t *testing.T) {
	packages := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return err
		case slices.Contains([]string{".git", "testdata", "node_modules"}, d.Name()):
			return fs.SkipDir
		}
		for _, p := range parsePackage(t, path) {
			packages++
			for _, name := range undocumented(p) {
				t.Errorf("%s: %s has no doc comment", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if packages < 5 {
		t.Errorf("found %d packages only", packages)
	}
}

// parsePackage returns the documentation of the packages in a directory. Files
// of all systems count.
func parsePackage(t *testing.T, dir string) (packages []*doc.Package) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	files := map[string][]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[file.Name.Name] = append(files[file.Name.Name], file)
	}
	for _, f := range files {
		p, err := doc.NewFromFiles(fset, f, dir)
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// undocumented returns the exported names of p without a doc comment, and p's
// own if it has none. A comment on a group of constants or variables, and one
// behind a name, counts.
func undocumented(p *doc.Package) (names []string) {
	require := func(comment, name string) {
		if strings.TrimSpace(comment) == "" {
			names = append(names, name)
		}
	}
	values := func(values []*doc.Value) {
		for _, v := range values {
			for _, spec := range v.Decl.Specs {
				s := spec.(*ast.ValueSpec)
				for _, name := range s.Names {
					if name.IsExported() {
						require(v.Doc+s.Doc.Text()+s.Comment.Text(), name.Name)
					}
				}
			}
		}
	}
	funcs := func(prefix string, funcs []*doc.Func) {
		for _, f := range funcs {
			require(f.Doc, prefix+f.Name)
		}
	}
	require(p.Doc, "package "+p.Name)
	values(p.Consts)
	values(p.Vars)
	funcs("", p.Funcs)
	for _, typ := range p.Types {
		require(typ.Doc, typ.Name)
		values(typ.Consts)
		values(typ.Vars)
		funcs("", typ.Funcs)
		funcs(typ.Name+".", typ.Methods)
	}
	return names
}

// TestUndocumented checks that a missing comment is found, wherever it is.
func TestUndocumented(t *testing.T) {
	const source = `package p
		const A = 1
		var (
			B int // B is here.
			C int
		)
		type T struct{}
		func (T) M() {}
		// N is here.
		func (T) N() {}
		func F() {}
		func NewT() T { return T{} }
		func unexported() {}`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	p, err := doc.NewFromFiles(fset, []*ast.File{file}, "p")
	if err != nil {
		t.Fatal(err)
	}
	got := undocumented(p)
	slices.Sort(got)
	if want := []string{"A", "C", "F", "NewT", "T", "T.M", "package p"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
