// Package ledger keeps what the runs that look for faults have done, over all
// time: how much was tried, with which seed, and how often it failed.
//
// Its file is text, with one line for a run and columns separated by tabs:
//
//	time                  kind    target                amount    failures  seed  library
//	2026-01-31T23:59:00Z  frames  TestGeneratedStreams  50000000  0         7     0123456789ab
//
// A line counts what was executed, so that a run which was interrupted, or has
// failed, has one too. Lines are only appended, in any order, and the file can be
// merged by taking the lines of both sides.
//
// The library is the hash of the source that was tried, not of a commit, and so
// stays the same when commits are moved: see [Library].
package ledger

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// File is the ledger, as seen from the root of the module.
const File = "internal/ledger/ledger.txt"

// A Kind is what runs of one kind count.
type Kind struct {
	Name string // in the ledger
	Unit string // of the amount
	What string // it was that was tried
}

// Kinds are all kinds of runs.
var Kinds = []Kind{
	{"fuzz", "executions", "inputs that a fuzzing engine has found by coverage"},
	{"frames", "frames", "generated streams, each compared with a reference model"},
	{"interleavings", "interleavings", "orders in which what uses one connection takes turns"},
	{"mutants", "mutants", "changes of the library that a test must notice"},
	{"soak", "messages", "messages between two ends over long times and faults"},
	{"interop", "cells", "other implementations, roles and settings"},
	{"amplification", "inputs", "inputs chosen for what they cost who receives them"},
}

// A Run is a line of the ledger.
type Run struct {
	Time     time.Time
	Kind     string // one of Kinds
	Target   string
	Amount   int64  // what was executed, in the unit of the kind
	Failures int64  // how often that has failed
	Seed     string // of the generator; "" if it has none
	Library  string // the hash of what was tried
}

// String returns the line, without its end.
func (r Run) String() string {
	seed := r.Seed
	if seed == "" {
		seed = "-"
	}
	return strings.Join([]string{
		r.Time.UTC().Format(time.RFC3339), r.Kind, r.Target,
		strconv.FormatInt(r.Amount, 10), strconv.FormatInt(r.Failures, 10), seed, r.Library,
	}, "\t")
}

// check returns what is wrong with r.
func (r Run) check() error {
	known := slices.ContainsFunc(Kinds, func(k Kind) bool { return k.Name == r.Kind })
	switch {
	case r.Time.IsZero():
		return fmt.Errorf("ledger: a run without a time")
	case !known:
		return fmt.Errorf("ledger: unknown kind %q", r.Kind)
	case r.Amount < 0 || r.Failures < 0:
		return fmt.Errorf("ledger: %d of which %d have failed", r.Amount, r.Failures)
	case r.Target == "" || r.Library == "":
		return fmt.Errorf("ledger: a run without a target or library")
	case strings.ContainsFunc(r.Target+r.Seed+r.Library, func(c rune) bool { return c <= ' ' }):
		return fmt.Errorf("ledger: space in %q", r)
	}
	return nil
}

// parseRun returns the run of a line.
func parseRun(line string) (r Run, err error) {
	column := strings.Split(line, "\t")
	if len(column) != 7 {
		return r, fmt.Errorf("ledger: %d columns in %q", len(column), line)
	}
	r = Run{Kind: column[1], Target: column[2], Seed: column[5], Library: column[6]}
	if r.Seed == "-" {
		r.Seed = ""
	}
	if r.Time, err = time.Parse(time.RFC3339, column[0]); err != nil {
		return r, fmt.Errorf("ledger: %w", err)
	}
	if r.Amount, err = strconv.ParseInt(column[3], 10, 64); err != nil {
		return r, fmt.Errorf("ledger: %w", err)
	}
	if r.Failures, err = strconv.ParseInt(column[4], 10, 64); err != nil {
		return r, fmt.Errorf("ledger: %w", err)
	}
	return r, r.check()
}

// Parse returns the runs of a ledger. Empty lines, and those that begin with #,
// are none.
func Parse(from io.Reader) (runs []Run, err error) {
	lines := bufio.NewScanner(from)
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := parseRun(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		runs = append(runs, r)
	}
	return runs, lines.Err()
}

// Read returns the runs of the ledger of the module at root.
func Read(root string) ([]Run, error) {
	file, err := os.Open(filepath.Join(root, File))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return Parse(file)
}

// Append appends runs to the ledger of the module at root, all or none. Several
// processes may do so at once.
func Append(root string, runs ...Run) error {
	var lines strings.Builder
	for _, r := range runs {
		if err := r.check(); err != nil {
			return err
		}
		lines.WriteString(r.String() + "\n")
	}
	file, err := os.OpenFile(filepath.Join(root, File), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(lines.String())
	if failed := file.Close(); err == nil {
		err = failed
	}
	return err
}

// A Sum is what several runs have done together.
type Sum struct {
	Runs     int
	Amount   int64
	Failures int64
	Last     Run // the latest of them
}

// add counts r in.
func (s *Sum) add(r Run) {
	s.Runs++
	s.Amount += r.Amount
	s.Failures += r.Failures
	if !r.Time.Before(s.Last.Time) {
		s.Last = r
	}
}

// SumOf returns the sum of the runs of which which reports true.
func SumOf(runs []Run, which func(Run) bool) (s Sum) {
	for _, r := range runs {
		if which(r) {
			s.add(r)
		}
	}
	return s
}

// Bound returns the rate of failures that the amount speaks against with a
// confidence of 95 %, if nothing has failed: 3 divided by the amount. Else it is
// 1, as is that of nothing.
func (s Sum) Bound() float64 {
	if s.Failures > 0 || s.Amount < 3 {
		return 1
	}
	return 3 / float64(s.Amount)
}
