// Command echo is a server that sends every message back to its sender.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/fullduplex-go/websocket"
)

func main() {
	addr := flag.String("addr", "localhost:8081", "`host:port` to listen on")
	flag.Parse()
	log.Printf("echoing at ws://%s/echo", *addr)
	log.Fatal(serve(*addr))
}

func serve(addr string) error {
	http.Handle("/echo", websocket.HandlerFunc(nil, echo))
	return http.ListenAndServe(addr, nil)
}

func echo(c *websocket.Conn) error {
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
