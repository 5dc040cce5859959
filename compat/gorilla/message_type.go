package websocket

// The types of message, which are opcodes of RFC 6455, Section 5.2.
const (
	// TextMessage is a data message whose payload is text in UTF-8.
	TextMessage = 1
	// BinaryMessage is a data message whose payload is bytes.
	BinaryMessage = 2
	// CloseMessage is a control message, of which FormatCloseMessage makes the
	// payload.
	CloseMessage = 8
	// PingMessage is a control message of up to 125 bytes.
	PingMessage = 9
	// PongMessage is a control message of up to 125 bytes.
	PongMessage = 10
)

// noMessage is the message type that comes with an error of a read.
const noMessage = -1

// isData reports whether messages of a type are data.
func isData(messageType int) bool { return messageType == TextMessage || messageType == BinaryMessage }

// isControl reports whether messages of a type are control frames.
func isControl(messageType int) bool {
	return messageType >= CloseMessage && messageType <= PongMessage
}

// maxControlPayload is how many bytes a control frame can have (RFC 6455,
// Section 5.5).
const maxControlPayload = 125
