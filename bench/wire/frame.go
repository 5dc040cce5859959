// Package wire writes and reads frames and handshakes for the benchmarks: just
// enough of RFC 6455 to prepare traffic and to check what comes back.
package wire

import "encoding/binary"

// The first byte of a frame: FIN and the opcodes (RFC 6455, Section 5.2).
const (
	FIN          byte = 0x80
	RSV1         byte = 0x40
	Continuation byte = 0x0
	Text         byte = 0x1
	Binary       byte = 0x2
	Ping         byte = 0x9
	Pong         byte = 0xa
)

// maskBit is set in the second byte of a frame that has a masking key.
const maskBit = 0x80

// HeaderLen returns the length of the header of a frame with n bytes of payload.
func HeaderLen(n int, masked bool) int {
	size := 2
	switch {
	case n > 0xffff:
		size += 8
	case n > 125:
		size += 2
	}
	if masked {
		size += 4
	}
	return size
}

// AppendFrame appends a frame with the first byte and the payload, masked
// unless key is nil.
func AppendFrame(b []byte, first byte, payload, key []byte) []byte {
	mask := byte(0)
	if key != nil {
		mask = maskBit
	}
	switch n := len(payload); {
	case n > 0xffff:
		b = append(b, first, mask|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	case n > 125:
		b = append(b, first, mask|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, first, mask|byte(n))
	}
	b = append(b, key...)
	start := len(b)
	b = append(b, payload...)
	if key != nil {
		Mask(b[start:], key)
	}
	return b
}

// Mask masks or unmasks b with the four bytes of key (RFC 6455, Section 5.3).
func Mask(b, key []byte) {
	word := binary.LittleEndian.Uint32(key)
	twice := uint64(word)<<32 | uint64(word)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^twice)
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// A Frame is a frame whose payload is unmasked.
type Frame struct {
	First   byte
	Payload []byte
}

// TakeFrame takes a frame from the front of p, unmasks it in place if it is
// masked, and returns it with the bytes that follow. If p does not hold a whole
// frame it returns false and leaves p unchanged.
func TakeFrame(p []byte) (f Frame, rest []byte, whole bool) {
	n, header, whole := payloadLen(p)
	if !whole {
		return f, p, false
	}
	masked := p[1]&maskBit != 0
	if masked {
		header += 4
	}
	if uint64(len(p)) < uint64(header)+n {
		return f, p, false
	}
	end := header + int(n)
	f = Frame{p[0], p[header:end]}
	if masked {
		Mask(f.Payload, p[header-4:header])
	}
	return f, p[end:], true
}

// payloadLen returns the length of the payload, and the offset after it in the
// header. It returns false if p is too short.
func payloadLen(p []byte) (n uint64, at int, whole bool) {
	if len(p) < 2 {
		return 0, 0, false
	}
	switch n = uint64(p[1] &^ maskBit); {
	case n == 126 && len(p) >= 4:
		return uint64(binary.BigEndian.Uint16(p[2:])), 4, true
	case n == 127 && len(p) >= 10:
		return binary.BigEndian.Uint64(p[2:]), 10, true
	default:
		return n, 2, n <= 125
	}
}
