package websocket

import (
	"encoding/binary"
	"math/bits"
)

// Masking (RFC 6455, Section 5.3): byte i of a payload is combined with byte
// i mod 4 of the key by exclusive or.
//
// A key is kept as a uint32 whose lowest byte is the one for the next payload
// byte. Working on n bytes turns it by n places, so that a payload can be
// worked on in pieces of any size: each call returns the key for the next one.

// mask masks or unmasks p in place and returns the key for the byte after p.
func mask(p []byte, key uint32) uint32 {
	return maskCopy(p, p, key)
}

// maskCopy writes src, masked with key, to the first len(src) bytes of dst and
// returns the key for the byte after src. dst must be as long as src; the two
// are either the same memory or do not overlap.
func maskCopy(dst, src []byte, key uint32) uint32 {
	next := bits.RotateLeft32(key, -8*(len(src)&3))
	dst = dst[:len(src)]
	wide := uint64(key)<<32 | uint64(key)
	for len(src) >= 64 && len(dst) >= 64 {
		maskBlock((*[64]byte)(dst), (*[64]byte)(src), wide)
		dst, src = dst[64:], src[64:]
	}
	for len(src) >= 8 && len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^wide)
		dst, src = dst[8:], src[8:]
	}
	for i := range src {
		dst[i] = src[i] ^ byte(wide)
		wide = bits.RotateLeft64(wide, -8)
	}
	return next
}

// maskBlock masks 64 bytes. The fixed size lets the compiler drop the bounds
// checks.
func maskBlock(dst, src *[64]byte, wide uint64) {
	le := binary.LittleEndian
	le.PutUint64(dst[0:], le.Uint64(src[0:])^wide)
	le.PutUint64(dst[8:], le.Uint64(src[8:])^wide)
	le.PutUint64(dst[16:], le.Uint64(src[16:])^wide)
	le.PutUint64(dst[24:], le.Uint64(src[24:])^wide)
	le.PutUint64(dst[32:], le.Uint64(src[32:])^wide)
	le.PutUint64(dst[40:], le.Uint64(src[40:])^wide)
	le.PutUint64(dst[48:], le.Uint64(src[48:])^wide)
	le.PutUint64(dst[56:], le.Uint64(src[56:])^wide)
}
