package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/fullduplex-go/websocket"
)

const (
	maxText   = 2048 // bytes of one message
	maxName   = 24   // runes of a name
	maxRecent = 50   // messages that a newcomer is shown
)

// An event is sent to the page as JSON.
type event struct {
	Kind   string   `json:"kind"`             // "welcome", "joined", "left" or "message"
	Name   string   `json:"name"`             // who joined, left or wrote; in a welcome, the newcomer
	Time   int64    `json:"time,omitempty"`   // milliseconds since 1970, different for every event; not in a welcome
	Text   string   `json:"text,omitempty"`   // in a message
	People []string `json:"people,omitempty"` // in joined and left: everyone who is here now, sorted
	Recent []event  `json:"recent,omitempty"` // in a welcome: the last messages, oldest first
}

// A room is a set of people who see the same messages. The zero value is an
// empty room. Its methods are safe for concurrent use.
type room struct {
	everyone websocket.Group

	mu     sync.Mutex
	names  map[*websocket.Conn]string // of everyone who is here
	recent []event                    // at most maxRecent messages
	last   int64                      // Time of the latest event
}

// enter takes the name from the request, which must not be used once the
// connection is served.
func (ro *room) enter(r *http.Request) (serve func(c *websocket.Conn) error, err error) {
	name := cleanName(r.URL.Query().Get("name"))
	return func(c *websocket.Conn) error { return ro.serve(c, name) }, nil
}

// serve serves one connection: it joins, speaks and leaves.
func (ro *room) serve(c *websocket.Conn, name string) error {
	ro.join(c, name)
	defer ro.leave(c)
	for m, err := range c.Messages(c.Context()) {
		switch {
		case err != nil:
			return err
		case m.Type != websocket.Text:
			return websocket.CloseUnsupportedData
		}
		ro.say(c, string(m.Data))
	}
	return nil
}

// join welcomes c under name, or under a similar one if that is taken, and
// tells everyone.
func (ro *room) join(c *websocket.Conn, name string) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	if ro.names == nil {
		ro.names = make(map[*websocket.Conn]string)
	}
	people := ro.peopleLocked()
	for n, wanted := 2, name; slices.Contains(people, name); n++ {
		name = fmt.Sprintf("%s %d", wanted, n)
	}
	ro.names[c] = name
	c.Send(websocket.Text, encode(event{Kind: "welcome", Name: name, Recent: ro.recent}))
	ro.everyone.Add(c)
	ro.tellLocked(event{Kind: "joined", Name: name, People: ro.peopleLocked()})
}

// leave tells the others that c has left.
func (ro *room) leave(c *websocket.Conn) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	name := ro.names[c]
	delete(ro.names, c)
	ro.tellLocked(event{Kind: "left", Name: name, People: ro.peopleLocked()})
}

// say tells everyone, including c, that c wrote text.
func (ro *room) say(c *websocket.Conn, text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	ro.mu.Lock()
	defer ro.mu.Unlock()
	e := ro.tellLocked(event{Kind: "message", Name: ro.names[c], Text: text})
	ro.recent = append(ro.recent, e)
	ro.recent = ro.recent[max(0, len(ro.recent)-maxRecent):]
}

// tellLocked sets the time of e and queues it for everyone. It never waits:
// a connection that reads too slowly is closed, by the policy that routes sets.
func (ro *room) tellLocked(e event) event {
	ro.last = max(ro.last+1, time.Now().UnixMilli())
	e.Time = ro.last
	ro.everyone.Send(websocket.Prepare(websocket.Text, encode(e)))
	return e
}

// peopleLocked returns the names, sorted.
func (ro *room) peopleLocked() []string {
	return slices.Sorted(maps.Values(ro.names))
}

// encode returns e as JSON.
func encode(e event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // every event can be encoded
	}
	return data
}

// cleanName returns the printable part of s, on one line and not too long, or
// "Guest".
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, s)
	runes := []rune(strings.Join(strings.Fields(s), " "))
	s = strings.TrimSpace(string(runes[:min(len(runes), maxName)]))
	if s == "" {
		return "Guest"
	}
	return s
}
