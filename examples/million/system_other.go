//go:build !linux

package main

import "time"

// descriptors returns a number of descriptors that a process may have nearly
// everywhere.
func descriptors() int { return 1100 }

// cpuTime returns 0, which is unknown, as do residentBytes and kernelBytes.
func cpuTime() time.Duration { return 0 }

func residentBytes() int64 { return 0 }

// kernelSource says what kernelBytes counts.
const kernelSource = "nothing"

func kernelBytes() int64 { return 0 }
