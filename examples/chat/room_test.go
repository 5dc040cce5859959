package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// A person is a client in a room.
type person struct {
	t   *testing.T
	ctx context.Context
	c   *websocket.Conn
}

// enter joins a room of the server at addr.
func enter(t *testing.T, addr, room, name string) *person {
	t.Helper()
	return enterWith(t, addr, room, name, nil)
}

func enterWith(t *testing.T, addr, room, name string, opts *websocket.DialOptions) *person {
	t.Helper()
	ctx := deadline(t)
	c, _, err := websocket.Dial(ctx, "ws://"+addr+path(room, name), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &person{t, ctx, c}
}

// path returns where somebody enters a room.
func path(room, name string) string {
	return "/ws?" + url.Values{"room": {room}, "name": {name}}.Encode()
}

// next returns the next event of a kind and skips all others.
func (p *person) next(kind string) event {
	p.t.Helper()
	for {
		_, data, err := p.c.Read(p.ctx)
		if err != nil {
			p.t.Fatalf("waiting for %q: %v", kind, err)
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			p.t.Fatal(err)
		}
		if e.Kind == kind {
			return e
		}
	}
}

// say writes a message.
func (p *person) say(text string) {
	p.t.Helper()
	if err := p.c.WriteString(p.ctx, text); err != nil {
		p.t.Fatal(err)
	}
}

// wantEnd reads to the end of the connection and checks its close code.
func (p *person) wantEnd(code websocket.CloseCode) {
	p.t.Helper()
	if err := endOf(p.ctx, p.c); !errors.Is(err, code) {
		p.t.Errorf("ended with %v, want %v", err, code)
	}
}

func TestEverybodyHears(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	ada := enter(t, addr, "lobby", "Ada")
	ada.next("joined")
	bob := enter(t, addr, "lobby", "Bob")
	if e := bob.next("welcome"); e.Name != "Bob" || !slices.Equal(e.People, []string{"Ada", "Bob"}) {
		t.Errorf("Bob was told %+v", e)
	}
	if e := ada.next("joined"); e.Name != "Bob" {
		t.Errorf("Ada was told %+v", e)
	}
	ada.say("  hello  ")
	for _, p := range []*person{ada, bob} {
		if e := p.next("message"); e.Name != "Ada" || e.Text != "hello" || e.Number != 1 {
			t.Errorf("got %+v", e)
		}
	}
	bob.c.Close(websocket.CloseNormal, "")
	if e := ada.next("left"); e.Name != "Bob" {
		t.Errorf("Ada was told %+v", e)
	}
}

func TestNewcomerSeesTheLastMessages(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	ada := enter(t, addr, "lobby", "Ada")
	for i := range maxRecent + 5 {
		ada.say(fmt.Sprint(i))
		ada.next("message")
	}
	ada.say(" ") // ignored
	recent := enter(t, addr, "lobby", "Bob").next("welcome").Recent
	if len(recent) != maxRecent {
		t.Fatalf("got %d messages, want %d", len(recent), maxRecent)
	}
	for i, e := range recent {
		if e.Text != fmt.Sprint(i+5) {
			t.Errorf("message %d is %q", i, e.Text)
		}
		if e.Number != int64(i+6) {
			t.Errorf("message %d has the number %d", i, e.Number)
		}
		if i > 0 && e.Time <= recent[i-1].Time {
			t.Errorf("message %d is not later than the one before", i)
		}
	}
}

func TestNamesAreUnlike(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	for _, want := range []string{"Ada", "Ada 2", "Ada 3"} {
		if got := enter(t, addr, "lobby", "Ada").next("welcome").Name; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"Ada":                   "Ada",
		" Ada \t Lovelace\n":    "Ada Lovelace",
		"":                      "Guest",
		"\x00\x1b\u202e":        "Guest",
		"a\u202eb":              "ab",
		strings.Repeat("ü", 30): strings.Repeat("ü", maxName),
		"Zoë 😀":                 "Zoë 😀",
	} {
		if got := cleanName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestRefusedMessages(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	t.Run("binary", func(t *testing.T) {
		p := enter(t, addr, "lobby", "Ada")
		if err := p.c.Write(p.ctx, websocket.Binary, []byte{1}); err != nil {
			t.Fatal(err)
		}
		p.wantEnd(websocket.CloseUnsupportedData)
	})
	t.Run("too long", func(t *testing.T) {
		p := enter(t, addr, "lobby", "Ada")
		p.say(strings.Repeat("x", maxText+1))
		p.wantEnd(websocket.CloseMessageTooBig)
	})
}

// TestSlowPage checks that a connection that never reads is closed and holds
// up nobody.
func TestSlowPage(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, "localhost:0")
	ada := enter(t, addr, "lobby", "Ada")
	ada.next("joined")
	enterWith(t, addr, "lobby", "Sloth", &websocket.DialOptions{NetDial: dialNarrow})
	ada.next("joined")
	long := strings.Repeat("x", maxText)
	for left := false; !left; {
		ada.say(long)
		_, data, err := ada.c.Read(ada.ctx)
		if err != nil {
			t.Fatal(err)
		}
		left = strings.HasPrefix(string(data), `{"kind":"left","name":"Sloth"`)
	}
}

// dialNarrow connects with a small receive buffer.
func dialNarrow(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return nc, nc.(*net.TCPConn).SetReadBuffer(4096)
}

func TestStop(t *testing.T) {
	addr, stop := startServer(t, "localhost:0")
	ada, bob := enter(t, addr, "lobby", "Ada"), enter(t, addr, "lobby", "Bob")
	go stop()
	ada.wantEnd(websocket.CloseGoingAway)
	bob.wantEnd(websocket.CloseGoingAway)
}
