package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// ErrChanged tells that the library is not what was committed, so that nobody
// could repeat what is tried with it.
var ErrChanged = errors.New("ledger: the source of the library has changes that are not committed")

// hashDigits is how many hexadecimal digits of a hash the ledger has.
const hashDigits = 12

// Library returns the hash of the library that is committed at revision, "HEAD"
// for example, in the module at root: SHA-256 of the lines of git ls-tree for the
// files, other than tests, of the package at root and of those of the module that
// it needs.
func Library(root, revision string) (string, error) {
	dirs, err := libraryDirs(root)
	if err != nil {
		return "", err
	}
	tree, err := output(root, "git", "ls-tree", "-r", revision)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for line := range strings.Lines(tree) {
		_, name, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if isSource(name) && slices.Contains(dirs, path.Dir(name)) {
			hash.Write([]byte(line))
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:hashDigits], nil
}

// CommittedLibrary is Library of HEAD. It returns ErrChanged if the files differ
// from it.
func CommittedLibrary(root string) (string, error) {
	dirs, err := libraryDirs(root)
	if err != nil {
		return "", err
	}
	status, err := output(root, "git", "status", "--porcelain", "--untracked-files=all", "--no-renames")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(status) {
		name := strings.TrimSpace(line[3:])
		if isSource(name) && slices.Contains(dirs, path.Dir(name)) {
			return "", fmt.Errorf("%w: %s", ErrChanged, name)
		}
	}
	return Library(root, "HEAD")
}

// isSource reports whether a file can be a part of the library.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".s") || strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// libraryDirs returns the directories of the library, as seen from root.
func libraryDirs(root string) (dirs []string, err error) {
	module, err := output(root, "go", "list", "-m")
	if err != nil {
		return nil, err
	}
	module, _, _ = strings.Cut(module, "\n") // the others are those of a workspace
	packages, err := output(root, "go", "list", "-deps", ".")
	if err != nil {
		return nil, err
	}
	for name := range strings.FieldsSeq(packages) {
		if name == module {
			dirs = append(dirs, ".")
		} else if dir, ok := strings.CutPrefix(name, module+"/"); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// output returns what a command prints.
func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
