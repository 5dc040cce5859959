package websocket

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// extensions are the exported names that the original does not have.
var extensions = []string{
	"func Wrap",
	"method (*Conn).Unwrap",
}

// TestAPI compares what the packages export with what the original does.
func TestAPI(t *testing.T) {
	const original, ours = "github.com/coder/websocket", "github.com/fullduplex-go/websocket/compat/coder"
	packages := loadPackages(t, original, original+"/wsjson", ours, ours+"/wsjson")
	for _, sub := range []string{"", "/wsjson"} {
		want := exported(packages[original+sub])
		got := exported(packages[ours+sub])
		require.NotEmpty(t, want)
		for name, signature := range want {
			require.Equal(t, signature, got[name], name)
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				require.Contains(t, extensions, name)
			}
		}
	}
}

// loadPackages returns the packages, as the compiler exports them.
func loadPackages(t *testing.T, paths ...string) map[string]*types.Package {
	out, err := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, paths...)...).Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		exports[p.ImportPath] = p.Export
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, errors.New("not listed")
		}
		return os.Open(exports[path])
	})
	packages := map[string]*types.Package{}
	for _, path := range paths {
		p, err := imp.Import(path)
		require.NoError(t, err)
		packages[path] = p
	}
	return packages
}

// exported returns the exported names of p, fields and methods included, with
// their types. Packages are named without their paths, so that the types of p
// and those of its twin look the same.
func exported(p *types.Package) map[string]string {
	names := map[string]string{}
	qualify := func(q *types.Package) string { return q.Name() }
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.TypeName:
			names["type "+name] = kindOf(o.Type().Underlying())
			addMembers(names, o, qualify)
		case *types.Const:
			names["const "+name] = types.TypeString(o.Type(), qualify) + " = " + o.Val().ExactString()
		case *types.Func:
			names["func "+name] = parameters(o.Type().(*types.Signature), qualify)
		default:
			names["var "+name] = types.TypeString(o.Type(), qualify)
		}
	}
	return names
}

// kindOf returns what a type is, without the fields of a struct.
func kindOf(t types.Type) string {
	if _, ok := t.(*types.Struct); ok {
		return "struct"
	}
	return t.String()
}

// addMembers adds the exported methods and fields of a type.
func addMembers(names map[string]string, o *types.TypeName, qualify types.Qualifier) {
	pointer := types.NewMethodSet(types.NewPointer(o.Type()))
	value := types.NewMethodSet(o.Type())
	for i := range pointer.Len() {
		m := pointer.At(i).Obj()
		receiver := "*" + o.Name()
		if value.Lookup(m.Pkg(), m.Name()) != nil {
			receiver = o.Name()
		}
		if m.Exported() {
			names[fmt.Sprintf("method (%s).%s", receiver, m.Name())] = parameters(m.Type().(*types.Signature), qualify)
		}
	}
	s, ok := o.Type().Underlying().(*types.Struct)
	if !ok {
		return
	}
	var order []string
	for i := range s.NumFields() {
		if f := s.Field(i); f.Exported() {
			names["field "+o.Name()+"."+f.Name()] = fieldType(f, qualify)
			order = append(order, f.Name())
		}
	}
	names["fields "+o.Name()] = strings.Join(order, ", ") // for literals without names
}

// fieldType returns the type of a field, without the names of parameters.
func fieldType(f *types.Var, qualify types.Qualifier) string {
	if s, ok := f.Type().(*types.Signature); ok {
		return parameters(s, qualify)
	}
	return types.TypeString(f.Type(), qualify)
}

// parameters returns the types of the parameters and results of a function.
func parameters(s *types.Signature, qualify types.Qualifier) string {
	list := func(tuple *types.Tuple) string {
		var all []string
		for v := range tuple.Variables() {
			all = append(all, types.TypeString(v.Type(), qualify))
		}
		return "(" + strings.Join(all, ", ") + ")"
	}
	return list(s.Params()) + " " + list(s.Results()) + map[bool]string{true: " variadic"}[s.Variadic()]
}
