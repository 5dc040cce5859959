package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/fullduplex-go/websocket/internal/ledger"
)

// stopping is how long an interrupted go test may take to end.
const stopping = 20 * time.Second

// goTest runs go test in dir, gives each line that it prints to see, and copies
// it to shown. When ctx ends, go test is interrupted, which is no error; what else
// it ends with is.
func goTest(ctx context.Context, dir string, shown io.Writer, see func(line string), args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOGC=400")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopping
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		in.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		see(lines.Text())
		fmt.Fprintln(shown, lines.Text())
	}
	io.Copy(io.Discard, out) // behind a line that is too long
	err := <-ended
	if ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// tried returns the root of the module and the hash of the library that is tried,
// which must be committed.
func tried() (root, library string, err error) {
	if root, err = moduleRoot(); err != nil {
		return "", "", err
	}
	library, err = ledger.CommittedLibrary(root)
	return root, library, err
}
