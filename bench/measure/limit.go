//go:build linux

package measure

import "fmt"

// A Figure is one of the figures of a Result.
type Figure uint8

// The figures that have limits.
const (
	Cost       Figure = iota // CPU time of a message, bytes of a connection, or share of a core
	P50                      // median latency
	P99                      // latency that 99 % do not exceed
	Allocs                   // allocations for each message
	Resident                 // resident bytes of a connection, before any collection
	Goroutines               // of all connections together
)

// String returns the figure's name in the tables.
func (f Figure) String() string {
	return [...]string{"cost", "p50", "p99", "allocations", "resident bytes", "goroutines"}[f]
}

// of returns the figure of r.
func (f Figure) of(r Result) float64 {
	switch f {
	case P50:
		return r.P50.Seconds()
	case P99:
		return r.P99.Seconds()
	case Allocs:
		return r.Allocs
	case Resident:
		return float64(r.Memory.Resident)
	case Goroutines:
		return float64(r.Memory.Goroutines)
	default:
		return r.Cost()
	}
}

// A Limit is what a figure of one peer should not exceed: a number, or a multiple
// of the same figure of another peer in the same round.
type Limit struct {
	Peer   string
	Figure Figure
	Of     string // the other peer, or empty
	Most   float64
}

// String returns the limit in words.
func (l Limit) String() string {
	switch {
	case l.Of != "":
		return fmt.Sprintf("%s: %s at most %.3g of %s", l.Peer, l.Figure, l.Most, l.Of)
	case l.Most > 1:
		return fmt.Sprintf("%s: %s at most %.0f", l.Peer, l.Figure, l.Most)
	default:
		return fmt.Sprintf("%s: %s at most %.3g", l.Peer, l.Figure, l.Most)
	}
}

// Value returns the median over the rounds of what the limit bounds. It returns
// false if a peer of the limit was not measured.
func (l Limit) Value(line Line) (float64, bool) {
	ours, theirs := line.Results[l.Peer], line.Results[l.Of]
	var values []float64
	for i, r := range ours {
		switch {
		case l.Of == "":
			values = append(values, l.Figure.of(r))
		case i < len(theirs) && l.Figure.of(theirs[i]) > 0:
			values = append(values, l.Figure.of(r)/l.Figure.of(theirs[i]))
		}
	}
	return median(values)
}

// The limits of latency, beside a plain TCP server with a goroutine for each
// connection: the slowest answers come nearly as soon as its slowest, and
// neither the others nor the CPU time pay for that.
const (
	slowest = 1.3
	usual   = 1.1
	kept    = 1.05
)

// aloneLimits are those of rows with one message in flight.
func aloneLimits() (limits []Limit) {
	for _, name := range []string{Ours, Parked} {
		limits = append(limits,
			Limit{name, P99, "floor", slowest}, Limit{name, P50, "floor", usual}, Limit{name, Cost, "floor", kept})
	}
	return append(limits, Limit{Parked, Cost, Ours, 1}, Limit{Parked, Cost, "uws", 1.15}, Limit{Parked, Allocs, "", 0.01})
}

// togetherLimits are those of rows with 16 messages in flight.
func togetherLimits() []Limit {
	return []Limit{{Parked, Cost, "floor", 1.2}, {Parked, Allocs, "", 0.01}}
}

// streamLimits are those of rows over HTTP/2, beside a server of the same
// protocol that is not written in Go.
func streamLimits() []Limit {
	return []Limit{{Ours, Cost, "node", 1}, {Parked, Cost, "node", 1}}
}

// parkedLimits are those of the memory of silent connections.
func parkedLimits() []Limit {
	return []Limit{{Parked, Cost, "", 640}, {Parked, Resident, "", 1100}, {Parked, Goroutines, "", 64}, {Parked, Resident, "nbio", 1}}
}
