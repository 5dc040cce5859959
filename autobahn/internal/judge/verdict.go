package judge

import (
	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// result returns the verdicts of an ended session.
func (s *session) result() *Result {
	r := &Result{
		ID:            s.plan.ID,
		Behavior:      s.behavior(),
		BehaviorClose: s.behaviorClose(),
		CloseCode:     s.code,
		CloseReason:   s.reason,
		Expected:      conversation.Notate(s.plan.Expected),
		Received:      conversation.Notate(s.events),
		Notes:         append(s.faults, s.remarks...),
	}
	if s.turns != nil && s.turns.inflater != nil {
		r.Farthest = s.turns.inflater.Farthest()
	}
	if s.plan.Class == conversation.TextFail && s.closedByUs ||
		s.plan.CodeCounts() && r.BehaviorClose == WrongCode {
		r.Behavior = Failed
	}
	if s.plan.Informational {
		r.Behavior, r.BehaviorClose = Informational, Informational
	}
	return r
}

// behavior judges the received messages and pongs.
func (s *session) behavior() Verdict {
	switch {
	case len(s.faults) > 0:
		return Failed
	case s.turns != nil:
		return s.turnsBehavior()
	case conversation.Equal(s.events, s.plan.Expected):
		return OK
	case s.plan.NonStrict != nil && conversation.Equal(s.events, s.plan.NonStrict):
		return NonStrict
	default:
		return Failed
	}
}

// turnsBehavior judges the echoes of messages sent one by one.
func (s *session) turnsBehavior() Verdict {
	switch {
	case s.turns.ok:
		return OK
	case s.plan.Compression != nil && !s.turns.compressed():
		return Unimplemented
	default:
		return Failed
	}
}

// behaviorClose judges the end of the connection.
func (s *session) behaviorClose() Verdict {
	class := s.plan.Class
	switch {
	case s.closedByUs == class.TesteeCloses():
		return Failed
	case class.NeedsCleanEnd() && !s.clean:
		return Unclean
	case s.code != 0 && !class.Allows(s.code, s.sentCode):
		return WrongCode
	case s.cutByUs && s.role == peer.Client:
		return FailedByClient
	default:
		return OK
	}
}

// refused returns the result of a conversation whose opening handshake failed.
func refused(c *conversation.Conversation, err error) *Result {
	return &Result{ID: c.ID, Behavior: Failed, BehaviorClose: Failed, Notes: []string{err.Error()}}
}
