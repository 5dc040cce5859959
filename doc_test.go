package websocket

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

// TestMapOfFiles compares the map of files in the package's documentation with
// the floors: it names every file once, from the highest floor to the lowest.
func TestMapOfFiles(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(source), "# Reading the source")
	named := make(map[string]bool)
	above := len(floors)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "//\t") {
			continue
		}
		for _, name := range regexp.MustCompile(`\w+\.go`).FindAllString(line, -1) {
			if named[name] {
				t.Errorf("doc.go names %s twice", name)
			}
			named[name] = true
			if floor := floorOf(name); floor > above {
				t.Errorf("doc.go names %s below a lower floor", name)
			} else if floor >= 0 {
				above = floor
			}
		}
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") && name != "doc.go" && !named[withoutPlatform(name)] {
			t.Errorf("doc.go does not name %s", name)
		}
	}
	for name := range named {
		if !slices.Contains(names, name) {
			t.Errorf("doc.go names %s, which does not exist", name)
		}
	}
}

// TestDesign checks that the files and the names that docs/design.md refers to
// exist.
func TestDesign(t *testing.T) {
	text, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(\.\./([^)#]+)\)`).FindAllStringSubmatch(string(text), -1)
	if len(links) < 10 {
		t.Errorf("found %d links only", len(links))
	}
	for _, link := range links {
		if _, err := os.Stat(link[1]); err != nil {
			t.Error(err)
		}
	}
	words := identifiers(t)
	for _, name := range regexp.MustCompile("`((?:\\w+\\.)?([A-Za-z]\\w*))`").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(name[1]); err != nil && !words[name[2]] {
			t.Errorf("there is no %s", name[1])
		}
	}
}

// identifiers returns the identifiers in all files of the package.
func identifiers(t *testing.T) map[string]bool {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]bool)
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if ident, ok := n.(*ast.Ident); ok {
				words[ident.Name] = true
			}
			return true
		})
	}
	return words
}

// withoutPlatform returns the name of the file to which one for some platforms
// belongs.
func withoutPlatform(name string) string {
	for _, platform := range []string{"_amd64", "_unix", "_linux", "_other"} {
		name = strings.Replace(name, platform+".go", ".go", 1)
	}
	return name
}
