package websocket

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is a WebSocket connection. All its methods may be called by several
// goroutines at once.
//
// # Reading
//
// One goroutine reads at a time; others wait for their turn. When a context
// ends or a deadline passes, the call returns and the connection lives: what
// was received is kept, and the next read goes on in the same message. Pings
// are answered and the closing handshake is done by whoever reads.
//
// # Writing
//
// Writers that come together share a system call. A write whose context ends,
// or whose deadline passes, before its bytes have begun to go out is withdrawn:
// nothing is sent, and [Stats] do not count it. Once they have begun, which on
// a net.Conn other than a socket is when they were handed to its Write, they
// are finished in the background as long as the peer takes something within
// Config.WriteTimeout. Over TLS those who wait share records, and an interrupted
// record cannot be resumed: there a write that is interrupted in the middle ends
// the connection.
//
// What [Conn.Send] took and replies that are held are never withdrawn.
//
// A net.Conn without deadlines, such as a channel of SSH, can only be
// interrupted by closing it: there a call that is interrupted while it waits for
// the network ends the connection.
//
// While more whole messages wait to be read, small replies are held, so that
// they leave together: at the latest when the reader waits for input, or after
// Config.HoldReplies. Then a write returns before its bytes are on the
// network, and an error shows in a later call.
//
// # The end
//
// Once a connection has ended, every call returns the same [*CloseError],
// which is also the cause of [Conn.Context].
//
// A connection must be closed. One that is dropped instead lives, and is still
// read for control frames, until its peer ends it or is found to be gone.
type Conn struct {
	nc          socket
	cfg         *Config
	subprotocol string
	role        role
	gone        bool // the net.Conn is closed; guarded by mu

	// Locks are taken in this order: reading, sending, queue, mu, guard and
	// writer. Only the two turns are held across I/O.

	readers   atomic.Int32 // calls of the application that wait to read
	standIn   atomic.Int32 // who reads when the application does not: a state of the stand-in
	stuck     atomic.Bool  // the stand-in left a data frame that nobody reads
	probing   atomic.Bool  // a Ping of the keepalive waits for a sign of life
	shut      atomic.Bool  // the net.Conn is being closed
	reading   turn         // who may use in and msg
	readGuard lateGuard
	in        frameReader
	msg       inbound
	deflate   *deflation // nil: messages are not compressed
	sending   turn       // who may append data frames; a streamed message keeps it
	out       frameWriter
	counters  counters
	queue     atomic.Pointer[sendQueue] // nil until Send needs it
	pings     atomic.Pointer[pings]     // nil until the first Ping

	mu        sync.Mutex
	ending    atomic.Pointer[CloseError] // what will be the end: nothing is read any more; set under mu
	end       atomic.Pointer[CloseError] // the terminal error; set under mu
	closing   atomic.Pointer[CloseError] // what writers are told once Close was called; set under mu
	closeBy   instant                    // when the closing handshake must be over
	audience  *audience                  // who waits for the end; nil until somebody does
	keepalive keepalive
}

// newConn makes a connection of nc, on which the opening handshake is over.
// cfg must be settled. early holds what was received after the handshake; it
// is copied.
func newConn(nc net.Conn, r role, cfg *Config, agreed agreement, early []byte) *Conn {
	c := &Conn{nc: socket{nc, rawConn(nc)}, cfg: cfg, role: r, subprotocol: agreed.subprotocol}
	c.in.init(&c.nc, cfg.ReadBufferSize, early)
	c.deflate = newDeflation(r, agreed.deflate, cfg.Compression)
	c.in.rules = frameRules{
		role:         r,
		deflate:      c.deflate != nil,
		maxSize:      cfg.MaxMessageSize,
		maxFragments: cfg.MaxFragments,
	}
	c.out.init(&c.nc, r, cfg, c.writeFailed)
	c.startKeepalive()
	return c
}

// A caller says on whose behalf the connection is read.
type caller struct {
	ctx context.Context
	own bool // our own: makes room for the application, ignores its deadline
}

// beginRead takes the reading turn for who, a part of the application, and ends
// the lending of the last message. After it returned nil, endRead must be
// called.
func (c *Conn) beginRead(ctx context.Context, who borrower) error {
	err := c.takeReading(ctx)
	if err == nil && c.msg.lentTo != nobody {
		c.endLending(who)
	}
	return err
}

// takeReading takes the reading turn for the application.
func (c *Conn) takeReading(ctx context.Context) error {
	if ctx.Done() != nil {
		if err := c.over(ctx); err != nil {
			return err
		}
	}
	if !c.reading.try() {
		if err := c.awaitReading(ctx); err != nil {
			return err
		}
	}
	if c.ending.Load() != nil {
		err := c.awaitEnd(caller{ctx: ctx})
		c.endRead(err)
		return err
	}
	if c.stuck.Load() {
		c.stuck.Store(false)
	}
	return nil
}

// endLending ends the lending of the last message, now that who reads. Its
// memory is used again if who borrowed it; otherwise it is left to the borrower,
// who may still look at it.
func (c *Conn) endLending(who borrower) {
	if c.msg.lentTo == who {
		c.in.unpin()
		c.msg.takeBack()
	} else {
		c.in.forsake()
		c.msg.forsake()
	}
	c.msg.lentTo = nobody
}

// awaitReading waits for the reading turn. A reader of our own is asked to
// leave it. Should the caller give up, another one takes its place.
func (c *Conn) awaitReading(ctx context.Context) error {
	g := c.guardReads()
	if err := c.terminal(); err != nil {
		return err
	}
	if g.expired() {
		return os.ErrDeadlineExceeded
	}
	c.readers.Add(1)
	g.kick()
	err := c.awaitTurn(ctx, &c.reading, g)
	c.readers.Add(-1)
	if err != nil {
		c.leaveReading()
	}
	return err
}

// leaveReading is called by those who waited for the reading turn and gave up.
// They may have had it for a moment.
func (c *Conn) leaveReading() {
	if c.shut.Load() {
		c.closeReading()
		return
	}
	c.seeToReading(atOnce)
}

// awaitTurn waits for t until ctx, the user's deadline in g, or the connection
// ends.
func (c *Conn) awaitTurn(ctx context.Context, t *turn, g *guard) error {
	w := t.enqueue()
	if w == nil {
		return nil
	}
	err := g.await(ctx, w.granted, c.endedChan())
	if err == nil {
		return nil
	}
	t.leave(w)
	if end := c.terminal(); end != nil {
		return end
	}
	if ended := c.over(ctx); ended != nil {
		return ended
	}
	return err
}

// endRead gives the reading turn on, after a call that ended with err. It is the
// only way to do that while the connection lives: whoever has had the turn sees
// to it that somebody reads on.
func (c *Conn) endRead(err error) {
	c.reading.give()
	switch {
	case c.shut.Load():
		c.closeReading()
	case err != nil && err != io.EOF:
		c.seeToReading(atOnce)
	default:
		c.seeToReading(later)
	}
}

// endReadAfter is endRead to be deferred.
func (c *Conn) endReadAfter(err *error) { c.endRead(*err) }

// receive waits for bytes from the network, into target or, if that is nil,
// into the read buffer. It is the only place where a connection waits for its
// peer to send, and before it does, all that is held leaves. Errors that leave
// the connection alive are those of the context and os.ErrDeadlineExceeded.
func (c *Conn) receive(by caller, target []byte) (int, error) {
	if c.out.hold.Load() {
		if n, ok, err := c.receiveNow(by, target); ok {
			return n, c.readFailed(err)
		}
		c.out.hold.Store(false)
	}
	if err := c.beforeWait(by); err != nil {
		return 0, err
	}
	n, err := c.in.fill(target)
	if c.msg.open && err == nil {
		c.messageHeard()
	}
	return n, c.afterWait(by, err)
}

// beginMessage is beginRead for who wants a message. On a raw socket it also
// waits until the first bytes are here. That is receive on little stack: a
// goroutine whose stack has grown keeps it while its connection is idle.
func (c *Conn) beginMessage(ctx context.Context, who borrower) error {
	if err := c.beginRead(ctx, who); err != nil {
		return err
	}
	if c.nc.raw == nil || c.in.err != nil || !c.in.idle() {
		return nil
	}
	err := c.beforeWait(caller{ctx: ctx})
	if err == nil {
		err = c.in.wait()
		err = c.afterWait(caller{ctx: ctx}, c.in.arrived(err))
	}
	if err != nil {
		c.endRead(err)
	}
	return err
}

// beforeWait lets what is held leave and arms the guard. If it returns nil,
// afterWait must be called.
func (c *Conn) beforeWait(by caller) error {
	c.out.flushHeld()
	if c.msg.giveWay {
		c.msg.giveWay = false
		runtime.Gosched()
	}
	var yield func() bool
	switch {
	case by.own:
		yield = c.readerWaits
	case by.ctx.Done() == nil && !c.readGuard.ifMade().emulates():
		return nil
	}
	err := c.guardReads().arm(by.ctx, 0, yield)
	switch {
	case err == nil:
		return nil
	case err == by.ctx.Err():
		return c.over(by.ctx)
	}
	return c.readFailed(err)
}

// afterWait disarms the guard and returns what a read ends with when fill
// returned err.
func (c *Conn) afterWait(by caller, err error) error {
	interrupted := false
	if g := c.readGuard.ifMade(); by.own || by.ctx.Done() != nil || g.emulates() {
		interrupted = g.disarm()
	}
	if !interrupted || err == nil {
		return c.readFailed(err)
	}
	cause := c.over(by.ctx)
	if cause == nil {
		cause = os.ErrDeadlineExceeded
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.readGuard.ifMade().obeyed()
		return cause
	case c.readGuard.ifMade().emulates():
		return c.fail(cause) // the interruption closed the net.Conn
	}
	return c.readFailed(err)
}

// receiveNow is receive when replies are held because more may be here. ok is
// false if nothing is: then receive goes on.
func (c *Conn) receiveNow(by caller, target []byte) (n int, ok bool, err error) {
	if by.own || by.ctx.Done() != nil && by.ctx.Err() != nil {
		return 0, false, nil
	}
	return c.in.fillNow(target)
}

// guardReads returns the guard of what is read.
func (c *Conn) guardReads() *guard { return c.readGuard.of(&c.nc, false) }

// readerWaits reports whether the application wants to read.
func (c *Conn) readerWaits() bool { return c.readers.Load() > 0 }

// readFailed returns the error that a read ends with when fill returned err.
func (c *Conn) readFailed(err error) error {
	if err == nil {
		return nil
	}
	if broken := c.readGuard.ifMade().whyBroken(); broken != nil {
		return c.fail(broken)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded // and not the words of the net.Conn
	}
	return c.fail(err)
}

// writeFailed is told of errors of the network that no writer waits for.
func (c *Conn) writeFailed(err error) { c.fail(err) }

// writeError returns the error that a write ends with when the frameWriter
// returned err.
func (c *Conn) writeError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return c.judgeWriteError(ctx, err)
}

// judgeWriteError is writeError when there is an error.
func (c *Conn) judgeWriteError(ctx context.Context, err error) error {
	if end := c.terminal(); end != nil {
		return end
	}
	switch {
	case err == errEnding:
		return c.awaitEnd(caller{ctx: ctx, own: true})
	case asCloseError(err) != nil:
		return c.writable()
	case ctx.Err() != nil && err == ctx.Err():
		return c.over(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.out.alive():
		return os.ErrDeadlineExceeded
	case !c.out.alive():
		return c.fail(err)
	default:
		return err
	}
}

// fail ends the connection because the network failed with err, and returns the
// terminal error. What writers were told is written leaves first, as far as the
// network takes it.
func (c *Conn) fail(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if ending := c.ending.Load(); ending != nil {
		c.settleEnd(ending, true)
		return c.terminal()
	}
	c.breakOff(&CloseError{Code: CloseAbnormal, Sent: c.out.closeSent(), Err: err})
	return c.terminal()
}

// breakOff makes end the terminal error, unless there is one, and closes the
// net.Conn without waiting: first, what was reported as written leaves as far
// as the network takes it.
func (c *Conn) breakOff(end *CloseError) {
	leaves := c.out.flushLast()
	if !c.terminate(end, leaves == nil) {
		return
	}
	if leaves == nil {
		c.closeTransport()
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

// failProtocol ends the connection because of the peer's violation: the peer
// is told, and nothing more of what it sends is looked at (RFC 6455,
// Section 7.1.7). It returns what conclude does. The caller has the reading turn.
func (c *Conn) failProtocol(v violation) error {
	breach := v.err()
	return c.conclude(&CloseError{Code: breach.Code, Reason: breach.Text, Err: breach}, true)
}

// terminate makes end the terminal error, unless there is one, and tells all
// who wait. With drop set, nothing more is written. It reports whether end
// was the first; then the caller must see to the net.Conn.
func (c *Conn) terminate(end *CloseError, drop bool) bool {
	c.mu.Lock()
	if c.end.Load() != nil {
		c.mu.Unlock()
		return false
	}
	c.ending.CompareAndSwap(nil, end)
	var watchers []watcher
	if a := c.audience; a != nil {
		if a.cancelCtx != nil {
			a.cancelCtx(end) // before any call can return the terminal error
		}
		watchers = slices.Clone(a.watchers)
	}
	c.end.Store(end)
	if c.audience != nil {
		c.audience.ended.set()
	}
	if c.closeBy == 0 {
		c.closeBy = now().add(c.cfg.CloseTimeout)
	}
	c.keepalive.stop()
	c.mu.Unlock()

	c.out.fail(end, drop)
	c.queue.Load().end(end)
	c.readGuard.ifMade().release()
	if drop {
		c.out.guard.ifMade().release() // otherwise closeTransport does, when nobody writes any more
	}
	for _, w := range watchers {
		w.ended(c)
	}
	c.report(end)
	return true
}

// report tells the trace and the logger of the end. What the peer gave as its
// reason is quoted (RFC 6455, Section 5.5.1).
func (c *Conn) report(end *CloseError) {
	if t := c.cfg.Trace; t != nil && t.Closed != nil {
		t.Closed(end)
	}
	if c.cfg.Logger != nil && !end.clean() {
		c.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "websocket: connection failed",
			slog.Any("err", end), slog.Any("peer", c.nc.RemoteAddr()))
	}
}

// A watcher keeps connections and lets go of them as they end. It is called
// without locks of the connection, and calls watch and unwatch under its own.
type watcher interface {
	ended(c *Conn) // c has its terminal error
	gone(c *Conn)  // and its net.Conn is closed
}

// watch makes w hear of the end. It reports false, and w hears nothing, if
// the connection has ended.
func (c *Conn) watch(w watcher) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.Load() != nil {
		return false
	}
	a := c.audienceLocked()
	a.watchers = append(a.watchers, w)
	return true
}

// unwatch undoes watch. If the connection is ending, w may still hear of it.
func (c *Conn) unwatch(w watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.audience; a != nil {
		if i := slices.Index(a.watchers, w); i >= 0 {
			a.watchers = slices.Delete(a.watchers, i, i+1)
		}
	}
}

// terminal returns the terminal error, or nil while there is none.
func (c *Conn) terminal() error {
	if end := c.end.Load(); end != nil {
		return end
	}
	return nil
}

// over returns the error of ctx if it has ended, or the terminal error if the
// connection has: the connection's own context ends with it.
func (c *Conn) over(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	c.mu.Lock() // under which terminate ends the context first
	defer c.mu.Unlock()
	if end := c.terminal(); end != nil {
		return end
	}
	return err
}

// closeTransport closes the net.Conn without waiting for anything.
func (c *Conn) closeTransport() {
	if c.shut.Swap(true) {
		return
	}
	if !c.readGuard.ifMade().hasClosed() && !c.out.guard.ifMade().hasClosed() {
		c.nc.shut()
	}
	c.out.close()
	c.closeReading()
	if c.deflate != nil && c.sending.try() {
		c.deflate.compressor.Drop()
		c.sending.give()
	}
	c.mu.Lock()
	c.gone = true
	var watchers []watcher
	if a := c.audience; a != nil {
		a.gone.set()
		watchers, a.watchers = a.watchers, nil
	}
	c.mu.Unlock()
	for _, w := range watchers {
		w.gone(c)
	}
}

// closeReading gives back the memory that reading needs, unless somebody reads:
// that call does it when it ends.
func (c *Conn) closeReading() {
	if !c.reading.try() {
		return
	}
	defer c.reading.give()
	c.readGuard.ifMade().release()
	c.in.close()
	if c.deflate != nil {
		c.deflate.decompressor.Close(net.ErrClosed)
	}
}

// An audience is all who wait for the end of a connection. It is guarded by
// Conn.mu.
type audience struct {
	ended     event // Conn.end is set
	gone      event // the net.Conn is closed
	ctx       *ownContext
	cancelCtx context.CancelCauseFunc
	watchers  []watcher // nil once the net.Conn is closed
}

// audienceLocked returns the audience, which exists from now on. The caller
// holds c.mu.
func (c *Conn) audienceLocked() *audience {
	if c.audience == nil {
		c.audience = new(audience)
		if c.end.Load() != nil {
			c.audience.ended.set()
		}
		if c.gone {
			c.audience.gone.set()
		}
	}
	return c.audience
}

// An event happens once. Its channel exists only if somebody waits. It is
// guarded by Conn.mu.
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
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.audienceLocked().ended.channel()
}

// isGone reports whether the net.Conn is closed.
func (c *Conn) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// goneChan returns a channel that is closed once the net.Conn is.
func (c *Conn) goneChan() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.audienceLocked().gone.channel()
}

// Context returns a context that is done when the connection has ended. Its
// cause is the terminal *CloseError. It carries no values.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.audienceLocked()
	if a.ctx == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		a.ctx, a.cancelCtx = &ownContext{ctx, c}, cancel
		if end := c.end.Load(); end != nil {
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

// bounding returns ctx, or, if that is the connection's own, one without an
// end: all calls end with the connection, and to watch the context costs memory.
func (c *Conn) bounding(ctx context.Context) context.Context {
	if own, ok := ctx.(*ownContext); ok && own.c == c {
		return context.Background()
	}
	return ctx
}

// SetReadDeadline sets when reads that wait return os.ErrDeadlineExceeded. The
// connection lives on, and a later read goes on where this one stopped. The
// zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if err := c.terminal(); err != nil {
		return err
	}
	return c.guardReads().setDeadline(instantOf(t))
}

// SetWriteDeadline sets when writes that wait return os.ErrDeadlineExceeded.
// Bytes that have not begun to go out are withdrawn; others are finished in
// the background. The zero time means never, but Config.WriteTimeout holds.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if err := c.terminal(); err != nil {
		return err
	}
	return c.out.guardWrites().setDeadline(instantOf(t))
}

// Subprotocol returns the subprotocol that both sides agreed on, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the peer's network address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// NetConn returns the connection underneath, to set its options. Reading,
// writing, closing it, or setting its deadlines breaks the Conn.
func (c *Conn) NetConn() net.Conn { return c.nc.Conn }
