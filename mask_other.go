//go:build !amd64 || purego || race || msan || asan

package websocket

// maskWide masks nothing: there are no vectors, assembly is not wanted, or the
// tools that watch memory could not see what it does.
func maskWide(dst, src []byte, wide uint64) int { return 0 }
