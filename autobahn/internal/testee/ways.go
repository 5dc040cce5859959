package testee

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A Reading passes the messages of a connection to write, one after the other.
type Reading func(c *websocket.Conn, write Writing) error

// A Writing sends a message.
type Writing func(c *websocket.Conn, t websocket.MessageType, p []byte) error

// Readings are all ways to read.
var Readings = map[string]Reading{
	"Read": func(c *websocket.Conn, write Writing) error {
		return eachMessage(c, write, func() (websocket.MessageType, []byte, error) { return c.Read(context.Background()) })
	},
	"ReadInto": func(c *websocket.Conn, write Writing) error {
		var buf []byte
		return eachMessage(c, write, func() (t websocket.MessageType, p []byte, err error) {
			t, p, err = c.ReadInto(context.Background(), buf)
			buf = p
			return t, p, err
		})
	},
	"Messages": func(c *websocket.Conn, write Writing) error {
		for m, err := range c.Messages(context.Background()) {
			if err == nil {
				err = write(c, m.Type, m.Data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	},
	"Receiver": func(c *websocket.Conn, write Writing) error {
		return Deliver(c, func(m websocket.Message) error { return write(c, m.Type, m.Data) })
	},
	"Messages, left each time": func(c *websocket.Conn, write Writing) error {
		return eachMessage(c, write, func() (websocket.MessageType, []byte, error) {
			for m, err := range c.Messages(context.Background()) {
				return m.Type, m.Clone().Data, err
			}
			return 0, nil, io.EOF // the loop ended quietly
		})
	},
	"Reader": func(c *websocket.Conn, write Writing) error {
		return eachMessage(c, write, func() (websocket.MessageType, []byte, error) {
			t, r, err := c.Reader(context.Background())
			if err != nil {
				return 0, nil, err
			}
			p, err := io.ReadAll(r)
			return t, p, err
		})
	},
	"Read, interrupted by contexts": func(c *websocket.Conn, write Writing) error {
		return eachMessage(c, write, func() (t websocket.MessageType, p []byte, err error) {
			for err = context.DeadlineExceeded; err == context.DeadlineExceeded; {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				t, p, err = c.Read(ctx)
				cancel()
			}
			return t, p, err
		})
	},
	"Read, interrupted by deadlines": func(c *websocket.Conn, write Writing) error {
		return eachMessage(c, write, func() (t websocket.MessageType, p []byte, err error) {
			for err = os.ErrDeadlineExceeded; errors.Is(err, os.ErrDeadlineExceeded); {
				c.SetReadDeadline(time.Now().Add(patience))
				t, p, err = c.Read(context.Background())
			}
			return t, p, err
		})
	},
}

// patience is how long a read waits before it is interrupted.
const patience = 3 * time.Millisecond

// eachMessage writes what read returns, until read or write fails.
func eachMessage(c *websocket.Conn, write Writing, read func() (websocket.MessageType, []byte, error)) error {
	for {
		t, p, err := read()
		if err == nil {
			err = write(c, t, p)
		}
		if err != nil {
			return err
		}
	}
}

// Writings are all ways to write.
var Writings = map[string]Writing{
	"Write": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		return c.Write(context.Background(), t, p)
	},
	"WriteString": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		if t != websocket.Text {
			return c.Write(context.Background(), t, p)
		}
		return c.WriteString(context.Background(), string(p))
	},
	"Writer": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		w, err := c.Writer(context.Background(), t)
		if err != nil {
			return err
		}
		if _, err := w.Write(p[:len(p)/2]); err != nil {
			return err
		}
		if _, err := w.Write(p[len(p)/2:]); err != nil {
			return err
		}
		return w.Close()
	},
	"WritePrepared": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		return c.WritePrepared(context.Background(), websocket.Prepare(t, p))
	},
	"Send": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		return c.Send(t, p)
	},
	"SendPrepared": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		return c.SendPrepared(websocket.Prepare(t, p))
	},
	"Group": func(c *websocket.Conn, t websocket.MessageType, p []byte) error {
		var g websocket.Group
		defer g.Add(c)()
		g.Send(websocket.Prepare(t, p))
		return nil
	},
}
