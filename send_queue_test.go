package websocket

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fillQueue queues messages of 10 bytes to a peer that does not read, until the
// queue of 100 bytes is full: one is with the writer, ten wait.
func fillQueue(t *testing.T, c *Conn) {
	t.Helper()
	require.NoError(t, c.Send(Text, []byte("blocks....")))
	synctest.Wait()
	for i := range 10 {
		require.NoError(t, c.Send(Text, fmt.Appendf(nil, "message %02d", i)))
	}
}

// TestSlowPolicies proves what each policy drops, or waits for, when the queue
// is full.
func TestSlowPolicies(t *testing.T) {
	covers(t, "Q.D11", "W12")
	type test struct {
		policy SlowPolicy
		err    error
		first  string // the first message after the blocked one
		last   string
	}
	for _, tt := range []test{
		{DropNewest, ErrQueueFull, "message 00", "message 09"},
		{DropOldest, nil, "message 00", "the newest"},
		{Block, nil, "message 00", "the newest"},
	} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := memPair(t, server, &Config{PingInterval: -1, MaxQueuedBytes: 100, SlowConsumer: tt.policy})
				far.SetWindow(0)
				fillQueue(t, c)
				n, bytes := c.Queued()
				require.Equal(t, 10, n)
				require.Equal(t, 100, bytes)
				sent := make(chan error, 1)
				go func() { sent <- c.Send(Text, []byte("the newest")) }()
				synctest.Wait()
				if tt.policy == Block {
					require.Empty(t, sent)
				} else {
					require.ErrorIs(t, <-sent, tt.err)
				}
				far.SetWindow(1 << 20)
				require.NoError(t, c.Drain(t.Context()))
				if tt.policy == Block {
					require.NoError(t, <-sent)
					require.NoError(t, c.Drain(t.Context()))
				}
				n, bytes = c.Queued()
				require.Zero(t, n+bytes)
				c.CloseNow()
				payloads, _ := readFrames(t, far)
				require.Equal(t, "blocks....", payloads[0])
				require.Equal(t, tt.last, payloads[len(payloads)-1])
			})
		})
	}
}

// TestCloseSlow proves that a full queue closes the connection with 1008 under
// CloseSlow.
func TestCloseSlow(t *testing.T) {
	covers(t, "W12")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1, MaxQueuedBytes: 100, SlowConsumer: CloseSlow})
		far.SetWindow(0)
		fillQueue(t, c)
		require.ErrorIs(t, c.Send(Text, []byte("the newest")), ErrSlowConsumer)
		require.Error(t, c.Send(Text, []byte("the newest")))
		<-c.Context().Done()
		err := context.Cause(c.Context())
		require.ErrorIs(t, err, ErrSlowConsumer)
		require.ErrorIs(t, err, ClosePolicyViolation)
	})
}

// TestSendAndWriteKeepTheirOrder proves that queued and written messages leave
// in the order of the calls.
func TestSendAndWriteKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.SetWindow(0)
		var wg sync.WaitGroup
		for i := range 30 {
			p := fmt.Appendf(nil, "%02d", i)
			if i%3 == 2 {
				wg.Go(func() { c.Write(t.Context(), Text, p) })
			} else {
				require.NoError(t, c.Send(Text, p))
			}
			synctest.Wait()
		}
		far.SetWindow(1 << 20)
		wg.Wait()
		require.NoError(t, c.Drain(t.Context()))
		c.CloseNow()
		payloads, _ := readFrames(t, far)
		require.Len(t, payloads, 30)
		for i, p := range payloads {
			require.Equal(t, fmt.Sprintf("%02d", i), p)
		}
	})
}

// TestCloseSendsWhatIsQueued proves that Close sends the queue before its Close
// frame.
func TestCloseSendsWhatIsQueued(t *testing.T) {
	covers(t, "W10")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.SetWindow(0)
		for i := range 100 {
			require.NoError(t, c.Send(Text, fmt.Appendf(nil, "%02d", i)))
		}
		time.AfterFunc(time.Second, func() { far.SetWindow(1 << 20) })
		go c.Close(CloseNormal, "")
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, c.Send(Text, nil), CloseNormal)
		c.CloseNow()
		payloads, _ := readFrames(t, far)
		require.Len(t, payloads, 101)
		require.Equal(t, "\x03\xe8", payloads[100])
	})
}

// TestSendGivesUpWhenTheConnectionEnds proves that Send and Drain do not wait
// beyond the end.
func TestSendGivesUpWhenTheConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1, MaxQueuedBytes: 100})
		far.SetWindow(0)
		fillQueue(t, c)
		errs := make(chan error, 2)
		go func() { errs <- c.Send(Text, []byte("the newest")) }()
		go func() { errs <- c.Drain(context.Background()) }()
		synctest.Wait()
		c.CloseNow()
		require.ErrorIs(t, <-errs, CloseAbnormal)
		require.ErrorIs(t, <-errs, CloseAbnormal)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, c.Drain(ctx))
	})
}

// TestWritesDoNotEmptyTheQueue proves that what is queued for a peer that does
// not read still counts after Writes that were given up.
func TestWritesDoNotEmptyTheQueue(t *testing.T) {
	covers(t, "Q.D11")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1, MaxQueuedBytes: 100, SlowConsumer: DropNewest})
		far.SetWindow(0)
		fillQueue(t, c)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			require.ErrorIs(t, c.WriteString(ctx, "given up"), context.DeadlineExceeded)
			cancel()
			require.ErrorIs(t, c.Send(Text, []byte("one more..")), ErrQueueFull)
		}
		far.SetWindow(1 << 20)
		require.NoError(t, c.Drain(t.Context()))
		synctest.Wait()
		n, bytes := c.Queued()
		require.Zero(t, n+bytes)
		require.NoError(t, c.Send(Text, []byte("one more..")))
		require.NoError(t, c.Drain(t.Context()))
		c.CloseNow()
		payloads, _ := readFrames(t, far)
		require.Len(t, payloads, 12)
	})
}

// TestQueueLimitUnderExpiredWriteDeadline proves that the queue is bounded
// after a write deadline has passed as well.
func TestQueueLimitUnderExpiredWriteDeadline(t *testing.T) {
	covers(t, "W12")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1, SlowConsumer: DropNewest, MaxQueuedBytes: 100 << 10})
		far.SetWindow(0)
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		time.Sleep(2 * time.Second)
		taken := 0
		for range 1000 {
			if c.Send(Binary, make([]byte, 1000)) == nil {
				taken += 1000
			}
			synctest.Wait()
		}
		require.LessOrEqual(t, taken, 300<<10)
	})
}
