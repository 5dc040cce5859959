package flate

import (
	"math/bits"
	"slices"
)

// A huffmanCode is the code of one symbol, lowest bit first as it is written:
// code | length<<16. Zero means that the symbol has no code.
type huffmanCode uint32

func (c huffmanCode) size() uint { return uint(c >> 16) }

// A codeBuilder makes the Huffman codes of an alphabet from the frequencies of
// its symbols. Only symbols that occur cost time.
type codeBuilder struct {
	keys [maxLitLenSyms]uint32 // frequency<<9 | symbol, ascending
	work [maxLitLenSyms]uint32
}

// build sets the codes of the used symbols, which are given in ascending order.
// The codes are canonical (RFC 1951, Section 3.2.2) and at most limit bits long.
// At least two symbols must be used.
func (b *codeBuilder) build(codes []huffmanCode, freq, used []uint16, limit int) {
	keys := b.sort(freq, used)
	work := b.work[:len(keys)]
	for i, k := range keys {
		work[i] = k >> 9
	}
	var count [32]int
	minimumRedundancy(work)
	for _, l := range work {
		count[l&31]++
	}
	limitLengths(&count, limit)
	i := 0
	for l := limit; l > 0; l-- {
		for range count[l] {
			codes[keys[i]&511] = huffmanCode(l << 16)
			i++
		}
	}
	assignCodes(codes, used, &count, limit)
}

// sort returns the keys of the used symbols. Most frequencies are small and
// are sorted by counting; the few others follow.
func (b *codeBuilder) sort(freq, used []uint16) []uint32 {
	const frequent = 64
	var at [frequent + 1]uint16
	top := uint16(0)
	for _, sym := range used {
		f := min(freq[sym], frequent)
		top = max(top, f)
		at[f]++
	}
	next := uint16(0)
	for i, n := range at[:top+1] {
		at[i] = next
		next += n
	}
	keys := b.keys[:len(used)]
	first := len(keys)
	if top == frequent {
		first = int(at[frequent])
	}
	for _, sym := range used {
		f := freq[sym]
		i := at[min(f, frequent)]
		at[min(f, frequent)]++
		keys[i] = uint32(f)<<9 | uint32(sym)
	}
	if len(keys)-first > 1 {
		slices.Sort(keys[first:])
	}
	return keys
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

// assignCodes gives each used symbol its canonical code.
func assignCodes(codes []huffmanCode, used []uint16, count *[32]int, limit int) {
	var next [16]uint16
	code := 0
	for l := 1; l <= limit; l++ {
		next[l] = uint16(code)
		code = (code + count[l]) << 1
	}
	for _, sym := range used {
		l := codes[sym] >> 16
		codes[sym] |= huffmanCode(bits.Reverse16(next[l&15]) >> (16 - l))
		next[l&15]++
	}
}
