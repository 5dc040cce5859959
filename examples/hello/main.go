// Command hello is a client that says hello to a server, such as
// examples/echo, and prints the answer.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/fullduplex-go/websocket"
)

func main() {
	url := flag.String("url", "ws://localhost:8081/echo", "`URL` of the server")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := hello(ctx, *url)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}

func hello(ctx context.Context, url string) (string, error) {
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return "", err
	}
	defer c.CloseNow()
	if err := c.WriteString(ctx, "hello"); err != nil {
		return "", err
	}
	_, answer, err := c.Read(ctx)
	if err != nil {
		return "", err
	}
	return string(answer), c.Close(websocket.CloseNormal, "")
}
