// Command reliability looks for faults of the library for as long as it is told
// to, adds what was tried to the ledger, and prints what the ledger has.
//
//	go run ./internal/reliability fuzz -time 10m
//	go run ./internal/reliability generate -frames 50000000
//	go run ./internal/reliability schedules -n 100000
//	go run ./internal/reliability report
//
// A run that is interrupted adds what it has executed, and one that fails adds
// its failures. The library must be committed: see package ledger.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// A command is what this program can be told to do.
type command struct {
	name string
	does string
	run  func(ctx context.Context, args []string) error
}

// commands are all commands.
var commands = []command{
	{"fuzz", "run the fuzz targets and the generator for a time", fuzz},
	{"generate", "compare generated frames with the reference model", generate},
	{"schedules", "let what uses one connection take turns in enumerated orders", schedules},
	{"corpus", "keep the inputs that add coverage in testdata/fuzz", corpus},
	{"report", "print what was tried, as a table in Markdown", report},
}

// errUsage tells that the arguments mean nothing. What is wrong was printed.
var errUsage = errors.New("see usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	switch {
	case err == errUsage:
		os.Exit(2)
	case err != nil && err != flag.ErrHelp:
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
}

// dispatch runs the command that args begin with.
func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return c.run(ctx, args[1:])
			}
		}
	}
	usage(os.Stderr)
	return errUsage
}

// usage prints what there is.
func usage(to io.Writer) {
	fmt.Fprintln(to, "usage: go run ./internal/reliability COMMAND [-help]")
	for _, c := range commands {
		fmt.Fprintf(to, "\t%-10s%s\n", c.name, c.does)
	}
}

// parse parses the arguments of a command, which are flags only.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "reliability: %s takes no arguments, and got %q\n", flags.Name(), flags.Args())
		return errUsage
	}
	return nil
}

// moduleRoot returns the directory of the module.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("this is not the directory of a module")
	}
	return filepath.Dir(file), nil
}
