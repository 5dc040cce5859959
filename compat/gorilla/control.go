package websocket

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// FormatCloseMessage returns the payload of a Close frame with a code and a
// text. For CloseNoStatusReceived it is empty.
func FormatCloseMessage(closeCode int, text string) []byte {
	if closeCode == CloseNoStatusReceived {
		return []byte{}
	}
	p := make([]byte, 0, 2+len(text))
	return append(binary.BigEndian.AppendUint16(p, uint16(closeCode)), text...)
}

// A closePayload is the payload of a Close frame, taken apart. An empty one has
// fullduplex.CloseNoStatus.
type closePayload struct {
	code   fullduplex.CloseCode
	reason string
}

// parseClosePayload takes the payload of a Close frame apart. It returns an
// error for one that must not be sent.
func parseClosePayload(p []byte) (closePayload, error) {
	switch len(p) {
	case 0:
		return closePayload{code: fullduplex.CloseNoStatus}, nil
	case 1:
		return closePayload{}, errInvalidControlFrame
	}
	code := binary.BigEndian.Uint16(p)
	if !maySend(int(code)) {
		return closePayload{}, fmt.Errorf("websocket: close code %d must not be sent", code)
	}
	return closePayload{fullduplex.CloseCode(code), string(p[2:])}, nil
}

// maySend reports whether a Close frame may have a code (RFC 6455, Section
// 7.4).
func maySend(code int) bool {
	switch code {
	case CloseNoStatusReceived, CloseAbnormalClosure, CloseTLSHandshake, 1004:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}

// WriteControl sends a Ping, a Pong or a Close frame, between the frames of
// other messages, and does not wait for the network: what cannot leave at once
// leaves when the peer takes it. If the deadline has passed, or too many frames
// wait already, it returns an error whose Timeout method returns true. The zero
// deadline means none.
//
// After a Close frame nothing more is sent: writing returns [ErrCloseSent].
// Reading goes on, up to the peer's Close frame, for up to 30 seconds.
func (c *Conn) WriteControl(messageType int, data []byte, deadline time.Time) error {
	switch {
	case !isControl(messageType):
		return errBadMessageType
	case len(data) > maxControlPayload:
		return errInvalidControlFrame
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return cmp.Or(c.write.failure(), os.ErrDeadlineExceeded)
	default:
		return c.sendControl(messageType, data)
	}
}

// sendControl sends a control frame with a payload that is short enough.
func (c *Conn) sendControl(messageType int, data []byte) error {
	if err := c.write.failure(); err != nil {
		return err
	}
	switch messageType {
	case PingMessage:
		return controlError(c.ws.SendPing(data))
	case PongMessage:
		return controlError(c.ws.SendPong(data))
	default:
		return c.sendClose(data)
	}
}

// controlError returns what sending a Ping or Pong returns for an error of a
// fullduplex.Conn.
func controlError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fullduplex.ErrQueueFull) {
		return os.ErrDeadlineExceeded
	}
	return writeError(err)
}

// sendClose sends a Close frame, or makes it the answer to the peer's if a
// handler is asked for that.
func (c *Conn) sendClose(data []byte) error {
	p, err := parseClosePayload(data)
	if err != nil {
		return err
	}
	if !c.read.answer.give(p) {
		err = c.ws.SendClose(p.code, p.reason)
	}
	if err == nil {
		c.write.fail(ErrCloseSent)
	}
	return writeError(err)
}

// writeControlMessage sends a control frame as other messages are sent: by the
// deadline of SetWriteDeadline.
func (c *Conn) writeControlMessage(messageType int, data []byte) error {
	if !isControl(messageType) {
		return errBadMessageType
	}
	if len(data) > maxControlPayload {
		return errInvalidControlFrame
	}
	err := c.sendControl(messageType, data)
	if err == nil && messageType != CloseMessage {
		err = c.ws.Flush()
	}
	return c.endWrite(err)
}
