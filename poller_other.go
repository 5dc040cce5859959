//go:build !linux

package websocket

import (
	"errors"
	"net"
	"syscall"
)

// canPoll says whether this system has event queues.
const canPoll = false

// An eventQueue is never open on this system.
type eventQueue struct{ n int }

// open always fails, so that nothing below is called.
func (*eventQueue) open() error { return errors.ErrUnsupported }

// add is not called on this system.
func (*eventQueue) add(int, uint32) error { return errors.ErrUnsupported }

// addOnce is not called on this system.
func (*eventQueue) addOnce(int, uint32) error { return errors.ErrUnsupported }

// rearm is not called on this system.
func (*eventQueue) rearm(int, uint32) error { return errors.ErrUnsupported }

// remove is not called on this system.
func (*eventQueue) remove(int) {}

// poll is not called on this system.
func (*eventQueue) poll() bool { return false }

// wait is not called on this system.
func (*eventQueue) wait() bool { return false }

// makeWay is not called on this system.
func (*eventQueue) makeWay() {}

// event is not called on this system.
func (*eventQueue) event(int) (*descriptor, readiness) { return nil, 0 }

// duplicate is not called on this system.
func duplicate(syscall.RawConn) (int32, error) { return 0, errors.ErrUnsupported }

// closeSocket is not called on this system.
func closeSocket(int) {}

// shutdownSending is not called on this system.
func shutdownSending(int) error { return errors.ErrUnsupported }

// socketAddrs is not called on this system.
func socketAddrs(int) (local, remote net.Addr) { return nil, nil }
