package websocket

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPingAtAnyTime proves that Ping works with nobody reading, with a reader,
// while a message is streamed, and many times at once.
func TestPingAtAnyTime(t *testing.T) {
	covers(t, "O03", "O07", "O08")
	synctest.Test(t, func(t *testing.T) {
		c, s := memConns(t, &Config{PingInterval: -1})
		var wg sync.WaitGroup
		wg.Go(func() { loopRead(s, func(MessageType, []byte) {}) })
		ping := func(when string) {
			_, err := c.Ping(context.Background())
			assert.NoError(t, err, when)
		}
		ping("with nobody reading")
		wg.Go(func() { loopRead(c, func(MessageType, []byte) {}) })
		ping("with a reader")
		w, err := c.Writer(context.Background(), Text)
		require.NoError(t, err)
		w.Write([]byte("Hel"))
		ping("inside a streamed message")
		w.Write([]byte("lo"))
		require.NoError(t, w.Close())
		var pings sync.WaitGroup
		for range 20 {
			pings.Go(func() { ping("many at once") })
		}
		pings.Wait()
		require.NoError(t, c.Close(CloseNormal, ""))
		wg.Wait()
	})
}

// TestPingLeavesDataAlone pings while a message waits and nobody reads: the
// Pong behind it is not seen, and nothing of the message is lost.
func TestPingLeavesDataAlone(t *testing.T) {
	covers(t, "O07", "Q.H06")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1}, loop: func(*Conn, func(MessageType, []byte)) error { return nil }})
		e.peerSays(0x81, "Hello")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := e.conn.Ping(ctx)
		require.Equal(t, context.DeadlineExceeded, err)
		kind, p, err := e.conn.Read(context.Background())
		require.NoError(t, err)
		require.Equal(t, Text, kind)
		require.Equal(t, "Hello", string(p))
	})
}

// TestPongsOfNobody proves that Pongs that answer no Ping, or one for the
// second time, change nothing.
func TestPongsOfNobody(t *testing.T) {
	covers(t, "O06", "Q.D08", "Q.D13")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}})
		var wg sync.WaitGroup
		wg.Go(func() {
			rtt, err := e.conn.Ping(context.Background())
			assert.NoError(t, err)
			assert.Equal(t, time.Second, rtt)
		})
		_, sent := e.seen()
		frames, _, err := modelFrames(client, sent)
		require.NoError(t, err)
		require.Len(t, frames, 1, "% x was sent", sent)
		require.Equal(t, 9, frames[0].opcode)
		e.peerSays(0x8a, "")
		e.peerSays(0x8a, "another")
		<-time.After(time.Second)
		for range 3 {
			e.peerSays(0x8a, string(frames[0].payload))
		}
		wg.Wait()
		e.peerSays(0x81, "still here")
		messages, _ := e.seen()
		require.Equal(t, []modelEvent{{modelMessage, Text, "still here"}}, messages)
		e.abandon()
	})
}

// TestPingMeasures proves that Ping returns the time until its own Pong, or
// that of a later Ping, came, and that other Pongs change nothing.
func TestPingMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				rtt, err := c.Ping(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, 70*time.Millisecond, rtt)
			})
			synctest.Wait()
		}
		time.Sleep(70 * time.Millisecond)
		far.Write(clientFrame(0x8a, "unasked"))
		far.Write(clientFrame(0x8a, pingPayload(9)))
		far.Write(clientFrame(0x8a, pingPayload(3)))
		far.Write(clientFrame(0x8a, pingPayload(3)))
		wg.Wait()
	})
}

// pingPayload returns the payload of the n-th Ping of a connection.
func pingPayload(n uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, n^pingMask))
}

// TestPingMakesRoomForReaders proves that a Ping that waits does not keep the
// application from reading.
func TestPingMakesRoomForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Ping(t.Context())
			assert.NoError(t, err)
		})
		synctest.Wait()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _, err := c.Read(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		wg.Go(func() {
			_, p, err := c.Read(t.Context())
			assert.NoError(t, err)
			assert.Equal(t, "data", string(p))
		})
		synctest.Wait()
		far.Write(clientFrame(0x81, "data"))
		synctest.Wait()
		far.Write(clientFrame(0x8a, pingPayload(1)))
		wg.Wait()
	})
}

// TestPingWaitsBehindData proves that a Ping whose Pong is behind messages
// returns once they were read.
func TestPingWaitsBehindData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := memConns(t, nil)
		go s.Read(t.Context())
		require.NoError(t, s.Write(t.Context(), Text, []byte("one")))
		require.NoError(t, s.Write(t.Context(), Text, []byte("two")))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Ping(t.Context())
			assert.NoError(t, err)
		})
		synctest.Wait()
		for _, want := range []string{"one", "two"} {
			_, p, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, string(p))
		}
		wg.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Ping(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestPingSurvivesReadsThatGiveUp proves that a Ping sees its Pong although
// reads come and give up meanwhile, in every way (V07).
func TestPingSurvivesReadsThatGiveUp(t *testing.T) {
	covers(t, "V07")
	giveUps := map[string]func(c *Conn){
		"deadline in the past": func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			c.Read(context.Background())
			c.SetReadDeadline(time.Time{})
		},
		"deadline": func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			c.Read(context.Background())
			c.SetReadDeadline(time.Time{})
		},
		"context": func(c *Conn) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			c.Read(ctx)
		},
		"context ended": func(c *Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			c.Read(ctx)
		},
		"AsNetConn": func(c *Conn) {
			nc := AsNetConn(c, Text)
			nc.SetReadDeadline(time.Now().Add(-time.Second))
			nc.Read(make([]byte, 1))
			nc.SetReadDeadline(time.Time{})
		},
	}
	for name, giveUp := range giveUps {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				lost := 0
				for range 20 {
					if !pingWhile(c, peer, giveUp) {
						lost++
					}
				}
				require.Zero(t, lost, "of 20 Pings did not see their Pong")
			})
		})
	}
}

// pingWhile pings, lets a read give up, has the peer answer, and reports whether
// Ping returned then.
func pingWhile(c *Conn, peer *rawPeer, giveUp func(c *Conn)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := c.Ping(ctx)
		result <- err
	}()
	ping, err := peer.read()
	if err != nil {
		return false
	}
	synctest.Wait()
	giveUp(c)
	synctest.Wait()
	go peer.send(0x8a, ping.payload)
	return <-result == nil
}

// TestProbeAnswersPings proves that the Pong to a later Ping, also to one of
// keepalive, answers a Ping (RFC 6455, Section 5.5.3), and that the Trace sees
// both.
func TestProbeAnswersPings(t *testing.T) {
	covers(t, "O06", "X15")
	synctest.Test(t, func(t *testing.T) {
		var seen []time.Duration
		near, far := faultnet.Pipe()
		defer far.Close()
		c := newConn(near, server, (&Config{Trace: &Trace{Pong: func(_ *Conn, rtt time.Duration) { seen = append(seen, rtt) }}}).withDefaults(), agreement{}, nil)
		defer c.CloseNow()
		peer := newRawPeer(far, server)
		pinged := make(chan time.Duration)
		go func() {
			rtt, err := c.Ping(context.Background())
			assert.NoError(t, err)
			pinged <- rtt
		}()
		first, err := peer.read()
		require.NoError(t, err)
		second, err := peer.read()
		require.NoError(t, err)
		require.Equal(t, []byte{9, 9}, []byte{first.opcode(), second.opcode()})
		require.NotEqual(t, first.payload, second.payload)
		time.Sleep(time.Second)
		peer.send(0x8a, second.payload)
		require.Equal(t, 31*time.Second, <-pinged)
		require.Equal(t, []time.Duration{31 * time.Second, time.Second}, seen)
		third, err := peer.read()
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		peer.send(0x8a, third.payload)
		peer.send(0x8a, third.payload)
		synctest.Wait()
		require.Equal(t, 2*time.Second, seen[2])
		require.Len(t, seen, 3)
	})
}

// TestTraceSeesPongsToKeepalive proves that the Trace is told of the Pongs to
// Pings that no call has sent, also on a socket, where nothing else needs to tell
// them apart.
func TestTraceSeesPongsToKeepalive(t *testing.T) {
	covers(t, "X15")
	pongs := make(chan time.Duration, 100)
	near, far := tcpPair(t)
	trace := &Trace{Pong: func(_ *Conn, rtt time.Duration) { pongs <- rtt }}
	c := newConn(near, server, (&Config{PingInterval: 10 * time.Millisecond, Trace: trace}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	peer := newRawPeer(far, server)
	for range 3 {
		ping, err := peer.read()
		require.NoError(t, err)
		require.NoError(t, peer.send(0x8a, ping.payload))
		require.Positive(t, <-pongs)
	}
}
