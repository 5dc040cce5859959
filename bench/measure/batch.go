//go:build linux

package measure

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/fullduplex-go/websocket/bench/wire"
)

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

// matches reports whether p is what must come at offset at of the reply.
func (b *batch) matches(p []byte, at int) bool {
	return at+len(p) <= len(b.reply) && bytes.Equal(p, b.reply[at:at+len(p)])
}

// matchesFrame reports whether f is what must come at offset at of the
// payload: the next piece of a message of one frame or of several
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
