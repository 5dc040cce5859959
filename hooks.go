package websocket

import (
	"strings"
	"time"
)

// This file calls the application's functions in Config and Trace. Those of the
// opening handshake are called in handshake_trace.go.

// answersPing reports whether the connection answers a Ping, after it has asked
// Config.OnPing.
func (c *Conn) answersPing(by caller, payload []byte) (answer bool) {
	if c.cfg.OnPing == nil {
		return true
	}
	c.hooked(by, func() { answer = c.cfg.OnPing(c, lent(payload)) })
	return answer
}

// notifyPong calls Config.OnPong.
func (c *Conn) notifyPong(by caller, payload []byte) {
	if c.cfg.OnPong != nil {
		c.hooked(by, func() { c.cfg.OnPong(c, lent(payload)) })
	}
}

// closeAnswer returns what our Close frame says in answer to the peer's, which
// is what Config.OnClose returns, or nil if it is the same as end. A code that
// must not be sent becomes CloseInternalError.
func (c *Conn) closeAnswer(by caller, end *CloseError) *CloseError {
	if c.cfg.OnClose == nil || c.isClosing() {
		return nil
	}
	answer := CloseError{Code: CloseInternalError}
	c.hooked(by, func() { answer.Code, answer.Reason = c.cfg.OnClose(c, end) })
	if err := checkClose(answer.Code); err != nil {
		c.logError(err)
		answer = CloseError{Code: CloseInternalError}
	}
	if answer.Code == 0 {
		return nil
	}
	answer.Reason = strings.ToValidUTF8(answer.Reason, "\uFFFD")
	return &answer
}

// hooked calls f, which calls a hook, for a reader. What ends the goroutine of a
// reader that is the connection's closes the connection; a panic then goes no
// further. The application's own are left to it.
func (c *Conn) hooked(by caller, f func()) {
	if !by.internal && !by.polled {
		f()
		return
	}
	err := errHandlerExit
	defer c.judgeHook(&err)
	f()
	err = nil
}

// judgeHook is deferred. If a hook has not returned, it logs that and closes the
// connection.
func (c *Conn) judgeHook(err *error) {
	if *err == nil {
		return
	}
	if panicked := recover(); panicked != nil {
		c.logPanic(nil, panicked)
	} else {
		c.logError(*err)
	}
	go c.Close(closeFor(*err))
}

// tracePong tells the Trace that a Ping was answered.
func (c *Conn) tracePong(rtt time.Duration) {
	if t := c.cfg.Trace; t != nil && t.Pong != nil {
		t.Pong(c, rtt)
	}
}

// traceFrameOut tells the Trace of a frame that was added. There must be one.
func (c *Conn) traceFrameOut(h header) {
	if t := c.cfg.Trace; t.FrameOut != nil {
		t.FrameOut(c, frameTrace(h))
	}
}

// traceFlush tells the Trace of a write to the network. There must be one.
func (c *Conn) traceFlush(f FlushTrace) {
	if t := c.cfg.Trace; t.Flush != nil {
		t.Flush(c, f)
	}
}

// traceDropped tells the Trace of messages that were dropped, if there are any.
func (c *Conn) traceDropped(messages, bytes int) {
	if t := c.cfg.Trace; messages > 0 && t != nil && t.Dropped != nil {
		t.Dropped(c, messages, bytes)
	}
}
