package flate

import (
	"bytes"
	"testing"
)

// TestLimitInParts cuts messages that just fit at every byte. An incomplete
// code must not count as a byte too many, although with zeros in place of its
// missing bits it may look like a literal.
func TestLimitInParts(t *testing.T) {
	covers(t, "Z04", "Z15", "Q.E02")
	lit := lengthsOf(258, 'a', 1, 'b', 3, 256, 2, 257, 3)
	for size := 1; size <= 16; size++ {
		s := dynamic(lit, lengthsOf(1, 0, 1))
		for range size {
			s.code(lit, 'a')
		}
		payload := s.code(lit, 256).ended()
		for cut := range len(payload) + 1 {
			d := NewDecompressor(15, NoTakeover)
			got := make([]byte, 0, 2*size)
			for _, part := range [][]byte{payload[:cut], payload[cut:]} {
				out, n, err := d.AppendPart(got, part, size-len(got))
				if err != nil || n != len(part) {
					t.Fatalf("%d bytes, cut at %d of %d: %d of %d used, %v", size, cut, len(payload), n, len(part), err)
				}
				got = out
			}
			got, err := d.Finish(got, size-len(got))
			if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("a"), size)) {
				t.Fatalf("%d bytes, cut at %d: %q, %v", size, cut, got, err)
			}
		}
	}
}
