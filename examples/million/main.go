// Command million shows what very many silent connections take: it starts an
// echo server, and clients that connect to it, in processes of their own, and
// prints the server's memory, its goroutines and its CPU time, and what a
// million connections would take.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	if play(os.Args[1:]) {
		return
	}
	var s settings
	flag.IntVar(&s.conns, "conns", min(18000, connsPerProcess()), "open this `number` of connections")
	flag.IntVar(&s.clients, "clients", 0, "connect from this `number` of processes (default as few as may hold them)")
	flag.DurationVar(&s.duration, "duration", 65*time.Second, "let the connections be silent for this `time`, in which the server sends each a Ping every 30 s")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(1)
	}
}

// play plays the part of this process that its arguments name, if they do: that
// of the server or of a client. Its parent asks it on standard input.
func play(args []string) bool {
	var err error
	switch {
	case len(args) == 1 && args[0] == "server":
		err = playServer(os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "client":
		err = playClient(args[1], args[2], os.Stdin, os.Stdout)
	default:
		return false
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "million %s: %v\n", args[0], err)
		os.Exit(1)
	}
	return true
}

// settings are what the flags say.
type settings struct {
	conns, clients int
	duration       time.Duration
}

// spare is how many of its descriptors a process keeps for other things than
// connections.
const spare = 100

// fewest is the smallest number of connections of which steps differ.
const fewest = 18

// connsPerProcess returns how many connections one process may hold.
func connsPerProcess() int { return max(descriptors()-spare, 1) }

// check returns the settings with a number of clients, if the limits of this
// system allow them.
func (s settings) check() (settings, error) {
	most := connsPerProcess()
	if s.clients == 0 {
		s.clients = max((s.conns+most-1)/most, 1)
	}
	switch {
	case s.conns < fewest || s.clients < 1:
		return s, fmt.Errorf("%d connections from %d processes are too few", s.conns, s.clients)
	case s.conns > most || s.share(s.conns) > most:
		return s, fmt.Errorf("a process may hold %d connections here: raise RLIMIT_NOFILE, or take fewer connections or more clients", most)
	}
	return s, nil
}

// share returns how many of n connections a client opens, at most.
func (s settings) share(n int) int { return (n + s.clients - 1) / s.clients }

// steps returns the numbers of connections at which the server is weighed:
// 5,000, 10,000 and 18,000, or as much of s.conns.
func (s settings) steps() []int {
	return []int{s.conns * 5 / 18, s.conns * 10 / 18, s.conns}
}

// run measures what s says and prints it.
func run(ctx context.Context, s settings, out io.Writer) error {
	s, err := s.check()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Connections: %d; client processes: %d; then silence for %v.\n\n", s.conns, s.clients, s.duration)
	r, err := measure(ctx, s)
	if err != nil {
		return err
	}
	r.print(out)
	return nil
}
