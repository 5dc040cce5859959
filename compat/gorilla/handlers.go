package websocket

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// This file is about control frames that come, and the application's handlers
// for them. Handlers are called while the application reads, from there, or
// from a goroutine of the connection that the call waits for: never beside the
// code that follows the call. The connection reads control frames also while
// the application does not. Those that a handler of the application is for are
// held then, and the next read begins with them.

// A frameHandler is called with the payload of a Ping or Pong.
type frameHandler = func(appData string) error

// A closeHandler is called with what the peer's Close frame says.
type closeHandler = func(code int, text string) error

// handlers are those that the application has set. Nil: the default.
type handlers struct {
	ping, pong atomic.Pointer[frameHandler]
	close      atomic.Pointer[closeHandler]
}

// setHandler stores h, or nil if there is none.
func setHandler[F frameHandler | closeHandler](to *atomic.Pointer[F], h F, isNil bool) {
	if isNil {
		to.Store(nil)
	} else {
		to.Store(&h)
	}
}

// handlerTime bounds how long the default handlers try to send.
const handlerTime = time.Second

// PingHandler returns the handler of Pings: the one that was set, or the
// default one.
func (c *Conn) PingHandler() func(appData string) error {
	if h := c.read.handlers.ping.Load(); h != nil {
		return *h
	}
	return c.answerPing
}

// SetPingHandler sets the function that is called with the payload of each Ping
// that comes. Its error ends reading. Nil is the default, which sends the Pong;
// a function that replaces it has to send that itself.
//
// Handlers are called by the methods that read. What comes while none of them
// waits is kept for the next one, up to the last 16 frames; under the default,
// Pings are answered at once.
func (c *Conn) SetPingHandler(h func(appData string) error) {
	setHandler(&c.read.handlers.ping, h, h == nil)
}

// PongHandler returns the handler of Pongs: the one that was set, or the
// default one.
func (c *Conn) PongHandler() func(appData string) error {
	if h := c.read.handlers.pong.Load(); h != nil {
		return *h
	}
	return func(string) error { return nil }
}

// SetPongHandler sets the function that is called with the payload of each Pong
// that comes, as SetPingHandler says. Nil is the default, which does nothing.
func (c *Conn) SetPongHandler(h func(appData string) error) {
	setHandler(&c.read.handlers.pong, h, h == nil)
}

// CloseHandler returns the handler of Close frames: the one that was set, or
// the default one.
func (c *Conn) CloseHandler() func(code int, text string) error {
	if h := c.read.handlers.close.Load(); h != nil {
		return *h
	}
	return c.answerClose
}

// SetCloseHandler sets the function that is called when the peer's Close frame
// has come, with its code, or CloseNoStatusReceived, and its text. The read that
// calls it returns its error or, if that is nil, a [*CloseError]. Nil is the
// default, which answers with the code.
//
// A handler may send data messages, and says with WriteControl what the Close
// frame that answers is to be. If it does not, the code is the peer's. When the
// Close frame comes while nobody reads, the next read calls the handler; but if
// that takes longer than 30 seconds, the answer does not wait for it.
func (c *Conn) SetCloseHandler(h func(code int, text string) error) {
	setHandler(&c.read.handlers.close, h, h == nil)
}

// answerPing is the default handler of Pings, for handlers that call it.
func (c *Conn) answerPing(appData string) error {
	err := c.WriteControl(PongMessage, []byte(appData), time.Now().Add(handlerTime))
	if errors.Is(err, ErrCloseSent) || isTimeout(err) {
		return nil
	}
	return err
}

// answerClose is the default handler of Close frames, for handlers that call
// it.
func (c *Conn) answerClose(code int, _ string) error {
	c.WriteControl(CloseMessage, FormatCloseMessage(code, ""), time.Now().Add(handlerTime))
	return nil
}

// A control is a Ping or Pong that came.
type control struct {
	messageType int
	payload     string
}

// maxHeld is how many control frames are held for a handler while nobody reads.
const maxHeld = 16

// setHooks makes the hooks of a connection with this configuration those of c.
func (c *Conn) setHooks(cfg *fullduplex.Config) {
	cfg.OnPing = func(_ *fullduplex.Conn, payload []byte) bool { return c.onPing(payload) }
	cfg.OnPong = func(_ *fullduplex.Conn, payload []byte) { c.onPong(payload) }
	cfg.OnClose = func(ws *fullduplex.Conn, end *fullduplex.CloseError) (fullduplex.CloseCode, string) {
		return c.onClose(ws, end)
	}
}

// onPing is called with the payload of each Ping, and reports whether the
// connection is to answer it.
func (c *Conn) onPing(payload []byte) (answer bool) {
	if c.read.handlers.ping.Load() == nil {
		return true
	}
	c.handle(control{PingMessage, string(payload)})
	return false
}

// onPong is called with the payload of each Pong.
func (c *Conn) onPong(payload []byte) {
	if c.read.handlers.pong.Load() != nil {
		c.handle(control{PongMessage, string(payload)})
	}
}

// handle calls the handler for f, or holds f if nobody reads.
func (c *Conn) handle(f control) {
	r := &c.read
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
	case r.calls > 0:
		c.callLocked(f)
	default:
		if len(r.held) == maxHeld {
			r.held = append(r.held[:0], r.held[1:]...)
		}
		r.held = append(r.held, f)
	}
}

// releaseLocked calls the handlers for what is held, up to the first error. The
// caller holds read.mu.
func (c *Conn) releaseLocked() {
	held := c.read.held
	c.read.held = nil
	for _, f := range held {
		if c.read.err == nil {
			c.callLocked(f)
		}
	}
}

// callLocked calls the handler for f. If that fails, reads end with its error,
// also the one that waits. The caller holds read.mu.
func (c *Conn) callLocked(f control) {
	h := c.read.handlers.pong.Load()
	if f.messageType == PingMessage {
		h = c.read.handlers.ping.Load()
	}
	if h == nil {
		return
	}
	if err := (*h)(f.payload); err != nil {
		c.read.err = err
		c.ws.SetReadDeadline(time.Unix(1, 0))
	}
}

// onClose is called when the peer of ws, which c stands on, has closed, and
// returns what our Close frame is to say.
func (c *Conn) onClose(ws *fullduplex.Conn, end *fullduplex.CloseError) (fullduplex.CloseCode, string) {
	r := &c.read
	if r.handlers.close.Load() == nil {
		return end.Code, ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == 0 {
		c.awaitReadLocked(ws.Context())
	}
	if r.calls == 0 || r.err != nil {
		return end.Code, ""
	}
	r.answer.begin()
	if err := c.handleCloseLocked(int(end.Code), end.Reason); err != nil {
		r.err = err
	}
	if own, ok := r.answer.take(); ok {
		return own.code, own.reason
	}
	return end.Code, ""
}

// awaitReadLocked waits until the application reads, which it does not, ctx
// ends, or the time of the closing handshake is over. The caller holds read.mu,
// which is released meanwhile.
func (c *Conn) awaitReadLocked(ctx context.Context) {
	r := &c.read
	wanted := make(chan struct{})
	r.wanted = wanted
	r.mu.Unlock()
	defer r.mu.Lock()
	late := time.NewTimer(closeTimeout)
	defer late.Stop()
	select {
	case <-wanted:
	case <-ctx.Done():
	case <-late.C:
	}
}

// handleCloseLocked calls the application's handler of Close frames, if there
// is one, and once at most. The caller holds read.mu.
func (c *Conn) handleCloseLocked(code int, text string) error {
	h := c.read.handlers.close.Load()
	if h == nil || c.read.closed {
		return nil
	}
	c.read.closed = true
	return (*h)(code, text)
}

// An answer is what a handler wants to be in the Close frame that answers the
// peer's. While one is wanted, WriteControl gives it instead of sending.
type answer struct {
	mu     sync.Mutex
	wanted bool
	given  *closePayload
}

// begin says that an answer is wanted.
func (a *answer) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = true
}

// give makes p the answer, if one is wanted. The first one counts.
func (a *answer) give(p closePayload) (wanted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wanted && a.given == nil {
		a.given = &p
	}
	return a.wanted
}

// take returns the answer, if there is one, and says that none is wanted any
// more.
func (a *answer) take() (p closePayload, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = false
	if a.given == nil {
		return closePayload{}, false
	}
	return *a.given, true
}
