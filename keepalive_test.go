package websocket

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/stretchr/testify/require"
)

// TestDeadPeerIsFound proves that a silent peer is found after PingInterval and
// PongTimeout, whether or not the application reads.
func TestDeadPeerIsFound(t *testing.T) {
	covers(t, "Q.G11", "Q.G12")
	for _, reading := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := memPair(t, server, &Config{})
			began := time.Now()
			if reading {
				_, _, err := c.Read(t.Context())
				require.ErrorIs(t, err, ErrPongTimeout)
			} else {
				<-c.Context().Done()
			}
			require.Equal(t, 50*time.Second, time.Since(began))
			require.ErrorIs(t, context.Cause(c.Context()), ErrPongTimeout)
			require.ErrorIs(t, context.Cause(c.Context()), CloseAbnormal)
		})
	}
}

// TestPingIsSkippedWhenDataCame proves that no Ping is sent to a peer that has
// just sent data.
func TestPingIsSkippedWhenDataCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{})
		go echo(c)
		for range 20 {
			time.Sleep(20 * time.Second)
			far.Write(clientFrame(0x82, ""))
		}
		synctest.Wait()
		require.EqualValues(t, 20, c.Stats().FramesOut, "20 echoes, no Ping")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 21, c.Stats().FramesOut)
	})
}

// TestKeepaliveWithNobodyReading proves that keepalive works while nobody reads,
// and that a message that nobody takes does not end the connection.
func TestKeepaliveWithNobodyReading(t *testing.T) {
	covers(t, "O03")
	synctest.Test(t, func(t *testing.T) {
		near, far := faultnet.Pipe()
		c := newConn(near, client, (&Config{}).withDefaults(), agreement{}, nil)
		s := newConn(far, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
		defer s.CloseNow()
		defer c.CloseNow()
		go s.Read(t.Context())
		time.Sleep(time.Hour)
		require.NoError(t, c.terminal())
		require.NoError(t, s.Write(t.Context(), Text, []byte("nobody reads this for long")))
		time.Sleep(time.Hour)
		require.NoError(t, c.terminal(), "back-pressure is no death")
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "nobody reads this for long", string(p))
	})
}

// TestIdleTimeout proves that a connection that received no message for
// IdleTimeout is closed with 1008, whatever it sent.
func TestIdleTimeout(t *testing.T) {
	covers(t, "R11", "Q.D06")
	synctest.Test(t, func(t *testing.T) {
		c, s := memConns(t, &Config{IdleTimeout: time.Minute})
		go c.Read(context.Background())
		go s.Read(context.Background())
		began := time.Now()
		time.Sleep(45 * time.Second)
		go c.Write(t.Context(), Text, []byte("x"))
		synctest.Wait()
		go s.Read(context.Background())
		<-c.Context().Done()
		require.Equal(t, time.Minute, time.Since(began))
		require.ErrorIs(t, context.Cause(c.Context()), idleTooLong.err())
		require.ErrorIs(t, context.Cause(c.Context()), ClosePolicyViolation)
		<-s.Context().Done()
		require.ErrorIs(t, context.Cause(s.Context()), ClosePolicyViolation)
	})
}

// TestProbeWhileClosing proves that keepalive does not take the peer of a
// connection that is closing for gone, although no Ping can be sent any more.
func TestProbeWhileClosing(t *testing.T) {
	covers(t, "X17")
	synctest.Test(t, func(t *testing.T) {
		c, _ := memPair(t, server, &Config{})
		closed := make(chan error, 1)
		go func() { closed <- c.Close(CloseNormal, "") }()
		synctest.Wait()
		c.probe()
		require.NoError(t, c.terminal())
		require.ErrorIs(t, <-closed, context.DeadlineExceeded)
	})
}

// TestDeadPeerIsFoundAfterDataWasLeft has the background reader stop before a
// message that nobody reads. Once the application has read it, and reads on,
// the silence of the peer is found out, whether or not a Ping was under way.
func TestDeadPeerIsFoundAfterDataWasLeft(t *testing.T) {
	covers(t, "Q.G11")
	for _, later := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := memPair(t, server, &Config{PingInterval: time.Second, PongTimeout: time.Second})
			peer.Write(clientFrame(0x81, "small"))
			time.Sleep(later)
			require.True(t, c.background.dataPending.Load())
			_, p, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, "small", string(p))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, _, err = c.Read(ctx)
			require.ErrorIs(t, err, ErrPongTimeout)
		})
	}
}
