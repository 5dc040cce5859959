package websocket_test

import (
	"context"
	"net/http"

	"github.com/fullduplex-go/websocket"
)

// ExampleConn_SetMaxMessageSize accepts little before a client has logged in.
func ExampleConn_SetMaxMessageSize() {
	isRight := func([]byte) bool { return true }
	serve := func(c *websocket.Conn) error {
		_, token, err := c.Read(c.Context())
		if err != nil || !isRight(token) {
			return websocket.ClosePolicyViolation
		}
		c.SetMaxMessageSize(16 << 20)
		if err := c.WriteString(c.Context(), "welcome"); err != nil {
			return err
		}
		for m, err := range c.Messages(c.Context()) {
			if err != nil {
				return err
			}
			_ = m
		}
		return nil
	}
	http.Handle("/", websocket.HandlerFunc(&websocket.AcceptOptions{
		Config: websocket.Config{MaxMessageSize: 1 << 10},
	}, serve))
}

// A connection that only sends news notices at once that its client has left.
func ExampleConn_CloseRead() {
	subscribe := func() chan []byte { return make(chan []byte) }
	http.Handle("/news", websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		news := subscribe()
		ctx := c.CloseRead(c.Context())
		for {
			select {
			case item := <-news:
				if err := c.Write(ctx, websocket.Text, item); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}))
}

// Where clients must not send anything, one read takes the place of CloseRead.
func ExampleConn_CloseRead_strict() {
	http.Handle("/news", websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		go func() {
			if _, _, err := c.Read(c.Context()); err == nil {
				c.Close(websocket.ClosePolicyViolation, "this connection takes no messages")
			}
		}()
		<-c.Context().Done() // or write
		return context.Cause(c.Context())
	}))
}
