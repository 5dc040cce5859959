package websocket

import (
	"strconv"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A MessageType tells text from binary messages (RFC 6455, Section 5.6).
type MessageType int

// The two types. Text is valid UTF-8.
const (
	MessageText   = MessageType(fullduplex.Text)
	MessageBinary = MessageType(fullduplex.Binary)
)

// String returns the name of the constant, or MessageType and the number in
// parentheses.
func (i MessageType) String() string {
	switch i {
	case MessageText:
		return "MessageText"
	case MessageBinary:
		return "MessageBinary"
	}
	return "MessageType(" + strconv.Itoa(int(i)) + ")"
}

// outgoing returns the type as fullduplex has it. A number that is no type
// stays none.
func (i MessageType) outgoing() fullduplex.MessageType {
	if i != MessageText && i != MessageBinary {
		return 0
	}
	return fullduplex.MessageType(i)
}
