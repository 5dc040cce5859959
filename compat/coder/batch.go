package websocket

// A batch gives out values that nobody else gets, many for one allocation: a
// reader or writer that is used too late is then told from the next one. A
// batch is for one goroutine at a time.
type batch[T any] struct {
	left []T
}

// batchSize is the number of values of one allocation.
const batchSize = 16

// next returns a new zero value.
func (b *batch[T]) next() *T {
	if len(b.left) == 0 {
		b.left = make([]T, batchSize)
	}
	v := &b.left[0]
	b.left = b.left[1:]
	return v
}
