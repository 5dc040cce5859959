//go:build linux

// Compare measures WebSocket libraries next to each other and to a plain TCP
// server. It prints results as it goes and writes RESULTS.md with charts.
//
//	go run ./compare                               # everything, about an hour
//	go run ./compare -quick                        # rough figures
//	go run ./compare -rows '^128 B' -peers gobwas,ours,floor
//	go run ./compare -rows 'idle TLS' -profile /tmp
//	go run ./compare -rows '^(128 B|1 KiB) × |idle|quiet' -peers nbio,ours,parked,floor
//
// If WEBSOCKET_BENCH_UWS names the echo server of the directory uws, uWebSockets
// is measured, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket/bench/measure"
	"github.com/fullduplex-go/websocket/bench/peer"
)

func main() {
	measure.Main()
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A choice holds what the flags select.
type choice struct {
	rows  []measure.Row
	peers []peer.Peer
	plan  measure.Plan
	// results is the file to write, or empty.
	results string
}

// run measures what the arguments select.
func run(args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	lines, err := measure.Compare(ctx, c.rows, c.peers, c.plan, tell)
	if err != nil {
		return err
	}
	report := &report{machine: thisMachine(), choice: c, lines: lines}
	report.writeTables(os.Stdout)
	if c.results == "" {
		return nil
	}
	return report.save(c.results)
}

// tell prints one result as soon as it is measured.
func tell(row measure.Row, p peer.Peer, r measure.Result) {
	note := ""
	if r.LoadBound() {
		note = "  (the load was the bottleneck)"
	}
	fmt.Fprintf(os.Stderr, "%-34s %-8s %10.2f %s%s\n", row.Name, p.Name(), r.Cost(), row.Unit(), note)
}

// parse reads the flags.
func parse(args []string) (choice, error) {
	var (
		flags    = flag.NewFlagSet("compare", flag.ContinueOnError)
		rows     = flags.String("rows", "", "measure the rows whose name matches this `regexp`")
		peers    = flags.String("peers", "", "measure the peers in this comma-separated `list`")
		rounds   = flags.Int("rounds", 5, "measure everything this many `times` and take medians")
		warm     = flags.Duration("warm", 300*time.Millisecond, "warm each run up for this `duration` before measuring")
		measured = flags.Duration("measured", time.Second, "measure each run for this `duration`")
		quick    = flags.Bool("quick", false, "one short round")
		profile  = flags.String("profile", "", "write CPU profiles of the subjects to this `directory`")
		results  = flags.String("o", "", "write the results to this `file`, and charts next to it (default RESULTS.md if everything is measured)")
	)
	if err := flags.Parse(args); err != nil {
		return choice{}, err
	}
	c := choice{plan: measure.Plan{Rounds: *rounds, Warm: *warm, Measured: *measured}, results: *results}
	if *quick {
		c.plan.Rounds, c.plan.Warm, c.plan.Measured = 1, 100*time.Millisecond, 300*time.Millisecond
	}
	if *profile != "" {
		c.plan.Profile = func(r measure.Row, p peer.Peer) string { return profileName(*profile, r, p) }
	}
	if c.results == "" && *rows == "" && *peers == "" && !*quick {
		c.results = "RESULTS.md"
	}
	var err error
	if c.rows, err = rowsLike(*rows); err != nil {
		return c, err
	}
	if *quick {
		shorten(c.rows)
	}
	c.peers, err = peersNamed(*peers)
	return c, err
}

// shorten lets no row take longer than the plan.
func shorten(rows []measure.Row) {
	for i := range rows {
		rows[i].Lasts = 0
	}
}

// rowsLike returns the rows whose name matches the expression.
func rowsLike(expression string) ([]measure.Row, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	var chosen []measure.Row
	for _, row := range measure.Rows {
		if re.MatchString(row.Name) {
			chosen = append(chosen, row)
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("no row matches %q", expression)
	}
	return chosen, nil
}

// peersNamed returns the peers in the list, or all if it is empty.
func peersNamed(list string) ([]peer.Peer, error) {
	if list == "" {
		return peer.WithExternal(), nil
	}
	var chosen []peer.Peer
	for _, name := range strings.Split(list, ",") {
		p, err := peer.Named(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

// profileName returns the file for the profile of p in the row.
func profileName(dir string, row measure.Row, p peer.Peer) string {
	name := strings.NewReplacer(" ", "_", "/", "_", ",", "", "×", "x").Replace(row.Name)
	return filepath.Join(dir, name+"_"+p.Name()+".prof")
}
