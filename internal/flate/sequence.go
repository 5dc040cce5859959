package flate

// A sequence is a run of literals and the match behind it:
// literals<<32 | length<<16 | distance. The last of a block may have no match,
// and then its length and distance are 0.
type sequence uint64

func makeSequence(literals, length, dist int) sequence {
	return sequence(uint64(literals)<<32 | uint64(length)<<16 | uint64(dist))
}

func (s sequence) literals() int { return int(s >> 32) }
func (s sequence) length() int   { return int(s >> 16 & 0xffff) }
func (s sequence) dist() int     { return int(s & 0xffff) }

// lengthSyms holds the symbol, less 257, of each length less 3. distSyms holds
// the symbols of the distances up to 256, less 1, and behind them those of
// longer distances in steps of 128.
var (
	lengthSyms = makeLengthSyms()
	distSyms   = makeDistSyms()
)

func makeLengthSyms() (t [256]uint8) {
	for sym, base := range lengthBase {
		for i := int(base) - 3; i < len(t); i++ {
			t[i] = uint8(sym)
		}
	}
	return t
}

func makeDistSyms() (t [512]uint8) {
	for sym, base := range distBase {
		for i := int(base) - 1; i < 256; i++ {
			t[i] = uint8(sym)
		}
		for i := (int(base) + 126) >> 7; i < 256; i++ {
			t[256+i] = uint8(sym)
		}
	}
	return t
}

// lengthSym returns the symbol of a length less 257.
func lengthSym(length int) uint8 { return lengthSyms[uint8(length-3)] }

// distSym returns the symbol of a distance.
func distSym(dist int) uint8 {
	d := uint(dist - 1)
	if d < 256 {
		return distSyms[d]
	}
	return distSyms[256+d>>7&255]
}
