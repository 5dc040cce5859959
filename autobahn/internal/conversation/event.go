package conversation

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Opcodes of RFC 6455, Section 5.2.
const (
	Continuation = 0
	Text         = 1
	Binary       = 2
	Close        = 8
	Ping         = 9
	Pong         = 10
)

// A Frame is one frame of a script. RSV1 is bit 2 of RSV, RSV3 bit 0.
type Frame struct {
	FIN     bool
	RSV     byte
	Opcode  byte
	Payload []byte
}

// An EventKind is the kind of an Event.
type EventKind byte

// The kinds of event, each with its letter in conversations.txt.
const (
	TextMessage   EventKind = 'T'
	BinaryMessage EventKind = 'B'
	PongFrame     EventKind = 'O'
	WaitEnd       EventKind = 'w'
)

// An Event is a complete message or a pong received from the testee, or the
// end of a wait, whose payload is its letter.
type Event struct {
	Kind    EventKind
	Payload []byte
}

// String returns e as in conversations.txt, with a long payload shortened.
func (e Event) String() string {
	if e.Kind == WaitEnd {
		return "w" + string(e.Payload)
	}
	return string(e.Kind) + "(" + notate(e.Payload) + ")"
}

// Equal reports whether two lists hold the same events in the same order.
func Equal(a, b []Event) bool {
	return slices.EqualFunc(a, b, func(a, b Event) bool {
		return a.Kind == b.Kind && bytes.Equal(a.Payload, b.Payload)
	})
}

// Notate returns a list of events as in conversations.txt.
func Notate(events []Event) string {
	if len(events) == 0 {
		return "none"
	}
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = e.String()
	}
	return strings.Join(words, " ")
}

// notate returns a payload in ASCII or hex, at most about 40 octets of it.
func notate(p []byte) string {
	const most = 40
	head, tail := p, ""
	if len(p) > most {
		head, tail = p[:most], fmt.Sprintf("… %d octets", len(p))
	}
	switch {
	case len(p) == 0:
		return ""
	case printable(head):
		return `"` + string(head) + `"` + tail
	default:
		return fmt.Sprintf("%x", head) + tail
	}
}

// printable reports whether p is ASCII without control characters or quotes.
func printable(p []byte) bool {
	for _, b := range p {
		if b < ' ' || b == '"' || b >= utf8.RuneSelf-1 {
			return false
		}
	}
	return true
}
