//go:build !race

package reference

// raced reports whether the race detector is on.
const raced = false
