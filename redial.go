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

// A Backoff says how long [Redial] waits between attempts: a random time up to
// a bound that doubles with each failure in a row, so that the clients of a
// server that went away do not come back all at once (RFC 6455, Section 7.2.3).
type Backoff struct {
	// Min is the first bound. 0: 1 s.
	Min time.Duration
	// Max caps the wait, unless the server's Retry-After asks for longer (at
	// most ten minutes). 0: 30 s.
	Max time.Duration
	// Attempts is the number of failures in a row after which Redial gives
	// up, as RedialError.Attempt counts them. 0: no limit.
	Attempts int
}

// maxRetryAfter caps the wait that a server can ask for.
const maxRetryAfter = 10 * time.Minute

// bound returns the upper bound of the wait after that many failures in a row.
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

// max returns Max or its default.
func (b Backoff) max() time.Duration { return orDefault(b.Max, 30*time.Second, 30*time.Second) }

// A RedialError is a failed attempt of [Redial].
type RedialError struct {
	// Attempt counts the failures in a row, from 1. The end of a connection
	// counts as one; it is the first if the connection has lasted for
	// Backoff.Max.
	Attempt int
	// Wait is how long Redial waits before the next attempt.
	Wait time.Duration
	// Final is set if there is no next attempt: the context has ended, the
	// limit of attempts is reached, or the next attempt would fail like this
	// one.
	Final bool
	// Closed is the end of the last connection, nil if there was none.
	Closed *CloseError
	// Err is what went wrong: a [*HandshakeError], or a [*CloseError] with
	// which the next connection would end too. If the context has ended, it is
	// the context's error, which also wraps the context's cause.
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
// The body uses a connection until it ends and then continues the loop. Redial
// closes the connection, if need be, waits as b says, and dials again. Failures
// are of type [*RedialError]; after a temporary failure the loop continues. It
// ends after a final one: an invalid request, a response with a status that
// does not go away (all below 500 except 408, 425 and 429; 501 and 505), a
// connection that the peer closed because of what this side sent (1002, 1003,
// 1007, 1008, 1009, 1010), the limit of attempts, the end of ctx. A connection
// that the peer closed with 1000 ends the loop without an error.
//
// It is a temporary failure, whatever the code, if this side closed the
// connection: because of a limit or a timeout of Config, because the peer broke
// the protocol, or because the body called Close, whatever the peer answers. A
// body that wants no more connections leaves the loop.
//
// ctx bounds everything but the life of a connection. If ctx has ended when the
// body continues the loop, that is the final failure, however the connection
// ended. A body that leaves the loop keeps its connection. How a connection
// ended is the cause of its context.
func Redial(ctx context.Context, url string, opts *DialOptions, b Backoff) iter.Seq2[*Conn, error] {
	return func(yield func(*Conn, error) bool) {
		r := redialer{ctx: ctx, backoff: b, yield: yield}
		for r.attempt(url, opts) {
		}
	}
}

// A nextStep is what Redial does when an attempt is over.
type nextStep uint8

// What Redial may do next.
const (
	dialAgain nextStep = iota
	endLoop            // without an error
	giveUp             // with an error
)

// A redialer is one run of Redial's loop.
type redialer struct {
	ctx      context.Context
	backoff  Backoff
	yield    func(*Conn, error) bool
	failures int         // in a row
	closed   *CloseError // the end of the last connection, nil if there was none
}

// attempt dials, yields the connection, and waits before the next attempt. It
// reports whether there is one.
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

// nextAfterEnd returns what to do after a connection that ended with end.
// closedHere is set if this side closed it: a Close frame from the peer is then
// taken for the answer, whatever it says. If it was not, the peer will close the
// next connection with it too.
func nextAfterEnd(end *CloseError, closedHere bool) nextStep {
	switch {
	case closedHere || !end.Received || end.Err != nil:
		return dialAgain
	case end.Code == CloseNormal:
		return endLoop
	case isFinalCode(end.Code):
		return giveUp
	default:
		return dialAgain
	}
}

// nextAfterFailure returns what to do after Dial returned err.
func nextAfterFailure(err error) nextStep {
	var e *HandshakeError
	if errors.As(err, &e) && (e.invalid || isFinalStatus(e.Status)) {
		return giveUp
	}
	return dialAgain
}

// backOff yields the failure err and waits, and reports whether to dial again.
// The end of a connection, which the body has seen, is yielded only if it is
// final.
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
	if _, seen := err.(*CloseError); !seen || e.Final {
		if !r.yield(nil, e) || e.Final {
			return false
		}
	}
	return r.wait(e.Wait)
}

// yieldContextError yields the end of the context, which is the final failure.
// It returns false.
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

// wait waits for d and returns true, or yields the end of the context and
// returns false.
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

// isFinalStatus reports whether a server that answers with status, and opens no
// connection, will do so again. 0 is no status.
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

// isFinalCode reports whether the peer closes with code because of something
// that this side would do again on the next connection.
func isFinalCode(code CloseCode) bool {
	switch code {
	case CloseProtocolError, CloseUnsupportedData, CloseInvalidPayload,
		ClosePolicyViolation, CloseMessageTooBig, CloseMandatoryExtension:
		return true
	default:
		return false
	}
}

// retryAfter returns the wait that a server asked for with a number of seconds
// in Retry-After (RFC 9110, Section 10.2.3), at most maxRetryAfter. 0: it did
// not.
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
