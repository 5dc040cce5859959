//go:build race

package flate

// raceEnabled reports that the race detector is on, which makes pools forget.
const raceEnabled = true
