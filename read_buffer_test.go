package websocket

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadBufferIsGivenBackAtTheEnd proves that a connection that has ended
// holds no buffer, wherever its input was cut.
func TestReadBufferIsGivenBackAtTheEnd(t *testing.T) {
	whole := clientFrame(0x82, string(ramp(100)))
	for _, sent := range [][]byte{nil, whole[:50], whole[:1], append(whole[:len(whole):len(whole)], whole[:20]...)} {
		nc, ns := tcpPair(t)
		s := newConn(ns, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
		nc.Write(sent)
		nc.Close()
		var err error
		for err == nil {
			_, _, err = s.Read(t.Context())
		}
		require.ErrorIs(t, err, CloseAbnormal)
		require.Nil(t, s.in)
	}
}

// TestReadBufferGrowsInStepsAndShrinks proves that a full buffer is replaced by
// a larger one, and a large one by a smaller one after enough small reads.
func TestReadBufferGrowsInStepsAndShrinks(t *testing.T) {
	r := frameReader{readBuffer: readBuffer{baseSize: 4 << 10}}
	full := func() {
		r.noteFilled(len(r.room()))
		r.discard(len(r.unread()))
		r.releaseIfEmpty()
	}
	short := func(times int) {
		for range times {
			r.room()
			r.noteFilled(1)
			r.discard(1)
			r.releaseIfEmpty()
		}
	}
	require.Equal(t, 4<<10, r.bufferSize())
	full()
	require.Equal(t, 64<<10, r.bufferSize(), "an ordinary buffer was full")
	full()
	full()
	require.Equal(t, 256<<10, r.bufferSize(), "this is the largest")
	require.Nil(t, r.buf, "nothing is unread")
	short(shrinkAfter)
	require.Equal(t, 64<<10, r.bufferSize())
	short(shrinkAfter)
	require.Equal(t, 4<<10, r.bufferSize())
	short(shrinkAfter)
	require.Equal(t, 4<<10, r.bufferSize())
}

// TestUnreadBytesMoveToALargerBuffer proves that what is unread survives the
// change of buffers.
func TestUnreadBytesMoveToALargerBuffer(t *testing.T) {
	r := frameReader{readBuffer: readBuffer{baseSize: 4 << 10}}
	n := copy(r.room(), ramp(4<<10))
	r.noteFilled(n)
	r.discard(n - 100)
	r.room()
	require.Equal(t, 64<<10, cap(r.buf.b))
	require.Equal(t, ramp(4 << 10)[n-100:], r.unread())
}

// TestTrimmedReadBufferGrowsAgain proves that unread bytes survive trim, also
// when they are few in a buffer that many were taken from, that the next read
// has an ordinary buffer again, and that what is pinned does not move.
func TestTrimmedReadBufferGrowsAgain(t *testing.T) {
	r := frameReader{readBuffer: readBuffer{baseSize: 4 << 10}}
	r.noteFilled(copy(r.room(), ramp(3000)))
	r.discard(2990)
	r.pin()
	r.trim()
	require.GreaterOrEqual(t, cap(r.buf.b), 4<<10, "it is pinned")
	r.unpin()
	r.trim()
	require.Less(t, cap(r.buf.b), 2<<minBufferClass)
	require.Equal(t, ramp(3000)[2990:], r.unread())
	require.GreaterOrEqual(t, len(r.room()), 4<<10-10)
	require.Equal(t, ramp(3000)[2990:], r.unread())
	r.discard(10)
	r.trim()
	require.Nil(t, r.buf)
}
