package conversation

import "fmt"

// A Class says how a conversation must end: which side sends Close first, which
// close codes the testee may use, and whether both Close frames must be seen.
type Class uint8

// The classes, each with its name in conversations.txt. An empty Close frame,
// or none, is accepted wherever a code is.
const (
	Normal       Class = iota // N: the judge closes with 1000; answer 1000; clean
	NormalCode                // Nc: the judge closes with its script's code; answer 1000 or that code; clean
	BadClose                  // S: the judge's Close is malformed; answer 1002
	BadReason                 // S7: its reason is not UTF-8; answer 1002 or 1007
	ProtocolFail              // P: the testee fails the connection with 1002
	TextFail                  // U: the testee fails the connection with 1007
	AnyEnd                    // any: the judge closes; any answer
)

var classNames = [...]string{"N", "Nc", "S", "S7", "P", "U", "any"}

// String returns the name of c in conversations.txt.
func (c Class) String() string { return classNames[c] }

// parseClass returns the class named s.
func parseClass(s string) (Class, error) {
	for i, name := range classNames {
		if s == name {
			return Class(i), nil
		}
	}
	return 0, fmt.Errorf("conversation: no class %q", s)
}

// TesteeCloses reports whether the testee must end the connection.
func (c Class) TesteeCloses() bool { return c == ProtocolFail || c == TextFail }

// NeedsCleanEnd reports whether both Close frames must be seen, and the server
// must close TCP in time.
func (c Class) NeedsCleanEnd() bool { return c == Normal || c == NormalCode }

// Allows reports whether the testee's Close frame may carry code. sent is the
// code of the judge's Close frame.
func (c Class) Allows(code, sent int) bool {
	switch c {
	case Normal:
		return code == 1000
	case NormalCode:
		return code == 1000 || code == sent
	case BadClose, ProtocolFail:
		return code == 1002
	case BadReason:
		return code == 1002 || code == 1007
	case TextFail:
		return code == 1007
	default:
		return true
	}
}
