package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
	"unicode/utf8"
)

// The closing handshake (RFC 6455, Section 7):
//
//	          Close, or a violation            the peer's Close, answered
//	open ───────────────────────────► closing ──────────────────────────► ended
//	  │                                                                     ▲
//	  └──── the peer's Close, answered; or the network fails ───────────────┘
//
// In closing, our Close frame is queued behind all data, nothing more is sent,
// and whoever reads discards data until the peer's Close frame comes. An end
// sets the terminal error. After that the connection lingers: the Close frame
// leaves, the sending half is shut, and what the peer still sends is read and
// dropped for a while, because closing a socket with unread input resets it,
// and a reset can overtake the Close frame.

// Is reports whether target is net.ErrClosed or the code.
func (e *CloseError) Is(target error) bool {
	if code, ok := target.(CloseCode); ok {
		return e.Code == code
	}
	return target == net.ErrClosed
}

// asCloseError returns the *CloseError in err, or nil. It is what calls return
// as it is, so that errors.As is seldom needed.
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

// maxReason is the size in bytes that a Close frame has for the reason.
const maxReason = maxControlPayload - 2

// appendClosePayload appends the payload of a Close frame: the code, and the
// reason, cut at the border of a rune to what fits. Code 0 means no payload
// (RFC 6455, Section 5.5.1).
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
// queued leaves first, then a Close frame with the code and the reason, which
// is cut to 123 bytes; then Close reads and discards until the peer's Close
// frame comes, all within Config.CloseTimeout. Code 0 sends a Close frame
// without a code. Codes that must not be sent, and reasons that are not UTF-8,
// are errors, and nothing happens.
//
// What is queued is given up after half of that time, if a MessageWriter that
// is open or a peer that does not read stands in its way.
//
// Close returns nil if the handshake was complete, otherwise the terminal
// error. Calls after the first wait for the same end.
func (c *Conn) Close(code CloseCode, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	if err := mayClose(c.nc.Conn, code); err != nil {
		return err
	}
	return c.close(code, reason, nil)
}

// checkClose returns an error if a Close frame must not say this.
func checkClose(code CloseCode, reason string) error {
	if code != 0 && !code.onWire() {
		return fmt.Errorf("websocket: close code %d must not be sent", uint16(code))
	}
	if !utf8.ValidString(reason) {
		return errors.New("websocket: close reason is not valid UTF-8")
	}
	return nil
}

// close is Close for a code that may be sent, with a cause of our own.
func (c *Conn) close(code CloseCode, reason string, cause error) error {
	if c.terminal() == nil {
		c.shakeHands(code, reason, cause)
	}
	if !c.isGone() {
		<-c.goneChan()
	}
	if end := c.end.Load(); !end.clean() {
		return end
	}
	return nil
}

// shakeHands does the closing handshake, or ends the connection without.
func (c *Conn) shakeHands(code CloseCode, reason string, cause error) {
	ctx, cancel := context.WithDeadline(context.Background(), c.closingDeadline())
	defer cancel()
	err := c.sendClose(ctx, code, reason, cause)
	if err == nil {
		// Not every net.Conn lets a deadline interrupt it.
		stop := context.AfterFunc(ctx, func() { c.abandonClose(code, reason, cause, context.DeadlineExceeded) })
		err = c.awaitPeerClose(ctx)
		stop()
	}
	if err != nil && c.terminal() == nil {
		c.abandonClose(code, reason, cause, err)
	}
}

// closingDeadline begins the time of the closing handshake, once.
func (c *Conn) closingDeadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closeBy == 0 {
		c.closeBy = now().add(c.cfg.CloseTimeout)
	}
	return c.closeBy.time()
}

// sendClose queues our Close frame behind all that was sent. It does not wait
// until it has left: the peer may be busy sending, and wait for us to read.
func (c *Conn) sendClose(ctx context.Context, code CloseCode, reason string, cause error) error {
	if cause == nil {
		if err := c.emptyQueue(ctx); err != nil && ctx.Err() != nil {
			return err
		}
	}
	if err := c.queueClose(code, reason, cause); err != nil {
		return err
	}
	c.out.flushNow()
	return nil
}

// queueClose appends our Close frame, unless there is one, and refuses all that
// comes later. It does not flush.
func (c *Conn) queueClose(code CloseCode, reason string, cause error) error {
	refusal := &CloseError{Code: code, Reason: reason, Sent: true, Err: cause}
	first, err := c.out.finish(appendClosePayload(nil, code, reason), refusal)
	if err != nil {
		return err
	}
	if first {
		c.mu.Lock()
		c.closing.Store(refusal)
		c.mu.Unlock()
		c.queue.Load().fail(refusal)
	}
	return nil
}

// isClosing reports whether our Close frame is queued.
func (c *Conn) isClosing() bool { return c.closing.Load() != nil }

// writable returns the error that ends all writing, or nil.
func (c *Conn) writable() error {
	if err := c.terminal(); err != nil {
		return err
	}
	if refusal := c.closing.Load(); refusal != nil {
		return refusal
	}
	return nil
}

// awaitPeerClose reads, unless somebody else does, until the connection ends.
func (c *Conn) awaitPeerClose(ctx context.Context) error {
	for c.terminal() == nil {
		if !c.reading.take(ctx.Done(), c.endedChan()) {
			return ctx.Err()
		}
		if c.terminal() == nil {
			c.discardAll(caller{ctx: ctx, own: true})
		}
		c.reading.give()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// discardAll reads and drops everything. It returns the error that ends that.
func (c *Conn) discardAll(by caller) error {
	for {
		if err := c.discardFrame(by); err != nil {
			return err
		}
		if err := c.nextData(by); err != nil {
			return err
		}
	}
}

// abandonClose ends a connection whose closing handshake failed with err.
func (c *Conn) abandonClose(code CloseCode, reason string, cause, err error) {
	end := &CloseError{Code: CloseAbnormal, Sent: c.isClosing(), Err: err}
	if cause != nil {
		end.Code, end.Reason, end.Err = code, reason, cause
	}
	if c.terminate(end, true) {
		c.closeTransport()
	}
}

// peerCloses answers the peer's Close frame, unless it is the answer to ours,
// and returns the terminal error. The caller has the reading turn.
func (c *Conn) peerCloses(payload []byte) error {
	code, reason, v := parseClosePayload(payload)
	if v != noViolation {
		return c.failProtocol(v)
	}
	end := &CloseError{Code: code, Reason: reason, Received: true, Sent: true}
	if refusal := c.closing.Load(); refusal != nil {
		end.Err = refusal.Err
	}
	if code == CloseNoStatus {
		code = 0
	}
	if _, err := c.out.finish(appendClosePayload(nil, code, ""), end); err != nil {
		return c.fail(err)
	}
	if c.terminate(end, false) {
		go c.linger(c.role == server)
	}
	return c.terminal()
}

// maxDrained is how many bytes of what the peer still sends are read before
// the net.Conn is closed.
const maxDrained = 8 << 20

// linger ends a connection that has its terminal error: it lets the Close
// frame leave, shuts the sending half if half is set, and waits for the peer
// to do the same (RFC 6455, Section 7.1.1).
func (c *Conn) linger(half bool) {
	defer c.closeTransport()
	ctx, cancel := context.WithDeadline(context.Background(), c.closingDeadline())
	defer cancel()
	if c.out.flushFinal(ctx) != nil {
		return
	}
	if half {
		shutdown, ok := c.nc.Conn.(interface{ CloseWrite() error })
		if !ok || shutdown.CloseWrite() != nil {
			return
		}
	}
	if c.reading.take(ctx.Done(), nil) {
		defer c.reading.give()
		c.drain()
	}
}

// drainSize is the size of the buffer for what is dropped.
const drainSize = 16 << 10

// drain reads and drops what comes until the peer ends, or sends too much.
func (c *Conn) drain() {
	if c.nc.SetReadDeadline(c.closingDeadline()) != nil {
		return
	}
	sink := borrow(drainSize)
	defer sink.free()
	for drained, empty := 0, 0; drained < maxDrained && empty < maxIdleReads; {
		n, err := c.nc.Read(sink.b[:cap(sink.b)])
		drained += n
		if err != nil {
			return
		}
		if n == 0 {
			empty++
		}
	}
}

// CloseNow closes the connection without a closing handshake and without
// waiting. Calls that wait return. It is an error of nobody: it always returns
// nil.
func (c *Conn) CloseNow() error {
	if c.terminal() == nil {
		c.terminate(&CloseError{Code: CloseAbnormal, Sent: c.isClosing(), Err: net.ErrClosed}, true)
	}
	c.closeTransport()
	return nil
}
