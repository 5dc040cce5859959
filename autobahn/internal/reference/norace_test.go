//go:build !race

package reference

// raced tells that the race detector is on.
const raced = false
