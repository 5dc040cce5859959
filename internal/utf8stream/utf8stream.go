// Package utf8stream checks UTF-8 that arrives in pieces.
package utf8stream

import "unicode/utf8"

// A Validator checks text that arrives in pieces, cut anywhere, even inside a
// rune. It fails at the first byte after which no text can be valid. The zero
// value is ready for the start of a text.
type Validator struct {
	start [utf8.UTFMax]byte // the bytes of an incomplete rune
	n     uint8             // number of bytes in start
}

// Accept reports whether the text is still valid with p appended. Once it has
// returned false, v must be reset.
func (v *Validator) Accept(p []byte) bool {
	for v.n > 0 && len(p) > 0 {
		if !v.add(p[0]) {
			return false
		}
		p = p[1:]
	}
	whole := len(p) - cutRune(p)
	v.n += uint8(copy(v.start[v.n:], p[whole:]))
	return valid(p[:whole])
}

// add appends b to the incomplete rune, and reports whether it can still be
// valid.
func (v *Validator) add(b byte) bool {
	v.start[v.n] = b
	v.n++
	if !utf8.FullRune(v.start[:v.n]) {
		return true
	}
	_, size := utf8.DecodeRune(v.start[:v.n])
	complete := size == int(v.n)
	v.n = 0
	return complete
}

// Complete reports whether the text may end here, which is not inside a rune.
func (v *Validator) Complete() bool { return v.n == 0 }

// Reset makes v ready for another text.
func (v *Validator) Reset() { v.n = 0 }

// cutRune returns the length of the valid start of a rune at the end of p
// that lacks its last bytes, or 0.
func cutRune(p []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		tail := p[len(p)-i:]
		if !utf8.RuneStart(tail[0]) {
			continue
		}
		if utf8.FullRune(tail) {
			return 0
		}
		return i
	}
	return 0
}
