//go:build race

package reference

// raced tells that the race detector is on, under which compressing takes
// about twenty times as long.
const raced = true
