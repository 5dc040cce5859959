package natsgroup

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sync/singleflight"
)

// TestGate has requests wait for their turn, and not for the time of one answer.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		var asking sync.WaitGroup
		var underWay, most atomic.Int64
		for range 1000 {
			asking.Go(func() {
				assert.NoError(t, g.once(t.Context(), func(ctx context.Context) error {
					most.Store(max(most.Load(), underWay.Add(1)))
					defer underWay.Add(-1)
					sleep(ctx, requestTimeout-time.Second)
					return ctx.Err()
				}))
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, g.once(ctx, func(context.Context) error { return nil }), context.Canceled)
		asking.Wait()
		assert.EqualValues(t, maxRequests, most.Load())
	})
}

// TestShare asks once for all, and goes on when one of them gives up.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var questions singleflight.Group
		var asking sync.WaitGroup
		asked := 0
		ask := func() (int, error) {
			asked++
			time.Sleep(time.Second)
			return asked, nil
		}
		first, cancel := context.WithCancel(t.Context())
		asking.Go(func() {
			_, err := share(first, &questions, "question", ask)
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 1000 {
			asking.Go(func() {
				answer, err := share(t.Context(), &questions, "question", ask)
				assert.NoError(t, err)
				assert.Equal(t, 1, answer)
			})
		}
		synctest.Wait()
		cancel()
		asking.Wait()
		answer, err := share(t.Context(), &questions, "question", ask)
		assert.NoError(t, err)
		assert.Equal(t, 2, answer, "the next answer is a new one")
	})
}
