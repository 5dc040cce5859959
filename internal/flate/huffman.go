package flate

import (
	"math/bits"
	"slices"
)

// A huffmanCode is the code of one symbol, lowest bit first as it is written:
// code | length<<16. Zero is a symbol without a code.
type huffmanCode uint32

func (c huffmanCode) size() uint { return uint(c >> 16) }

// A codeBuilder makes the Huffman codes of an alphabet from how often its
// symbols occur. Only symbols that do occur cost time.
type codeBuilder struct {
	keys [maxLitLenSyms]uint32 // frequency<<9 | symbol, ascending
	work [maxLitLenSyms]uint32
}

// build sets the codes of all symbols of freq, none longer than limit bits,
// and the number of symbols of each length is kept so that codes are
// canonical (RFC 1951, Section 3.2.2). At least two symbols must occur.
func (b *codeBuilder) build(codes []huffmanCode, freq []uint16, limit int) {
	n := 0
	for sym, f := range freq {
		codes[sym] = 0
		if f != 0 {
			b.keys[n] = uint32(f)<<9 | uint32(sym)
			n++
		}
	}
	keys := b.keys[:n]
	slices.Sort(keys)
	for i, k := range keys {
		b.work[i] = k >> 9
	}
	var count [32]int
	minimumRedundancy(b.work[:n])
	for _, l := range b.work[:n] {
		count[min(l, 31)]++
	}
	limitLengths(&count, limit)
	i := 0
	for l := limit; l > 0; l-- {
		for range count[l] {
			codes[keys[i]&511] = huffmanCode(l << 16)
			i++
		}
	}
	assignCodes(codes[:len(freq)], &count, limit)
}

// minimumRedundancy replaces ascending frequencies by the lengths of their
// codes, in place (Moffat and Katajainen, 1995). There must be two or more.
func minimumRedundancy(a []uint32) {
	n := len(a)
	a[0] += a[1]
	root, leaf := 0, 2
	for next := 1; next < n-1; next++ {
		if leaf >= n || a[root] < a[leaf] {
			a[next] = a[root]
			a[root] = uint32(next)
			root++
		} else {
			a[next] = a[leaf]
			leaf++
		}
		if leaf >= n || root < next && a[root] < a[leaf] {
			a[next] += a[root]
			a[root] = uint32(next)
			root++
		} else {
			a[next] += a[leaf]
			leaf++
		}
	}
	a[n-2] = 0
	for next := n - 3; next >= 0; next-- {
		a[next] = a[a[next]] + 1
	}
	avail, used, depth := 1, 0, uint32(0)
	root = n - 2
	for next := n - 1; avail > 0; {
		for root >= 0 && a[root] == depth {
			used++
			root--
		}
		for ; avail > used; avail-- {
			a[next] = depth
			next--
		}
		avail, used = 2*used, 0
		depth++
	}
}

// limitLengths shortens the codes longer than limit and lengthens others so
// that the code stays complete.
func limitLengths(count *[32]int, limit int) {
	for l := limit + 1; l < len(count); l++ {
		count[limit] += count[l]
		count[l] = 0
	}
	space := 0
	for l := 1; l <= limit; l++ {
		space += count[l] << (limit - l)
	}
	for ; space > 1<<limit; space-- {
		count[limit]--
		l := limit - 1
		for count[l] == 0 {
			l--
		}
		count[l]--
		count[l+1] += 2
	}
}

// assignCodes gives each symbol with a length its canonical code.
func assignCodes(codes []huffmanCode, count *[32]int, limit int) {
	var next [16]uint16
	code := 0
	for l := 1; l <= limit; l++ {
		next[l] = uint16(code)
		code = (code + count[l]) << 1
	}
	for i, c := range codes {
		if l := c >> 16; l != 0 {
			codes[i] = c | huffmanCode(bits.Reverse16(next[l&15])>>(16-l))
			next[l&15]++
		}
	}
}
