package main

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
)

// What a house holds and how often it tells of it, whatever its limits are.
const (
	maxRoomName = 32  // runes of a room's name
	maxEmpty    = 100 // rooms without people whose messages are kept

	listPause = 250 * time.Millisecond // between changes of the list of rooms
)

// A listing is what everyone is told of a room.
type listing struct {
	Name     string `json:"name"`
	People   int    `json:"people"`   // 0: the room is no longer listed
	Messages int64  `json:"messages"` // written so far
}

// limits bound what the people outside can make of a house.
type limits struct {
	rooms  int // with people in them
	people int // in one room
}

// A house is a set of rooms. The first who enters a room makes it, and it is no
// longer listed when the last has left, but the latest of the empty ones keep
// their messages. The methods are safe for concurrent use.
//
// The lock of the house is not held together with that of a room.
type house struct {
	most     limits
	everyone websocket.Group // those in all rooms

	mu      sync.Mutex
	rooms   map[string]*room
	empty   []*room             // of rooms, those without people, the longest empty first
	changed map[string]struct{} // names of rooms of which everyone is to be told
}

// newHouse returns a house without rooms.
func newHouse(most limits) *house {
	return &house{most: most, rooms: make(map[string]*room), changed: make(map[string]struct{})}
}

// enter takes the names of a room and a person from the request, which must not
// be used once the connection is served.
func (h *house) enter(r *http.Request) (serve func(c *websocket.Conn) error, err error) {
	room, ok := roomName(r.URL.Query().Get("room"))
	if !ok {
		return nil, &websocket.HandshakeError{Status: http.StatusBadRequest, Reason: badRoomName}
	}
	name := cleanName(r.URL.Query().Get("name"))
	return func(c *websocket.Conn) error { return h.serve(c, room, name) }, nil
}

// serve serves one connection: it joins the room, speaks and leaves.
func (h *house) serve(c *websocket.Conn, room, name string) error {
	h.showRooms(c)
	ro, err := h.take(room)
	if err != nil {
		return err // the page shows the reason, and the other rooms
	}
	defer h.giveBack(ro)
	name = ro.join(c, name)
	defer ro.leave(name)
	for m, err := range c.Messages(c.Context()) {
		switch {
		case err != nil:
			return err
		case m.Type != websocket.Text:
			return websocket.CloseUnsupportedData
		}
		if text := strings.TrimSpace(string(m.Data)); text != "" {
			ro.say(name, text)
			h.note(ro)
		}
	}
	return nil
}

// showRooms sends c the whole list of rooms, and from now on its changes.
func (h *house) showRooms(c *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.Send(websocket.Text, encode(h.listLocked(h.inhabitedLocked())))
	h.everyone.Add(c)
}

// take returns the room of that name with a place in it taken, which must be
// given back. The error closes the connection with a reason for its person.
func (h *house) take(name string) (*room, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ro := h.rooms[name]
	switch {
	case ro != nil && ro.people >= h.most.people:
		return nil, refusal("This room is full: %d people are in it. Choose another room, or wait.", ro.people)
	case (ro == nil || ro.people == 0) && len(h.rooms)-len(h.empty) >= h.most.rooms:
		return nil, refusal("There is no place for another room besides these %d. Choose one of them.", h.most.rooms)
	case ro == nil:
		ro = &room{name: name, names: make(map[string]struct{})}
		h.rooms[name] = ro
	case ro.people == 0:
		h.empty = slices.DeleteFunc(h.empty, func(e *room) bool { return e == ro })
	}
	ro.people++
	h.noteLocked(ro)
	return ro, nil
}

// refusal returns the end of a connection for which there is no place now.
func refusal(format string, args ...any) error {
	return &websocket.CloseError{Code: websocket.CloseTryAgainLater, Reason: fmt.Sprintf(format, args...)}
}

// giveBack gives back a place in ro. Of the empty rooms it keeps the latest in
// which something was said.
func (h *house) giveBack(ro *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ro.people--
	h.noteLocked(ro)
	switch {
	case ro.people > 0:
		return
	case ro.said.Load() == 0:
		delete(h.rooms, ro.name)
		return
	}
	h.empty = append(h.empty, ro)
	if len(h.empty) > maxEmpty {
		delete(h.rooms, h.empty[0].name)
		h.empty = slices.Delete(h.empty, 0, 1)
	}
}

// note tells everyone soon that the listing of ro has changed.
func (h *house) note(ro *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteLocked(ro)
}

// noteLocked is note for callers that hold the lock.
func (h *house) noteLocked(ro *room) {
	if len(h.changed) == 0 {
		time.AfterFunc(listPause, h.tell)
	}
	h.changed[ro.name] = struct{}{}
}

// tell tells everyone of the rooms that have changed since the last time.
func (h *house) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.everyone.Send(websocket.Prepare(websocket.Text, encode(h.listLocked(maps.Keys(h.changed)))))
	clear(h.changed)
}

// inhabitedLocked returns the names of the rooms with people in them.
func (h *house) inhabitedLocked() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, ro := range h.rooms {
			if ro.people > 0 && !yield(name) {
				return
			}
		}
	}
}

// listLocked returns the listings of the rooms with these names, sorted.
func (h *house) listLocked(names iter.Seq[string]) event {
	e := event{Kind: "rooms"}
	for _, name := range slices.Sorted(names) {
		l := listing{Name: name}
		if ro := h.rooms[name]; ro != nil {
			l.People, l.Messages = ro.people, ro.said.Load()
		}
		e.Rooms = append(e.Rooms, l)
	}
	return e
}

// badRoomName says what a room may be called.
const badRoomName = "a room's name has 1 to 32 letters, digits, - and _"

// roomName returns s in lower case, and whether a room may be called so.
func roomName(s string) (name string, ok bool) {
	name = strings.ToLower(s)
	foreign := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' }
	n := utf8.RuneCountInString(name)
	return name, n > 0 && n <= maxRoomName && !strings.ContainsFunc(name, foreign)
}
