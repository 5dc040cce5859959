//go:build race

package schedule

import "runtime"

// disableRaces hides from the race detector that the calling goroutine waits for
// others, until enableRaces.
func disableRaces() { runtime.RaceDisable() }

// enableRaces ends what disableRaces began.
func enableRaces() { runtime.RaceEnable() }
