package wsjson_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wsjson"
)

// A sum is what the server of the example adds up.
type sum struct {
	A, B int
}

func Example() {
	add := func(c *websocket.Conn) error {
		for s, err := range wsjson.Messages[sum](c.Context(), c) {
			if err != nil {
				return wsjson.Reject(c, err)
			}
			if err := wsjson.Write(c.Context(), c, s.A+s.B); err != nil {
				return err
			}
		}
		return nil
	}
	server := httptest.NewServer(websocket.HandlerFunc(nil, add))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	wsjson.Write(ctx, c, sum{2, 3})
	five, err := wsjson.Read[int](ctx, c)
	fmt.Println(five, err)

	c.WriteString(ctx, `{"A": "two"}`)
	_, err = wsjson.Read[int](ctx, c)
	fmt.Println(err)
	// Output:
	// 5 <nil>
	// websocket: closed: 1007 (invalid payload data) "unwanted JSON at byte 11"
}

func ExampleRead() {
	server := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		c.WriteString(c.Context(), `{"A": 1, "B": }`)
		c.WriteString(c.Context(), `{"A": 1, "B": 2}`)
		return nil
	}))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	_, err = wsjson.Read[sum](ctx, c)
	var invalid *wsjson.DecodeError
	if errors.As(err, &invalid) {
		fmt.Println(invalid.Offset, invalid)
	}
	s, err := wsjson.Read[sum](ctx, c)
	fmt.Println(s, err)
	// Output:
	// 15 wsjson: unwanted JSON at byte 15: invalid character '}' looking for beginning of value
	// {1 2} <nil>
}
