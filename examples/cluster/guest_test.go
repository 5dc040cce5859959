package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A guest does what the page does: it resumes after what it has seen, on whatever
// node the front chooses, and sends again what no answer has come to.
type guest struct {
	t     *testing.T
	ctx   context.Context
	url   string
	name  string
	room  string
	ended chan struct{} // closed when it has left

	mu sync.Mutex
	view
}

// A view is what a guest has seen. It is under the mu of the guest.
type view struct {
	conn    *websocket.Conn // nil while it has not joined
	node    string
	last    uint64
	texts   map[string]int // how often each was shown
	seqs    []uint64
	counts  map[string]int  // who is in the room, by node
	outbox  []entry         // in the order in which they were posted
	ids     map[string]bool // of all messages
	refused map[string]bool // by id: what was not published, and may be posted again
	gaps    int
	changed chan struct{}
}

// come lets a guest come, who is there until the test ends.
func come(t *testing.T, front, name, room string) *guest {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := &guest{
		t: t, ctx: ctx, url: "ws" + front[len("http"):] + "/ws", name: name, room: room, ended: make(chan struct{}),
		view: view{
			texts: make(map[string]int), refused: make(map[string]bool),
			ids:     make(map[string]bool),
			changed: make(chan struct{}),
		},
	}
	go g.stay()
	t.Cleanup(func() {
		cancel()
		<-g.ended
	})
	g.until(func(v *view) bool { return v.conn != nil })
	return g
}

// stay keeps the guest connected.
func (g *guest) stay() {
	defer close(g.ended)
	for g.ctx.Err() == nil {
		g.mu.Lock()
		query := url.Values{"name": {g.name}, "room": {g.room}, "after": {fmt.Sprint(g.last)}}
		g.mu.Unlock()
		ctx, cancel := context.WithTimeout(g.ctx, 10*time.Second)
		c, _, err := websocket.Dial(ctx, g.url+"?"+query.Encode(), nil)
		cancel()
		if err == nil {
			g.listen(c)
			c.CloseNow()
		}
		g.change(func(v *view) { v.conn = nil })
		select {
		case <-g.ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// listen reads events until the connection ends.
func (g *guest) listen(c *websocket.Conn) {
	for {
		_, data, err := c.Read(g.ctx)
		if err != nil {
			return
		}
		var e event
		if !assert.NoError(g.t, json.Unmarshal(data, &e)) {
			return
		}
		g.change(func(v *view) { v.take(g.t, c, &e) })
	}
}

// take takes an event.
func (v *view) take(t *testing.T, c *websocket.Conn, e *event) {
	switch e.Kind {
	case "welcome":
		v.node = e.Node
	case "gap":
		v.gaps++
		v.last, v.seqs = 0, nil
	case "joined":
		v.conn, v.last = c, max(v.last, e.Seq)
		for _, m := range v.outbox {
			v.send(m)
		}
	case "people":
		v.counts = e.Counts
	case "refused":
		v.refused[e.ID] = true
		v.settle(e.ID)
	case "message":
		assert.Greater(t, e.Seq, v.last, "a message came twice or out of order")
		v.last, v.seqs = e.Seq, append(v.seqs, e.Seq)
		v.settle(e.Entry.ID)
		if !v.ids[e.Entry.ID] { // otherwise it was refused, and published nevertheless
			v.ids[e.Entry.ID] = true
			v.texts[e.Entry.Text]++
		}
	}
}

// settle removes a message from the outbox.
func (v *view) settle(id string) {
	v.outbox = slices.DeleteFunc(v.outbox, func(m entry) bool { return m.ID == id })
}

// send sends a message, if the connection is there.
func (v *view) send(m entry) {
	data, err := json.Marshal(m)
	if err == nil && v.conn != nil {
		v.conn.Send(websocket.Text, data)
	}
}

// change changes what the guest has seen.
func (g *guest) change(f func(v *view)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.view)
	close(g.changed)
	g.changed = make(chan struct{})
}

// until waits until met is true of what the guest has seen.
func (g *guest) until(met func(v *view) bool) {
	g.t.Helper()
	ctx := deadline(g.t)
	for {
		g.mu.Lock()
		ok, changed := met(&g.view), g.changed
		seen := fmt.Sprintf("on %q, people %v, %d messages, %d in the outbox", g.node, g.counts, len(g.seqs), len(g.outbox))
		g.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(g.t, g.name+" does not see it in time", seen)
		}
	}
}

// post sends an entry, under a new id unless it has one, and returns the id. It is in
// the outbox until it comes back or is refused.
func (g *guest) post(m entry) (id string) {
	if m.ID == "" {
		m.ID = rand.Text()
	}
	g.change(func(v *view) {
		delete(v.refused, m.ID)
		v.outbox = append(v.outbox, m)
		v.send(m)
	})
	return m.ID
}

// say posts a text.
func (g *guest) say(text string) (id string) { return g.post(entry{Text: text}) }

// tell says a text until it has come back.
func (g *guest) tell(text string) {
	g.t.Helper()
	m := entry{Text: text}
	for back := false; !back; {
		m.ID = g.post(m)
		g.until(func(v *view) bool {
			back = v.ids[m.ID]
			return back || v.refused[m.ID]
		})
	}
}

// where returns on which node the guest is.
func (g *guest) where() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.node
}

// shown returns what the guest was shown, and how often.
func (g *guest) shown() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.texts)
}
