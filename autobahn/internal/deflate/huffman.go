package deflate

import (
	"errors"
	"math/bits"
)

const (
	maxCodeLength = 15
	fastBits      = 9
)

var errCodes = errors.New("deflate: a set of Huffman codes is not complete")

// A huffman decodes one canonical prefix code (RFC 1951, Section 3.2.2). Codes
// up to fastBits long are looked up, the rest is found bit by bit.
type huffman struct {
	fast    [1 << fastBits]uint16     // symbol<<4 | length, by the next bits; 0: no short code
	count   [maxCodeLength + 1]uint16 // codes of each length
	symbols [288]uint16               // in the order of their codes
	next    [maxCodeLength + 1]uint16 // scratch of build
}

// build sets the code from the lengths of its symbols' codes. A code may be
// incomplete only if it has one symbol of length 1, or none, and lone allows it.
func (h *huffman) build(lengths []byte, lone bool) error {
	h.count = [maxCodeLength + 1]uint16{}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	used, left := 0, 1
	for n := 1; n <= maxCodeLength; n++ {
		left = left<<1 - int(h.count[n])
		used += int(h.count[n])
		if left < 0 {
			return errCodes
		}
	}
	if left > 0 && !(lone && (used == 0 || used == 1 && h.count[1] == 1)) {
		return errCodes
	}
	h.place(lengths)
	return nil
}

// place sorts the symbols by code and fills the lookup table.
func (h *huffman) place(lengths []byte) {
	var code, offset uint16
	var first [maxCodeLength + 1]uint16
	for n := 1; n <= maxCodeLength; n++ {
		code = (code + h.count[n-1]) << 1
		first[n], h.next[n] = code, offset
		offset += h.count[n]
	}
	clear(h.fast[:])
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[h.next[n]] = uint16(symbol)
		h.next[n]++
		if n <= fastBits {
			h.fill(first[n], n, uint16(symbol))
		}
		first[n]++
	}
}

// fill enters a short code under all the bits that may follow it.
func (h *huffman) fill(code uint16, n byte, symbol uint16) {
	start := int(bits.Reverse16(code) >> (16 - n))
	for i := start; i < len(h.fast); i += 1 << n {
		h.fast[i] = symbol<<4 | uint16(n)
	}
}

// decode reads one symbol.
func (h *huffman) decode(b *bitReader) (int, error) {
	b.fill()
	if e := h.fast[b.bits&(1<<fastBits-1)]; e != 0 {
		return int(e >> 4), b.drop(uint(e & 15))
	}
	code, first, index := 0, 0, 0
	for n := uint(1); n <= maxCodeLength; n++ {
		code |= int(b.bits>>(n-1)) & 1
		count := int(h.count[n])
		if code-count < first {
			return int(h.symbols[index+code-first]), b.drop(n)
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, errCodes
}

// A bitReader reads bits from octets, the lowest first.
type bitReader struct {
	in   []byte
	bits uint64
	n    uint // bits held
}

var errShort = errors.New("deflate: the compressed data ends inside a block")

// fill reads octets until at least 56 bits are held or the input ends.
func (b *bitReader) fill() {
	for b.n <= 56 && len(b.in) > 0 {
		b.bits |= uint64(b.in[0]) << b.n
		b.in = b.in[1:]
		b.n += 8
	}
}

// drop skips n bits.
func (b *bitReader) drop(n uint) error {
	if b.n < n {
		return errShort
	}
	b.bits >>= n
	b.n -= n
	return nil
}

// take reads n bits, at most 16.
func (b *bitReader) take(n uint) (int, error) {
	b.fill()
	v := int(b.bits & (1<<n - 1))
	return v, b.drop(n)
}

// align skips the bits up to the next octet boundary.
func (b *bitReader) align() { b.drop(b.n % 8) }

// empty reports whether everything is read.
func (b *bitReader) empty() bool { return b.n == 0 && len(b.in) == 0 }

// octets reads n octets. The reader must be aligned.
func (b *bitReader) octets(dst []byte, n int) ([]byte, error) {
	for ; n > 0 && b.n > 0; n-- {
		dst = append(dst, byte(b.bits))
		b.drop(8)
	}
	if len(b.in) < n {
		return dst, errShort
	}
	dst = append(dst, b.in[:n]...)
	b.in = b.in[n:]
	return dst, nil
}
