package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSizeOfFrameWriter proves that a frameWriter stays as small as
// docs/design.md says.
func TestSizeOfFrameWriter(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(frameWriter{}), uintptr(88))
}

// TestHeldRepliesLeaveTogether proves that small replies are corked while more
// requests wait, and leave with the last one in one flush.
func TestHeldRepliesLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1, HoldReplies: time.Second})
		far.Write(bytes.Repeat(clientFrame(0x81, "a message of more than a few bytes"), 3))
		ctx := t.Context()
		began := time.Now()
		for range 2 {
			_, _, err := c.Read(ctx)
			require.NoError(t, err)
			require.NoError(t, c.Write(ctx, Text, []byte("reply")))
			require.Zero(t, far.Unread(), "more input waits: the reply is held")
		}
		_, _, err := c.Read(ctx)
		require.NoError(t, err)
		require.Zero(t, far.Unread())
		require.NoError(t, c.Write(ctx, Text, []byte("reply")))
		require.Equal(t, 3*len("..reply"), far.Unread(), "the last reply takes the others along")
		require.Zero(t, time.Since(began))
		require.EqualValues(t, 1, c.Stats().Flushes)
	})
}

// TestHeldRepliesLeaveInTime proves that a corked reply leaves after
// HoldReplies.
func TestHeldRepliesLeaveInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1})
		far.Write(bytes.Repeat(clientFrame(0x81, "a message of more than a few bytes"), 20))
		ctx := t.Context()
		for range 5 {
			_, _, err := c.Read(ctx)
			require.NoError(t, err)
			began := time.Now()
			require.NoError(t, c.Write(ctx, Text, []byte("reply")))
			require.Zero(t, far.Unread())
			far.Read(make([]byte, 7))
			require.Equal(t, 100*time.Microsecond, time.Since(began))
			time.Sleep(37 * time.Microsecond)
		}
	})
}

// TestHeldRepliesLeave proves that whatever has to wait, or ends the work, lets
// corked replies go before.
func TestHeldRepliesLeave(t *testing.T) {
	ways := map[string]func(c *Conn){
		"Flush": func(c *Conn) { c.Flush() },
		"Ping":  func(c *Conn) { go c.Ping(context.Background()) },
		"Close": func(c *Conn) { go c.Close(CloseNormal, "") },
		"end of the loop": func(c *Conn) {
			for range c.Messages(context.Background()) {
				break
			}
		},
		"full": func(c *Conn) { c.Write(context.Background(), Binary, make([]byte, maxCorked)) },
		"read that waits": func(c *Conn) {
			for range 3 {
				go c.Read(context.Background())
			}
		},
	}
	for name, leave := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := memPair(t, server, &Config{PingInterval: -1, HoldReplies: time.Hour})
				far.SetWindow(1 << 20)
				far.Write(bytes.Repeat(clientFrame(0x81, "a message of more than a few bytes"), 3))
				_, _, err := c.Read(t.Context())
				require.NoError(t, err)
				require.NoError(t, c.Write(t.Context(), Text, []byte("reply")))
				require.Zero(t, far.Unread())
				leave(c)
				synctest.Wait()
				require.GreaterOrEqual(t, far.Unread(), len("..reply"))
				c.CloseNow()
			})
		})
	}
}

// TestPipelinedRepliesShareWrites proves that replies to pipelined requests
// share system calls.
func TestPipelinedRepliesShareWrites(t *testing.T) {
	nc, ns := tcpPair(t)
	s := newConn(ns, server, (&Config{HoldReplies: time.Hour}).withDefaults(), agreement{}, nil)
	defer s.CloseNow()
	const batch, rounds = 16, 50
	done := make(chan error, 1)
	go func() { done <- echo(s) }()
	frames := bytes.Repeat(clientFrame(0x82, string(ramp(128))), batch)
	replies := make([]byte, batch*130)
	for range rounds {
		nc.Write(frames)
		_, err := io.ReadFull(nc, replies)
		require.NoError(t, err)
	}
	st := s.Stats()
	require.EqualValues(t, batch*rounds, st.MessagesOut)
	require.Less(t, st.Flushes, uint64(batch*rounds/4))
}

// TestWriteIsWithdrawnWhileItWaits proves that a Write whose context ends while
// it waits sends nothing, and disturbs no other.
func TestWriteIsWithdrawnWhileItWaits(t *testing.T) {
	covers(t, "Q.G03")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.SetWindow(0)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Write(t.Context(), Text, []byte("first")) })
		synctest.Wait()
		wg.Go(func() {
			assert.ErrorIs(t, c.Write(ctx, Text, []byte("withdrawn")), context.Canceled)
		})
		synctest.Wait()
		wg.Go(func() { assert.NoError(t, c.Write(t.Context(), Text, []byte("third"))) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		far.SetWindow(1 << 16)
		wg.Wait()
		go c.Close(CloseNormal, "")
		synctest.Wait()
		c.CloseNow()
		payloads, _ := readFrames(t, far)
		require.Equal(t, []string{"first", "third", "\x03\xe8"}, payloads)
	})
}

// TestWriteThatHasBegunIsFinished proves that a frame of which one byte has left
// leaves whole, even if its Write was given up and its slice changed.
func TestWriteThatHasBegunIsFinished(t *testing.T) {
	covers(t, "Q.G03", "Q.G04", "K03")
	for _, size := range []int{5, 1000, inPlaceFrom + 5} {
		for _, r := range roles {
			for window := range 7 {
				synctest.Test(t, func(t *testing.T) {
					c, far := memPair(t, r, nil)
					far.SetWindow(window)
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					p := bytes.Repeat([]byte("x"), size)
					require.ErrorIs(t, c.Write(ctx, Binary, p), context.DeadlineExceeded)
					clear(p)
					require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
					err := c.Write(t.Context(), Binary, p)
					require.ErrorIs(t, err, os.ErrDeadlineExceeded)
					c.SetWriteDeadline(time.Time{})
					far.SetWindow(1 << 20)
					require.NoError(t, c.Write(t.Context(), Binary, []byte("after")))
					c.CloseNow()
					payloads, _ := readFrames(t, far)
					if window == 0 {
						require.Equal(t, []string{"after"}, payloads)
					} else {
						require.Equal(t, []string{string(bytes.Repeat([]byte("x"), size)), "after"}, payloads)
					}
				})
			}
		}
	}
}

// TestWriteTimeout proves that a peer that takes nothing ends the connection
// after WriteTimeout, with one error for all calls.
func TestWriteTimeout(t *testing.T) {
	covers(t, "Q.G05", "Q.A17")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.SetWindow(3)
		began := time.Now()
		err := c.Write(t.Context(), Text, []byte("nobody reads"))
		require.Equal(t, 30*time.Second, time.Since(began))
		require.ErrorIs(t, err, CloseAbnormal)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, err, context.Cause(c.Context()))
		require.Equal(t, err, c.Write(t.Context(), Text, nil))
		_, _, rerr := c.Read(t.Context())
		require.Equal(t, err, rerr)
	})
}

// TestControlFramesOvertake proves that Pings and Pongs go between the fragments
// of a message.
func TestControlFramesOvertake(t *testing.T) {
	covers(t, "O08", "G04", "Q.H06", "O07")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		w, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		io.WriteString(w, "one")
		require.NoError(t, w.Flush())
		go c.Ping(t.Context())
		synctest.Wait()
		io.WriteString(w, "two")
		require.NoError(t, w.Close())
		far.Write(clientFrame(0x89, "p"))
		synctest.Wait()
		c.CloseNow()
		_, opcodes := readFrames(t, far)
		require.Equal(t, []opcode{opText, opPing, opContinuation, opPong}, opcodes)
	})
}

// TestPongsToPeerThatDoesNotRead proves that few Pongs are kept for a peer that
// does not read, and that the last one is among them.
func TestPongsToPeerThatDoesNotRead(t *testing.T) {
	covers(t, "O05", "Q.D07", "Q.D09")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.SetWindow(0)
		go c.Read(t.Context())
		for i := range 5000 {
			far.Write(clientFrame(0x89, string(ramp(20))+string(rune('a'+i%26))))
			synctest.Wait()
		}
		far.Write(clientFrame(0x89, "last"))
		synctest.Wait()
		far.SetWindow(1 << 20)
		synctest.Wait()
		c.CloseNow()
		payloads, _ := readFrames(t, far)
		require.Less(t, len(payloads), 1000)
		require.Equal(t, "last", payloads[len(payloads)-1])
	})
}

// TestMaskingLeavesTheCallersSlice proves that a client masks a copy of the
// payload.
func TestMaskingLeavesTheCallersSlice(t *testing.T) {
	covers(t, "K04", "F01")
	c, far := memPair(t, client, nil)
	p := ramp(100)
	require.NoError(t, c.Write(t.Context(), Binary, p))
	require.Equal(t, ramp(100), p)
	head := make([]byte, 2)
	io.ReadFull(far, head)
	require.Equal(t, []byte{0x82, 0x80 | 100}, head)
}

// TestShortAndFailingWrites proves that nothing follows a write that failed, or
// wrote less than it was given, at any byte.
func TestShortAndFailingWrites(t *testing.T) {
	covers(t, "Q.G01", "Q.G02")
	broken := errors.New("broken")
	for n := range 8 {
		for _, err := range []error{broken, nil} {
			near, far := faultnet.Pipe()
			c := newConn(faultnet.ShortWrite(near, n, err), server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
			got := c.Write(t.Context(), Text, []byte("hello"))
			if n == 7 {
				require.NoError(t, got)
				got = c.Write(t.Context(), Text, []byte("hello"))
			}
			require.ErrorIs(t, got, CloseAbnormal)
			if err != nil {
				require.ErrorIs(t, got, broken)
			} else {
				require.ErrorIs(t, got, io.ErrShortWrite)
			}
			require.Equal(t, got, c.Write(t.Context(), Text, []byte("again")))
			rest, _ := io.ReadAll(far)
			require.Len(t, rest, n)
		}
	}
}

// TestRepliesAreHeldForMessageThatIsBegun proves that replies are corked while
// another message has begun to come, and leave when the reader waits for the
// rest of it.
func TestRepliesAreHeldForMessageThatIsBegun(t *testing.T) {
	nc, ns := tcpPair(t)
	cfg := Config{PingInterval: -1, ReadBufferSize: 4 << 10, HoldReplies: time.Hour}
	s := newConn(ns, server, cfg.withDefaults(), agreement{}, nil)
	defer s.CloseNow()
	frame := clientFrame(0x82, string(ramp(3000)))
	nc.Write(bytes.Repeat(frame, 2))
	for i := range 2 {
		_, p, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, ramp(3000), p)
		require.EqualValues(t, 0, s.Stats().Flushes, "reply %d", i)
		require.NoError(t, s.Write(t.Context(), Binary, []byte("reply")))
	}
	require.EqualValues(t, 1, s.Stats().Flushes, "the rest of the second message was there")

	nc.Write(append(frame[:len(frame):len(frame)], frame[:100]...))
	_, _, err := s.Read(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Write(t.Context(), Binary, []byte("third")))
	require.EqualValues(t, 1, s.Stats().Flushes, "another message is begun")
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() {
		_, _, err := s.Read(ctx)
		read <- err
	}()
	replies := make([]byte, 3*len("..reply"))
	_, err = io.ReadFull(nc, replies)
	require.NoError(t, err, "the reader waits: the reply leaves")
	require.Equal(t, "\x82\x05reply\x82\x05reply\x82\x05third", string(replies))
	require.NoError(t, s.Write(t.Context(), Binary, []byte("alone")))
	_, err = io.ReadFull(nc, replies[:7])
	require.NoError(t, err, "while the reader waits nothing is held")
	cancel()
	require.ErrorIs(t, <-read, context.Canceled)
	nc.Write(frame[100:])
	_, p, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, ramp(3000), p)
}

// TestFlushBehindAWithdrawnWrite flushes while a write waits that is then
// withdrawn: nothing is left to wait for.
func TestFlushBehindAWithdrawnWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, ns := net.Pipe()
		defer nc.Close()
		s := newConn(ns, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
		defer s.CloseNow()
		ctx, cancel := context.WithCancel(t.Context())
		wrote := make(chan error, 1)
		go func() { wrote <- s.WriteString(ctx, "withdrawn") }()
		synctest.Wait()
		flushed := make(chan error, 1)
		go func() { flushed <- s.Flush() }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-wrote, context.Canceled)
		require.NoError(t, <-flushed)
	})
}

// TestAbandonedWriteKeepsItsBytes gives up a long write to a net.Conn that must
// not be interrupted. What goes on in the background must not read memory that
// the caller, or another message, uses again.
func TestAbandonedWriteKeepsItsBytes(t *testing.T) {
	covers(t, "Q.E10")
	synctest.Test(t, func(t *testing.T) {
		s, far := memPair(t, server, nil)
		far.SetWindow(1)
		s.out.delegateFlushes()
		want := noise(3*inPlaceFrom, 1)
		p := bytes.Clone(want)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Write(ctx, Binary, p), context.DeadlineExceeded)
		clear(p)
		got := make([]byte, 4+len(want))
		far.SetWindow(1 << 20)
		_, err := io.ReadFull(far, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got[4:]), "other bytes were sent")
	})
}
