package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"

	fullduplex "github.com/fullduplex-go/websocket"
)

// Errors to compare with ==.
var (
	// ErrBadHandshake is what dialing returns when the answer to the opening
	// handshake is not the one of a WebSocket server.
	ErrBadHandshake = errors.New("websocket: bad handshake")
	// ErrCloseSent is what writing returns once a Close frame has been sent,
	// by the application or by the connection itself.
	ErrCloseSent = errors.New("websocket: close sent")
	// ErrReadLimit is what reading returns when a message is longer than
	// [Conn.SetReadLimit] allows. The peer is told 1009.
	ErrReadLimit = errors.New("websocket: read limit exceeded")
)

// Errors of callers.
var (
	errBadMessageType      = errors.New("websocket: bad write message type")
	errInvalidControlFrame = errors.New("websocket: invalid control frame")
	errInvalidLevel        = errors.New("websocket: invalid compression level")
	errWriterClosed        = errors.New("websocket: writer is closed")
)

// Close codes of RFC 6455, Section 7.4.1, and of the IANA registry.
const (
	CloseNormalClosure           = 1000
	CloseGoingAway               = 1001
	CloseProtocolError           = 1002
	CloseUnsupportedData         = 1003
	CloseNoStatusReceived        = 1005
	CloseAbnormalClosure         = 1006
	CloseInvalidFramePayloadData = 1007
	ClosePolicyViolation         = 1008
	CloseMessageTooBig           = 1009
	CloseMandatoryExtension      = 1010
	CloseInternalServerErr       = 1011
	CloseServiceRestart          = 1012
	CloseTryAgainLater           = 1013
	CloseTLSHandshake            = 1015
)

// closeNames has the words that CloseError.Error puts behind a code.
var closeNames = map[int]string{
	CloseNormalClosure:           "normal",
	CloseGoingAway:               "going away",
	CloseProtocolError:           "protocol error",
	CloseUnsupportedData:         "unsupported data",
	CloseNoStatusReceived:        "no status",
	CloseAbnormalClosure:         "abnormal closure",
	CloseInvalidFramePayloadData: "invalid payload data",
	ClosePolicyViolation:         "policy violation",
	CloseMessageTooBig:           "message too big",
	CloseMandatoryExtension:      "mandatory extension missing",
	CloseInternalServerErr:       "internal server error",
	CloseTLSHandshake:            "TLS handshake error",
}

// A CloseError is the end of a connection as its peer's Close frame says it, or
// CloseAbnormalClosure if the peer has gone without one. It is what reading
// returns.
type CloseError struct {
	Code int    // the code of the Close frame, or one that stands for none
	Text string // the reason that the peer gave, or ""
}

// Error returns the code, its name and the text.
func (e *CloseError) Error() string {
	s := "websocket: close " + strconv.Itoa(e.Code)
	if name, ok := closeNames[e.Code]; ok {
		s += " (" + name + ")"
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// IsCloseError reports whether err is a *CloseError with one of the codes, or
// wraps one.
func IsCloseError(err error, codes ...int) bool {
	var end *CloseError
	return errors.As(err, &end) && slices.Contains(codes, end.Code)
}

// IsUnexpectedCloseError reports whether err is a *CloseError with none of the
// codes, or wraps one.
func IsUnexpectedCloseError(err error, expectedCodes ...int) bool {
	var end *CloseError
	return errors.As(err, &end) && !slices.Contains(expectedCodes, end.Code)
}

// readError returns what reading returns for an error of a fullduplex.Conn.
func readError(err error) error {
	var end *fullduplex.CloseError
	switch {
	case !errors.As(err, &end):
		return err
	case end.Received:
		return &CloseError{Code: int(end.Code), Text: end.Reason}
	case errors.Is(end.Err, fullduplex.ErrMessageTooBig):
		return ErrReadLimit
	case errors.Is(end.Err, io.ErrUnexpectedEOF):
		return &CloseError{Code: CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()}
	default:
		return causeOf(end)
	}
}

// writeError returns what writing returns for an error of a fullduplex.Conn, or
// for nil.
func writeError(err error) error { return endError(err, ErrCloseSent) }

// deadlineError returns what setting a deadline returns for an error of a
// fullduplex.Conn: after a closing handshake there is nothing to set, and
// nothing wrong.
func deadlineError(err error) error { return endError(err, nil) }

// endError returns closed for an error of a fullduplex.Conn that says that there
// was a Close frame, the cause for one of another end, and err for all others, nil
// among them.
func endError(err, closed error) error {
	if err == nil {
		return nil // without the variable below, which escapes
	}
	var end *fullduplex.CloseError
	switch {
	case !errors.As(err, &end):
		return err
	case end.Sent || end.Received:
		return closed
	default:
		return causeOf(end)
	}
}

// causeOf returns the error that ended a connection without the peer's Close
// frame.
func causeOf(end *fullduplex.CloseError) error {
	if end.Err == nil {
		return net.ErrClosed
	}
	return end.Err
}

// isTimeout reports whether err says that a deadline has passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
