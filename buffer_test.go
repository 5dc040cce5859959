package websocket

import "testing"

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
