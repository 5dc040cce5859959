// Reliability runs what takes longer than go test should, and prints what that has
// proved so far.
//
//	go run ./internal/reliability schedules -n 100000
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/fullduplex-go/websocket/internal/schedule"
)

// commands are what the program can do.
var commands = []struct {
	name, does string
	run        func(args []string) error
}{
	{"schedules", "interleavings of what uses one connection, enumerated, at every mutex and atomic variable", schedules},
}

func main() {
	if len(os.Args) > 1 {
		for _, c := range commands {
			if c.name != os.Args[1] {
				continue
			}
			if err := c.run(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: go run ./internal/reliability COMMAND [flags]")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-12s%s\n", c.name, c.does)
	}
	os.Exit(2)
}

// schedules runs TestSchedules with points at every mutex and atomic variable.
func schedules(args []string) error {
	flags := flag.NewFlagSet("schedules", flag.ExitOnError)
	n := flags.Int("n", 2000, "how many interleavings")
	one := flags.Int("one", -1, "the number of the only one to run, with what happens in it")
	flags.Parse(args)
	return schedule.Test(".", os.Stdout, "-count=1", "-v", "-timeout", "2h", "-run", "^TestSchedules$",
		"-schedules", strconv.Itoa(*n), "-schedule", strconv.Itoa(*one))
}
