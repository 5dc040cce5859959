package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// descriptors returns how many descriptors this process may have. Go raises the
// limit as far as it may when a program starts.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentBytes returns the memory of this process that is not swapped out.
func residentBytes() int64 {
	var size, resident int64
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fmt.Sscan(string(statm), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// kernelSource says what kernelBytes counts.
const kernelSource = "Slab in /proc/meminfo and mem in /proc/net/sockstat"

// kernelBytes returns the memory of the kernel's objects, among them those of
// sockets, and of what sockets have buffered.
func kernelBytes() int64 {
	slab := number("/proc/meminfo", "Slab:")
	buffered := number("/proc/net/sockstat", " mem ")
	return slab<<10 + buffered*int64(os.Getpagesize())
}

// number returns the number that follows the first occurrence of name in a file,
// or 0.
func number(file, name string) (n int64) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), name)
	fmt.Sscan(after, &n)
	return n
}
