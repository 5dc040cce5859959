//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket/bench/measure"
	"github.com/fullduplex-go/websocket/bench/peer"
)

// A report holds what was measured, and on which machine.
type report struct {
	machine string
	choice  choice
	lines   []measure.Line
}

// method explains the figures. The three verbs are rounds, warm-up and
// measured time.
const method = `Each figure is the median of %d rounds; each round measures every library once. A ratio is the median of
the ratios within each round, so it may differ from that of the two figures. The library runs in
a process of its own on one core (` + "`GOMAXPROCS=1`" + `), the load in another process on another core: one
thread with epoll that sends prepared frames and compares every byte that comes back. After a warm-up
of %v, %v is measured. The cost is the CPU time, user and system, that the scheduler
counted for the library's process, divided by the number of messages that came back, so it does not
depend on how long the process had to wait.

"× 16" means that 16 messages are sent in one write, and the next 16 when all of them are back;
latency is the time from the write to the last byte. Messages of 128 B to 16 KiB are echoed on 16
connections unless the row says on how many, those of 1 MiB on 4. Allocations are counted after
the measured time. The kernel counts the system calls read and write, not recv and
send: where a library uses those, a cell is empty. A message from one of the connections triggers a broadcast. A
handshake is that of a browser, and costs what happens from the accept to the loss of the
connection, which the load resets. Memory is the growth of live heap and goroutine stacks after
garbage collection, per connection, for 10,000 connections that have echoed one message of 128 bytes. It is
taken when the process has come to rest; so is the resident set, once before any collection is forced and
once after free memory was given back.

The connections of the rows over HTTP/2 are streams of one TCP connection, without TLS. What the load sends on several of
them leaves in one write if the replies came in one read. The floor is there a handler that writes back what it reads of
its stream; "node" is a program for Node.js, in [node](node).

"parked" is this library with a Receiver, "ours" with a goroutine for each connection. "No takeover" is memory after
a message of 32 KiB that was compressed in both directions without context takeover, "takeover held" with it;
"takeover unused" after one of 64 bytes that was not. The quiet rows are the CPU time of 10,000 connections over 65 s,
measured once, in which each is sent two Pings or none.

The floor is a TCP server that writes back the bytes of each read, without looking at frames. Over net/http it hijacks
the connection; in the idle rows it keeps 64 bytes for each. uWebSockets is a program in C++, in [uws](uws). Every library is used as its documentation advises for speed; in the
idle and handshake rows, as it advises for many connections. The programs are in [peer](peer).

A cost marked * was measured with the load, not the library, as the bottleneck.
`

// save writes the report to file, and its charts to the directory charts next to
// it.
func (r *report) save(file string) error {
	charts := filepath.Join(filepath.Dir(file), "charts")
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Results\n\n`go run ./compare` in this directory measured and wrote this page.\n\nMachine: %s.\n\n", r.machine)
	r.writeVersions(&b)
	for _, c := range r.charts() {
		if err := os.WriteFile(filepath.Join(charts, c.file), c.svg(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&b, "![%s](charts/%s)\n\n", c.title, c.file)
	}
	r.writeTables(&b)
	fmt.Fprint(&b, "## Method\n\n")
	plan := r.choice.plan
	fmt.Fprintf(&b, method, plan.Rounds, plan.Warm, plan.Measured)
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// writeVersions lists the libraries.
func (r *report) writeVersions(w io.Writer) {
	for _, p := range r.choice.peers {
		if p != peer.Floor {
			fmt.Fprintf(w, "- %s: %s\n", p.Name(), peer.Module(p))
		}
	}
	fmt.Fprintln(w)
}

// writeTables writes the tables that have rows.
func (r *report) writeTables(w io.Writer) {
	r.writeMessages(w)
	r.writeMemory(w)
	if lines := r.of(measure.Quiet); len(lines) > 0 {
		fmt.Fprint(w, "## Silence\n\nPercent of a core that 10,000 silent connections take, and Pings per second.\n\n")
		r.writeCells(w, lines, quietCell)
	}
	r.writeLimits(w)
}

// writeMessages writes the costs of messages and handshakes, then rates,
// latencies, system calls and allocations.
func (r *report) writeMessages(w io.Writer) {
	if lines := r.of(measure.Echo, measure.EchoClient, measure.Broadcast, measure.Handshake); len(lines) > 0 {
		fmt.Fprint(w, "## CPU time\n\nMicroseconds of CPU time per message or handshake.\n\n")
		r.writeTable(w, lines, cpuCell)
		fmt.Fprint(w, "## Messages per second\n\nOn one core; then the time within which 50 % and 99 % of the batches were answered.\n\n")
		r.writeCells(w, lines, rateCell)
		fmt.Fprint(w, "## System calls\n\nReads and writes per message or handshake.\n\n")
		r.writeCells(w, lines, callsCell)
	}
	if lines := r.of(measure.Echo); len(lines) > 0 {
		fmt.Fprint(w, "## Allocations\n\nPer message.\n\n")
		r.writeCells(w, lines, allocsCell)
	}
}

// writeMemory writes the memory of idle connections.
func (r *report) writeMemory(w io.Writer) {
	if lines := r.of(measure.Idle); len(lines) > 0 {
		fmt.Fprint(w, "## Memory\n\nBytes of heap and stack per idle connection; in parentheses the resident set.\n\n")
		r.writeTable(w, lines, memoryCell)
		fmt.Fprint(w, "Resident bytes per idle connection before any collection is forced, and goroutines of all together.\n\n")
		r.writeCells(w, lines, residentCell)
	}
}

// writeLimits writes a line for each limit of a row whose peers were measured.
func (r *report) writeLimits(w io.Writer) {
	var b bytes.Buffer
	for _, l := range r.lines {
		for _, limit := range l.Row.Limits {
			if value, ok := limit.Value(l); ok {
				fmt.Fprintf(&b, "| %s | %v | %s | %s |\n", l.Row.Name, limit, digits(value), within(value <= limit.Most))
			}
		}
	}
	if b.Len() > 0 {
		fmt.Fprintf(w, "## Limits\n\nWhat one library is held to, beside another in the same round.\n\n|  | limit | measured |  |\n|---|---|---:|---|\n%s\n", b.String())
	}
}

// of returns the lines of these kinds.
func (r *report) of(kinds ...measure.Kind) []measure.Line {
	var lines []measure.Line
	for _, l := range r.lines {
		if slices.Contains(kinds, l.Row.Kind) {
			lines = append(lines, l)
		}
	}
	return lines
}

// cpuCell writes a cost in microseconds.
func cpuCell(r measure.Result) string {
	mark := ""
	if r.LoadBound() {
		mark = "*"
	}
	return digits(r.Cost()) + mark
}

// memoryCell writes a cost in bytes.
func memoryCell(r measure.Result) string {
	return fmt.Sprintf("%.0f (%d)", r.Cost(), r.Memory.RSS)
}

// digits writes x with three significant digits.
func digits(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}

// writeHead writes the head of a table with a column for each peer.
func (r *report) writeHead(w io.Writer, more ...string) {
	columns := []string{""}
	for _, p := range r.choice.peers {
		columns = append(columns, p.Name())
	}
	columns = append(columns, more...)
	fmt.Fprintf(w, "| %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)-1))
}

// writeTable writes a line for each row: the cost of each peer, and how ours
// compares.
func (r *report) writeTable(w io.Writer, lines []measure.Line, cell func(measure.Result) string) {
	r.writeHead(w, "ours / best peer", "ours / floor", "bar", "")
	for _, l := range lines {
		fmt.Fprintf(w, "| %s |", l.Row.Name)
		for _, p := range r.choice.peers {
			text := ""
			if m, ok := l.Median(p.Name()); ok {
				text = cell(m)
			}
			fmt.Fprintf(w, " %s |", text)
		}
		fmt.Fprintf(w, " %s | %s | %s | %s |\n",
			ratioCell(l, l.Best()), ratioCell(l, peer.Floor.Name()), barCell(l.Row.Bar), verdict(l))
	}
	fmt.Fprintln(w)
}

// ratioCell writes the cost of ours as a share of that of the peer.
func ratioCell(l measure.Line, name string) string {
	ratio, ok := l.Ratio(name)
	switch {
	case !ok:
		return ""
	case name == peer.Floor.Name():
		return fmt.Sprintf("%.2f", ratio)
	default:
		return fmt.Sprintf("%.2f (%s)", ratio, name)
	}
}

// barCell writes the limits of the bar.
func barCell(b measure.Bar) string {
	var parts []string
	if b.Peer > 0 {
		parts = append(parts, fmt.Sprintf("%.3g of best", b.Peer))
	}
	if b.Floor > 0 {
		parts = append(parts, fmt.Sprintf("%.3g of floor", b.Floor))
	}
	if b.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%.0f", b.Bytes))
	}
	return strings.Join(parts, ", ")
}

// verdict says whether ours meets the bar, if there is one.
func verdict(l measure.Line) string {
	if _, measured := l.Median(measure.Ours); !measured || l.Row.Bar == (measure.Bar{}) {
		return ""
	}
	return within(len(l.Misses()) == 0)
}

// within says whether what was measured is within a bar or a limit.
func within(ok bool) string {
	if ok {
		return "met"
	}
	return "above"
}

// rateCell writes messages per second and latencies.
func rateCell(m measure.Result) string {
	return fmt.Sprintf("%.0f, %s, %s", m.PerSecond(), short(m.P50), short(m.P99))
}

// fewWrites is how many writes per message are too few to be those of its
// replies.
const fewWrites = 0.03

// callsCell writes system calls per message, if the library makes those that are
// counted.
func callsCell(m measure.Result) string {
	n := float64(m.Messages)
	if float64(m.Writes) < fewWrites*n {
		return ""
	}
	return fmt.Sprintf("%.2f, %.2f", float64(m.Reads)/n, float64(m.Writes)/n)
}

// allocsCell writes allocations per message, if the library counts them.
func allocsCell(m measure.Result) string {
	if m.Allocs < 0 {
		return ""
	}
	return digits(m.Allocs)
}

// residentCell writes resident bytes and goroutines.
func residentCell(m measure.Result) string {
	return fmt.Sprintf("%d, %d", m.Memory.Resident, m.Memory.Goroutines)
}

// quietCell writes the share of a core, and Pings per second.
func quietCell(m measure.Result) string {
	return fmt.Sprintf("%s, %.0f", digits(m.Cost()), m.PerSecond())
}

// writeCells writes a line for each row, with a cell for each peer.
func (r *report) writeCells(w io.Writer, lines []measure.Line, cell func(measure.Result) string) {
	r.writeHead(w)
	for _, l := range lines {
		fmt.Fprintf(w, "| %s |", l.Row.Name)
		for _, p := range r.choice.peers {
			text := ""
			if m, ok := l.Median(p.Name()); ok {
				text = cell(m)
			}
			fmt.Fprintf(w, " %s |", text)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// short writes a duration with two or three digits.
func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
