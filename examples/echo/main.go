// Command echo sends every message back to where it came from.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/fullduplex-go/websocket"
)

var addr = flag.String("addr", "localhost:8080", "`host:port` to listen on")

func main() {
	flag.Parse()
	log.Printf("echoing at ws://%s/echo", *addr)
	http.Handle("/echo", websocket.Handler(nil, echo))
	log.Fatal(http.ListenAndServe(*addr, nil))
}

func echo(c *websocket.Conn, _ *http.Request) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}
