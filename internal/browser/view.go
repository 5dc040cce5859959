package browser

import (
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
)

// screenshots is where Screenshot writes. Tests that import this package take it
// as a flag: go test -run TestPage . -args -screenshots=/tmp
var screenshots = flag.String("screenshots", "", "`directory` for pictures of the pages under test; none are taken if it is empty")

// A Scheme is the color scheme that a page sees as the user's preference.
type Scheme string

// The schemes of CSS.
const (
	Light Scheme = "light"
	Dark  Scheme = "dark"
)

// Prefer sets the color scheme that the user of the page prefers.
func (tab *Tab) Prefer(s Scheme) {
	tab.b.t.Helper()
	tab.Call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": string(s)}},
	}, nil)
}

// Resize makes the page's viewport as large as this, in CSS pixels. One that is
// less than 500 wide is that of a phone.
func (tab *Tab) Resize(width, height int) {
	tab.b.t.Helper()
	tab.Call("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 0, "mobile": width < 500,
	}, nil)
}

// Fits fails the test if the page is wider than its viewport, or if an element
// that is shown reaches out of it to the left or right. Elements inside one that
// scrolls or clips sideways may.
func (tab *Tab) Fits() {
	tab.b.t.Helper()
	var wrong []string
	tab.Eval(`(() => {
		const root = document.documentElement, width = root.clientWidth, wrong = [];
		if (root.scrollWidth > width) wrong.push("the page is " + root.scrollWidth + " px wide");
		const clipped = (e) => {
			for (let up = e.parentElement; up && up !== root; up = up.parentElement)
				if (getComputedStyle(up).overflowX !== "visible") return true;
			return false;
		};
		for (const e of document.body.querySelectorAll("*")) {
			const box = e.getBoundingClientRect();
			if (!e.checkVisibility({ visibilityProperty: true }) || box.width === 0 || clipped(e)) continue;
			if (box.left < -1 || box.right > width + 1)
				wrong.push(e.tagName + "#" + e.id + "." + e.className + " lies from " + box.left + " to " + box.right);
		}
		return wrong.length ? ["the viewport is " + width + " px wide", ...wrong] : [];
	})()`, &wrong)
	if len(wrong) > 0 {
		tab.b.t.Errorf("the page does not fit: %q", wrong)
	}
}

// keys are the keys that Press knows besides characters: their text, if they
// have one, and their code in Windows, by which Chromium knows them.
var keys = map[string]struct {
	text string
	code int
}{
	"Tab":        {"", 9},
	"Enter":      {"\r", 13},
	"Escape":     {"", 27},
	" ":          {" ", 32},
	"PageUp":     {"", 33},
	"PageDown":   {"", 34},
	"End":        {"", 35},
	"Home":       {"", 36},
	"ArrowLeft":  {"", 37},
	"ArrowUp":    {"", 38},
	"ArrowRight": {"", 39},
	"ArrowDown":  {"", 40},
}

// Press presses and releases keys, one after another, in whatever element has the
// focus. Names are those of KeyboardEvent.key; a name that begins with "Shift+" is
// pressed with the shift key held.
func (tab *Tab) Press(names ...string) {
	tab.b.t.Helper()
	for _, name := range names {
		modifiers := 0
		if len(name) > len("Shift+") && name[:len("Shift+")] == "Shift+" {
			name, modifiers = name[len("Shift+"):], 8
		}
		key, ok := keys[name]
		if !ok {
			tab.b.t.Fatalf("Press does not know the key %q", name)
		}
		for _, kind := range []string{"keyDown", "keyUp"} {
			tab.Call("Input.dispatchKeyEvent", map[string]any{
				"type": kind, "key": name, "text": key.text, "windowsVirtualKeyCode": key.code, "modifiers": modifiers,
			}, nil)
		}
	}
}

// Insert types text into whatever element has the focus.
func (tab *Tab) Insert(text string) {
	tab.b.t.Helper()
	tab.Call("Input.insertText", map[string]any{"text": text}, nil)
}

// Screenshot writes what the viewport shows to name.png in the directory of the
// flag -screenshots, or does nothing without that flag.
func (tab *Tab) Screenshot(name string) {
	tab.b.t.Helper()
	if *screenshots == "" {
		return
	}
	var shot struct{ Data string }
	tab.Call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	tab.b.must(err)
	tab.b.must(os.WriteFile(filepath.Join(*screenshots, name+".png"), data, 0o644))
}
