package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

// A bubble is a house with its server in memory, where time passes only while
// everybody waits.
type bubble struct {
	t      *testing.T
	house  *house
	server *wstest.Server
}

// inBubble runs a test with a new house.
func inBubble(t *testing.T, most limits, test func(b bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(most)
		test(bubble{t, h, wstest.NewServer(t, websocket.Handler(nil, h.enter))})
	})
}

// enter joins a room.
func (b bubble) enter(room, name string) *person {
	b.t.Helper()
	return &person{b.t, deadline(b.t), b.server.Dial(path(room, name), nil)}
}

// leave closes p and waits until the house knows.
func (b bubble) leave(p *person) {
	b.t.Helper()
	if err := p.c.Close(websocket.CloseNormal, ""); err != nil {
		b.t.Error(err)
	}
	synctest.Wait()
}

// wantListed reads lists of rooms until they say this of room.
func (p *person) wantListed(want listing) {
	p.t.Helper()
	for {
		if e := p.next("rooms"); slices.Contains(e.Rooms, want) {
			return
		}
	}
}

func TestRoomsAreApart(t *testing.T) {
	inBubble(t, roomy, func(b bubble) {
		ada, bob := b.enter("golang", "Ada"), b.enter("tea", "Ada")
		for _, p := range []*person{ada, bob} {
			if e := p.next("welcome"); e.Name != "Ada" || !slices.Equal(e.People, []string{"Ada"}) {
				t.Errorf("welcomed with %+v", e)
			}
		}
		ada.say("for gophers")
		ada.next("message")
		bob.say("with milk")
		if e := bob.next("message"); e.Text != "with milk" || e.Number != 1 {
			t.Errorf("in the other room came %+v", e)
		}
		if recent := b.enter("tea", "Cleo").next("welcome").Recent; len(recent) != 1 || recent[0].Text != "with milk" {
			t.Errorf("a newcomer is shown %+v", recent)
		}
	})
}

func TestRoomName(t *testing.T) {
	for in, want := range map[string]string{
		"lobby":                 "lobby",
		"GoLang":                "golang",
		"c-64_fans":             "c-64_fans",
		"München":               "münchen",
		strings.Repeat("ß", 32): strings.Repeat("ß", 32),
	} {
		if got, ok := roomName(in); !ok || got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, ok, want)
		}
	}
	for _, bad := range []string{"", " ", "a b", "a/b", "a.b", "#a", "a\x00", "\u202ea", "😀", "\xff", strings.Repeat("a", 33)} {
		if got, ok := roomName(bad); ok {
			t.Errorf("%q is accepted as %q", bad, got)
		}
	}
}

func TestBadRoomIsRefused(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	for _, room := range []string{"", "a b", strings.Repeat("x", 33)} {
		c, resp, err := websocket.Dial(deadline(t), "ws://"+addr+path(room, "Ada"), nil)
		if err == nil {
			c.CloseNow()
			t.Fatalf("%q is accepted", room)
		}
		if resp == nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(err.Error(), badRoomName) {
			t.Errorf("%q: %v", room, err)
		}
	}
}

func TestListOfRooms(t *testing.T) {
	inBubble(t, roomy, func(b bubble) {
		ada := b.enter("golang", "Ada")
		if e := ada.next("rooms"); len(e.Rooms) != 0 {
			t.Errorf("the first was sent %+v", e.Rooms)
		}
		ada.wantListed(listing{Name: "golang", People: 1})
		bob := b.enter("tea", "Bob")
		if e := bob.next("rooms"); !slices.Equal(e.Rooms, []listing{{Name: "golang", People: 1}}) {
			t.Errorf("the second was sent %+v", e.Rooms)
		}
		ada.wantListed(listing{Name: "tea", People: 1})
		bob.say("with milk")
		ada.wantListed(listing{Name: "tea", People: 1, Messages: 1})
		b.leave(bob)
		ada.wantListed(listing{Name: "tea", People: 0, Messages: 1})
		if e := b.enter("lobby", "Cleo").next("rooms"); !slices.Equal(e.Rooms, []listing{{Name: "golang", People: 1}}) {
			t.Errorf("after the last of a room has left came %+v", e.Rooms)
		}
	})
}

// TestListIsSentOnce checks that what many do at once is told at once.
func TestListIsSentOnce(t *testing.T) {
	inBubble(t, roomy, func(b bubble) {
		ada := b.enter("golang", "Ada")
		ada.next("rooms")
		for i := range 50 {
			b.enter(fmt.Sprint("room-", i%5), "Bob").next("joined")
		}
		var sizes []int
		for _, l := range ada.next("rooms").Rooms {
			sizes = append(sizes, l.People)
		}
		if want := []int{1, 10, 10, 10, 10, 10}; !slices.Equal(sizes, want) {
			t.Errorf("the next list has rooms with %d people, want %d", sizes, want)
		}
	})
}

// TestJoiningCostsTheSame checks that what a person is sent when somebody joins
// does not grow with the number of people.
func TestJoiningCostsTheSame(t *testing.T) {
	inBubble(t, roomy, func(b bubble) {
		ada := b.enter("golang", "Ada")
		ada.next("joined")
		cost := func(name string) uint64 {
			before := ada.c.Stats().BytesIn
			b.enter("golang", name).next("joined")
			ada.next("joined")
			return ada.c.Stats().BytesIn - before
		}
		first := cost("Bob 000")
		for i := range 200 {
			cost(fmt.Sprintf("Bob %03d", i+1))
		}
		if last := cost("Bob 999"); last != first || first == 0 {
			t.Errorf("the first join takes %d bytes, that of the 202nd %d", first, last)
		}
	})
}

func TestLimits(t *testing.T) {
	inBubble(t, limits{rooms: 2, people: 2}, func(b bubble) {
		ada, bob := b.enter("golang", "Ada"), b.enter("tea", "Bob")
		ada.next("welcome")
		bob.next("welcome")
		b.enter("golang", "Cleo").next("welcome")

		third := b.enter("golang", "Dan")
		if e := third.next("rooms"); len(e.Rooms) != 2 {
			t.Errorf("who does not get in is sent %+v", e.Rooms)
		}
		third.wantRefusal("This room is full: 2 people")
		b.enter("chess", "Dan").wantRefusal("besides these 2")

		b.leave(ada)
		b.enter("golang", "Dan").next("welcome")
		bob.say("with milk")
		bob.next("message")
		b.leave(bob)
		b.enter("chess", "Eve").next("welcome")
		b.enter("tea", "Bob").wantRefusal("besides these 2") // it has messages, but no people
	})
}

// wantRefusal reads to the end of a connection for which there was no place.
func (p *person) wantRefusal(words string) {
	p.t.Helper()
	var end *websocket.CloseError
	if err := endOf(p.ctx, p.c); !errors.As(err, &end) || end.Code != websocket.CloseTryAgainLater || !strings.Contains(end.Reason, words) {
		p.t.Errorf("ended with %v, want 1013 and %q", err, words)
	}
}

func TestSilentRoomIsRemoved(t *testing.T) {
	inBubble(t, roomy, func(b bubble) {
		ada := b.enter("golang", "Ada")
		ada.next("welcome")
		b.leave(ada)
		if len(b.house.rooms) != 0 || len(b.house.empty) != 0 {
			t.Errorf("left are %v, %v", b.house.rooms, b.house.empty)
		}
	})
}

// TestEmptyRoomsAreBounded visits more rooms than keep their messages.
func TestEmptyRoomsAreBounded(t *testing.T) {
	inBubble(t, roomy, func(b bubble) {
		room := func(i int) string { return fmt.Sprint("room-", i) }
		for i := range maxEmpty + 3 {
			p := b.enter(room(i), "Ada")
			p.say(room(i))
			p.next("message")
			b.leave(p)
		}
		if len(b.house.rooms) != maxEmpty || len(b.house.empty) != maxEmpty {
			t.Errorf("%d rooms are left, of which %d are empty, want %d", len(b.house.rooms), len(b.house.empty), maxEmpty)
		}
		if e := b.enter(room(2), "Bob").next("welcome"); len(e.Recent) != 0 {
			t.Errorf("the room that was empty the longest has kept %+v", e.Recent)
		}
		if e := b.enter(room(3), "Bob").next("welcome"); len(e.Recent) != 1 || e.Recent[0].Text != room(3) {
			t.Errorf("a room that keeps its messages has %+v", e.Recent)
		}
		if len(b.house.empty) != maxEmpty-1 {
			t.Errorf("%d rooms are empty after one was entered", len(b.house.empty))
		}
	})
}
