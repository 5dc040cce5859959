package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
)

// viewPage is a page that a phone shows whole, with more style where the verb is.
const viewPage = `<!doctype html><meta name="viewport" content="width=device-width">
<style>
	body { margin: 0; background: white }
	@media (prefers-color-scheme: dark) { body { background: black } }
	%s
</style>
<button id="first">first</button> <input id="second"> <div style="overflow: hidden"><p style="width: 2000px">clipped</p></div>`

// A recorder is a test whose failures do not count.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }

// TestView looks at a page in several ways.
func TestView(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, viewPage, r.FormValue("style"))
	}))
	t.Cleanup(s.Close)
	b := Start(t)
	tab := b.Open(s.URL)

	for scheme, color := range map[Scheme]string{Light: "rgb(255, 255, 255)", Dark: "rgb(0, 0, 0)"} {
		tab.Prefer(scheme)
		tab.Until(`getComputedStyle(document.body).backgroundColor === "` + color + `"`)
	}
	tab.Resize(360, 700)
	tab.Until("document.documentElement.clientWidth === 360 && innerHeight === 700")
	tab.Fits()

	tab.Press("Tab")
	tab.Until(`document.activeElement.id === "first"`)
	tab.Press("Tab")
	tab.Insert("grüße")
	tab.Until(`second.value === "grüße"`)
	tab.Press("Shift+Tab")
	tab.Until(`document.activeElement.id === "first"`)

	dir := t.TempDir()
	defer func(old string) { *screenshots = old }(*screenshots)
	*screenshots = dir
	tab.Screenshot("view")
	data, err := os.ReadFile(dir + "/view.png")
	if err != nil {
		t.Fatal(err)
	}
	if got := http.DetectContentType(data); got != "image/png" {
		t.Errorf("the screenshot is %s", got)
	}
}

// TestFitsFails proves that Fits finds what reaches out of the viewport.
func TestFitsFails(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, viewPage, r.FormValue("style"))
	}))
	t.Cleanup(s.Close)
	b := Start(t)
	for _, style := range []string{"button { width: 500px }", "button { position: absolute; left: -20px }"} {
		tab := b.Open(s.URL + "/?style=" + url.QueryEscape(style))
		tab.Resize(360, 700)
		tab.Until("document.documentElement.clientWidth === 360")
		outer := b.t
		r := &recorder{TB: t}
		b.t = r
		tab.Fits()
		b.t = outer
		if !r.failed {
			t.Errorf("Fits takes a page with %s", style)
		}
	}
}
