//go:build race

package reference

// raced reports whether the race detector is on, under which large messages take
// about twenty times as long.
const raced = true
