//go:build linux

package measure

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time that the scheduler has counted for all threads,
// past and present, of the process.
func cpuTime(pid int) (time.Duration, error) {
	// The clock of another process, as from clock_getcpuclockid.
	const scheduled = 2
	clock := int32(^pid)<<3 | scheduled
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("measure: CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// A usage is the resources that a process has used so far.
type usage struct {
	cpu           time.Duration
	reads, writes int // system calls
}

// usageOf returns the usage of all threads, past and present, of the process.
func usageOf(pid int) (u usage, err error) {
	if u.cpu, err = cpuTime(pid); err != nil {
		return u, err
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return u, err
	}
	var chars int
	_, err = fmt.Sscanf(string(io), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d", &chars, &chars, &u.reads, &u.writes)
	return u, err
}

// since returns the part of u that was used after before.
func (u usage) since(before usage) usage {
	return usage{u.cpu - before.cpu, u.reads - before.reads, u.writes - before.writes}
}

// residentBytes returns the resident set of this process.
func residentBytes() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(status), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); !found || err != nil {
		return 0, fmt.Errorf("measure: no VmRSS in /proc/self/status")
	}
	return kib << 10, nil
}

// cores returns the cores of the subject and of the load: the first and the last
// one that this process may use.
func cores() (subject, load int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, 0, err
	}
	subject = -1
	for i := range len(set) * 64 {
		if !set.IsSet(i) {
			continue
		}
		if subject < 0 {
			subject = i
		}
		load = i
	}
	return subject, load, nil
}

// startPinned calls start on a thread that may use only the core, so that a
// process started by it may use only that core too.
func startPinned(core int, start func() error) error {
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	only.Set(core)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	err := start()
	if restore := unix.SchedSetaffinity(0, &before); err == nil {
		err = restore
	}
	return err
}

// maxDescriptors raises the limit of this process's file descriptors as far as
// possible.
func maxDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
