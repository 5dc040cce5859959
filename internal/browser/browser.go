// Package browser starts a headless Chromium for tests and drives its tabs
// through the DevTools protocol, over a connection of this library.
//
// A Browser and its tabs must be used by one goroutine. Every call is bounded in
// time, and fails the test when it cannot do what it says.
package browser

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Limits on the life of a Browser.
const (
	startTimeout = time.Minute      // until it prints its DevTools address
	callTimeout  = 2 * time.Minute  // one DevTools call, promises included
	exitTimeout  = 15 * time.Second // from the kill until its last process has ended
)

// programs are the names of Chromium's program, in order of preference.
var programs = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// flags keep Chromium headless, off the network and free of dialogs.
var flags = []string{
	"--headless",
	"--disable-gpu",
	"--disable-quic",
	"--disable-dev-shm-usage",
	"--disable-background-networking",
	"--disable-breakpad",
	"--disable-component-update",
	"--disable-default-apps",
	"--disable-extensions",
	"--disable-sync",
	"--no-default-browser-check",
	"--no-first-run",
	"--remote-debugging-port=0",
}

// A Browser is a running Chromium with its own profile.
type Browser struct {
	t   testing.TB
	dev *devTools
}

// Start returns a Browser that ends, with all its processes, when the test
// does. It skips the test if there is no Chromium on the PATH.
func Start(t testing.TB, extra ...string) *Browser {
	t.Helper()
	args := append([]string{"--user-data-dir=" + t.TempDir()}, flags...)
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // the sandbox does not run as root
	}
	cmd := exec.Command(program(t), append(args, extra...)...)
	ownGroup(cmd)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := listen(stderr)
	t.Cleanup(func() { end(t, cmd, out) })
	return &Browser{t: t, dev: dialDevTools(t, out.address(t))}
}

// program returns the path of Chromium, or skips the test.
func program(t testing.TB) string {
	t.Helper()
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("no browser: none of %s is on the PATH", strings.Join(programs, ", "))
	return ""
}

// An output collects what a Browser writes to its standard error.
type output struct {
	found chan string     // the DevTools address, once
	ended chan struct{}   // closed when the last process that could write has ended
	text  strings.Builder // everything written; read it only after ended
}

// listen reads r to its end, in the background.
func listen(r io.Reader) *output {
	o := &output{found: make(chan string, 1), ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			o.text.WriteString(lines.Text() + "\n")
			if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
				o.found <- url
			}
		}
	}()
	return o
}

// address waits for the DevTools address.
func (o *output) address(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	select {
	case url := <-o.found:
		return url
	case <-o.ended:
		t.Fatalf("the browser ended at its start:\n%s", &o.text)
	case <-ctx.Done():
		t.Fatal("the browser did not tell its DevTools address in time")
	}
	return ""
}

// end kills cmd and every process it started, and waits until all are gone.
func end(t testing.TB, cmd *exec.Cmd, out *output) {
	killGroup(cmd)
	select {
	case <-out.ended:
	case <-time.After(exitTimeout):
		t.Error("a process of the browser outlives it")
	}
	cmd.Wait() // the exit status of a killed process is always an error
}
