package websocket

import (
	"math/bits"
	"sync"
)

// A buffer is memory borrowed from a pool. It has one owner, who gives it back
// with free and must not touch it afterwards.
type buffer struct{ b []byte }

// Buffers come in powers of two, from 1<<minBufferClass bytes on. Those above
// 1<<maxBufferClass are not pooled.
const (
	minBufferClass = 8
	maxBufferClass = 24
)

var bufferPools [maxBufferClass + 1]sync.Pool

// borrow returns a buffer of length 0 and a capacity of at least size bytes.
// Its bytes hold anything.
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

// free gives the buffer back, to those of its size: its owner may have made it
// a larger one. A nil buffer is none.
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

// grown returns a buffer with the content of b and room for n more bytes,
// freeing b if it is another one. b may be nil.
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

// enlarged is grown for when there is not enough room.
func (b *buffer) replaceLarger(n int) *buffer {
	larger := acquireBuffer(max(len(b.b)+n, 2*cap(b.b)))
	larger.b = append(larger.b, b.b...)
	b.free()
	return larger
}
