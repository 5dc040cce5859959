//go:build !linux

package websocket

import (
	"errors"
	"net"
	"syscall"
)

// canPoll says whether this system has event queues.
const canPoll = false

// An eventQueue is never used on this system.
type eventQueue struct{ n int }

func (*eventQueue) open() error { return errors.ErrUnsupported }

func (*eventQueue) add(int, uint32) error { return errors.ErrUnsupported }

func (*eventQueue) remove(int) {}

func (*eventQueue) poll() bool { return false }

func (*eventQueue) wait() bool { return false }

func (*eventQueue) makeWay() {}

func (*eventQueue) event(int) (*descriptor, readiness) { return nil, 0 }

// duplicate is not called on this system.
func duplicate(syscall.RawConn) (int32, error) { return 0, errors.ErrUnsupported }

// closeSocket is not called on this system.
func closeSocket(int) {}

// shutdownSending is not called on this system.
func shutdownSending(int) error { return errors.ErrUnsupported }

// socketAddrs is not called on this system.
func socketAddrs(int) (local, remote net.Addr) { return nil, nil }
