package flate

import "encoding/binary"

// A match whose distance is shorter than its length repeats what it copies. A
// load of bytes that were stored just before, by stores that begin elsewhere,
// waits for those stores to end. So a short period is repeated in registers, and a
// longer one is read from as far back as there are whole periods.

// copyMatch appends n bytes from dist bytes back. There must be room for them.
// Bytes from before this call's output come from the history.
func (z *inflater) copyMatch(dist, n int) {
	for have := z.op - z.start; n > 0 && dist > have; have = z.op - z.start {
		k := z.recent.copyOut(z.out[z.op:z.op+n], dist-have)
		z.op += k
		n -= k
	}
	for from := z.op - dist; n > 0; {
		k := copy(z.out[z.op:z.op+n], z.out[from:z.op])
		z.op += k
		n -= k
	}
}

// copy16 copies 16 bytes in words of 8. The first is written before the second
// is read, so that src may begin 8 bytes or more before dst.
func copy16(dst, src []byte) {
	_, _ = dst[15], src[15]
	binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src))
	binary.LittleEndian.PutUint64(dst[8:], binary.LittleEndian.Uint64(src[8:]))
}

// copy32 copies 32 bytes in the same way. Most matches are shorter, so that no
// branch depends on their length.
func copy32(dst, src []byte) {
	_, _ = dst[31], src[31]
	copy16(dst, src)
	copy16(dst[16:], src[16:])
}

// put16 writes 16 bytes.
func put16(dst []byte, lo, hi uint64) {
	_ = dst[15]
	binary.LittleEndian.PutUint64(dst, lo)
	binary.LittleEndian.PutUint64(dst[8:], hi)
}

// periods says, for each distance from 2 to 15, how to repeat what such a match
// copies: by multiplication, in a word that holds it, up to 8 bytes. Each 16
// bytes written advance by step, the longest multiple of the distance among them.
var periods = [16]struct {
	times      uint64
	turn, step uint8 // turn is the remainder in bits of 8 bytes
}{
	2:  {0x0001000100010001, 0, 16},
	3:  {0x0001000001000001, 16, 15},
	4:  {0x0000000100000001, 0, 16},
	5:  {0x0000010000000001, 24, 15},
	6:  {0x0001000000000001, 16, 12},
	7:  {0x0100000000000001, 8, 14},
	8:  {1, 0, 16},
	9:  {step: 9},
	10: {step: 10},
	11: {step: 11},
	12: {step: 12},
	13: {step: 13},
	14: {step: 14},
	15: {step: 15},
}

// period returns 16 bytes of which the first periods[dist].step, or length if
// that is less, are src[:dist] again and again. src must have 16 bytes, and dist
// must be from 2 to 15.
func period(src []byte, dist uint, length int) (lo, hi uint64) {
	lo = binary.LittleEndian.Uint64(src)
	if dist > 8 || uint(length) <= dist {
		return lo, binary.LittleEndian.Uint64(src[8:])
	}
	p := &periods[dist]
	lo = lo & (1<<(8*dist) - 1) * p.times
	return lo, lo>>p.turn | lo<<(8*dist-uint(p.turn))
}
