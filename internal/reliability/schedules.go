package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/fullduplex-go/websocket/internal/ledger"
	"github.com/fullduplex-go/websocket/internal/schedule"
)

// schedulesTest is the test that enumerates interleavings.
const schedulesTest = "TestSchedules"

// interleavingsLine is what that test says of how many it has run, at every mutex and
// atomic variable.
var interleavingsLine = regexp.MustCompile(`interleavings: (\d+) different, \d+ scenarios, instrumented: true`)

// schedules runs interleavings under the race detector and adds the run to the ledger,
// or runs one again.
func schedules(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("schedules", flag.ContinueOnError)
	n := flags.Int("n", 2000, "how many interleavings")
	one := flags.Int("one", -1, "the number of the only one to run, with what happens in it")
	if err := parse(flags, args); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "schedule")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	overlay, err := schedule.Overlay(root, scratch)
	if err != nil {
		return err
	}
	tests := []string{".", "-race", "-overlay=" + overlay, "-count=1", "-timeout=0", "-v", "-run=^" + schedulesTest + "$"}
	if *one >= 0 {
		return goTest(ctx, root, os.Stdout, func(string) {}, append(tests, "-schedule="+strconv.Itoa(*one))...)
	}
	library, err := ledger.CommittedLibrary(root)
	if err != nil {
		return err
	}
	return enumerate(ctx, root, library, append(tests, "-schedules="+strconv.Itoa(*n)))
}

// enumerate runs the test with these arguments and adds the run to the ledger.
func enumerate(ctx context.Context, root, library string, args []string) error {
	run := ledger.Run{Kind: "interleavings", Target: schedulesTest, Library: library}
	see := func(line string) {
		if found := interleavingsLine.FindStringSubmatch(line); found != nil {
			run.Amount, _ = strconv.ParseInt(found[1], 10, 64)
		}
	}
	err := goTest(ctx, root, os.Stdout, see, args...)
	if err != nil {
		run.Failures = 1
	}
	if run.Amount == 0 && err == nil {
		return nil // it was interrupted
	}
	run.Time = time.Now()
	if err := ledger.Append(root, run); err != nil {
		return err
	}
	fmt.Println(run)
	return err
}
