package websocket

import (
	"context"

	"github.com/fullduplex-go/websocket/internal/lend"
)

func init() { lend.Message = lendMessage }

// lendMessage is lend.Message. Unlike the loop of Messages it keeps the
// reading turn while the message is used, so that readers may come from
// several goroutines.
func lendMessage(ctx context.Context, conn any, use func(kind byte, p []byte) error) error {
	c := conn.(*Conn)
	if err := c.beginRead(ctx); err != nil {
		return err
	}
	defer c.endRead()
	t, p, err := c.readMessage(caller{ctx: ctx}, placeLend, nil)
	if err != nil {
		return err
	}
	return use(byte(t), p)
}
