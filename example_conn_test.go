package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

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

// A server that restarts gives its clients a second to say goodbye.
func ExampleConn_CloseContext() {
	var c *websocket.Conn // of a client
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := c.CloseContext(ctx, websocket.CloseServiceRestart, "restart")
	if errors.Is(err, context.DeadlineExceeded) {
		log.Printf("%v did not answer", c.RemoteAddr())
	}
}

// A server that keeps count of what its clients have said tells them when they
// leave.
func ExampleConfig_onClose() {
	opts := &websocket.AcceptOptions{Config: websocket.Config{
		OnClose: func(c *websocket.Conn, end *websocket.CloseError) (websocket.CloseCode, string) {
			c.Send(websocket.Text, fmt.Appendf(nil, "you sent %d messages", c.Stats().MessagesIn))
			return websocket.CloseNormal, "see you"
		},
	}}
	http.Handle("/count", websocket.HandlerFunc(opts, func(c *websocket.Conn) error {
		for _, err := range c.Messages(c.Context()) {
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// A proxy passes on Pings and Pongs as they are.
func ExampleConfig_onPing() {
	var other func(c *websocket.Conn) *websocket.Conn // the connection on the proxy's other side
	relay := websocket.Config{
		PingInterval: -1,
		OnPing: func(c *websocket.Conn, payload []byte) (answer bool) {
			other(c).SendPing(payload)
			return false
		},
		OnPong: func(c *websocket.Conn, payload []byte) { other(c).SendPong(payload) },
	}
	_ = websocket.AcceptOptions{Config: relay}
	_ = websocket.DialOptions{Config: relay}
}
