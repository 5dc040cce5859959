package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines lets contexts and deadlines interrupt the network calls of one
// direction. It owns that direction's deadline on the net.Conn, which nothing
// else may set, except Conn.drain when nobody reads any more.
//
//	       arm                  the call returns
//	idle ───────► armed ───────────────────────────► disarm ──► idle
//	                │                                  ▲ sets the deadline
//	                │ the context ends, or preempt     │ back to the user's
//	                └────► interrupted ────────────────┘
//	                       the deadline is in the past
//
// A call that is about to block arms the deadlines and disarms them afterwards,
// one call at a time: whoever arms them holds read.lock or is the flusher. Only
// in between does the end of the context, or preempt, set the deadline on the
// net.Conn to the past. A context is registered once, when a call first blocks
// under it, and stays so until a call comes with another one or the connection
// ends.
//
// While nothing is armed, the deadline on nc is the one that the user set, or,
// if alwaysSet, what the last call left there. While a call is armed it is the
// earlier of the user's and call.limit, or for an internal call just
// call.limit, or past once call.interrupted is set.
//
// A net.Conn need not have deadlines, or need not obey those that it accepts
// (see deadlineSupport). On one that has none, whatever interrupts a call
// closes the net.Conn, and preempt does nothing.
//
// All methods may be called from any goroutine. Those that say so may be called
// on nil, which stands for deadlines that nobody has needed so far.
type deadlines struct {
	mu        sync.Mutex
	nc        *socket
	direction direction
	alwaysSet bool // every call sets the deadline, so that none is taken back at once

	user     userDeadline
	call     armedCall
	followed followedContext
	support  deadlineSupport
	leftover leftoverDeadline
}

// A direction is that of the bytes that a deadline is for.
type direction uint8

const (
	forReading direction = iota
	forWriting
)

// A userDeadline is what the application set.
type userDeadline struct {
	at      instant       // 0 for none
	changed chan struct{} // closed when at is set again; nil if nobody waits
}

// An armedCall is a network call that is blocked, or about to be.
type armedCall struct {
	armed          bool
	internal       bool        // the connection makes it for itself: it can be preempted, and the user's deadline does not apply
	followsContext bool        // the end of the followed context interrupts it
	interrupted    bool        // it was: the deadline on nc is in the past
	overridden     bool        // the deadline on nc is not the user's
	limit          instant     // when it ends at the latest; 0 for never
	alarm          *time.Timer // interrupts it at its deadline, if nc has no deadlines
}

// A followedContext is one whose end interrupts calls.
type followedContext struct {
	done <-chan struct{}
	stop func() bool // ends the registration
}

// deadlineSupport is what is known of the deadlines of nc.
type deadlineSupport struct {
	missing         bool  // it has none: interrupting a call closes it
	accepted        bool  // it took one without an error
	proven          bool  // one in the past has ended a call
	closedTransport bool  // it was closed to interrupt a call
	broken          error // why it does not take them any more: calls may time out for ever
	ended           bool  // calls that begin or wait are to return
}

// A leftoverDeadline is one that a call left on nc, because the next one sets
// another.
type leftoverDeadline struct {
	at      instant     // 0 for none
	timer   *time.Timer // takes it back
	running bool        // timer runs
	half    instant     // half of the time that was left when timer was set
}

// lazyDeadlines are deadlines created on first use. Most connections never need
// any.
type lazyDeadlines struct{ ptr atomic.Pointer[deadlines] }

// ensure returns the deadlines for one direction of nc, creating them if there
// are none.
func (l *lazyDeadlines) ensure(nc *socket, dir direction) *deadlines {
	if d := l.ptr.Load(); d != nil {
		return d
	}
	l.ptr.CompareAndSwap(nil, &deadlines{nc: nc, direction: dir, alwaysSet: dir == forWriting && !nc.isRaw()})
	return l.ptr.Load()
}

// load returns the deadlines, or nil.
func (l *lazyDeadlines) load() *deadlines { return l.ptr.Load() }

// arm prepares for a call that may block. The call ends early when ctx does, at
// limit unless that is 0, and at the user's deadline. If arm returns nil,
// disarm must be called. Otherwise the call must not begin: the error is that
// of ctx, os.ErrDeadlineExceeded, or why nc takes no deadline or no call.
//
// An internal call, one that the connection makes for itself, has a yield
// function. The user's deadline does not apply to it. If yield, called under
// d.mu, returns true, arm returns os.ErrDeadlineExceeded; whoever makes it
// true later has to call preempt, which ends the call.
func (d *deadlines) arm(ctx context.Context, limit instant, yield func() bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.support.broken != nil {
		return d.support.broken // a deadline in the past may stand
	}
	if d.support.ended {
		return net.ErrClosed
	}
	if d.support.closedTransport { // though the call that was interrupted has returned without an error
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", err, net.ErrClosed)
		}
		return net.ErrClosed
	}
	if yield != nil && yield() {
		return os.ErrDeadlineExceeded
	}
	if done := ctx.Done(); done != nil {
		d.followLocked(ctx, done)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	d.call.internal, d.call.limit = yield != nil, limit
	if d.alwaysSet && !d.call.internal && d.user.at != 0 && d.user.at.until() <= 0 {
		return os.ErrDeadlineExceeded // not to begin what cannot be resumed
	}
	if t := d.effectiveLocked(); d.alwaysSet || t != d.user.at {
		d.call.overridden = true
		if err := d.setLocked(t); err != nil {
			return err
		}
	}
	d.call.armed, d.call.followsContext = true, ctx.Done() != nil
	d.setAlarmLocked()
	return nil
}

// setAlarmLocked lets a timer do what the deadline does, where there is none.
// The caller holds d.mu.
func (d *deadlines) setAlarmLocked() {
	at := d.effectiveLocked()
	if !d.support.missing || at == 0 {
		return
	}
	if d.call.alarm == nil {
		d.call.alarm = time.AfterFunc(at.until(), d.onAlarm)
	} else {
		d.call.alarm.Reset(at.until())
	}
}

// onAlarm is called by the alarm, possibly too late for the call that it was
// set for.
func (d *deadlines) onAlarm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.effectiveLocked(); d.call.armed && at != 0 && at <= now() {
		d.interruptLocked()
	}
}

// emulated reports whether the net.Conn has no deadlines, so that an interrupted
// call has closed it. d may be nil.
func (d *deadlines) emulated() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.support.missing
}

// areAccepted reports whether the net.Conn has accepted a deadline. d may be nil.
func (d *deadlines) areAccepted() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.support.accepted
}

// effectiveLocked returns the deadline of the armed call, or 0 for none. The
// caller holds d.mu.
func (d *deadlines) effectiveLocked() instant {
	if d.call.internal || d.user.at == 0 || d.call.limit != 0 && d.call.limit < d.user.at {
		return d.call.limit
	}
	return d.user.at
}

// disarm ends what arm began, if anything. It reports whether the call was
// interrupted by its context, by preempt, or by the alarm.
func (d *deadlines) disarm() (interrupted bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	interrupted = d.call.interrupted
	switch {
	case d.support.ended: // the deadline in the past stays
	case d.call.interrupted || d.call.overridden && !d.alwaysSet:
		d.setLocked(d.user.at)
	case d.alwaysSet && d.call.limit != 0:
		d.leftover.at = d.call.limit
		d.sweepLaterLocked()
	}
	d.call = armedCall{alarm: d.call.alarm}
	if d.call.alarm != nil {
		d.call.alarm.Stop()
	}
	return interrupted
}

// sweepLaterLocked makes sure that a deadline left on nc is taken back before
// it passes: crypto/tls also writes on its own account, when the peer asks for
// new keys, and must not find a deadline in the past. The caller holds d.mu.
func (d *deadlines) sweepLaterLocked() {
	if d.leftover.running {
		return
	}
	left := d.leftover.at.until()
	if left <= 0 {
		d.setLocked(d.user.at)
		return
	}
	d.leftover.running = true
	d.leftover.half = instant(max(left/2, time.Millisecond))
	if d.leftover.timer == nil {
		d.leftover.timer = time.AfterFunc(time.Duration(d.leftover.half), d.onSweep)
	} else {
		d.leftover.timer.Reset(time.Duration(d.leftover.half))
	}
}

// onSweep is called by the timer of leftover. It takes the deadline back unless
// a call is armed or the deadline has been renewed.
func (d *deadlines) onSweep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := instant(d.leftover.at.until())
	switch {
	case !d.leftover.running:
	case d.call.armed || left > d.leftover.half:
		d.leftover.timer.Reset(time.Duration(max(left-d.leftover.half, d.leftover.half/2, 1)))
	default:
		d.leftover.running, d.leftover.at = false, 0
		d.setLocked(d.user.at)
	}
}

// followLocked makes ctx the context whose end interrupts armed calls. The
// caller holds d.mu.
func (d *deadlines) followLocked(ctx context.Context, done <-chan struct{}) {
	if d.followed.done == done {
		return
	}
	if d.followed.stop != nil {
		d.followed.stop()
	}
	d.followed.done = done
	d.followed.stop = context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.call.followsContext && d.followed.done == done {
			d.interruptLocked()
		}
	})
}

// preempt interrupts the armed call if it is internal. d may be nil: a call
// that creates the deadlines later asks yield.
func (d *deadlines) preempt() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.call.armed || !d.call.internal {
		return
	}
	if d.setLocked(past); !d.support.missing {
		d.call.interrupted = true
	}
	if d.support.broken != nil {
		d.closeLocked()
	}
}

// end makes calls return, those that wait and those to come, because the connection
// has ended. It reports false if they do not, as far as is known: on a net.Conn without
// deadlines, or one that does not take them any more.
func (d *deadlines) end() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.support.ended = true
	return d.setLocked(past) == nil && !d.support.missing
}

// canPreempt reports whether preempt is known to end a call: not on a net.Conn
// without deadlines, and on one that is not a socket only once that was proven.
func (d *deadlines) canPreempt() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nc.isRaw() || d.support.proven || isSocket(d.nc.Conn)
}

// replaceSocket makes nc the socket whose deadlines are set, while no call is
// armed. d may be nil.
func (d *deadlines) replaceSocket(nc *socket) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nc = nc; d.user.at != 0 {
		d.setLocked(d.user.at)
	}
}

// areSupported reports whether nc accepts deadlines, by setting one.
func (d *deadlines) areSupported() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setLocked(d.user.at)
	return !d.support.missing
}

// noteProven records that a deadline has ended a call.
func (d *deadlines) noteProven() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.support.proven = true
}

// interruptLocked makes the armed call return. The caller holds d.mu.
func (d *deadlines) interruptLocked() {
	d.call.interrupted = true
	if d.setLocked(past); d.support.missing || d.support.broken != nil {
		d.closeLocked()
	}
}

// closeLocked closes nc, which interrupts all calls, without waiting for that.
// The caller holds d.mu.
func (d *deadlines) closeLocked() {
	if !d.support.closedTransport {
		d.support.closedTransport = true
		go closeNow(d.nc.Conn)
	}
}

// hasClosedTransport reports whether nc was closed to interrupt a call. d may
// be nil.
func (d *deadlines) hasClosedTransport() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.support.closedTransport
}

// setUserDeadline sets the user's deadline, which also applies to an armed call
// that is not internal. That nc is closed is not an error here: the next call
// returns it.
func (d *deadlines) setUserDeadline(t instant) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user.at = t
	if d.user.changed != nil {
		close(d.user.changed)
		d.user.changed = nil
	}
	switch {
	case d.call.interrupted:
		return nil
	case d.call.armed:
		t = d.effectiveLocked()
		d.call.overridden = t != d.user.at
	}
	err := d.setLocked(t)
	if d.call.armed {
		d.setAlarmLocked()
	}
	if isClosedError(err) {
		return nil
	}
	return err
}

// isClosedError reports whether err says that a net.Conn is closed.
func isClosedError(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// expired reports whether the user's deadline has passed. d may be nil.
func (d *deadlines) expired() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.user.at != 0 && d.user.at.until() <= 0
}

// userDeadline returns the user's deadline, or 0 for none, and a channel that
// is closed when it is set again.
func (d *deadlines) userDeadline() (user instant, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.user.changed == nil {
		d.user.changed = make(chan struct{})
	}
	return d.user.at, d.user.changed
}

// errEnded is returned by await when ended is closed.
var errEnded = errors.New("websocket: connection ended")

// await waits for ready without a network call. It returns the error of ctx,
// os.ErrDeadlineExceeded or errEnded if ctx ends, the user's deadline passes,
// or ended is closed first. A deadline that is set meanwhile counts. A nil
// channel is never closed.
func (d *deadlines) await(ctx context.Context, ready, ended <-chan struct{}) error {
	for {
		user, changed := d.userDeadline()
		var passed <-chan time.Time
		if user != 0 {
			passed = time.After(user.until())
		}
		select {
		case <-ready:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return errEnded
		case <-passed:
			return os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

// unfollow ends the registration of the context, and the timer of leftover. d
// may be nil.
func (d *deadlines) unfollow() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.followed.stop != nil {
		d.followed.stop()
	}
	d.followed.stop, d.followed.done, d.call.followsContext = nil, nil, false
	if d.leftover.timer != nil {
		d.leftover.timer.Stop()
		d.leftover.running = false
	}
}

// setLocked sets the deadline on the net.Conn; 0 means none. That nc has no
// deadlines is recorded, and is not an error; that it takes none any more is
// recorded too, and is one. The caller holds d.mu.
func (d *deadlines) setLocked(at instant) error {
	if d.support.missing || d.support.broken != nil {
		return d.support.broken
	}
	var t time.Time
	if at != 0 {
		t = at.time()
	}
	set := d.nc.SetReadDeadline
	if d.direction == forWriting {
		set = d.nc.SetWriteDeadline
	}
	err := set(t)
	switch {
	case err == nil:
		d.support.accepted = true
	case isClosedError(err):
		return err
	case d.support.accepted:
		d.support.broken = err
		return err
	default:
		d.support.missing = true
	}
	return nil
}

// whyBroken returns why nc no longer accepts deadlines, or nil if it does. d
// may be nil.
func (d *deadlines) whyBroken() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.support.broken
}
