//go:build linux && !386 && !race

package websocket

import (
	"io"
	"syscall"
	"unsafe"
)

// rawIO says whether this system lets a descriptor be read and written
// without waiting.
const rawIO = true

// The calls of this file do not tell the runtime, which would cost more than a
// tenth of a short one: they never wait, and last some microseconds. The race
// detector would not see them either, so that it gets those of socket_unix.go.

// maxUntold is how many bytes are moved without the runtime being told.
const maxUntold = 64 << 10

// noWait are the flags of calls that do not wait, and raise no signal.
const noWait = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// readNow reads what has arrived on fd. wait is true when nothing has. The end
// of the stream is io.EOF.
func readNow(fd uintptr, p []byte) (n int, wait bool, err error) {
	r, errno := receive(fd, p)
	for errno == syscall.EINTR {
		r, errno = receive(fd, p)
	}
	switch {
	case errno == syscall.EAGAIN:
		return 0, true, nil
	case errno != 0:
		return 0, false, errno
	case r == 0:
		return 0, false, io.EOF
	}
	return int(r), false, nil
}

// receive calls recvfrom.
func receive(fd uintptr, p []byte) (r uintptr, errno syscall.Errno) {
	if len(p) > maxUntold {
		r, _, errno = syscall.Syscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), noWait, 0, 0)
	} else {
		r, _, errno = syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), noWait, 0, 0)
	}
	return r, errno
}

// writeNow writes as much of p to fd as it takes without waiting. It is where
// the path of a short write ends, which must fit on a small stack (see Stack
// budget in docs/design.md).
func writeNow(fd uintptr, p []byte) (written int, err error) {
	for written < len(p) {
		n, err := writeOnce(fd, p[written:])
		if n == 0 || err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// writeOnce writes what fd takes of p at once, which is nothing if it is full.
func writeOnce(fd uintptr, p []byte) (int, error) {
	if len(p) > maxUntold {
		return writeLarge(fd, p)
	}
	for {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), noWait, 0, 0)
		if errno != syscall.EINTR {
			return written(r, errno)
		}
	}
}

// writeLarge is writeOnce for so many bytes that the runtime is told.
func writeLarge(fd uintptr, p []byte) (int, error) {
	for {
		r, _, errno := syscall.Syscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), noWait, 0, 0)
		if errno != syscall.EINTR {
			return written(r, errno)
		}
	}
}

// written returns the result of a call that wrote r bytes, or why it did not. A
// socket that is full has taken none.
func written(r uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return int(r), nil
	case syscall.EAGAIN:
		return 0, nil
	}
	return 0, errno
}
