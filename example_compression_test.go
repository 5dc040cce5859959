package websocket_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/fullduplex-go/websocket"
)

// compressed switches compression on.
var compressed = websocket.Config{Compression: &websocket.Compression{}}

// visit connects to a server that compresses and serves with serve, and prints
// the size of each message that comes, and how many bytes of all came compressed.
func visit(serve func(c *websocket.Conn) error) {
	srv := httptest.NewServer(websocket.HandlerFunc(&websocket.AcceptOptions{Config: compressed}, serve))
	defer srv.Close()
	c, _, err := websocket.Dial(context.Background(), srv.URL, &websocket.DialOptions{Config: compressed})
	if err != nil {
		log.Fatal(err)
	}
	for m := range c.Messages(context.Background()) {
		fmt.Println(len(m.Data), "bytes")
	}
	fmt.Println("compressed:", c.Stats().InflatedIn)
}

// A message with a session key does not share a compressor with what others
// have written.
func ExampleConn_SendPlain() {
	visit(func(c *websocket.Conn) error {
		comments := strings.Repeat("what anybody has written ", 40)
		if err := c.Send(websocket.Text, []byte(comments)); err != nil {
			return err
		}
		return c.SendPlain(websocket.Text, []byte("key=25f9e794323b453885f5181f1b624d0b"))
	})
	// Output:
	// 1000 bytes
	// 36 bytes
	// compressed: 1000
}

// A page with a secret in it, written in pieces.
func ExampleConn_WriterPlain() {
	visit(func(c *websocket.Conn) error {
		w, err := c.WriterPlain(c.Context(), websocket.Text)
		if err != nil {
			return err
		}
		io.WriteString(w, strings.Repeat("what anybody has written ", 40))
		io.WriteString(w, "key=25f9e794323b453885f5181f1b624d0b")
		return w.Close() // the first error of the three
	})
	// Output:
	// 1036 bytes
	// compressed: 0
}

// A secret for all members of a room.
func ExamplePreparePlain() {
	visit(func(c *websocket.Conn) error {
		var room websocket.Group
		defer room.Add(c)()
		room.Send(websocket.Prepare(websocket.Text, []byte(strings.Repeat("news ", 40))))
		room.Send(websocket.PreparePlain(websocket.Text, []byte("password: "+strings.Repeat("swordfish ", 20))))
		return nil
	})
	// Output:
	// 200 bytes
	// 210 bytes
	// compressed: 200
}

// A server that compresses tells whether this client does.
func ExampleConn_CompressionAgreed() {
	srv := httptest.NewServer(websocket.HandlerFunc(&websocket.AcceptOptions{Config: compressed}, greet))
	defer srv.Close()
	for _, cfg := range []websocket.Config{compressed, {}} {
		c, _, err := websocket.Dial(context.Background(), srv.URL, &websocket.DialOptions{Config: cfg})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.CompressionAgreed())
		c.CloseNow()
	}
	// Output:
	// true
	// false
}
