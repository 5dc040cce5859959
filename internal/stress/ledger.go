package stress

import (
	"fmt"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// A fate is what a call reported about its message.
type fate uint8

const (
	pending fate = iota // the call has not returned
	said                // it returned nil: the message arrives
	maybe               // it was interrupted: the message may arrive
	never               // nothing was sent
)

// A way is how a message is sent.
type way uint8

const (
	written way = iota // the call waits for the network, unless the reply is held
	queued             // the call leaves the message in the queue
)

// An entry is what is known about one message.
type entry struct {
	typ  websocket.MessageType
	way  way
	fate fate
	at   int64 // when the call returned, on the round's clock
	seen bool  // the peer's application has received it, or at least its name
}

// A ledger records all messages of one direction. Empty messages have no names
// and are only counted.
type ledger struct {
	from   byte // the end that sends
	clock  func() int64
	report func(format string, args ...any)

	mu        sync.Mutex
	entries   [][]entry // by writer and number
	empty     []entry
	emptySeen int
	nameless  int           // messages abandoned before their name was read
	dropping  bool          // the peer's application reads no more
	begun     int           // calls
	milestone int           // of begun
	reached   chan struct{} // closed when milestone is reached
	arrivals  chan struct{} // holds one value when something has arrived
}

// newLedger returns the ledger of the messages that from's writers send.
func newLedger(from byte, writers, milestone int, clock func() int64, report func(string, ...any)) *ledger {
	return &ledger{
		from: from, clock: clock, report: report,
		entries:   make([][]entry, writers),
		milestone: milestone,
		reached:   make(chan struct{}),
		arrivals:  make(chan struct{}, 1),
	}
}

// begin records a message that is about to be sent.
func (l *ledger) begin(writer int, t websocket.MessageType, w way) name {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun++; l.begun == l.milestone {
		close(l.reached)
	}
	l.entries[writer] = append(l.entries[writer], entry{typ: t, way: w})
	return name{writer, len(l.entries[writer]) - 1}
}

// settle records what the call reported about message n.
func (l *ledger) settle(n name, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.entries[n.writer][n.number]
	e.fate, e.at = f, l.clock()
	if f == never && e.seen {
		l.report("%c's message %v arrived, though its call sent nothing", l.from, n)
	}
}

// beginEmpty records an empty message and returns its number.
func (l *ledger) beginEmpty(w way) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.empty = append(l.empty, entry{way: w})
	return len(l.empty) - 1
}

// settleEmpty records what the call reported about an empty message.
func (l *ledger) settleEmpty(number int, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.empty[number].fate, l.empty[number].at = f, l.clock()
}

// arrived records a whole message that a reader has received.
func (l *ledger) arrived(o *order, t websocket.MessageType, p []byte) {
	if len(p) == 0 {
		l.arrivedEmpty()
		return
	}
	n, err := parse(p, l.from)
	if err != nil {
		l.report("a message of %c (%v) %v", l.from, n, err)
		return
	}
	l.see(o, n, t)
}

// arrivedEmpty records an empty message that a reader has received.
func (l *ledger) arrivedEmpty() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emptySeen++
	l.announceLocked()
	possible := 0
	for _, e := range l.empty {
		if e.fate != never {
			possible++
		}
	}
	if l.emptySeen > possible {
		l.report("%d empty messages of %c arrived of %d", l.emptySeen, l.from, possible)
	}
}

// see records that a reader knows message n: it has received the message, or
// abandoned it after its name.
func (l *ledger) see(o *order, n name, t websocket.MessageType) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.writer >= len(l.entries) || n.number >= len(l.entries[n.writer]) {
		l.report("message %v of %c arrived, which was never sent", n, l.from)
		return
	}
	e := &l.entries[n.writer][n.number]
	switch {
	case e.seen:
		l.report("message %v of %c arrived twice", n, l.from)
	case e.fate == never:
		l.report("message %v of %c arrived, though its call sent nothing", n, l.from)
	case e.typ != t:
		l.report("message %v of %c arrived as %v", n, l.from, t)
	case !o.follows(n):
		l.report("message %v of %c arrived after %d", n, l.from, o.last[n.writer])
	}
	e.seen = true
	l.announceLocked()
}

// lost records that readers abandoned more messages before their names were
// read; more may be negative.
func (l *ledger) lost(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nameless += more
	l.announceLocked()
}

// drop records that messages from now on are read by nobody.
func (l *ledger) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropping = true
	l.announceLocked()
}

// announceLocked signals an arrival. The caller holds l.mu.
func (l *ledger) announceLocked() {
	select {
	case l.arrivals <- struct{}{}:
	default:
	}
}

// An order is the last message of each writer that one reader has seen. Reads
// take turns, so each reader sees a writer's messages in ascending order.
type order struct{ last map[int]int }

func newOrder() *order { return &order{last: make(map[int]int)} }

// follows records n and reports whether it comes after what was seen before.
func (o *order) follows(n name) bool {
	if last, ok := o.last[n.writer]; ok && n.number <= last {
		return false
	}
	o.last[n.writer] = n.number
	return true
}

// A promise says which messages must have arrived: those reported as sent before
// a time. Messages from the queue are included only if queued is set, and except
// for as many as the queue dropped.
type promise struct {
	before  int64
	queued  bool
	dropped int
}

// missing returns how many promised messages have not arrived, not counting
// those that may be among the nameless and the dropped, and names some of them.
func (l *ledger) missing(p promise) (count int, which string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropping {
		return 0, ""
	}
	var names []string
	for writer, entries := range l.entries {
		for number, e := range entries {
			if p.holds(e) && !e.seen {
				names = append(names, fmt.Sprintf("%v (%v)", name{writer, number}, e.way))
			}
		}
	}
	empty := -l.emptySeen
	for _, e := range l.empty {
		if p.holds(e) {
			empty++
		}
	}
	count = len(names) + max(empty, 0) - l.nameless - p.dropped
	if empty > 0 {
		names = append(names, fmt.Sprintf("%d empty", empty))
	}
	return max(count, 0), fmt.Sprint(names[:min(len(names), 8)])
}

// holds reports whether p includes e.
func (p promise) holds(e entry) bool {
	return e.fate == said && e.at < p.before && (e.way == written || p.queued)
}

// underWay reports whether a call has not returned.
func (l *ledger) underWay() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, entries := range l.entries {
		for _, e := range entries {
			if e.fate == pending {
				return true
			}
		}
	}
	return false
}

func (w way) String() string {
	if w == queued {
		return "queued"
	}
	return "written"
}

// anyNameless reports whether messages were abandoned before their name was
// read.
func (l *ledger) anyNameless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nameless > 0 || l.dropping
}
