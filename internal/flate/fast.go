package flate

import (
	"encoding/binary"
	"math/bits"
)

// margin is how many bytes before its end a message is no longer searched.
const margin = 8

// fast appends the sequences of message[from:to], found with one look at each
// position and none at positions that follow long without a match.
func (m *matcher) fast(seqs []sequence, message []byte, from, to int) []sequence {
	table := m.slab[m.ring:]
	i, anchor := from, from
	reach := min(m.window, m.valid+to)
	for i < to-margin {
		now := binary.LittleEndian.Uint64(message[i:])
		slot := table[2*hash4(uint32(now), m.shift):]
		pos := uint16(m.base + i)
		dist := int(pos - binary.LittleEndian.Uint16(slot))
		binary.LittleEndian.PutUint16(slot, pos)
		length := 0
		if uint(dist-1) < uint(min(reach, m.valid+i)) {
			if dist <= i {
				if x := binary.LittleEndian.Uint64(message[i-dist:]) ^ now; uint32(x) == 0 {
					if x != 0 {
						length = bits.TrailingZeros64(x) >> 3
					} else {
						most := min(maxMatch, to-i)
						length = 8 + matchLen(message[i+8:i+most], message[i+8-dist:])
					}
				}
			} else {
				at := (m.base + i - dist) & (m.ring - 1)
				if binary.LittleEndian.Uint32(m.slab[at:]) == uint32(now) || at > m.ring-4 {
					if length = m.ringMatchLen(message, i, dist, min(maxMatch, to-i)); length < 4 {
						length = 0
					}
				}
			}
		}
		if length == 0 {
			i += 1 + (i-anchor)>>5
			continue
		}
		seqs = append(seqs, makeSequence(i-anchor, length, dist))
		end := i + length
		for i++; i < end && i < to-margin; i++ {
			m.insert(table, message, i)
		}
		i = end
		anchor = end
	}
	if anchor < to {
		seqs = append(seqs, makeSequence(to-anchor, 0, 0))
	}
	return seqs
}

// insert enters position i into a table of one way.
func (m *matcher) insert(table, message []byte, i int) {
	h := hash4(binary.LittleEndian.Uint32(message[i:]), m.shift)
	binary.LittleEndian.PutUint16(table[2*h:], uint16(m.base+i))
}
