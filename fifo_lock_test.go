package websocket

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFIFOLockOrder lets five wait for the lock and one of them, or all, give
// up: the others get it in the order in which they came.
func TestFIFOLockOrder(t *testing.T) {
	const waiting = 5
	for leaving := range waiting + 1 {
		synctest.Test(t, func(t *testing.T) {
			var k fifoLock
			require.True(t, k.tryLock())
			require.False(t, k.tryLock())
			var order []int
			var all sync.WaitGroup
			giveUp := make([]chan struct{}, waiting)
			for i := range waiting {
				giveUp[i] = make(chan struct{})
				all.Go(func() {
					if k.lock(giveUp[i], nil) {
						order = append(order, i)
						k.unlock()
					}
				})
				synctest.Wait()
			}
			var want []int
			for i := range waiting {
				if i == leaving || leaving == waiting {
					close(giveUp[i])
					synctest.Wait()
				} else {
					want = append(want, i)
				}
			}
			k.unlock()
			all.Wait()
			require.Equal(t, want, order)
			require.True(t, k.tryLock())
			k.unlock()
			require.NotContains(t, k.queue().last, &k)
		})
	}
}

// TestFIFOLockForTheConnection proves that the lock says whether it is held for the
// application, also while others wait and after it was handed over.
func TestFIFOLockForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k fifoLock
		require.False(t, k.isLockedForUser())
		require.True(t, k.tryLockInternal())
		require.False(t, k.tryLockInternal())
		require.True(t, k.isLocked())
		require.False(t, k.isLockedForUser())
		go k.lock(nil, nil)
		synctest.Wait()
		require.False(t, k.isLockedForUser(), "somebody waits")
		k.unlock()
		synctest.Wait()
		require.True(t, k.isLockedForUser(), "it was handed over")
		k.unlock()
		require.False(t, k.isLocked())
		require.True(t, k.tryLock())
		require.True(t, k.isLockedForUser())
		k.unlock()
		require.False(t, k.isLockedForUser())
	})
}

// TestFIFOLockChangesHands proves that only one of many goroutines holds the
// lock at a time, and that none is forgotten, while some give up.
func TestFIFOLockChangesHands(t *testing.T) {
	var k fifoLock
	var all sync.WaitGroup
	held, taken := 0, 0
	for i := range 8 {
		all.Go(func() {
			impatient := make(chan struct{})
			if i%2 == 0 {
				close(impatient)
			}
			for range 2000 {
				if !k.lock(impatient, nil) {
					continue
				}
				if held++; held != 1 {
					assert.Fail(t, "two hold the lock")
				}
				taken++
				held--
				k.unlock()
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, taken, 8000)
	require.True(t, k.tryLock())
}

// TestFIFOLocksShareQueues has more locks than there are queues contended at
// once: each goes to those that wait for it, in their order, and none is left
// in a queue.
func TestFIFOLocksShareQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locks := make([]fifoLock, 4*len(lockQueues))
		orders := make([][]int, len(locks))
		var all sync.WaitGroup
		for i := range locks {
			require.True(t, locks[i].tryLock())
		}
		for n := range 3 {
			for i := range locks {
				all.Go(func() {
					if locks[i].lock(nil, nil) {
						orders[i] = append(orders[i], n)
						locks[i].unlock()
					}
				})
			}
			synctest.Wait()
		}
		for i := range locks {
			locks[i].unlock()
			synctest.Wait()
			require.Equal(t, []int{0, 1, 2}, orders[i])
			require.NotContains(t, locks[i].queue().last, &locks[i])
			require.False(t, locks[i].isLocked())
		}
		all.Wait()
	})
}
