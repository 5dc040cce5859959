package websocket

import (
	"bytes"
	"fmt"
	"testing"
)

// maskNaively is RFC 6455, Section 5.3, to the letter.
func maskNaively(p []byte, key [4]byte) []byte {
	out := make([]byte, len(p))
	for i := range p {
		out[i] = p[i] ^ key[i%4]
	}
	return out
}

// TestMaskEqualsNaiveLoop proves that mask and maskCopy do what the RFC says,
// for every length and alignment that takes another path.
func TestMaskEqualsNaiveLoop(t *testing.T) {
	covers(t, "K02", "Q.C12")
	for _, key := range [][4]byte{{1, 2, 3, 4}, {}, {0xff, 0xff, 0xff, 0xff}, {0, 0x80, 0, 1}} {
		for n := range 513 {
			for align := range 16 {
				p := ramp(n + align)[align:]
				want := maskNaively(p, key)
				dst := make([]byte, n)
				after := maskCopy(dst, p, keyOf(key))
				if !bytes.Equal(dst, want) {
					t.Fatalf("maskCopy of %d bytes with % x: % x, want % x", n, key, dst, want)
				}
				if turned := mask(p, keyOf(key)); turned != after || !bytes.Equal(p, want) {
					t.Fatalf("mask of %d bytes with % x: % x and key %08x, want % x and %08x", n, key, p, turned, want, after)
				}
			}
		}
	}
}

// TestMaskInPieces proves that the key that mask returns goes on where it
// stopped.
func TestMaskInPieces(t *testing.T) {
	covers(t, "K02")
	key := [4]byte{0xde, 0xad, 0xbe, 0xef}
	for _, piece := range []int{1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 63, 64, 65} {
		p := ramp(1000)
		want := maskNaively(p, key)
		k := keyOf(key)
		for at := 0; at < len(p); at += piece {
			k = mask(p[at:min(at+piece, len(p))], k)
		}
		if !bytes.Equal(p, want) {
			t.Errorf("pieces of %d: % x, want % x", piece, p, want)
		}
	}
}

// TestMaskStaysInside looks at the bytes before and behind what is masked.
func TestMaskStaysInside(t *testing.T) {
	const margin = 256
	for n := range 700 {
		for align := range 4 {
			before := ramp(2*margin + align + n)
			after := bytes.Clone(before)
			start, end := margin+align, margin+align+n
			mask(after[start:end], 0x01020304)
			if !bytes.Equal(after[:start], before[:start]) || !bytes.Equal(after[end:], before[end:]) {
				t.Fatalf("mask of %d bytes at %d changes others", n, start)
			}
		}
	}
}

// FuzzMask compares mask, in two pieces, with the naive loop.
func FuzzMask(f *testing.F) {
	f.Add([]byte("Hello"), uint8(0), uint8(3), byte(1), byte(2), byte(3), byte(4))
	f.Fuzz(func(t *testing.T, p []byte, align, cut uint8, k0, k1, k2, k3 byte) {
		key := [4]byte{k0, k1, k2, k3}
		want := maskNaively(p, key)
		moved := append(make([]byte, align), p...)[align:]
		at := min(int(cut), len(moved))
		mask(moved[at:], mask(moved[:at], keyOf(key)))
		if !bytes.Equal(moved, want) {
			t.Fatalf("mask(%x, %x) = %x, want %x", p, key, moved, want)
		}
	})
}

// BenchmarkMask masks payloads from 8 bytes to 1 MiB.
func BenchmarkMask(b *testing.B) {
	for _, n := range []int{8, 32, 128, 1 << 10, 16 << 10, 1 << 20} {
		p := ramp(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				mask(p, 0x12345678)
			}
		})
	}
}
