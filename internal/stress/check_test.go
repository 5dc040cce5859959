package stress

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
)

// A notebook records reports.
type notebook struct{ lines []string }

func (n *notebook) report(format string, args ...any) {
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// requireOnly requires one report that contains text, or none if text is "".
func (n *notebook) requireOnly(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		require.Empty(t, n.lines)
		return
	}
	require.Len(t, n.lines, 1)
	require.Contains(t, n.lines[0], text)
}

// text returns message n of c as the tests of the ledger send it.
func text(writer, number int) []byte {
	return compose(nil, 'c', name{writer, number}, nameSize+4, []byte("body"))
}

// TestLedgerFindsFaults sends three messages of one writer and lets them arrive
// in wrong ways, and in some right ones.
func TestLedgerFindsFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		arrive func(l *ledger, o *order)
		report string
	}{
		{"all", func(l *ledger, o *order) {
			l.arrived(o, websocket.Text, text(0, 0))
			l.arrived(o, websocket.Text, text(0, 1))
		}, ""},
		{"two readers", func(l *ledger, o *order) {
			l.arrived(o, websocket.Text, text(0, 1))
			l.arrived(newOrder(), websocket.Text, text(0, 0))
		}, ""},
		{"order", func(l *ledger, o *order) {
			l.arrived(o, websocket.Text, text(0, 1))
			l.arrived(o, websocket.Text, text(0, 0))
		}, "arrived after 1"},
		{"twice", func(l *ledger, o *order) {
			l.arrived(o, websocket.Text, text(0, 0))
			l.arrived(newOrder(), websocket.Text, text(0, 0))
		}, "twice"},
		{"type", func(l *ledger, o *order) { l.arrived(o, websocket.Binary, text(0, 0)) }, "as binary"},
		{"never sent", func(l *ledger, o *order) { l.arrived(o, websocket.Text, text(0, 2)) }, "sent nothing"},
		{"unknown", func(l *ledger, o *order) { l.arrived(o, websocket.Text, text(0, 9)) }, "never sent"},
		{"unknown writer", func(l *ledger, o *order) { l.arrived(o, websocket.Text, text(9, 0)) }, "never sent"},
		{"short", func(l *ledger, o *order) { l.arrived(o, websocket.Text, text(0, 0)[:33]) }, "33 bytes"},
		{"long", func(l *ledger, o *order) { l.arrived(o, websocket.Text, append(text(0, 0), '!')) }, "36 bytes"},
		{"damaged", func(l *ledger, o *order) {
			p := text(0, 0)
			p[len(p)-1] ^= 1
			l.arrived(o, websocket.Text, p)
		}, "damaged"},
		{"another name", func(l *ledger, o *order) {
			p := text(0, 0)
			p[11] = '1'
			l.arrived(o, websocket.Text, p)
		}, "damaged"},
		{"foreign", func(l *ledger, o *order) { l.arrived(o, websocket.Text, []byte("hello")) }, "not of the peer"},
		{"empty", func(l *ledger, o *order) { l.arrived(o, websocket.Text, nil) }, ""},
		{"too many empty", func(l *ledger, o *order) {
			l.arrived(o, websocket.Text, nil)
			l.arrived(o, websocket.Text, nil)
		}, "2 empty messages"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var notes notebook
			l := newLedger('c', 1, 0, func() int64 { return 1 }, notes.report)
			for _, f := range []fate{said, maybe, never} {
				l.settle(l.begin(0, websocket.Text, written), f)
			}
			l.settleEmpty(l.beginEmpty(written), said)
			test.arrive(l, newOrder())
			notes.requireOnly(t, test.report)
		})
	}
}

// TestLedgerReportsWhatComesBeforeItsCall lets a message arrive before its call
// reports that nothing was sent.
func TestLedgerReportsWhatComesBeforeItsCall(t *testing.T) {
	var notes notebook
	l := newLedger('c', 1, 0, func() int64 { return 1 }, notes.report)
	n := l.begin(0, websocket.Text, written)
	l.arrived(newOrder(), websocket.Text, text(0, 0))
	require.True(t, l.underWay())
	l.settle(n, never)
	notes.requireOnly(t, "sent nothing")
	require.False(t, l.underWay())
}

// TestLedgerMisses counts the promised messages that do not arrive.
func TestLedgerMisses(t *testing.T) {
	var notes notebook
	var now int64
	l := newLedger('c', 2, 0, func() int64 { now++; return now }, notes.report)
	l.settle(l.begin(0, websocket.Text, written), said)  // at 1
	l.settle(l.begin(0, websocket.Text, queued), said)   // at 2
	l.settle(l.begin(0, websocket.Text, written), maybe) // at 3
	l.settle(l.begin(1, websocket.Text, written), said)  // at 4
	l.settleEmpty(l.beginEmpty(written), said)           // at 5
	missing := func(p promise) int {
		n, _ := l.missing(p)
		return n
	}
	all := promise{before: math.MaxInt64, queued: true}
	require.Equal(t, 4, missing(all))
	require.Equal(t, 3, missing(promise{before: math.MaxInt64}))
	require.Equal(t, 2, missing(promise{before: 4, queued: true}))
	require.Equal(t, 1, missing(promise{before: math.MaxInt64, queued: true, dropped: 3}))
	l.lost(1)
	require.Equal(t, 3, missing(all))
	l.arrived(newOrder(), websocket.Text, text(0, 0))
	require.Equal(t, 2, missing(all))
	l.arrived(newOrder(), websocket.Text, nil)
	require.Equal(t, 1, missing(all))
	notes.requireOnly(t, "")
}

// TestContent checks that contents have the right size and are valid text.
func TestContent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for size := range 300 {
		require.Len(t, content(r, websocket.Binary, size), size)
		p := content(r, websocket.Text, size)
		require.Len(t, p, size)
		require.True(t, utf8.Valid(p))
	}
	require.Len(t, content(r, websocket.Text, corpusSize), corpusSize)
}

// TestPlanComesFromItsSeed compares plans of equal seeds, and checks that all
// kinds occur.
func TestPlanComesFromItsSeed(t *testing.T) {
	seen := make(map[string]bool)
	for seed := range uint64(500) {
		p := choose(seed)
		require.Equal(t, p.String(), choose(seed).String())
		for _, kind := range []string{p.transport.name, p.ending.String(), p.interrupt.String(), p.entryPoint.String()} {
			seen[kind] = true
		}
	}
	for _, tr := range transports {
		require.True(t, seen[tr.name], tr.name)
	}
	require.Len(t, seen, len(transports)+7+3+6+3)
}

// TestTransports sends bytes both ways over every transport.
func TestTransports(t *testing.T) {
	for i := range transports {
		tr := &transports[i]
		t.Run(tr.name, func(t *testing.T) {
			j, err := tr.join(rand.New(rand.NewPCG(1, 1)))
			require.NoError(t, err)
			defer j.close()
			for _, way := range [][2]net.Conn{{j.client, j.server}, {j.server, j.client}} {
				sent := bytes.Repeat([]byte("there and back "), 500)
				go way[0].Write(sent)
				got := make([]byte, 0, len(sent))
				for len(got) < len(sent) {
					n, err := way[1].Read(got[len(got):cap(got)])
					require.NoError(t, err)
					got = got[:len(got)+n]
				}
				require.Equal(t, sent, got)
			}
			require.Equal(t, tr.noDeadlines, j.client.SetReadDeadline(time.Now()) != nil)
			j.cut(rand.New(rand.NewPCG(1, 1)), false)
			if !tr.noDeadlines {
				j.server.SetReadDeadline(time.Time{})
			}
			_, err = j.server.Read(make([]byte, 1))
			require.Error(t, err)
		})
	}
}

// TestInventoryFindsGoroutines leaves a goroutine behind, for a while.
func TestInventoryFindsGoroutines(t *testing.T) {
	before := takeInventory()
	require.Empty(t, before.newGoroutines())
	stay := make(chan struct{})
	go func() { <-stay }()
	left := before.newGoroutines()
	require.Len(t, left, 1)
	require.Contains(t, left[0], "TestInventoryFindsGoroutines")
	close(stay)
	var notes notebook
	before.compare(notes.report)
	notes.requireOnly(t, "")
}

// TestInventoryFindsSockets leaves a socket open, for a while.
func TestInventoryFindsSockets(t *testing.T) {
	before := openSockets()
	if before < 0 {
		t.Skip("sockets cannot be counted here")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, before+1, openSockets())
	l.Close()
	require.Equal(t, before, openSockets())
}

// TestJudge checks the outcomes for the errors of calls.
func TestJudge(t *testing.T) {
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	end := &websocket.CloseError{Code: websocket.CloseNormal}
	for _, test := range []struct {
		name   string
		call   call
		err    error
		want   outcome
		report string
	}{
		{"success", call{ctx: t.Context()}, nil, done, ""},
		{"success after the end", call{ctx: t.Context(), after: end}, nil, done, "after the end returned <nil>"},
		{"the end", call{ctx: t.Context(), after: end}, end, over, ""},
		{"another end", call{ctx: t.Context(), after: end}, &websocket.CloseError{}, over, "after the end"},
		{"its context", call{ctx: dead}, context.Canceled, gaveUp, ""},
		{"a foreign context", call{ctx: t.Context()}, context.Canceled, refused, "returned context canceled"},
		{"no deadline", call{ctx: t.Context()}, context.DeadlineExceeded, refused, "deadline exceeded"},
		{"a full queue", call{ctx: t.Context()}, websocket.ErrQueueFull, refused, ""},
		{"a slow consumer", call{ctx: t.Context()}, websocket.ErrSlowConsumer, refused, "reads too slowly"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var notes notebook
			e := newEnd(0, choose(1), notes.report, func() int64 { return 1 })
			c := test.call
			c.end, c.name, c.dead = e, "Call", true
			require.Equal(t, test.want, c.judge(test.err, websocket.ErrQueueFull))
			notes.requireOnly(t, test.report)
		})
	}
}

// TestPlanIsReadable checks that a plan's text says what a failure report needs.
func TestPlanIsReadable(t *testing.T) {
	p := choose(7)
	for _, text := range []string{p.transport.name, p.entryPoint.String(), p.ending.String(), "writers", "client: queue", "server: queue"} {
		require.Contains(t, p.String(), text)
	}
}
