//go:build !amd64 || purego || race || msan || asan

package websocket

// maskWide masks nothing: there are no vectors, or the tools that watch memory
// could not see them.
func maskWide(dst, src []byte, wide uint64) int { return 0 }
