package websocket

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

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

// TestNoMaskingKey proves that a compressed message that cannot be sent,
// because the random source fails, ends the connection: later ones would refer
// to it.
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

// errNoEntropy is the error of noEntropy.
var errNoEntropy = errors.New("no entropy")

// noEntropy is a random source that has nothing.
type noEntropy struct{}

// Read fails.
func (noEntropy) Read([]byte) (int, error) { return 0, errNoEntropy }
