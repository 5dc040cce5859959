package websocket

import "sync"

// A buffer is memory of a pool. Nil is one without memory.
type buffer struct{ b []byte }

// Sizes of buffers in bytes.
const (
	bufferSize    = 32 << 10 // what a messageWriter collects
	maxPooledSize = 64 << 10 // of what goes back to the pool
)

// buffers are those that nobody uses.
var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 1024)} }}

// newBuffer returns an empty buffer.
func newBuffer() *buffer { return buffers.Get().(*buffer) }

// room returns memory for the next bytes, at least one.
func (b *buffer) room() []byte {
	if len(b.b) == cap(b.b) {
		b.b = append(b.b, 0)[:len(b.b)]
	}
	return b.b[len(b.b):min(cap(b.b), max(bufferSize, len(b.b)+1))]
}

// grow makes room for bufferSize bytes in an empty buffer.
func (b *buffer) grow() {
	if cap(b.b) < bufferSize {
		b.b = make([]byte, 0, bufferSize)
	}
}

// extend records n bytes that were put into room.
func (b *buffer) extend(n int) { b.b = b.b[:len(b.b)+n] }

// free gives b back.
func (b *buffer) free() {
	if b != nil && cap(b.b) <= maxPooledSize {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}
