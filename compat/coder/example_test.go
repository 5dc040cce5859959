package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	websocket "github.com/fullduplex-go/websocket/compat/coder"
)

// A program that has changed the import path can go on to the other API one
// function at a time.
func ExampleConn_Unwrap() {
	counted := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		n, err := count(context.Background(), c)
		counted <- fmt.Sprint(n, " ", err)
	}))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	c.Write(ctx, websocket.MessageText, []byte("world"))
	c.Close(websocket.StatusNormalClosure, "")
	fmt.Println(<-counted)
	// Output: 10 <nil>
}

// count returns how many bytes of messages come.
func count(ctx context.Context, c *websocket.Conn) (bytes int, err error) {
	for m, err := range c.Unwrap().Messages(ctx) { // lends each message, without a copy
		if err != nil {
			return bytes, err
		}
		bytes += len(m.Data)
	}
	return bytes, nil
}
