package flate

import (
	"encoding/binary"
	"sync"
)

// A blockState says what comes next in the input.
type blockState uint8

const (
	atHeader blockState = iota // the header of a block, or the end of the message
	inCodes                    // a code of a compressed block
	inMatch                    // the rest of a match that found no room
	inStored                   // bytes of a stored block
	atEnd                      // nothing: the message is whole
)

// A pause says why an inflater returned.
type pause uint8

const (
	wantInput pause = iota // the input ends, perhaps inside a code
	wantRoom               // the output is full
	done                   // the message ended properly
	failed                 // see inflater.fault
)

// padding is how far beyond the end of z.pad's data a load may reach: an
// iteration of the fast loop begins at most 8 bytes after the end, advances by
// 14 and loads 8.
const padding = 40

// slack is the room in bytes that one iteration of the fast loop may need: two
// literals and a match, copied up to 32 bytes at a time.
const slack = maxMatch + 2 + 32

// loadAhead is how many bytes must follow the position when a code is decoded
// from input that is not padded.
const loadAhead = 24

// An inflater is the scratch for inflating one message. It belongs to the
// message from its first byte to its last, then goes back to a pool.
//
// Its input is either the caller's slice, except for its last bytes, or pad,
// where those bytes are followed by zeros so that loads need no check. A code
// that runs into the zeros is undone: the position is always after the last
// whole code.
type inflater struct {
	in    []byte
	pos   int    // next byte of in to load into bits
	end   int    // of the data in in
	bits  uint64 // loaded and not yet used, lowest bit first; bits above nbits will be loaded again
	nbits uint
	inPad bool // in is pad
	last  bool // the message ends at end

	out    []byte // the caller's slice, up to its capacity
	op     int    // where the next byte of output goes
	start  int    // where this call's output began
	max    int    // where output must stop
	grown  bool   // out is no longer the caller's slice
	recent *history

	state  blockState
	final  bool // the current block has BFINAL set
	sealed bool // the block before this one had BFINAL set
	fault  fault
	stored int // bytes left of a stored block
	length int // left of a match
	dist   int

	lit       *litTable
	dists     *distTable
	carried   int   // bytes at the start of pad that wait for more
	consumed  int64 // bytes of the message before in
	ownLit    litTable
	ownDist   distTable
	litCodes  codeLengths
	distCodes codeLengths
	used      [512]uint16 // of litCodes, then of distCodes
	sorted    sortedEntries
	own       history // of a message in parts, without context takeover
	pad       [2*maxHeader + len(tail) + padding]byte
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// newInflater takes an inflater from the pool for a new message.
func newInflater(recent *history) *inflater {
	z := inflaters.Get().(*inflater)
	z.begin(recent)
	return z
}

// begin prepares z for a message that may refer to recent. Tables and bytes of
// other messages remain in memory, but cannot be referred to.
func (z *inflater) begin(recent *history) {
	z.recent = recent
	z.last = false
	z.bits, z.nbits = 0, 0
	z.state, z.final, z.sealed, z.fault = atHeader, false, false, noFault
	z.carried, z.consumed = 0, 0
}

// release returns z to the pool. z retains none of the caller's slices.
func (z *inflater) release() {
	z.in, z.out, z.recent = nil, nil, nil
	z.own.forget()
	inflaters.Put(z)
}

// refill loads input until at least 56 bits are valid.
func (z *inflater) refill() {
	z.bits |= binary.LittleEndian.Uint64(z.in[z.pos:]) << (z.nbits & 63)
	z.pos += int((63 - z.nbits) >> 3)
	z.nbits |= 56
}

// drop consumes n valid bits.
func (z *inflater) drop(n uint) {
	z.bits >>= n & 63
	z.nbits -= n
}

// unread returns whole loaded bytes to the input.
func (z *inflater) unread() {
	z.pos -= int(z.nbits >> 3)
	z.nbits &= 7
	z.bits &= 1<<z.nbits - 1
}

// overrun reports whether bits after the end were used.
func (z *inflater) overrun() bool { return z.pos-int(z.nbits>>3) > z.end }

// setOutput makes z append its output to dst, at most room bytes.
func (z *inflater) setOutput(dst []byte, room int) {
	z.out, z.grown = dst[:cap(dst)], false
	z.start, z.op = len(dst), len(dst)
	z.max = len(dst) + max(room, 0)
	if z.max < 0 {
		z.max = int(^uint(0) >> 1)
	}
}

// whole inflates a message that is in memory.
func (z *inflater) whole(payload []byte) pause {
	n := 0
	if len(payload) > 2*maxHeader {
		var p pause
		if n, p = z.direct(payload); p != wantInput {
			return p
		}
	}
	z.carried = copy(z.pad[:], payload[n:])
	return z.finish()
}

// feed inflates part of a message. It returns the number of bytes that were used
// or kept: all of them unless the output is full.
func (z *inflater) feed(part []byte) (n int, p pause) {
	for {
		if z.carried == 0 && len(part)-n > maxHeader {
			k, p := z.direct(part[n:])
			n += k
			if p != wantInput {
				return n, p
			}
		}
		k, p := z.bridge(part[n:])
		n += k
		if p != wantInput || n == len(part) {
			return n, p
		}
	}
}

// direct inflates part in place, as far as loads stay inside it. When it returns
// wantInput, at most maxHeader bytes are left.
func (z *inflater) direct(part []byte) (int, pause) {
	z.in, z.pos, z.end, z.inPad, z.last = part, 0, len(part), false, false
	p := z.run(len(part) - loadAhead)
	z.settle()
	return z.pos, p
}

// bridge inflates the bytes in pad and as much of part as fits after them. It
// keeps unused bytes in pad, unless they all belong to part and not all of part
// could be copied: then they are left in part.
func (z *inflater) bridge(part []byte) (int, pause) {
	carried := z.carried
	n := copy(z.pad[carried:2*maxHeader], part)
	z.carried += n
	p := z.padded(false)
	if p == failed {
		return n, p
	}
	if z.pos < carried || n == len(part) && p == wantInput {
		z.carried = copy(z.pad[:], z.pad[z.pos:z.end])
		return n, p
	}
	z.carried = 0
	return z.pos - carried, p
}

// finish inflates the bytes in pad and the tail after them. If the output is
// full it must be called again.
func (z *inflater) finish() pause {
	if !z.last {
		z.carried += copy(z.pad[z.carried:], tail[:])
	}
	switch p := z.padded(true); p {
	case wantInput:
		return z.fail(cutShort)
	case wantRoom:
		z.carried = copy(z.pad[:], z.pad[z.pos:z.end])
		return p
	default:
		return p
	}
}

// padded inflates the bytes in pad.
func (z *inflater) padded(last bool) pause {
	z.in, z.pos, z.end, z.inPad, z.last = z.pad[:], 0, z.carried, true, last
	clear(z.pad[z.end:][:padding])
	limit := z.end - loadAhead
	if last {
		limit = z.end + 8
	}
	p := z.run(limit)
	z.settle()
	return p
}

// settle returns loaded but unused bytes to the input, and counts the used ones.
func (z *inflater) settle() {
	z.unread()
	z.consumed += int64(z.pos)
}

// fail records the first fault and where it was found.
func (z *inflater) fail(f fault) pause {
	z.fault = f
	return failed
}

// pauseErr returns the error of a whole message that could not be inflated.
func (z *inflater) pauseErr(p pause) error {
	if p == wantRoom {
		return ErrTooLong
	}
	return &CorruptError{z.consumed, faultTexts[z.fault]}
}
