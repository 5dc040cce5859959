package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// requirements counts the rows of testdata/requirements.tsv.
type requirements struct {
	testable int // rows that say no reason why no test can prove them, and lie in sections whose rows need one
	tested   int // of these
}

// countRequirements counts those of the module at root. Whether they are as they
// should be is for TestRequirements to say.
func countRequirements(root string) (n requirements, err error) {
	table, err := os.ReadFile(filepath.Join(root, "testdata", "requirements.tsv"))
	if err != nil {
		return n, err
	}
	covered, err := coveredIDs(root)
	if err != nil {
		return n, err
	}
	for line := range strings.Lines(string(table)) {
		column := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(column) != 3 || !needsTest(column[0]) {
			continue
		}
		n.testable++
		if covered[column[0]] {
			n.tested++
		}
	}
	return n, nil
}

// needsTest reports whether a row with this ID needs a test: those of a section,
// and of hostile input.
func needsTest(id string) bool {
	return strings.HasPrefix(id, "Q.") || len(id) == 3 && strings.Contains("UCSFKGOXRTENZVPH", id[:1])
}

// coveredIDs returns the IDs that tests and conversations carry.
func coveredIDs(root string) (ids map[string]bool, err error) {
	ids = map[string]bool{}
	return ids, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			return coveredByTests(path, ids)
		case strings.HasSuffix(path, ".txt") && strings.Contains(filepath.ToSlash(path), "testdata/wire/"):
			return coveredByConversations(path, ids)
		}
		return nil
	})
}

// coveredByTests adds the arguments of the calls of covers in a Go file.
func coveredByTests(path string, ids map[string]bool) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "covers" {
			return true
		}
		for _, argument := range call.Args {
			if literal, ok := argument.(*ast.BasicLit); ok {
				id, _ := strconv.Unquote(literal.Value)
				ids[id] = true
			}
		}
		return true
	})
	return nil
}

// coveredByConversations adds the IDs of the covers lines of a file.
func coveredByConversations(path string, ids map[string]bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if listed, ok := strings.CutPrefix(line, "covers "); ok {
			for id := range strings.FieldsSeq(listed) {
				ids[id] = true
			}
		}
	}
	return nil
}
