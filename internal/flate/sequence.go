package flate

import "math/bits"

// A sequence is a run of literals and the match after it:
// literals<<32 | length<<16 | distance. The last one of a block may have no
// match; then its length and distance are 0.
type sequence uint64

func makeSequence(literals, length, dist int) sequence {
	return sequence(uint64(literals)<<32 | uint64(length)<<16 | uint64(dist))
}

func (s sequence) literals() int { return int(s >> 32) }
func (s sequence) length() int   { return int(s >> 16 & 0xffff) }
func (s sequence) dist() int     { return int(s & 0xffff) }

// lengthParts holds, indexed by length-3, the parts of each length as written:
// extra bits<<16 | their number<<8 | symbol-257.
var lengthParts = makeLengthParts()

func makeLengthParts() (t [256]uint32) {
	for sym, base := range lengthBase {
		for i := int(base) - 3; i < len(t); i++ {
			t[i] = uint32(i-int(base)+3)<<16 | uint32(lengthExtra[sym])<<8 | uint32(sym)
		}
	}
	return t
}

// lengthPart returns the symbol of a length, less 257, the number of extra bits
// after it, and the bits.
func lengthPart(length int) (sym, n uint, extra uint64) {
	p := lengthParts[uint8(length-3)]
	return uint(p & 31), uint(p >> 8 & 7), uint64(p >> 16)
}

// distPart returns the symbol of a distance, the number of extra bits after it,
// and the bits. From the third symbol on, two symbols share each number of extra
// bits, and the two highest bits of dist-1 select the symbol.
func distPart(dist int) (sym, n uint, extra uint64) {
	d := uint(dist - 1)
	n = uint(bits.Len(d|2)-2) & 63
	return 2*n + d>>n, n, uint64(d & (1<<n - 1))
}
