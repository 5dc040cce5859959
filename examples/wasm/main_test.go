//go:build !js

package main

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/fullduplex-go/websocket/internal/browser"
)

// shows is true once the page has a line with exactly this text.
func shows(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("p")].some((e) => e.textContent === %q)`, text)
}

func TestPage(t *testing.T) {
	b := browser.Start(t)
	h, err := handler(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	tab := b.Open(server.URL)
	tab.Until(`!document.querySelector("input").disabled`)
	tab.Type("input", "grüße")
	tab.Until(shows("GRÜSSE") + "||" + shows("GRÜßE"))
	tab.Type("input", "quiet")
	tab.Until(shows("4000 as you wish"))
	tab.Until(`document.querySelector("input").disabled`)
}
