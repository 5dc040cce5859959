package main

import (
	"fmt"
	"testing"

	"github.com/fullduplex-go/websocket/internal/browser"
)

// JavaScript conditions on the page.
const (
	connected = `document.getElementById("state").dataset.state === "open"`
	goingAway = `document.getElementById("reason").textContent.includes("going away")`
)

// named is true once the room knows a page's reader by name.
func named(name string) string {
	return fmt.Sprintf(`%s && myName === %q`, connected, name)
}

// shows is true once the page has a message with exactly this text.
func shows(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".bubble")].some((e) => e.textContent === %q)`, text)
}

// TestTwoTabs lets two tabs of a real browser talk to each other, before and
// after a restart of the server.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, stop := startServer(t, "localhost:0")
	page := "http://" + addr
	ada, bob := b.Open(page), b.Open(page)
	for name, tab := range map[string]*browser.Tab{"Ada": ada, "Bob": bob} {
		tab.Until(connected)
		tab.Type("#name", name)
		tab.Until(named(name))
	}

	ada.Type("#text", `<b>hello</b> & "good morning"`)
	bob.Until(shows(`<b>hello</b> & "good morning"`))
	bob.Type("#text", "hello yourself")
	ada.Until(shows("hello yourself"))

	stop()
	ada.Until(goingAway)
	bob.Until(goingAway)
	startServer(t, addr)
	ada.Until(named("Ada"))
	bob.Until(named("Bob"))
	bob.Type("#text", "still there?")
	ada.Until(shows("still there?"))
}
