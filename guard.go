package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A guard lets contexts and deadlines interrupt the network calls of one
// direction. It owns that direction's deadline on the net.Conn.
//
// A call that is about to block arms the guard and disarms it afterwards. Only
// while it is armed does the end of the context, or a kick, put the deadline
// into the past; disarm puts back what the user set. A context is registered
// once, when a call blocks under it for the first time, and stays so until
// another one comes or the connection ends.
//
// Not every net.Conn has deadlines. On one that has none, whatever interrupts a
// call closes the net.Conn, and a kick does nothing.
type guard struct {
	mu      sync.Mutex
	nc      *socket
	write   bool        // which direction
	keep    bool        // every call has a limit: no need to take it back
	armed   bool        // a call is blocked, or about to be
	own     bool        // it is the connection's: a kick ends it, the user's deadline does not
	fired   bool        // it was interrupted: the deadline on nc is in the past
	ctx     bool        // it listens to the registered context
	foreign bool        // the deadline on nc is not the user's
	bare    bool        // nc has no deadlines: interruptions close it
	obeys   bool        // a deadline in the past has ended a call
	works   bool        // nc has taken a deadline
	closed  bool        // nc was closed to interrupt a call
	broken  error       // why it does not take them any more: calls may time out for ever
	alarm   *time.Timer // interrupts an armed call at its deadline, if nc is bare

	leftover instant         // the deadline that the last call left on nc; 0 for none
	sweeper  *time.Timer     // takes it back
	sweeping bool            // sweeper runs
	half     instant         // of the time that a call has
	limit    instant         // of the armed call; 0 for none
	done     <-chan struct{} // of the registered context
	stop     func() bool     // ends the registration
	user     instant         // the deadline that the user set; 0 for none
	moved    chan struct{}   // closed when user is set again; nil if nobody waits
}

// A lateGuard is a guard that exists from its first use on. Most connections
// never need one.
type lateGuard struct{ made atomic.Pointer[guard] }

// of returns the guard of one direction of nc, which is made if there is none.
func (l *lateGuard) of(nc *socket, write bool) *guard {
	if g := l.made.Load(); g != nil {
		return g
	}
	l.made.CompareAndSwap(nil, &guard{nc: nc, write: write, keep: write && nc.raw == nil})
	return l.made.Load()
}

// ifMade returns the guard, or nil, on which some methods do nothing.
func (l *lateGuard) ifMade() *guard { return l.made.Load() }

// arm prepares for a call that may block. The call ends early when ctx does,
// at limit unless that is 0, and at the user's deadline. A call that the
// connection makes for itself has a yield function: the user's deadline does
// not apply to it, and if yield, asked under the guard's lock, returns true,
// the call must not begin, just as a kick ends it later.
func (g *guard) arm(ctx context.Context, limit instant, yield func() bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		return g.broken // a deadline in the past may stand
	}
	if yield != nil && yield() {
		return os.ErrDeadlineExceeded
	}
	if done := ctx.Done(); done != nil {
		g.register(ctx, done)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	g.own, g.limit = yield != nil, limit
	if g.keep && !g.own && g.user != 0 && g.user.until() <= 0 {
		return os.ErrDeadlineExceeded // not to begin what cannot be resumed
	}
	if t := g.effective(); g.keep || t != g.user {
		g.foreign = true
		if err := g.set(t); err != nil {
			return err
		}
	}
	g.armed, g.ctx = true, ctx.Done() != nil
	g.setAlarm()
	return nil
}

// setAlarm makes a timer do what the deadline does, where there is none. The
// caller holds g.mu.
func (g *guard) setAlarm() {
	at := g.effective()
	if !g.bare || at == 0 {
		return
	}
	if g.alarm == nil {
		g.alarm = time.AfterFunc(at.until(), g.ring)
	} else {
		g.alarm.Reset(at.until())
	}
}

// ring is called by the alarm, which may be late for the call that it was for.
func (g *guard) ring() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at := g.effective(); g.armed && at != 0 && at <= now() {
		g.interrupt()
	}
}

// emulates reports whether the net.Conn has no deadlines, so that even the
// user's needs an armed call. g may be nil.
func (g *guard) emulates() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bare
}

// effective returns the deadline of the armed call. The caller holds g.mu.
func (g *guard) effective() instant {
	if g.own || g.user == 0 || g.limit != 0 && g.limit < g.user {
		return g.limit
	}
	return g.user
}

// disarm ends what arm began and reports whether the call was interrupted by
// its context or a kick.
func (g *guard) disarm() (interrupted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	interrupted = g.fired
	if g.fired || g.foreign && !g.keep {
		g.set(g.user)
	} else if g.keep && g.limit != 0 {
		g.leftover = g.limit
		g.sweepLater()
	}
	g.armed, g.own, g.ctx, g.fired, g.foreign = false, false, false, false, false
	g.limit = 0
	if g.alarm != nil {
		g.alarm.Stop()
	}
	return interrupted
}

// sweepLater sees to it that a deadline that was left on nc is taken back before
// it passes: crypto/tls writes also on its own account, when the peer asks for
// new keys, and must not find it in the past. The caller holds g.mu.
func (g *guard) sweepLater() {
	if g.sweeping {
		return
	}
	left := g.leftover.until()
	if left <= 0 {
		g.set(g.user)
		return
	}
	g.sweeping = true
	g.half = instant(max(left/2, time.Millisecond))
	if g.sweeper == nil {
		g.sweeper = time.AfterFunc(time.Duration(g.half), g.sweep)
	} else {
		g.sweeper.Reset(time.Duration(g.half))
	}
}

// sweep is called by the sweeper.
func (g *guard) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := instant(g.leftover.until())
	switch {
	case !g.sweeping:
	case g.armed || left > g.half:
		g.sweeper.Reset(time.Duration(max(left-g.half, g.half/2, 1)))
	default:
		g.sweeping, g.leftover = false, 0
		g.set(g.user)
	}
}

// register makes ctx the one whose end interrupts armed calls.
func (g *guard) register(ctx context.Context, done <-chan struct{}) {
	if g.done == done {
		return
	}
	if g.stop != nil {
		g.stop()
	}
	g.done = done
	g.stop = context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.ctx && g.done == done {
			g.interrupt()
		}
	})
}

// kick interrupts the armed call if it is one that the connection makes for
// itself. g may be nil: a guard that is made later asks yield.
func (g *guard) kick() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.armed || !g.own {
		return
	}
	if g.set(past); !g.bare {
		g.fired = true
	}
	if g.broken != nil {
		g.closeLocked()
	}
}

// canKick reports whether a kick is known to end a call: not on a net.Conn
// without deadlines, and on one that is no socket only once it has been tried.
func (g *guard) canKick() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.nc.raw != nil || g.obeys || isSocket(g.nc.Conn)
}

// isSocket reports whether nc is a connection of package net, or TLS over one:
// these obey deadlines.
func isSocket(nc net.Conn) bool {
	switch nc := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		return isSocket(nc.NetConn())
	}
	return false
}

// mayObey reports whether deadlines are worth a trial. It sets one to see
// whether there are any.
func (g *guard) mayObey() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set(g.user)
	return !g.bare
}

// obeyed notes that a deadline has ended a call.
func (g *guard) obeyed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.obeys = true
}

// interrupt makes the armed call return. The caller holds g.mu.
func (g *guard) interrupt() {
	g.fired = true
	if g.set(past); g.bare || g.broken != nil {
		g.closeLocked()
	}
}

// closeLocked closes nc, which interrupts all calls. The caller holds g.mu.
func (g *guard) closeLocked() {
	if !g.closed {
		g.closed = true
		go g.nc.shut()
	}
}

// hasClosed reports whether nc was closed to interrupt a call. g may be nil.
func (g *guard) hasClosed() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// setDeadline sets the user's deadline. An armed call obeys it at once. That nc
// is closed is not its business: the next call tells of it.
func (g *guard) setDeadline(t instant) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.user = t
	if g.moved != nil {
		close(g.moved)
		g.moved = nil
	}
	switch {
	case g.fired:
		return nil
	case g.armed:
		t = g.effective()
		g.foreign = t != g.user
	}
	err := g.set(t)
	if g.armed {
		g.setAlarm()
	}
	if isClosed(err) {
		return nil
	}
	return err
}

// isClosed reports whether err says that a net.Conn is closed.
func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// expired reports whether the user's deadline has passed. g may be nil.
func (g *guard) expired() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.user != 0 && g.user.until() <= 0
}

// deadline returns the user's deadline and a channel that is closed when it is
// set again.
func (g *guard) deadline() (user instant, moved <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.moved == nil {
		g.moved = make(chan struct{})
	}
	return g.user, g.moved
}

// errEnded says that a wait was ended by the channel for that.
var errEnded = errors.New("websocket: connection ended")

// await waits for ready. It returns the error of ctx, os.ErrDeadlineExceeded
// or errEnded when ctx ends, the user's deadline passes, as it is then, or
// ended is closed first. A nil channel never is.
func (g *guard) await(ctx context.Context, ready, ended <-chan struct{}) error {
	for {
		user, moved := g.deadline()
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
		case <-moved:
		}
	}
}

// release ends the registration of a context. g may be nil.
func (g *guard) release() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		g.stop()
	}
	g.stop, g.done, g.ctx = nil, nil, false
	if g.sweeper != nil {
		g.sweeper.Stop()
		g.sweeping = false
	}
}

// set sets the deadline on the net.Conn; 0 means none. That there are no
// deadlines is noted and not an error.
func (g *guard) set(at instant) error {
	if g.bare || g.broken != nil {
		return g.broken
	}
	var t time.Time
	if at != 0 {
		t = at.time()
	}
	set := g.nc.SetReadDeadline
	if g.write {
		set = g.nc.SetWriteDeadline
	}
	err := set(t)
	switch {
	case err == nil:
		g.works = true
	case isClosed(err):
		return err
	case g.works:
		g.broken = err
		return err
	default:
		g.bare = true
	}
	return nil
}

// whyBroken returns why nc does not take deadlines any more, or nil if it does.
// g may be nil.
func (g *guard) whyBroken() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken
}
