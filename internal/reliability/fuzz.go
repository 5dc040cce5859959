package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket/internal/ledger"
)

// A target is a fuzz target.
type target struct {
	dir  string // of its package, as seen from the module's root
	name string
}

// String returns the target as the ledger has it.
func (t target) String() string {
	if t.dir == "." {
		return t.name
	}
	return filepath.ToSlash(t.dir) + "." + t.name
}

// execsLine is what a fuzzing engine says of how far it has come.
var execsLine = regexp.MustCompile(`^fuzz: elapsed: .*execs: (\d+) `)

// generatedRate is how many frames are generated in a second, about. It only
// divides a time.
const generatedRate = 300_000

// fuzz runs all targets, and the generator, for equal parts of a time.
func fuzz(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	budget := flags.Duration("time", 10*time.Minute, "how long in all")
	only := flags.String("run", "", "only targets that this regular expression finds, and not the generator")
	workers := flags.Int("parallel", 1, "how many processes fuzz at once")
	if err := parse(flags, args); err != nil {
		return err
	}
	root, library, err := tried()
	if err != nil {
		return err
	}
	targets, err := targetsOf(root, *only)
	if err != nil {
		return err
	}
	share := *budget / time.Duration(len(targets)+1)
	var failed error
	for _, t := range targets {
		if ctx.Err() != nil {
			break
		}
		failed = errors.Join(failed, fuzzTarget(ctx, root, library, t, share, *workers))
	}
	if *only == "" && ctx.Err() == nil {
		frames := int64(share.Seconds() * generatedRate)
		failed = errors.Join(failed, generateFrames(ctx, root, library, frames, rand.Uint64()>>1))
	}
	return failed
}

// targetsOf returns the targets of the module that only finds.
func targetsOf(root, only string) (targets []target, err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-f", "{{.Dir}}", "./...")
	cmd.Dir = root
	dirs, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	for dir := range strings.Lines(string(dirs)) {
		dir, err := filepath.Rel(root, strings.TrimSpace(dir))
		if err != nil {
			return nil, err
		}
		found, err := targetsIn(root, dir)
		if err != nil {
			return nil, err
		}
		targets = append(targets, found...)
	}
	targets = slices.DeleteFunc(targets, func(t target) bool { return !wanted.MatchString(t.String()) })
	if len(targets) == 0 {
		return nil, fmt.Errorf("no fuzz target is found by %q", only)
	}
	return targets, nil
}

// targetFunc is the beginning of a fuzz target.
var targetFunc = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(\w+ \*testing\.F\)`)

// targetsIn returns the targets of a package. It reads the source, because to build
// the tests of all packages takes minutes.
func targetsIn(root, dir string) (targets []target, err error) {
	tests, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range tests {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, found := range targetFunc.FindAllSubmatch(source, -1) {
			targets = append(targets, target{dir, string(found[1])})
		}
	}
	return targets, nil
}

// fuzzTarget fuzzes a target for a time and adds the run to the ledger.
func fuzzTarget(ctx context.Context, root, library string, t target, share time.Duration, workers int) error {
	var seen fuzzed
	err := goTest(ctx, filepath.Join(root, t.dir), io.Discard, seen.see, "-run=^$", "-fuzz=^"+t.name+"$",
		"-fuzztime="+share.String(), "-parallel="+strconv.Itoa(workers), ".")
	if seen.late && !seen.crash {
		err = nil
	}
	run := ledger.Run{Time: time.Now(), Kind: "fuzz", Target: t.String(), Amount: seen.execs, Library: library}
	if seen.crash || err != nil && seen.execs > 0 {
		run.Failures = 1
	}
	if run.Amount > 0 || run.Failures > 0 {
		if err := ledger.Append(root, run); err != nil {
			return err
		}
		fmt.Println(run)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", t, err, strings.Join(seen.lines, "\n"))
	}
	return nil
}

// fuzzed is what a fuzzing engine has said so far.
type fuzzed struct {
	execs int64
	crash bool     // an input has failed
	late  bool     // the engine has stopped its processes late, which it calls a failure
	lines []string // besides how far it has come
}

// shownLines is how much of what the engine says is shown when it fails.
const shownLines = 200

// see takes a line of the engine's.
func (f *fuzzed) see(line string) {
	if found := execsLine.FindStringSubmatch(line); found != nil {
		f.execs, _ = strconv.ParseInt(found[1], 10, 64)
		return
	}
	f.crash = f.crash || strings.Contains(line, "Failing input written to") || strings.Contains(line, "failure while testing seed corpus entry")
	f.late = f.late || strings.Contains(line, "context deadline exceeded")
	if len(f.lines) < shownLines {
		f.lines = append(f.lines, line)
	}
}
