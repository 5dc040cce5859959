package judge

import (
	"bytes"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/corpus"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// turns is the part of a session that sends messages one by one, each after the
// echo of the one before.
type turns struct {
	left       int
	next       func() conversation.Event // the next message
	burst      func(conversation.Event) conversation.Step
	awaited    conversation.Event
	ok         bool // every echo arrived and was correct
	compressor *deflate.Compressor
	inflater   *deflate.Inflater
}

// newTurns returns the turns of a plan, which must have some.
func newTurns(plan *conversation.Plan, role peer.Role, opts *Options, agreed *deflate.Params) *turns {
	if plan.Compression == nil {
		return scriptTurns(plan)
	}
	t := &turns{left: opts.turns(plan.Turns, plan.Compression.Size)}
	if agreed != nil {
		ours, theirs := agreed.Client(), agreed.Server()
		if role == peer.Server {
			ours, theirs = theirs, ours
		}
		t.compressor = deflate.NewCompressor(ours)
		t.inflater = deflate.NewInflater(theirs, peer.MaxMessage)
	}
	c := plan.Compression
	ring := corpus.NewRing(c.Data)
	kind := conversation.BinaryMessage
	if c.Opcode == conversation.Text {
		kind = conversation.TextMessage
	}
	t.next = func() conversation.Event {
		return conversation.Event{Kind: kind, Payload: ring.Next(c.Size)}
	}
	t.burst = func(m conversation.Event) conversation.Step {
		return whole(conversation.Fragment(c.Opcode, 4, t.compressor.Compress(m.Payload), c.Fragment))
	}
	return t
}

// scriptTurns repeats the one message of the script.
func scriptTurns(plan *conversation.Plan) *turns {
	return &turns{
		left:  plan.Turns,
		next:  func() conversation.Event { return plan.Expected[0] },
		burst: func(conversation.Event) conversation.Step { return plan.Script.Steps[0] },
	}
}

// whole returns a step of whole frames.
func whole(frames []*conversation.Frame) conversation.Step {
	step := make(conversation.Step, len(frames))
	for i, f := range frames {
		step[i] = conversation.Piece{Frame: f, To: len(f.Payload)}
	}
	return step
}

// compressed reports whether permessage-deflate was agreed.
func (t *turns) compressed() bool { return t.inflater != nil }

// nextTurn sends the next message.
func (s *session) nextTurn() {
	s.turns.left--
	s.turns.awaited = s.turns.next()
	s.send(s.turns.burst(s.turns.awaited))
}

// turnEnded compares the echo with the message sent.
func (s *session) turnEnded(e conversation.Event) {
	want := s.turns.awaited
	switch {
	case e.Kind == conversation.PongFrame:
	case s.turns.ok:
		s.fault("a message came after the last echo: %v", e)
	case s.state != open:
	case e.Kind != want.Kind || !bytes.Equal(e.Payload, want.Payload):
		s.fault("the echo is %v, the message was %v; they differ from octet %d on", e, want, difference(e.Payload, want.Payload))
		s.close(1000, "")
	case s.turns.left > 0:
		s.nextTurn()
	default:
		s.turns.ok = true
		s.close(1000, "")
	}
}

// difference returns the offset of the first octet in which a and b differ.
func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
