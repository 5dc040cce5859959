//go:build !race

package schedule

// disableRaces does nothing without the race detector.
func disableRaces() {}

// enableRaces does nothing either.
func enableRaces() {}
