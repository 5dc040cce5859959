package flate

import (
	"encoding/binary"
	"math/bits"
)

// A matcher finds repeated bytes. It has a ring of the last messages' bytes,
// exactly as large as the window, and after it in the same memory a table that
// maps a hash of four bytes to the position where they were last seen.
//
// A message is searched in place and copied into the ring afterwards.
// Positions count all bytes modulo 65536. An entry of the table is only a hint:
// it is used if it points into the window and at known bytes, and those are
// equal. So no entry ever needs to be removed, and forgetting sets valid to 0.
// What a stale entry points to depends only on the matcher's own messages: a
// matcher without history clears its table before positions wrap around to
// those of earlier messages.
type matcher struct {
	slab   []byte // ring, then table
	ring   int    // its size in bytes: the window, or 0
	shift  uint8  // of a 32-bit hash to the table's index
	ways   uint8  // entries of 2 bytes for one hash: 1 or 4
	window int    // longest distance
	base   int    // position of the next message
	valid  int    // bytes of the ring that may be referred to
}

// tableBytes returns the size of the table for a ring of 1<<window bytes.
// Both together fill a size class of the runtime's allocator.
func tableBytes(window int) int {
	if window >= 10 && window <= 12 {
		return 2 << window
	}
	return 1 << window
}

// setup sets the memory of a matcher, whose first ring bytes are the ring, and
// empties the matcher.
func (m *matcher) setup(slab []byte, ring, window int, ways uint8) {
	entries := (len(slab) - ring) / int(2*ways)
	*m = matcher{slab: slab, ring: ring, window: 1 << window, ways: ways}
	m.shift = uint8(33 - bits.Len(uint(entries)))
	clear(slab)
}

// begin prepares for a message of n bytes.
func (m *matcher) begin(n int) {
	if m.valid == 0 && m.base+n > 1<<16 {
		clear(m.slab[m.ring:])
		m.base = 0
	}
}

// commit enters a message into the history: one that was searched, or one that
// the peer received from another Compressor.
func (m *matcher) commit(message []byte) {
	n := len(message)
	if m.ring == 0 {
		m.base += n
		if m.base > 1<<16 {
			m.base = 1 << 16
		}
		return
	}
	m.valid = min(m.valid+n, m.ring)
	at := m.base + n
	if n > m.ring {
		message = message[n-m.ring:]
	}
	from := (at - len(message)) & (m.ring - 1)
	k := copy(m.slab[from:m.ring], message)
	copy(m.slab[:m.ring], message[k:])
	m.base = at & 0xffff
}

// forget empties the history.
func (m *matcher) forget() { m.valid = 0 }

func hash4(x uint32, shift uint8) int { return int(x * 0x9e3779b1 >> (shift & 31)) }

// matchLen returns the length of the longest common prefix of a and b.
// b must not be shorter than a.
func matchLen(a, b []byte) int {
	n := 0
	for len(a)-n >= 8 && len(b)-n >= 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// ringMatchLen returns how many bytes of message[i:], at most most, equal those
// dist bytes before, where dist reaches into the ring.
func (m *matcher) ringMatchLen(message []byte, i, dist, most int) int {
	want := message[i : i+most]
	at := (m.base + i - dist) & (m.ring - 1)
	known := dist - i // bytes from there to the start of the message
	first := min(known, m.ring-at, most)
	n := matchLen(want[:first], m.slab[at:at+first])
	if n < first || n == most {
		return n
	}
	if n < known {
		second := min(known-n, most-n)
		k := matchLen(want[n:n+second], m.slab[:second])
		n += k
		if k < second || n == most {
			return n
		}
	}
	return n + matchLen(want[n:], message)
}

// learn enters a message that was not searched into the history.
func (m *matcher) learn(message []byte) {
	m.begin(len(message))
	from, last := max(0, len(message)-m.window), len(message)-margin
	if m.ways == 1 {
		for i := from; i < last; i++ {
			m.insert(message, i)
		}
	} else {
		m.insertEach(message, from, last, 1)
	}
	m.commit(message)
}
