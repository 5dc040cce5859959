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

import "fmt"

// A Kind is what the subject of a row does.
type Kind uint8

// The kinds of row.
const (
	Echo       Kind = iota // a server that sends every message back
	EchoClient             // a client that sends every message back
	Broadcast              // a server that sends one message to all connections
	Handshake              // a server that accepts and loses connections
	Idle                   // a server whose connections are silent after one echo
)

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
	Size     int // of a message, in bytes
	InFlight int // messages sent together on each connection, or broadcasts in flight
	Conns    int
	Bar      Bar
	Against  []string // the only libraries whose cost the bar counts; nil: all
}

// Rows are the lines of the tables, in order.
var Rows = rows()

// rows builds Rows.
func rows() []Row {
	all := echoRows(Echo, "", false, echoBars)
	all = append(all, echoRows(Echo, "TLS ", true, tlsBars)...)
	all = append(all, echoRows(EchoClient, "client ", false, clientBars)...)
	return append(all,
		Row{Name: "broadcast 512 B to 5000", Kind: Broadcast, Size: 512, InFlight: 1, Conns: 5000, Bar: Bar{Peer: 0.8}},
		Row{Name: "broadcast 512 B to 5000, 4 senders", Kind: Broadcast, Size: 512, InFlight: 4, Conns: 5000, Bar: Bar{Peer: 0.8}},
		Row{Name: "handshake net/http", Kind: Handshake, Conns: 32, Bar: Bar{Peer: 1}},
		Row{Name: "handshake net.Conn", Kind: Handshake, Raw: true, Conns: 32, Bar: Bar{Peer: 1}, Against: []string{"gobwas"}},
		Row{Name: "idle net/http", Kind: Idle, Size: 128, InFlight: 1, Conns: 10000, Bar: Bar{Bytes: 3.5 * 1024}},
		Row{Name: "idle net.Conn", Kind: Idle, Raw: true, Size: 128, InFlight: 1, Conns: 10000, Bar: Bar{Bytes: 3.4 * 1024}},
		Row{Name: "idle TLS", Kind: Idle, TLS: true, Size: 128, InFlight: 1, Conns: 10000, Bar: Bar{Bytes: 14 * 1024}},
	)
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
		})
	}
	return all
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
	if r.Kind == Idle {
		return "bytes"
	}
	return "µs"
}
