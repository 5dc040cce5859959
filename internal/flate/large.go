package flate

import (
	"encoding/binary"
	"math/bits"
)

// A largeTable maps a hash of five bytes to the position where they were last
// seen in a message without context.
type largeTable [1 << largeTableBits]uint16

const largeTableBits = 15

// hash5 returns the index of the low five bytes of x.
func hash5(x uint64) uint64 { return x << 24 * 0x9e3779b97f4a7c15 >> (64 - largeTableBits) }

// search appends the sequences of message[from:to]. Only the last two positions
// inside a match enter the table.
func (t *largeTable) search(seqs []sequence, message []byte, from, to, window int) []sequence {
	i, anchor := from, from
	last := to - margin
	for i < last {
		now := binary.LittleEndian.Uint64(message[i:])
		h := hash5(now)
		dist := int(uint16(i) - t[h])
		t[h] = uint16(i)
		if uint(dist-1) >= uint(min(window, i)) {
			i += 1 + (i-anchor)>>5
			continue
		}
		x := binary.LittleEndian.Uint64(message[i-dist:]) ^ now
		if uint32(x) != 0 {
			i += 1 + (i-anchor)>>5
			continue
		}
		length := bits.TrailingZeros64(x) >> 3
		if x == 0 {
			length = 8 + matchLen(message[i+8:i+min(maxMatch, to-i)], message[i+8-dist:])
		}
		for i > anchor && i > dist && length < maxMatch && message[i-1] == message[i-1-dist] {
			i--
			length++
		}
		seqs = append(seqs, makeSequence(i-anchor, length, dist))
		i += length
		anchor = i
		if i < last {
			before := binary.LittleEndian.Uint64(message[i-2:])
			t[hash5(before)] = uint16(i - 2)
			t[hash5(before>>8)] = uint16(i - 1)
		}
	}
	if anchor < to {
		seqs = append(seqs, makeSequence(to-anchor, 0, 0))
	}
	return seqs
}

// compressLarge writes the blocks of a message without context.
func (e *encoder) compressLarge(message []byte, window int) {
	if e.large == nil {
		e.large = new(largeTable)
	}
	clear(e.large[:])
	for from := 0; from < len(message); from += blockSize {
		to := min(from+blockSize, len(message))
		e.seqs = e.large.search(e.seqs[:0], message, from, to, window)
		e.block(message[from:to])
	}
	e.reserve(1)
}
