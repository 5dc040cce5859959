package natsgroup

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"
)

// Bounds on requests to NATS.
const (
	requestTimeout = 4 * time.Second        // for one answer
	retryWait      = 100 * time.Millisecond // between a request that failed and the next
	maxRequests    = 32                     // of one gate that are under way
)

// A gate lets so many requests be under way at once, and the others wait in turn:
// when thousands of members come back together, NATS would answer all of them too
// late, again and again.
type gate chan struct{}

// newGate returns a gate that lets maxRequests in.
func newGate() gate { return make(gate, maxRequests) }

// once calls ask when it is its turn, and gives it the time that one answer may
// take.
func (g gate) once(ctx context.Context, ask func(context.Context) error) error {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g }()
	return once(ctx, ask)
}

// once calls ask, which has as long as one answer may take.
func once(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return ask(ctx)
}

// insist calls ask until it is answered or ctx ends.
func insist(ctx context.Context, ask func(context.Context) error) error {
	for {
		err := once(ctx, ask)
		if err == nil || ctx.Err() != nil || !isAway(err) {
			return err
		}
		sleep(ctx, retryWait)
	}
}

// share calls ask once for all who share the same question meanwhile, whose answer
// none of them changes. It goes on when the ctx of one of them ends.
func share[T any](ctx context.Context, questions *singleflight.Group, question string, ask func() (T, error)) (answer T, err error) {
	select {
	case r := <-questions.DoChan(question, func() (any, error) { return ask() }):
		return r.Val.(T), r.Err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// sleep waits for d, or less if ctx ends before.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// isPermanent reports whether the same message will not be taken later either.
func isPermanent(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return !isPassing(api)
	}
	for _, permanent := range []error{nats.ErrMaxPayload, nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrBadSubject, nats.ErrAuthorization} {
		if errors.Is(err, permanent) {
			return true
		}
	}
	return false
}

// Errors of JetStream about what the servers are, and not about a request.
const (
	noPeers   jetstream.ErrorCode = 10005 // fewer servers than replicas, but more may come
	noCluster jetstream.ErrorCode = 10074 // one server, whatever comes
)

// isPassing reports whether an error is about the state the servers are in: one has
// too much to do (429), or stores a message with the same id (409), which may have
// come with an attempt before.
func isPassing(err *jetstream.APIError) bool {
	switch {
	case err.ErrorCode == noPeers:
		return true
	case err.ErrorCode == noCluster:
		return false
	}
	return err.Code >= 500 || err.Code == http.StatusConflict || err.Code == http.StatusTooManyRequests
}

// isAway reports whether an error is that of a NATS that does not answer, or has no
// leader.
func isAway(err error) bool {
	for _, away := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrConnectionReconnecting, nats.ErrDisconnected,
	} {
		if errors.Is(err, away) {
			return true
		}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && isPassing(api)
}

// isMissing reports whether an error is that of a stream or a bucket that is not
// there: for Open, which makes those that are not, one that is being made.
func isMissing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
}
