package websocket

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSetMaxMessageSize proves that a limit counts from the next header on: a
// message that has come but was not looked at falls under it, one that was
// begun does not.
func TestSetMaxMessageSize(t *testing.T) {
	eachEnd(t, Config{PingInterval: -1, MaxMessageSize: 10}, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		login, large := strings.Repeat("l", 10), strings.Repeat("x", 300_000)
		go func() {
			peer.send(0x81, login)
			peer.send(0x82, large)
			peer.send(0x01, large[:1000])
			peer.send(0x80, large[1000:])
			peer.send(0x82, large[:11])
		}()
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, login, string(p))
		c.SetMaxMessageSize(int64(len(large)))
		_, p, err = c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, large, string(p))
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		c.SetMaxMessageSize(10)
		var got strings.Builder
		_, err = r.WriteTo(&got)
		require.NoError(t, err)
		require.Equal(t, large, got.String())
		_, _, err = c.Read(t.Context())
		require.ErrorIs(t, err, ErrMessageTooBig)
		require.ErrorIs(t, err, CloseMessageTooBig)
	})
}

// TestSetMaxMessageSizeValues proves that 0 and negative values mean what they
// mean in Config, however the message is compressed.
func TestSetMaxMessageSizeValues(t *testing.T) {
	for _, compression := range []*Compression{nil, {}} {
		c, s := deflatePair(t, compression, compression, Config{PingInterval: -1, MaxMessageSize: 1000})
		mib := make([]byte, 1<<20)
		s.SetMaxMessageSize(0)
		go c.Write(context.Background(), Binary, mib)
		_, p, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, p, len(mib))
		s.SetMaxMessageSize(-1)
		go c.Write(context.Background(), Binary, append(mib, 1))
		_, p, err = s.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, p, len(mib)+1)
		s.SetMaxMessageSize(0)
		go c.Write(context.Background(), Binary, append(mib, 1))
		_, _, err = s.Read(t.Context())
		require.ErrorIs(t, err, ErrMessageTooBig)
	}
}
