package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// corpus replaces the inputs in testdata/fuzz of each target by those, of them and
// of what the fuzzing engine has found, that add coverage.
func corpus(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("corpus", flag.ContinueOnError)
	only := flags.String("run", "", "only targets that this regular expression finds")
	most := flags.Int("most", 100, "how many inputs a target may have")
	largest := flags.Int64("largest", 4096, "how many bytes an input's file may have")
	more := flags.String("more", "", "a directory with further inputs, in one directory for each target")
	if err := parse(flags, args); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	targets, err := targetsOf(root, *only)
	if err != nil {
		return err
	}
	cache, err := fuzzCache(root)
	if err != nil {
		return err
	}
	for _, t := range targets {
		candidates, err := inputsIn(*largest, filepath.Join(root, t.dir, "testdata", "fuzz", t.name),
			filepath.Join(cache, filepath.FromSlash(t.dir), t.name), filepath.Join(*more, t.name))
		if err != nil {
			return err
		}
		kept, err := minimal(ctx, root, t, candidates, *most)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if err := replaceCorpus(root, t, kept); err != nil {
			return err
		}
		fmt.Printf("%s: %d of %d inputs\n", t, len(kept), len(candidates))
	}
	return nil
}

// fuzzCache returns where the fuzzing engine keeps what it finds in the module.
func fuzzCache(root string) (string, error) {
	cmd := exec.Command("go", "env", "GOCACHE")
	cache, err := cmd.Output()
	if err != nil {
		return "", err
	}
	cmd = exec.Command("go", "list", "-m")
	cmd.Dir = root
	module, err := cmd.Output()
	if err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(string(module), "\n")
	return filepath.Join(strings.TrimSpace(string(cache)), "fuzz", filepath.FromSlash(name)), nil
}

// An input is a file of a corpus.
type input struct {
	name string
	data []byte
}

// inputsIn returns the inputs of up to largest bytes in the directories, each
// once: the shortest first. A directory that does not exist has none.
func inputsIn(largest int64, dirs ...string) (inputs []input, err error) {
	for _, dir := range dirs {
		files, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for _, file := range files {
			data, err := os.ReadFile(filepath.Join(dir, file.Name()))
			if err != nil {
				return nil, err
			}
			if int64(len(data)) <= largest {
				inputs = append(inputs, input{file.Name(), data})
			}
		}
	}
	slices.SortFunc(inputs, func(a, b input) int {
		return cmp.Or(cmp.Compare(len(a.data), len(b.data)), bytes.Compare(a.data, b.data))
	})
	return slices.CompactFunc(inputs, func(a, b input) bool { return bytes.Equal(a.data, b.data) }), nil
}

// minimal returns the candidates that add to what the inputs in the target's
// source and the candidates before cover, and no more than most.
func minimal(ctx context.Context, root string, t target, candidates []input, most int) (kept []input, err error) {
	if len(candidates) == 0 {
		return nil, nil
	}
	m, err := newMeter(ctx, root, t)
	if err != nil {
		return nil, err
	}
	defer m.close()
	seen := map[string]bool{}
	if _, err := m.adds(ctx, "seed#", seen); err != nil {
		return nil, err
	}
	for _, candidate := range candidates {
		if len(kept) == most {
			break
		}
		if err := m.place(candidate); err != nil {
			return nil, err
		}
		adds, err := m.adds(ctx, candidate.name+"$", seen)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", candidate.name, err)
		}
		if adds {
			kept = append(kept, candidate)
		}
	}
	return kept, nil
}

// A meter measures what inputs of one target cover.
type meter struct {
	dir     string // that is like the package's, with a corpus of its own
	binary  string
	profile string
	target  target
}

// newMeter builds the tests of the target's package.
func newMeter(ctx context.Context, root string, t target) (m *meter, err error) {
	m = &meter{target: t}
	if m.dir, err = os.MkdirTemp("", "corpus"); err != nil {
		return nil, err
	}
	m.binary, m.profile = filepath.Join(m.dir, "tests"), filepath.Join(m.dir, "profile")
	source := filepath.Join(root, t.dir)
	err = goTest(ctx, source, os.Stderr, func(string) {}, "-c", "-covermode=count", "-coverpkg=./...", "-o", m.binary, ".")
	if err == nil {
		err = m.link(source)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// link makes the files that tests may read visible in m.dir, except the corpora.
func (m *meter) link(source string) error {
	if err := os.MkdirAll(filepath.Join(m.dir, "testdata", "fuzz", m.target.name), 0o777); err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Join(source, "testdata"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, file := range files {
		if file.Name() == "fuzz" {
			continue
		}
		if err := os.Symlink(filepath.Join(source, "testdata", file.Name()), filepath.Join(m.dir, "testdata", file.Name())); err != nil {
			return err
		}
	}
	return nil
}

// close removes what newMeter has made.
func (m *meter) close() { os.RemoveAll(m.dir) }

// place puts an input where the target finds it.
func (m *meter) place(in input) error {
	return os.WriteFile(filepath.Join(m.dir, "testdata", "fuzz", m.target.name, in.name), in.data, 0o666)
}

// adds runs the target with the inputs that pattern finds, adds what they cover
// to seen, and reports whether that was anything new.
func (m *meter) adds(ctx context.Context, pattern string, seen map[string]bool) (added bool, err error) {
	cmd := exec.CommandContext(ctx, m.binary, "-test.run=^"+m.target.name+"$/^"+pattern, "-test.coverprofile="+m.profile)
	cmd.Dir = m.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return false, fmt.Errorf("%w\n%s", err, out)
	}
	profile, err := os.Open(m.profile)
	if err != nil {
		return false, err
	}
	defer profile.Close()
	return addCovered(profile, seen)
}

// addCovered adds the blocks of a profile, each with the magnitude of its count,
// to seen, and reports whether one was new.
func addCovered(profile io.Reader, seen map[string]bool) (added bool, err error) {
	lines := bufio.NewScanner(profile)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "mode:") {
			continue
		}
		count, err := strconv.Atoi(lines.Text()[at+1:])
		if err != nil {
			return false, err
		}
		for _, least := range []int{1, 2, 8} {
			key := lines.Text()[:at] + " " + strconv.Itoa(least)
			if count >= least && !seen[key] {
				seen[key], added = true, true
			}
		}
	}
	return added, lines.Err()
}

// replaceCorpus makes inputs the corpus of a target.
func replaceCorpus(root string, t target, inputs []input) error {
	dir := filepath.Join(root, t.dir, "testdata", "fuzz", t.name)
	if err := os.RemoveAll(dir); err != nil || len(inputs) == 0 {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, in := range inputs {
		if err := os.WriteFile(filepath.Join(dir, in.name), in.data, 0o666); err != nil {
			return err
		}
	}
	return nil
}
