package websocket

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestWriteWhatIsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		for _, typ := range []MessageType{0, 3, -1, 257} {
			require.Error(t, c.Write(background, typ, nil))
			_, err := c.Writer(background, typ)
			require.Error(t, err)
		}
		require.Error(t, c.Write(background, MessageText, []byte{0xff}))
		w, err := c.Writer(background, MessageText)
		require.NoError(t, err)
		_, err = w.Write([]byte{0xff})
		require.Error(t, err)
		require.False(t, hasEnded(c)) // nothing was sent
		sends(t, c, "text")
		receives(t, s, "text")
	})
}

// TestClosedWriter: a writer that is closed twice, or used later, does not touch
// the message of the next one.
func TestClosedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		var old []io.WriteCloser
		for range 2*batchSize + 1 {
			w, err := c.Writer(background, MessageText)
			require.NoError(t, err)
			for _, w := range old {
				_, err := w.Write([]byte("stale"))
				require.ErrorIs(t, err, errWriterClosed)
				require.ErrorIs(t, w.Close(), errWriterClosed)
			}
			io.WriteString(w, "fresh")
			require.NoError(t, w.Close())
			receives(t, s, "fresh")
			old = append(old, w)
		}
	})
}

func TestWritersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		const writers = 8
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				w, err := c.Writer(background, MessageText)
				if err != nil {
					t.Error(err)
					return
				}
				defer w.Close()
				for range 3000 {
					io.WriteString(w, string(rune('a'+i)))
				}
				w.Close()
			})
		}
		for range writers {
			_, p, err := s.Read(background)
			require.NoError(t, err)
			require.Len(t, p, 3000)
			for _, b := range p {
				require.Equal(t, p[0], b)
			}
		}
		wg.Wait()
	})
}

func TestWriterAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		w, err := c.Writer(background, MessageText)
		require.NoError(t, err)
		c.CloseNow()
		_, err = w.Write(make([]byte, 1<<20))
		require.Error(t, err)
		require.ErrorIs(t, w.Close(), errWriterClosed)
	})
}
