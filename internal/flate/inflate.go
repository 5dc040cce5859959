package flate

import "encoding/binary"

// run inflates until the input or the room ends, the message is whole, or a
// fault is found. Codes are decoded without checks while the position is not
// after limit.
func (z *inflater) run(limit int) pause {
	for {
		var p pause
		var pausing bool
		switch z.state {
		case atHeader:
			p, pausing = z.nextBlock()
		case inStored:
			p, pausing = z.copyStored()
		case inMatch:
			p, pausing = z.resumeMatch()
		case inCodes:
			p, pausing = z.codes(limit)
		case atEnd:
			return done
		}
		if pausing {
			return p
		}
	}
}

// nextBlock reads a header, or finds that a final block ended the message.
func (z *inflater) nextBlock() (p pause, pausing bool) {
	z.unread()
	if z.sealed && z.last && z.nbits == 0 && z.pos == z.end-len(tail) {
		z.state = atEnd
		return done, true
	}
	if !z.inPad && z.end-z.pos < maxHeader {
		return wantInput, true
	}
	pos, bits, nbits := z.pos, z.bits, z.nbits
	f := z.header()
	if z.overrun() || f == cutShort {
		z.state = atHeader
		z.pos, z.bits, z.nbits = pos, bits, nbits
		return wantInput, true
	}
	if f != noFault {
		return z.fail(f), true
	}
	z.sealed = false
	return wantInput, false
}

// endBlock ends a block. The next one begins at a byte boundary if this one had
// BFINAL set (RFC 7692, Section 7.2.3.4).
func (z *inflater) endBlock() {
	z.state = atHeader
	if z.final {
		z.unread()
		z.bits, z.nbits = 0, 0
		z.sealed = true
	}
}

// copyStored copies the bytes of a stored block.
func (z *inflater) copyStored() (p pause, pausing bool) {
	if z.stored == 0 {
		z.endBlock()
		return wantInput, false
	}
	n := min(z.stored, z.end-z.pos)
	if n == 0 {
		return wantInput, true
	}
	if n = min(n, z.max-z.op); n == 0 {
		return wantRoom, true
	}
	z.room(n)
	copy(z.out[z.op:], z.in[z.pos:z.pos+n])
	z.op += n
	z.pos += n
	z.stored -= n
	return wantInput, false
}

// room makes space for n more bytes of output, which max must allow. It grows
// the output by half its size, so that memory stays proportional to it.
func (z *inflater) room(n int) {
	if len(z.out)-z.op >= n {
		return
	}
	size := min(max(z.op+n+slack, z.op+z.op/2, 512), z.max)
	z.out = append(z.out[:z.op], make([]byte, size-z.op)...)
	z.out = z.out[:cap(z.out)]
	z.grown = true
}

// short reports whether the output should grow before more codes are decoded.
// The caller's slice is filled first, even if slowly: the message may fit.
func (z *inflater) short() bool {
	return len(z.out)-z.op < slack && len(z.out) < z.max && (z.grown || len(z.out) == z.start)
}

// codes decodes the codes of a block: fast where input and room allow it, and
// one by one elsewhere.
func (z *inflater) codes(limit int) (p pause, pausing bool) {
	for z.state == inCodes {
		if z.short() {
			z.room(min(slack, z.max-z.op))
		}
		if z.pos <= limit && min(len(z.out), z.max)-z.op >= slack {
			if f := z.fastCodes(limit); f != noFault {
				return z.fail(f), true
			}
			if z.last && z.overrun() {
				return z.fail(cutShort), true
			}
			continue
		}
		if z.pos > limit && !z.inPad {
			return wantInput, true
		}
		if p := z.code(); p != done {
			return p, true
		}
	}
	return wantInput, false
}

// code decodes one code with all checks, and returns done if it could. An
// incomplete code, or a literal without room, is left in the input.
func (z *inflater) code() pause {
	if z.unread(); z.pos > z.end {
		return wantInput
	}
	pos, bits, nbits := z.pos, z.bits, z.nbits
	z.refill()
	e := z.litEntry()
	var d uint32
	z.length = z.value(e)
	if e&(literalEntry|exceptionEntry) == 0 {
		z.refill()
		d = z.distEntry()
		z.dist = z.value(d)
	}
	switch {
	case z.overrun():
		z.pos, z.bits, z.nbits = pos, bits, nbits
		return wantInput
	case e&literalEntry != 0 && z.op == z.max:
		z.pos, z.bits, z.nbits = pos, bits, nbits
		return wantRoom
	}
	return z.apply(e, d)
}

// litEntry returns the entry of the next literal or length, which stays in
// the input.
func (z *inflater) litEntry() uint32 {
	e := z.lit[z.bits&(1<<litTableBits-1)]
	if e&(exceptionEntry|subtableEntry) == exceptionEntry|subtableEntry {
		e = z.lit[z.subtableIndex(e)&(litTableSize-1)] + litTableBits*codeLenUnit
	}
	return e
}

// distEntry returns the entry of the next distance, which stays in the input.
func (z *inflater) distEntry() uint32 {
	e := z.dists[z.bits&(1<<distTableBits-1)]
	if e&(exceptionEntry|subtableEntry) == exceptionEntry|subtableEntry {
		e = z.dists[z.subtableIndex(e)&(distTableSize-1)] + distTableBits*codeLenUnit
	}
	return e
}

// subtableIndex returns the index in e's subtable of the next code.
func (z *inflater) subtableIndex(e uint32) uint64 {
	return uint64(e>>16&0x7fff) + z.bits>>(e&63)&(1<<(e>>8&15)-1)
}

// value consumes the code and the extra bits of an entry and returns the value
// they encode.
func (z *inflater) value(e uint32) int {
	extra := z.bits & (1<<(e&63) - 1) >> (e >> 8 & 31)
	z.drop(uint(e & 63))
	return int(e>>16&0x7fff) + int(extra)
}

// apply executes a decoded code.
func (z *inflater) apply(e, d uint32) pause {
	switch {
	case e&literalEntry != 0:
		z.room(1)
		z.out[z.op] = byte(e >> 16)
		z.op++
	case e&endEntry != 0 && e&exceptionEntry != 0:
		z.endBlock()
	case (e|d)&exceptionEntry != 0:
		return z.fail(badSymbol)
	case z.dist > z.recent.window || z.dist > z.op-z.start+z.recent.valid:
		return z.fail(badDistance)
	default:
		z.state = inMatch
		if p, pausing := z.resumeMatch(); pausing {
			return p
		}
	}
	return done
}

// resumeMatch copies what is left of a match, as far as there is room.
func (z *inflater) resumeMatch() (p pause, pausing bool) {
	n := min(z.length, z.max-z.op)
	z.room(n)
	z.copyMatch(z.dist, n)
	if z.length -= n; z.length != 0 {
		return wantRoom, true
	}
	z.state = inCodes
	return wantInput, false
}

// fastCodes decodes codes while the position is not after limit and slack
// bytes of room are left. It leaves the state inCodes, or ends the block. It is
// one long function because its variables must stay in registers: a call for
// each match or literal would store and load them again.
func (z *inflater) fastCodes(limit int) fault {
	in, pos, bits, nbits := z.in, z.pos, z.bits, z.nbits
	out, op, start := z.out, z.op, z.start
	full := min(len(out), z.max) - slack
	lit, dists := z.lit, z.dists
	window, ring, next := uint(z.recent.window), z.recent.buf, z.recent.next
	f := noFault
	for pos <= limit && op <= full {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56
		e := lit[bits&(1<<litTableBits-1)]
		if e&literalEntry != 0 {
			bits >>= e & 63
			nbits -= uint(e & 63)
			out[op] = byte(e >> 16)
			op++
			e = lit[bits&(1<<litTableBits-1)]
			if e&literalEntry != 0 {
				bits >>= e & 63
				nbits -= uint(e & 63)
				out[op] = byte(e >> 16)
				op++
				e = lit[bits&(1<<litTableBits-1)]
				if e&literalEntry != 0 {
					bits >>= e & 63
					nbits -= uint(e & 63)
					out[op] = byte(e >> 16)
					op++
					continue
				}
			}
		}
		if e&exceptionEntry != 0 {
			if e&subtableEntry != 0 {
				bits >>= e & 63
				nbits -= uint(e & 63)
				e = lit[(uint64(e>>16&0x7fff)+bits&(1<<(e>>8&15)-1))&(litTableSize-1)]
			}
			if e&literalEntry != 0 {
				bits >>= e & 63
				nbits -= uint(e & 63)
				out[op] = byte(e >> 16)
				op++
				continue
			}
			if e&exceptionEntry != 0 {
				bits >>= e & 63
				nbits -= uint(e & 63)
				if f = badSymbol; e&endEntry != 0 {
					f = noFault
					z.state = atHeader
				}
				break
			}
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&31))
		bits >>= e & 63
		nbits -= uint(e & 63)
		if nbits < maxCodeLen+13 {
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
			pos += int((63 - nbits) >> 3)
			nbits |= 56
		}
		e = dists[bits&(1<<distTableBits-1)]
		if e&exceptionEntry != 0 {
			if e&subtableEntry == 0 {
				f = badSymbol
				break
			}
			bits >>= e & 63
			nbits -= uint(e & 63)
			e = dists[(uint64(e>>16&0x7fff)+bits&(1<<(e>>8&15)-1))&(distTableSize-1)]
			if e&exceptionEntry != 0 {
				f = badSymbol
				break
			}
		}
		dist := uint(e>>16) + uint(bits&(1<<(e&63)-1)>>(e>>8&31))
		bits >>= e & 63
		nbits -= uint(e & 63)
		if dist > window {
			f = badDistance
			break
		}
		if dist > uint(op-start) {
			if dist > uint(op-start+z.recent.valid) {
				f = badDistance
				break
			}
			from := (next + op - start - int(dist)) & (len(ring) - 1)
			if int(dist)-(op-start) < length || from+length+32 > len(ring) {
				z.op = op
				z.copyMatch(int(dist), length)
				op = z.op
				continue
			}
			end := op + length
			copy32(out[op:], ring[from:])
			for k := 32; k < length; k += 16 {
				copy16(out[op+k:], ring[from+k:])
			}
			op = end
			continue
		}
		from := op - int(dist)
		end := op + length
		if dist >= 16 {
			// What was copied is copied in turn, with twice the distance each time.
			copy32(out[op:], out[from:])
			for k, back := 32, int(dist); k < length; back *= 2 {
				for stop := min(length, 2*back-int(dist)); k < stop; k += 32 {
					copy32(out[op+k:], out[op+k-back:])
				}
			}
		} else if dist == 1 {
			fill := uint64(out[from]) * 0x0101010101010101
			for ; op < end; op += 16 {
				put16(out[op:], fill, fill)
			}
		} else {
			lo, hi := period(out[from:], dist, length)
			for step := int(periods[dist].step); op < end; op += step {
				put16(out[op:], lo, hi)
			}
		}
		op = end
	}
	z.pos, z.bits, z.nbits, z.op = pos, bits, nbits, op
	if f == noFault && z.state == atHeader {
		z.endBlock()
	}
	return f
}
