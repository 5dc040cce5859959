package stress

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket"
)

// An end is one end of the connection, with what is known about it.
type end struct {
	index   int
	letter  byte // in the names of its messages
	plan    *plan
	conn    *websocket.Conn
	out, in *ledger
	group   websocket.Group // of this connection alone
	late    *lateReceiver   // of a connection that was opened by ReceiverHandler
	report  func(format string, args ...any)
	clock   func() int64

	gate   sync.RWMutex                  // write-locked while a reader streams a message and no other may read
	bodies atomic.Int32                  // bodies of loops that will answer
	shared atomic.Pointer[sharedContext] // given to several calls
	timed  [2]atomic.Bool                // a deadline was set, by direction
	closed atomic.Int32                  // calls of Trace.Closed
	open   chan struct{}                 // closed once conn is set
	pings  pingLedger
	handed atomic.Bool // the reading was handed over

	mu      sync.Mutex
	first   int64                           // when the first call that may end the connection began
	excuses []string                        // why it may end by itself
	errs    map[*websocket.CloseError]*call // the calls that returned them
}

// newEnd returns an end without a connection.
func newEnd(index int, p *plan, report func(string, ...any), clock func() int64) *end {
	e := &end{
		index: index, letter: roles[index][0], plan: p, clock: clock,
		first: math.MaxInt64,
		open:  make(chan struct{}),
		errs:  make(map[*websocket.CloseError]*call),
	}
	e.report = func(format string, args ...any) {
		report("%s: %s", roles[index], fmt.Sprintf(format, args...))
	}
	return e
}

// ends records that a call that ends the connection began at a time.
func (e *end) ends(at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.first = min(e.first, at)
}

// excuse records why the connection may end from a time on without being told
// to, or in another way than told to.
func (e *end) excuse(at int64, format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.first = min(e.first, at)
	if len(e.excuses) < 5 {
		e.excuses = append(e.excuses, fmt.Sprintf(format, args...))
	}
}

// excused returns all excuses.
func (e *end) excused() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.excuses
}

// firstEnd returns when the first call that may end the connection began.
func (e *end) firstEnd() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.first
}

// terminal returns the terminal error, or nil.
func (e *end) terminal() *websocket.CloseError {
	ctx := e.conn.Context()
	if ctx.Err() == nil {
		return nil
	}
	ce, ok := context.Cause(ctx).(*websocket.CloseError)
	if !ok {
		e.report("the cause of Context is %v", context.Cause(ctx))
	}
	return ce
}

// A kind says what a call does.
type kind uint8

const (
	reading kind = iota
	writing
	neither // waits for the peer and writes nothing itself
)

// An outcome is the result of a call.
type outcome uint8

const (
	done    outcome = iota
	gaveUp          // its context or deadline ended
	refused         // it returned one of the errors that it may return
	over            // the connection has ended, or is closing
)

// A call is a running call of the library.
type call struct {
	end     *end
	name    string
	kind    kind
	ctx     context.Context
	at      int64
	dead    bool                  // its context had ended before the call
	after   *websocket.CloseError // the connection had ended before, with this error
	lenient bool                  // it may succeed after the end
}

// begin records a call. It must come before the call itself.
func (e *end) begin(name string, k kind, ctx context.Context) *call {
	return &call{end: e, name: name, kind: k, ctx: ctx, at: e.clock(), dead: ctx.Err() != nil, after: e.terminal()}
}

// judge checks the error that the library returned. The errors in may are
// allowed.
func (c *call) judge(err error, may ...error) outcome {
	c.hazard()
	e := c.end
	if c.after != nil && err != c.after && !(c.lenient && err == nil) {
		e.report("%s after the end returned %v instead of %v", c.name, err, c.after)
	}
	var ce *websocket.CloseError
	switch {
	case err == nil:
		return done
	case errors.As(err, &ce):
		e.note(c, ce)
		return over
	case c.ctx.Err() != nil && err == c.ctx.Err():
		return gaveUp
	case errors.Is(err, os.ErrDeadlineExceeded) && c.kind != neither && e.timed[c.kind].Load():
		if err != os.ErrDeadlineExceeded {
			e.report("%s returned %v instead of os.ErrDeadlineExceeded", c.name, err)
		}
		return gaveUp
	}
	for _, m := range may {
		if err == m {
			return refused
		}
	}
	e.report("%s returned %v; its context: %v", c.name, err, c.ctx.Err())
	return refused
}

// hazard records that the call, if it was interrupted, may have ended the
// connection.
func (c *call) hazard() {
	if c.ctx.Err() == nil || c.dead || c.after != nil || c.ctx == c.end.conn.Context() {
		return
	}
	tr := c.end.plan.transport
	if tr.noDeadlines || tr.fragile() && c.kind == writing {
		c.end.excuse(c.at, "%s was interrupted over %s", c.name, tr.name)
	}
}

// note records a CloseError for a later comparison: readers get only the
// terminal error, writers get another one while the connection is closing.
func (e *end) note(c *call, ce *websocket.CloseError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.errs[ce]; !ok || c.kind == reading {
		e.errs[ce] = c
	}
}

// A sharedContext is a context given to several calls.
type sharedContext struct {
	context.Context
	cancel context.CancelFunc
}

// share returns a context that other calls use too, and that ends soon.
func (e *end) share(r *rand.Rand) context.Context {
	for {
		old := e.shared.Load()
		if old != nil && old.Err() == nil {
			return old.Context
		}
		ctx, cancel := context.WithTimeout(context.Background(), brief(r, 10000))
		if e.shared.CompareAndSwap(old, &sharedContext{ctx, cancel}) {
			return ctx
		}
		cancel()
	}
}

// brief returns a random time of up to most microseconds.
func brief(r *rand.Rand, most int) time.Duration {
	return time.Duration(r.IntN(most)) * time.Microsecond
}

// context returns a context for a call, and the function that releases it. It
// ends only if may is set.
func (e *end) context(r *rand.Rand, may bool) (context.Context, context.CancelFunc) {
	n := r.IntN(10)
	if !may {
		n = r.IntN(5)
	}
	switch n {
	case 0:
		return e.conn.Context(), func() {}
	case 1:
		return context.WithCancel(context.Background())
	case 2, 3, 4, 5:
		return context.Background(), func() {}
	case 6:
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx, cancel
	case 7:
		return e.share(r), func() {}
	default:
		return context.WithTimeout(context.Background(), brief(r, 3000))
	}
}

// mayInterrupt reports whether calls of a kind are interrupted in this round.
func (e *end) mayInterrupt(k kind) bool {
	return e.plan.interrupt == everything || e.plan.interrupt == reads && k == reading
}

// setDeadline sets a deadline of a direction.
func (e *end) setDeadline(k kind, t time.Time) {
	if !t.IsZero() {
		e.timed[k].Store(true)
		tr := e.plan.transport
		if tr.noDeadlines || tr.fragile() && k == writing {
			e.excuse(e.clock(), "a deadline was set over %s", tr.name)
		}
	}
	ctx := context.Background()
	c := e.begin("SetReadDeadline", neither, ctx)
	set := e.conn.SetReadDeadline
	if k == writing {
		c.name, set = "SetWriteDeadline", e.conn.SetWriteDeadline
	}
	c.judge(set(t))
}

// pause lets other goroutines run.
func pause(r *rand.Rand, most int) {
	<-time.After(brief(r, most))
}
