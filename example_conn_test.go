package websocket_test

import (
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
