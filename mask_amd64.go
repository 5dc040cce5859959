//go:build !purego && !race && !msan && !asan

package websocket

// hasAVX2 says whether the processor and the system have AVX2.
var hasAVX2 = cpuHasAVX2()

// cpuHasAVX2 asks the processor for hasAVX2.
func cpuHasAVX2() bool

// maskAVX2 writes n bytes of src, masked with wide, which is the key twice, to
// dst. n is a positive multiple of 128.
//
//go:noescape
func maskAVX2(dst, src *byte, n int, wide uint64)

// maskWide writes as much of src as vectors can mask, masked with wide, to dst,
// which is as long, and returns how many bytes that are: a multiple of 128, so
// that the key for what follows is the same.
func maskWide(dst, src []byte, wide uint64) int {
	n := len(src) &^ 127
	if n == 0 || !hasAVX2 {
		return 0
	}
	maskAVX2(&dst[0], &src[0], n, wide)
	return n
}
