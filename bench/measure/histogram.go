//go:build linux

package measure

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets whose width is at most 1/32 of their
// lower bound.
type histogram struct {
	count   uint64
	buckets [64 * 32]uint64
}

// bucket returns the index for d: the position of its highest bit, and the five
// bits that follow.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0)) | 32
	high := bits.Len64(n) - 1
	return high*32 + int(n>>(high-5)&31)
}

// lowest returns the smallest duration of bucket i.
func lowest(i int) time.Duration {
	return time.Duration(uint64(32|i%32) << (i/32 - 5))
}

// add counts d.
func (h *histogram) add(d time.Duration) {
	h.count++
	h.buckets[bucket(d)]++
}

// quantile returns the q-quantile of all durations, to the precision of a
// bucket, or zero if nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	left := uint64(q * float64(h.count))
	for i, n := range h.buckets {
		if n > left {
			return lowest(i)
		}
		left -= n
	}
	return 0
}
