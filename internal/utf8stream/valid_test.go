package utf8stream

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// covers marks the rows of the root's testdata/requirements.tsv that a test
// proves.
func covers(t testing.TB, ids ...string) {
	t.Helper()
	if len(ids) == 0 {
		t.Error("no IDs")
	}
}

// scripts are texts of runes of each length, alone and mixed.
var scripts = []struct{ name, text string }{
	{"ASCII", "The quick brown fox jumps over the lazy dog. "},
	{"German", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. "},
	{"Russian", "Съешь же ещё этих мягких французских булок, да выпей чаю. "},
	{"two bytes", "этихмягкихфранцузскихбулок"},
	{"Chinese", "天地玄黄,宇宙洪荒。日月盈昃,辰宿列张。"},
	{"Hindi", "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। "},
	{"three bytes", "天地玄黄宇宙洪荒日月盈昃"},
	{"emoji in ASCII", `{"user":"anna","text":"see you at 8 😀👍","n":12}`},
	{"emoji and Chinese", "天😀地玄👍黄宇🎉宙洪荒"},
	{"four bytes", "😀👍🎉🚀🔥💯"},
}

// places calls try with texts that are a start, room for a sequence of n bytes, and
// an end, where the start has every length up to that of a word, and runes of each
// length are around.
func places(n int, try func(text, sequence []byte)) {
	for _, around := range []string{"aaaaaaaa", "éééé", "天天天", "😀😀"} {
		for lead := range len(around) + 1 {
			if !utf8.ValidString(around[:lead]) {
				continue
			}
			for _, end := range []string{"", "a", around, around + around} {
				text := append(append([]byte(around[:lead]), make([]byte, n)...), end...)
				try(text, text[lead:][:n])
			}
		}
	}
}

// TestValidRunes has runes from everywhere in Unicode, in every place of a word.
func TestValidRunes(t *testing.T) {
	covers(t, "T01", "T03")
	const step = 61 // so that all bits of a rune change
	for n, last := range map[int]rune{2: 0x7ff, 3: 0xffff, 4: utf8.MaxRune} {
		places(n, func(text, sequence []byte) {
			for r := last>>5 + 1; r <= last; r += step {
				if utf8.RuneLen(r) == n && utf8.EncodeRune(sequence, r) == n && !valid(text) {
					t.Fatalf("%+q is refused", text)
				}
			}
		})
	}
}

// TestInvalidSequences has the sequences of bytes on both sides of every bound, in
// every place of a word.
func TestInvalidSequences(t *testing.T) {
	covers(t, "T02", "T04", "T05")
	second := []byte{0x00, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff}
	third := []byte{0x7f, 0x80, 0xbf, 0xc0}
	places(4, func(text, sequence []byte) {
		for first := 0x80; first <= 0xff; first++ {
			for i := range len(second) * len(third) * len(third) {
				k := i / len(second)
				copy(sequence, []byte{byte(first), second[i%len(second)], third[k%len(third)], third[k/len(third)]})
				if got, want := valid(text), utf8.Valid(text); got != want {
					t.Fatalf("% x: got %v, want %v", text, got, want)
				}
			}
		}
	})
}

// FuzzValid compares valid with utf8.Valid.
func FuzzValid(f *testing.F) {
	for _, s := range scripts {
		f.Add([]byte(s.text))
	}
	for _, s := range []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\x80"} {
		f.Add([]byte("12345678" + s + "12345678"))
		f.Add([]byte("éé天" + s + "天😀"))
		f.Add([]byte("😀😀" + s + "éééé"))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if got, want := valid(p), utf8.Valid(p); got != want {
			t.Errorf("% x: got %v, want %v", p, got, want)
		}
	})
}

// BenchmarkValid compares valid with utf8.Valid.
func BenchmarkValid(b *testing.B) {
	for _, s := range scripts {
		p := []byte(strings.Repeat(s.text, 1<<16/len(s.text)))
		for _, by := range []struct {
			name  string
			valid func([]byte) bool
		}{{"ours", valid}, {"std", utf8.Valid}} {
			b.Run(s.name+"/"+by.name, func(b *testing.B) {
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					if !by.valid(p) {
						b.Fatal("invalid")
					}
				}
			})
		}
	}
}
