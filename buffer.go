package websocket

import (
	"math/bits"
	"sync"
)

// A buffer is memory acquired from a pool. It has one owner, which returns it
// with free and must not use it afterwards.
type buffer struct{ b []byte }

// There is a pool for each power of two from 1<<minBufferClass to
// 1<<maxBufferClass bytes. A buffer that has to be larger is allocated.
const (
	minBufferClass = 8
	maxBufferClass = 24
)

// bufferPools holds the free buffers: those in bufferPools[n] have at least 1<<n
// bytes.
var bufferPools [maxBufferClass + 1]sync.Pool

// acquireBuffer returns a buffer of length 0 and a capacity of at least size
// bytes, with arbitrary content.
func acquireBuffer(size int) *buffer {
	class := max(bits.Len(uint(max(size, 1)-1)), minBufferClass)
	if class > maxBufferClass {
		return &buffer{b: make([]byte, 0, size)}
	}
	if pooled, ok := bufferPools[class].Get().(*buffer); ok {
		return pooled
	}
	return &buffer{b: make([]byte, 0, 1<<class)}
}

// free returns the buffer to the pool for its present size: its owner may have
// replaced b.b by a larger slice. One of a size without a pool is left to the
// garbage collector, and nil is ignored.
func (b *buffer) free() {
	if b == nil {
		return
	}
	class := bits.Len(uint(cap(b.b))) - 1
	if class < minBufferClass || class > maxBufferClass {
		return
	}
	b.b = b.b[:0]
	bufferPools[class].Put(b)
}

// size returns how many bytes b has. b may be nil.
func (b *buffer) size() int {
	if b == nil {
		return 0
	}
	return len(b.b)
}

// grow returns a buffer with the content of b and room for n more bytes, and
// frees b if that is another one. b may be nil.
func (b *buffer) grow(n int) *buffer {
	switch {
	case b == nil:
		return acquireBuffer(n)
	case cap(b.b)-len(b.b) >= n:
		return b
	default:
		return b.replaceLarger(n)
	}
}

// replaceLarger is grow for when there is not enough room.
func (b *buffer) replaceLarger(n int) *buffer {
	larger := acquireBuffer(max(len(b.b)+n, 2*cap(b.b)))
	larger.b = append(larger.b, b.b...)
	b.free()
	return larger
}

// sparse is the part of a buffer, 1/sparse, that may be in use when trim
// replaces it.
const sparse = 8

// trim returns a buffer that has b's content from start on: a smaller one if
// that is little, nil if it is nothing, and otherwise b as it is. It frees b
// unless it returns it. b may be nil.
func (b *buffer) trim(start int) *buffer {
	if b == nil {
		return nil
	}
	var small *buffer
	if rest := b.b[start:]; len(rest) > 0 {
		if len(rest) > cap(b.b)/sparse || cap(b.b) <= 1<<minBufferClass {
			return b
		}
		small = acquireBuffer(len(rest))
		small.b = append(small.b, rest...)
	}
	b.free()
	return small
}
