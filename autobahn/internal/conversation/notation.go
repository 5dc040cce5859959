package conversation

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The letters of frames in conversations.txt.
var opcodes = map[byte]byte{
	'C': Continuation, 'T': Text, 'B': Binary, 'X': Close, 'I': Ping, 'O': Pong,
}

// A reader reads the notation of conversations.txt. Its methods panic with a
// syntaxError, which recoverSyntax turns into an error.
type reader struct{ rest string }

type syntaxError string

// parseScript returns the script written as s.
func parseScript(s string) (script *Script, err error) {
	defer recoverSyntax(s, &err)
	r := &reader{s}
	script = &Script{}
	var burst Step
	flush := func() {
		if len(burst) > 0 {
			script.Steps = append(script.Steps, burst)
			burst = nil
		}
	}
	for r.skipSpace(); r.rest != ""; r.skipSpace() {
		switch {
		case r.take("w1"):
			flush()
			script.Steps = append(script.Steps, Step{})
		case r.take("@f"):
			script.Chop = PerFrame
		case r.take("@"):
			script.Chop = r.number()
		default:
			frames, pauses := r.message()
			for _, f := range frames {
				from := 0
				for _, pause := range pauses {
					burst = append(burst, Piece{f, from, pause})
					flush()
					script.Steps = append(script.Steps, Step{})
					from = pause
				}
				burst = append(burst, Piece{f, from, len(f.Payload)})
			}
		}
	}
	flush()
	return script, nil
}

// parseEvents returns the events written as s. echo stands for messages.
func parseEvents(s string, messages []Event) (events []Event, err error) {
	defer recoverSyntax(s, &err)
	r := &reader{s}
	for r.skipSpace(); r.rest != ""; r.skipSpace() {
		switch {
		case r.take("none"):
		case r.take("echo"):
			events = append(events, messages...)
		case r.take("w"):
			events = append(events, Event{WaitEnd, []byte(r.next(1))})
		default:
			frames, _ := r.message()
			events = append(events, eventOf(frames[0]))
		}
	}
	return events, nil
}

// eventOf returns the event of receiving the unfragmented message or pong f.
func eventOf(f *Frame) Event {
	if f.Opcode == Pong {
		return Event{PongFrame, f.Payload}
	}
	return Event{kindOf(f.Opcode), f.Payload}
}

// recoverSyntax stores a syntaxError in flight as the error for the text s.
func recoverSyntax(s string, err *error) {
	switch r := recover().(type) {
	case nil:
	case syntaxError:
		*err = fmt.Errorf("conversation: %q: %s", s, string(r))
	default:
		panic(r)
	}
}

// message reads a frame, or a message cut into several, and the offsets of
// the pauses in its payload.
func (r *reader) message() (frames []*Frame, pauses []int) {
	f := &Frame{FIN: true, Opcode: r.opcode()}
	if r.take("-") {
		f.FIN = false
	}
	if r.take("^") {
		f.RSV = byte(r.number())
	}
	f.Payload, pauses = r.payload()
	if r.take("/") {
		return Fragment(f.Opcode, f.RSV, f.Payload, r.number()), nil
	}
	return []*Frame{f}, pauses
}

// opcode reads a letter, or # and a number.
func (r *reader) opcode() byte {
	if r.take("#") {
		return byte(r.number())
	}
	letter := r.next(1)[0]
	opcode, ok := opcodes[letter]
	if !ok {
		panic(syntaxError("no frame " + strconv.Quote(string(letter))))
	}
	return opcode
}

// payload reads a payload in brackets and the offsets of its pauses.
func (r *reader) payload() (p []byte, pauses []int) {
	r.must("(")
	p = []byte{}
	for !r.take(")") {
		switch {
		case r.take("+"), r.take(" "):
		case r.take("w1"):
			pauses = append(pauses, len(p))
		default:
			p = append(p, r.term()...)
		}
	}
	return p, pauses
}

// term reads a string or hex octets, and their repetition.
func (r *reader) term() []byte {
	pattern := r.octets()
	switch {
	case r.take("*"):
		return bytes.Repeat(pattern, r.number())
	case r.take("~"):
		n := r.number()
		return bytes.Repeat(pattern, n/len(pattern)+1)[:n]
	default:
		return pattern
	}
}

// octets reads "ASCII" or hex.
func (r *reader) octets() []byte {
	if r.take(`"`) {
		s := r.upTo(`"`)
		r.must(`"`)
		return []byte(s)
	}
	p, err := hex.DecodeString(r.upTo("*~+ )"))
	if err != nil {
		panic(syntaxError(err.Error()))
	}
	return p
}

// number reads decimal digits.
func (r *reader) number() int {
	end := strings.IndexFunc(r.rest, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(r.rest)
	}
	n, err := strconv.Atoi(r.next(end))
	if err != nil {
		panic(syntaxError(err.Error()))
	}
	return n
}

// upTo reads up to the first of the characters in stops.
func (r *reader) upTo(stops string) string {
	end := strings.IndexAny(r.rest, stops)
	if end < 0 {
		panic(syntaxError("ends too early"))
	}
	return r.next(end)
}

// take reads s if it comes next.
func (r *reader) take(s string) bool {
	rest, ok := strings.CutPrefix(r.rest, s)
	r.rest = rest
	return ok
}

// must reads s.
func (r *reader) must(s string) {
	if !r.take(s) {
		panic(syntaxError(fmt.Sprintf("%q expected before %q", s, r.rest)))
	}
}

// next reads n bytes.
func (r *reader) next(n int) string {
	if len(r.rest) < n {
		panic(syntaxError("ends too early"))
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// skipSpace skips spaces.
func (r *reader) skipSpace() { r.rest = strings.TrimLeft(r.rest, " ") }
