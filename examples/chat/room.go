package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/fullduplex-go/websocket"
)

// What a room takes of what people write.
const (
	maxText   = 2048 // bytes of one message
	maxName   = 24   // runes of a person's name
	maxRecent = 50   // messages that a newcomer is shown
)

// An event is sent to the page as JSON.
type event struct {
	Kind   string    `json:"kind"`             // "welcome", "joined", "left", "message" or "rooms"
	Name   string    `json:"name,omitempty"`   // who joined, left or wrote; in a welcome, the newcomer
	Time   int64     `json:"time,omitempty"`   // milliseconds since 1970, different for all that join, leave and write in a room
	Number int64     `json:"number,omitempty"` // in a message: the first of its room is 1
	Text   string    `json:"text,omitempty"`   // in a message
	People []string  `json:"people,omitempty"` // in a welcome: everyone who is here, sorted
	Recent []event   `json:"recent,omitempty"` // in a welcome: the last messages, oldest first
	Rooms  []listing `json:"rooms,omitempty"`  // in rooms: those that have changed, or all
}

// A room is a set of people who see the same messages. Its methods are safe for
// concurrent use.
type room struct {
	name     string
	people   int             // places taken; the lock of the house guards it
	said     atomic.Int64    // messages so far
	everyone websocket.Group // those who have joined

	mu     sync.Mutex
	names  map[string]struct{} // of those who have joined and not left
	recent []event             // at most maxRecent messages
	last   int64               // Time of the latest event
}

// join welcomes c under name, or under a similar one if that is taken, which it
// returns, and tells everyone. Only the newcomer is sent all names.
func (ro *room) join(c *websocket.Conn, name string) (free string) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	free = ro.freeNameLocked(name)
	ro.names[free] = struct{}{}
	c.Send(websocket.Text, encode(event{
		Kind: "welcome", Name: free, People: slices.Sorted(maps.Keys(ro.names)), Recent: ro.recent,
	}))
	ro.everyone.Add(c)
	ro.tellLocked(event{Kind: "joined", Name: free})
	return free
}

// freeNameLocked returns name, with a number behind it if it is taken.
func (ro *room) freeNameLocked(name string) string {
	free := name
	for n := 2; ; n++ {
		if _, taken := ro.names[free]; !taken {
			return free
		}
		free = fmt.Sprintf("%s %d", name, n)
	}
}

// leave tells everyone that the person of this name has left.
func (ro *room) leave(name string) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	delete(ro.names, name)
	ro.tellLocked(event{Kind: "left", Name: name})
}

// say tells everyone, including its author, what the person of this name wrote.
func (ro *room) say(name, text string) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	e := ro.tellLocked(event{Kind: "message", Name: name, Text: text, Number: ro.said.Add(1)})
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
