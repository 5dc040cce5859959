//go:build linux

package measure

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// Opcodes with the FIN bit, for messages of one frame (RFC 6455, Section 5.2).
const (
	binaryMessage = 0x82
	finBit        = 0x80
	maskBit       = 0x80
)

// headerLen is the length of the header of a frame with n bytes of payload.
func headerLen(n int, masked bool) int {
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

// appendFrame appends a binary message of one frame. A nil key leaves it
// unmasked.
func appendFrame(b, payload, key []byte) []byte {
	mask := byte(0)
	if key != nil {
		mask = maskBit
	}
	switch n := len(payload); {
	case n > 0xffff:
		b = append(b, binaryMessage, mask|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	case n > 125:
		b = append(b, binaryMessage, mask|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, binaryMessage, mask|byte(n))
	}
	b = append(b, key...)
	start := len(b)
	b = append(b, payload...)
	if key != nil {
		xor(b[start:], key)
	}
	return b
}

// xor masks or unmasks b (RFC 6455, Section 5.3).
func xor(b, key []byte) {
	word := binary.LittleEndian.Uint32(key)
	twice := uint64(word)<<32 | uint64(word)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^twice)
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// A batch is what a link sends at once, and what must come back.
type batch struct {
	request  []byte
	reply    []byte // bytes, or the payload only if masked is set
	messages int
	size     int // of one message's payload
	// masked says that the replies are frames of a client, which may cut
	// them as it likes and chooses the masks.
	masked bool
}

// newBatch returns count different messages of size bytes. The load takes the
// client's part unless the subject is a client; a floor sends frames back as
// they were.
func newBatch(size, count int, subjectIsClient, subjectIsFloor bool) *batch {
	random := rand.New(rand.NewPCG(6455, uint64(size)))
	b := &batch{messages: count, size: size, masked: subjectIsClient}
	for range count {
		payload, key := make([]byte, size), make([]byte, 4)
		for i := range payload {
			payload[i] = byte(random.Uint32())
		}
		binary.LittleEndian.PutUint32(key, random.Uint32())
		if subjectIsClient {
			b.request = appendFrame(b.request, payload, nil)
			b.reply = append(b.reply, payload...)
		} else {
			b.request = appendFrame(b.request, payload, key)
			b.reply = appendFrame(b.reply, payload, nil)
		}
	}
	if subjectIsFloor {
		b.reply = b.request
	}
	return b
}

// matches reports whether p is what must come at offset at of the reply.
func (b *batch) matches(p []byte, at int) bool {
	return at+len(p) <= len(b.reply) && bytes.Equal(p, b.reply[at:at+len(p)])
}

// A client's frame in full, as takeFrame finds it.
type maskedFrame struct {
	first   byte // FIN, RSV1 to RSV3 and opcode
	payload []byte
}

// takeFrame takes a masked frame off the front of p and unmasks it in place.
// It returns false if p does not hold a whole frame.
func takeFrame(p []byte) (f maskedFrame, rest []byte, whole bool) {
	if len(p) < 2 {
		return f, p, false
	}
	n, header := uint64(p[1]&^maskBit), 2
	switch {
	case n == 126 && len(p) >= 4:
		n, header = uint64(binary.BigEndian.Uint16(p[2:])), 4
	case n == 127 && len(p) >= 10:
		n, header = binary.BigEndian.Uint64(p[2:]), 10
	case n > 125:
		return f, p, false
	}
	if uint64(len(p)) < uint64(header)+4+n {
		return f, p, false
	}
	end := header + 4 + int(n)
	f = maskedFrame{p[0], p[header+4 : end]}
	xor(f.payload, p[header:header+4])
	return f, p[end:], true
}

// matchesFrame reports whether f is what must come at offset at of the
// payload: the next piece of a message of one frame or of several
// (RFC 6455, Section 5.4).
func (b *batch) matchesFrame(f maskedFrame, at int) bool {
	first := byte(0)
	if at%b.size == 0 {
		first = binaryMessage &^ finBit
	}
	if at%b.size+len(f.payload) == b.size {
		first |= finBit
	}
	return f.first == first && b.matches(f.payload, at)
}
