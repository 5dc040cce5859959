//go:build !unix

package websocket

import "errors"

// rawIO says whether this system lets a descriptor be read and written
// without waiting.
const rawIO = false

// readNow is not called on this system.
func readNow(uintptr, []byte) (n int, wait bool, err error) {
	return 0, false, errors.ErrUnsupported
}

// writeNow is not called on this system.
func writeNow(uintptr, []byte) (written int, err error) {
	return 0, errors.ErrUnsupported
}

// writeOnce is not called on this system.
func writeOnce(uintptr, []byte) (int, error) {
	return 0, errors.ErrUnsupported
}
