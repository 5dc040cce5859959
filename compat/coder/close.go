package websocket

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"

	fullduplex "github.com/fullduplex-go/websocket"
)

// Close ends the connection with a closing handshake: it sends a Close frame
// with code and reason, behind what was written before, and waits for that of
// the peer. All of it takes at most five seconds. Messages that come meanwhile
// are dropped, unless somebody reads. A reason of more than 123 bytes is cut. A
// code that must not be sent ends the connection without a handshake, and is an
// error; StatusNoStatusRcvd sends a frame without a code.
//
// Close returns nil if the peer answered, and an error with its [CloseError] if
// it was closing by itself with another code. On a connection that has ended
// Close does nothing, and returns an error. When Close returns, all other calls
// do.
func (c *Conn) Close(code StatusCode, reason string) error {
	if end := c.ended(); end != nil {
		return &endError{op: "close", end: end}
	}
	if code < 0 || code > math.MaxUint16 {
		c.ws.CloseNow()
		return callError("close", fmt.Errorf("%v must not be sent", code))
	}
	if err := c.ws.Close(fullduplex.CloseCode(code), reason); err != nil {
		return c.failed("close", err)
	}
	if end := c.ended(); end != nil && !answers(end, code) {
		return &endError{op: "close", end: end}
	}
	return nil
}

// answers reports whether end, with which a closing handshake was completed,
// has the peer's answer to a Close frame with code.
func answers(end *fullduplex.CloseError, code StatusCode) bool {
	return end.Code == fullduplex.CloseCode(code) || end.Code == fullduplex.CloseNoStatus || code == 0
}

// CloseNow ends the connection without a closing handshake and without waiting.
// On a connection that has ended it does nothing, and returns an error that is
// [net.ErrClosed].
func (c *Conn) CloseNow() error {
	if end := c.ended(); end != nil {
		return fmt.Errorf("websocket: close: %w", net.ErrClosed)
	}
	return c.ws.CloseNow()
}

// ended returns how the connection has ended, or nil if it has not.
func (c *Conn) ended() *fullduplex.CloseError {
	var end *fullduplex.CloseError
	errors.As(context.Cause(c.ws.Context()), &end)
	return end
}

// endsConn reports whether err says that the connection has ended.
func endsConn(err error) bool {
	var end *fullduplex.CloseError
	return errors.As(err, &end)
}
