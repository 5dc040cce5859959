package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParams(t *testing.T) {
	offers, err := ParseOffers("x-other; a=1, permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=9, permessage-deflate")
	if err != nil {
		t.Fatal(err)
	}
	want := []Params{{ClientNoContext: true, ClientWindow: AnyWindow, ServerWindow: 9}, {}}
	if len(offers) != 2 || offers[0] != want[0] || offers[1] != want[1] {
		t.Fatalf("got %+v, want %+v", offers, want)
	}
	if got := offers[0].Offer(); got != "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=9" {
		t.Errorf("Offer: %s", got)
	}
	answer := Params{ServerNoContext: true, ServerWindow: 9, ClientNoContext: true, ClientWindow: 10}
	if got := answer.Answer(); got != "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_no_context_takeover; client_max_window_bits=10" {
		t.Errorf("Answer: %s", got)
	}
	if got, err := ParseAnswer(answer.Answer()); err != nil || got != answer {
		t.Errorf("ParseAnswer: %+v, %v", got, err)
	}
}

func TestMalformedParams(t *testing.T) {
	for _, params := range []string{
		"foo", "server_no_context_takeover=1", "client_no_context_takeover; client_no_context_takeover",
		"server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=09", "server_max_window_bits=x",
		"server_max_window_bits=", "client_max_window_bits=", "server_max_window_bits", "client_max_window_bits=9; client_max_window_bits",
	} {
		if _, err := ParseOffers(Name + "; " + params); err == nil {
			t.Errorf("offer with %s is accepted", params)
		}
	}
	for _, answer := range []string{Name + ", " + Name, "x-other", Name + "; client_max_window_bits"} {
		if _, err := ParseAnswer(answer); err == nil {
			t.Errorf("answer %s is accepted", answer)
		}
	}
}

func TestHonours(t *testing.T) {
	tests := []struct {
		offer, answer Params
		lawful        bool
	}{
		{Params{}, Params{}, true},
		{Params{}, Params{ServerNoContext: true, ServerWindow: 12, ClientNoContext: true}, true},
		{Params{ServerNoContext: true}, Params{}, false},
		{Params{ServerWindow: 9}, Params{}, false},
		{Params{ServerWindow: 15}, Params{}, false},
		{Params{ServerWindow: 9}, Params{ServerWindow: 10}, false},
		{Params{ServerWindow: 9}, Params{ServerWindow: 8}, true},
		{Params{}, Params{ClientWindow: 10}, false},
		{Params{ClientWindow: 9}, Params{ClientWindow: 10}, false},
		{Params{ClientWindow: AnyWindow}, Params{ClientWindow: 10}, true},
	}
	for _, test := range tests {
		if err := test.answer.Honours(test.offer); (err == nil) != test.lawful {
			t.Errorf("%s to %s: %v", test.answer.Answer(), test.offer.Offer(), err)
		}
	}
}

// TestExamples inflates the examples of RFC 7692, Section 7.2.3, and more.
func TestExamples(t *testing.T) {
	tests := []struct {
		name     string
		payloads string
		want     string
	}{
		{"one block", "f248cdc9c90700", "Hello"},
		{"context", "f248cdc9c90700 f200110000", "Hello Hello"},
		{"stored", "000500faff48656c6c6f00", "Hello"},
		{"final block", "f348cdc9c9070000", "Hello"},
		{"context after a final block", "f348cdc9c9070000 f200110000", "Hello Hello"},
		{"two blocks", "f24805000000ffffcac9c90700", "Hello"},
		{"block after a final one", "f3480500cac9c90700", "Hello"},
		{"empty", "00", ""},
		{"reaches back too far", "f200110000", "error"},
		{"corrupt", "ffffffff", "error"},
		{"cut", "f248cd", "error"},
		{"without the empty block", "f248cdc9c907", "error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := NewInflater(Direction{Window: 15}, 1<<20)
			var got []string
			for payload := range strings.FieldsSeq(test.payloads) {
				p, _ := hex.DecodeString(payload)
				message, err := f.Inflate(p)
				if err != nil {
					message = []byte("error")
				}
				got = append(got, string(message))
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("got %q, want %q", s, test.want)
			}
		})
	}
}

// words returns n octets that compress well.
func words(r *rand.Rand, n int) []byte {
	var p []byte
	for len(p) < n {
		p = append(p, "the quick brown fox jumps over the lazy dog again "[r.IntN(40):]...)
		p = append(p, byte(r.Uint32()), byte(r.Uint32()))
	}
	return p[:n]
}

// TestAgainstFlate compares the inflater with compress/flate on every level.
func TestAgainstFlate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, level)
		if err != nil {
			t.Fatal(err)
		}
		f := NewInflater(Direction{Window: 15}, 1<<20)
		for range 30 {
			message := words(r, r.IntN(60000))
			out.Reset()
			w.Write(message)
			w.Flush()
			got, err := f.Inflate(bytes.TrimSuffix(out.Bytes(), []byte(tail)))
			if err != nil || !bytes.Equal(got, message) {
				t.Fatalf("level %d: %d octets differ: %v", level, len(message), err)
			}
		}
	}
}

// FuzzInflate compares the inflater with compress/flate on any input.
func FuzzInflate(f *testing.F) {
	for _, s := range []string{"f248cdc9c90700", "000500faff48656c6c6f00", "f24805000000ffffcac9c90700", "f348cdc9c9070000"} {
		p, _ := hex.DecodeString(s)
		f.Add(p)
	}
	f.Add(NewCompressor(Direction{Window: 15}).Compress(words(rand.New(rand.NewPCG(3, 4)), 3000)))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := NewInflater(Direction{Window: 15}, 1<<20).Inflate(p)
		if err != nil {
			return
		}
		want, _ := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(tail))))
		if !bytes.HasPrefix(got, want) {
			t.Errorf("%x: got %x, want %x", p, got, want)
		}
	})
}

func TestCompressorKeepsToItsWindow(t *testing.T) {
	for window := 9; window <= 15; window++ {
		for _, noContext := range []bool{false, true} {
			terms := Direction{NoContext: noContext, Window: window}
			c, f := NewCompressor(terms), NewInflater(terms, 1<<20)
			r := rand.New(rand.NewPCG(uint64(window), 0))
			for i, n := range []int{0, 1, 1 << window, 0, 1<<window + 1, 100, 100000, 17, 1 << 15} {
				message := words(r, n)
				got, err := f.Inflate(c.Compress(message))
				if err != nil || !bytes.Equal(got, message) {
					t.Fatalf("%+v: message %d: %v", terms, i, err)
				}
			}
			if f.Farthest() < 1<<window/2 {
				t.Errorf("%+v: matches reach only %d back", terms, f.Farthest())
			}
		}
	}
}

func TestInflaterCatches(t *testing.T) {
	message := words(rand.New(rand.NewPCG(5, 6)), 4000)
	t.Run("window exceeded", func(t *testing.T) {
		p := NewCompressor(Direction{Window: 15}).Compress(append(message, message...))
		if _, err := NewInflater(Direction{Window: 11}, 1<<20).Inflate(p); err == nil || !strings.Contains(err.Error(), "agreed window is 2048") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("context kept", func(t *testing.T) {
		c, f := NewCompressor(Direction{Window: 15}), NewInflater(Direction{NoContext: true, Window: 15}, 1<<20)
		if _, err := f.Inflate(c.Compress(message)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Inflate(c.Compress(message)); err == nil || !strings.Contains(err.Error(), "may be referred to") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("too long", func(t *testing.T) {
		p := NewCompressor(Direction{Window: 15}).Compress(make([]byte, 1<<20))
		if _, err := NewInflater(Direction{Window: 15}, 1<<20-1).Inflate(p); err == nil {
			t.Error("no error")
		}
	})
}
