package stress

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
)

// verify checks the outcome of a finished round.
func (r *round) verify() {
	for _, e := range r.ends {
		r.verifyErrors(e)
	}
	if r.ends[0].terminal() == nil || r.ends[1].terminal() == nil {
		return
	}
	excused := len(r.excuses()) > 0
	if r.early != nil && !excused {
		r.report("the connection ended before it was told to: %s", describe(r.early))
	}
	switch r.plan.ending {
	case closeOne, closeTwice, closeBoth, sendClose, closeContext:
		if !excused {
			r.verifyHandshake()
		}
	case closeNow, cut:
		r.verifyAbnormal(excused)
	}
	for i, e := range r.ends {
		r.verifyArrivals(e, r.ends[1-i])
	}
}

// verifyErrors checks that all calls of an end returned the same terminal error.
func (r *round) verifyErrors(e *end) {
	end := e.terminal()
	if end == nil {
		e.report("the connection did not end")
		return
	}
	var closing *websocket.CloseError
	for ce, c := range e.errs {
		switch {
		case ce == end:
		case c.kind == reading:
			e.report("%s returned %v instead of %v", c.name, ce, end)
		case closing == nil:
			closing = ce
		case ce.Code != closing.Code || ce.Reason != closing.Reason:
			e.report("%s returned %v while closing, other calls %v", c.name, ce, closing)
		}
	}
}

// verifyTrace checks that Trace.Closed was called once at each end, after all
// goroutines of the connection have ended.
func (r *round) verifyTrace() {
	for _, e := range r.ends {
		if e == nil || e.conn == nil {
			continue
		}
		if n := e.closed.Load(); n != 1 {
			e.report("Trace.Closed was called %d times", n)
		}
	}
}

// verifyHandshake checks that the closing handshake was completed, with the code
// and the reason of the end that closed.
func (r *round) verifyHandshake() {
	for _, res := range r.results {
		if !r.closedWell(res) {
			res.end.report("Close returned %v", res.err)
		}
	}
	code, reason := r.plan.code, cutReason(r.plan.reason)
	if code == 0 {
		code = websocket.CloseNoStatus
	}
	for i, e := range r.ends {
		end := e.terminal()
		wantCode, wantReason := code, reason
		late := r.plan.ending == closeBoth && r.plan.answer != 0 && end.Code == r.plan.answer && end.Reason == answerReason
		if late || r.answered(i) { // late: the other end's Close came behind its OnClose
			wantCode, wantReason = r.plan.answer, answerReason
		}
		if !end.Received || !end.Sent || end.Code != wantCode || end.Reason != wantReason || end.Err != nil {
			e.report("the closing handshake ended with %s", describe(end))
		}
	}
}

// answered reports whether an end was answered by the peer's OnClose with another
// code than its own.
func (r *round) answered(index int) bool {
	return index == r.plan.closer && r.plan.ending != closeBoth &&
		r.plan.hooks[1-index]&onClose != 0 && r.plan.answer != 0
}

// closedWell reports whether Close returned what it should after a complete
// handshake: nil or, if the peer closed as well, that messages were dropped
// which the peer would have discarded. CloseContext may also have given up queued
// messages so that the Close frame could leave before the context ended.
func (r *round) closedWell(res result) bool {
	if res.err == nil {
		return true
	}
	end := res.end.terminal()
	mayGiveUp := r.plan.ending == closeBoth || r.plan.ending == closeContext && r.plan.wait >= 0
	return mayGiveUp && res.err != end && errors.Is(res.err, end)
}

// describe returns the code, the reason and the cause of end.
func describe(end *websocket.CloseError) string {
	return fmt.Sprintf("%v: received %v, sent %v, cause %v", end, end.Received, end.Sent, end.Err)
}

// cutReason returns the part of s that fits a Close frame.
func cutReason(s string) string {
	if len(s) <= 123 {
		return s
	}
	n := 123
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// verifyAbnormal checks that an end without a handshake is reported as such.
func (r *round) verifyAbnormal(excused bool) {
	for _, e := range r.ends {
		end := e.terminal()
		if !excused && (end.Code != websocket.CloseAbnormal || end.Err == nil || end.Received) {
			e.report("after %v the end is %s", r.plan.ending, describe(end))
		}
	}
}

// verifyArrivals checks that all messages that from was promised have reached
// to.
func (r *round) verifyArrivals(from, to *end) {
	p := r.promised(from, from.firstEnd())
	switch {
	case r.plan.ending == cut:
		return
	case r.hasLastWords(from, to):
		p = promise{before: math.MaxInt64}
	case to.firstEnd() != math.MaxInt64:
		return // to may have discarded it
	case to.terminal().Received:
		p.queued = r.closedCleanly(from)
	case r.plan.ending == closeNow && r.plan.quiet() && len(r.excuses()) == 0:
	default:
		return
	}
	if count, which := from.out.missing(p); count > 0 {
		from.report("%d messages are lost: %s; the ends: %v; %v", count, which, from.terminal(), to.terminal())
	}
}

// hasLastWords reports whether to, which closed, has promised to deliver all that
// from wrote before its own Close frame.
func (r *round) hasLastWords(from, to *end) bool {
	if r.plan.closer != to.index || len(r.excuses()) > 0 {
		return false
	}
	a, b := from.terminal(), to.terminal()
	if !a.Received || !a.Sent || !b.Received || !b.Sent {
		return false
	}
	return r.plan.ending == sendClose || r.listens
}

// closedCleanly reports whether Close closed an end and returned nil, or SendClose
// did, and nothing else can have ended it.
func (r *round) closedCleanly(e *end) bool {
	if r.plan.ending == sendClose && r.plan.closer == e.index {
		return len(r.excuses()) == 0
	}
	for _, res := range r.results {
		if res.end == e && res.err == nil {
			return len(e.excused()) == 0
		}
	}
	return false
}

// callEverything checks that every call after the end returns the terminal
// error.
func (r *round) callEverything(e *end) {
	end := e.terminal()
	if end == nil {
		return
	}
	ctx := context.Background()
	for name, f := range afterEnd {
		if err := f(ctx, e.conn); err != end {
			e.report("%s after the end returns %v instead of %v", name, err, end)
		}
	}
	for _, err := range e.conn.Messages(ctx) {
		if err != end || endsQuietly(end) {
			e.report("Messages after the end returns %v, and the end is %s", err, describe(end))
		}
	}
	if err := e.conn.CloseNow(); err != nil {
		e.report("CloseNow returns %v", err)
	}
}

// endsQuietly reports whether Messages ends without an error.
func endsQuietly(end *websocket.CloseError) bool {
	switch end.Code {
	case websocket.CloseNormal, websocket.CloseGoingAway, websocket.CloseNoStatus:
		return end.Received
	}
	return false
}

// afterEnd are the calls that return the terminal error after the end.
var afterEnd = map[string]func(ctx context.Context, c *websocket.Conn) error{
	"Read": func(ctx context.Context, c *websocket.Conn) error {
		_, _, err := c.Read(ctx)
		return err
	},
	"ReadInto": func(ctx context.Context, c *websocket.Conn) error {
		_, _, err := c.ReadInto(ctx, nil)
		return err
	},
	"Reader": func(ctx context.Context, c *websocket.Conn) error {
		_, _, err := c.Reader(ctx)
		return err
	},
	"Write": func(ctx context.Context, c *websocket.Conn) error {
		return c.Write(ctx, websocket.Text, nil)
	},
	"WritePlain": func(ctx context.Context, c *websocket.Conn) error {
		return c.WritePlain(ctx, websocket.Text, nil)
	},
	"WritePrepared": func(ctx context.Context, c *websocket.Conn) error {
		return c.WritePrepared(ctx, websocket.Prepare(websocket.Text, nil))
	},
	"SendPrepared": func(_ context.Context, c *websocket.Conn) error {
		return c.SendPrepared(websocket.Prepare(websocket.Text, nil))
	},
	"Writer": func(ctx context.Context, c *websocket.Conn) error {
		_, err := c.Writer(ctx, websocket.Text)
		return err
	},
	"WriterPlain": func(ctx context.Context, c *websocket.Conn) error {
		_, err := c.WriterPlain(ctx, websocket.Text)
		return err
	},
	"Send": func(_ context.Context, c *websocket.Conn) error { return c.Send(websocket.Text, nil) },
	"SendPlain": func(_ context.Context, c *websocket.Conn) error {
		return c.SendPlain(websocket.Text, nil)
	},
	"Flush": func(_ context.Context, c *websocket.Conn) error { return c.Flush() },
	"Drain": func(ctx context.Context, c *websocket.Conn) error { return c.Drain(ctx) },
	"SetReadDeadline": func(_ context.Context, c *websocket.Conn) error {
		return c.SetReadDeadline(time.Time{})
	},
	"SetWriteDeadline": func(_ context.Context, c *websocket.Conn) error {
		return c.SetWriteDeadline(time.Time{})
	},
	"Ping": func(ctx context.Context, c *websocket.Conn) error {
		_, err := c.Ping(ctx)
		return err
	},
}
