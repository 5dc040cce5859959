package flate

import (
	"errors"
	"strconv"
)

// ErrTooLong is returned when compressed data inflates to more than the
// caller allows.
var ErrTooLong = errors.New("flate: data inflates to more than the limit")

// A CorruptError reports that compressed data is not a valid message of
// RFC 7692, or refers to bytes outside the window.
type CorruptError struct {
	Offset int64  // bytes of the message's payload read before the error was found
	Text   string // the broken rule, in short
}

// Error returns the broken rule and where it was found.
func (e *CorruptError) Error() string {
	return "flate: " + e.Text + " at byte " + strconv.FormatInt(e.Offset, 10)
}

// A fault is a violation of RFC 1951 or RFC 7692 found while inflating. The zero
// value means none.
type fault uint8

const (
	noFault fault = iota
	badBlockType
	badStoredLength
	badCodeCount
	badCode
	badRepeat
	badSymbol
	badDistance
	noEndOfBlock
	cutShort
)

var faultTexts = [...]string{
	badBlockType:    "reserved block type",
	badStoredLength: "length of a stored block does not match its complement",
	badCodeCount:    "too many literal or distance codes",
	badCode:         "set of code lengths is over-subscribed or incomplete",
	badRepeat:       "repeat of a code length is out of place",
	badSymbol:       "code that stands for no symbol",
	badDistance:     "distance reaches beyond the window",
	noEndOfBlock:    "block has no code for its end",
	cutShort:        "message ends inside a block",
}
