package flate

import "math/bits"

// A decoding table is indexed with the next bits of the input, as many as its
// size constant says; each shorter code fills all entries that begin with it,
// and longer codes share an entry that points to a subtable after the first
// table.
//
// An entry for a literal, a length or a distance:
//
//	bit 31      literal
//	bits 16-30  the literal, the smallest length or the smallest distance
//	bit 15      exception, see below
//	bits 8-12   length of the code in bits
//	bits 0-7    length of the code and of the extra bits after it
//
// An exception is the end of a block, a subtable or, with neither bit, an
// unused code. An entry for a subtable:
//
//	bits 16-30  index of its first entry
//	bits 8-12   its size: the bits that index it
//	bits 0-7    bits of the input that index the first table
const (
	literalEntry   = 1 << 31
	exceptionEntry = 1 << 15
	subtableEntry  = 1 << 14
	endEntry       = 1 << 13
	invalidEntry   = exceptionEntry

	codeLenUnit = 1<<8 | 1 // a bit of code in an entry's two counts
)

// The sizes in bits of the first tables, and the number of entries of these and
// their subtables: more than the 852 and 402 that the worst codes need, and
// powers of two, so that a masked index needs no bounds check.
const (
	litTableBits  = 9
	distTableBits = 8
	litTableSize  = 2048
	distTableSize = 512
)

// A litTable decodes literals, lengths and the end of a block.
type litTable [litTableSize]uint32

// A distTable decodes distances.
type distTable [distTableSize]uint32

// litEntries and distEntries hold the entries of all symbols without the
// lengths of their codes.
var (
	litEntries  = makeLitEntries()
	distEntries = makeDistEntries()
)

func makeLitEntries() (t [288]uint32) {
	for i := range endOfBlock {
		t[i] = literalEntry | uint32(i)<<16
	}
	t[endOfBlock] = exceptionEntry | endEntry
	for i, base := range lengthBase {
		t[endOfBlock+1+i] = uint32(base)<<16 | uint32(lengthExtra[i])
	}
	t[286], t[287] = invalidEntry, invalidEntry
	return t
}

func makeDistEntries() (t [32]uint32) {
	for i, base := range distBase {
		t[i] = uint32(base)<<16 | uint32(distExtra[i])
	}
	t[30], t[31] = invalidEntry, invalidEntry
	return t
}

// fixedLit and fixedDist decode blocks with fixed codes
// (RFC 1951, Section 3.2.6).
var fixedLit, fixedDist = makeFixedTables()

func makeFixedTables() (*litTable, *distTable) {
	lit, dist := new(litTable), new(distTable)
	var sorted sortedEntries
	var c codeLengths
	for i := range 288 {
		switch {
		case i < 144:
			c.add(i, 8)
		case i < 256:
			c.add(i, 9)
		case i < 280:
			c.add(i, 7)
		default:
			c.add(i, 8)
		}
	}
	c.build(lit[:], litEntries[:], &sorted, litTableBits)
	c = codeLengths{}
	for i := range 32 {
		c.add(i, 5)
	}
	c.build(dist[:], distEntries[:], &sorted, distTableBits)
	return lit, dist
}

// codeLengths holds the symbols that have a code, in ascending order, and
// builds a decoding table from them. Symbols without a code cost nothing.
type codeLengths struct {
	used  []uint16   // symbol<<4 | length
	count [16]uint16 // symbols by length; count[0] is not used
}

// add gives sym, larger than all before it, a code of length bits.
func (c *codeLengths) add(sym, length int) {
	c.used = append(c.used, uint16(sym<<4|length))
	c.count[length]++
}

// has reports whether sym has a code.
func (c *codeLengths) has(sym int) bool {
	for i := len(c.used) - 1; i >= 0 && int(c.used[i]>>4) >= sym; i-- {
		if int(c.used[i]>>4) == sym {
			return true
		}
	}
	return false
}

// sortedEntries is scratch for the entries of a table in the order of their
// codes.
type sortedEntries [512]uint32

// space returns the part of the code space that is used, in units of the
// longest code, and the length of the longest code present.
func (c *codeLengths) space() (used, longest int) {
	for l := 1; l <= maxCodeLen; l++ {
		if n := int(c.count[l]); n != 0 {
			used += n << (maxCodeLen - l)
			longest = l
		}
	}
	return used, longest
}

// build fills table, whose first part is indexed with tableBits bits. The code
// must be complete; as in zlib, a single code of one bit, and for distances no
// code at all, is accepted too, and unused codes are invalid.
func (c *codeLengths) build(table, entries []uint32, sorted *sortedEntries, tableBits int) (ok bool) {
	used, longest := c.space()
	if used != 1<<maxCodeLen {
		return c.buildIncomplete(table[:1<<tableBits], entries, used)
	}
	c.sort(sorted, entries)
	fillTable(table, sorted[:len(c.used)], &c.count, tableBits, longest)
	return true
}

// buildIncomplete builds the table of no code or of one code of one bit.
func (c *codeLengths) buildIncomplete(table, entries []uint32, used int) (ok bool) {
	only := uint32(invalidEntry)
	if len(c.used) == 1 && c.count[1] == 1 {
		only = entries[c.used[0]>>4] + codeLenUnit
	} else if used != 0 {
		return false
	}
	table[0], table[1] = only, invalidEntry
	for size := 2; size < len(table); size *= 2 {
		copy(table[size:], table[:size])
	}
	return true
}

// sort puts the entries of the used symbols, complete with the lengths of
// their codes, in the order of their codes.
func (c *codeLengths) sort(sorted *sortedEntries, entries []uint32) {
	var at [16]uint16
	next := uint16(0)
	for l := 1; l <= maxCodeLen; l++ {
		at[l] = next
		next += c.count[l]
	}
	for _, u := range c.used {
		l := u & 15
		i := at[l]
		at[l]++
		sorted[int(i)%len(sorted)] = entries[u>>4] + uint32(l)*codeLenUnit
	}
}

// reversed holds the numbers of litTableBits bits, bit-reversed.
var reversed = makeReversed()

func makeReversed() (t [1 << litTableBits]uint16) {
	for i := range t {
		t[i] = bits.Reverse16(uint16(i)) >> (16 - litTableBits)
	}
	return t
}

// fillTable writes the table of a complete code whose entries are sorted. It
// goes through the codes in ascending order; bit-reversed, as they come in the
// input, each is an index, and the table of codes of up to l bits, written
// twice in a row, is the table for l+1. Until then a code stands at the top of
// litTableBits bits.
func fillTable(table, sorted []uint32, count *[16]uint16, tableBits, longest int) {
	l := 0
	for l+1 < tableBits && count[l+1] == 0 {
		l++
	}
	code, size, i := 0, 1<<l, 0
	for l < tableBits {
		l++
		copy(table[size:2*size], table[:size])
		size *= 2
		n := int(count[l])
		step := 1 << (litTableBits - l)
		for _, e := range sorted[i : i+n] {
			table[reversed[code&(len(reversed)-1)]] = e
			code += step
		}
		i += n
	}
	if longest > tableBits {
		fillSubtables(table, sorted[i:], count, int(reversed[code]), tableBits)
	}
}

// nextCode returns the successor of a bit-reversed code of log2(size) bits. The
// successor of the last code is 0.
func nextCode(code, size int) int {
	free := uint(code ^ (size - 1))
	if free == 0 {
		return 0
	}
	bit := 1 << (bits.Len(free) - 1)
	return code&(bit-1) | bit
}

// fillSubtables writes the entries of the codes longer than tableBits, the
// first of which is code.
func fillSubtables(table, sorted []uint32, count *[16]uint16, code, tableBits int) {
	mask := 1<<tableBits - 1
	start, size := 1<<tableBits, 0
	prefix := -1
	l := tableBits + 1
	left := int(count[l])
	for _, e := range sorted {
		for left == 0 {
			l++
			left = int(count[l])
		}
		if code&mask != prefix {
			start += size
			prefix = code & mask
			subBits := subtableBits(count, l, left, tableBits)
			size = 1 << subBits
			table[prefix] = exceptionEntry | subtableEntry | uint32(start)<<16 | uint32(subBits)<<8 | uint32(tableBits)
		}
		e -= uint32(tableBits) * codeLenUnit
		for j := code >> tableBits; j < size; j += 1 << (l - tableBits) {
			table[start+j] = e
		}
		code = nextCode(code, 1<<l)
		left--
	}
}

// subtableBits returns the size in bits of the subtable that begins with a code
// of l bits, of which left are still to be placed: the smallest that these and
// longer codes fill.
func subtableBits(count *[16]uint16, l, left, tableBits int) int {
	b := l - tableBits
	space := left
	for space < 1<<b {
		b++
		space = space*2 + int(count[b+tableBits])
	}
	return b
}
