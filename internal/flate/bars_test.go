package flate

import (
	"bytes"
	stdflate "compress/flate"
	"flag"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"
)

var bars = flag.Bool("bars", false, "print the table of measured bars")

// A contender processes the messages of a corpus once and returns the number of
// bytes it wrote.
type contender func() int

// duel runs two contenders in turn and returns the time per message of the
// first, in nanoseconds, how many times faster it is than the second, and the
// bytes each wrote. Each sample is the least CPU time of some rounds; the factor
// is the median of the samples' factors.
func duel(messages int, ours, theirs contender) (ns, factor float64, a, b int) {
	const samples, rounds = 7, 7
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours()
	theirs()
	var times, factors []float64
	for range samples {
		best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
		for range rounds {
			t0 := cpuTime()
			a = ours()
			t1 := cpuTime()
			b = theirs()
			t2 := cpuTime()
			best[0], best[1] = min(best[0], t1-t0), min(best[1], t2-t1)
		}
		times = append(times, float64(best[0]))
		factors = append(factors, float64(best[1])/float64(best[0]))
	}
	slices.Sort(times)
	slices.Sort(factors)
	return times[samples/2] / float64(messages), factors[samples/2], a, b
}

// ourDeflate compresses all messages on one connection.
func ourDeflate(c corpus, window, level int, context Context) contender {
	z := NewCompressor(window, level, context)
	buf := make([]byte, 0, 2<<20)
	return func() (n int) {
		z.Forget()
		for _, m := range c.messages {
			if out, smaller := z.Append(buf, m); smaller {
				n += len(out)
			} else {
				n += len(m)
			}
		}
		return n
	}
}

// theirDeflate does the same with compress/flate, which cannot know beforehand
// whether a message grows: one that does counts with its own size.
func theirDeflate(c corpus, level int, context Context) contender {
	var b bytes.Buffer
	b.Grow(2 << 20)
	w, err := stdflate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	return func() (n int) {
		w.Reset(&b)
		for _, m := range c.messages {
			b.Reset()
			if context == NoTakeover {
				w.Reset(&b)
			}
			w.Write(m)
			w.Flush()
			n += b.Len() - 4
		}
		return n
	}
}

// payloads compresses a corpus with compress/flate at level 6.
func payloads(c corpus, context Context) (all [][]byte) {
	var b bytes.Buffer
	w, err := stdflate.NewWriter(&b, 6)
	if err != nil {
		panic(err)
	}
	for _, m := range c.messages {
		b.Reset()
		if context == NoTakeover {
			w.Reset(&b)
		}
		w.Write(m)
		w.Flush()
		all = append(all, append([]byte(nil), b.Bytes()[:b.Len()-4]...))
	}
	return all
}

// ourInflate inflates all messages of a connection.
func ourInflate(in [][]byte, context Context) contender {
	buf := make([]byte, 0, 2<<20)
	d := NewDecompressor(15, context)
	return func() (n int) {
		d.recent.forget()
		for _, p := range in {
			out, err := d.Append(buf, p, 2<<20)
			if err != nil {
				panic(err)
			}
			n += len(out)
		}
		return n
	}
}

// A feeder is the input of a persistent reader: payload and tail.
type feeder struct{ rest []byte }

func (f *feeder) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *feeder) ReadByte() (byte, error) {
	if len(f.rest) == 0 {
		return 0, io.EOF
	}
	c := f.rest[0]
	f.rest = f.rest[1:]
	return c, nil
}

// theirInflate does the same with compress/flate: with a reader that is reset
// before each message, or one reader for the whole connection, from which it
// reads as many bytes as each message has.
func theirInflate(c corpus, in [][]byte, context Context) contender {
	var f feeder
	whole := make([][]byte, len(in))
	for i, p := range in {
		whole[i] = append(append([]byte(nil), p...), 0, 0, 0xff, 0xff)
		if context == NoTakeover {
			whole[i] = append(whole[i], 1, 0, 0, 0xff, 0xff)
		}
	}
	rd := stdflate.NewReader(&f)
	buf := make([]byte, 2<<20)
	return func() (n int) {
		rd.(stdflate.Resetter).Reset(&f, nil)
		for i, p := range whole {
			f.rest = append(f.rest, p...)
			if context == NoTakeover {
				f.rest = p
				rd.(stdflate.Resetter).Reset(&f, nil)
			}
			k, err := io.ReadFull(rd, buf[:len(c.messages[i])])
			if err != nil {
				panic(err)
			}
			n += k
		}
		f.rest = nil
		return n
	}
}

// A bar is one row of the table: a comparison over some corpora.
type bar struct {
	name          string
	factor, ratio float64 // required at least, against compress/flate; 0: not compared
	corpora       []corpus
	duel          func(c corpus) (ours, theirs contender)
	size          func() int
}

func deflateBar(name string, factor, ratio float64, corpora []corpus, window, level, theirLevel int, context Context) bar {
	return bar{name, factor, ratio, corpora, func(c corpus) (contender, contender) {
		return ourDeflate(c, window, level, context), theirDeflate(c, theirLevel, context)
	}, func() int {
		z := NewCompressor(window, level, context)
		z.Append(nil, corpora[0].messages[0])
		return z.Size()
	}}
}

func inflateBar(name string, factor float64, corpora []corpus, context Context) bar {
	return bar{name, factor, 0, corpora, func(c corpus) (contender, contender) {
		in := payloads(c, context)
		return ourInflate(in, context), theirInflate(c, in, context)
	}, func() int {
		d := NewDecompressor(15, context)
		ourInflate(payloads(corpora[0], context), context)()
		for _, p := range payloads(corpora[0], context) {
			d.Append(nil, p, 2<<20)
		}
		return d.Size()
	}}
}

// TestBars prints the measured figures next to the required ones. It asserts
// nothing, since times depend on the machine:
//
//	go test ./internal/flate -run TestBars -v -bars
func TestBars(t *testing.T) {
	if !*bars {
		t.Skip("no -bars")
	}
	small, json, text := smallCorpora(400), []corpus{largeJSON(4)}, []corpus{largeText()}
	random := []corpus{randomBytes(100, 1024)}
	rows := []bar{
		inflateBar("inflate, no context", 2.8, small, NoTakeover),
		inflateBar("inflate, context, against a persistent reader", 2.5, small, Takeover),
		deflateBar("deflate 1, no context", 2.7, 1, small, 15, 1, 1, NoTakeover),
		deflateBar("deflate 1, context, window 12, against level 1", 1.9, 1.5, small, 12, 1, 1, Takeover),
		deflateBar("deflate 2, context, window 12, against level 1", 1.9, 1.5, small, 12, 2, 1, Takeover),
		deflateBar("deflate 3, context, window 12, against level 1", 1.9, 1.5, small, 12, 3, 1, Takeover),
		deflateBar("deflate 4, context, window 12, against level 1", 1.9, 1.5, small, 12, 4, 1, Takeover),
		deflateBar("deflate 4, context, window 15, against level 6", 2.5, 0.95, small, 15, 4, 6, Takeover),
		deflateBar("deflate 3, context, window 15, against level 6", 2.5, 0.95, small, 15, 3, 6, Takeover),
		deflateBar("deflate 6, context, window 15, against level 6", 2.5, 0.95, small, 15, 6, 6, Takeover),
		deflateBar("deflate 1, 64 KB JSON", 1.2, 0, json, 15, 1, 1, NoTakeover),
		deflateBar("deflate 1, 1 MB text", 1.2, 0, text, 15, 1, 1, NoTakeover),
		inflateBar("inflate, 64 KB JSON", 2.3, json, NoTakeover),
		inflateBar("inflate, 1 MB text", 2.3, text, NoTakeover),
		deflateBar("deflate 1, random 1 KB", 20, 0, random, 15, 1, 1, NoTakeover),
		deflateBar("deflate 1, context, window 15, against level 1", 0, 0, small, 15, 1, 1, Takeover),
	}
	fmt.Printf("| %-48s | %9s | %6s | %6s | %6s | %6s | %7s |\n", "", "ns", "factor", "asked", "ratio", "of std", "bytes")
	for _, row := range rows {
		printBar(row)
	}
}

func printBar(row bar) {
	var ns, factor float64
	in, ours, theirs := 0, 0, 0
	for _, c := range row.corpora {
		a, b := row.duel(c)
		n, f, x, y := duel(len(c.messages), a, b)
		ns += math.Log(n)
		factor += math.Log(f)
		ours += x
		theirs += y
		for _, m := range c.messages {
			in += len(m)
		}
	}
	k := float64(len(row.corpora))
	fmt.Printf("| %-48s | %9.0f | %6.2f | %6.1f | %6.3f | %6.3f | %7d |\n", row.name, math.Exp(ns/k), math.Exp(factor/k), row.factor,
		float64(in)/float64(ours), float64(theirs)/float64(ours), row.size())
}
