//go:build linux

// Package measure runs a WebSocket library in one process against a load in
// another, and measures what a message, a handshake or an idle connection costs
// the library.
//
//	orchestrator ── pins, starts, asks ──┬── subject  one library, one core
//	                                     └── load     raw frames and epoll, the other core
//
// The cost is the CPU time that the scheduler counted for the subject's
// process, divided by the number of messages that came back to the load intact.
package measure

import (
	"fmt"
	"slices"
	"time"
)

// A Kind is what the subject of a row does.
type Kind uint8

// The kinds of row.
const (
	Echo       Kind = iota // a server that sends every message back
	EchoClient             // a client that sends every message back
	Broadcast              // a server that sends one message to all connections
	Handshake              // a server that accepts and loses connections
	Idle                   // a server whose connections are silent after one echo
	Quiet                  // the same over time: only its Pings are answered
)

// A Compression says how connections use permessage-deflate.
type Compression uint8

// The ways to use permessage-deflate (RFC 7692, Section 7).
const (
	None       Compression = iota // it is not agreed on
	NoTakeover                    // neither end keeps its context; messages are compressed
	Unused                        // both ends may keep it, but no message was compressed
	Held                          // both ends keep it
)

// deflates reports whether messages are compressed.
func (c Compression) deflates() bool { return c == NoTakeover || c == Held }

// A Bar holds the limits that the library of this repository should meet in a
// row. A zero field is no limit.
type Bar struct {
	Peer  float64 // cost relative to that of the best other library
	Floor float64 // cost relative to that of the floor
	Bytes float64 // bytes per connection
}

// A Row is one line of the tables.
type Row struct {
	Name     string
	Kind     Kind
	Raw      bool // without net/http's server
	TLS      bool
	HTTP2    bool // the connections are streams of one
	Size     int  // of a message, in bytes
	InFlight int  // messages sent together on each connection, or broadcasts in flight
	Conns    int
	Bar      Bar
	Against  []string // the only libraries whose cost the bar counts; nil: all
	Limits   []Limit  // beside the bar

	Only        []string // the peers that are measured; nil: all
	Compression Compression
	NoPings     bool          // the server sends none by itself
	Lasts       time.Duration // the measured time, if it is longer than that of the plan
}

// Rows are the lines of the tables, in order.
var Rows = rows()

// rows builds Rows.
func rows() []Row {
	all := echoRows(Echo, "", false, echoBars)
	all = append(all, echoRows(Echo, "TLS ", true, tlsBars)...)
	all = append(all, streamRows()...)
	all = append(all, crowdRows()...)
	all = append(all, echoRows(EchoClient, "client ", false, clientBars)...)
	all = append(all,
		Row{Name: "broadcast 512 B to 5000", Kind: Broadcast, Size: 512, InFlight: 1, Conns: 5000, Bar: Bar{Peer: 0.8}},
		Row{Name: "broadcast 512 B to 5000, 4 senders", Kind: Broadcast, Size: 512, InFlight: 4, Conns: 5000, Bar: Bar{Peer: 0.8}},
		Row{Name: "handshake net/http", Kind: Handshake, Conns: 32, Bar: Bar{Peer: 1}},
		Row{Name: "handshake net.Conn", Kind: Handshake, Raw: true, Conns: 32, Bar: Bar{Peer: 1}, Against: []string{"gobwas"}},
	)
	all = append(all, idleRows()...)
	return append(all, quietRows()...)
}

// idleConns is the number of connections of rows that are about silence.
const idleConns = 10000

// goroutineEach are the libraries that keep a goroutine for each connection.
var goroutineEach = []string{"gorilla", "coder", "gobwas", "gws"}

// idleRows are the rows about memory.
func idleRows() []Row {
	row := func(name string, size int, bytes float64) Row {
		return Row{
			Name: name, Kind: Idle, Size: size, InFlight: 1, Conns: idleConns,
			Bar: Bar{Bytes: bytes}, Against: goroutineEach,
		}
	}
	http, raw, tls := row("idle net/http", 128, 3328), row("idle net.Conn", 128, 3328), row("idle TLS", 128, 14*1024)
	raw.Raw, tls.TLS = true, true
	http.Limits, raw.Limits = parkedLimits(), parkedLimits()

	none, unused, held := row("idle, no takeover", 32<<10, 0), row("idle, takeover unused", 64, 0), row("idle, takeover held", 32<<10, 0)
	none.Compression, unused.Compression, held.Compression = NoTakeover, Unused, Held
	none.Only = slices.Concat(goroutineEach, []string{"nbio", Ours, Parked})
	unused.Only, held.Only = []string{Ours, Parked}, []string{Ours, Parked}
	none.Limits, unused.Limits = []Limit{{Parked, Cost, "", 840}}, []Limit{{Parked, Cost, "", 840}}
	held.Limits = []Limit{{Parked, Cost, "", 50 << 10}}
	return []Row{http, raw, tls, none, unused, held}
}

// quietRows are the rows about the CPU time of silence, with the Pings that the
// library sends by default and without. Each connection gets two in the measured
// time.
func quietRows() []Row {
	pings := Row{
		Name: "quiet", Kind: Quiet, Size: 128, InFlight: 1, Conns: idleConns,
		Only: []string{Ours, Parked}, Lasts: 65 * time.Second, Limits: []Limit{{Parked, Cost, Ours, 1}},
	}
	silence := pings
	silence.Name, silence.NoPings, silence.Limits = "quiet, no Pings", true, []Limit{{Parked, Cost, "", 0.5}}
	return []Row{pings, silence}
}

// streamRows are rows of messages on the streams of one connection of HTTP/2.
func streamRows() (all []Row) {
	for _, inFlight := range []int{1, 16} {
		all = append(all, Row{
			Name: fmt.Sprintf("HTTP/2 %s × %d", sizeName(128), inFlight),
			Kind: Echo, HTTP2: true, Size: 128, InFlight: inFlight, Conns: 16,
			Only: []string{Ours, Parked, "node", "floor"}, Limits: streamLimits(),
		})
	}
	return all
}

// crowdRows are rows of messages that come one at a time on many connections.
func crowdRows() (all []Row) {
	for _, s := range []struct{ size, conns int }{{128, 64}, {128, 256}, {128, 1000}, {1 << 10, 256}, {1 << 10, 1000}} {
		all = append(all, Row{
			Name: fmt.Sprintf("%s × 1, %d connections", sizeName(s.size), s.conns),
			Kind: Echo, Size: s.size, InFlight: 1, Conns: s.conns,
			Only: []string{"nbio", Ours, Parked, "uws", "floor"}, Limits: aloneLimits(),
		})
	}
	return all
}

// echoShapes are the sizes and depths of the rows that echo.
var echoShapes = []struct{ size, inFlight, conns int }{
	{128, 1, 16}, {128, 16, 16}, {1 << 10, 1, 16}, {1 << 10, 16, 16},
	{16 << 10, 1, 16}, {16 << 10, 16, 16}, {1 << 20, 1, 4},
}

// The bars of the rows that echo, in the order of echoShapes.
var (
	echoBars = []Bar{
		{Peer: 0.95, Floor: 1.05}, {Peer: 1.0 / 8, Floor: 1.6}, {Peer: 0.95, Floor: 1.05}, {Peer: 1.0 / 6},
		{Peer: 0.9}, {Peer: 0.55}, {Peer: 1, Floor: 1.1},
	}
	tlsBars = []Bar{
		{Peer: 1}, {Peer: 1.0 / 3}, {Peer: 1}, {Peer: 1.0 / 3}, {Peer: 1}, {Peer: 1.0 / 3}, {Peer: 1},
	}
	clientBars = []Bar{{Peer: 1}, {Peer: 1}, {Peer: 1}, {Peer: 1}, {Peer: 1}, {Peer: 1}, {Peer: 1}}
)

// echoRows returns a row for each of echoShapes.
func echoRows(kind Kind, prefix string, tls bool, bars []Bar) []Row {
	var all []Row
	for i, s := range echoShapes {
		all = append(all, Row{
			Name: fmt.Sprintf("%s%s × %d", prefix, sizeName(s.size), s.inFlight),
			Kind: kind, TLS: tls, Size: s.size, InFlight: s.inFlight, Conns: s.conns, Bar: bars[i],
			Limits: echoLimits(kind, tls, s.size, s.inFlight),
		})
	}
	return all
}

// echoLimits returns the limits of a row that echoes.
func echoLimits(kind Kind, tls bool, size, inFlight int) []Limit {
	switch {
	case kind != Echo || tls || size > 1<<10:
		return nil
	case inFlight == 1:
		return aloneLimits()
	default:
		return togetherLimits()
	}
}

// sizeName returns a number of bytes in short form.
func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// Unit returns the unit of the row's cost.
func (r Row) Unit() string {
	switch r.Kind {
	case Idle:
		return "bytes"
	case Quiet:
		return "% of a core"
	default:
		return "µs"
	}
}
