package main

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/browser"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// JavaScript conditions on the page.
const (
	open    = `document.getElementById("state").dataset.state === "open" && joined`
	perfect = `document.getElementById("tally").textContent.startsWith("0 missing, 0 twice")`
	moved   = `document.getElementById("moved").textContent.includes("nothing missed")`
	twenty  = `[...counts.values()].every((c) => c.next > c.first + 20) && counts.size > 0`
)

// shows is true once the page has a message with exactly this text.
func shows(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".bubble")].some((e) => e.textContent === %q)`, text)
}

// card is true once the page shows that a node has this state, or as many people.
func card(name, words string) string {
	return fmt.Sprintf(`document.querySelector('[data-node=%q] span')?.textContent === %q`, name, words)
}

// press is a click on a button of a node.
func press(does, name string) string {
	return fmt.Sprintf(`document.querySelector('[data-node=%q] .%s').click()`, name, does)
}

// nodeOf returns the node that serves a page.
func nodeOf(tab *browser.Tab) (name string) {
	tab.Eval("node", &name)
	return name
}

// TestPageMoves kills, by its own page, the node that serves it, while another page
// counts. Both see all of it.
func TestPageMoves(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	c, front := startCluster(t)
	ada, bob := b.Open(front), b.Open(front)
	ada.Until(open)
	bob.Until(open)
	require.NotEqual(t, nodeOf(ada), nodeOf(bob))

	first := nodeOf(ada)
	ada.Until(card(first, "1 here"))
	bob.Eval(`document.getElementById("talk").click()`, nil)
	ada.Until(twenty)
	ada.Eval(press("kill", first), nil)
	ada.Until(open + " && " + moved + ` && node !== "` + first + `"`)
	ada.Until(card(first, "killed"))
	ada.Type("#text", "still there?")
	bob.Until(shows("still there?"))

	ada.Eval(press("start", first), nil)
	awaitState(t, c, first, running)

	second := nodeOf(bob)
	bob.Eval(press("stop", second), nil)
	bob.Until(open + " && " + moved + ` && node !== "` + second + `"`)
	bob.Until(card(second, "stopped"))
	bob.Eval(`document.getElementById("talk").click()`, nil)
	bob.Until("outbox.size === 0")
	var sent int
	bob.Eval("number", &sent)
	for _, tab := range []*browser.Tab{ada, bob} {
		tab.Until(fmt.Sprintf("[...counts.values()][0].next === %d", sent+1))
		tab.Until(perfect)
	}
	assert.Greater(t, sent, 40)
}

// TestPageRefused shows a message that NATS does not take, and sends it again.
func TestPageRefused(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	dir := t.TempDir()
	s := startNATS(t, server.RANDOM_PORT, dir)
	front, _ := startAlone(t, s.ClientURL())
	tab := b.Open(front)
	tab.Until(open + ` && ` + card("machine-a", "1 here") + ` && document.querySelector(".node button:not([hidden])") === null`)
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	tab.Type("#text", "nobody stores it")
	tab.Until(`document.querySelector(".failed .again button") !== null`)
	tab.Screenshot("cluster-not-sent")
	startNATS(t, port, dir)
	tab.Eval(`document.querySelector(".failed .again button").click()`, nil)
	tab.Until(`outbox.size === 0 && document.querySelectorAll(".failed, .pending").length === 0`)
	tab.Until(shows("nobody stores it"))
}

// TestPageGap shows that the page begins anew if it has missed what is not kept.
func TestPageGap(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	front, _ := startAlone(t, startNATS(t, server.RANDOM_PORT, t.TempDir()).ClientURL())
	tab := b.Open(front)
	tab.Until(open)
	tab.Type("#text", "from before")
	tab.Until(shows("from before"))
	tab.Eval(`last = 2 ** 40; reconnect()`, nil)
	tab.Until(open + ` && moved.textContent.includes("no longer kept") && !` + shows("from before"))
	tab.Type("#text", "from now on")
	tab.Until(shows("from now on"))
}

// TestPageKeyboard uses the page without a mouse.
func TestPageKeyboard(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	c, front := startCluster(t)
	tab := b.Open(front + "/?room=keys")
	tab.Until(open + ` && document.activeElement.id === "text" && document.querySelectorAll(".kill:not([hidden])").length === 3`)
	tab.Insert("by keyboard")
	tab.Press("Enter")
	tab.Until(shows("by keyboard") + " && outbox.size === 0")
	tab.Press("Shift+Tab")
	tab.Until(`document.activeElement.id === "name"`)
	tab.Type("#name", "Ada")
	tab.Until(open + ` && myName === "Ada"`)
	tab.Eval("document.activeElement.blur(); getSelection().removeAllRanges(); document.body.tabIndex = -1; document.body.focus()", nil)
	tab.Press("Tab")
	tab.Until(`document.activeElement.getAttribute("aria-label") === "kill node-1"`)
	tab.Press("Tab", "Tab")
	tab.Until(`document.activeElement.getAttribute("aria-label") === "kill node-2"`)
	tab.Press("Enter")
	awaitState(t, c, "node-2", killed)
	tab.Until(card("node-2", "killed") + ` && document.activeElement.getAttribute("aria-label") === "start node-2"`)
	tab.Press(" ")
	awaitState(t, c, "node-2", running)
}

// conversation is what is said when pictures are taken.
var conversation = []struct {
	who  int
	text string
}{
	{0, "Good morning! Is everybody on the same server?"},
	{1, "No. The colors say which node each of us is on."},
	{4, "So what happens when one of them dies?"},
	{2, "Try it: press Kill. Its process gets no time to say goodbye."},
	{3, "I was on it. I am back on another one, and nothing is missing."},
}

// names are those of the guests who talk.
var names = []string{"Grace", "Alan", "Barbara", "Edsger", "Frances"}

// A counting is a guest that counts.
type counting struct{ halt, done chan struct{} }

// keepCounting lets a guest count until that is stopped.
func keepCounting(g *guest) *counting {
	c := &counting{make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(c.done)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for n := uint64(1); ; n++ {
			select {
			case <-c.halt:
				return
			case <-ticker.C:
				g.post(entry{Run: g.name, N: n})
			}
		}
	}()
	return c
}

// stop stops the guest.
func (c *counting) stop() {
	close(c.halt)
	<-c.done
}

// TestPageView looks at a room with thirty people in light and dark and on a phone.
func TestPageView(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	c, front := startCluster(t)
	tab := b.Open(front)
	tab.Resize(1200, 800)
	tab.Prefer(browser.Light)
	tab.Until(open)
	tab.Type("#name", "Ada")
	tab.Until(open + ` && myName === "Ada"`)
	guests := make([]*guest, 29)
	for i := range guests {
		name := fmt.Sprintf("Guest %d", i+1)
		if i < len(names) {
			name = names[i]
		}
		guests[i] = come(t, front, name, "lobby")
	}
	tab.Until(`people.names.length === 30`)
	for _, line := range conversation[:4] {
		guests[line.who].tell(line.text)
	}
	tab.Eval(`document.getElementById("talk").click()`, nil)
	tab.Until(twenty)
	talk := keepCounting(guests[5])
	victim := nodeOf(tab)
	tab.Eval(press("kill", victim), nil)
	awaitState(t, c, victim, killed)
	tab.Until(open + " && " + moved + ` && node !== "` + victim + `" && outbox.size < 5`)
	tab.Eval(`document.getElementById("talk").click()`, nil)
	talk.stop()
	tab.Until(`outbox.size === 0`)
	tab.Type("#text", "And I have counted all the while: look below.")
	guests[conversation[4].who].tell(conversation[4].text)
	tab.Until(shows(conversation[4].text) + " && " + perfect + ` && document.getElementById("people").textContent.startsWith("30 here")`)

	tab.Fits()
	tab.Screenshot("cluster-light")
	tab.Prefer(browser.Dark)
	tab.Until(`getComputedStyle(document.body).backgroundColor === "rgb(18, 20, 27)"`)
	tab.Fits()
	tab.Screenshot("cluster-dark")
	tab.Resize(360, 760)
	tab.Until(`innerWidth === 360`)
	tab.Fits()
	tab.Screenshot("cluster-phone")
}
