package flate

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"testing"
)

// stdInflate inflates a payload with compress/flate.
func stdInflate(t testing.TB, payload, history []byte) []byte {
	t.Helper()
	if len(history) > 1<<15 {
		history = history[len(history)-1<<15:]
	}
	in := append(append([]byte(nil), payload...), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	m, err := io.ReadAll(stdflate.NewReaderDict(bytes.NewReader(in), history))
	if err != nil {
		t.Fatalf("compress/flate: %v", err)
	}
	return m
}

// A receiver checks the messages of a Compressor with several inflaters.
type receiver struct {
	window  int
	context Context
	own     Decompressor
	history []byte
}

func newReceiver(window int, context Context) *receiver {
	return &receiver{window: window, context: context, own: NewDecompressor(window, context)}
}

// take checks that payload inflates to message, that no distance is beyond
// the window, that BFINAL is never set, and that the tail is left out.
func (r *receiver) take(t testing.TB, payload, message []byte) {
	t.Helper()
	got, err := r.own.Append(nil, payload, len(message))
	if err != nil || !bytes.Equal(got, message) {
		t.Fatalf("window %d, %d bytes: %v", r.window, len(message), err)
	}
	var ref reference
	if len(message) < 5000 {
		got, err = ref.inflate(payload, r.history, 1<<r.window)
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("window %d, %d bytes: %v", r.window, len(message), err)
		}
	}
	if got := stdInflate(t, payload, r.history); !bytes.Equal(got, message) {
		t.Fatalf("window %d, %d bytes: compress/flate differs", r.window, len(message))
	}
	if ref.maxDist > 1<<r.window {
		t.Fatalf("distance %d in a window of %d bits", ref.maxDist, r.window)
	}
	if ref.final {
		t.Fatal("BFINAL set")
	}
	if r.context == Takeover {
		r.history = append(r.history, message...)
		r.history = r.history[max(0, len(r.history)-1<<r.window):]
	}
}

// related returns a message that repeats parts of earlier ones.
func related(r *rand.Rand, earlier []byte, most int) []byte {
	m := randomMessage(r, most)
	for n := r.IntN(6); n > 0 && len(earlier) > 0 && len(m) > 0; n-- {
		from := r.IntN(len(earlier))
		copy(m[r.IntN(len(m)):], earlier[from:min(len(earlier), from+r.IntN(400))])
	}
	return m
}

func TestCompressor(t *testing.T) {
	covers(t, "Z05", "Z06", "Z07", "Z08", "Z16")
	r := rand.New(rand.NewPCG(21, 22))
	rounds := 1500
	if testing.Short() || raceEnabled {
		rounds = 100
	}
	for range rounds {
		window, level, context := 8+r.IntN(8), 1+r.IntN(9), Context(r.IntN(2))
		checkConversation(t, r, window, level, context)
	}
}

// checkConversation sends messages whole, in parts, uncompressed, compressed by
// another Compressor, and after Forget.
func checkConversation(t *testing.T, r *rand.Rand, window, level int, context Context) {
	t.Helper()
	c, in := NewCompressor(window, level, context), newReceiver(window, context)
	other := NewCompressor(window, 1, NoTakeover)
	var all []byte
	for range 1 + r.IntN(12) {
		m := related(r, all, []int{10, 200, 1000, 3000, 90000}[r.IntN(5)])
		all = append(all, m...)
		switch r.IntN(8) {
		case 0:
			payload := sendParts(&c, r, m)
			in.take(t, payload, m)
		case 1:
			if payload, ok := other.Append(nil, m); ok {
				c.Remember(m)
				in.take(t, payload, m)
			}
		case 2:
			c.Forget()
		case 3:
			c.Drop()
		default:
			payload, smaller := c.Append([]byte("x"), m)
			if !smaller {
				if len(payload) != 1 {
					t.Fatal("plain, and yet appended")
				}
				continue
			}
			if len(payload)-1 >= len(m) {
				t.Fatalf("%d bytes for %d", len(payload)-1, len(m))
			}
			in.take(t, payload[1:], m)
		}
	}
}

// sendParts compresses a message in parts and checks that a peer can inflate
// each of them when it arrives.
func sendParts(c *Compressor, r *rand.Rand, m []byte) (payload []byte) {
	for _, cut := range randomCuts(r, len(m)) {
		if r.IntN(20) == 0 && cut <= len(m) {
			payload = c.AppendPart(payload, m[:cut])
			m = m[cut:]
			break
		}
	}
	return c.AppendLast(payload, m)
}

func TestPartsArriveWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for range 50 {
		window, level, context := 8+r.IntN(8), 1+r.IntN(9), Context(r.IntN(2))
		c, d := NewCompressor(window, level, context), NewDecompressor(window, context)
		for range 5 {
			for range r.IntN(5) {
				part := randomMessage(r, 2000)
				got, n, err := d.AppendPart(nil, c.AppendPart(nil, part), len(part))
				if err != nil || !bytes.Equal(got, part) {
					t.Fatalf("%d of %d bytes, %d used: %v", len(got), len(part), n, err)
				}
			}
			last := randomMessage(r, 2000)
			got, n, err := d.AppendPart(nil, c.AppendLast(nil, last), len(last))
			if err != nil || !bytes.Equal(got, last) {
				t.Fatalf("last: %d of %d bytes, %d used: %v", len(got), len(last), n, err)
			}
			if got, err := d.Finish(nil, 0); err != nil || len(got) != 0 {
				t.Fatalf("finish: %d bytes, %v", len(got), err)
			}
		}
		if context == NoTakeover && (c.Size() != 0 || d.Size() != 0) {
			t.Fatalf("%d and %d bytes held without context", c.Size(), d.Size())
		}
	}
}

func TestCompressorExamples(t *testing.T) {
	covers(t, "Z05", "Z13")
	c := NewCompressor(15, 1, Takeover)
	for _, want := range []string{"f248cdc9c90700", "f248cdc9c90700"} {
		if got := c.AppendLast(nil, []byte("Hello")); hex.EncodeToString(got) != want {
			t.Errorf("%x, want %s", got, want)
		}
		c.Forget()
	}
	if got := c.AppendLast(nil, nil); hex.EncodeToString(got) != "00" {
		t.Errorf("an empty message: %x", got)
	}
	if got, smaller := c.Append(nil, nil); smaller || len(got) != 0 {
		t.Errorf("an empty message: %x", got)
	}
}

func TestSizes(t *testing.T) {
	for w, want := range map[int]int{8: 512, 9: 1 << 10, 10: 3 << 10, 11: 6 << 10, 12: 12 << 10, 13: 16 << 10, 14: 32 << 10, 15: 64 << 10} {
		for level := 1; level <= 9; level++ {
			c := NewCompressor(w, level, Takeover)
			c.Append(nil, make([]byte, 100))
			if c.Size() != want {
				t.Errorf("window %d: %d bytes, want %d", w, c.Size(), want)
			}
			c.Drop()
			if c.Size() != 0 {
				t.Errorf("%d bytes after Drop", c.Size())
			}
		}
	}
}

// TestSecretMarker checks that the earlier contents of pooled memory never
// change the output.
func TestSecretMarker(t *testing.T) {
	covers(t, "Z16", "Q.E10")
	r := rand.New(rand.NewPCG(25, 26))
	for level := 1; level <= 9; level++ {
		fresh := map[string][]byte{}
		var messages [][]byte
		for range 40 {
			m := related(r, bytes.Join(messages, nil), 2000)
			messages = append(messages, m)
			clearPools()
			c := NewCompressor(12, level, NoTakeover)
			fresh[string(m)], _ = c.Append(nil, m)
		}
		clearPools()
		rounds := 300
		if testing.Short() || raceEnabled {
			rounds = 15
		}
		for range rounds {
			secret := append([]byte("SECRET-MARKER-"), randomMessage(r, 70000)...)
			noise := NewCompressor(12, level, NoTakeover)
			noise.Append(nil, secret)
			m := messages[r.IntN(len(messages))]
			c := NewCompressor(12, level, NoTakeover)
			if got, _ := c.Append(nil, m); !bytes.Equal(got, fresh[string(m)]) {
				t.Fatalf("level %d: the output depends on earlier messages", level)
			}
		}
	}
}

// TestPoisonedPool checks that an inflater's leftovers cannot be referred to.
func TestPoisonedPool(t *testing.T) {
	covers(t, "Q.E04", "Q.E10", "Q.E12")
	secret := stdDeflate(t, 6, bytes.Repeat([]byte("SECRET-MARKER-"), 100))[0]
	first := NewDecompressor(15, NoTakeover)
	for _, payload := range [][]byte{secret, secret[:len(secret)/2]} {
		inflateParts(&first, payload, noLimit, len(payload)/2)
		d := NewDecompressor(15, NoTakeover)
		if got, err := inflateParts(&d, unhex(t, "f200110000"), noLimit, 2); err == nil {
			t.Fatalf("a new connection got %q", got)
		}
	}
}

func TestDeterministic(t *testing.T) {
	covers(t, "Z08", "Z16")
	r := rand.New(rand.NewPCG(27, 28))
	for level := 1; level <= 9; level++ {
		a, b := NewCompressor(11, level, Takeover), NewCompressor(11, level, Takeover)
		alone := NewCompressor(11, level, NoTakeover)
		for range 30 {
			m := randomMessage(r, 3000)
			x, _ := a.Append(nil, m)
			y, _ := b.Append(make([]byte, 0, 5000), m)
			if !bytes.Equal(x, y) {
				t.Fatalf("level %d: two compressors differ", level)
			}
			x, _ = alone.Append(nil, m)
			y, _ = alone.Append(nil, m)
			if !bytes.Equal(x, y) {
				t.Fatalf("level %d: two equal messages differ", level)
			}
		}
	}
}

func TestDeflateAllocs(t *testing.T) {
	m := []byte(`{"type":"message","id":12345,"text":"all of this is text, text, text and text"}`)
	buf := make([]byte, 0, 4096)
	for level := 1; level <= 9; level++ {
		for _, context := range []Context{NoTakeover, Takeover} {
			c := NewCompressor(12, level, context)
			if n := testing.AllocsPerRun(100, func() { c.Append(buf, m) }); n >= 1 && !raceEnabled {
				t.Errorf("level %d: %v allocations", level, n)
			}
			if n := testing.AllocsPerRun(100, func() { c.AppendLast(c.AppendPart(buf, m), m) }); n >= 1 && !raceEnabled {
				t.Errorf("level %d: %v allocations in parts", level, n)
			}
		}
	}
}

// TestSkewedCode makes Huffman codes that must be shortened.
func TestSkewedCode(t *testing.T) {
	var m []byte
	for i, n := 0, 1; len(m) < 30000; i, n = i+1, n+max(1, n*6/10) {
		m = append(m, bytes.Repeat([]byte{byte(i)}, n)...)
	}
	m = m[:30000]
	r := rand.New(rand.NewPCG(29, 30))
	r.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
	for level := 1; level <= 9; level++ {
		c := NewCompressor(15, level, NoTakeover)
		payload := c.AppendLast(nil, m)
		newReceiver(15, NoTakeover).take(t, payload, m)
	}
	var b codeBuilder
	freq, codes := make([]uint16, 22), make([]huffmanCode, 22)
	for i, x, y := 0, 1, 1; i < len(freq); i, x, y = i+1, y, x+y {
		freq[i] = uint16(x)
	}
	used := make([]uint16, len(freq))
	for i := range used {
		used[i] = uint16(i)
	}
	for _, limit := range []int{15, 7} {
		b.build(codes, freq, used, limit)
		space := 0
		for _, c := range codes {
			if c.size() < 1 || int(c.size()) > limit {
				t.Fatalf("code of %d bits", c.size())
			}
			space += 1 << (limit - int(c.size()))
		}
		if space != 1<<limit {
			t.Errorf("limit %d: space %d", limit, space)
		}
	}
}

func FuzzDeflate(f *testing.F) {
	f.Add([]byte("some message, some message"), uint64(1), uint8(0))
	f.Add(bytes.Repeat([]byte("abc"), 1000), uint64(2), uint8(77))
	f.Fuzz(func(t *testing.T, message []byte, seed uint64, how uint8) {
		window, level, context := 8+int(how&7), 1+int(how>>3)%9, Context(how>>7)
		c, in := NewCompressor(window, level, context), newReceiver(window, context)
		r := rand.New(rand.NewPCG(seed, 1))
		for len(message) > 0 {
			n := 1 + r.IntN(len(message))
			m := message[:n]
			message = message[n:]
			if r.IntN(4) == 0 {
				in.take(t, sendParts(&c, r, m), m)
			} else if payload, smaller := c.Append(nil, m); smaller {
				in.take(t, payload, m)
			}
		}
	})
}

// clearPools makes all pools forget what they hold.
func clearPools() {
	for i := range sharedMatchers {
		for j := range sharedMatchers[i] {
			for sharedMatchers[i][j].Get() != nil {
			}
		}
	}
}
