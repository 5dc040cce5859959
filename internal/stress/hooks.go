package stress

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// hooks says which hooks an end has.
type hooks uint8

const (
	onPing hooks = 1 << iota // it answers some Pings by itself, and leaves some unanswered
	onClose
	hooksWrite // hooks send messages
	allHooks   = onPing | onClose | hooksWrite
)

// Payloads of control frames, and a reason.
const (
	unsolicited  = "nobody asked"
	pingPrefix   = "ping "
	otherAnswer  = "instead of "
	answerReason = "seen"
)

// setHooks sets the hooks of an end. They are called one at a time, and do nothing
// before the end has its connection.
func (e *end) setHooks(cfg *websocket.Config, r *rand.Rand) {
	h := &hooked{writer: &writer{end: e, id: e.plan.writers[e.index] + e.plan.readers[e.index], rand: r}}
	cfg.OnPong = func(_ *websocket.Conn, payload []byte) { h.alone(func() { e.pings.pong(e, string(payload)) }) }
	if e.plan.hooks[e.index]&onPing != 0 {
		cfg.OnPing = h.onPing
	}
	if e.plan.hooks[e.index]&onClose != 0 {
		cfg.OnClose = h.onClose
	}
}

// A hooked does what the hooks of an end do.
type hooked struct {
	*writer
	mu sync.Mutex // held by the hook that is called
}

// alone calls f, and reports if another hook of the end is being called.
func (h *hooked) alone(f func()) {
	if !h.mu.TryLock() {
		h.report("two hooks are called at once")
		return
	}
	defer h.mu.Unlock()
	f()
}

// isOpen reports whether the end has its connection.
func (h *hooked) isOpen() bool {
	select {
	case <-h.open:
		return true
	default:
		return false
	}
}

// onPing answers a Ping, or has it answered, or not.
func (h *hooked) onPing(conn *websocket.Conn, payload []byte) (answer bool) {
	h.alone(func() {
		answer = true
		if !h.isOpen() || !strings.HasPrefix(string(payload), pingPrefix) {
			return // of keepalive, or of Ping
		}
		if conn != h.conn {
			h.report("OnPing was called with another connection")
		}
		h.say()
		switch h.rand.IntN(3) {
		case 0:
			c := h.begin("SendPong in OnPing", writing, context.Background())
			c.judge(conn.SendPong([]byte(otherAnswer+string(payload))), websocket.ErrQueueFull)
			answer = false
		case 1:
			answer = h.rand.IntN(4) > 0
		}
		scribble(payload)
		scribble(payload)
	})
	return answer
}

// onClose answers the peer's Close frame.
func (h *hooked) onClose(_ *websocket.Conn, end *websocket.CloseError) (websocket.CloseCode, string) {
	h.alone(func() {
		if end == nil || !end.Received {
			h.report("OnClose was called with %v", end)
		}
		if h.isOpen() {
			h.say()
		}
	})
	return h.plan.answer, answerReason
}

// say sends a small message, if hooks do that, in a way that does not wait for long.
func (h *hooked) say() {
	if h.plan.hooks[h.index]&hooksWrite == 0 {
		return
	}
	policy := h.plan.config[h.index].SlowConsumer
	switch {
	case h.rand.IntN(2) == 0 && policy != websocket.Block:
		h.send()
	case !h.plan.transport.fragile():
		ctx, cancel := context.WithTimeout(context.Background(), brief(h.rand, 5000))
		defer cancel()
		h.writeOnce(ctx)
	}
}

// A pingLedger records the Pings of SendPing at one end.
type pingLedger struct {
	mu      sync.Mutex
	sent    int
	seen    int // the highest number that a Pong had
	stopped bool
}

// send sends the next Ping.
func (l *pingLedger) send(e *end) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	c := e.begin("SendPing", writing, context.Background())
	payload := fmt.Appendf(nil, "%s%08d %s", pingPrefix, l.sent+1, strings.Repeat("x", int(c.at%100)))
	l.sent++ // the Pong may come before SendPing returns
	if c.judge(e.conn.SendPing(payload), websocket.ErrQueueFull) != done {
		l.sent--
	}
	scribble(payload)
}

// stop makes send do nothing.
func (l *pingLedger) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

// settled reports whether the last Ping was answered.
func (l *pingLedger) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent == l.seen
}

// pong checks the payload of a Pong: it is that of a Ping, later than those
// before, or of keepalive, or nobody asked for it.
func (l *pingLedger) pong(e *end, payload string) {
	rest, ours := strings.CutPrefix(strings.TrimPrefix(payload, otherAnswer), pingPrefix)
	if !ours {
		if len(payload) != 0 && len(payload) != 8 && payload != unsolicited {
			e.report("a Pong has %q", payload)
		}
		return
	}
	var number int
	fmt.Sscanf(rest, "%08d", &number)
	l.mu.Lock()
	defer l.mu.Unlock()
	if number <= l.seen || number > l.sent {
		e.report("a Pong to Ping %d comes after %d of %d", number, l.seen, l.sent)
	}
	l.seen = max(l.seen, number)
}
