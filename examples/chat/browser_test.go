package main

import (
	"fmt"
	"slices"
	"strings"
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

// showsAll is true if these are all messages on the page, in this order.
func showsAll(texts ...string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".bubble")].map((e) => e.textContent).join("|") === %q`, strings.Join(texts, "|"))
}

// counts is true once the list has a room with so many people and so many unread
// messages, as words.
func counts(room string, people int, unread string) string {
	return fmt.Sprintf(`((a) => a?.querySelector(".number").textContent === "%d" && a.querySelector(".unread").textContent === %q)
		(document.querySelector('#rooms a[data-name=%q]'))`, people, unread, room)
}

// sized is true once the page has this viewport.
func sized(width, height int) string {
	return fmt.Sprintf(`document.documentElement.clientWidth === %d && document.documentElement.clientHeight === %d`, width, height)
}

// focused is true if the element with this id has the focus.
func focused(id string) string { return fmt.Sprintf(`document.activeElement.id === %q`, id) }

// openAs returns a tab that has entered a room under a name.
func openAs(b *browser.Browser, addr, room, name string) *browser.Tab {
	tab := b.Open("http://" + addr + "/#" + room)
	tab.Until(connected)
	tab.Type("#name", name)
	tab.Until(named(name))
	return tab
}

// TestTwoTabs lets two tabs of a real browser talk to each other, before and
// after a restart of the server.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, stop := startServer(t, "localhost:0")
	ada, bob := openAs(b, addr, "", "Ada"), openAs(b, addr, "", "Bob")

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

// TestTwoTabsInTwoRooms checks what the tabs see of each other's rooms, and that
// a switch keeps the name.
func TestTwoTabsInTwoRooms(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startServer(t, "localhost:0")
	ada, bob := openAs(b, addr, "golang", "Ada"), openAs(b, addr, "tea", "Bob")
	ada.Until(counts("golang", 1, "") + "&&" + counts("tea", 1, ""))
	ada.Type("#text", "for gophers")
	bob.Type("#text", "with milk")
	ada.Until(showsAll("for gophers"))
	bob.Until(showsAll("with milk") + "&&" + counts("golang", 1, "")) // never visited

	bob.Eval(`document.querySelector('#rooms a[data-name="golang"]').click()`, nil)
	bob.Until(named("Bob") + "&&" + showsAll("for gophers") + `&& location.hash === "#golang" && document.title === "#golang · Chat"`)
	ada.Until(counts("golang", 2, "") + `&& !document.querySelector('#rooms a[data-name="tea"]')`)
	cleo := enter(t, addr, "tea", "Cleo")
	for _, text := range []string{"with lemon", "with sugar"} {
		cleo.say(text)
		cleo.next("message")
	}
	bob.Until(counts("tea", 1, "2"))

	bob.Eval(`history.back()`, nil)
	bob.Until(showsAll("with milk", "with lemon", "with sugar") + "&&" + named("Bob") + "&&" + counts("tea", 2, ""))
	bob.Eval(`location.reload()`, nil)
	bob.Until(showsAll("with milk", "with lemon", "with sugar") + "&&" + named("Bob"))
}

// TestPageReconnects loses the connection, and then the server: the page comes
// back into its room and shows no message twice.
func TestPageReconnects(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, stop := startServer(t, "localhost:0")
	tab := openAs(b, addr, "tea", "Ada")
	tab.Type("#text", "one")
	tab.Until(showsAll("one"))
	bob := enter(t, addr, "tea", "Bob")
	bob.next("joined")
	bob.say("two")
	tab.Until(showsAll("one", "two"))

	tab.Eval(`socket.close(4000)`, nil)
	bob.next("left")
	bob.say("meanwhile")
	bob.next("message")
	tab.Until(showsAll("one", "two", "meanwhile") + "&&" + named("Ada"))

	bob.c.CloseNow()
	stop()
	tab.Until(goingAway)
	startServer(t, addr)
	tab.Until(named("Ada") + `&& location.hash === "#tea"`)
	enter(t, addr, "tea", "Bob").say("after all")
	tab.Until(showsAll("one", "two", "meanwhile", "after all"))
	if recent := enter(t, addr, "tea", "Cleo").next("welcome").Recent; len(recent) != 1 {
		t.Errorf("the page came back into another room: %+v", recent)
	}
}

// names are those of people whose names a page may find hard to show.
var names = []string{
	"Ada", "Bartholomew Featherstone", "ＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷＷ",
	"🦊🐙🦉🐝🦋🐢🐳🦀🐌🐛🦎🐸🦊🐙🦉🐝🦋🐢🐳🦀🐌🐛🦎🐸", "مرحبا بكم في الغرفة", "Donaudampfschiffskapitän",
	"שלום, עולם", "Zoë", "WWWWWWWWWWWWWWWWWWWWWWWW", "iiiiiiiiiiiiiiiiiiiiiiii",
}

// crowd lets people with hard names enter a room until there are n, besides one
// who is there.
func crowd(t *testing.T, addr, room string, have, n int) {
	t.Helper()
	for i := have; i < n; i++ {
		enter(t, addr, room, names[i%len(names)]).next("joined")
	}
}

// layout returns what is wrong with the page besides its width.
const layout = `(() => {
	const wrong = [], box = (id) => document.querySelector(id).getBoundingClientRect();
	for (const id of ["header", "#composer", "#text", "#send"]) {
		const { top, bottom, height } = box(id);
		if (top < 0 || bottom > innerHeight || height < 20) wrong.push(id + " lies from " + top + " to " + bottom + " of " + innerHeight);
	}
	if (box("#log").height < 200) wrong.push("the log is " + box("#log").height + " high");
	const people = document.querySelector("#side section"), menu = box("#menu").width;
	if (menu === 0 && people.clientHeight < 100) wrong.push("the list of people is " + people.clientHeight + " high");
	if (menu > 0 && people.checkVisibility()) wrong.push("the list of people is open");
	return wrong;
})()`

// TestPageFits shows rooms with few and many people on all kinds of screens.
func TestPageFits(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startServer(t, "localhost:0")
	tab := b.Open("http://" + addr + "/#abcdefghijklmnopqrstuvwxyz-_0123")
	tab.Until(connected)
	for i := range 30 {
		enter(t, addr, fmt.Sprint("room-", i), "Ada").next("joined")
	}
	enter(t, addr, strings.Repeat("w", maxRoomName), "Ada")
	have := 1
	for _, n := range []int{1, 3, 12, 30, 200} {
		crowd(t, addr, "abcdefghijklmnopqrstuvwxyz-_0123", have, n)
		have = n
		tab.Until(fmt.Sprintf(`people.size === %d && document.querySelectorAll("#people li").length === %d`, n, n))
		for _, width := range []int{360, 768, 1000, 1600} {
			for _, scheme := range []browser.Scheme{browser.Light, browser.Dark} {
				tab.Prefer(scheme)
				fits(t, tab, width)
			}
		}
	}
	tab.Until(`document.querySelectorAll(".notice").length === 1 && document.querySelector(".notice").textContent.endsWith("197 others joined")`)
}

// fits checks the page at a width, and on a narrow page also the dialog with its
// lists.
func fits(t *testing.T, tab *browser.Tab, width int) {
	t.Helper()
	height := 760
	tab.Resize(width, height)
	tab.Until(sized(width, height))
	tab.Fits()
	var wrong []string
	tab.Eval(layout, &wrong)
	if len(wrong) > 0 {
		t.Errorf("%d px: %q", width, wrong)
	}
	if width >= 768 {
		return
	}
	tab.Eval(`document.getElementById("menu").click()`, nil)
	tab.Until(`drawer.open && document.querySelector("#side section").clientHeight > 100`)
	tab.Fits()
	tab.Eval(`document.getElementById("shut").click()`, nil)
	tab.Until(`!drawer.open && document.body.contains(side) && !drawer.contains(side)`)
}

// TestPageWithLongMessages shows a word that no line holds, and more messages
// than the page keeps.
func TestPageWithLongMessages(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startServer(t, "localhost:0")
	tab := b.Open("http://" + addr)
	tab.Until(connected)
	bob := enter(t, addr, "lobby", names[2])
	bob.next("joined")
	word := strings.Repeat("w", 2000)
	bob.say(word)
	bob.say(strings.Repeat("many words ", 180))
	tab.Until(shows(word))
	for _, width := range []int{360, 1600} {
		fits(t, tab, width)
	}
	for i := range 510 {
		bob.say(fmt.Sprint("message ", i))
		bob.next("message")
	}
	tab.Until(shows("message 509") + `&& log.children.length === 501`)
	tab.Until(`log.scrollHeight - log.scrollTop - log.clientHeight < 2`)
	tab.Until(`getComputedStyle(log.children[1].querySelector(".by")).display !== "none"`) // the author of the first stays
	fits(t, tab, 360)
}

// TestPageSaysWhy checks what the page says when there is no place, and when the
// address does not name a room.
func TestPageSaysWhy(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startLimited(t, "localhost:0", limits{rooms: 2, people: 1})
	ada := enter(t, addr, "golang", "Ada")
	ada.next("joined")
	enter(t, addr, "chess", "Cleo").next("joined")

	reason := func(words string) string {
		return fmt.Sprintf(`document.getElementById("reason").checkVisibility() && document.getElementById("reason").textContent.includes(%q)`, words)
	}
	tab := b.Open("http://" + addr + "/#golang")
	tab.Until(reason("This room is full") + "&&" + counts("chess", 1, ""))
	tab.Type("#wanted", "tea")
	tab.Until(reason("no place for another room") + `&& location.hash === "#tea"`)
	ada.c.CloseNow()
	tab.Until(connected + `&& room === "tea" && !document.getElementById("reason").checkVisibility()`)

	tab.Type("#wanted", "no spaces, please")
	tab.Until(`document.getElementById("problem").textContent.includes("letters, digits, - and _") && room === "tea"`)
	for _, bad := range []string{"a%20b", "%zz", "a/b"} {
		tab.Eval(fmt.Sprintf(`location.hash = %q`, "#"+bad), nil)
		tab.Until(`room === "lobby" && location.hash === "#lobby" && document.querySelector(".warning")?.role === "alert"`)
		tab.Eval(`location.hash = "#TEA"`, nil)
		tab.Until(connected + `&& room === "tea" && location.hash === "#tea" && !document.querySelector(".warning")`)
	}
}

// TestPageByKeyboard does everything without a pointer.
func TestPageByKeyboard(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startServer(t, "localhost:0")
	tab := openAs(b, addr, "golang", "Ada")
	enter(t, addr, "tea", "Bob").next("joined")
	tab.Until(counts("tea", 1, "") + "&&" + focused("text"))

	tab.Insert("by keyboard")
	tab.Press("Enter")
	tab.Until(showsAll("by keyboard"))
	reachAll(t, tab, "wanted", "button", "a", "a", "people", "log", "name", "text", "send")

	tab.Eval(`document.querySelector("#rooms a").focus()`, nil)
	tab.Press("End", "ArrowUp", "ArrowDown")
	tab.Until(`document.activeElement.dataset.name === "tea"`)
	tab.Press("Enter")
	tab.Until(named("Ada") + `&& room === "tea"`)

	tab.Eval(`document.getElementById("wanted").focus()`, nil)
	tab.Insert("Chess")
	tab.Press("Enter")
	tab.Until(named("Ada") + `&& room === "chess" &&` + focused("text"))
	byDialog(tab)
}

// reachAll checks that Tab goes through the page in this order, given by id or,
// without one, by kind of element, and that the focus is always to be seen.
func reachAll(t *testing.T, tab *browser.Tab, want ...string) {
	t.Helper()
	tab.Eval(`document.getElementById("wanted").focus()`, nil)
	var got []string
	for range want {
		var at struct {
			Name    string
			Outline string
		}
		tab.Eval(`(({ id, localName }, { outlineStyle, outlineWidth }) => ({
			name: id || localName, outline: outlineStyle + " " + outlineWidth,
		}))(document.activeElement, getComputedStyle(document.activeElement))`, &at)
		got = append(got, at.Name)
		if at.Outline != "solid 3px" {
			t.Errorf("%s has the outline %q", at.Name, at.Outline)
		}
		tab.Press("Tab")
	}
	if !slices.Equal(got, want) {
		t.Errorf("Tab reaches %q, want %q", got, want)
	}
}

// byDialog chooses a room on a phone.
func byDialog(tab *browser.Tab) {
	tab.Resize(360, 760)
	tab.Until(`document.getElementById("menu").checkVisibility()`)
	tab.Press("Shift+Tab", "Shift+Tab", "Shift+Tab")
	tab.Until(focused("menu"))
	tab.Press("Enter")
	tab.Until(`drawer.open &&` + focused("shut"))
	tab.Press("Escape")
	tab.Until(`!drawer.open &&` + focused("menu"))
	tab.Press(" ", "Tab", "Tab", "Tab", "End")
	tab.Until(`document.activeElement.dataset.name === "tea"`)
	tab.Press("Enter")
	tab.Until(`!drawer.open && room === "tea" &&` + focused("menu") + "&&" + connected)

	tab.Press("Enter")
	tab.Until(`drawer.open`)
	tab.Resize(1000, 760)
	tab.Until(`!drawer.open && document.querySelector("body > #side #rooms").checkVisibility()`)
}

// contrast returns what is hard to read on the page: text with less contrast to
// its background than WCAG 2.2 wants at level AA.
const contrast = `(() => {
	const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
	const over = (back, color) => {
		pen.fillStyle = back; pen.fillRect(0, 0, 1, 1);
		pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
		const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
		return "rgb(" + r + " " + g + " " + b + ")";
	};
	const light = (color) => color.match(/\d+/g)
		.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => e ? over(behind(e.parentElement), getComputedStyle(e).backgroundColor) : "white";
	const wrong = [];
	for (const e of document.querySelectorAll("body *")) {
		const shown = e.checkVisibility() && getComputedStyle(e).clipPath === "none" && !e.matches(":disabled, svg *");
		const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
		if (!shown || !own && !e.placeholder) continue;
		const back = behind(e), styles = [getComputedStyle(e), getComputedStyle(e, e.placeholder ? "::placeholder" : null)];
		for (const { color } of styles) {
			const [a, b] = [light(over(back, color)), light(back)].sort((a, b) => b - a), ratio = (a + 0.05) / (b + 0.05);
			if (!(ratio >= 4.5)) wrong.push(e.localName + "#" + e.id + "." + e.className + " " + e.textContent + ": " + ratio);
		}
	}
	return wrong;
})()`

// TestPageContrast checks the colors of everything that the page shows.
func TestPageContrast(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, stop := startServer(t, "localhost:0")
	tab := openAs(b, addr, "golang", "Ada")
	for i := range 24 {
		p := enter(t, addr, "golang", string(rune('A'+i)))
		p.say("all hues")
		p.next("message")
		go endOf(p.ctx, p.c)
	}
	tab.Type("#text", "mine")
	tab.Until(shows("mine"))
	tab.Type("#wanted", "tea")
	tab.Until(`room === "tea" &&` + connected)
	zoe := enter(t, addr, "golang", "Zoë")
	zoe.say("unread")
	go endOf(zoe.ctx, zoe.c)
	tab.Until(counts("golang", 26-1, "1"))
	check := func() {
		t.Helper()
		for _, scheme := range []browser.Scheme{browser.Light, browser.Dark} {
			var wrong []string
			tab.Prefer(scheme)
			tab.Until(fmt.Sprintf(`matchMedia("(prefers-color-scheme: %s)").matches`, scheme))
			tab.Eval(contrast, &wrong)
			if len(wrong) > 0 {
				t.Errorf("%s: %q", scheme, wrong)
			}
		}
	}
	check()
	tab.Eval(`document.querySelector('#rooms a[data-name="golang"]').click()`, nil)
	tab.Until(shows("mine"))
	tab.Eval(`location.hash = "#a%20b"`, nil)
	tab.Until(`document.querySelector(".warning")`)
	tab.Eval(`document.querySelector('#rooms a[data-name="golang"]').click()`, nil)
	tab.Until(shows("mine"))
	tab.Type("#wanted", "?")
	stop()
	tab.Until(goingAway)
	check()
}

// TestPageStandsStill checks that nothing moves for those who asked for it.
func TestPageStandsStill(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startServer(t, "localhost:0")
	tab := b.Open("http://" + addr)
	tab.Until(connected)
	pulsing := `show("connecting", "Connecting…"), state.getAnimations({ subtree: true }).length`
	for motion, want := range map[string]int{"no-preference": 1, "reduce": 0} {
		tab.Call("Emulation.setEmulatedMedia", map[string]any{
			"features": []map[string]string{{"name": "prefers-reduced-motion", "value": motion}},
		}, nil)
		tab.Until(fmt.Sprintf(`matchMedia("(prefers-reduced-motion: %s)").matches`, motion))
		var got int
		tab.Eval(pulsing, &got)
		if got != want {
			t.Errorf("%s: %d animations, want %d", motion, got, want)
		}
	}
}

// TestPageInUse looks at a room with a conversation, in light and dark, on a
// phone, and with 30 people.
func TestPageInUse(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	addr, _ := startServer(t, "localhost:0")
	people := map[string]*person{}
	for _, name := range []string{"Grace", "Linus", "Margaret", "Zoë"} {
		people[name] = enter(t, addr, "golang", name)
		people[name].next("joined")
	}
	for i, room := range []string{"chess", "lobby", "münchen", "tea", "tea", "tea"} {
		enter(t, addr, room, names[i]).next("joined")
	}
	say := func(name, text string) {
		t.Helper()
		people[name].say(text)
		for people[name].next("message").Text != text {
		}
	}
	say("Grace", "Good morning! The release is out.")
	say("Linus", "Already? I am still reading the notes.")
	say("Margaret", "The part about contexts is worth it: a read that is canceled can be resumed.")
	say("Grace", "Yes, and the next call goes on in the same message.")
	tab := openAs(b, addr, "golang", "Ada")
	tab.Type("#text", "Morning, all. Does that hold for writes as well?")
	tab.Until(shows("Morning, all. Does that hold for writes as well?"))
	say("Zoë", "Before its first byte, yes. After that it is finished in the background.")
	say("Linus", "So nothing is half sent.")
	tab.Type("#text", "Then I can throw away a page of code. Thank you!")
	tab.Until(shows("Then I can throw away a page of code. Thank you!") + "&&" + shows("So nothing is half sent."))

	look := func(name string, width, height int, scheme browser.Scheme) {
		t.Helper()
		tab.Prefer(scheme)
		tab.Resize(width, height)
		tab.Until(sized(width, height))
		tab.Fits()
		tab.Screenshot(name)
	}
	look("chat-light", 1200, 800, browser.Light)
	look("chat-dark", 1200, 800, browser.Dark)
	look("chat-phone", 360, 760, browser.Light)
	tab.Eval(`document.getElementById("menu").click()`, nil)
	look("chat-phone-lists", 360, 760, browser.Dark)
	tab.Eval(`document.getElementById("shut").click()`, nil)
	crowd(t, addr, "golang", 5, 30)
	tab.Until(`people.size === 30`)
	look("chat-30", 1200, 800, browser.Light)
	look("chat-30-phone", 360, 760, browser.Dark)
}
