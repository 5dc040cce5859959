package reference

import (
	"encoding/binary"
	"io"
	"time"
	"unicode/utf8"
)

// control handles a control frame.
func (e *Endpoint) control(opcode byte, payload []byte) error {
	switch opcode {
	case ping:
		return e.answerPing(payload)
	case closeFrame:
		return e.answerClose(payload)
	default:
		return nil
	}
}

// answerPing sends a pong.
func (e *Endpoint) answerPing(payload []byte) error {
	switch {
	case e.bug == NoPong:
		return nil
	case e.bug == PongAfterMessage && e.open:
		e.held = append(e.held, payload)
		return nil
	case e.bug == SwappedPongs && len(e.held) == 0 && e.pingFollows():
		e.held = append(e.held, payload)
		return nil
	case e.bug == PongAtNextFrame && e.open:
		e.r.Peek(1)
	case e.bug == WrongPongPayload && len(payload) > 0:
		payload[len(payload)-1] ^= 1
	}
	var rsv byte
	if e.bug == RSV1OnPong {
		rsv = 4
	}
	if err := e.write(pong, rsv, payload); err != nil || e.bug == PongAfterMessage {
		return err
	}
	return e.sendHeld()
}

// pingFollows reports whether another ping comes within a moment.
func (e *Endpoint) pingFollows() bool {
	e.conn.SetReadDeadline(time.Now().Add(moment))
	defer e.conn.SetReadDeadline(time.Time{})
	b, err := e.r.Peek(1)
	return err == nil && b[0] == 0x80|ping
}

// answerClose handles the peer's Close.
func (e *Endpoint) answerClose(payload []byte) error {
	if e.closeSent {
		return errClosed
	}
	switch e.bug {
	case NoCloseReply:
		e.drain()
		return io.EOF
	case DropOnClose:
		return io.EOF
	case AnswerBehindClose:
		e.bug = None
		if e.goOnForAMoment(); e.closeSent {
			return errClosed
		}
	}
	code, err := e.closeCode(payload)
	if err != nil {
		return err
	}
	if e.bug == WrongCloseCode {
		code = binary.BigEndian.AppendUint16(nil, 1001)
	}
	e.closeSent = true
	if err := e.write(closeFrame, 0, code); err != nil {
		return err
	}
	if e.bug == EchoAfterClose {
		e.goOnForAMoment()
	}
	return errClosed
}

// closeCode returns the payload of the answer to a Close.
func (e *Endpoint) closeCode(payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	if len(payload) == 1 {
		if e.bug == AcceptShortClose {
			return []byte{0x03, 0xe8}, nil
		}
		return nil, failure(1002)
	}
	code := binary.BigEndian.Uint16(payload)
	valid := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1011 || code >= 3000 && code <= 4999
	if !valid && e.bug != EchoInvalidCode {
		return nil, failure(1002)
	}
	if !utf8.Valid(payload[2:]) && e.bug != AcceptBadReason {
		return nil, failure(1007)
	}
	return payload[:2], nil
}

// goOnForAMoment handles the frames that are still coming.
func (e *Endpoint) goOnForAMoment() {
	for {
		e.conn.SetReadDeadline(time.Now().Add(moment))
		_, err := e.r.Peek(1)
		e.conn.SetReadDeadline(time.Time{})
		if err != nil || e.frame() != nil {
			return
		}
	}
}

// fail sends Close with a code and ends the connection.
func (e *Endpoint) fail(code int) {
	switch {
	case e.bug == NormalCodeOnFailure:
		code = 1000
	case e.bug == CodeSwappedOnFailure && code == 1002:
		code = 1007
	case e.bug == CodeSwappedOnFailure:
		code = 1002
	}
	e.write(closeFrame, 0, binary.BigEndian.AppendUint16(nil, uint16(code)))
	e.end()
}

// end closes TCP after the closing handshake: the server at once, but so that
// the Close frame arrives, the client after the server.
func (e *Endpoint) end() {
	if !e.client && e.bug != NoTCPEnd {
		if c, ok := e.conn.(interface{ CloseWrite() error }); ok {
			c.CloseWrite()
		}
	}
	e.drain()
}

// drain reads until the peer closes TCP.
func (e *Endpoint) drain() {
	e.conn.SetReadDeadline(time.Now().Add(drainLimit))
	io.Copy(io.Discard, struct{ io.Reader }{e.r})
}
