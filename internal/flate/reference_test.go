package flate

import (
	"errors"
	"testing"
)

// covers records which rows of requirements.tsv and which hostile inputs a test
// covers.
func covers(t testing.TB, ids ...string) {
	t.Helper()
	if len(ids) == 0 {
		t.Fatal("covers nothing")
	}
}

// A reference is a slow inflater written from RFC 1951 alone, bit by bit and
// without tables. It records the form of a message's blocks.
type reference struct {
	in      []byte
	bit     int
	out     []byte
	valid   int // bytes of out that came before the message
	maxDist int // longest distance seen
	blocks  []int
	final   bool // some block had BFINAL set
}

var errReference = errors.New("reference: corrupt")

func (r *reference) bits(n int) int {
	v := 0
	for i := range n {
		if r.bit>>3 >= len(r.in) {
			panic(errReference)
		}
		v |= int(r.in[r.bit>>3]>>(r.bit&7)&1) << i
		r.bit++
	}
	return v
}

// symbol reads one code of the canonical code with the given lengths.
func (r *reference) symbol(lengths []int) int {
	code, first := 0, 0
	for l := 1; l <= 15; l++ {
		code |= r.bits(1)
		n := 0
		for _, x := range lengths {
			if x == l {
				n++
			}
		}
		if code-first < n {
			k := code - first
			for s, x := range lengths {
				if x == l {
					if k == 0 {
						return s
					}
					k--
				}
			}
		}
		first = (first + n) << 1
		code <<= 1
	}
	panic(errReference)
}

// checkCode panics unless the lengths form a complete code, or one that is
// allowed to be incomplete.
func checkCode(lengths []int, mayBeEmpty bool) {
	space, n := 0, 0
	for _, l := range lengths {
		if l > 0 {
			space += 1 << (15 - l)
			n++
		}
	}
	if space == 1<<15 || n == 1 && space == 1<<14 || n == 0 && mayBeEmpty {
		return
	}
	panic(errReference)
}

func (r *reference) dynamic() (lit, dist []int) {
	nlit, ndist, npre := r.bits(5)+257, r.bits(5)+1, r.bits(4)+4
	if nlit > 286 || ndist > 30 {
		panic(errReference)
	}
	pre := make([]int, 19)
	for i := range npre {
		pre[[]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[i]] = r.bits(3)
	}
	checkCode(pre, false)
	var all []int
	for len(all) < nlit+ndist {
		s := r.symbol(pre)
		n, v := 1, s
		switch s {
		case 16:
			if len(all) == 0 {
				panic(errReference)
			}
			n, v = 3+r.bits(2), all[len(all)-1]
		case 17:
			n, v = 3+r.bits(3), 0
		case 18:
			n, v = 11+r.bits(7), 0
		}
		for range n {
			all = append(all, v)
		}
	}
	if len(all) > nlit+ndist || all[256] == 0 {
		panic(errReference)
	}
	lit, dist = all[:nlit], all[nlit:]
	checkCode(lit, false)
	checkCode(dist, true)
	return lit, dist
}

func (r *reference) block(window int) {
	r.final = r.final || r.in[r.bit>>3]>>(r.bit&7)&1 == 1
	final, kind := r.bits(1) == 1, r.bits(2)
	r.blocks = append(r.blocks, kind)
	var lit, dist []int
	switch kind {
	case 0:
		r.stored()
	case 1:
		for i := range 288 {
			lit = append(lit, []int{8, 9, 7, 8}[b2i(i >= 144)+b2i(i >= 256)+b2i(i >= 280)])
		}
		for range 32 {
			dist = append(dist, 5)
		}
		r.codes(lit, dist, window)
	case 2:
		lit, dist = r.dynamic()
		r.codes(lit, dist, window)
	default:
		panic(errReference)
	}
	if final {
		r.bit = (r.bit + 7) &^ 7
	}
}

func (r *reference) stored() {
	r.bit = (r.bit + 7) &^ 7
	n, check := r.bits(16), r.bits(16)
	if n != check^0xffff {
		panic(errReference)
	}
	for range n {
		r.out = append(r.out, byte(r.bits(8)))
	}
}

func (r *reference) codes(lit, dist []int, window int) {
	for {
		s := r.symbol(lit)
		if s < 256 {
			r.out = append(r.out, byte(s))
			continue
		}
		if s == 256 {
			return
		}
		if s > 285 {
			panic(errReference)
		}
		n := s - 254
		if s == 285 {
			n = 258
		} else if s >= 265 {
			k := (s - 261) >> 2
			n = 3 + (4+(s-261)&3)<<k + r.bits(k)
		}
		d := r.symbol(dist)
		if d > 29 {
			panic(errReference)
		}
		if d >= 4 {
			k := d>>1 - 1
			d = (2+d&1)<<k + r.bits(k)
		}
		d++
		if d > window || d > len(r.out) {
			panic(errReference)
		}
		r.maxDist = max(r.maxDist, d)
		for range n {
			r.out = append(r.out, r.out[len(r.out)-d])
		}
	}
}

// inflate inflates a message's payload that may refer to the last bytes of
// history, and returns the message.
func (r *reference) inflate(payload, history []byte, window int) (message []byte, err error) {
	defer func() {
		if e := recover(); e != nil {
			if e != errReference {
				panic(e)
			}
			message, err = nil, errReference
		}
	}()
	if len(payload) == 0 {
		return nil, nil
	}
	r.in = append(append([]byte(nil), payload...), 0, 0, 0xff, 0xff)
	r.bit = 0
	r.out = append([]byte(nil), history[max(0, len(history)-window):]...)
	r.valid = len(r.out)
	end, sealed := len(r.in)*8, false
	for {
		if sealed && r.bit == end-32 {
			break
		}
		if r.bit >= end {
			return nil, errReference
		}
		before, at := len(r.out), r.bit
		r.block(window)
		kind, bfinal := r.blocks[len(r.blocks)-1], r.in[at>>3]>>(at&7)&1 == 1
		if kind == 0 && len(r.out) == before && r.bit == end {
			break
		}
		sealed = bfinal
	}
	return r.out[r.valid:], nil
}
