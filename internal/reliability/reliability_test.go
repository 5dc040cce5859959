package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/ledger"
)

// TestDispatch proves that arguments that mean nothing do nothing.
func TestDispatch(t *testing.T) {
	for _, args := range [][]string{nil, {"pray"}, {"report", "-loudly"}, {"report", "loudly"}} {
		if err := dispatch(t.Context(), args); err != errUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestGeneratedLines reads what a run says that goes on, and one that fails.
func TestGeneratedLines(t *testing.T) {
	var g generated
	for _, line := range []string{
		"=== RUN   TestGeneratedStreams",
		"    generator_test.go:50: generated 1000074 frames in 7841 streams of seed 11",
		"    generator_test.go:50: generated 1200000 frames in 9000 streams of seed 11",
		"    generator_test.go:53: failed at -generate.seed=11 -generate.stream=8999",
		"--- FAIL: TestGeneratedStreams (5.04s)",
	} {
		g.see(line)
	}
	if want := (generated{frames: 1_200_000, failures: 1}); g != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
}

// TestFuzzedLines reads what the fuzzing engine says.
func TestFuzzedLines(t *testing.T) {
	const progress = "fuzz: elapsed: 6s, execs: 39841 (6640/sec), new interesting: 3 (total: 61)"
	for _, c := range []struct {
		line string
		want fuzzed
	}{
		{"PASS", fuzzed{execs: 39841}},
		{"    Failing input written to testdata/fuzz/FuzzMask/0123", fuzzed{execs: 39841, crash: true}},
		{"failure while testing seed corpus entry: FuzzMask/seed#0", fuzzed{execs: 39841, crash: true}},
		{"    context deadline exceeded", fuzzed{execs: 39841, late: true}},
	} {
		var f fuzzed
		f.see(strings.Replace(progress, "39841", "17", 1))
		f.see(progress)
		f.see(c.line)
		if f.execs != c.want.execs || f.crash != c.want.crash || f.late != c.want.late || !slices.Equal(f.lines, []string{c.line}) {
			t.Errorf("%q: got %+v", c.line, f)
		}
	}
}

// TestRepeated proves that a seed counts only once for a library.
func TestRepeated(t *testing.T) {
	runs := []ledger.Run{{Kind: "frames", Seed: "7", Library: "a"}, {Kind: "soak", Seed: "8", Library: "a"}}
	if !isRepeated(runs, 7, "a") || isRepeated(runs, 7, "b") || isRepeated(runs, 8, "a") {
		t.Error("a seed is taken for another")
	}
}

// TestWriteReport proves that the tables have each kind and target, and what is
// said of the library as it is.
func TestWriteReport(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	runs := []ledger.Run{
		{Time: at, Kind: "frames", Target: "T", Amount: 1_000_000, Failures: 0, Seed: "7", Library: "now"},
		{Time: at, Kind: "frames", Target: "T", Amount: 2_000_000, Failures: 0, Seed: "8", Library: "before"},
		{Time: at, Kind: "fuzz", Target: "FuzzB", Amount: 999, Failures: 1, Seed: "", Library: "now"},
		{Time: at, Kind: "fuzz", Target: "FuzzA", Amount: 1000, Failures: 0, Seed: "", Library: "before"},
		{Time: at, Kind: "fuzz", Target: "FuzzB", Amount: 1, Failures: 0, Seed: "", Library: "now"},
	}
	var text strings.Builder
	writeReport(&text, runs, requirements{testable: 10, tested: 9}, "now")
	for _, want := range []string{
		"| 9 of 10 | 9 of 10 | 1 | | |\n",
		", in frames | 3,000,000 | 1,000,000 | 0 | 7, 8 | 1.0e-06 |\n",
		", in executions | 2,000 | 1,000 | 1 |  |  |\n",
		"| FuzzA | 1,000 | 0 | 0 |\n| FuzzB | 1,000 | 1,000 | 1 |\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("there is no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "soak") {
		t.Error("there is a row of what was never run")
	}
}

func TestDigits(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := digits(n); got != want {
			t.Errorf("%d: got %s", n, got)
		}
	}
}

// TestRequirements proves that the rows of this module are counted: all have
// tests.
func TestRequirements(t *testing.T) {
	n, err := countRequirements("../..")
	if err != nil || n.testable < 300 || n.tested != n.testable {
		t.Errorf("got %+v, %v", n, err)
	}
}

// TestTargets finds the targets of this module.
func TestTargets(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	targets, err := targetsOf(root, `^internal/proxy\.|^FuzzMask$`)
	if err != nil || !slices.Equal(targets, []target{{".", "FuzzMask"}, {filepath.FromSlash("internal/proxy"), "FuzzConnect"}}) {
		t.Errorf("got %v, %v", targets, err)
	}
	if _, err := targetsOf(root, "FuzzNothing"); err == nil {
		t.Error("no target is no error")
	}
}

func TestAddCovered(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct {
		profile string
		added   bool
	}{
		{"mode: count\na.go:1.1,2.2 3 0\n", false},
		{"mode: count\na.go:1.1,2.2 3 1\n", true},
		{"mode: count\na.go:1.1,2.2 3 1\n", false},
		{"mode: count\na.go:1.1,2.2 3 2\n", true},
		{"mode: count\na.go:1.1,2.2 3 7\n", false},
		{"mode: count\na.go:1.1,2.2 3 8\nb.go:1.1,2.2 3 0\n", true},
		{"mode: count\na.go:1.1,2.2 3 9999\nb.go:1.1,2.2 3 1\n", true},
	} {
		if added, err := addCovered(strings.NewReader(c.profile), seen); added != c.added || err != nil {
			t.Errorf("%q: %v, %v", c.profile, added, err)
		}
	}
}

// TestMinimal keeps, of inputs of a real target, those that add coverage: not the
// same twice, and not one that a shorter input makes useless.
func TestMinimal(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the tests of a package")
	}
	connect := func(name, answer string) input {
		return input{name, []byte("go test fuzz v1\n[]byte(" + answer + ")\nbool(false)\n[]byte(\"\")\n")}
	}
	candidates := []input{
		connect("empty", `""`),
		connect("chunked", `"HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"`),
		connect("again", `"HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"`),
	}
	kept, err := minimal(t.Context(), "../..", target{filepath.FromSlash("internal/proxy"), "FuzzConnect"}, candidates, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range kept {
		if in.name == "again" {
			t.Error("an input that adds nothing is kept")
		}
	}
	if len(kept) == 0 {
		t.Error("no input is kept")
	}
}

// TestCorpus reads inputs, and replaces a corpus.
func TestCorpus(t *testing.T) {
	root := t.TempDir()
	to := target{"p", "FuzzX"}
	if err := replaceCorpus(root, to, []input{{"long", []byte("12345")}, {"b", []byte("2")}, {"a", []byte("1")}, {"copy", []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "p", "testdata", "fuzz", "FuzzX")
	inputs, err := inputsIn(4, dir, filepath.Join(root, "nowhere"))
	if err != nil || len(inputs) != 2 || string(inputs[0].data) != "1" || inputs[1].name != "b" {
		t.Errorf("got %v, %v", inputs, err)
	}
	if err := replaceCorpus(root, to, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("an empty corpus is a directory: %v", err)
	}
}
