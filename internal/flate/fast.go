package flate

import (
	"encoding/binary"
	"math/bits"
)

// margin is the number of bytes at the end of a message that are not searched.
const margin = 8

// fast appends the sequences of message[from:to]. It tries one table entry per
// position, and skips positions after a long stretch without a match. Every
// step-th position inside a match enters the table.
func (m *matcher) fast(seqs []sequence, message []byte, from, to, step int) []sequence {
	table, shift, base, valid := m.slab[m.ring:], m.shift, m.base, m.valid
	i, anchor := from, from
	last := to - margin
	window := uint(m.window)
	for i < last {
		now := binary.LittleEndian.Uint64(message[i:])
		slot := table[2*hash4(uint32(now), shift):]
		pos := uint16(base + i)
		dist := int(pos - binary.LittleEndian.Uint16(slot))
		binary.LittleEndian.PutUint16(slot, pos)
		length := 0
		if uint(dist-1) < window {
			if dist <= i {
				length = nearMatchLen(message, i, dist, to, now)
			} else if dist <= valid+i {
				length = m.farMatchLen(message, i, dist, to, now)
			}
		}
		if length == 0 {
			i += 1 + (i-anchor)>>5
			continue
		}
		seqs = append(seqs, makeSequence(i-anchor, length, dist))
		anchor = i + length
		i++
		if end := min(anchor-3, last); end-dist > i {
			i = end - dist // the match repeats itself: later positions replace those before
		}
		for ; i < min(anchor, last); i += step {
			h := hash4(binary.LittleEndian.Uint32(message[i:]), shift)
			binary.LittleEndian.PutUint16(table[2*h:], uint16(base+i))
		}
		i = anchor
	}
	if anchor < to {
		seqs = append(seqs, makeSequence(to-anchor, 0, 0))
	}
	return seqs
}

// nearMatchLen returns the length of the match between the bytes at i and those
// dist before in the same message, or 0 if it is shorter than 4. now holds the 8
// bytes at i.
func nearMatchLen(message []byte, i, dist, to int, now uint64) int {
	x := binary.LittleEndian.Uint64(message[i-dist:]) ^ now
	if uint32(x) != 0 {
		return 0
	}
	if x != 0 {
		return bits.TrailingZeros64(x) >> 3
	}
	return 8 + matchLen(message[i+8:i+min(maxMatch, to-i)], message[i+8-dist:])
}

// farMatchLen is like nearMatchLen for a distance that reaches into the ring.
func (m *matcher) farMatchLen(message []byte, i, dist, to int, now uint64) int {
	at := (m.base + i - dist) & (m.ring - 1)
	x := binary.LittleEndian.Uint64(m.slab[at:]) ^ now
	if at <= m.ring-8 && dist-i >= 8 && x != 0 {
		if uint32(x) != 0 {
			return 0
		}
		return bits.TrailingZeros64(x) >> 3
	}
	if n := m.ringMatchLen(message, i, dist, min(maxMatch, to-i)); n >= 4 {
		return n
	}
	return 0
}

// insert enters position i into a table of one way.
func (m *matcher) insert(message []byte, i int) {
	h := hash4(binary.LittleEndian.Uint32(message[i:]), m.shift)
	binary.LittleEndian.PutUint16(m.slab[m.ring+2*h:], uint16(m.base+i))
}
