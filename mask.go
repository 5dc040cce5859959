package websocket

import (
	"encoding/binary"
	"math/bits"
)

// Masking (RFC 6455, Section 5.3): byte i of a payload is combined with byte
// i mod 4 of the key by exclusive or.
//
// A key is kept as a uint32 whose lowest byte is the one for the next payload
// byte. After n bytes it is rotated by n bytes, so that a payload can be masked
// in pieces of any size: each call returns the key for the next one.

// mask masks or unmasks p in place and returns the key for the byte after p.
func mask(p []byte, key uint32) uint32 {
	return maskCopy(p, p, key)
}

// maskCopy writes src, masked with key, to the first len(src) bytes of dst and
// returns the key for the byte after src. dst must be at least as long as src;
// the two are either the same memory or do not overlap.
func maskCopy(dst, src []byte, key uint32) uint32 {
	next := bits.RotateLeft32(key, -8*(len(src)&3))
	dst = dst[:len(src)]
	wide := uint64(key)<<32 | uint64(key)
	if n := maskWide(dst, src, wide); n > 0 {
		dst, src = dst[n:], src[n:]
	}
	le := binary.LittleEndian
	for len(src) >= 64 && len(dst) >= 64 {
		// Arrays need no bounds checks, and a function for the block would
		// not be inlined.
		d, s := (*[64]byte)(dst), (*[64]byte)(src)
		le.PutUint64(d[0:8], le.Uint64(s[0:8])^wide)
		le.PutUint64(d[8:16], le.Uint64(s[8:16])^wide)
		le.PutUint64(d[16:24], le.Uint64(s[16:24])^wide)
		le.PutUint64(d[24:32], le.Uint64(s[24:32])^wide)
		le.PutUint64(d[32:40], le.Uint64(s[32:40])^wide)
		le.PutUint64(d[40:48], le.Uint64(s[40:48])^wide)
		le.PutUint64(d[48:56], le.Uint64(s[48:56])^wide)
		le.PutUint64(d[56:64], le.Uint64(s[56:64])^wide)
		dst, src = dst[64:], src[64:]
	}
	for len(src) >= 8 && len(dst) >= 8 {
		le.PutUint64(dst, le.Uint64(src)^wide)
		dst, src = dst[8:], src[8:]
	}
	for i := range src {
		dst[i] = src[i] ^ byte(wide)
		wide = bits.RotateLeft64(wide, -8)
	}
	return next
}
