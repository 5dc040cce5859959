package websocket

import "encoding/binary"

// The frame header of RFC 6455, Section 5.2:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//	|I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//	|N|V|V|V|       |S|             |   (if payload len==126/127)   |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|  the rest of a 64-bit length  |  masking key, if MASK is set  |
//	+-------------------------------+-------------------------------+
//
// This file turns the header into bytes (appendHeader) and back
// (parseHeader). It knows nothing of the frames before and after; what may
// follow what is in frame_rules.go.

// An opcode says what a frame is (RFC 6455, Section 5.2).
type opcode byte

// The opcodes that RFC 6455 defines. 3 to 7 and 11 to 15 are reserved.
const (
	opContinuation opcode = 0
	opText         opcode = 1
	opBinary       opcode = 2
	opClose        opcode = 8
	opPing         opcode = 9
	opPong         opcode = 10
)

// isControl reports whether the top bit of the opcode is set
// (RFC 6455, Section 5.5).
func (o opcode) isControl() bool { return o&8 != 0 }

// isReserved reports whether no meaning is defined for o.
func (o opcode) isReserved() bool { return o&7 > 2 }

// Bits of the first two bytes of a header.
const (
	bitFIN  = 0x80
	bitRSV1 = 0x40
	bitsRSV = 0x70
	bitMASK = 0x80
)

// Sizes in bytes.
const (
	maxHeaderSize     = 14  // two bytes, a 64-bit length, a masking key
	maxControlPayload = 125 // RFC 6455, Section 5.5
)

// Values of the 7-bit length that announce a longer form.
const (
	length16 = 126
	length64 = 127
)

// A header is a frame without its payload.
type header struct {
	byte0  byte // FIN, RSV1 to RSV3 and opcode as on the wire
	masked bool
	key    uint32 // masking key, in little-endian order; see mask
	length int64  // of the payload, in bytes
}

// opcode returns the frame's opcode.
func (h header) opcode() opcode { return opcode(h.byte0 & 0x0f) }

// fin reports whether the frame is the last of its message.
func (h header) fin() bool { return h.byte0&bitFIN != 0 }

// appendHeader appends the shortest encoding of h to b
// (RFC 6455, Section 5.2: "the minimal number of bytes MUST be used").
func appendHeader(b []byte, h header) []byte {
	var maskBit byte
	if h.masked {
		maskBit = bitMASK
	}
	switch {
	case h.length < length16:
		b = append(b, h.byte0, maskBit|byte(h.length))
	case h.length <= 0xffff:
		b = append(b, h.byte0, maskBit|length16, byte(h.length>>8), byte(h.length))
	default:
		b = append(b, h.byte0, maskBit|length64)
		b = binary.BigEndian.AppendUint64(b, uint64(h.length))
	}
	if h.masked {
		b = binary.LittleEndian.AppendUint32(b, h.key)
	}
	return b
}

// headerSize returns the number of bytes that appendHeader appends for h.
func headerSize(h header) int {
	n := 2
	switch {
	case h.length > 0xffff:
		n = 10
	case h.length >= length16:
		n = 4
	}
	if h.masked {
		n += 4
	}
	return n
}

// parseHeader reads a header from the start of b and returns it with its size
// in bytes. A size of 0 without a violation means that b ends inside the
// header; with two bytes or more, h.byte0 and h.masked are set even so, because
// most mistakes show in them. Lengths that are not minimal, have their top bit
// set, or are too long for a control frame are violations.
func parseHeader(b []byte) (h header, size int, v violation) {
	if len(b) < 2 {
		return h, 0, noViolation
	}
	h.byte0 = b[0]
	h.masked = b[1]&bitMASK != 0
	h.length = int64(b[1] &^ bitMASK)
	size = 2
	if h.length > maxControlPayload {
		if h.opcode().isControl() {
			return h, 0, controlTooLong
		}
		if size, v = parseLength(b, &h); size == 0 || v != noViolation {
			return h, 0, v
		}
	}
	if h.masked {
		if len(b) < size+4 {
			return h, 0, noViolation
		}
		h.key = binary.LittleEndian.Uint32(b[size:])
		size += 4
	}
	return h, size, noViolation
}

// parseLength reads the 16-bit or 64-bit length that h.length announces and
// returns the number of header bytes so far, or 0 if b is too short or the
// length is a violation.
func parseLength(b []byte, h *header) (size int, v violation) {
	if h.length == length16 {
		if len(b) < 4 {
			return 0, noViolation
		}
		h.length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.length < length16 {
			return 0, lengthNotMinimal
		}
		return 4, noViolation
	}
	if len(b) < 10 {
		return 0, noViolation
	}
	length := binary.BigEndian.Uint64(b[2:])
	switch {
	case length>>63 != 0:
		return 0, lengthTopBit
	case length <= 0xffff:
		return 0, lengthNotMinimal
	}
	h.length = int64(length)
	return 10, noViolation
}
