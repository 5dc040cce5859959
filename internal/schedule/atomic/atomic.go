// Package atomic stands for the standard library's sync/atomic in a package whose
// goroutines are scheduled: see [schedule.Overlay]. Each operation is a point.
package atomic

import (
	"sync/atomic"

	"github.com/fullduplex-go/websocket/internal/schedule"
)

func init() { schedule.Instrument() }

// The standard library's integers, with points.
type (
	Int32  = integer[int32, atomic.Int32, *atomic.Int32]
	Int64  = integer[int64, atomic.Int64, *atomic.Int64]
	Uint32 = integer[uint32, atomic.Uint32, *atomic.Uint32]
	Uint64 = integer[uint64, atomic.Uint64, *atomic.Uint64]
)

// A Bool is an atomic.Bool with points.
type Bool struct {
	value[bool, atomic.Bool, *atomic.Bool]
}

// A Pointer is an atomic.Pointer with points.
type Pointer[T any] struct {
	value[*T, atomic.Pointer[T], *atomic.Pointer[T]]
}

// variable is what all atomic variables have.
type variable[V, A any] interface {
	*A
	Load() V
	Store(v V)
	Swap(v V) V
	CompareAndSwap(old, to V) bool
}

// A value is an atomic variable of type A that holds a V.
type value[V, A any, P variable[V, A]] struct{ a A }

// Load returns what x holds.
func (x *value[V, A, P]) Load() V {
	schedule.PointOfCaller()
	return P(&x.a).Load()
}

// Store makes x hold v.
func (x *value[V, A, P]) Store(v V) {
	schedule.PointOfCaller()
	P(&x.a).Store(v)
}

// Swap makes x hold v and returns what it held before.
func (x *value[V, A, P]) Swap(v V) V {
	schedule.PointOfCaller()
	return P(&x.a).Swap(v)
}

// CompareAndSwap makes x hold to, if it holds old, and reports whether it did.
func (x *value[V, A, P]) CompareAndSwap(old, to V) bool {
	schedule.PointOfCaller()
	return P(&x.a).CompareAndSwap(old, to)
}

// integerVariable is what atomic integers have.
type integerVariable[V, A any] interface {
	variable[V, A]
	Add(delta V) V
	And(mask V) V
	Or(mask V) V
}

// An integer is an atomic integer of type A that holds a V.
type integer[V, A any, P integerVariable[V, A]] struct{ value[V, A, P] }

// Add adds delta and returns the sum.
func (x *integer[V, A, P]) Add(delta V) V {
	schedule.PointOfCaller()
	return P(&x.a).Add(delta)
}

// And keeps the bits of mask and returns what x held before.
func (x *integer[V, A, P]) And(mask V) V {
	schedule.PointOfCaller()
	return P(&x.a).And(mask)
}

// Or sets the bits of mask and returns what x held before.
func (x *integer[V, A, P]) Or(mask V) V {
	schedule.PointOfCaller()
	return P(&x.a).Or(mask)
}
