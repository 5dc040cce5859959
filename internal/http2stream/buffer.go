package http2stream

import "sync"

// firstSize is the number of bytes with which a stream waits for more: it is
// what an idle one keeps.
const firstSize = 512

// laterSizes are the sizes of buffers after reads that filled the one before.
var laterSizes = [...]int{4 << 10, 32 << 10}

// laterBuffers have those that are not in use, of each size.
var laterBuffers [len(laterSizes)]sync.Pool

// A readBuffer is what a body is read to. It is small until a read fills it.
type readBuffer struct {
	first []byte
	later *[]byte // nil: first is in use
	step  int     // of laterSizes, plus 1
}

// room returns the buffer to read to.
func (b *readBuffer) room() []byte {
	switch {
	case b.later != nil:
		return *b.later
	case b.step > 0:
		b.later = acquireLater(b.step - 1)
		return *b.later
	case b.first == nil:
		b.first = make([]byte, firstSize)
	}
	return b.first
}

// acquireLater returns a buffer of the size laterSizes[i].
func acquireLater(i int) *[]byte {
	if p, ok := laterBuffers[i].Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, laterSizes[i])
	return &p
}

// resize chooses the buffer for the next read, after one of n bytes, which are no
// longer in use.
func (b *readBuffer) resize(n int) {
	switch {
	case n == len(b.room()) && b.step < len(laterSizes):
		b.release()
		b.step++
	case b.step > 0 && n <= b.sizeBefore():
		b.release()
		b.step--
	}
}

// sizeBefore returns the size of the next smaller buffer.
func (b *readBuffer) sizeBefore() int {
	if b.step == 1 {
		return firstSize
	}
	return laterSizes[b.step-2]
}

// release gives a larger buffer back.
func (b *readBuffer) release() {
	if b.later != nil {
		laterBuffers[b.step-1].Put(b.later)
		b.later = nil
	}
}
