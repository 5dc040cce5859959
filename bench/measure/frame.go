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
	reply    []byte // without masks
	messages int
	size     int // of one message's payload
	// masked says that the replies carry masks of the subject's choice.
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
			key = nil
		}
		b.request = appendFrame(b.request, payload, key)
		b.reply = appendFrame(b.reply, payload, nil)
	}
	if subjectIsFloor {
		b.reply = b.request
	}
	return b
}

// replyLen is the number of bytes that answer the whole batch.
func (b *batch) replyLen() int {
	if b.masked {
		return len(b.reply) + 4*b.messages
	}
	return len(b.reply)
}

// matches reports whether p is what must come at offset at of the reply. A
// masked reply is compared whole, and unmasked in place.
func (b *batch) matches(p []byte, at int) bool {
	if !b.masked {
		return bytes.Equal(p, b.reply[at:at+len(p)])
	}
	header, want := headerLen(b.size, true), b.reply
	for len(p) > 0 {
		frame, rest := p[:header+b.size], p[header+b.size:]
		if frame[1]&maskBit == 0 {
			return false
		}
		frame[1] &^= maskBit
		xor(frame[header:], frame[header-4:header])
		if !bytes.Equal(frame[:header-4], want[:header-4]) || !bytes.Equal(frame[header:], want[header-4:header-4+b.size]) {
			return false
		}
		p, want = rest, want[header-4+b.size:]
	}
	return true
}
