package websocket

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lifetime is what is known of the end of a connection. mu guards it; what is
// atomic may be read without mu, and closingTransport also set.
type lifetime struct {
	mu               sync.Mutex
	closingTransport atomic.Bool                  // the net.Conn is being closed, or is closed
	transportClosed  bool                         // the net.Conn is closed
	closing          atomic.Pointer[closingState] // nil until the end begins
	audience         *audience                    // nil until somebody waits for the end
}

// closingState is what is known of the end of a connection that has begun to end.
// Conn.life.mu guards it; what is atomic may be read without.
type closingState struct {
	deadline instant                    // when the closing handshake must be over; 0: not begun
	refusal  atomic.Pointer[CloseError] // what writers are told once Close was called
	attended atomic.Bool                // the application read when Close was called
	deaf     atomic.Bool                // messages that come are dropped
	waiting  atomic.Int32               // calls of Close that wait for read.lock
	ending   atomic.Pointer[CloseError] // what will be the end: nothing is read any more
	terminal atomic.Pointer[CloseError] // the terminal error
}

// beginLocked returns what is known of the end, which begins if it has not. The
// caller holds mu.
func (l *lifetime) beginLocked() *closingState {
	if l.closing.Load() == nil {
		l.closing.Store(new(closingState))
	}
	return l.closing.Load()
}

// refusal returns what writers are told once Close was called, or nil.
func (l *lifetime) refusal() *CloseError {
	if e := l.closing.Load(); e != nil {
		return e.refusal.Load()
	}
	return nil
}

// ending returns what will be the end, or nil. Once there is something, nothing
// is read any more.
func (l *lifetime) ending() *CloseError {
	if e := l.closing.Load(); e != nil {
		return e.ending.Load()
	}
	return nil
}

// terminal returns the terminal error, or nil.
func (l *lifetime) terminal() *CloseError {
	if e := l.closing.Load(); e != nil {
		return e.terminal.Load()
	}
	return nil
}

// fail ends the connection because of err, which is mostly one of the network,
// and returns the terminal error. What writers were told is written leaves
// first, as far as the network takes it.
func (c *Conn) fail(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if ending := c.life.ending(); ending != nil {
		c.settleEnd(ending, dropUnsent)
		return c.terminal()
	}
	c.breakOff(c.abnormalEnd(err))
	return c.terminal()
}

// abnormalEnd returns the terminal error of a connection that ends because of err,
// without the peer's Close frame.
func (c *Conn) abnormalEnd(err error) *CloseError {
	return &CloseError{Code: CloseAbnormal, Sent: c.out.closeSent(), Err: err}
}

// breakOff makes end the terminal error, unless there is one, and closes the
// net.Conn without waiting. What was reported as written leaves first, as far
// as the network takes it.
func (c *Conn) breakOff(end *CloseError) {
	leaves := c.out.flushLast()
	if leaves == nil {
		if c.terminate(end, dropUnsent) {
			c.closeTransport()
		}
		return
	}
	if !c.terminate(end, sendUnsent) {
		return
	}
	go func() {
		select {
		case <-leaves:
		case <-time.After(maxLeaving):
		}
		c.closeTransport()
	}()
}

// maxLeaving bounds how long a connection that is broken off lets what was
// written before leave, where that cannot be done without waiting.
const maxLeaving = 100 * time.Millisecond

// failProtocol ends the connection because of the peer's violation: the peer is
// told, and nothing more of what it sends is looked at (RFC 6455, Section
// 7.1.7). It returns what conclude does. The caller holds read.lock.
func (c *Conn) failProtocol(v violation) error {
	breach := v.err()
	return c.conclude(&CloseError{Code: breach.Code, Reason: breach.Text, Err: breach}, nil)
}

// terminate makes end the terminal error, unless there is one, and wakes
// everyone that waits. It reports whether end was the first; then the caller
// must close the net.Conn.
func (c *Conn) terminate(end *CloseError, rest unsent) bool {
	c.life.mu.Lock()
	if c.life.terminal() != nil {
		c.life.mu.Unlock()
		return false
	}
	closing := c.life.beginLocked()
	closing.ending.CompareAndSwap(nil, end)
	c.out.refuse(end) // nothing is written any more once the end is known
	var watchers []watcher
	if a := c.life.audience; a != nil {
		if a.cancelCtx != nil {
			a.cancelCtx(end) // before any call can return the terminal error
		}
		watchers = slices.Clone(a.watchers)
	}
	closing.terminal.Store(end)
	if c.life.audience != nil {
		c.life.audience.ended.set()
	}
	if closing.deadline == 0 {
		closing.deadline = now().add(c.cfg.CloseTimeout)
	}
	c.stopKeepaliveLocked()
	c.life.mu.Unlock()

	c.out.refuseAll(end, rest)
	c.send.queue.Load().end(end)
	c.read.deadlines.load().unfollow()
	if rest == dropUnsent {
		c.out.deadlines.load().unfollow() // otherwise closeTransport does, when nobody writes any more
	}
	for _, w := range watchers {
		w.ended(c)
	}
	if c.hostedStream() != nil {
		go c.report(end) // its hook may call CloseNow, which waits there for what the caller does next
	} else {
		c.report(end)
	}
	if c.isParked() {
		c.resumeDelivery()
	}
	return true
}

// report tells the Trace and the Logger of the end. The peer's reason is quoted
// (RFC 6455, Section 5.5.1).
func (c *Conn) report(end *CloseError) {
	if t := c.cfg.Trace; t != nil && t.Closed != nil {
		t.Closed(c, end)
	}
	if c.cfg.Logger != nil && !end.clean() {
		c.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "websocket: connection failed",
			slog.Any("err", end), slog.Any("peer", c.socket().RemoteAddr()))
	}
}

// terminal returns the terminal error, or nil while there is none.
func (c *Conn) terminal() error {
	if end := c.life.terminal(); end != nil {
		return end
	}
	return nil
}

// contextError returns nil if ctx has not ended; otherwise its error, or the
// terminal error if the connection has ended too: a context made from the
// connection's own ends with it.
func (c *Conn) contextError(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	c.life.mu.Lock() // under which terminate ends the context first
	defer c.life.mu.Unlock()
	if end := c.terminal(); end != nil {
		return end
	}
	return err
}

// closeTransport closes the net.Conn without waiting for anything, frees the
// memory and tells those that wait for it. Calls after the first do nothing.
func (c *Conn) closeTransport() {
	if c.life.closingTransport.Swap(true) {
		return
	}
	c.unwatchInput()
	if !c.read.deadlines.load().hasClosedTransport() && !c.out.deadlines.load().hasClosedTransport() {
		closeNow(c.socket().Conn)
	}
	c.out.freeBuffers()
	c.releaseReading()
	if c.deflate != nil && c.send.lock.tryLock() {
		c.deflate.compressor.Drop()
		c.send.lock.unlock()
	}
	c.life.mu.Lock()
	c.life.transportClosed = true
	var watchers []watcher
	if a := c.life.audience; a != nil {
		a.transportClosed.set()
		watchers, a.watchers = a.watchers, nil
	}
	c.life.mu.Unlock()
	for _, w := range watchers {
		w.gone(c)
	}
}

// A watcher keeps connections, and lets go of them as they end. It is called
// without locks of the connection, and calls watch and unwatch under its own
// lock.
type watcher interface {
	ended(c *Conn) // c has its terminal error
	gone(c *Conn)  // and its net.Conn is closed
}

// watch registers w for the end. It reports false, and w hears nothing, if the
// connection has ended.
func (c *Conn) watch(w watcher) bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.terminal() != nil {
		return false
	}
	a := c.audienceLocked()
	a.watchers = append(a.watchers, w)
	return true
}

// unwatch undoes watch. If the connection is ending, w may still hear of it.
func (c *Conn) unwatch(w watcher) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if a := c.life.audience; a != nil {
		if i := slices.Index(a.watchers, w); i >= 0 {
			a.watchers = slices.Delete(a.watchers, i, i+1)
		}
	}
}

// whenTransportClosed calls f, without locks, once the net.Conn is closed: at once
// if it is.
func (c *Conn) whenTransportClosed(f func()) {
	c.life.mu.Lock()
	waits := !c.life.transportClosed
	if waits {
		a := c.audienceLocked()
		a.watchers = append(a.watchers, &closedWatcher{f})
	}
	c.life.mu.Unlock()
	if !waits {
		f()
	}
}

// A closedWatcher calls a function when the net.Conn is closed.
type closedWatcher struct{ f func() }

func (*closedWatcher) ended(*Conn)  {}
func (w *closedWatcher) gone(*Conn) { w.f() }

// An audience is everyone that waits for the end of a connection. Conn.life.mu
// guards it.
type audience struct {
	ended           event // there is a terminal error
	transportClosed event // the net.Conn is closed
	ctx             *ownContext
	cancelCtx       context.CancelCauseFunc
	watchers        []watcher // nil once the net.Conn is closed
}

// audienceLocked returns the audience, creating it if there is none. The caller
// holds life.mu.
func (c *Conn) audienceLocked() *audience {
	if c.life.audience == nil {
		c.life.audience = new(audience)
		if c.life.terminal() != nil {
			c.life.audience.ended.set()
		}
		if c.life.transportClosed {
			c.life.audience.transportClosed.set()
		}
	}
	return c.life.audience
}

// An event happens once. Its channel exists only if somebody waits.
// Conn.life.mu guards it.
type event struct {
	happened bool
	ch       chan struct{}
}

// set makes the event happen.
func (e *event) set() {
	if !e.happened && e.ch != nil {
		close(e.ch)
	}
	e.happened = true
}

// channel returns a channel that is closed when the event has happened.
func (e *event) channel() <-chan struct{} {
	if e.ch == nil {
		e.ch = make(chan struct{})
		if e.happened {
			close(e.ch)
		}
	}
	return e.ch
}

// endedChan returns a channel that is closed once there is a terminal error.
func (c *Conn) endedChan() <-chan struct{} {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	return c.audienceLocked().ended.channel()
}

// isTransportClosed reports whether the net.Conn is closed.
func (c *Conn) isTransportClosed() bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	return c.life.transportClosed
}

// transportClosedChan returns a channel that is closed once the net.Conn is.
func (c *Conn) transportClosedChan() <-chan struct{} {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	return c.audienceLocked().transportClosed.channel()
}

// Context returns a context that is done when the connection has ended. Its
// cause is the terminal *CloseError. It carries no values.
func (c *Conn) Context() context.Context {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	a := c.audienceLocked()
	if a.ctx == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		a.ctx, a.cancelCtx = &ownContext{ctx, c}, cancel
		if end := c.life.terminal(); end != nil {
			cancel(end)
		}
	}
	return a.ctx
}

// An ownContext is what Context returns.
type ownContext struct {
	context.Context
	c *Conn
}

// callContext returns ctx or, if that is the connection's own, a context
// without an end: all calls end with the connection, and to follow the context
// costs memory.
func (c *Conn) callContext(ctx context.Context) context.Context {
	if own, ok := ctx.(*ownContext); ok && own.c == c {
		return context.Background()
	}
	return ctx
}
