package websocket

import (
	"log"
	"net/http"
)

// ReceiverHandler returns a handler that accepts connections of which no
// goroutine waits for messages: what happens on a connection is told to the
// Receiver that open returns for its request. It is [Handler] for servers with
// very many connections.
//
// open is called as that of [Handler] is, and r must not be used after it has
// returned. A Receiver may serve any number of connections. Connections count
// in AcceptOptions.Registry until Closed has returned.
func ReceiverHandler(opts *AcceptOptions, open func(r *http.Request) (Receiver, error)) http.Handler {
	if open == nil {
		panic("websocket: ReceiverHandler without a function")
	}
	return &handler{acceptor: acceptorFor(opts), open: func(r *http.Request) (service, error) {
		to, err := open(r)
		if to == nil {
			return nil, err
		}
		return receiverService{to}, err
	}}
}

// A receiverService serves a connection by handing it over to a Receiver.
type receiverService struct{ to Receiver }

func (s receiverService) begin(h *handler, c *Conn, errorLog *log.Logger) {
	c.deliver(&delivery{to: s.to, errorLog: errorLog, release: h.acceptor.registry.release})
}
