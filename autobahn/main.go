// Command autobahn plays the 517 conversations of the Autobahn|Testsuite: as a
// judge of this library or of any other server or client, and as the echo
// server and client that the suite itself judges. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

const usage = `usage: autobahn <command> [flags]

  server    the library's echo server, to be judged
  client    the library's echo client, to be judged
  judge     plays the conversations with a server (-url) or with clients (-listen)
  report    judges the library in both roles and writes HTML and JSON;
            or shows the index.json files named on the command line side by side
  official  runs the Autobahn|Testsuite itself, with wstest or Docker, and
            compares its reports with expected.json
  compare   compares reports: compare expected.json index.json...

autobahn <command> -h lists the flags.
`

// A usageError says how to call the program.
type usageError string

// Error returns e itself.
func (e usageError) Error() string { return string(e) }

// commands are the subcommands. Each gets its own arguments.
var commands = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"server":   serve,
	"client":   runClient,
	"judge":    runJudge,
	"report":   runReport,
	"official": runOfficial,
	"compare":  runCompare,
}

// main runs the command named on the command line. The exit status is 1 after
// an error, and 0 after a request for help.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// run runs the command that args name.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return usageError(usage)
	}
	return commands[args[0]](ctx, args[1:], out)
}

// parse parses the flags of a command. Only compare and report take arguments.
func parse(flags *flag.FlagSet, args []string, arguments bool) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !arguments && flags.NArg() > 0 {
		return fmt.Errorf("autobahn: %s takes no argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}
