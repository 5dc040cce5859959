package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/fullduplex-go/websocket/internal/ledger"
)

// generatorTest is the test that compares generated frames with the model.
const generatorTest = "TestGeneratedStreams"

// generatedLine is what that test says of how far it has come.
var generatedLine = regexp.MustCompile(`generated (\d+) frames in (\d+) streams of seed (\d+)`)

// failedLine is what it says of the stream that has failed.
var failedLine = regexp.MustCompile(`failed at -generate\.seed=\d+ -generate\.stream=\d+`)

// generate compares generated frames with the model.
func generate(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	frames := flags.Int64("frames", 10_000_000, "how many frames")
	seed := flags.Uint64("seed", 0, "the seed of the generator; 0: a random one")
	if err := parse(flags, args); err != nil {
		return err
	}
	root, library, err := tried()
	if err != nil {
		return err
	}
	runs, err := ledger.Read(root)
	if err != nil {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64() >> 1
	}
	if isRepeated(runs, *seed, library) {
		return fmt.Errorf("frames of seed %d were generated before, and would tell nothing new", *seed)
	}
	return generateFrames(ctx, root, library, *frames, *seed)
}

// isRepeated reports whether frames of the seed were compared with the library
// before.
func isRepeated(runs []ledger.Run, seed uint64, library string) bool {
	return ledger.SumOf(runs, func(r ledger.Run) bool {
		return r.Kind == "frames" && r.Library == library && r.Seed == strconv.FormatUint(seed, 10)
	}).Runs > 0
}

// generateFrames compares so many frames with the model and adds the run to the
// ledger.
func generateFrames(ctx context.Context, root, library string, frames int64, seed uint64) error {
	counted := generated{}
	err := goTest(ctx, root, os.Stdout, counted.see, ".", "-count=1", "-timeout=0", "-v", "-run=^"+generatorTest+"$",
		fmt.Sprintf("-generate.frames=%d", frames), fmt.Sprintf("-generate.seed=%d", seed))
	if counted.frames > 0 || counted.failures > 0 {
		run := ledger.Run{
			Time: time.Now(), Kind: "frames", Target: generatorTest,
			Amount: counted.frames, Failures: counted.failures, Seed: strconv.FormatUint(seed, 10), Library: library,
		}
		if err := ledger.Append(root, run); err != nil {
			return err
		}
		io.WriteString(os.Stdout, run.String()+"\n")
	}
	return err
}

// generated is what generatorTest has said so far.
type generated struct{ frames, failures int64 }

// see takes a line of the test's.
func (g *generated) see(line string) {
	if found := generatedLine.FindStringSubmatch(line); found != nil {
		g.frames, _ = strconv.ParseInt(found[1], 10, 64)
	}
	if failedLine.MatchString(line) {
		g.failures++
	}
}
