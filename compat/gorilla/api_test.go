package websocket_test

import (
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// additions are the exported names that the original does not have.
var additions = []string{"Configure", "Conn.Unwrap", "Wrap"}

// TestAPI compares the exported names of this package with those of the
// original: signatures, fields, methods and constants.
func TestAPI(t *testing.T) {
	build.Default.CgoEnabled = false // the importer needs no C compiler then
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "source", nil).(types.ImporterFrom)
	ours := exportedAPI(t, from, "github.com/fullduplex-go/websocket/compat/gorilla")
	theirs := exportedAPI(t, from, "github.com/gorilla/websocket")
	require.Greater(t, len(theirs), 90)
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if ours[name] != theirs[name] {
			t.Errorf("%s is %q, not %q", name, ours[name], theirs[name])
		}
		delete(ours, name)
	}
	require.Equal(t, additions, slices.Sorted(maps.Keys(ours)))
}

// exportedAPI returns what is exported by a package: names, each with what it
// is.
func exportedAPI(t *testing.T, from types.ImporterFrom, path string) map[string]string {
	pkg, err := from.ImportFrom(path, ".", 0)
	require.NoError(t, err)
	api := make(map[string]string)
	for _, name := range pkg.Scope().Names() {
		if obj := pkg.Scope().Lookup(name); obj.Exported() {
			addObject(api, pkg, obj)
		}
	}
	return api
}

// addObject adds an object and, if it is a type, its fields and methods.
func addObject(api map[string]string, pkg *types.Package, obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		api[obj.Name()] = "const " + typeName(pkg, obj.Type()) + " = " + obj.Val().ExactString()
	case *types.TypeName:
		addType(api, pkg, obj)
	case *types.Var:
		api[obj.Name()] = "var " + typeName(pkg, obj.Type())
	default:
		api[obj.Name()] = typeName(pkg, obj.Type())
	}
}

// addType adds a type with its exported fields and methods, and whether they
// are those of values.
func addType(api map[string]string, pkg *types.Package, obj *types.TypeName) {
	switch under := obj.Type().Underlying().(type) {
	case *types.Struct:
		api[obj.Name()] = "struct"
		for field := range under.Fields() {
			if field.Exported() {
				api[obj.Name()+"."+field.Name()] = "field " + typeName(pkg, field.Type())
			}
		}
	default:
		api[obj.Name()] = typeName(pkg, under)
	}
	onValue := types.NewMethodSet(obj.Type())
	for method := range types.NewMethodSet(types.NewPointer(obj.Type())).Methods() {
		if m := method.Obj(); m.Exported() {
			receiver := "pointer "
			if onValue.Lookup(pkg, m.Name()) != nil {
				receiver = "value "
			}
			api[obj.Name()+"."+m.Name()] = receiver + typeName(pkg, m.Type())
		}
	}
}

// typeName returns how a type is written in a package, without the names of
// parameters.
func typeName(pkg *types.Package, t types.Type) string {
	if sig, ok := t.(*types.Signature); ok {
		t = types.NewSignatureType(nil, nil, nil, unnamed(sig.Params()), unnamed(sig.Results()), sig.Variadic())
	}
	return strings.ReplaceAll(types.TypeString(t, types.RelativeTo(pkg)), "interface{}", "any")
}

// unnamed returns a tuple without names.
func unnamed(tuple *types.Tuple) *types.Tuple {
	var vars []*types.Var
	for v := range tuple.Variables() {
		vars = append(vars, types.NewVar(token.NoPos, nil, "", v.Type()))
	}
	return types.NewTuple(vars...)
}
