package interop

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/fullduplex-go/websocket"
)

// full has the test exchange 2,000 messages and try every window.
var full = flag.Bool("interop.full", false, "exchange 2,000 messages, and ask for every window")

// corpora are those of a run.
type corpora struct {
	long  corpus // for connections without compression, and with windows of any size
	short corpus // for each window
}

// A tally counts what the cells of a run have come to.
type tally struct {
	mu       sync.Mutex
	rows     map[string]*row
	messages uint64
	bytes    uint64
}

// A row counts the cells of a library in one role.
type row struct {
	passed, failed int
	cannot         map[string][]string // cells by reason
}

// exchanged counts the messages of a connection.
func (y *tally) exchanged(s websocket.Stats) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.messages += s.MessagesIn + s.MessagesOut
	y.bytes += s.BytesIn + s.BytesOut
}

// count calls f with a library's row.
func (y *tally) count(library, role string, f func(r *row)) {
	y.mu.Lock()
	defer y.mu.Unlock()
	key := library + "\t" + role
	if y.rows[key] == nil {
		y.rows[key] = &row{cannot: map[string][]string{}}
	}
	f(y.rows[key])
}

// print prints the table, and a line for programs.
func (y *tally) print() {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "library\trole\tpassed\tfailed\tcannot\n")
	names := map[string]bool{}
	var roles, cells, failed int
	for _, key := range slices.Sorted(maps.Keys(y.rows)) {
		r := y.rows[key]
		cannot := 0
		for _, list := range r.cannot {
			cannot += len(list)
		}
		if r.passed+r.failed == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", key, r.passed, r.failed, cannot)
		name, _, _ := strings.Cut(key, "\t")
		names[name] = true
		roles++
		cells += r.passed + r.failed
		failed += r.failed
	}
	w.Flush()
	for _, key := range slices.Sorted(maps.Keys(y.rows)) {
		for _, reason := range slices.Sorted(maps.Keys(y.rows[key].cannot)) {
			library, role, _ := strings.Cut(key, "\t")
			fmt.Fprintf(&out, "%s as %s cannot: %s (%s)\n", library, role, strings.Join(y.rows[key].cannot[reason], ", "), reason)
		}
	}
	fmt.Printf("%sinterop: %d peers, %d roles, %d cells, %d failed, %d messages, %d bytes\n", &out, len(names), roles, cells, failed, y.messages, y.bytes)
}

// TestLibraries has every library that is installed exchange messages, Pings and
// Close frames with us, in both roles.
func TestLibraries(t *testing.T) {
	y := &tally{rows: map[string]*row{}}
	t.Cleanup(y.print)
	all := &corpora{long: newCorpus(t, 100), short: newCorpus(t, 100)}
	if *full {
		all.long = newCorpus(t, 2000)
	}
	built := t.TempDir()
	for _, l := range libraries() {
		for _, role := range []string{"client", "server"} {
			t.Run(l.name+"/"+role, func(t *testing.T) {
				t.Parallel()
				l.installed(t)
				e := &end{t: t, library: l, role: role, built: built, corpora: all, tally: y, programs: map[string]*program{}}
				for _, c := range cells() {
					e.run(t, c)
				}
			})
		}
	}
}

// A cell is one thing that an end is tested for.
type cell struct {
	name string
	test func(t *testing.T, e *end)
}

// run runs a cell that the library can do.
func (e *end) run(t *testing.T, c cell) {
	if reason := e.library.excuse(e.role, c.name); reason != "" {
		e.tally.count(e.library.name, e.role, func(r *row) { r.cannot[reason] = append(r.cannot[reason], c.name) })
		return
	}
	passed := t.Run(c.name, func(t *testing.T) { c.test(t, e) })
	e.tally.count(e.library.name, e.role, func(r *row) {
		if passed {
			r.passed++
		} else {
			r.failed++
		}
	})
}

// closeCodes are those that each side sends.
var closeCodes = []websocket.CloseCode{1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999}

// cells returns those of the run.
func cells() []cell {
	all := []cell{
		{"echo", func(t *testing.T, e *end) { e.echoed(t, e.corpora.long, nil, whole) }},
		{"send", func(t *testing.T, e *end) { e.echoes(t, "send", e.corpora.long, nil) }},
		{"fragments of ours", func(t *testing.T, e *end) { e.echoed(t, e.corpora.short, nil, inFragments) }},
		{"fragments of theirs", func(t *testing.T, e *end) { e.echoes(t, "fragments", e.corpora.short, nil) }},
		{"ping of ours", func(t *testing.T, e *end) { e.answers(t) }},
		{"ping of theirs", func(t *testing.T, e *end) { e.pings(t) }},
	}
	for _, code := range closeCodes {
		all = append(all,
			cell{fmt.Sprintf("close %d of ours", code), func(t *testing.T, e *end) { e.closed(t, code) }},
			cell{fmt.Sprintf("close %d of theirs", code), func(t *testing.T, e *end) { e.closes(t, code) }})
	}
	all = append(all, deflateCells("deflate", &websocket.Compression{Threshold: -1}, func(e *end) corpus { return e.corpora.long })...)
	if !*full {
		return all
	}
	for window := 9; window <= 15; window++ {
		for i := range 4 {
			k := terms{window, i&1 != 0, i&2 != 0}
			all = append(all, deflateCells("deflate with "+k.String(), k.wanted(), func(e *end) corpus { return e.corpora.short })...)
		}
	}
	return all
}

// deflateCells are those of one kind of compression.
func deflateCells(name string, ours *websocket.Compression, of func(e *end) corpus) []cell {
	return []cell{
		{name + ", echo", func(t *testing.T, e *end) { e.echoed(t, of(e), ours, whole) }},
		{name + ", send", func(t *testing.T, e *end) { e.echoes(t, "send", of(e), ours) }},
		{name + ", fragments of ours", func(t *testing.T, e *end) { e.echoed(t, of(e), ours, inFragments) }},
		{name + ", fragments of theirs", func(t *testing.T, e *end) { e.echoes(t, "fragments", of(e), ours) }},
	}
}
