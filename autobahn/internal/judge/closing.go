package judge

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// close sends Close first. Code 0 makes it empty.
func (s *session) close(code int, reason string) {
	s.startClosing(code)
	s.sendFrame(conversation.Close, peer.ClosePayload(code, reason))
}

// startClosing records that the judge's own Close is sent.
func (s *session) startClosing(code int) {
	s.state, s.closedByUs, s.sentCode = closing, true, code
	s.whenWritten(func() {
		if s.closer == nil {
			s.closer = s.after(closeLimit)
		}
	})
}

// after returns a channel that is ready after d with patience.
func (s *session) after(d time.Duration) <-chan time.Time { return time.After(s.opts.limit(d)) }

// receiveClose handles the testee's Close frame.
func (s *session) receiveClose(m peer.Inbound) {
	s.answered, s.code, s.reason = true, m.Code, m.Reason
	switch {
	case s.state == open:
		s.answerClose()
	case s.role == peer.Server:
		s.clean = true
		s.reset()
	default:
		s.closer = s.after(closeLimit) // for the server to close TCP
	}
}

// answerClose replies to a testee that closes first. As a server the judge
// closes TCP, as a client it waits for the server to do so.
func (s *session) answerClose() {
	s.state = closing
	s.sendFrame(conversation.Close, peer.ClosePayload(1000, ""))
	s.closer = s.after(guardLimit)
	if s.role == peer.Server {
		s.clean = true
		s.out.Then(func() { closeWrite(s.conn) })
	}
}

// violated handles a violation of the protocol by the testee: the judge fails
// the connection and stops recording.
func (s *session) violated(m peer.Inbound, v *peer.Violation) {
	s.fault("%s", v.Text)
	s.deaf = true
	if m.Opcode == conversation.Close {
		s.code, s.reason = m.Code, m.Reason
	}
	if s.state == closing {
		s.reset()
		return
	}
	s.close(v.Code, v.Text)
	if s.role == peer.Server {
		s.out.Then(func() { closeWrite(s.conn) }) // an answer could not be read any more
	}
}

// tcpEnded handles the end of TCP by the testee.
func (s *session) tcpEnded() {
	if s.role == peer.Client && s.state == closing && s.answered {
		s.clean = true
	}
	s.state = ended
}

// tookTooLong ends a conversation whose timer has run out.
func (s *session) tookTooLong() {
	s.timer = nil
	switch {
	case s.state == open && s.plan.Timer.Kill:
		s.close(1001, "Going Away")
	case s.state == open:
		s.close(0, "")
	case s.plan.Timer.Kill:
		s.cut("TCP is not ended in time")
	}
}

// cut ends TCP because the testee does not.
func (s *session) cut(why string) {
	if s.role == peer.Client || !s.clean {
		s.cutByUs = true
		s.remarks = append(s.remarks, why)
	}
	s.reset()
}

// reset ends TCP with a reset, so that nothing lingers.
func (s *session) reset() {
	conn := s.conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	switch c := conn.(type) {
	case *net.TCPConn:
		c.SetLinger(0)
	case interface{ Reset() error }:
		c.Reset()
	}
	conn.Close()
	s.state = ended
}

// closeWrite ends the judge's direction of the connection.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
		return
	}
	conn.Close()
}
