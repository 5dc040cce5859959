package schedule

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
)

// replaced are the packages that Overlay replaces, and by what.
var replaced = map[string]string{
	"sync":        "github.com/fullduplex-go/websocket/internal/schedule/sync",
	"sync/atomic": "github.com/fullduplex-go/websocket/internal/schedule/atomic",
}

// Overlay writes to scratch what makes go test -overlay build the package in dir with
// points at all its mutexes and atomic variables, also those of its tests, and returns
// the name of that flag's file.
func Overlay(dir, scratch string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for _, name := range names {
		source, changed, err := instrument(name)
		if err != nil {
			return "", err
		}
		if changed {
			replace[name] = filepath.Join(scratch, filepath.Base(name))
			if err := os.WriteFile(replace[name], source, 0o600); err != nil {
				return "", err
			}
		}
	}
	if len(replace) == 0 {
		return "", fmt.Errorf("schedule: no file in %s imports sync or sync/atomic", dir)
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(scratch, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// instrument returns the source of a file with the packages replaced, and whether it
// imports any.
func instrument(name string) (source []byte, changed bool, err error) {
	source, err = os.ReadFile(name)
	if err != nil {
		return nil, false, err
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, source, parser.ImportsOnly)
	if err != nil {
		return nil, false, err
	}
	for i := len(f.Imports) - 1; i >= 0; i-- { // from the last, so that positions stay right
		path := f.Imports[i].Path
		old, err := strconv.Unquote(path.Value)
		if err != nil {
			return nil, false, err
		}
		to, ok := replaced[old]
		if !ok {
			continue
		}
		begin := files.Position(path.Pos()).Offset
		rest := source[begin+len(path.Value):]
		source = append(source[:begin:begin], append([]byte(strconv.Quote(to)), rest...)...)
		changed = true
	}
	return source, changed, nil
}
