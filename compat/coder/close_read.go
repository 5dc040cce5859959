package websocket

import (
	"context"

	fullduplex "github.com/fullduplex-go/websocket"
)

// CloseRead is for a connection of which no messages are expected. From now on
// nothing can be read; control frames are still handled, and the peer's end is
// noticed at once. A data message closes the connection with
// StatusPolicyViolation.
//
// The context that CloseRead returns is a child of ctx. It is canceled when the
// connection has ended, with an error as its cause that says how. If ctx ends,
// the connection is closed. Calls after the first return the same context.
//
// A connection that the poller of the operating system can watch, which on
// Linux is one of [Accept] over TCP, takes no goroutine for that.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readOver != nil {
		return c.readOver
	}
	own, cancel := context.WithCancelCause(ctx)
	c.readOver = own
	w := &endWatch{cancel: cancel, stop: context.AfterFunc(ctx, func() { c.ws.CloseNow() })}
	if err := c.ws.Deliver(w); err != nil {
		w.end(callError("read", err))
	}
	return own
}

// isReadClosed reports whether CloseRead was called.
func (c *Conn) isReadClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readOver != nil
}

// An endWatch receives no messages, and cancels the context of CloseRead at the
// end of the connection.
type endWatch struct {
	cancel context.CancelCauseFunc
	stop   func() bool // ends the watch over the parent
}

// Opened does nothing.
func (w *endWatch) Opened(*fullduplex.Conn) error { return nil }

// Receive closes the connection.
func (w *endWatch) Receive(*fullduplex.Conn, fullduplex.Message) error {
	return &fullduplex.CloseError{Code: fullduplex.ClosePolicyViolation, Reason: "no message was expected"}
}

// Closed cancels the context.
func (w *endWatch) Closed(_ *fullduplex.Conn, end *fullduplex.CloseError) {
	w.end(&endError{op: "read", end: end})
}

// end cancels the context because of cause.
func (w *endWatch) end(cause error) {
	w.stop()
	w.cancel(cause)
}
