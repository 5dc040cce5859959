package websocket

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// noise returns n bytes that do not compress, the same for the same seed.
func noise(n int, seed uint64) []byte {
	p := make([]byte, n)
	mathrand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	return p
}

// TestBufferReturnsToItsSize lets a borrowed buffer grow, as the decompressor
// does: given back, it does not take the place of small ones.
func TestBufferReturnsToItsSize(t *testing.T) {
	for range 100 {
		b := acquireBuffer(firstBuffer)
		b.b = make([]byte, 0, 1<<20)
		b.free()
		again := acquireBuffer(firstBuffer)
		if cap(again.b) > 2*firstBuffer {
			t.Fatalf("a buffer of %d bytes was asked for, and one of %d came", firstBuffer, cap(again.b))
		}
	}
}

// TestStreamedTextFailsAtOnce reads compressed text that is not UTF-8 through
// a MessageReader: none of the wrong bytes is handed out.
func TestStreamedTextFailsAtOnce(t *testing.T) {
	covers(t, "T05", "T08", "Q.E09")
	c, s := deflatePair(t, &Compression{Threshold: -1}, &Compression{}, Config{})
	c.cfg.SkipUTF8Check = true
	require.NoError(t, c.Write(t.Context(), Text, append(bytes.Repeat([]byte("good "), 50), 0xff)))
	_, r, err := s.Reader(t.Context())
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.ErrorIs(t, err, textNotUTF8.err())
	require.NotContains(t, got, byte(0xff))
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

// TestNoMaskingKey takes the random source away: a compressed message that
// cannot be sent must not stay in a window that later messages refer to.
func TestNoMaskingKey(t *testing.T) {
	covers(t, "Q.E07")
	c, s := deflatePair(t, &Compression{}, &Compression{}, Config{})
	source := rand.Reader
	rand.Reader = noEntropy{}
	defer func() { rand.Reader = source }()
	text := sentence(300, 1)
	var err error
	sent := 0
	for ; err == nil && sent < 1<<14; sent++ {
		if err = c.WriteString(t.Context(), text); err == nil {
			_, p, err := s.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, text, string(p))
		}
	}
	require.ErrorIs(t, err, errNoEntropy)
	var end *CloseError
	require.ErrorAs(t, err, &end)
	require.Equal(t, err, c.WriteString(t.Context(), text))
}

var errNoEntropy = errors.New("no entropy")

// noEntropy is a random source that has nothing.
type noEntropy struct{}

func (noEntropy) Read([]byte) (int, error) { return 0, errNoEntropy }
