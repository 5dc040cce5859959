package utf8stream

import (
	"encoding/binary"
	"unicode/utf8"
)

// valid is utf8.Valid, for texts in any script: it looks at 8 bytes at a time, as
// far as they are runes of one length. It advances by constants, which branches
// choose: a processor guesses those, while it would wait for a number of bytes
// that is computed.
func valid(p []byte) bool {
	p = p[:len(p):len(p)] // so that no capacity need be computed
	for len(p) > 8 {      // more, so that no slice begins behind the array
		w := binary.LittleEndian.Uint64(p)
		switch first := byte(w); {
		case first < 0x80:
			if w&highBits == 0 {
				for p = p[8:]; len(p) > 32 && isASCII32(p); {
					p = p[32:]
				}
				continue
			}
			if w&(highBits>>32) == 0 {
				p = p[4:]
				continue
			}
			p = p[1:]
		case first < 0xe0:
			bad := badTwos(w)
			if bad == 0 {
				for p = p[8:]; len(p) > 8 && badTwos(binary.LittleEndian.Uint64(p)) == 0; {
					p = p[8:]
				}
				continue
			}
			if bad&(1<<16-1) != 0 {
				return false
			}
			p = p[2:]
		case first < 0xf0:
			bad := badThrees(w)
			if bad == 0 {
				for p = p[6:]; len(p) > 8 && badThrees(binary.LittleEndian.Uint64(p)) == 0; {
					p = p[6:]
				}
				continue
			}
			if bad&(1<<24-1) != 0 {
				return false
			}
			p = p[3:]
		default:
			bad := badFours(w)
			if bad == 0 {
				for p = p[8:]; len(p) > 8 && badFours(binary.LittleEndian.Uint64(p)) == 0; {
					p = p[8:]
				}
				continue
			}
			if bad&(1<<32-1) != 0 {
				return false
			}
			p = p[4:]
		}
	}
	return utf8.Valid(p)
}

// highBits are the bits that no byte of ASCII has.
const highBits = 0x8080808080808080

// isASCII32 reports whether p begins with 32 bytes of ASCII.
func isASCII32(p []byte) bool {
	_ = p[31]
	a := binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:])
	b := binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
	return (a|b)&highBits == 0
}

// The functions below take a word as a row of lanes, one for each rune of a
// certain length, first byte lowest, and return 0 if all of them are valid, or a
// word whose lowest bit is in the first lane that is not. An addition that carries
// from 1 on tells zero from other numbers, within its lane (RFC 3629, Section 4).

// badTwos checks four runes of two bytes. Below 0x80, first bytes have no bit
// between their lowest and 0xc0.
func badTwos(w uint64) uint64 {
	const lane = 0x0001000100010001
	form := w&(0xc0e0*lane) ^ 0x80c0*lane
	long := w&(0x1e*lane) + 0x1e*lane
	return form | ^long&(0x20*lane)
}

// badThrees checks two runes of three bytes, by the upper five of the 16 bits
// they encode: all zero is a rune below 0x800, and 27 a surrogate.
func badThrees(w uint64) uint64 {
	const lane = 0x000001000001
	form := w&(0xc0c0f0*lane) ^ 0x8080e0*lane
	top := w&(0x0f*lane)<<1 | w>>13&lane
	ok := (top + 0x1f*lane) & (top ^ 27*lane + 0x1f*lane)
	return form | ^ok&(0x20*lane)
}

// badFours checks two runes of four bytes, by the upper five of the 21 bits they
// encode: from 1, for U+10000, to 16, for U+10FFFF.
func badFours(w uint64) uint64 {
	const lane = 0x0000000100000001
	form := w&(0xc0c0c0f8*lane) ^ 0x808080f0*lane
	top := w&(0x07*lane)<<2 | w>>12&(0x03*lane)
	return form | ((top+0x0f*lane)&(0x30*lane) ^ 0x10*lane)
}
