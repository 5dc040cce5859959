// Package peer holds the judge's end of a connection: its own framing, its own
// strict checks of what it receives, and both opening handshakes. It shares no
// code with the library it judges.
package peer

import (
	"encoding/binary"
	"fmt"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
)

// A Role is the side of the connection the judge plays.
type Role uint8

const (
	Client Role = iota // against a server
	Server             // against a client
)

// String returns the role's name.
func (r Role) String() string {
	if r == Client {
		return "client"
	}
	return "server"
}

// A Key is a masking key. The octets of a client's payload are XORed with it
// (RFC 6455, Section 5.3).
type Key [4]byte

// AppendHeader appends the header of f to dst, with the shortest length, and
// with key if it is not nil.
func AppendHeader(dst []byte, f *conversation.Frame, key *Key) []byte {
	first := f.RSV<<4 | f.Opcode
	if f.FIN {
		first |= 0x80
	}
	var masked byte
	if key != nil {
		masked = 0x80
	}
	dst = append(dst, first)
	switch n := len(f.Payload); {
	case n <= 125:
		dst = append(dst, masked|byte(n))
	case n <= 65535:
		dst = binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(n))
	}
	if key != nil {
		dst = append(dst, key[:]...)
	}
	return dst
}

// AppendPayload appends octets of a payload to dst, masked with key if it is
// not nil. offset is where p begins in the payload.
func AppendPayload(dst, p []byte, key *Key, offset int) []byte {
	from := len(dst)
	dst = append(dst, p...)
	if key != nil {
		mask(dst[from:], *key, offset)
	}
	return dst
}

// mask XORs p with the key in place.
func mask(p []byte, key Key, offset int) {
	for ; len(p) > 0 && offset%4 != 0; offset++ {
		p[0] ^= key[offset%4]
		p = p[1:]
	}
	word := binary.LittleEndian.Uint32(key[:])
	wide := uint64(word)<<32 | uint64(word)
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
	}
	for i := range p {
		p[i] ^= key[i%4]
	}
}

// ClosePayload returns the payload of a Close frame. Code 0 makes it empty.
func ClosePayload(code int, reason string) []byte {
	if code == 0 {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// A Violation is a violation of the protocol by the testee. Code is the close
// code that the judge answers with.
type Violation struct {
	Code int
	Text string
}

// Error returns the text.
func (v *Violation) Error() string { return "peer: " + v.Text }

// breach returns a violation with code 1002.
func breach(format string, args ...any) error {
	return &Violation{1002, fmt.Sprintf(format, args...)}
}
