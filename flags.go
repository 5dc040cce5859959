package websocket

import "sync/atomic"

// A flagSet is a set of flags, in four bytes, that any goroutine may change at
// any time.
type flagSet[F ~uint32] struct{ bits atomic.Uint32 }

// has reports whether f is set.
func (s *flagSet[F]) has(f F) bool { return s.bits.Load()&uint32(f) != 0 }

// set sets f and reports whether it was set before.
func (s *flagSet[F]) set(f F) (before bool) { return s.bits.Or(uint32(f))&uint32(f) != 0 }

// clear clears f and reports whether it was set before.
func (s *flagSet[F]) clear(f F) (before bool) { return s.bits.And(^uint32(f))&uint32(f) != 0 }
