package main

import (
	"context"
	"errors"
	"strings"
	"syscall/js"

	"github.com/fullduplex-go/websocket"
)

var document = js.Global().Get("document")

// show adds a line to the page.
func show(line string) {
	p := document.Call("createElement", "p")
	p.Set("textContent", line)
	document.Get("body").Call("append", p)
}

func main() {
	ctx := context.Background()
	origin := js.Global().Get("location").Get("origin").String()
	c, _, err := websocket.Dial(ctx, strings.Replace(origin, "http", "ws", 1)+"/shout", nil)
	if err != nil {
		show(err.Error())
		return
	}
	// An event handler must not block: Send only queues.
	entered := js.FuncOf(func(this js.Value, _ []js.Value) any {
		if err := c.Send(websocket.Text, []byte(this.Get("value").String())); err != nil {
			show(err.Error())
		}
		this.Set("value", "")
		return nil
	})
	defer entered.Release()
	input := document.Call("querySelector", "input")
	input.Set("onchange", entered)
	input.Set("disabled", false)

	for m, err := range c.Messages(ctx) {
		var end *websocket.CloseError
		switch {
		case errors.As(err, &end):
			show(end.Code.String() + " " + end.Reason)
		case err != nil:
			show(err.Error())
		default:
			show(string(m.Data))
		}
	}
	input.Set("disabled", true)
}
