package flate

import "encoding/binary"

// maxHeader is the size in bytes of the longest header of a block with dynamic
// codes: 17 bits, 19 lengths of 3 bits and 316 lengths of 7 bits, since lengths
// sent one by one cost most. It is rounded up for the bytes that a refill reads
// ahead.
const maxHeader = 320

// A preTable decodes the codes of code lengths: an entry is
// symbol<<3 | length of the code, or invalidPreEntry for an unused code.
type preTable [1 << maxPreCodeLen]uint8

const invalidPreEntry = 31 << 3

// header reads the header of a block and builds its tables. The input must
// hold maxHeader readable bytes, or end in the padding of z.pad; if the header
// runs into the padding, the result is meaningless.
func (z *inflater) header() fault {
	z.refill()
	z.final = z.bits&1 != 0
	kind := z.bits >> 1 & 3
	z.drop(3)
	switch kind {
	case storedBlock:
		return z.storedHeader()
	case fixedBlock:
		z.lit, z.dists = fixedLit, fixedDist
		z.state = inCodes
		return noFault
	case dynamicBlock:
		return z.dynamicHeader()
	}
	return badBlockType
}

// storedHeader reads the length of a stored block. An empty one at the end of
// the input ends the message (RFC 7692, Section 7.2.1).
func (z *inflater) storedHeader() fault {
	z.drop(z.nbits & 7)
	z.refill()
	length, check := uint16(z.bits), uint16(z.bits>>16)
	z.drop(32)
	z.unread()
	if length != ^check {
		return badStoredLength
	}
	z.stored = int(length)
	z.state = inStored
	if length == 0 && z.last && z.pos == z.end {
		z.state = atEnd
	}
	return noFault
}

// dynamicHeader reads the code lengths of RFC 1951, Section 3.2.7.
func (z *inflater) dynamicHeader() fault {
	nlit := int(z.bits&31) + 257
	ndist := int(z.bits>>5&31) + 1
	npre := int(z.bits>>10&15) + 4
	z.drop(14)
	if nlit > maxLitLenSyms || ndist > maxDistSyms {
		return badCodeCount
	}
	var pre preTable
	if !z.readPreCode(&pre, npre) {
		return badCode
	}
	if f := z.readLengths(&pre, nlit, nlit+ndist); f != noFault {
		return f
	}
	return z.buildTables()
}

// buildTables builds the tables of the codes just read.
func (z *inflater) buildTables() fault {
	if !z.litCodes.has(endOfBlock) {
		return noEndOfBlock
	}
	if !z.litCodes.build(z.ownLit[:], litEntries[:], &z.sorted, litTableBits) || !z.distCodes.build(z.ownDist[:], distEntries[:], &z.sorted, distTableBits) {
		return badCode
	}
	z.lit, z.dists = &z.ownLit, &z.ownDist
	z.state = inCodes
	return noFault
}

// readPreCode reads n lengths of codes of code lengths and builds their table.
func (z *inflater) readPreCode(t *preTable, n int) bool {
	var lengths [preCodeSyms]uint8
	var count [8]uint8
	z.refill()
	for i := range n {
		if i == 16 {
			z.refill()
		}
		l := uint8(z.bits & 7)
		z.drop(3)
		lengths[preCodeOrder[i]] = l
		count[l]++
	}
	return t.fill(&lengths, &count)
}

// fill builds the table of a complete code, or of a single code of one bit.
func (t *preTable) fill(lengths *[preCodeSyms]uint8, count *[8]uint8) bool {
	count[0] = 0
	used, n := 0, uint8(0)
	var at [8]uint8
	for l := 1; l <= maxPreCodeLen; l++ {
		at[l] = n
		n += count[l]
		used += int(count[l]) << (maxPreCodeLen - l)
	}
	if used != len(t) && (n != 1 || count[1] != 1) {
		return false
	}
	var sorted [32]uint8
	for sym, l := range lengths {
		if l != 0 {
			sorted[at[l]&31] = uint8(sym)<<3 | l
			at[l]++
		}
	}
	t[0] = invalidPreEntry
	code, size, i := 0, 1, 0
	for l := 1; l <= maxPreCodeLen; l++ {
		copy(t[size:], t[:size])
		size *= 2
		for range count[l] {
			t[code&(len(t)-1)] = sorted[i&31]
			code = nextCode(code, size)
			i++
		}
	}
	return true
}

// unknown stands for the code length before the first one.
const unknown = 255

// readLengths reads the lengths of the codes of total symbols, of which the
// first nlit are literals and lengths and the others distances. The symbols
// that have a code are listed without a branch: each is written to the list,
// and the next one overwrites it if its length is 0.
func (z *inflater) readLengths(pre *preTable, nlit, total int) (f fault) {
	in, pos, bits, nbits := z.in, z.pos, z.bits, z.nbits
	used, n, last := &z.used, uint(0), uint(unknown)
	count := &z.litCodes.count
	*count = [16]uint16{}
	for i := uint(0); i < uint(total); {
		if nbits < maxPreCodeLen+7 {
			if pos > z.end+8 {
				f = cutShort
				break
			}
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
			pos += int((63 - nbits) >> 3)
			nbits |= 56
		}
		e := uint(pre[bits&(1<<maxPreCodeLen-1)])
		bits >>= e & 7
		nbits -= e & 7
		if sym := e >> 3; sym < 16 {
			last = sym
			used[n%uint(len(used))] = uint16(i<<4 | sym)
			n += (sym + 15) >> 4
			count[sym]++
			i++
			continue
		}
		if e == invalidPreEntry {
			f = badCode
			break
		}
		extra, repeat := uint(2), uint(3)
		if e>>3 == 17 {
			extra, last = 3, 0
		} else if e>>3 == 18 {
			extra, repeat, last = 7, 11, 0
		}
		repeat += uint(bits) & (1<<extra - 1)
		bits >>= extra
		nbits -= extra
		if last == unknown || i+repeat > uint(total) {
			f = badRepeat
			break
		}
		if last != 0 {
			count[last&15] += uint16(repeat)
			for j := range repeat {
				used[(n+j)%uint(len(used))] = uint16((i+j)<<4 | last)
			}
			n += repeat
		}
		i += repeat
	}
	z.pos, z.bits, z.nbits = pos, bits, nbits
	z.splitLengths(nlit, int(n))
	return f
}

// splitLengths divides the first n of z.used between z.litCodes, the symbols
// below nlit, and z.distCodes, which are few.
func (z *inflater) splitLengths(nlit, n int) {
	lit, dist := &z.litCodes, &z.distCodes
	dist.count = [16]uint16{}
	k := n
	for ; k > 0 && int(z.used[k-1]>>4) >= nlit; k-- {
		u := &z.used[k-1]
		lit.count[*u&15]--
		dist.count[*u&15]++
		*u -= uint16(nlit << 4)
	}
	lit.used, dist.used = z.used[:k], z.used[k:n]
}
