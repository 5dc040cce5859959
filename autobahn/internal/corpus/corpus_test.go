package corpus

import (
	"bytes"
	"compress/flate"
	"testing"
	"unicode/utf8"
)

// TestFiles compares the files with what is known of the suite's: their sizes
// and how well they compress.
func TestFiles(t *testing.T) {
	tests := []struct {
		kind             Kind
		octets, units    int
		percent, atMost  int
		validUTF8, ascii bool
	}{
		{JSON, 194056, 194056, 3, 6, true, true},
		{Bitmap, 263222, 263222, 80, 90, false, false},
		{Prose, 222218, 222218, 35, 43, true, false},
		{HTML, 263647, 263620, 4, 8, true, false},
		{PDF, 1042328, 1042328, 71, 81, false, false},
	}
	for _, test := range tests {
		t.Run(test.kind.String(), func(t *testing.T) {
			data := test.kind.Data()
			units := NewRing(test.kind).length()
			if len(data) != test.octets || units != test.units {
				t.Errorf("%d octets, %d units; want %d and %d", len(data), units, test.octets, test.units)
			}
			if percent := compressed(data); percent < test.percent || percent > test.atMost {
				t.Errorf("compresses to %d %%, want %d to %d", percent, test.percent, test.atMost)
			}
			if utf8.Valid(data) != test.validUTF8 {
				t.Errorf("valid UTF-8 is %v", !test.validUTF8)
			}
			if ascii := nonASCII(data) == 0; ascii != test.ascii {
				t.Errorf("%d octets are not ASCII", nonASCII(data))
			}
		})
	}
	if n := nonASCII(HTML.Data()); n != 53 {
		t.Errorf("the HTML page has %d octets that are not ASCII, want 53", n)
	}
	if !bytes.HasPrefix(Prose.Data(), []byte("\xef\xbb\xbf")) {
		t.Error("the prose has no byte order mark")
	}
}

// compressed returns the size of data after compression, in percent.
func compressed(data []byte) int {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	w.Write(data)
	w.Close()
	return b.Len() * 100 / len(data)
}

// nonASCII counts the octets of data that are not ASCII.
func nonASCII(data []byte) (n int) {
	for _, b := range data {
		if b >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

func TestRing(t *testing.T) {
	for k := range Kind(len(kinds)) {
		r, data := NewRing(k), k.Data()
		var all []byte
		for len(all) < 3*len(data) {
			message := r.Next(131072)
			if k.text() && (utf8.RuneCount(message) != 131072 || !utf8.Valid(message)) {
				t.Fatalf("%v: %d characters", k, utf8.RuneCount(message))
			}
			all = append(all, message...)
		}
		if want := bytes.Repeat(data, len(all)/len(data)+1); !bytes.HasPrefix(want, all) {
			t.Errorf("%v: the messages are not the file over and over", k)
		}
	}
}
