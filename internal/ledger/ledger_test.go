package ledger

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// aRun returns a run of which nothing is wrong.
func aRun() Run {
	return Run{
		Time: time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC), Kind: "frames", Target: "TestGeneratedStreams",
		Amount: 50_000_000, Failures: 1, Seed: "7", Library: "0123456789ab",
	}
}

// newBook returns the root of a module that has an empty ledger.
func newBook(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	file := filepath.Join(root, File)
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# runs\n\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRunString(t *testing.T) {
	if got, want := aRun().String(), "2026-01-31T23:59:00Z\tframes\tTestGeneratedStreams\t50000000\t1\t7\t0123456789ab"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestAppend appends at once from several goroutines, and reads everything again.
func TestAppend(t *testing.T) {
	root := newBook(t)
	seedless := aRun()
	seedless.Seed = ""
	var appending sync.WaitGroup
	for range 20 {
		appending.Go(func() {
			if err := Append(root, aRun(), seedless); err != nil {
				t.Error(err)
			}
		})
	}
	appending.Wait()
	runs, err := Read(root)
	if err != nil || len(runs) != 40 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for pair := range slices.Chunk(runs, 2) {
		if pair[0] != aRun() || pair[1] != seedless {
			t.Errorf("got %v", pair)
		}
	}
}

// TestAppendAllOrNone proves that a run with a fault, which names it, leaves the
// ledger as it was.
func TestAppendAllOrNone(t *testing.T) {
	root := newBook(t)
	for fault, change := range map[string]func(r *Run){
		"without a time":           func(r *Run) { r.Time = time.Time{} },
		"unknown kind":             func(r *Run) { r.Kind = "prayers" },
		"-1 of which":              func(r *Run) { r.Amount = -1 },
		"of which -1":              func(r *Run) { r.Failures = -1 },
		"without a target":         func(r *Run) { r.Target = "" },
		"without a target or libr": func(r *Run) { r.Library = "" },
		"space in":                 func(r *Run) { r.Seed = "1\n2" },
	} {
		r := aRun()
		change(&r)
		if err := Append(root, aRun(), r); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%v, want %q", err, fault)
		}
	}
	if runs, err := Read(root); len(runs) != 0 || err != nil {
		t.Errorf("the ledger has %v, %v", runs, err)
	}
	if err := Append(t.TempDir(), aRun()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("appending to no ledger: %v", err)
	}
	if _, err := Read(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading no ledger: %v", err)
	}
}

func TestParseFaults(t *testing.T) {
	good := aRun().String()
	for _, bad := range []string{
		"x", good + "\tmore",
		strings.Replace(good, "2026", "soon", 1), strings.Replace(good, "frames", "prayers", 1),
		strings.Replace(good, "50000000", "many", 1), strings.Replace(good, "\t1\t", "\t\t", 1),
	} {
		if _, err := Parse(strings.NewReader(good + "\n" + bad + "\n")); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSum(t *testing.T) {
	clean := aRun()
	clean.Failures = 0
	other := aRun()
	other.Kind, other.Time = "fuzz", other.Time.Add(time.Hour)
	runs := []Run{other, clean, clean}
	all := SumOf(runs, func(Run) bool { return true })
	if want := (Sum{Runs: 3, Amount: 150_000_000, Failures: 1, Last: other}); all != want || all.Bound() != 1 {
		t.Errorf("got %+v, bound %v", all, all.Bound())
	}
	frames := SumOf(runs, func(r Run) bool { return r.Kind == "frames" })
	if frames.Runs != 2 || frames.Bound() != 3e-8 {
		t.Errorf("got %+v, bound %v", frames, frames.Bound())
	}
	if none := (Sum{}); none.Bound() != 1 {
		t.Errorf("the bound of nothing is %v", none.Bound())
	}
}

// TestLedger reads the ledger of this module.
func TestLedger(t *testing.T) {
	if _, err := Read("../.."); err != nil {
		t.Error(err)
	}
}

// TestLibrary proves that the hash is that of the committed source, and of
// nothing else.
func TestLibrary(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	t.Setenv("GOWORK", "off")
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		if _, err := output(root, "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	hash := func() string {
		t.Helper()
		h, err := CommittedLibrary(root)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	write("go.mod", "module example.com/m\n\ngo 1.25\n")
	write("m.go", "package m\n\nimport _ \"example.com/m/in\"\n")
	write("in/in.go", "package in\n")
	write("out/out.go", "package out\n")
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	first := hash()
	if len(first) != hashDigits {
		t.Errorf("the hash is %q", first)
	}

	write("in/in.go", "package in // changed\n")
	if _, err := CommittedLibrary(root); !errors.Is(err, ErrChanged) {
		t.Errorf("with a change: %v", err)
	}
	git("commit", "-qam", "two")
	second := hash()
	if second == first {
		t.Error("a change of the source is none of the hash")
	}

	write("in/new.go", "package in\n")
	if _, err := CommittedLibrary(root); !errors.Is(err, ErrChanged) {
		t.Errorf("with a new file: %v", err)
	}
	if err := os.Remove(filepath.Join(root, "in/new.go")); err != nil {
		t.Fatal(err)
	}
	write("in/in_test.go", "package in\n")
	write("out/out.go", "package out // changed\n")
	git("add", ".")
	git("commit", "-qm", "three")
	if hash() != second {
		t.Error("a change elsewhere is one of the hash")
	}
	if earlier, err := Library(root, "HEAD~2"); earlier != first || err != nil {
		t.Errorf("the hash of the first commit is %q, %v, want %q", earlier, err, first)
	}
}
