package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/fullduplex-go/websocket/internal/flate"
)

// TestPreparedIsMaskedAnew proves that a client masks a prepared message with a
// fresh key each time.
func TestPreparedIsMaskedAnew(t *testing.T) {
	covers(t, "K01", "K04")
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, client, nil)
		m := Prepare(Text, []byte("hello"))
		keys := map[uint32]bool{}
		for range 3 {
			require.NoError(t, c.WritePrepared(t.Context(), m))
			require.NoError(t, c.SendPrepared(m))
			for range 2 {
				h, payload := readFrame(t, peer)
				mask(payload, h.key)
				require.True(t, h.masked)
				require.Equal(t, "hello", string(payload))
				keys[h.key] = true
			}
		}
		require.Len(t, keys, 6)
		require.Equal(t, "hello", string(m.payload))
	})
}

// TestPreparedKeepsItsOwnCopy proves that the caller may change the slice once
// Prepare has returned.
func TestPreparedKeepsItsOwnCopy(t *testing.T) {
	covers(t, "Q.H09")
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, server, nil)
		p := bytes.Repeat([]byte("x"), inPlaceFrom)
		m := Prepare(Binary, p)
		clear(p)
		require.NoError(t, c.SendPrepared(m))
		require.NoError(t, c.WritePrepared(t.Context(), m))
		for range 2 {
			h, payload := readFrame(t, peer)
			require.Equal(t, bitFIN|byte(opBinary), h.byte0)
			require.Equal(t, bytes.Repeat([]byte("x"), inPlaceFrom), payload)
		}
	})
}

// TestPreparedThatMustNotBeSent proves that invalid text, an invalid type and a
// closed connection refuse a prepared message.
func TestPreparedThatMustNotBeSent(t *testing.T) {
	c, s := connPair(t, nil)
	lax, _ := connPair(t, &Config{SkipUTF8Check: true})
	for _, test := range []struct {
		m    *Prepared
		want error
	}{
		{Prepare(Text, []byte("\xff")), errInvalidText},
		{Prepare(3, nil), errInvalidType},
		{PreparePlain(Text, []byte("\xff")), errInvalidText},
		{PreparePlain(3, nil), errInvalidType},
	} {
		require.ErrorIs(t, c.WritePrepared(t.Context(), test.m), test.want)
		require.ErrorIs(t, c.SendPrepared(test.m), test.want)
	}
	require.NoError(t, lax.SendPrepared(Prepare(Text, []byte("\xff"))))
	require.NoError(t, c.SendPrepared(Prepare(Text, []byte("good"))))
	_, p, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "good", string(p))
	c.CloseNow()
	require.ErrorIs(t, c.SendPrepared(Prepare(Text, nil)), CloseAbnormal)
	require.ErrorIs(t, c.WritePrepared(t.Context(), Prepare(Text, nil)), CloseAbnormal)
}

// TestQueueSharesPrepared proves that the queue keeps prepared messages in order
// without copying them.
func TestQueueSharesPrepared(t *testing.T) {
	covers(t, "W10", "W12")
	synctest.Test(t, func(t *testing.T) {
		large := Prepare(Binary, make([]byte, 2*faultnet.DefaultWindow))
		small := Prepare(Text, []byte("small"))
		c, peer := memPair(t, server, &Config{PingInterval: -1, SlowConsumer: DropNewest, MaxQueuedBytes: 4 * len(large.payload), WriteTimeout: time.Hour})
		sent := []*Prepared{large, small, large, small}
		for _, m := range sent {
			require.NoError(t, c.SendPrepared(m))
		}
		require.NoError(t, c.Send(Text, []byte("copied")))
		synctest.Wait()
		require.Same(t, large, c.send.queue.Load().entries[1].shared)
		for _, m := range sent {
			_, payload := readFrame(t, peer)
			require.True(t, bytes.Equal(m.payload, payload))
		}
		_, payload := readFrame(t, peer)
		require.Equal(t, "copied", string(payload))
		require.NoError(t, c.Drain(t.Context()))
		require.Zero(t, c.Stats().Dropped)
	})
}

// TestQueueOfEmptyMessagesIsBounded proves that messages without payload fill
// the queue as well.
func TestQueueOfEmptyMessagesIsBounded(t *testing.T) {
	covers(t, "W12")
	synctest.Test(t, func(t *testing.T) {
		c, _ := memPair(t, server, &Config{PingInterval: -1, SlowConsumer: DropNewest, MaxQueuedBytes: 64 * 100, WriteTimeout: time.Hour})
		require.NoError(t, c.Send(Binary, make([]byte, 2*faultnet.DefaultWindow)))
		var err error
		for n := 0; err == nil; n++ {
			require.Less(t, n, 1000)
			err = c.SendPrepared(Prepare(Binary, nil))
			synctest.Wait()
		}
		require.ErrorIs(t, err, ErrQueueFull)
	})
}

// preparedConn returns one end of a TCP connection whose peer drops what comes.
// A nil compression means none.
func preparedConn(t testing.TB, r role, compression *Compression) *Conn {
	nc, peer := tcpPair(t)
	go io.Copy(io.Discard, peer)
	c := newConn(nc, r, (&Config{Compression: compression}).withDefaults(), agreedFor(r, compression), nil)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// TestPreparedIsCompressedAtEachLevel sends one message over connections whose
// windows and levels differ: each sends what its own compressor makes of it, and
// those that agree in both share the memory.
func TestPreparedIsCompressedAtEachLevel(t *testing.T) {
	covers(t, "Z07")
	text := []byte(sentence(5000, 3))
	m := Prepare(Text, text)
	shared := map[[2]int]*byte{}
	for range 3 {
		for _, window := range []int{9, 12, 15} {
			for _, level := range []int{1, 6, 9} {
				cfg := Compression{WindowBits: window, Level: level, NoContextTakeover: true}
				s, far := memPairWith(t, cfg)
				require.NoError(t, s.WritePrepared(t.Context(), m))
				alone := flate.NewCompressor(window, level, flate.NoTakeover)
				want, smaller := alone.Append(nil, text)
				require.True(t, smaller)
				h, got := readFrame(t, far)
				require.Equal(t, bitFIN|bitRSV1|byte(opText), h.byte0)
				require.True(t, bytes.Equal(want, got), "window %d, level %d", window, level)
				form, smaller := m.deflated(s.deflate)
				require.True(t, smaller)
				first := shared[[2]int{window, level}]
				require.True(t, first == nil || first == &form[0], "it was compressed again")
				shared[[2]int{window, level}] = &form[0]
			}
		}
	}
}

// TestPreparedIsCompressedByManyAtOnce has many connections of several levels
// send one message for the first time at the same time: it is compressed once
// for each level.
func TestPreparedIsCompressedByManyAtOnce(t *testing.T) {
	for range 50 {
		m := Prepare(Text, []byte(sentence(1000, 3)))
		const levels, each = 9, 4
		var forms [levels][each]*byte
		var all sync.WaitGroup
		for level := range levels {
			for i := range each {
				all.Go(func() {
					d := &deflation{window: 12, level: 1 + level}
					p, _ := m.deflated(d)
					forms[level][i] = &p[0]
				})
			}
		}
		all.Wait()
		distinct := map[*byte]bool{}
		for level := range levels {
			for _, p := range forms[level] {
				require.Equal(t, forms[level][0], p)
			}
			distinct[forms[level][0]] = true
		}
		require.Len(t, distinct, levels)
	}
}

// BenchmarkSendPrepared queues a prepared message again and again.
func BenchmarkSendPrepared(b *testing.B) {
	for name, compression := range map[string]*Compression{
		"as it is":   nil,
		"compressed": {NoContextTakeover: true, PeerNoContextTakeover: true},
	} {
		b.Run(name, func(b *testing.B) {
			s := preparedConn(b, server, compression)
			m := Prepare(Text, []byte(sentence(200, 3)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.SendPrepared(m); err != nil && !errors.Is(err, context.Canceled) {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestEmptyPrepared proves that a Prepared that Prepare did not make is refused.
func TestEmptyPrepared(t *testing.T) {
	for _, m := range []*Prepared{nil, new(Prepared)} {
		c, far := memPair(t, server, nil)
		require.ErrorIs(t, c.WritePrepared(t.Context(), m), errNotPrepared)
		require.ErrorIs(t, c.SendPrepared(m), errNotPrepared)
		var g Group
		g.Add(c)
		queued, dropped := g.Send(m)
		require.Equal(t, [2]int{0, 1}, [2]int{queued, dropped})
		require.Zero(t, far.Unread())
		require.NoError(t, c.WriteString(t.Context(), "alive"))
	}
}
