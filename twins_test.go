//go:build unix

package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A twinWrite writes a plain message.
type twinWrite func(c *Conn, ctx context.Context, p []byte) error

// slowTwin is Write without the code that spares stack: writeFrame, joinLocked
// and flushAlone.
func slowTwin(c *Conn, ctx context.Context, p []byte) error {
	if err := c.lockSending(ctx); err != nil {
		return err
	}
	corked, err := c.out.postData(bitFIN|byte(Binary), p)
	w := &c.out
	w.mu.Lock()
	var ticket *ticket
	if err == nil && !corked {
		ticket = w.queueLocked(ticketOf(w, len(p)))
	}
	w.mu.Unlock()
	c.send.lock.unlock()
	if err == nil {
		_, err = w.flush(ctx, ticket, orWithdraw)
	}
	return c.writeError(ctx, err)
}

// ticketOf returns the ticket of the frame that was appended last, with a
// payload of n bytes. The caller holds w.mu.
func ticketOf(w *frameWriter, n int) ticket {
	size := headerSize(header{masked: w.mode.masked, length: int64(n)}) + n
	end := w.active.offsets.appended
	return ticket{start: end - int64(size), end: end, byte0: bitFIN | byte(Binary)}
}

// generalTwin is Write by the way for messages that may be compressed.
func generalTwin(c *Conn, ctx context.Context, p []byte) error {
	return c.write(ctx, outgoing{typ: Binary, payload: p})
}

// A twinRun is what came of a run of random operations.
type twinRun struct {
	results  []string // of each operation
	payloads []string
	opcodes  []opcode
	stats    Stats
}

// runTwin does random operations, with messages written by write.
func runTwin(t *testing.T, seed uint64, r role, write twinWrite) (run twinRun) {
	far, near := tcpPair(t)
	cfg := Config{PingInterval: -1, HoldReplies: time.Hour}
	c := newConn(near, r, cfg.withDefaults(), agreement{}, nil)
	require.True(t, c.read.lock.tryLock()) // nobody reads, which would flush what is corked
	received := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(far)
		received <- b
	}()
	rnd := rand.New(rand.NewPCG(seed, 8))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	live, cancel := context.WithCancel(context.Background())
	defer cancel()
	contexts := []context.Context{context.Background(), context.Background(), live, ended}
	for n := range 200 {
		p := fmt.Appendf(nil, "%d %s", n, block(rnd.IntN([]int{10, 200, 20000}[rnd.IntN(3)])))
		var err error
		switch rnd.IntN(12) {
		case 0:
			err = c.out.addControl(opPing, p[:min(len(p), 125)])
		case 1:
			c.out.cork.on.Store(!c.out.cork.on.Load())
		case 2:
			err = c.Flush()
		case 3:
			err = c.SetWriteDeadline([]time.Time{{}, time.Now().Add(-time.Second), time.Now().Add(time.Hour)}[rnd.IntN(3)])
		case 4:
			c.out.flushNow()
		default:
			err = write(c, contexts[rnd.IntN(len(contexts))], p)
		}
		for c.out.isBusy() {
			runtime.Gosched() // until the flush in the background is done
		}
		run.results = append(run.results, fmt.Sprintf("%d: %v, corked: %v", n, twinError(err), c.out.active != nil && c.out.active.corked.since != 0))
	}
	c.SetWriteDeadline(time.Time{})
	require.NoError(t, c.Flush())
	run.stats = c.Stats()
	near.Close()
	run.payloads, run.opcodes = framesIn(t, <-received)
	return run
}

// twinError returns what an error says.
func twinError(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "deadline"
	}
	return fmt.Sprint(err)
}

// TestTwins does the same operations with the code that spares stack and with the
// code for all cases: the same frames leave, with the same results and the same
// number of system calls.
func TestTwins(t *testing.T) {
	for _, r := range roles {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("%s, seed %d", r, seed), func(t *testing.T) {
				want := runTwin(t, seed, r, slowTwin)
				require.NotEmpty(t, want.payloads)
				for name, write := range map[string]twinWrite{
					"Write": func(c *Conn, ctx context.Context, p []byte) error { return c.Write(ctx, Binary, p) },
					"write": generalTwin,
				} {
					got := runTwin(t, seed, r, write)
					require.Equal(t, want.results, got.results, name)
					require.Equal(t, want.opcodes, got.opcodes, name)
					require.True(t, equalStrings(want.payloads, got.payloads), name)
					require.Equal(t, want.stats, got.stats, name)
				}
			})
		}
	}
}

// equalStrings compares what would be too long to show.
func equalStrings(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
