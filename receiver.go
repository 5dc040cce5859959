package websocket

import (
	"log"
	"net/http"
)

// ReceiverHandler returns a handler that accepts connections of which no
// goroutine waits for messages: what happens on a connection is told to the
// Receiver that open returns for its request. It is [Handler] for servers with
// very many connections: see [Conn.Deliver] for what they take.
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

// begin hands c over. It does not wait.
func (s receiverService) begin(h *handler, c *Conn, errorLog *log.Logger) {
	c.startDelivery(&delivery{to: s.to, host: h.hostFor(errorLog)})
}

// stay hands c over, and delivers on the goroutine of the handler, the only one
// that an idle stream has.
func (s receiverService) stay(h *handler, c *Conn, errorLog *log.Logger) {
	stream := c.socket().stream()
	defer func() { <-stream.Done() }() // also if the Receiver ends the goroutine
	d := &delivery{to: s.to, host: h.hostFor(errorLog)}
	c.handOver(d)
	c.beginDelivery(d)
}

// hostFor returns the deliveryHost for connections of a server with errorLog:
// most often the one before.
func (h *handler) hostFor(errorLog *log.Logger) *deliveryHost {
	if last := h.lastHost.Load(); last != nil && last.errorLog == errorLog {
		return last
	}
	host := &deliveryHost{errorLog, h.acceptor.registry.release}
	h.lastHost.Store(host)
	return host
}
