package flate

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stdDeflate compresses messages with compress/flate, with the history kept
// between them, and returns their payloads.
func stdDeflate(t testing.TB, level int, messages ...[]byte) [][]byte {
	t.Helper()
	var b bytes.Buffer
	w, err := stdflate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, m := range messages {
		b.Reset()
		w.Write(m)
		w.Flush()
		out = append(out, append([]byte(nil), b.Bytes()[:b.Len()-4]...))
	}
	return out
}

// inflateParts inflates payload cut at the given positions, and checks that no
// call exceeds its room.
func inflateParts(d *Decompressor, payload []byte, room int, cuts ...int) (message []byte, err error) {
	from := 0
	buf := make([]byte, 0, min(room, 4096))
	for _, to := range append(cuts, len(payload)) {
		part := append([]byte(nil), payload[from:to]...)
		from = to
		for {
			out, n, err := d.AppendPart(buf[:0], part, room)
			if len(out) > room {
				return nil, fmt.Errorf("%d bytes in a room of %d", len(out), room)
			}
			message = append(message, out...)
			part = part[n:]
			if err == nil && len(part) != 0 {
				return nil, fmt.Errorf("%d bytes left over", len(part))
			}
			if err == nil {
				break
			}
			if err != ErrTooLong {
				return nil, err
			}
			if len(out) != room {
				return nil, fmt.Errorf("ErrTooLong after %d bytes of %d", len(out), room)
			}
		}
	}
	for {
		out, err := d.Finish(buf[:0], room)
		message = append(message, out...)
		if err != ErrTooLong {
			return message, err
		}
	}
}

const noLimit = 1 << 30

var rfcExamples = []struct{ name, payloads, messages string }{
	{"7.2.3.1 one block", "f248cdc9c90700", "Hello"},
	{"7.2.3.2 shared window", "f248cdc9c90700 f200110000", "Hello Hello"},
	{"7.2.3.3 no compression", "000500faff48656c6c6f00", "Hello"},
	{"7.2.3.4 BFINAL", "f348cdc9c9070000", "Hello"},
	{"7.2.3.5 two blocks", "f24805000000ffffcac9c90700", "Hello"},
	{"7.2.3.6 empty", "00", ""},
	{"empty fixed block", "0200", ""},
	{"BFINAL and window", "f348cdc9c9070000 f200110000", "Hello Hello"},
	{"BFINAL, then more", "f3480500cac9c90700", "Hello"},
	{"BFINAL at the end", "f348cdc9c90700", "Hello"},
	{"window after an empty message", "f248cdc9c90700 00 f200110000", "Hello  Hello"},
	{"window after no payload", "f248cdc9c90700  f200110000", "Hello  Hello"},
}

func TestExamples(t *testing.T) {
	covers(t, "Z09", "Z10", "Z11", "Z12", "Z13", "Q.E05", "Q.E06", "Q.E07")
	for _, x := range rfcExamples {
		t.Run(x.name, func(t *testing.T) {
			whole, parts := NewDecompressor(15, Takeover), NewDecompressor(15, Takeover)
			messages := bytes.Split([]byte(x.messages), []byte(" "))
			for i, s := range bytes.Split([]byte(x.payloads), []byte(" ")) {
				payload := unhex(t, string(s))
				got, err := whole.Append(nil, payload, len(messages[i]))
				if err != nil || !bytes.Equal(got, messages[i]) {
					t.Fatalf("whole: %q, %v", got, err)
				}
				var cuts []int
				for c := range len(payload) {
					cuts = append(cuts, c)
				}
				got, err = inflateParts(&parts, payload, 1, cuts...)
				if err != nil || !bytes.Equal(got, messages[i]) {
					t.Fatalf("parts: %q, %v", got, err)
				}
			}
		})
	}
}

// traps are invalid payloads, each with the fault it must yield.
var traps = []struct {
	name, payload string
	want          fault
}{
	{"reserved block type", "07", badBlockType},
	{"all ones", "ffffffff", badBlockType},
	{"distance in the first message", "f200110000", badDistance},
	{"cut fixed block", "f248cd", cutShort},
	{"stored length", "000500fbff48656c6c6f00", badStoredLength},
	{"stored block takes the tail", "000800f7ff48656c6c", cutShort},
	{"stored block touches the tail", "000400fbff", cutShort},
	{"garbage after BFINAL", "f348cdc9c9070007", badBlockType},
	{"only a header", "02", cutShort},
	{"tail sent", "f248cdc9c907000000ffff", cutShort},
}

func TestTraps(t *testing.T) {
	covers(t, "Z14", "Q.E04", "Q.E05")
	for _, x := range traps {
		t.Run(x.name, func(t *testing.T) { checkTrap(t, unhex(t, x.payload), x.want) })
	}
}

// checkTrap checks that payload fails with want, whole and byte by byte, that
// dst is not extended, and that the error stays.
func checkTrap(t *testing.T, payload []byte, want fault) {
	t.Helper()
	d := NewDecompressor(15, Takeover)
	got, err := d.Append([]byte("before"), payload, noLimit)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || string(got) != "before" {
		t.Fatalf("%q, %v", got, err)
	}
	if corrupt.Text != faultTexts[want] {
		t.Errorf("%v, want %s", err, faultTexts[want])
	}
	if corrupt.Offset > int64(len(payload)+4) {
		t.Errorf("offset %d of %d", corrupt.Offset, len(payload))
	}
	if _, again := d.Append(nil, unhex(t, "00"), noLimit); again != err {
		t.Errorf("then %v", again)
	}
	if _, _, again := d.AppendPart(nil, nil, 1); again != err {
		t.Errorf("then %v", again)
	}
	if _, again := d.Finish(nil, 1); again != err {
		t.Errorf("then %v", again)
	}
	p := NewDecompressor(15, Takeover)
	cuts := make([]int, len(payload))
	for i := range cuts {
		cuts[i] = i
	}
	if _, err := inflateParts(&p, payload, noLimit, cuts...); !errors.As(err, &corrupt) || corrupt.Text != faultTexts[want] {
		t.Errorf("in parts: %v, want %s", err, faultTexts[want])
	}
}

// A bitString writes the bits of blocks made by hand.
type bitString struct {
	b []byte
	n int
}

func (s *bitString) put(v, n int) *bitString {
	for i := range n {
		if s.n&7 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n>>3] |= byte(v>>i&1) << (s.n & 7)
		s.n++
	}
	return s
}

// code writes a canonical code, highest bit first.
func (s *bitString) code(lengths []int, sym int) *bitString {
	code := 0
	for l := 1; l <= lengths[sym]; l++ {
		code <<= 1
		for i, x := range lengths {
			if x == l && (l < lengths[sym] || i < sym) {
				code++
			}
		}
	}
	for i := lengths[sym] - 1; i >= 0; i-- {
		s.put(code>>i&1, 1)
	}
	return s
}

// dynamic writes the header of a dynamic block whose code lengths are sent
// one by one in codes of 5 bits or less.
func dynamic(lit, dist []int) *bitString { return new(bitString).dynamic(lit, dist) }

// dynamic writes that header behind what s has.
func (s *bitString) dynamic(lit, dist []int) *bitString {
	s.put(0, 1).put(2, 2)
	s.put(len(lit)-257, 5).put(len(dist)-1, 5).put(15, 4)
	pre := []int{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5}
	for _, i := range preCodeOrder {
		s.put(pre[i], 3)
	}
	for _, l := range append(append([]int(nil), lit...), dist...) {
		s.code(pre, l)
	}
	return s
}

// lengthsOf returns n code lengths, all 0 except those in the pairs symbol,
// length.
func lengthsOf(n int, pairs ...int) []int {
	l := make([]int, n)
	for i := 0; i < len(pairs); i += 2 {
		l[pairs[i]] = pairs[i+1]
	}
	return l
}

// ended returns the payload with the header of an empty stored block appended.
func (s *bitString) ended() []byte { return s.put(0, 3).b }

func TestCodeTraps(t *testing.T) {
	covers(t, "Z14", "Q.E04")
	lit := lengthsOf(258, 'a', 2, 'b', 2, 256, 2, 257, 2)
	rows := []struct {
		name    string
		payload []byte
		want    fault
	}{
		{"HLIT 287", dynamic(lengthsOf(287, 0, 1, 256, 1), lengthsOf(1)).ended(), badCodeCount},
		{"HDIST 31", dynamic(lit, lengthsOf(31)).ended(), badCodeCount},
		{"no end of block", dynamic(lengthsOf(257, 'a', 1, 'b', 1), lengthsOf(1)).ended(), noEndOfBlock},
		{"over-subscribed literals", dynamic(lengthsOf(257, 'a', 1, 'b', 1, 256, 1), lengthsOf(1)).ended(), badCode},
		{"incomplete literals", dynamic(lengthsOf(257, 'a', 1, 256, 2), lengthsOf(1)).ended(), badCode},
		{"one literal of 2 bits", dynamic(lengthsOf(257, 256, 2), lengthsOf(1)).ended(), badCode},
		{"over-subscribed distances", dynamic(lit, lengthsOf(3, 0, 1, 1, 1, 2, 1)).ended(), badCode},
		{"incomplete distances", dynamic(lit, lengthsOf(2, 0, 2, 1, 2)).ended(), badCode},
		{"one distance of 2 bits", dynamic(lit, lengthsOf(1, 0, 2)).ended(), badCode},
		{"length without distances", dynamic(lit, lengthsOf(1)).code(lit, 'a').code(lit, 257).put(0, 1).code(lit, 256).ended(), badSymbol},
		{"free half of one distance", dynamic(lit, lengthsOf(1, 0, 1)).code(lit, 'a').code(lit, 257).put(1, 1).code(lit, 256).ended(), badSymbol},
		{"free half of one literal", dynamic(lengthsOf(257, 256, 1), lengthsOf(1)).put(1, 1).ended(), badSymbol},
		{"repeat of nothing", new(bitString).put(4, 3).put(0, 10).put(15, 4).put(1, 3).put(0, 16*3).put(1, 3).put(0, 3).put(1, 1).put(0, 60).ended(), badRepeat},
		{"repeat over the end", new(bitString).put(4, 3).put(0, 10).put(15, 4).put(0, 6).put(1, 3).put(0, 14*3).put(1, 3).put(0, 3).put(1, 1).put(127, 7).put(1, 1).put(127, 7).ended(), badRepeat},
		{"no code of code lengths", new(bitString).put(4, 3).put(0, 14).put(0, 19*3).ended(), badCode},
		{"over-subscribed code lengths", new(bitString).put(4, 3).put(0, 14).put(1, 3).put(1, 3).put(1, 3).put(0, 60).ended(), badCode},
		{"fixed 286", new(bitString).put(2, 3).code(fixedLengths(), 286).put(0, 20).ended(), badSymbol},
		{"fixed 287", new(bitString).put(2, 3).code(fixedLengths(), 287).put(0, 20).ended(), badSymbol},
		{"fixed distance 30", new(bitString).put(2, 3).code(fixedLengths(), 'a').code(fixedLengths(), 257).put(0xf, 5).put(0, 20).ended(), badSymbol},
		{"fixed distance 31", new(bitString).put(2, 3).code(fixedLengths(), 'a').code(fixedLengths(), 257).put(0x1f, 5).put(0, 20).ended(), badSymbol},
	}
	for _, x := range rows {
		t.Run(x.name, func(t *testing.T) {
			if _, err := new(reference).inflate(x.payload, nil, 1<<15); err == nil {
				t.Fatal("the reference accepts it")
			}
			checkTrap(t, x.payload, x.want)
		})
	}
}

func fixedLengths() (l []int) {
	for i := range 288 {
		l = append(l, []int{8, 9, 7, 8}[b2i(i >= 144)+b2i(i >= 256)+b2i(i >= 280)])
	}
	return l
}

func TestLegalCodes(t *testing.T) {
	covers(t, "Z09")
	lit := lengthsOf(258, 'a', 2, 'b', 2, 256, 2, 257, 2)
	rows := []struct {
		name    string
		payload []byte
		want    string
	}{
		{"no distance", dynamic(lit, lengthsOf(1)).code(lit, 'a').code(lit, 256).ended(), "a"},
		{"one distance", dynamic(lit, lengthsOf(1, 0, 1)).code(lit, 'a').code(lit, 257).put(0, 1).code(lit, 256).ended(), "aaaa"},
		{"only an end", dynamic(lengthsOf(257, 256, 1), lengthsOf(1)).put(0, 1).ended(), ""},
	}
	for _, x := range rows {
		t.Run(x.name, func(t *testing.T) {
			d := NewDecompressor(15, NoTakeover)
			if got, err := d.Append(nil, x.payload, noLimit); err != nil || string(got) != x.want {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// randomMessage returns text-like or random bytes of a random length.
func randomMessage(r *rand.Rand, most int) []byte {
	m := make([]byte, r.IntN(most+1))
	switch kind := r.IntN(4); kind {
	case 0:
		for i := range m {
			m[i] = byte(r.Uint32())
		}
	case 1:
		for i := range m {
			m[i] = "abcdefgh"[r.IntN(8)]
		}
	default:
		words := make([][]byte, 40)
		for i := range words {
			words[i] = make([]byte, 1+r.IntN(30*kind-50))
			for j := range words[i] {
				words[i][j] = byte('a' + r.IntN(26))
			}
		}
		for b := m; len(b) > 0; {
			b = b[copy(b, words[r.IntN(len(words))]):]
		}
	}
	return m
}

func TestInflateStdlib(t *testing.T) {
	covers(t, "Z04", "Z09", "Z10", "Q.E07")
	r := rand.New(rand.NewPCG(1, 2))
	rounds := 300
	if testing.Short() || raceEnabled {
		rounds = 30
	}
	for round := range rounds {
		var messages [][]byte
		for range 1 + r.IntN(5) {
			messages = append(messages, randomMessage(r, []int{20, 300, 3000, 70000}[r.IntN(4)]))
		}
		level := []int{-2, 0, 1, 2, 5, 6, 9}[r.IntN(7)]
		whole, parts := NewDecompressor(15, Takeover), NewDecompressor(15, Takeover)
		for i, payload := range stdDeflate(t, level, messages...) {
			got, err := whole.Append([]byte("x"), payload, len(messages[i]))
			if err != nil || !bytes.Equal(got[1:], messages[i]) || got[0] != 'x' {
				t.Fatalf("round %d level %d message %d of %d bytes: %v", round, level, i, len(messages[i]), err)
			}
			got, err = inflateParts(&parts, payload, 1+r.IntN(3000), randomCuts(r, len(payload))...)
			if err != nil || !bytes.Equal(got, messages[i]) {
				t.Fatalf("round %d level %d message %d of %d bytes in parts: %v", round, level, i, len(messages[i]), err)
			}
		}
	}
}

// randomCuts returns ascending positions in a slice of n bytes.
func randomCuts(r *rand.Rand, n int) (cuts []int) {
	step := 1 + r.IntN(1+[]int{2, 40, 1000, 10000}[r.IntN(4)])
	for at := 0; len(cuts) < 500; cuts = append(cuts, at) {
		if at += r.IntN(step + 1); at > n {
			break
		}
	}
	return cuts
}

func TestEverySplit(t *testing.T) {
	covers(t, "Z04")
	r := rand.New(rand.NewPCG(3, 4))
	m := randomMessage(r, 0)
	for len(m) < 700 {
		m = append(m, randomMessage(r, 300)...)
	}
	for _, level := range []int{0, 1, 6, -2} {
		payload := stdDeflate(t, level, m)[0]
		for cut := range payload {
			d := NewDecompressor(15, NoTakeover)
			got, err := inflateParts(&d, payload, noLimit, cut)
			if err != nil || !bytes.Equal(got, m) {
				t.Fatalf("level %d cut at %d: %v", level, cut, err)
			}
		}
	}
}

func TestTruncated(t *testing.T) {
	covers(t, "Z14", "Q.E04")
	m := randomMessage(rand.New(rand.NewPCG(5, 6)), 2000)
	for _, level := range []int{0, 1, 6, -2} {
		payload := stdDeflate(t, level, m)[0]
		for n := 1; n < len(payload); n++ {
			want, refErr := new(reference).inflate(payload[:n], nil, 1<<15)
			d, p := NewDecompressor(15, NoTakeover), NewDecompressor(15, NoTakeover)
			got, err := d.Append(nil, payload[:n], noLimit)
			if (err == nil) != (refErr == nil) || !bytes.Equal(got, want) {
				t.Fatalf("level %d cut to %d of %d: %v, reference %v", level, n, len(payload), err, refErr)
			}
			if _, err := inflateParts(&p, payload[:n], noLimit, n/2); (err == nil) != (refErr == nil) {
				t.Fatalf("level %d cut to %d of %d in parts: %v", level, n, len(payload), err)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	covers(t, "Z15", "Q.E01", "Q.E02")
	for _, size := range []int{1, 2, 100, 257, 258, 259, 600, 5000, 1 << 20} {
		for _, fill := range []string{"a", "abc", "some longer text that repeats"} {
			m := bytes.Repeat([]byte(fill), size/len(fill)+1)[:size]
			payload := stdDeflate(t, 6, m)[0]
			for _, spare := range []int{0, 1, 4096} {
				d := NewDecompressor(15, NoTakeover)
				if got, err := d.Append(make([]byte, 0, spare), payload, size); err != nil || !bytes.Equal(got, m) {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if got, err := d.Append(make([]byte, 0, spare), payload, size-1); err != ErrTooLong || len(got) != 0 {
					t.Fatalf("%d bytes, limit less 1: %v", size, err)
				}
			}
		}
	}
}

// TestExactBuffer inflates into slices whose capacity is that of the message.
func TestExactBuffer(t *testing.T) {
	for _, size := range []int{1, 100, 257, 258, 600, 5000} {
		m := bytes.Repeat([]byte("some text that repeats, "), size)[:size]
		payload := stdDeflate(t, 6, m)[0]
		d, buf := NewDecompressor(15, NoTakeover), make([]byte, size)
		got, err := d.Append(buf[:0], payload, noLimit)
		if err != nil || !bytes.Equal(got, m) || &got[0] != &buf[0] {
			t.Errorf("%d bytes: %v, moved %v", size, err, &got[0] != &buf[0])
		}
	}
}

func TestBombMemory(t *testing.T) {
	covers(t, "Z15", "Q.E01")
	payload := stdDeflate(t, 9, make([]byte, 64<<20))[0]
	const limit = 1 << 20
	d := NewDecompressor(15, NoTakeover)
	newInflater(&d.recent).release() // allocate it beforehand
	least := uint64(math.MaxUint64)
	for range 5 { // the rest of the program may allocate now and then
		d.err = nil
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Append(nil, payload, limit)
		runtime.ReadMemStats(&after)
		if err != ErrTooLong {
			t.Fatal(err)
		}
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	if least > 6*limit { // its growth adds up; under the race detector it is copied once more
		t.Errorf("a bomb takes %d bytes", least)
	}
}

func TestEmptyBlocks(t *testing.T) {
	covers(t, "Q.E03")
	empty := new(bitString)
	block := dynamic(lengthsOf(257, 256, 1), lengthsOf(1)).put(0, 1)
	for range 8 {
		for i := range block.n {
			empty.put(int(block.b[i>>3]>>(i&7)&1), 1)
		}
	}
	for name, unit := range map[string][]byte{
		"stored":  {0, 0, 0, 0xff, 0xff},
		"fixed":   new(bitString).put(2, 3).put(0, 7).put(2, 3).put(0, 7).put(2, 3).put(0, 7).put(2, 3).put(0, 7).b,
		"dynamic": empty.b,
	} {
		t.Run(name, func(t *testing.T) {
			payload := append(bytes.Repeat(unit, 2000), 0)
			d := NewDecompressor(15, NoTakeover)
			if got, err := d.Append(nil, payload, 0); err != nil || len(got) != 0 {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	covers(t, "Q.E08")
	for w := 8; w <= 15; w++ {
		size := 1 << w
		unit := make([]byte, size)
		for i := range unit {
			unit[i] = byte(rand.Uint32())
		}
		at := func(dist int) []byte {
			s := new(bitString).put(2, 3).code(fixedLengths(), 257)
			sym := 0
			for sym < 29 && int(distBase[sym+1]) <= dist {
				sym++
			}
			for i := 4; i >= 0; i-- {
				s.put(sym>>i&1, 1)
			}
			return s.put(dist-int(distBase[sym]), int(distExtra[sym])).code(fixedLengths(), 256).ended()
		}
		stored := stdDeflate(t, 0, unit)[0]
		for name, x := range map[string]struct {
			context Context
			dist    int
			ok      bool
		}{
			"window":           {Takeover, size, true},
			"beyond":           {Takeover, size + 1, false},
			"without takeover": {NoTakeover, 1, false},
		} {
			d := NewDecompressor(w, x.context)
			if _, err := d.Append(nil, stored, noLimit); err != nil {
				t.Fatal(err)
			}
			if x.dist > 1<<15 {
				continue
			}
			got, err := d.Append(nil, at(x.dist), noLimit)
			if (err == nil) != x.ok {
				t.Errorf("window %d %s: %v", w, name, err)
			}
			if x.ok && !bytes.Equal(got, unit[:3]) {
				t.Errorf("window %d: %x, want %x", w, got, unit[:3])
			}
		}
		one := NewDecompressor(w, NoTakeover)
		first := stdDeflate(t, 0, append(unit, 'x'))[0]
		joined := append(first[:len(first)-1], at(min(size+1, 1<<15))...)
		_, err := one.Append(nil, joined, noLimit)
		var corrupt *CorruptError
		if w == 15 && err != nil || w < 15 && !(errors.As(err, &corrupt) && corrupt.Text == faultTexts[badDistance]) {
			t.Errorf("window %d inside a message: %v", w, err)
		}
	}
}

func TestHistorySize(t *testing.T) {
	d := NewDecompressor(12, Takeover)
	if d.Size() != 0 {
		t.Errorf("%d bytes before the first message", d.Size())
	}
	for want, n := range map[int]int{256: 100} {
		d.Append(nil, stdDeflate(t, 0, make([]byte, n))[0], noLimit)
		if d.Size() != want {
			t.Errorf("%d bytes after %d", d.Size(), n)
		}
	}
	d.Append(nil, stdDeflate(t, 0, make([]byte, 20000))[0], noLimit)
	if d.Size() != 4096 {
		t.Errorf("%d bytes after a long message", d.Size())
	}
	d.Close(io.ErrClosedPipe)
	if d.Size() != 0 {
		t.Errorf("%d bytes after Close", d.Size())
	}
	if _, err := d.Append(nil, []byte{0}, 1); err != io.ErrClosedPipe {
		t.Errorf("%v after Close", err)
	}
}

// TestMutations compares with the reference on payloads that are almost valid.
func TestMutations(t *testing.T) {
	covers(t, "Z14", "Q.E04", "Q.E05", "Q.E08")
	r := rand.New(rand.NewPCG(7, 8))
	rounds := 4000
	if testing.Short() || raceEnabled {
		rounds = 400
	}
	valid := 0
	for range rounds {
		history := randomMessage(r, 2000)
		m := randomMessage(r, 400)
		payload := stdDeflate(t, []int{-2, 1, 6}[r.IntN(3)], history, m)[1]
		for range r.IntN(4) {
			payload[r.IntN(len(payload))] ^= 1 << r.IntN(8)
		}
		if r.IntN(8) == 0 {
			payload = payload[:r.IntN(len(payload)+1)]
		}
		valid += b2i(checkAgainstReference(t, payload, history, 8+r.IntN(8), randomCuts(r, len(payload))))
	}
	if valid < rounds/10 {
		t.Errorf("only %d of %d payloads were valid", valid, rounds)
	}
}

// checkAgainstReference inflates payload as a whole and in parts and checks
// that both agree with the reference, and with compress/flate if payload is
// valid and has no final block, at which compress/flate stops. It reports
// whether payload is valid.
func checkAgainstReference(t *testing.T, payload, history []byte, window int, cuts []int) bool {
	t.Helper()
	ref := new(reference)
	want, refErr := ref.inflate(payload, history, 1<<window)
	if refErr == nil && !ref.final && len(payload) > 0 && !bytes.Equal(stdInflate(t, payload, history), want) {
		t.Fatalf("window %d history %x payload %x: compress/flate and the reference differ", window, history, payload)
	}
	whole, parts := NewDecompressor(window, Takeover), NewDecompressor(window, Takeover)
	whole.recent.write(history)
	parts.recent.write(history)
	got, err := whole.Append(nil, payload, noLimit)
	if (err == nil) != (refErr == nil) || !bytes.Equal(got, want) {
		t.Fatalf("window %d history %x payload %x: %x, %v; reference %x, %v", window, history, payload, got, err, want, refErr)
	}
	got, err = inflateParts(&parts, payload, 64, cuts...)
	if (err == nil) != (refErr == nil) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("window %d history %x payload %x cuts %v in parts: %x, %v; reference %x, %v", window, history, payload, cuts, got, err, want, refErr)
	}
	return err == nil
}

// TestShortPayloads tries all payloads of one and two bytes, and many of three.
func TestShortPayloads(t *testing.T) {
	covers(t, "Z14", "Q.E04")
	history := []byte("some history, longer than nothing")
	for n := 1; n <= 3; n++ {
		step := []int{1, 1, 1, 251}[n]
		if raceEnabled && n > 1 {
			step = 251 * n * n
		}
		for v := 0; v < 1<<(8*n); v += step {
			payload := []byte{byte(v), byte(v >> 8), byte(v >> 16)}[:n]
			checkAgainstReference(t, payload, history, 15, []int{0, n / 2})
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, x := range rfcExamples {
		for _, s := range bytes.Split([]byte(x.payloads), []byte(" ")) {
			f.Add(unhex(f, string(s)), []byte("Hello"), uint8(7), uint8(3))
		}
	}
	for _, x := range traps {
		f.Add(unhex(f, x.payload), []byte{}, uint8(0), uint8(0))
	}
	r := rand.New(rand.NewPCG(9, 10))
	for range 20 {
		m := randomMessage(r, 600)
		f.Add(stdDeflate(f, 6, m)[0], m, uint8(4), uint8(9))
	}
	f.Fuzz(func(t *testing.T, payload, history []byte, window, step uint8) {
		if len(payload) > 4096 {
			return
		}
		var cuts []int
		for at := 0; step > 0 && at <= len(payload); at += int(step) {
			cuts = append(cuts, at)
		}
		checkAgainstReference(t, payload, history, 8+int(window)%8, cuts)
	})
}

func TestInflateAllocs(t *testing.T) {
	m := randomMessage(rand.New(rand.NewPCG(11, 12)), 2000)
	payload := stdDeflate(t, 6, m)[0]
	buf := make([]byte, 0, 4096)
	for _, context := range []Context{NoTakeover, Takeover} {
		d := NewDecompressor(15, context)
		d.recent.grow(1 << 15)
		if n := testing.AllocsPerRun(100, func() { d.Append(buf, payload, noLimit) }); n >= 1 && !raceEnabled {
			t.Errorf("%v allocations", n)
		}
		if n := testing.AllocsPerRun(100, func() {
			d.AppendPart(buf, payload, noLimit)
			d.Finish(buf, noLimit)
		}); n >= 1 && !raceEnabled {
			t.Errorf("%v allocations in parts", n)
		}
	}
}
