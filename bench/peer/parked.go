package peer

import (
	"context"
	"net"
	"net/http"

	"github.com/fullduplex-go/websocket"
)

// parked is the library of this repository with a Receiver, so that no goroutine
// waits for the messages of a connection.
type parked struct{ ours }

// parkedReceiver passes what happens on to a Behaviour. ended, unless nil,
// receives the end of the only connection.
type parkedReceiver struct {
	b     Behaviour
	ended chan error
}

func (r *parkedReceiver) Opened(c *websocket.Conn) error {
	r.b.opened(oursConn{c})
	return nil
}

func (r *parkedReceiver) Receive(c *websocket.Conn, m websocket.Message) error {
	return r.b.Message(oursConn{c}, byte(m.Type), m.Data)
}

func (r *parkedReceiver) Closed(_ *websocket.Conn, end *websocket.CloseError) {
	if r.ended != nil {
		r.ended <- end
	}
}

func (parked) Name() string { return "parked" }

func (parked) Handler(o Options, b Behaviour) http.Handler {
	opts, to := &websocket.AcceptOptions{Config: oursConfig(o)}, &parkedReceiver{b: b}
	return websocket.ReceiverHandler(opts, func(*http.Request) (websocket.Receiver, error) { return to, nil })
}

func (parked) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	opts, to := &websocket.AcceptOptions{Config: oursConfig(o)}, &parkedReceiver{b: b}
	return func(nc net.Conn) error {
		c, _, err := websocket.AcceptConn(context.Background(), nc, opts)
		if err != nil {
			return err
		}
		return c.Deliver(to)
	}
}

func (parked) Dial(addr string, o Options, b Behaviour) error {
	opts, to := &websocket.DialOptions{Config: oursConfig(o), TLS: o.TLS}, &parkedReceiver{b, make(chan error, 1)}
	c, _, err := websocket.Dial(context.Background(), o.url(addr), opts)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := c.Deliver(to); err != nil {
		return err
	}
	return <-to.ended
}
