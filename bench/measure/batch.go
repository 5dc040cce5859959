//go:build linux

package measure

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// A batch holds the messages that a link sends at once, and their replies.
type batch struct {
	request  []byte
	reply    []byte // all bytes, or only the payload if masked is set
	messages int
	size     int // of one message's payload
	// masked says that the replies are frames of a client, which may fragment
	// them in any way and chooses the masking keys.
	masked bool
	// deflated says that reply is the payload of one message, which comes back
	// compressed in some way.
	deflated bool
}

// newBatch returns count different messages of size bytes. The load is the
// client unless the subject is one; a floor sends frames back unchanged.
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
			b.request = wire.AppendFrame(b.request, wire.FIN|wire.Binary, payload, nil)
			b.reply = append(b.reply, payload...)
		} else {
			b.request = wire.AppendFrame(b.request, wire.FIN|wire.Binary, payload, key)
			b.reply = wire.AppendFrame(b.reply, wire.FIN|wire.Binary, payload, nil)
		}
	}
	if subjectIsFloor {
		b.reply = b.request
	}
	return b
}

// matches reports whether p is the part of the reply at offset at.
func (b *batch) matches(p []byte, at int) bool {
	return at+len(p) <= len(b.reply) && bytes.Equal(p, b.reply[at:at+len(p)])
}

// matchesFrame reports whether f is a valid frame at offset at of the payload:
// the next part of a message of one frame or of several
// (RFC 6455, Section 5.4).
func (b *batch) matchesFrame(f wire.Frame, at int) bool {
	first := wire.Continuation
	if at%b.size == 0 {
		first = wire.Binary
	}
	if at%b.size+len(f.Payload) == b.size {
		first |= wire.FIN
	}
	return f.First == first && b.matches(f.Payload, at)
}
