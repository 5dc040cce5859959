package flate

import (
	"encoding/binary"
	"math/bits"
)

// An effort says how hard the lazy search tries.
type effort struct {
	looks int // entries tried at a position, 1 to 4
	step  int // every step-th position inside a match enters the table
	lazy  int // a match shorter than this is put off if the next position has a longer one
}

// efforts holds the effort of each level from 2 on.
var efforts = [10]effort{2: {3, 3, 8}, 3: {4, 3, 16}, 4: {4, 1, 20}, 5: {4, 1, 48}, 6: {4, 1, 64}, 7: {4, 1, 96}, 8: {4, 1, 128}, 9: {4, 1, maxMatch}}

// lazy appends the sequences of message[from:to]. It tries several entries at
// each position, and the next position before it takes a match.
func (m *matcher) lazy(seqs []sequence, message []byte, from, to int, e effort) []sequence {
	i, anchor := from, from
	last := to - margin
	for i < last {
		length, dist := m.find(message, i, to, 3, e.looks)
		if length == 0 {
			i += 1 + (i-anchor)>>6
			continue
		}
		entered := i + 1 // positions before it are in the table
		for length < e.lazy && i+1 < last {
			l, d := m.find(message, i+1, to, length, e.looks)
			entered = i + 2
			if l == 0 {
				break
			}
			length, dist = l, d
			i++
		}
		seqs = append(seqs, makeSequence(i-anchor, length, dist))
		anchor = i + length
		m.insertEach(message, entered, min(anchor, last), e.step)
		i = anchor
	}
	if anchor < to {
		seqs = append(seqs, makeSequence(to-anchor, 0, 0))
	}
	return seqs
}

// insertEach enters every step-th position in [i, end) into a table of four
// ways.
func (m *matcher) insertEach(message []byte, i, end, step int) {
	table, shift, base := m.slab[m.ring:], m.shift, m.base
	for ; i < end; i += step {
		slot := table[8*hash4(binary.LittleEndian.Uint32(message[i:]), shift):]
		binary.LittleEndian.PutUint64(slot, binary.LittleEndian.Uint64(slot)<<16|uint64(uint16(base+i)))
	}
}

// find returns the longest match at position i if it is longer than best, else
// length 0, and enters the position into the table.
func (m *matcher) find(message []byte, i, to, best, looks int) (length, dist int) {
	now := binary.LittleEndian.Uint64(message[i:])
	slot := m.slab[m.ring+8*hash4(uint32(now), m.shift):]
	bucket := binary.LittleEndian.Uint64(slot)
	pos := uint16(m.base + i)
	binary.LittleEndian.PutUint64(slot, bucket<<16|uint64(pos))
	reach := uint(min(m.window, m.valid+i))
	most := min(maxMatch, to-i)
	for ; looks > 0; looks-- {
		d := int(pos - uint16(bucket))
		bucket >>= 16
		if uint(d-1) >= reach {
			break
		}
		n := 0
		if d <= i {
			x := binary.LittleEndian.Uint64(message[i-d:]) ^ now
			if x != 0 {
				n = bits.TrailingZeros64(x) >> 3
			} else {
				n = 8 + matchLen(message[i+8:i+most], message[i+8-d:])
			}
		} else {
			at := (m.base + i - d) & (m.ring - 1)
			x := binary.LittleEndian.Uint64(m.slab[at:]) ^ now
			switch room := min(m.ring-at, d-i); {
			case x != 0 && room >= 8:
				n = bits.TrailingZeros64(x) >> 3
			case room >= most:
				n = 8 + matchLen(message[i+8:i+most], m.slab[at+8:at+most])
			default:
				n = m.ringMatchLen(message, i, d, most)
			}
		}
		if n > best {
			best, length, dist = n, n, d
			if n == most {
				break
			}
		}
	}
	return length, dist
}
