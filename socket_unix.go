//go:build unix && (!linux || 386 || race)

package websocket

import (
	"io"
	"syscall"
)

// rawIO says whether this system lets a descriptor be read and written
// without waiting.
const rawIO = true

// readNow reads what has arrived on fd. wait is true when nothing has. The end
// of the stream is io.EOF.
func readNow(fd uintptr, p []byte) (n int, wait bool, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, true, nil
		case err != nil:
			return 0, false, err
		case n == 0:
			return 0, false, io.EOF
		}
		return n, false, nil
	}
}

// writeNow writes as much of p to fd as it takes without waiting. It is where
// the path of a short write ends, which must fit on a small stack (see Stack
// budget in docs/design.md).
func writeNow(fd uintptr, p []byte) (written int, err error) {
	for written < len(p) {
		n, err := syscall.Write(int(fd), p[written:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return written, nil
		case err != nil:
			return written, err
		}
		written += n
	}
	return written, nil
}

// writeOnce writes what fd takes of p at once, which is nothing if it is full.
func writeOnce(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, err
		}
		return n, nil
	}
}
