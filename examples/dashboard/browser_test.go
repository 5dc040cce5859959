package main

import (
	"fmt"
	"testing"

	"github.com/fullduplex-go/websocket/internal/browser"
)

// JavaScript conditions on the page.
const (
	live      = `document.getElementById("state").dataset.state === "open"`
	goingAway = `document.getElementById("reason").textContent.includes("going away")`
)

// says is true once an element shows a text, whole.
func says(selector, text string) string {
	return fmt.Sprintf(`document.querySelector(%q).textContent === %q`, selector, text)
}

// focused is true once the element with the id has the focus.
func focused(id string) string { return fmt.Sprintf(`document.activeElement.id === %q`, id) }

// legend is the value of a series of a chart.
func legend(chart string, series int) string {
	return fmt.Sprintf("#chart-%s li:nth-child(%d) b", chart, series)
}

// echoes is true once the page has seen so many.
func echoes(n int) string {
	return fmt.Sprintf(`Number(document.querySelector("[data-of=count]").textContent.replaceAll(",", "")) >= %d`, n)
}

// allDrawn is true once every canvas has something on it in the color of a series:
// a curve, or bars.
const allDrawn = `(() => {
	const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const colors = [1, 2, 3].map((i) => {
		probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--series-" + i);
		probe.fillRect(0, 0, 1, 1);
		return probe.getImageData(0, 0, 1, 1).data;
	});
	const isDrawn = ({ data }) => {
		let n = 0;
		for (let i = 0; i < data.length; i += 4)
			if (data[i + 3] > 150 && colors.some((c) => [0, 1, 2].every((k) => Math.abs(data[i + k] - c[k]) < 10))) n++;
		return n >= 5;
	};
	const canvases = [...document.querySelectorAll("canvas")];
	return canvases.length === 9 && canvases.every((c) => isDrawn(c.getContext("2d").getImageData(0, 0, c.width, c.height)));
})()`

// TestPageByKeyboard opens connections, sends messages and closes all again, by
// keyboard only.
func TestPageByKeyboard(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	tab := browser.Start(t).Open("http://" + addr)
	tab.Resize(1200, 800)
	tab.Prefer(browser.Light)
	tab.Until(live)

	tab.Press("Tab")
	tab.Until(focused("conns"))
	for range 6 {
		tab.Press("ArrowRight")
	}
	tab.Until(says("#conns-value", "10"))
	tab.Until(says(legend("conns", 1), "10"))
	tab.Press("End")
	tab.Until(says(legend("conns", 1), "300"))
	tab.Press("Tab", "ArrowRight", "ArrowRight")
	tab.Until(focused("rate"))
	tab.Until(says("#rate-value", "500"))
	tab.Press("Tab", "ArrowRight", "ArrowRight", "ArrowRight")
	tab.Until(says("#size-value", "1,024 B"))
	tab.Press("Tab", "Tab")
	tab.Until(focused("compress"))
	tab.Press(" ")
	tab.Until(echoes(3000))
	tab.Until(`/\d (µs|ms|s)$/.test(document.querySelector("[data-of=p99]").textContent)`)
	tab.Until(`histogram.getAttribute("aria-label").includes("half within")`)
	tab.Until(allDrawn)
	tab.Fits()
	tab.Screenshot("dashboard-light")
	tab.Prefer(browser.Dark)
	tab.Until(`getComputedStyle(document.body).backgroundColor === "rgb(15, 21, 21)"`)
	tab.Until(allDrawn)
	tab.Screenshot("dashboard-dark")

	tab.Press("Shift+Tab")
	tab.Until(focused("parked"))
	tab.Press(" ")
	tab.Until(says(legend("conns", 1), "0") + " && " + says(legend("conns", 2), "300"))
	tab.Press("Shift+Tab", "Shift+Tab", "Shift+Tab", "Home")
	tab.Until(focused("conns"))
	tab.Until(says(legend("conns", 1), "0") + " && " + says(legend("conns", 2), "0"))
	tab.Press("Tab", "Tab", "Tab", "Tab", "Tab", "Enter")
	tab.Until(focused("reset"))
	tab.Until(says("[data-of=count]", "0"))
}

// TestPageOnAPhone looks at the page on a narrow screen.
func TestPageOnAPhone(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	p := visit(t, addr)
	p.change(map[string]any{"conns": 50, "rate": 1000})
	tab := browser.Start(t).Open("http://" + addr)
	tab.Resize(360, 760)
	tab.Until(live)
	tab.Until(echoes(3000))
	tab.Fits()
	tab.Until(allDrawn)
	tab.Screenshot("dashboard-phone")
	tab.Eval("scrollTo(0, 760)", nil)
	tab.Screenshot("dashboard-phone-2")
}

// TestPageAmongThirty looks at the page while 29 others are open, and all of them
// see what each does.
func TestPageAmongThirty(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, "localhost:0", 300)
	tab := browser.Start(t).Open("http://" + addr)
	others := make([]*visitor, 29)
	for i := range others {
		others[i] = visit(t, addr)
	}
	tab.Resize(1200, 800)
	tab.Until(says("#people", "30 pages are open"))

	others[7].change(map[string]any{"conns": 37, "rate": 2000})
	tab.Until(says("#rate-value", "2,000") + " && " + says("#conns-value", "37"))
	tab.Until(says(legend("conns", 1), "37"))
	tab.Press("Tab", "Tab", "Tab", "ArrowLeft")
	tab.Until(focused("size"))
	for _, p := range others {
		p.until("the browser's choice", func(e event) bool { return e.Choice != nil && e.Choice.Size == 64 })
	}
	tab.Until(echoes(5000))
	tab.Fits()
	tab.Until(allDrawn)
	tab.Screenshot("dashboard-thirty")

	for _, p := range others {
		p.c.CloseNow()
	}
	tab.Until(says("#people", "Only this page is open"))
	tab.Until(says("#conns-value", "37")) // it still watches
}

// TestPageReconnects restarts the server under a page. No other test may run
// meanwhile: a connection of its load could take the server's port.
func TestPageReconnects(t *testing.T) {
	addr, _, stop := start(t, "localhost:0", 300)
	tab := browser.Start(t).Open("http://" + addr)
	tab.Until(live)
	tab.Press("Tab", "ArrowRight", "ArrowRight")
	tab.Until(says(legend("conns", 1), "2"))
	stop()
	tab.Until(goingAway + ` && document.getElementById("sliders").disabled`)
	start(t, addr, 300)
	tab.Until(live)
	tab.Until(says("#conns-value", "0"))
	tab.Until(says(legend("conns", 1), "0"))
	tab.Eval(`document.getElementById("conns").focus()`, nil)
	tab.Press("ArrowRight")
	tab.Until(says(legend("conns", 1), "1"))
}
