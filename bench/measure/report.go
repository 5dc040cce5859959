//go:build linux

package measure

import (
	"context"
	"fmt"
	"slices"

	"github.com/fullduplex-go/websocket/bench/peer"
)

// The names of the library of this repository: with a goroutine for each
// connection, and without.
const (
	Ours   = "ours"
	Parked = "parked"
)

// A Line is the results of one row, by the name of the peer.
type Line struct {
	Row     Row
	Results map[string][]Result
}

// Compare measures every peer in every row, round after round, so that temporary
// disturbances of the machine affect all of them. It calls progress with each
// result.
func Compare(ctx context.Context, rows []Row, peers []peer.Peer, plan Plan, progress func(Row, peer.Peer, Result)) ([]Line, error) {
	var lines []Line
	for _, row := range rows {
		line := Line{row, map[string][]Result{}}
		for range row.rounds(plan) {
			for _, p := range peers {
				if !row.Takes(p) {
					continue
				}
				result, err := Run(ctx, row, p, plan)
				if err != nil {
					return lines, fmt.Errorf("%s, %s: %w", row.Name, p.Name(), err)
				}
				progress(row, p, result)
				line.Results[p.Name()] = append(line.Results[p.Name()], result)
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// rounds returns how often the row is measured: once if it takes long.
func (r Row) rounds(plan Plan) int {
	if r.Lasts > plan.Measured {
		return 1
	}
	return plan.Rounds
}

// Median returns the median of the peer's results by cost, the lower one of two.
func (l Line) Median(name string) (Result, bool) {
	all := slices.Clone(l.Results[name])
	if len(all) == 0 {
		return Result{}, false
	}
	slices.SortFunc(all, func(a, b Result) int {
		switch {
		case a.Cost() < b.Cost():
			return -1
		case a.Cost() > b.Cost():
			return 1
		default:
			return 0
		}
	})
	return all[(len(all)-1)/2], true
}

// besides are the peers that are no other library in Go.
var besides = []string{Ours, Parked, "uws", "node", peer.Floor.Name()}

// Best returns the name of the library in Go, other than ours, that has the
// lowest cost and counts for the bar of the row, or "" if there is none.
func (l Line) Best() string {
	best, cost := "", 0.0
	for name := range l.Results {
		counts := l.Row.Against == nil || slices.Contains(l.Row.Against, name)
		if slices.Contains(besides, name) || !counts {
			continue
		}
		if r, ok := l.Median(name); ok && (best == "" || r.Cost() < cost) {
			best, cost = name, r.Cost()
		}
	}
	return best
}

// Ratio returns the cost of ours divided by that of the peer in the same round:
// the median over the rounds.
func (l Line) Ratio(name string) (float64, bool) {
	if name == "" {
		return 0, false
	}
	return Limit{Peer: Ours, Figure: Cost, Of: name}.Value(l)
}

// median returns the median of values, the lower one of two.
func median(values []float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2], true
}

// Misses returns, in words, the limits of the row's bar that ours exceeds.
func (l Line) Misses() []string {
	var missed []string
	above := func(name string, bar float64) {
		if ratio, ok := l.Ratio(name); ok && bar > 0 && ratio > bar {
			missed = append(missed, fmt.Sprintf("%.2f of %s, bar %.3g", ratio, name, bar))
		}
	}
	above(l.Best(), l.Row.Bar.Peer)
	above(peer.Floor.Name(), l.Row.Bar.Floor)
	if ours, ok := l.Median(Ours); ok && l.Row.Bar.Bytes > 0 && ours.Cost() > l.Row.Bar.Bytes {
		missed = append(missed, fmt.Sprintf("%.0f bytes, bar %.0f", ours.Cost(), l.Row.Bar.Bytes))
	}
	return missed
}
