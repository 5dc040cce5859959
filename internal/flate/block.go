package flate

import (
	"math"
	"math/bits"
)

// blockSize is the largest number of bytes of a message in one block.
const blockSize = 1 << 15

// survey appends to list[:n] the symbols in [lo, hi) that occur, and returns the
// new length.
func survey(list, freq []uint16, n, lo, hi int) int {
	for i, f := range freq[lo:hi] {
		list[n] = uint16(lo + i)
		if f != 0 {
			n++
		}
	}
	return n
}

// An encoder is the scratch for compressing a message: the sequences of one
// block, the frequencies of the symbols and the codes made from them. It belongs
// to one call, and no call reads data of another.
type encoder struct {
	bitWriter
	seqs     []sequence
	large    *largeTable // once used
	litFreq  [maxLitLenSyms]uint16
	distFreq [32]uint16 // a masked index into 32 entries needs no bounds check
	preFreq  [32]uint16
	litList  [maxLitLenSyms + 1]uint16
	distList [maxDistSyms + 2]uint16
	preList  [preCodeSyms + 2]uint16
	litUsed  []uint16 // symbols that occur, ascending
	distUsed []uint16
	extra    int                        // extra bits of all matches
	lit      [maxLitLenSyms]huffmanCode // of the symbols that occur; the others are stale
	dist     [32]huffmanCode
	pre      [32]huffmanCode
	builder  codeBuilder
	lengths  [512]uint16 // code lengths as sent: symbol | extra bits<<5
	nlengths uint
	npre     int
}

// fixedLitCodes and fixedDistCodes are the codes of RFC 1951, Section 3.2.6.
var fixedLitCodes, fixedDistCodes = makeFixedCodes()

func makeFixedCodes() (lit [maxLitLenSyms]huffmanCode, dist [32]huffmanCode) {
	for i := range lit {
		code, n := 0x30+i, 8
		switch {
		case i >= 280:
			code = 0xc0 + i - 280
		case i >= 256:
			code, n = i-256, 7
		case i >= 144:
			code, n = 0x190+i-144, 9
		}
		lit[i] = huffmanCode(n<<16) | huffmanCode(bits.Reverse16(uint16(code))>>(16-n))
	}
	for i := range dist {
		dist[i] = huffmanCode(5<<16) | huffmanCode(bits.Reverse8(uint8(i))>>3)
	}
	return lit, dist
}

// logs[n] is n*log2(n) in 1/256 bits.
var logs = makeLogs()

func makeLogs() (t [1024]uint32) {
	for i := 2; i < len(t); i++ {
		t[i] = uint32(math.Round(256 * float64(i) * math.Log2(float64(i))))
	}
	return t
}

// nlogn returns about n*log2(n) in 1/256 bits.
func nlogn(n int) int {
	if n < len(logs) {
		return int(logs[n])
	}
	k := bits.Len(uint(n)) - 10
	return int(logs[n>>k])<<k + n*k<<8
}

// block writes text, which e.seqs encode, as one block in the cheapest of the
// three forms.
func (e *encoder) block(text []byte) {
	e.histogram(text)
	fixed := e.cost(&fixedLitCodes, &fixedDistCodes)
	stored := 32 + 8*len(text) + 7
	dynamic := fixed + 1
	if e.dynamicEstimate() < min(fixed, stored) {
		dynamic = e.buildCodes()
	}
	switch {
	case stored < fixed && stored < dynamic:
		e.writeStored(text)
	case dynamic < fixed:
		e.reserve((dynamic + 3) / 8)
		e.add(dynamicBlock<<1, 3)
		e.writeCodes()
		e.writeSequences(text, &e.lit, &e.dist)
	default:
		e.reserve((fixed + 3) / 8)
		e.add(fixedBlock<<1, 3)
		e.writeSequences(text, &fixedLitCodes, &fixedDistCodes)
	}
}

// histogram counts and lists the symbols of a block.
func (e *encoder) histogram(text []byte) {
	clear(e.litFreq[:])
	clear(e.distFreq[:])
	e.litFreq[endOfBlock] = 1
	extra, all := 0, byte(0)
	for _, s := range e.seqs {
		n := s.literals()
		for _, c := range text[:n] {
			e.litFreq[c]++
			all |= c
		}
		if length := s.length(); length != 0 {
			l, nl, _ := lengthPart(length)
			d, nd, _ := distPart(s.dist())
			e.litFreq[endOfBlock+1+l]++
			e.distFreq[d%32]++
			extra += int(nl + nd)
			n += length
		}
		text = text[n:]
	}
	e.extra = extra
	n := survey(e.litList[:], e.litFreq[:], 0, 0, 128)
	if all >= 128 {
		n = survey(e.litList[:], e.litFreq[:], n, 128, 256)
	}
	n = survey(e.litList[:], e.litFreq[:], n, 256, maxLitLenSyms)
	e.litUsed = e.litList[:n]
	e.distUsed = e.distList[:survey(e.distList[:], e.distFreq[:], 0, 0, maxDistSyms)]
}

// cost returns the size in bits of the block's symbols in the given codes.
func (e *encoder) cost(lit *[maxLitLenSyms]huffmanCode, dist *[32]huffmanCode) int {
	n := e.extra
	for _, i := range e.litUsed {
		n += int(e.litFreq[i]) * int(lit[i].size())
	}
	for _, i := range e.distUsed {
		n += int(e.distFreq[i]) * int(dist[i].size())
	}
	return n
}

// dynamicEstimate estimates the size in bits of the block with dynamic codes,
// from the entropy of its symbols.
func (e *encoder) dynamicEstimate() int {
	total, sum := 0, 0
	for _, i := range e.litUsed {
		total += int(e.litFreq[i])
		sum -= nlogn(int(e.litFreq[i]))
	}
	sum += nlogn(total)
	total = 0
	for _, i := range e.distUsed {
		total += int(e.distFreq[i])
		sum -= nlogn(int(e.distFreq[i]))
	}
	sum += nlogn(total)
	return sum>>8 + e.extra + 3*(len(e.litUsed)+len(e.distUsed)) + 40
}

// buildCodes makes the codes of the block and returns its cost in bits.
func (e *encoder) buildCodes() int {
	e.distUsed = atLeastTwo(e.distFreq[:], e.distUsed)
	e.builder.build(e.lit[:], e.litFreq[:], e.litUsed, maxCodeLen)
	e.builder.build(e.dist[:], e.distFreq[:], e.distUsed, maxCodeLen)
	return e.buildPreCodes() + e.cost(&e.lit, &e.dist)
}

// atLeastTwo returns used with symbols added until it has two, so that their
// code is complete.
func atLeastTwo(freq, used []uint16) []uint16 {
	if len(used) >= 2 {
		return used
	}
	for i := 0; len(used) < 2; i++ {
		if freq[i] == 0 {
			freq[i] = 1
			used = append(used, uint16(i))
		}
	}
	if used[0] > used[1] {
		used[0], used[1] = used[1], used[0]
	}
	return used
}

// buildPreCodes turns the lengths of the codes into the symbols of
// RFC 1951, Section 3.2.7, makes their codes, and returns the header's cost in
// bits.
func (e *encoder) buildPreCodes() int {
	clear(e.preFreq[:])
	e.nlengths = 0
	last, run, next := 0, 0, 0
	for _, sym := range e.litUsed {
		last, run = e.addCodes(last, run, int(sym)-next, int(e.lit[sym].size()))
		next = int(sym) + 1
	}
	next = 0
	for _, sym := range e.distUsed {
		last, run = e.addCodes(last, run, int(sym)-next, int(e.dist[sym].size()))
		next = int(sym) + 1
	}
	e.addRun(last, run)
	used := e.preList[:survey(e.preList[:], e.preFreq[:], 0, 0, preCodeSyms)]
	used = atLeastTwo(e.preFreq[:], used)
	clear(e.pre[:])
	e.builder.build(e.pre[:], e.preFreq[:], used, maxPreCodeLen)
	e.npre = preCodeSyms
	for e.pre[preCodeOrder[e.npre-1]] == 0 {
		e.npre--
	}
	n := 14 + 3*e.npre + int(e.preFreq[16])*2 + int(e.preFreq[17])*3 + int(e.preFreq[18])*7
	for _, i := range used {
		n += int(e.preFreq[i]) * int(e.pre[i].size())
	}
	return n
}

// addCodes adds to a sequence that ends with run times last the lengths of gap
// symbols without a code and of one symbol with a code of length bits. It
// returns the new last and run.
func (e *encoder) addCodes(last, run, gap, length int) (int, int) {
	if gap > 0 {
		if last != 0 {
			e.addRun(last, run)
			run = 0
		}
		last = 0
		run += gap
	}
	if length != last {
		e.addRun(last, run)
		run = 0
	}
	return length, run + 1
}

// addRun adds run equal code lengths to e.lengths.
func (e *encoder) addRun(length, run int) {
	if length == 0 {
		for ; run >= 11; run -= min(run, 138) {
			e.addLength(18, min(run, 138)-11)
		}
		if run >= 3 {
			e.addLength(17, run-3)
			run = 0
		}
	} else if run > 0 {
		e.addLength(length, 0)
		for run--; run >= 3; run -= min(run, 6) {
			e.addLength(16, min(run, 6)-3)
		}
	}
	for ; run > 0; run-- {
		e.addLength(length, 0)
	}
}

func (e *encoder) addLength(sym, extra int) {
	e.preFreq[sym]++
	e.lengths[e.nlengths%uint(len(e.lengths))] = uint16(sym | extra<<5)
	e.nlengths++
}

// preExtra holds the number of extra bits after each symbol of the code lengths.
var preExtra = [32]uint8{16: 2, 17: 3, 18: 7}

// writeCodes writes the header made by buildCodes.
func (e *encoder) writeCodes() {
	const room = 64 - maxPreCodeLen - 7 - 1 // bits that leave space for a symbol
	w := e.bitWriter
	nlit, ndist := int(e.litUsed[len(e.litUsed)-1])+1, int(e.distUsed[len(e.distUsed)-1])+1
	w.add(uint64(nlit-257|(ndist-1)<<5|(e.npre-4)<<10), 14)
	for _, sym := range preCodeOrder[:e.npre] {
		if w.n > room {
			w.flush()
		}
		w.add(uint64(e.pre[sym].size()), 3)
	}
	for _, l := range e.lengths[:e.nlengths] {
		if w.n > room {
			w.flush()
		}
		c := e.pre[l&31]
		w.add(uint64(c&0xffff)|uint64(l>>5)<<(c.size()&63), c.size()+uint(preExtra[l&31]))
	}
	w.flush()
	e.bitWriter = w
}

// writeSequences writes the block's symbols and its end.
func (e *encoder) writeSequences(text []byte, lit *[maxLitLenSyms]huffmanCode, dist *[32]huffmanCode) {
	w := e.bitWriter
	for _, s := range e.seqs {
		n := s.literals()
		run := text[:n]
		for len(run) >= 3 {
			a, b, c := lit[run[0]], lit[run[1]], lit[run[2]]
			w.add(uint64(a&0xffff), a.size())
			w.add(uint64(b&0xffff), b.size())
			w.add(uint64(c&0xffff), c.size())
			w.flush()
			run = run[3:]
		}
		for _, b := range run {
			c := lit[b]
			w.add(uint64(c&0xffff), c.size())
		}
		w.flush()
		if length := s.length(); length != 0 {
			sym, nextra, extra := lengthPart(length)
			c := lit[endOfBlock+1+sym]
			w.add(uint64(c&0xffff)|extra<<(c.size()&63), c.size()+nextra)
			sym, nextra, extra = distPart(s.dist())
			c = dist[sym%32]
			w.add(uint64(c&0xffff)|extra<<(c.size()&63), c.size()+nextra)
			w.flush()
			n += length
		}
		text = text[n:]
	}
	c := lit[endOfBlock]
	w.add(uint64(c&0xffff), c.size())
	w.flush()
	e.bitWriter = w
}

// writeStored writes text, at most 65535 bytes, in a stored block.
func (e *encoder) writeStored(text []byte) {
	e.reserve(len(text) + 6)
	e.add(storedBlock<<1, 3)
	e.align()
	n := uint64(len(text))
	e.add(n|(n^0xffff)<<16, 32)
	e.flush()
	e.bytes(text)
}
