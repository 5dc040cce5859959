//go:build linux

package measure

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"time"
)

// startProgram starts a server that listens on the port of addr and knows
// nothing of runs, on the core. It is killed when ctx ends.
func startProgram(ctx context.Context, program string, core int, addr string) (*process, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, port)
	cmd.Stderr = os.Stderr
	if err := startPinned(core, cmd.Start); err != nil {
		return nil, err
	}
	return &process{cmd: cmd}, nil
}

// freeAddr returns an address on which nothing listens.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// awaitListener waits until something listens on addr.
func awaitListener(ctx context.Context, addr string) error {
	for end := time.Now().Add(openingLimit); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp4", addr)
		if err == nil {
			return nc.Close()
		}
	}
	return errors.New("measure: the program does not listen")
}
