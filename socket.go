package websocket

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// A socket is a net.Conn, and what can be done with it beyond its methods.
type socket struct {
	net.Conn
	raw syscall.RawConn // to read and write without waiting, or nil
}

// shut closes the net.Conn without waiting for anything.
func (s socket) shut() {
	nc := s.Conn
	if tc, ok := nc.(*tls.Conn); ok {
		// Its Close waits to send an alert.
		nc = tc.NetConn()
	}
	nc.Close()
}

// rawConn returns nc's descriptor for reading and writing without waiting, or
// nil if nc is anything but a stream socket of package net itself: what wraps
// one to count, limit or encrypt must see every byte.
func rawConn(nc net.Conn) syscall.RawConn {
	if !rawIO {
		return nil
	}
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		if nc.LocalAddr().Network() != "unix" {
			return nil
		}
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// A limitedConn is a net.Conn that cannot carry every frame: a browser's.
type limitedConn interface {
	mayPing() error                // may a Ping be sent?
	mayClose(code CloseCode) error // may a Close frame with this code?
}

// mayPing returns an error if no Ping can be sent on nc.
func mayPing(nc net.Conn) error {
	if l, ok := nc.(limitedConn); ok {
		return l.mayPing()
	}
	return nil
}

// mayClose returns an error if code cannot be sent on nc.
func mayClose(nc net.Conn, code CloseCode) error {
	if l, ok := nc.(limitedConn); ok {
		return l.mayClose(code)
	}
	return nil
}

// epoch is when instants are counted from: a moment before the program begins,
// so that none of its instants is 0.
var epoch = time.Now().Add(-time.Microsecond)

// An instant is a time on the monotonic clock, in nanoseconds since epoch.
type instant int64

// The first and the last instant, 146 years from epoch: a deadline in the past
// interrupts whatever waits.
const (
	past   instant = -1 << 62
	future instant = 1 << 62
)

// now returns the current instant. It is never 0.
func now() instant { return instant(time.Since(epoch)) }

// instantOf returns the instant of a deadline, which is 0 for the zero time.
func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	d := max(time.Duration(past), min(time.Until(t), time.Duration(future)))
	if i := now().add(d); i != 0 {
		return i
	}
	return past
}

// add returns the instant d later, at most future.
func (i instant) add(d time.Duration) instant {
	if d > time.Duration(future)-time.Duration(max(i, 0)) {
		return future
	}
	return i + instant(d)
}

// time returns the instant as a time.Time.
func (i instant) time() time.Time { return epoch.Add(time.Duration(i)) }

// until returns how long after now i comes.
func (i instant) until() time.Duration { return time.Duration(i - now()) }
