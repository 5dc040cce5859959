package websocket

import (
	"errors"
	"strconv"
)

// A CloseCode says why a connection ends (RFC 6455, Section 7.4). It implements
// error, so that errors.Is(err, CloseGoingAway) reports whether a connection
// ended with that code.
type CloseCode uint16

// Close codes of RFC 6455, Section 7.4.1, and of the IANA registry.
// CloseNoStatus, CloseAbnormal and CloseTLSHandshake describe an end that
// carried no code; they never travel in a Close frame. Codes 3000 to 3999 are
// for libraries and frameworks, 4000 to 4999 for private use.
const (
	CloseNormal             CloseCode = 1000 // the purpose is fulfilled
	CloseGoingAway          CloseCode = 1001 // a server stops, a page is left
	CloseProtocolError      CloseCode = 1002 // the peer broke the protocol
	CloseUnsupportedData    CloseCode = 1003 // a message type is not accepted
	CloseNoStatus           CloseCode = 1005 // the peer's Close frame had no code
	CloseAbnormal           CloseCode = 1006 // the connection ended without a Close frame
	CloseInvalidPayload     CloseCode = 1007 // text is not UTF-8, or compressed data is corrupt
	ClosePolicyViolation    CloseCode = 1008 // a rule of the application is broken
	CloseMessageTooBig      CloseCode = 1009 // a message is over the size limit
	CloseMandatoryExtension CloseCode = 1010 // an extension the client needs is missing
	CloseInternalError      CloseCode = 1011 // the server cannot go on
	CloseServiceRestart     CloseCode = 1012 // the service restarts
	CloseTryAgainLater      CloseCode = 1013 // the service is overloaded
	CloseBadGateway         CloseCode = 1014 // an upstream server answered badly
	CloseTLSHandshake       CloseCode = 1015 // the TLS handshake failed
)

// closeCodeNames are the names in the IANA registry.
var closeCodeNames = map[CloseCode]string{
	CloseNormal:             "normal closure",
	CloseGoingAway:          "going away",
	CloseProtocolError:      "protocol error",
	CloseUnsupportedData:    "unsupported data",
	CloseNoStatus:           "no status received",
	CloseAbnormal:           "abnormal closure",
	CloseInvalidPayload:     "invalid payload data",
	ClosePolicyViolation:    "policy violation",
	CloseMessageTooBig:      "message too big",
	CloseMandatoryExtension: "mandatory extension",
	CloseInternalError:      "internal error",
	CloseServiceRestart:     "service restart",
	CloseTryAgainLater:      "try again later",
	CloseBadGateway:         "bad gateway",
	CloseTLSHandshake:       "TLS handshake",
}

// String returns the code in digits, with its registered name if it has one.
func (c CloseCode) String() string {
	digits := strconv.Itoa(int(c))
	if name, ok := closeCodeNames[c]; ok {
		return digits + " (" + name + ")"
	}
	return digits
}

// Error makes a CloseCode a target for errors.Is.
func (c CloseCode) Error() string { return "websocket: close " + c.String() }

// onWire reports whether c may be in a Close frame, sent or received (RFC 6455,
// Section 7.4.2).
func (c CloseCode) onWire() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014:
		return true
	default:
		return c >= 3000 && c <= 4999
	}
}

// A CloseError says how a connection ended. It is the error of reads and writes
// after the end, satisfies errors.Is(err, net.ErrClosed) and
// errors.Is(err, Code), and unwraps to its cause. While Close waits for the
// peer, writes return one with the code and reason of this side.
type CloseError struct {
	// Code is the code of the Close frame that was received; or, when this
	// side failed the connection, of the one it sent; or CloseAbnormal.
	Code CloseCode
	// Reason is the text that belongs to Code. If Received is set it is the
	// peer's, and not to be trusted or shown to users (RFC 6455, Section
	// 5.5.1).
	Reason string
	// Received and Sent say which Close frames there were. Both: the closing
	// handshake was complete.
	Received, Sent bool
	// Err is the cause: an error of the network, a [*ProtocolError],
	// [ErrPongTimeout], and so on; nil after a closing handshake that no
	// error caused.
	Err error
}

// Error describes the end, with the reason quoted.
func (e *CloseError) Error() string {
	text := "websocket: closed: " + e.Code.String()
	if e.Reason != "" {
		text += " " + strconv.Quote(e.Reason)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *CloseError) Unwrap() error { return e.Err }

// A ProtocolError is a violation of the protocol, or of a limit set by this
// side, by the peer. It is the cause of the [CloseError] that ends the
// connection.
type ProtocolError struct {
	Code    CloseCode // what the peer is told
	Section string    // where the broken rule stands
	Text    string    // the rule, in short
}

// Error returns the broken rule and where it stands.
func (e *ProtocolError) Error() string {
	return "websocket: " + e.Text + " (" + e.Section + ")"
}

// A violation is an index into the table of all violations that a peer can
// commit. The zero value is none.
type violation uint8

// The violations. Their order means nothing.
const (
	noViolation violation = iota
	reservedBitSet
	reservedOpcode
	unmaskedFrame
	maskedFrame
	lengthNotMinimal
	lengthTopBit
	controlTooLong
	controlFragmented
	continuationWithoutMessage
	messageInterrupted
	compressedContinuation
	closePayloadTooShort
	closeCodeInvalid
	closeReasonNotUTF8
	textNotUTF8
	messageTooBig
	tooManyFragments
	compressedDataCorrupt
	idleTooLong
	violationCount
)

// violations say for each violation what the peer is told, which section it
// violates, and what is wrong.
var violations = [violationCount]ProtocolError{
	reservedBitSet:             {CloseProtocolError, "RFC 6455, Section 5.2", "reserved bit set without an extension that defines it"},
	reservedOpcode:             {CloseProtocolError, "RFC 6455, Section 5.2", "reserved opcode"},
	unmaskedFrame:              {CloseProtocolError, "RFC 6455, Section 5.1", "frame from the client is not masked"},
	maskedFrame:                {CloseProtocolError, "RFC 6455, Section 5.1", "frame from the server is masked"},
	lengthNotMinimal:           {CloseProtocolError, "RFC 6455, Section 5.2", "payload length is not in its shortest form"},
	lengthTopBit:               {CloseProtocolError, "RFC 6455, Section 5.2", "payload length has its top bit set"},
	controlTooLong:             {CloseProtocolError, "RFC 6455, Section 5.5", "control frame payload is longer than 125 bytes"},
	controlFragmented:          {CloseProtocolError, "RFC 6455, Section 5.5", "control frame is fragmented"},
	continuationWithoutMessage: {CloseProtocolError, "RFC 6455, Section 5.4", "continuation frame outside a fragmented message"},
	messageInterrupted:         {CloseProtocolError, "RFC 6455, Section 5.4", "new message inside a fragmented message"},
	compressedContinuation:     {CloseProtocolError, "RFC 7692, Section 6.1", "RSV1 set on a continuation or control frame"},
	closePayloadTooShort:       {CloseProtocolError, "RFC 6455, Section 5.5.1", "close frame payload of one byte"},
	closeCodeInvalid:           {CloseProtocolError, "RFC 6455, Section 7.4", "close code that must not be sent"},
	closeReasonNotUTF8:         {CloseInvalidPayload, "RFC 6455, Section 5.5.1", "close reason is not valid UTF-8"},
	textNotUTF8:                {CloseInvalidPayload, "RFC 6455, Section 8.1", "text message is not valid UTF-8"},
	messageTooBig:              {CloseMessageTooBig, "RFC 6455, Section 10.4", "message is over the size limit"},
	tooManyFragments:           {ClosePolicyViolation, "RFC 6455, Section 10.4", "message has too many fragments"},
	compressedDataCorrupt:      {CloseInvalidPayload, "RFC 7692, Section 7.2.2", "compressed data is corrupt"},
	idleTooLong:                {ClosePolicyViolation, "RFC 6455, Section 7.4.1", "no message for too long"},
}

// err returns the table's entry for v, which must not be noViolation.
func (v violation) err() *ProtocolError { return &violations[v] }

// Errors to compare with errors.Is. They are the causes of a [CloseError],
// except ErrQueueFull, which leaves the connection open.
var (
	// ErrMessageTooBig ends a connection whose peer sent a message over
	// Config.MaxMessageSize. The peer is told 1009.
	ErrMessageTooBig error = messageTooBig.err()
	// ErrQueueFull is returned by Send under [DropNewest] when the queue has
	// no room for the message, which is not sent.
	ErrQueueFull = errors.New("websocket: send queue is full")
	// ErrSlowConsumer ends a connection whose queue was full under
	// [CloseSlow]. The peer is told 1008. The Send that found the queue full
	// returns it as it is.
	ErrSlowConsumer = errors.New("websocket: peer reads too slowly")
	// ErrPongTimeout ends a connection whose peer sent nothing for
	// Config.PongTimeout after a keepalive Ping.
	ErrPongTimeout = errors.New("websocket: no pong from the peer")
)
