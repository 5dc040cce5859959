package websocket

import (
	"sync"
	"sync/atomic"
)

// A descriptorTable finds the descriptors of the process by their numbers. An
// event carries no pointer: it may be about a descriptor that is gone.
type descriptorTable struct {
	mu     sync.Mutex // held to add chunks
	chunks atomic.Pointer[[]*descriptorChunk]
	last   atomic.Uint32 // the last generation
}

// A descriptorChunk is the part of the table for descriptorChunkSize numbers.
type descriptorChunk [descriptorChunkSize]atomic.Pointer[descriptor]

// descriptorChunkSize is how many numbers are next to each other in the table.
const descriptorChunkSize = 1 << 10

// descriptors are those that are registered with a poller.
var descriptors descriptorTable

// find returns the descriptor with this number if it is of this generation,
// otherwise nil.
func (t *descriptorTable) find(fd int, generation uint32) *descriptor {
	chunks := t.chunks.Load()
	if chunks == nil || fd/descriptorChunkSize >= len(*chunks) {
		return nil
	}
	d := (*chunks)[fd/descriptorChunkSize][fd%descriptorChunkSize].Load()
	if d == nil || d.generation != generation {
		return nil
	}
	return d
}

// add gives d a generation and makes it one that find returns.
func (t *descriptorTable) add(d *descriptor) {
	d.generation = t.last.Add(1)
	t.chunk(int(d.fd) / descriptorChunkSize)[d.fd%descriptorChunkSize].Store(d)
}

// chunk returns the i-th chunk, adding those that are missing.
func (t *descriptorTable) chunk(i int) *descriptorChunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	var chunks []*descriptorChunk
	if old := t.chunks.Load(); old != nil {
		chunks = *old
	}
	if i < len(chunks) {
		return chunks[i]
	}
	larger := append([]*descriptorChunk(nil), chunks...)
	for len(larger) <= i {
		larger = append(larger, new(descriptorChunk))
	}
	t.chunks.Store(&larger)
	return larger[i]
}

// forget makes find not return d any more.
func (t *descriptorTable) forget(d *descriptor) {
	t.chunk(int(d.fd) / descriptorChunkSize)[d.fd%descriptorChunkSize].CompareAndSwap(d, nil)
}
