package dial_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/h2/dial"
)

// Two WebSockets share one connection. A server that does not offer WebSockets over
// HTTP/2 is dialed over HTTP/1.1.
func Example() {
	server := httptest.NewUnstartedServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		return c.WriteString(c.Context(), "hello")
	}))
	server.EnableHTTP2 = true // and the program imports package h2
	server.StartTLS()
	defer server.Close()

	ctx := context.Background()
	transport := &dial.Transport{TLS: server.Client().Transport.(*http.Transport).TLSClientConfig}
	defer transport.CloseIdleConnections()
	over2 := &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}
	for range 2 {
		c, _, err := websocket.Dial(ctx, server.URL, over2)
		if errors.Is(err, dial.ErrNotOffered) {
			c, _, err = websocket.Dial(ctx, server.URL, &websocket.DialOptions{TLS: transport.TLS})
		}
		if err != nil {
			log.Fatal(err)
		}
		for m := range c.Messages(ctx) {
			fmt.Printf("%s\n", m.Data)
		}
	}
	// Output:
	// hello
	// hello
}
