package main

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wsjson"
)

// The two servers that are put under load. Both send every message back.
const (
	parkedPath  = "/echo/parked"    // no goroutine waits for messages
	routinePath = "/echo/goroutine" // each connection has its own
)

// maxChange is the longest message that a page may send, in bytes.
const maxChange = 512

// A dashboard shows its own process to pages. Its methods are safe for concurrent
// use.
type dashboard struct {
	conns           websocket.Registry // all of them, to close them when the server stops
	parked, routine ledger             // connections under load
	rtt             roundTrips         // of the pages
	load            *load
	pages           websocket.Group

	mu      sync.Mutex
	history []sample // the latest, oldest first
	lastID  int      // of a page
}

// newDashboard returns a dashboard whose load's process reaches it at url and
// opens up to most connections.
func newDashboard(url string, most int) *dashboard {
	return &dashboard{load: newLoad(url, most)}
}

// An event is sent to the pages as JSON.
type event struct {
	Welcome *welcome `json:"welcome,omitempty"` // the first event of each page
	Sample  *sample  `json:"sample,omitempty"`
	Latency *latency `json:"latency,omitempty"` // with a sample: of all echoes since the last reset
	Choice  *choice  `json:"choice,omitempty"`  // with a sample, and whenever it changes
}

// A welcome is what a page needs to know when it comes.
type welcome struct {
	ID         int      `json:"id"` // of the page, as in choice
	Bounds     bounds   `json:"bounds"`
	Processors int      `json:"processors"`
	Interval   int64    `json:"interval"` // between samples, in milliseconds
	History    []sample `json:"history"`  // the samples of the last two minutes, oldest first
}

// prepare returns e as a message that is encoded once for all pages.
func (e event) prepare() *websocket.Prepared {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // every event can be encoded
	}
	return websocket.Prepare(websocket.Text, data)
}

// pageHandler serves the pages. Only those of this server may connect, by the
// default Origin policy. Their Pings measure round trips.
func (d *dashboard) pageHandler() http.Handler {
	return websocket.Handler(&websocket.AcceptOptions{
		Registry: &d.conns,
		Config: websocket.Config{
			Compression:    &websocket.Compression{},
			MaxMessageSize: maxChange,
			SlowConsumer:   websocket.DropOldest, // a slow page misses samples and holds up nobody
			PingInterval:   time.Second,
			Trace:          &websocket.Trace{Pong: d.rtt.add},
		},
	}, func(*http.Request) (func(c *websocket.Conn) error, error) { return d.servePage, nil })
}

// servePage serves one page: it joins, moves sliders, and leaves.
func (d *dashboard) servePage(c *websocket.Conn) error {
	d.load.pageCame()
	defer d.load.pageLeft()
	id, err := d.join(c)
	if err != nil {
		return err
	}
	for ch, err := range wsjson.Messages[change](c.Context(), c) {
		if err != nil {
			return wsjson.Reject(c, err)
		}
		now := d.load.change(ch, id)
		d.pages.Send(event{Choice: &now}.prepare())
	}
	return nil
}

// join welcomes a page and makes it a member of the group, so that it misses no
// sample and sees none twice. It returns the ID of the page.
func (d *dashboard) join(c *websocket.Conn) (id int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastID++
	now := d.load.chosen()
	hello := event{Choice: &now, Welcome: &welcome{
		ID:         d.lastID,
		Bounds:     d.load.bounds,
		Processors: runtime.GOMAXPROCS(0),
		Interval:   interval.Milliseconds(),
		History:    d.history,
	}}
	if err := c.SendPrepared(hello.prepare()); err != nil {
		return 0, err
	}
	d.pages.Add(c)
	return d.lastID, nil
}

// watch takes samples, and sends them to the pages, until ctx ends.
func (d *dashboard) watch(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.tell()
		}
	}
}

// tell takes a sample and sends it to the pages.
func (d *dashboard) tell() {
	now := d.load.chosen() // first: what is counted was counted under this choice or a later one
	s := d.sample()
	e := event{Choice: &now, Sample: &s, Latency: d.load.latency()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.history = append(d.history, s)
	d.history = d.history[max(0, len(d.history)-kept):]
	d.pages.Send(e.prepare())
}

// echoOptions are those of a server under load whose connections l counts.
func (d *dashboard) echoOptions(l *ledger) *websocket.AcceptOptions {
	return &websocket.AcceptOptions{
		Registry: &d.conns,
		Config: websocket.Config{
			Compression:    &websocket.Compression{},
			MaxMessageSize: maxSize,
			Trace:          &websocket.Trace{Handshake: l.opened, Closed: l.closed},
		},
	}
}

// An echo is the Receiver of all parked connections. It sends every message back.
type echo struct{}

// Opened has nothing to do.
func (echo) Opened(*websocket.Conn) error { return nil }

// Receive sends m back.
func (echo) Receive(c *websocket.Conn, m websocket.Message) error {
	return c.Write(context.Background(), m.Type, m.Data)
}

// Closed has nothing to do: the ledger counts connections.
func (echo) Closed(*websocket.Conn, *websocket.CloseError) {}

// echoLoop does what an echo does, on a goroutine of its own.
func echoLoop(c *websocket.Conn) error {
	ctx := context.Background()
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}
