package websocket

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBufferReturnsToItsSize lets a borrowed buffer grow, as the decompressor
// does: given back, it does not take the place of small ones.
func TestBufferReturnsToItsSize(t *testing.T) {
	for range 100 {
		b := acquireBuffer(firstBuffer)
		b.b = make([]byte, 0, 1<<20)
		b.free()
		again := acquireBuffer(firstBuffer)
		if cap(again.b) > 2*firstBuffer {
			t.Fatalf("a buffer of %d bytes was asked for, and one of %d came", firstBuffer, cap(again.b))
		}
	}
}

// TestTrim proves that a buffer with little in it is replaced by a smaller one
// with the same content, one with nothing is given up, and others stay.
func TestTrim(t *testing.T) {
	for _, c := range []struct{ size, start, end, want int }{
		{4 << 10, 0, 0, 0},
		{4 << 10, 700, 700, 0},
		{4 << 10, 0, 1, 256},
		{4 << 10, 3000, 3300, 512},
		{4 << 10, 0, 1100, 4 << 10},
		{64 << 10, 10, 8000, 8 << 10},
		{256, 0, 1, 256},
		{256, 9, 9, 0},
	} {
		b := acquireBuffer(c.size)
		b.b = append(b.b, ramp(c.end)...)
		kept := b.trim(c.start)
		if c.want == 0 {
			require.Nil(t, kept)
			continue
		}
		require.Equal(t, c.want, 1<<(bits.Len(uint(cap(kept.b)))-1), "the size of its pool")
		if kept == b {
			require.Equal(t, ramp(c.end), kept.b)
		} else {
			require.Equal(t, ramp(c.end)[c.start:], kept.b)
		}
	}
	require.Nil(t, (*buffer)(nil).trim(0))
}
