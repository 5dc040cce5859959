package conversation

import "bytes"

// A Piece is a part of one frame: its payload octets [From, To). The header is
// sent before octet 0.
type Piece struct {
	Frame    *Frame
	From, To int
}

// A Step is a burst of pieces, or a wait of one second if it has none.
type Step []Piece

// Wait reports whether s is a wait.
func (s Step) Wait() bool { return len(s) == 0 }

// Ways to cut a script into writes. A positive number is the size of a write
// in octets.
const (
	OneBurst = 0  // a burst is one write
	PerFrame = -1 // a frame is one write
)

// A Script is what the judge sends, in order.
type Script struct {
	Steps []Step
	Chop  int
}

// Frames returns the frames of the script, each once.
func (s *Script) Frames() []*Frame {
	var frames []*Frame
	for _, step := range s.Steps {
		for _, piece := range step {
			if piece.From == 0 {
				frames = append(frames, piece.Frame)
			}
		}
	}
	return frames
}

// ClosesItself reports whether the script has a Close frame, which then counts
// as the judge's own. One with a reserved bit is sent but does not count.
func (s *Script) ClosesItself() bool {
	for _, f := range s.Frames() {
		if f.Opcode == Close && f.RSV == 0 {
			return true
		}
	}
	return false
}

// messages returns the data messages of the script, in order.
func (s *Script) messages() []Event {
	var events []Event
	open := false
	for _, f := range s.Frames() {
		switch {
		case f.Opcode == Text, f.Opcode == Binary:
			payload := f.Payload
			if !f.FIN {
				payload = bytes.Clone(payload) // the rest is appended
			}
			events = append(events, Event{kindOf(f.Opcode), payload})
			open = !f.FIN
		case f.Opcode == Continuation && open:
			last := &events[len(events)-1]
			last.Payload = append(last.Payload, f.Payload...)
			open = !f.FIN
		}
	}
	return events
}

// kindOf returns the event of a message with that opcode.
func kindOf(opcode byte) EventKind {
	if opcode == Text {
		return TextMessage
	}
	return BinaryMessage
}

// Fragment cuts a message into frames of size octets. If the length is a
// multiple of size and larger, the last frame is empty; if it is at most size,
// or size is 0, there is one frame. The frames share payload's memory. rsv is
// set on the first.
func Fragment(opcode, rsv byte, payload []byte, size int) []*Frame {
	if size <= 0 || len(payload) <= size {
		return []*Frame{{FIN: true, RSV: rsv, Opcode: opcode, Payload: payload}}
	}
	frames := make([]*Frame, 0, len(payload)/size+1)
	for len(payload) >= size {
		frames = append(frames, &Frame{Opcode: Continuation, Payload: payload[:size]})
		payload = payload[size:]
	}
	frames = append(frames, &Frame{FIN: true, Opcode: Continuation, Payload: payload})
	frames[0].Opcode, frames[0].RSV = opcode, rsv
	return frames
}
