package websocket

import (
	"context"
	"net"
	"os"
	"time"
)

// This file bounds an opening handshake in time, by a context or by a timeout,
// on any net.Conn: also on one that has no deadlines, or does not keep them.

// closeWhenDone closes nc when ctx ends: on some net.Conns, only that ends a
// call that waits. The caller calls stop once, which returns the error of ctx
// if nc is closed or about to be.
func closeWhenDone(ctx context.Context, nc net.Conn) (stop func() error) {
	if ctx.Done() == nil {
		return func() error { return nil }
	}
	stopped := context.AfterFunc(ctx, func() { closeNow(nc) })
	return func() error {
		if stopped() {
			return nil
		}
		return ctx.Err()
	}
}

// A handshakeTimer bounds the reads and writes of a handshake by a deadline of
// the net.Conn, so that the peer can still be told of a timeout. If the
// net.Conn has no deadlines, or may not keep them, a timer closes it.
type handshakeTimer struct {
	nc          net.Conn
	hasDeadline bool        // nc accepted one
	timer       *time.Timer // nil: nc keeps its deadlines, or the time is not bounded
}

// deadlineGrace is how long after its deadline a net.Conn is taken for one that
// does not keep deadlines.
const deadlineGrace = 100 * time.Millisecond

// startTimer starts a handshakeTimer that ends in d, or never if d is forever.
// The caller calls stop or finish once.
func startTimer(nc net.Conn, d time.Duration) *handshakeTimer {
	t := &handshakeTimer{nc: nc}
	if d == forever {
		t.hasDeadline = nc.SetDeadline(time.Time{}) == nil
		return t
	}
	t.hasDeadline = nc.SetDeadline(time.Now().Add(d)) == nil
	switch {
	case t.hasDeadline && isSocket(nc):
		return t
	case t.hasDeadline:
		d += deadlineGrace
	}
	t.timer = time.AfterFunc(d, func() { closeNow(nc) })
	return t
}

// stop stops the timer and leaves the deadline as it is. It returns
// os.ErrDeadlineExceeded if the timer has fired: nc is then closed, or about to
// be.
func (t *handshakeTimer) stop() error {
	if t.timer != nil && !t.timer.Stop() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// finish stops the timer at the end of a handshake and returns the handshake's
// error: that of a timer that has fired, or err. If both are nil, it removes
// the deadline from nc; that nc cannot have one is no error.
func (t *handshakeTimer) finish(err error) error {
	if late := t.stop(); late != nil {
		return &HandshakeError{Reason: "handshake was given up", Err: late}
	}
	if err != nil {
		return err
	}
	if err := t.nc.SetDeadline(time.Time{}); err != nil && t.hasDeadline {
		return &HandshakeError{Reason: "deadline was not cleared", Err: err}
	}
	return nil
}
