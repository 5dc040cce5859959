package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/internal/http2stream"
)

// The closing handshake (RFC 6455, Section 7):
//
//	          Close, or a violation            the peer's Close, answered
//	open ───────────────────────────► closing ──────────────────────────► ended
//	  │                                                                     ▲
//	  └──── the peer's Close, answered; or the network fails ───────────────┘
//
// In closing, our Close frame is queued behind all data, nothing more is sent,
// and data is read and discarded until the peer's Close frame comes. An end
// sets the terminal error; one by a Close frame only once our own Close frame
// has left, or could not. After that the connection lingers: the sending half
// is shut, and what the peer still sends is read and dropped for a while,
// because closing a socket with unread input resets it, and a reset can
// overtake the Close frame.

// Is reports whether target is net.ErrClosed or the code.
func (e *CloseError) Is(target error) bool {
	if code, ok := target.(CloseCode); ok {
		return e.Code == code
	}
	return target == net.ErrClosed
}

// asCloseError returns the *CloseError in err, or nil. Calls return it
// unwrapped, so that errors.As is seldom needed.
func asCloseError(err error) *CloseError {
	if e, ok := err.(*CloseError); ok {
		return e
	}
	var e *CloseError
	errors.As(err, &e)
	return e
}

// clean reports whether the closing handshake was complete.
func (e *CloseError) clean() bool { return e.Received && e.Sent }

// maxReason is the number of bytes that a Close frame has for the reason.
const maxReason = maxControlPayload - 2

// appendClosePayload appends the payload of a Close frame: the code, and the
// reason, cut between runes to what fits. Code 0 means no payload (RFC 6455,
// Section 5.5.1).
func appendClosePayload(b []byte, code CloseCode, reason string) []byte {
	if code == 0 {
		return b
	}
	if len(reason) > maxReason {
		cut := maxReason
		for !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason...)
}

// payload returns the payload of the Close frame that says what e does.
func (e *CloseError) payload() []byte {
	if e.Code == CloseNoStatus {
		return nil
	}
	return appendClosePayload(nil, e.Code, e.Reason)
}

// parseClosePayload returns the code and reason of a received Close frame. A
// frame without them has CloseNoStatus (RFC 6455, Section 7.1.5).
func parseClosePayload(p []byte) (CloseCode, string, violation) {
	switch {
	case len(p) == 0:
		return CloseNoStatus, "", noViolation
	case len(p) == 1:
		return 0, "", closePayloadTooShort
	}
	code := CloseCode(binary.BigEndian.Uint16(p))
	switch {
	case !code.onWire():
		return 0, "", closeCodeInvalid
	case !utf8.Valid(p[2:]):
		return 0, "", closeReasonNotUTF8
	}
	return code, string(p[2:]), noViolation
}

// Close ends the connection with a closing handshake: what was written or
// queued is sent first, then a Close frame with the code and the reason, which
// is made valid UTF-8 and cut to 123 bytes; then Close waits for the peer's
// Close frame, and until the net.Conn is closed. All of that takes at most
// Config.CloseTimeout.
//
// Messages that were under way still come before the peer's Close frame. A call
// that reads while Close is called gets them, and calls that follow it, as in a
// loop, as does a Receiver. Once the application has not asked for a message for
// an eighth of CloseTimeout, at most two seconds, what comes is read and dropped.
// If nobody reads when Close is called, it is dropped from the beginning: a peer
// that waits for us to read does not block Close.
//
// Codes 0 and [CloseNoStatus] send a Close frame without a code and reason.
// With a code that must not be sent, such as [CloseAbnormal], Close ends the
// connection as [Conn.CloseNow] does, and returns an error that says so.
//
// Close returns nil if the handshake was complete and nothing was given up.
// Otherwise it returns the terminal error, or an error that wraps it and says
// how many messages accepted by Send were given up, because an open
// MessageWriter or a peer that does not read stood in their way. Calls after
// the first wait for the same end.
func (c *Conn) Close(code CloseCode, reason string) error {
	return c.CloseContext(context.Background(), code, reason)
}

// CloseContext is Close that does not go on when ctx ends: then the connection
// ends as by [Conn.CloseNow], and the error wraps that of ctx unless the closing
// handshake was complete. With a ctx that has ended the Close frame is sent, and
// not waited for. CloseTimeout remains the bound if it is earlier.
func (c *Conn) CloseContext(ctx context.Context, code CloseCode, reason string) error {
	code, reason, err := c.ownClose(code, reason)
	if err != nil {
		return err
	}
	return c.closeUntil(c.callContext(ctx), code, reason, nil)
}

// SendClose begins what Close does and does not wait: the Close frame leaves
// behind what was written and queued. What comes before the peer's Close frame
// stays the application's to read, for as long as Config.CloseTimeout, unless
// Close is called too; if nobody reads, the peer's Close frame is seen in front of
// its next message. [Conn.CloseNow] does not overtake the Close frame, unless
// messages of Send are queued before it.
//
// It returns the error of Close for a code that must not be sent, and if the
// connection is closing already, or has ended, the error that writers get.
func (c *Conn) SendClose(code CloseCode, reason string) error {
	code, reason, err := c.ownClose(code, reason)
	if err != nil {
		return err
	}
	if err := c.refusalError(); err != nil {
		return err
	}
	c.refuseWrites(code, reason, nil)
	if c.hasAddedQueued() {
		c.queueClose(code, reason, nil)
		c.out.flushNow()
	}
	go c.finishClosing(code, reason)
	return nil
}

// finishClosing does the rest of SendClose. It leaves reading to others.
func (c *Conn) finishClosing(code CloseCode, reason string) {
	ctx, cancel := context.WithDeadline(context.Background(), c.closingDeadline())
	defer cancel()
	c.sendClose(ctx, code, reason, nil)
	c.ensureReading(atOnce)
	select {
	case <-c.endedChan():
	case <-ctx.Done():
	}
	c.close(code, reason, nil)
}

// ownClose returns code and reason of a call of the application as they are
// sent. If this connection cannot send them, it ends without.
func (c *Conn) ownClose(code CloseCode, reason string) (CloseCode, string, error) {
	if code == CloseNoStatus {
		code, reason = 0, ""
	}
	err := checkClose(code)
	if err == nil {
		err = mayClose(c.socket().Conn, code)
	}
	if err != nil {
		c.closeNow()
	}
	return code, strings.ToValidUTF8(reason, "\uFFFD"), err
}

// checkClose returns an error if a Close frame must not have this code.
func checkClose(code CloseCode) error {
	if code != 0 && code != CloseNoStatus && !code.onWire() {
		return fmt.Errorf("websocket: close code %d must not be sent: the connection ends without one", uint16(code))
	}
	return nil
}

// close is Close for a code that may be sent, with a cause on our side, or nil.
func (c *Conn) close(code CloseCode, reason string, cause error) error {
	return c.closeUntil(context.Background(), code, reason, cause)
}

// closeUntil is close that ends with ctx.
func (c *Conn) closeUntil(ctx context.Context, code CloseCode, reason string, cause error) error {
	first := c.terminal() == nil
	if first {
		c.closingHandshake(ctx, code, reason, cause)
	}
	if !c.isTransportClosed() {
		c.awaitTransportClosed(ctx, func() { c.giveUpClosing(ctx, code, reason, cause) })
	}
	c.awaitMayReturn()
	end := c.life.terminal()
	if first && cause == nil {
		if lost := c.send.queue.Load().givenUp(end.clean()); lost != nil {
			return fmt.Errorf("%w: %w", lost, end)
		}
	}
	if !end.clean() {
		return end
	}
	return nil
}

// awaitTransportClosed waits until the net.Conn is closed. If ctx ends before, it
// calls giveUp.
func (c *Conn) awaitTransportClosed(ctx context.Context, giveUp func()) {
	select {
	case <-c.transportClosedChan():
	case <-ctx.Done():
		giveUp()
	}
}

// closeInBackground is Close with CloseNormal, but returns once the Close frame
// has left, the user's write deadline has passed, or the net.Conn is closed.
// The rest is done in the background. Over HTTP/2 the handler may return then.
func (c *Conn) closeInBackground() error {
	go c.close(CloseNormal, "", nil)
	err := c.out.writeDeadlines().await(context.Background(), c.out.closeSentChan(), c.transportClosedChan())
	if s := c.hostedStream(); s != nil {
		s.AwaitSent(time.Until(c.closingDeadline()))
	}
	if err != errEnded {
		return err
	}
	if end := c.life.terminal(); !end.clean() {
		return end
	}
	return nil
}

// closingHandshake does the closing handshake, or ends the connection without
// it, also when ctx ends.
func (c *Conn) closingHandshake(ctx context.Context, code CloseCode, reason string, cause error) {
	bound, cancel := context.WithDeadline(ctx, c.closingDeadline())
	defer cancel()
	c.refuseWrites(code, reason, cause)
	if ctx.Err() != nil {
		c.queueClose(code, reason, cause) // before it is given up
		c.out.flushNow()
	}
	// Not every net.Conn lets a deadline interrupt it.
	stop := context.AfterFunc(bound, func() { c.giveUpClosing(ctx, code, reason, cause) })
	defer stop()
	if queued, _ := c.Queued(); queued > 0 {
		go c.sendClose(bound, code, reason, cause)
	} else {
		c.sendClose(bound, code, reason, cause)
	}
	if err := c.awaitPeerClose(bound); err != nil && c.terminal() == nil {
		c.giveUpClosing(ctx, code, reason, cause)
	}
}

// giveUpClosing ends a connection whose closing handshake has taken too long, or
// is not to go on because ctx has ended.
func (c *Conn) giveUpClosing(ctx context.Context, code CloseCode, reason string, cause error) {
	c.life.mu.Lock() // under which terminate sets both
	ending, terminal := c.life.ending(), c.life.terminal()
	c.life.mu.Unlock()
	switch {
	case ctx.Err() == nil:
		c.failClosing(code, reason, cause, context.DeadlineExceeded)
	case ending == nil:
		c.leave(ctx.Err())
	case ending == terminal: // it has ended without a closing handshake
	case c.hostedStream() != nil: // whose handler is to return
		c.terminate(c.endBy(ending, ctx.Err()), dropUnsent)
		c.closeTransport()
	default: // linger goes on
		c.terminate(c.endBy(ending, ctx.Err()), sendUnsent)
	}
}

// refuseWrites makes Close's error, unless the end has begun before, what later
// writes are told: those of Send and Writer from now on, others once queueClose
// has added the Close frame. What is queued is still sent. It reports false if
// somebody else has closed before.
func (c *Conn) refuseWrites(code CloseCode, reason string, cause error) bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.refusal() != nil {
		return false
	}
	refusal := c.life.ending()
	if refusal == nil {
		if code == 0 {
			code = CloseNoStatus
		}
		refusal = &CloseError{Code: code, Reason: reason, Err: cause}
		closing := c.life.beginLocked()
		closing.attended.Store(c.mayAskAgain())
		closing.deaf.Store(cause != nil)
		closing.refusal.Store(refusal)
	}
	c.send.queue.Load().refuse(refusal)
	return true
}

// closingDeadline begins the time of the closing handshake, once, and returns
// its end.
func (c *Conn) closingDeadline() time.Time {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	closing := c.life.beginLocked()
	if closing.deadline == 0 {
		closing.deadline = now().add(c.cfg.CloseTimeout)
	}
	return closing.deadline.time()
}

// sendClose adds our Close frame behind all that was sent. It does not wait
// until it has left: the peer may be busy sending, and wait for us to read.
func (c *Conn) sendClose(ctx context.Context, code CloseCode, reason string, cause error) {
	if cause == nil {
		c.emptyQueue(ctx)
	}
	c.queueClose(code, reason, cause)
	c.out.flushNow()
}

// queueClose adds our Close frame, unless there is one, and refuses all later
// frames. It does not flush. If somebody else has closed before, the peer is
// told that code and reason; if the end has begun, conclude adds the frame
// instead.
func (c *Conn) queueClose(code CloseCode, reason string, cause error) {
	c.refuseWrites(code, reason, cause)
	first := c.life.refusal()
	if first == nil {
		return
	}
	c.out.addClose(first.payload(), first)
	c.send.queue.Load().dropAll(first)
}

// isClosing reports whether Close was called, also by the connection itself.
func (c *Conn) isClosing() bool { return c.life.refusal() != nil }

// refusalError returns the error that writers are told, the terminal one if
// there is one, or nil.
func (c *Conn) refusalError() error {
	if err := c.terminal(); err != nil {
		return err
	}
	refusal := c.life.refusal()
	if refusal == nil {
		refusal = c.life.ending()
	}
	if refusal == nil {
		return nil
	}
	if c.out.closeSent() {
		told := *refusal
		told.Sent = true
		return &told
	}
	return refusal
}

// failClosing ends a connection whose closing handshake failed with err.
func (c *Conn) failClosing(code CloseCode, reason string, cause, err error) {
	if ending := c.life.ending(); ending != nil {
		c.settleEnd(ending, dropUnsent)
		return
	}
	end := &CloseError{Code: CloseAbnormal, Sent: c.out.closeSent(), Err: err}
	if cause != nil {
		end.Code, end.Reason, end.Err = code, reason, cause
	}
	if c.terminate(end, dropUnsent) {
		c.closeTransport()
	}
}

// handleClose answers the peer's Close frame with its code and reason, or with
// what Config.OnClose says, unless it is the answer to ours. It returns what
// conclude does. The caller holds read.lock.
func (c *Conn) handleClose(by caller, payload []byte) error {
	code, reason, v := parseClosePayload(payload)
	if v != noViolation {
		return c.failProtocol(v)
	}
	end := &CloseError{Code: code, Reason: reason, Received: true}
	return c.conclude(end, c.closeAnswer(by, end))
}

// errEnding says that the connection has no terminal error yet, because our
// Close frame has not left: awaitEnd waits for it. It never leaves the package.
var errEnding = errors.New("websocket: connection is ending")

// conclude ends reading, for the reason that end gives, and sends a Close frame
// that says what answer does, or if that is nil the same as end, unless one was
// added before. If Close was called before, its code and reason are told, unless
// the peer's Close frame came.
//
// end becomes the terminal error once the Close frame was handed to the
// network, or could not be within the time that closing has: a program may exit
// when it sees the terminal error, and the peer is to know the reason. conclude
// returns the terminal error, or errEnding if that is still to come. The caller
// holds read.lock.
func (c *Conn) conclude(end, answer *CloseError) error {
	c.life.mu.Lock()
	if refusal := c.life.refusal(); refusal != nil {
		if end.Received {
			end.Err = refusal.Err
		} else {
			end.Code, end.Reason = refusal.Code, refusal.Reason
		}
	}
	first := c.life.beginLocked().ending.CompareAndSwap(nil, end)
	c.life.mu.Unlock()
	if first {
		c.closingDeadline()
		if answer == nil {
			answer = end
		}
		if _, err := c.out.addClose(answer.payload(), errEnding); err != nil {
			return c.fail(err)
		}
		c.out.flushNow()
		if c.out.closeSent() {
			c.settleEnd(end, sendUnsent)
		}
		go c.linger(end)
	}
	if err := c.terminal(); err != nil {
		return err
	}
	return errEnding
}

// settleEnd makes the end that conclude was given the terminal error. If what
// is unsent is dropped, it also closes the net.Conn.
func (c *Conn) settleEnd(ending *CloseError, rest unsent) {
	c.terminate(c.endBy(ending, nil), rest)
	if rest == dropUnsent {
		c.closeTransport()
	}
}

// endBy returns the terminal error for the end that conclude was given. Its cause,
// if it has none and our Close frame has not left, is unsent, which may be nil.
func (c *Conn) endBy(ending *CloseError, unsent error) *CloseError {
	end := *ending
	end.Sent = c.out.closeSent()
	if !end.Sent && end.Err == nil {
		end.Err = unsent
	}
	return &end
}

// awaitEnd waits until a connection that is ending has its terminal error, and
// returns that, unless the caller's time is over before.
func (c *Conn) awaitEnd(by caller) error {
	if err := c.terminal(); err != nil {
		return err
	}
	var err error
	if by.internal {
		select {
		case <-c.endedChan():
		case <-by.ctx.Done():
			err = by.ctx.Err()
		}
	} else {
		err = c.readDeadlines().await(by.ctx, c.endedChan(), nil)
	}
	if ending := c.life.ending(); c.terminal() == nil && ending != nil && c.out.closeSent() {
		c.settleEnd(ending, sendUnsent) // as whoever has sent the Close frame is about to
	}
	if end := c.terminal(); end != nil {
		return end
	}
	return err
}

// maxDrained is how many bytes that the peer still sends are read before the
// net.Conn is closed.
const maxDrained = 8 << 20

// linger ends a connection that is ending: it lets the Close frame leave, shuts
// the sending half of the net.Conn, and waits for the peer to do the same (RFC
// 6455, Section 7.1.1). What comes meanwhile is dropped: a peer that waits for
// us to read does not read our Close frame. Nobody else reads any more.
func (c *Conn) linger(end *CloseError) {
	// Not every net.Conn lets a deadline interrupt it.
	late := time.AfterFunc(time.Until(c.closingDeadline()), func() { c.settleEnd(end, dropUnsent) })
	if c.out.closeSent() {
		c.settleEnd(end, sendUnsent)
		c.lingerSent(end, late)
		return
	}
	defer c.closeTransport()
	defer late.Stop()
	c.lingerUnsent(end)
}

// lingerSent is linger once the Close frame has left. It stops late at the end.
func (c *Conn) lingerSent(end *CloseError, late *time.Timer) {
	if c.socket().isRaw() && c.shutSending(end) {
		c.socket().SetReadDeadline(c.closingDeadline())
		go c.drainAlone(late)
		return
	}
	defer c.closeTransport()
	defer late.Stop()
	c.drainAfter(end)
}

// drainAlone is the end of linger on a raw socket whose sending half is shut. It
// has a goroutine of its own, whose stack is small: a peer that leaves its half
// open makes it wait for as long as the closing handshake may take.
func (c *Conn) drainAlone(late *time.Timer) {
	c.releaseReading()
	c.drainRaw()
	late.Stop()
	c.closeTransport()
}

// leave ends the connection because of err, without a closing handshake and without
// waiting. If our Close frame was added before, it leaves, and the net.Conn stays open
// as after a closing handshake: otherwise what the peer sends meanwhile could make it
// lose that.
func (c *Conn) leave(err error) {
	if c.isClosing() && c.hasAddedQueued() {
		c.queueClose(0, "", nil) // if whoever calls Close has not come to it
	}
	end := c.abnormalEnd(err)
	if c.socket().stream() != nil || !c.out.hasClose() {
		c.breakOff(end)
		return
	}
	c.out.flushNow()
	if c.terminate(end, sendUnsent) {
		go c.lingerBehindClose(end)
	}
}

// drop is CloseNow for a connection whose peer has had its time: a Close frame that was
// sent may be lost.
func (c *Conn) drop() {
	if c.life.ending() == nil {
		c.breakOff(c.abnormalEnd(net.ErrClosed))
	}
}

// lingerBehindClose is linger for leave: others may read, and whoever writes has only
// maxLeaving for that.
func (c *Conn) lingerBehindClose(end *CloseError) {
	late := time.AfterFunc(time.Until(c.closingDeadline()), c.closeTransport)
	ended := c.readDeadlines().end() // a read that waits ends at once
	patience, cancel := context.WithTimeout(context.Background(), maxLeaving)
	defer cancel()
	select {
	case <-c.out.closeSentChan():
	case <-c.transportClosedChan():
	case <-patience.Done():
	}
	if !ended || !c.out.closeSent() || !c.read.lock.lock(patience.Done(), nil) {
		late.Stop()
		c.closeTransport() // which ends everything
		return
	}
	c.read.lock.unlock() // whoever has read has left, and nobody else will
	c.lingerSent(end, late)
}

// lingerUnsent is linger while the Close frame has not left.
func (c *Conn) lingerUnsent(end *CloseError) {
	ctx, cancel := context.WithDeadline(context.Background(), c.closingDeadline())
	defer cancel()
	go c.flushCloseFrame(ctx, end)
	c.drain()
	c.out.flushClose(ctx)
	c.settleEnd(end, sendUnsent)
}

// drainAfter drops what comes once the Close frame has left. Where the sending
// half cannot be shut, the peer may wait for us to close: then only what a
// violation left unread is dropped, for a short while.
func (c *Conn) drainAfter(end *CloseError) {
	if !c.shutSending(end) {
		if end.Received {
			return
		}
		blind := time.AfterFunc(maxBlindDrain, c.closeTransport)
		defer blind.Stop()
	}
	c.drain()
}

// maxBlindDrain bounds how long input is dropped on a net.Conn whose sending
// half cannot be shut.
const maxBlindDrain = 250 * time.Millisecond

// flushCloseFrame waits for the Close frame to leave, while linger drops what
// comes.
func (c *Conn) flushCloseFrame(ctx context.Context, end *CloseError) {
	err := c.out.flushClose(ctx)
	if err != nil {
		c.settleEnd(end, dropUnsent)
		return
	}
	c.settleEnd(end, sendUnsent)
	if c.shutSending(end) {
		return
	}
	if !end.Received {
		select {
		case <-time.After(maxBlindDrain): // linger drops what comes meanwhile
		case <-c.transportClosedChan():
		}
	}
	c.closeTransport()
}

// shutSending shuts the sending half of the net.Conn, except on a client that
// answered its peer's Close frame: there the server closes first, and keeps
// TIME_WAIT (RFC 6455, Section 7.1.1). It reports whether the peer can be
// waited for, because it sees the end of what we send or closes by itself.
func (c *Conn) shutSending(end *CloseError) bool {
	if end.Received && c.read.role == client {
		return true
	}
	shutdown, ok := c.socket().Conn.(interface{ CloseWrite() error })
	return ok && shutdown.CloseWrite() == nil
}

// Sizes in bytes of the buffers for what is dropped: one that is there only while
// something comes, and one with which a read waits.
const (
	drainSize      = 16 << 10
	blindDrainSize = 512
)

// drain reads and drops what comes until the peer ends, sends too much, or the
// time of the closing handshake is over. Its caller is the only reader.
func (c *Conn) drain() {
	c.socket().SetReadDeadline(c.closingDeadline())
	if c.socket().isRaw() {
		c.drainRaw()
	} else {
		c.drainBlindly()
	}
}

// drainRaw is drain on a raw socket whose deadline is set. It has no buffer while
// nothing comes.
func (c *Conn) drainRaw() {
	drained := 0
	c.socket().rawConn().Read(func(fd uintptr) bool {
		n, wait := drainNow(fd, maxDrained-drained)
		drained += n
		return !wait
	})
}

// drainBlindly is drain on a net.Conn that cannot be asked whether anything has
// come.
func (c *Conn) drainBlindly() {
	sink := acquireBuffer(blindDrainSize)
	defer sink.free()
	drained := 0
	for empty := 0; drained < maxDrained && empty < maxEmptyReads; {
		n, err := c.socket().Read(sink.b[:cap(sink.b)])
		drained += n
		if err != nil {
			return
		}
		if n == 0 {
			empty++
		}
	}
}

// drainNow drops up to about limit bytes that have arrived on fd. wait reports
// whether more may come.
func drainNow(fd uintptr, limit int) (drained int, wait bool) {
	sink := acquireBuffer(drainSize)
	defer sink.free()
	for drained < limit {
		n, wait, err := readNow(fd, sink.b[:cap(sink.b)])
		drained += n
		if wait || err != nil {
			return drained, wait
		}
	}
	return drained, false
}

// CloseNow ends the connection without a closing handshake and without waiting.
// Calls that wait return. What Write reported as written leaves first, as far
// as the network takes it. CloseNow always returns nil.
//
// After Close or SendClose, and on a connection that is ending or has ended, a Close
// frame that is on its way is not overtaken, and the net.Conn is closed soon after,
// within Config.CloseTimeout. So `defer c.CloseNow()` is right however a
// connection ends.
//
// On a connection of [Accept] over HTTP/2, CloseNow waits until the handler may
// return: until what was written has left, for at most a fifth of a second, or if
// the connection is ending, until the net.Conn is closed.
func (c *Conn) CloseNow() error {
	c.closeNow()
	c.awaitMayReturn()
	return nil
}

// closeNow is CloseNow that never waits.
func (c *Conn) closeNow() {
	if c.life.ending() == nil {
		c.leave(net.ErrClosed)
	}
}

// hostedStream returns the stream of HTTP/2 that c is, if the application's handler
// may return once c is closed; otherwise nil.
func (c *Conn) hostedStream() *http2stream.Conn {
	if s := c.socket(); s.own != nil && s.own.hosted.Load() {
		return s.stream()
	}
	return nil
}

// awaitMayReturn waits until nothing uses the ResponseWriter of a hosted stream any
// more, so that the handler may return. c is ending or has ended.
func (c *Conn) awaitMayReturn() {
	s := c.hostedStream()
	if s == nil {
		return
	}
	<-c.transportClosedChan()
	if c.life.terminal().Code == CloseAbnormal {
		s.AwaitDone(maxLeaving)
	} else {
		s.AwaitDone(time.Until(c.closingDeadline()))
	}
}
