package websocket

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// memoryNetworksOf are networks in memory for a bubble, each with the end that
// the peer reads.
var memoryNetworksOf = map[string]func(t *testing.T) (near, far net.Conn){
	"memory":   func(*testing.T) (near, far net.Conn) { return faultnet.Pipe() },
	"net.Pipe": func(*testing.T) (near, far net.Conn) { return net.Pipe() },
	"TLS": func(t *testing.T) (near, far net.Conn) {
		a, b := faultnet.Pipe()
		peer, ns := tlsEnds(t, b, a)
		return ns, peer
	},
}

// TestSlowPeerGetsEverything proves that a peer that needs longer than
// WriteTimeout for all, and takes something all the time, gets everything
// (V12).
func TestSlowPeerGetsEverything(t *testing.T) {
	covers(t, "V12")
	serverTLS()
	sends := map[string]struct {
		perSecond, messages, size int
		send                      func(c *Conn, p []byte) error
	}{
		"4 MiB":      {64 << 10, 1, 4 << 20, func(c *Conn, p []byte) error { return c.Write(context.Background(), Binary, p) }},
		"1 MiB":      {20 << 10, 1, 1 << 20, func(c *Conn, p []byte) error { return c.Write(context.Background(), Binary, p) }},
		"from queue": {20 << 10, 900, 1000, func(c *Conn, p []byte) error { return c.Send(Binary, p) }},
	}
	for network, join := range memoryNetworksOf {
		for name, tt := range sends {
			for _, r := range roles {
				t.Run(fmt.Sprint(network, ", ", name, ", ", r), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						near, far := join(t)
						c := newConn(near, r, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
						received := make(chan []byte, 1)
						go func() { received <- slowly(far, tt.perSecond) }()
						for range tt.messages {
							require.NoError(t, tt.send(c, make([]byte, tt.size)))
						}
						require.NoError(t, c.WriteString(context.Background(), "the last"))
						far.SetReadDeadline(time.Now().Add(10 * time.Second))
						payloads, _ := framesIn(t, <-received)
						require.Len(t, payloads, tt.messages+1)
						c.CloseNow()
						far.Close()
					})
				})
			}
		}
	}
}

// TestWriteTimeoutIsNamed proves that the error of a Write that timed out names
// the setting.
func TestWriteTimeoutIsNamed(t *testing.T) {
	covers(t, "V12")
	near, far := net.Pipe()
	defer far.Close()
	c := newConn(near, server, (&Config{PingInterval: -1, WriteTimeout: time.Millisecond}).withDefaults(), agreement{}, nil)
	err := c.WriteString(t.Context(), "nobody reads")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorContains(t, err, "took nothing for 1ms (Config.WriteTimeout)")
	require.ErrorContains(t, asCloseError(err).Err, "Config.WriteTimeout")
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
}

// TestWriteTimeoutOfAges proves that a negative and the largest WriteTimeout
// both mean never.
func TestWriteTimeoutOfAges(t *testing.T) {
	covers(t, "V13")
	for _, never := range []time.Duration{-1, math.MaxInt64} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, &Config{PingInterval: -1, WriteTimeout: never})
			far.SetWindow(0)
			wrote := make(chan error, 1)
			go func() { wrote <- c.WriteString(context.Background(), "late") }()
			time.Sleep(365 * 24 * time.Hour)
			far.SetWindow(100)
			require.NoError(t, <-wrote)
		})
	}
}

// A watchedDeadline notes the deadline of writes.
type watchedDeadline struct {
	*faultnet.Conn
	at atomic.Int64 // in nanoseconds since 1970, or 0
}

// SetWriteDeadline notes t.
func (w *watchedDeadline) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		w.at.Store(0)
	} else {
		w.at.Store(t.UnixNano())
	}
	return w.Conn.SetWriteDeadline(t)
}

// TestNoDeadlineIsLeftBehind proves that between writes no deadline of ours is
// over, and that the user's stands: a net.Conn may write by itself, as TLS does
// when the peer asks for new keys.
func TestNoDeadlineIsLeftBehind(t *testing.T) {
	covers(t, "V16")
	for _, user := range []time.Duration{0, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			near, far := faultnet.Pipe()
			defer far.Close()
			nc := &watchedDeadline{Conn: near}
			c := newConn(nc, server, (&Config{PingInterval: -1, WriteTimeout: 10 * time.Second}).withDefaults(), agreement{}, nil)
			defer c.CloseNow()
			var deadline time.Time
			if user != 0 {
				deadline = time.Now().Add(user)
				require.NoError(t, c.SetWriteDeadline(deadline))
			}
			for _, pause := range []int{1, 3, 4, 5, 6, 9, 10, 11, 40, 4, 4, 4, 100} {
				require.NoError(t, c.WriteString(t.Context(), "text"))
				for range pause {
					at := nc.at.Load()
					require.True(t, at == 0 || at > time.Now().UnixNano(), "the deadline has passed")
					time.Sleep(time.Second)
				}
			}
			synctest.Wait()
			if user == 0 {
				require.Zero(t, nc.at.Load())
			} else {
				require.WithinDuration(t, deadline, time.Unix(0, nc.at.Load()), time.Millisecond)
			}
		})
	}
}
