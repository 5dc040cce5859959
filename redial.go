package websocket

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"
)

// A Backoff says how [Redial] waits between attempts. The wait is random,
// between nothing and a bound that doubles with each failure in a row
// (RFC 6455, Section 7.2.3): the clients of a server that went away do not
// come back all at once.
type Backoff struct {
	// Min is the first bound. 0: 1 s.
	Min time.Duration
	// Max is the bound that no wait exceeds but one that the server asks for
	// by Retry-After, up to ten minutes. 0: 30 s.
	Max time.Duration
	// Attempts is the number of failures in a row after which Redial gives
	// up. 0: no limit.
	Attempts int
}

// maxRetryAfter bounds the wait that a server can ask for.
const maxRetryAfter = 10 * time.Minute

// bound returns the upper bound of the wait after failures failures in a row.
func (b Backoff) bound(failures int) time.Duration {
	low, high := orDefault(b.Min, time.Second, time.Second), b.max()
	for range failures - 1 {
		if low > high/2 {
			return high
		}
		low *= 2
	}
	return min(low, high)
}

func (b Backoff) max() time.Duration { return orDefault(b.Max, 30*time.Second, 30*time.Second) }

// A RedialError is a failed attempt of [Redial].
type RedialError struct {
	// Attempt counts the failures in a row, from 1. A connection that ends
	// before Backoff.Max has passed is one.
	Attempt int
	// Wait is how long Redial waits before the next attempt.
	Wait time.Duration
	// Final is set if there is no next attempt: the context has ended, the
	// number of attempts is reached, or the next one would fail like this
	// one.
	Final bool
	// Closed is the end of the last connection, nil if there was none.
	Closed *CloseError
	// Err is what went wrong: a [*HandshakeError], the [*CloseError] of a
	// connection that a new one would share, or, whatever else there was, the
	// context's error, which also wraps the context's cause.
	Err error
}

// Error returns the number of the attempt and what went wrong.
func (e *RedialError) Error() string {
	s := "websocket: attempt " + strconv.Itoa(e.Attempt)
	if e.Final {
		s += ", the last"
	}
	return s + ": " + withoutPrefix(e.Err)
}

// Unwrap returns what went wrong.
func (e *RedialError) Unwrap() error { return e.Err }

// Redial returns an iterator over connections to url, one after another:
//
//	for c, err := range websocket.Redial(ctx, url, nil, websocket.Backoff{}) {
//		if err != nil {
//			log.Print(err)
//			continue
//		}
//		use(c) // until it ends
//	}
//
// The body uses a connection until it ends, and goes on. Redial then closes
// it, if need be, waits as b says, and dials again. Failures are of type
// [*RedialError]; after a passing one the loop goes on too. After a final one
// it ends: an invalid request, a refusal by a status that does not pass (4xx
// but 408, 425 and 429; 501 and 505; redirects), a connection that the peer
// ended because of what we sent (1002, 1003, 1007, 1008, 1009, 1010), the end
// of ctx. A connection that the peer ended with 1000 ends the loop without an
// error.
//
// What this side ended passes, whatever the code: a limit or a time of Config,
// a breach of the protocol by the peer, a Close by the body, whatever the peer
// answers. A body that wants no more connections leaves the loop.
//
// ctx bounds everything but the life of a connection. If it has ended when the
// body goes on, that is the final failure, however the connection ended. A body
// that leaves the loop keeps its connection. How one ended is the cause of its
// context.
func Redial(ctx context.Context, url string, opts *DialOptions, b Backoff) iter.Seq2[*Conn, error] {
	return func(yield func(*Conn, error) bool) {
		r := redialer{ctx: ctx, backoff: b, yield: yield}
		for r.attempt(url, opts) {
		}
	}
}

// A nextStep is what Redial does when an attempt is over.
type nextStep uint8

const (
	dialAgain nextStep = iota
	endLoop
	giveUp // with an error
)

// A redialer is one run of Redial's loop.
type redialer struct {
	ctx      context.Context
	backoff  Backoff
	yield    func(*Conn, error) bool
	failures int // in a row
	closed   *CloseError
}

// attempt dials, and yields the connection until it ends. It reports whether to
// go on.
func (r *redialer) attempt(url string, opts *DialOptions) bool {
	c, _, err := Dial(r.ctx, url, opts)
	if err != nil {
		return r.backOff(err, nextAfterFailure(err))
	}
	began := time.Now()
	if !r.yield(c, nil) {
		return false
	}
	c.Close(CloseNormal, "")
	r.closed = asCloseError(context.Cause(c.Context()))
	if time.Since(began) >= r.backoff.max() {
		r.failures = 0
	}
	return r.backOff(r.closed, nextAfterEnd(r.closed, c.isClosing()))
}

// nextAfterEnd returns what is next after a connection that ended with end. ours
// is set if this side closed it: then a Close frame of the peer's is taken for
// the answer, whatever it says. If it was more than that, the peer says it
// again.
func nextAfterEnd(end *CloseError, ours bool) nextStep {
	switch {
	case ours || !end.Received || end.Err != nil:
		return dialAgain
	case end.Code == CloseNormal:
		return endLoop
	case isFinalCode(end.Code):
		return giveUp
	default:
		return dialAgain
	}
}

// nextAfterFailure returns what is next after Dial returned err.
func nextAfterFailure(err error) nextStep {
	var e *HandshakeError
	if errors.As(err, &e) && (e.invalid || isFinalStatus(e.Status)) {
		return giveUp
	}
	return dialAgain
}

// backOff yields the failure err, if there is something to tell, and waits. It
// reports whether to go on. The body knows of a connection that ended, and is
// told only if that is final.
func (r *redialer) backOff(err error, next nextStep) bool {
	if r.ctx.Err() != nil {
		r.failures++
		return r.yieldContextError()
	}
	if next == endLoop {
		return false
	}
	r.failures++
	e := &RedialError{Attempt: r.failures, Closed: r.closed, Err: err}
	if e.Final = next == giveUp || r.failures == r.backoff.Attempts; !e.Final {
		e.Wait = max(randomBelow(r.backoff.bound(r.failures)), retryAfter(err))
	}
	if _, known := err.(*CloseError); !known || e.Final {
		if !r.yield(nil, e) || e.Final {
			return false
		}
	}
	return r.wait(e.Wait)
}

// yieldContextError yields the end of the context, which is final, and returns false.
func (r *redialer) yieldContextError() bool {
	err := r.ctx.Err()
	if cause := context.Cause(r.ctx); cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	r.yield(nil, &RedialError{Attempt: r.failures, Final: true, Closed: r.closed, Err: err})
	return false
}

// randomBelow returns a random duration below d, which is positive.
func randomBelow(d time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:])
	return time.Duration(binary.LittleEndian.Uint64(b[:]) % uint64(d))
}

// wait waits for d. If the context ends first, that is the final failure.
func (r *redialer) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return r.yieldContextError()
	}
}

// isFinalStatus reports whether a server that answers status will do so again.
func isFinalStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	default:
		return status >= 100 && status < 500
	}
}

// isFinalCode reports whether a connection ended with code because of
// something that the next one would have in common with it.
func isFinalCode(code CloseCode) bool {
	switch code {
	case CloseProtocolError, CloseUnsupportedData, CloseInvalidPayload,
		ClosePolicyViolation, CloseMessageTooBig, CloseMandatoryExtension:
		return true
	default:
		return false
	}
}

// retryAfter returns the wait, in whole seconds, that a server asked for
// (RFC 9110, Section 10.2.3).
func retryAfter(err error) time.Duration {
	var e *HandshakeError
	if !errors.As(err, &e) || e.Response == nil {
		return 0
	}
	seconds, err := strconv.ParseUint(e.Response.Header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
