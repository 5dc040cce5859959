package flate

import (
	"bytes"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/internal/utf8stream"
)

// A bomb is a payload of few bytes that inflates to many.
type bomb struct {
	name             string
	payload, message []byte
}

// bombSize is how many bytes a bomb inflates to, about: the limit of a message
// in a server's default configuration.
const bombSize = 1 << 20

// newBomb returns a bomb that is pattern, and then nothing but matches of the
// given length at a distance of len(pattern), about size bytes in all. It has two
// bits for each match, and the extra bits of its length and distance.
func newBomb(pattern []byte, length, size int) bomb {
	s := new(bitString).put(2, 3)
	for _, c := range pattern {
		s.code(fixedLengths(), int(c))
	}
	s.code(fixedLengths(), endOfBlock)
	l, d := symbolOf(lengthBase[:], length), symbolOf(distBase[:], len(pattern))
	lit, dist := lengthsOf(endOfBlock+2+l, endOfBlock, 1, endOfBlock+1+l, 1), lengthsOf(d+1, d, 1)
	s.dynamic(lit, dist)
	matches := size / length
	for range matches {
		s.code(lit, endOfBlock+1+l).put(length-int(lengthBase[l]), int(lengthExtra[l]))
		s.code(dist, d).put(len(pattern)-int(distBase[d]), int(distExtra[d]))
	}
	size = len(pattern) + matches*length
	return bomb{
		name:    fmt.Sprintf("matches of %d at distance %d", length, len(pattern)),
		payload: s.code(lit, endOfBlock).ended(),
		message: bytes.Repeat(pattern, size/len(pattern)+1)[:size],
	}
}

// symbolOf returns the last symbol whose values begin at or below v.
func symbolOf[N uint8 | uint16](bases []N, v int) int {
	i := len(bases) - 1
	for int(bases[i]) > v {
		i--
	}
	return i
}

// distances are those of the bombs: all that are shorter than a few words, and
// some of the next.
func distances() (all []int) {
	for d := 1; d <= 40; d++ {
		all = append(all, d)
	}
	return append(all, 48, 63, 64, 65, 128, 512, 30000)
}

// patternOf returns n different bytes.
func patternOf(n int) (p []byte) {
	for i := range n {
		p = append(p, byte(i*167+1))
	}
	return p
}

func TestBombsInflate(t *testing.T) {
	covers(t, "Q.M08")
	for _, length := range []int{3, 4, 8, 16, 17, 31, 64, 257, 258} {
		for _, d := range distances() {
			b := newBomb(patternOf(d), length, 5000)
			whole, parts := NewDecompressor(15, Takeover), NewDecompressor(15, Takeover)
			if got, err := whole.Append(nil, b.payload, noLimit); err != nil || !bytes.Equal(got, b.message) {
				t.Errorf("%s: %d bytes, %v", b.name, len(got), err)
			}
			if got, err := inflateParts(&parts, b.payload, 1000, 30, 100, 101, 102, 103, 104); err != nil || !bytes.Equal(got, b.message) {
				t.Errorf("%s in parts: %d bytes, %v", b.name, len(got), err)
			}
		}
	}
}

// duel compares the inflating of b with compress/flate's.
func (b bomb) duel() (ns, factor float64) {
	c, in := corpus{b.name, [][]byte{b.message}}, [][]byte{b.payload}
	ns, factor, _, _ = duel(1, ourInflate(in, NoTakeover), theirInflate(c, in, NoTakeover))
	return ns, factor
}

// TestBombBars prints how many times faster than compress/flate bombs of each
// distance inflate:
//
//	go test ./internal/flate -run TestBombBars -v -bars
func TestBombBars(t *testing.T) {
	if !*bars {
		t.Skip("no -bars")
	}
	lengths := []int{258, 64, 16, 4}
	fmt.Printf("| %8s |", "distance")
	for _, n := range lengths {
		fmt.Printf(" %9d |", n)
	}
	fmt.Println()
	for _, d := range distances() {
		fmt.Printf("| %8d |", d)
		for _, n := range lengths {
			_, factor := newBomb(patternOf(d), n, bombSize).duel()
			fmt.Printf(" %9.2f |", factor)
		}
		fmt.Println()
	}
}

// runes returns a text of n different runes of the given length.
func runes(n, length int) (text []byte) {
	first := []rune{2: 0x400, 3: 0x4e00, 4: 0x1f600}[length]
	for i := range n {
		text = utf8.AppendRune(text, first+rune(i))
	}
	return text
}

// checked inflates b and checks that it is UTF-8, which it is.
func (b bomb) checked() contender {
	buf, d := make([]byte, 0, 2<<20), NewDecompressor(15, NoTakeover)
	return func() int {
		var v utf8stream.Validator
		out, err := d.Append(buf, b.payload, 2<<20)
		if err != nil || !v.Accept(out) || !v.Complete() {
			panic("bomb is not text")
		}
		return len(out)
	}
}

// TestTextBombBars prints how many times faster than compress/flate and utf8.Valid
// bombs of text inflate and are found to be UTF-8, and how many times faster than
// compress/flate alone:
//
//	go test ./internal/flate -run TestTextBombBars -v -bars
func TestTextBombBars(t *testing.T) {
	if !*bars {
		t.Skip("no -bars")
	}
	fmt.Printf("| %4s | %8s | %9s | %6s | %6s |\n", "rune", "distance", "ns", "factor", "alone")
	for length := 2; length <= utf8.UTFMax; length++ {
		for _, n := range []int{1, 2, 3, 4, 5, 8, 16, 40} {
			b := newBomb(runes(n, length), 258/length*length, bombSize)
			in := [][]byte{b.payload}
			theirs := theirInflate(corpus{b.name, [][]byte{b.message}}, in, NoTakeover)
			ns, factor, _, _ := duel(1, b.checked(), func() int {
				k := theirs()
				if !utf8.Valid(b.message) {
					panic("bomb is not text")
				}
				return k
			})
			_, alone, _, _ := duel(1, b.checked(), theirs)
			fmt.Printf("| %4d | %8d | %9.0f | %6.2f | %6.2f |\n", length, n*length, ns, factor, alone)
		}
	}
}
