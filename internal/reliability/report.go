package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket/internal/ledger"
)

// shownSeeds is how many seeds a row shows. All are in the ledger.
const shownSeeds = 3

// report prints what was tried.
func report(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	if err := parse(flags, args); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	runs, err := ledger.Read(root)
	if err != nil {
		return err
	}
	rows, err := countRequirements(root)
	if err != nil {
		return err
	}
	library, err := ledger.Library(root, "HEAD")
	if err != nil {
		return err
	}
	fmt.Printf("Commit %s, library %s.\n\n", commitOf(root), library)
	writeReport(os.Stdout, runs, rows, library)
	return nil
}

// commitOf returns the name and date of HEAD.
func commitOf(root string) string {
	cmd := exec.Command("git", "log", "-1", "--format=%h of %cs")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// writeReport writes the tables: one row for the requirements and for each kind
// of runs, and one for each target that was fuzzed.
func writeReport(to io.Writer, runs []ledger.Run, rows requirements, library string) {
	fmt.Fprintln(to, "| What was tried | Amount | With this library | Failed | Seeds | Speaks against a rate of failures above |")
	fmt.Fprintln(to, "|---|---|---|---|---|---|")
	fmt.Fprintf(to, "| requirements that need a test, and have one | %d of %d | %[1]d of %[2]d | %d | | |\n", rows.tested, rows.testable, rows.testable-rows.tested)
	for _, k := range ledger.Kinds {
		of := runsOf(runs, func(r ledger.Run) bool { return r.Kind == k.Name })
		if len(of) > 0 {
			writeRow(to, k.What+", in "+k.Unit, of, library)
		}
	}
	fmt.Fprintln(to, "\nThe last column is 3 divided by the amount: that nothing has failed supports a rate below it with a confidence of 95 %, for what is "+
		"distributed as the generator distributes it. What a fuzzing engine executes is chosen by what it has seen before, and has no such rate.")
	fuzzed := runsOf(runs, func(r ledger.Run) bool { return r.Kind == "fuzz" })
	if len(fuzzed) == 0 {
		return
	}
	fmt.Fprintln(to, "\n| Fuzz target | Executions | With this library | Failed |")
	fmt.Fprintln(to, "|---|---|---|---|")
	for _, name := range targetNames(fuzzed) {
		of := runsOf(fuzzed, func(r ledger.Run) bool { return r.Target == name })
		all, now := sums(of, library)
		fmt.Fprintf(to, "| %s | %s | %s | %d |\n", name, digits(all.Amount), digits(now.Amount), all.Failures)
	}
}

// writeRow writes the row of runs of one kind.
func writeRow(to io.Writer, what string, runs []ledger.Run, library string) {
	all, now := sums(runs, library)
	fmt.Fprintf(to, "| %s | %s | %s | %d | %s | %s |\n", what, digits(all.Amount), digits(now.Amount), all.Failures, seedsOf(runs), boundOf(runs, all))
}

// sums returns the sum of the runs, and of those with the library.
func sums(runs []ledger.Run, library string) (all, now ledger.Sum) {
	all = ledger.SumOf(runs, func(ledger.Run) bool { return true })
	return all, ledger.SumOf(runs, func(r ledger.Run) bool { return r.Library == library })
}

// runsOf returns the runs of which which reports true.
func runsOf(runs []ledger.Run, which func(ledger.Run) bool) (of []ledger.Run) {
	for _, r := range runs {
		if which(r) {
			of = append(of, r)
		}
	}
	return of
}

// targetNames returns the targets of the runs, in order.
func targetNames(runs []ledger.Run) (names []string) {
	for _, r := range runs {
		names = append(names, r.Target)
	}
	slices.SortFunc(names, cmp.Compare)
	return slices.Compact(names)
}

// seedsOf returns the seeds of the runs, or how many they are.
func seedsOf(runs []ledger.Run) string {
	var seeds []string
	for _, r := range runs {
		if r.Seed != "" && !slices.Contains(seeds, r.Seed) {
			seeds = append(seeds, r.Seed)
		}
	}
	if len(seeds) > shownSeeds {
		return fmt.Sprintf("%d, in the ledger", len(seeds))
	}
	return strings.Join(seeds, ", ")
}

// boundOf returns the bound of the rate of failures, if the runs have been
// generated from seeds.
func boundOf(runs []ledger.Run, all ledger.Sum) string {
	if seedsOf(runs) == "" || all.Bound() == 1 {
		return ""
	}
	return strconv.FormatFloat(all.Bound(), 'e', 1, 64)
}

// digits returns n with its digits in groups of three.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
