package websocket

import (
	"errors"
	"strconv"
)

// A StatusCode says why a connection ends (RFC 6455, Section 7.4). Programs
// choose theirs from 4000 to 4999; libraries and frameworks from 3000 to 3999.
type StatusCode int

// Status codes of RFC 6455, Section 7.4.1, and of the IANA registry.
// StatusNoStatusRcvd, StatusAbnormalClosure and StatusTLSHandshake never travel
// in a Close frame: they stand for ends without a code.
const (
	StatusNormalClosure           StatusCode = 1000
	StatusGoingAway               StatusCode = 1001
	StatusProtocolError           StatusCode = 1002
	StatusUnsupportedData         StatusCode = 1003
	StatusNoStatusRcvd            StatusCode = 1005
	StatusAbnormalClosure         StatusCode = 1006
	StatusInvalidFramePayloadData StatusCode = 1007
	StatusPolicyViolation         StatusCode = 1008
	StatusMessageTooBig           StatusCode = 1009
	StatusMandatoryExtension      StatusCode = 1010
	StatusInternalError           StatusCode = 1011
	StatusServiceRestart          StatusCode = 1012
	StatusTryAgainLater           StatusCode = 1013
	StatusBadGateway              StatusCode = 1014
	StatusTLSHandshake            StatusCode = 1015
)

// statusNames are the names of the constants.
var statusNames = map[StatusCode]string{
	StatusNormalClosure:           "StatusNormalClosure",
	StatusGoingAway:               "StatusGoingAway",
	StatusProtocolError:           "StatusProtocolError",
	StatusUnsupportedData:         "StatusUnsupportedData",
	StatusNoStatusRcvd:            "StatusNoStatusRcvd",
	StatusAbnormalClosure:         "StatusAbnormalClosure",
	StatusInvalidFramePayloadData: "StatusInvalidFramePayloadData",
	StatusPolicyViolation:         "StatusPolicyViolation",
	StatusMessageTooBig:           "StatusMessageTooBig",
	StatusMandatoryExtension:      "StatusMandatoryExtension",
	StatusInternalError:           "StatusInternalError",
	StatusServiceRestart:          "StatusServiceRestart",
	StatusTryAgainLater:           "StatusTryAgainLater",
	StatusBadGateway:              "StatusBadGateway",
	StatusTLSHandshake:            "StatusTLSHandshake",
}

// String returns the name of the constant, or StatusCode and the number in
// parentheses.
func (i StatusCode) String() string {
	if name, ok := statusNames[i]; ok {
		return name
	}
	return "StatusCode(" + strconv.Itoa(int(i)) + ")"
}

// A CloseError has the code and the reason of the peer's Close frame. It is a
// value: find it with errors.As and a CloseError, or use [CloseStatus].
type CloseError struct {
	Code   StatusCode
	Reason string // the peer's words: quote them, and do not trust them
}

// Error returns the code and the reason.
func (ce CloseError) Error() string {
	return "status = " + ce.Code.String() + ", reason = " + strconv.Quote(ce.Reason)
}

// CloseStatus returns the code of the CloseError in err, or -1 if there is
// none.
func CloseStatus(err error) StatusCode {
	var ce CloseError
	if errors.As(err, &ce) {
		return ce.Code
	}
	return -1
}
