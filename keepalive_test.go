package websocket

import (
	"context"
	"fmt"
	"net"
	"slices"
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
		c, _ := memPair(t, server, &Config{PingInterval: time.Second, PongTimeout: time.Second})
		began := time.Now()
		require.ErrorIs(t, c.Close(CloseNormal, ""), context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(began))
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
			require.True(t, c.keepalive.flags.has(dataPending))
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

// TestPingsWithoutPongTimeout proves that a peer that need not answer Pings, and
// does not, is sent one after each PingInterval, which keeps the path open.
func TestPingsWithoutPongTimeout(t *testing.T) {
	covers(t, "Q.G11")
	for _, reading := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, &Config{PongTimeout: -1})
			if reading {
				go c.Read(t.Context())
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			require.EqualValues(t, 20, c.Stats().FramesOut)
			far.Write(clientFrame(0x82, "still here"))
			time.Sleep(10 * time.Minute)
			require.NoError(t, c.terminal())
			require.GreaterOrEqual(t, c.Stats().FramesOut, uint64(39))
		})
	}
}

// TestPingsDoNotPileUp proves that a peer that takes nothing of what is written,
// and need not, is not sent further Pings.
func TestPingsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PongTimeout: -1, WriteTimeout: -1})
		far.SetWindow(0)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 1, c.Stats().FramesOut)
		require.NoError(t, c.terminal())
	})
}

// TestOldPongIsNoSignOfLife proves that a Pong that had come before the Ping, and
// is read later, says nothing about the peer.
func TestOldPongIsNoSignOfLife(t *testing.T) {
	covers(t, "Q.G11", "V11")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, far := memPair(t, server, &Config{})
		far.Write(slices.Concat(clientFrame(0x82, "small"), clientFrame(0x8a, ""), clientFrame(0x8a, string(make([]byte, 8)))))
		time.Sleep(40 * time.Second)
		require.True(t, c.keepalive.flags.has(probing))
		_, _, err := c.Read(t.Context())
		require.NoError(t, err)
		_, _, err = c.Read(t.Context())
		require.ErrorIs(t, err, ErrPongTimeout)
		require.Equal(t, 50*time.Second, time.Since(began))
	})
}

// TestAnyByteIsASignOfLife proves that a peer that sends something after a Ping,
// though no Pong, is alive, and is sent the next Ping after PingInterval.
func TestAnyByteIsASignOfLife(t *testing.T) {
	covers(t, "Q.G11", "V11")
	for _, reading := range []bool{false, true} {
		eachEnd(t, Config{}, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
			if reading {
				go c.Read(context.Background())
			}
			p := peer.listen(t, false)
			message := peer.frame(0x82, "arrives slowly")
			for i := range message {
				time.Sleep(40 * time.Second)
				require.Equal(t, i+1, p.count(9), "a Ping for each byte")
				p.say(message[i:][:1])
			}
			require.NoError(t, c.terminal())
			began := time.Now()
			<-c.Context().Done()
			require.Equal(t, 50*time.Second, time.Since(began))
		})
	}
}

// TestProbeIsCheap proves that looking for a sign of life takes no goroutine, and
// that the Pong ends it.
func TestProbeIsCheap(t *testing.T) {
	eachEnd(t, Config{}, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		go c.Read(context.Background())
		synctest.Wait()
		before := goroutines()
		for range 100 {
			ping, err := peer.read()
			require.NoError(t, err)
			require.EqualValues(t, 9, ping.opcode())
			time.Sleep(time.Second)
			require.True(t, c.keepalive.flags.has(probing))
			require.Equal(t, before, goroutines())
			peer.send(0x8a, ping.payload)
			synctest.Wait()
			require.False(t, c.keepalive.flags.has(probing))
		}
	})
}

// answerProbes returns a connection whose peer has answered 20 Pings, and answers no
// more. It is read meanwhile or not.
func answerProbes(t *testing.T, r role, reading bool) *Conn {
	near, far := tcpPair(t)
	c := newConn(near, r, (&Config{PingInterval: 20 * time.Millisecond, PongTimeout: 3 * time.Second}).withDefaults(), agreement{}, nil)
	if reading {
		go c.Read(context.Background())
	}
	peer := newRawPeer(far, r)
	for range 20 {
		ping, err := peer.read()
		require.NoError(t, err)
		require.EqualValues(t, 9, ping.opcode())
		require.NoError(t, peer.send(0x8a, ping.payload))
	}
	return c
}

// TestProbesOnSockets proves that keepalive works with the wheels, which
// connections in bubbles do not use: peers that answer Pings live, whether or
// not the application reads, and others are found. Nothing is allocated that
// stays.
func TestProbesOnSockets(t *testing.T) {
	covers(t, "Q.G11", "V11")
	for _, reading := range []bool{false, true} {
		for _, r := range roles {
			t.Run(fmt.Sprintf("%s, reading %v", r, reading), func(t *testing.T) {
				t.Parallel()
				c := answerProbes(t, r, reading)
				for retries := 5; reading && c.lazy.Load() != nil && retries > 0; retries-- {
					c.CloseNow() // a poller may have read before Read had begun, which is known there
					c = answerProbes(t, r, reading)
				}
				defer c.CloseNow()
				if reading {
					require.Nil(t, c.lazy.Load())
				}
				<-c.Context().Done()
				require.ErrorIs(t, context.Cause(c.Context()), ErrPongTimeout)
			})
		}
	}
}

// TestIdleTimeoutOnSockets proves that IdleTimeout works with the wheels.
func TestIdleTimeoutOnSockets(t *testing.T) {
	covers(t, "R11")
	near, far := tcpPair(t)
	c := newConn(near, server, (&Config{PingInterval: -1, IdleTimeout: 50 * time.Millisecond, CloseTimeout: time.Second}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	payload, _, err := newRawPeer(far, server).readClose()
	require.NoError(t, err)
	require.Equal(t, rawClose(uint16(ClosePolicyViolation), idleTooLong.err().Text), payload)
	<-c.Context().Done()
	require.ErrorIs(t, context.Cause(c.Context()), idleTooLong.err())
}

// TestEndLeavesNothingInTheWheel proves that a connection that has ended is not
// kept by the wheel that called it.
func TestEndLeavesNothingInTheWheel(t *testing.T) {
	near, _ := tcpPair(t)
	c := newConn(near, server, (&Config{}).withDefaults(), agreement{}, nil)
	scheduled := func() bool {
		k := &keepaliveClocks[c.keepalive.clock]
		k.mu.Lock()
		defer k.mu.Unlock()
		return c.keepalive.entry.back != nil
	}
	require.Eventually(t, scheduled, 20*time.Second, time.Millisecond)
	c.CloseNow()
	require.False(t, scheduled())
}

// TestPingIntervalIsSpread proves that connections made at the same time send
// their Pings at different ones, up to an eighth of PingInterval early.
func TestPingIntervalIsSpread(t *testing.T) {
	for _, interval := range []time.Duration{1, time.Millisecond, 30 * time.Second, longest} {
		c := &Conn{cfg: (&Config{PingInterval: interval}).withDefaults()}
		last := c.pingInterval()
		require.Equal(t, interval, last)
		for haste := range 256 {
			c.keepalive.haste = uint8(haste)
			require.LessOrEqual(t, c.pingInterval(), last)
			last = c.pingInterval()
		}
		require.Greater(t, last, interval-interval/8-1)
		require.LessOrEqual(t, last, interval-interval/8+interval/128)
	}
}

// TestLooks looks for a sign of life, of which there is none, in all states of
// reading and writing.
func TestLooks(t *testing.T) {
	covers(t, "V11")
	type look struct {
		waits       time.Duration // somebody has waited for bytes for so long; 0: nobody waits
		dataPending bool
		sent, busy  bool // something has left since the last look; something else is about to
		looks       uint8
	}
	const again, anew, alive, gone = "again", "anew", "alive", "gone"
	for l, want := range map[look]string{
		{waits: time.Hour}:                                   gone,
		{waits: time.Hour, dataPending: true}:                gone,
		{waits: time.Hour, sent: true}:                       gone,
		{waits: time.Hour, busy: true}:                       gone,
		{waits: time.Hour, sent: true, busy: true}:           anew,
		{waits: time.Hour, sent: true, busy: true, looks: 3}: anew,
		{waits: time.Hour, looks: 3}:                         gone,
		{waits: backgroundReadDelay - 1}:                     again,
		{waits: backgroundReadDelay}:                         gone,
		{waits: backgroundReadDelay - 1, looks: 1}:           gone,
		{sent: true, busy: true}:                             anew,
		{sent: true, busy: true, dataPending: true}:          alive,
		{dataPending: true}:                                  alive,
		{dataPending: true, looks: 1}:                        alive,
		{}:                                                   again,
		{looks: maxLooks - 1}:                                again,
		{looks: maxLooks}:                                    alive,
		{looks: maxLooks, sent: true}:                        alive,
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := memPair(t, server, &Config{})
			synctest.Wait()
			c.life.mu.Lock()
			defer c.life.mu.Unlock()
			k, at := &c.keepalive, now()
			k.looks = maxLooks // of an earlier probe
			require.Equal(t, peerSilent, c.beginProbeLocked(at.add(-c.cfg.PongTimeout)))
			require.Equal(t, at, k.at)
			require.Zero(t, k.looks)
			require.Equal(t, peerAlive, c.lookLocked(at-1, 0), "it is not time to look")
			require.True(t, k.flags.has(probing))
			k.looks = l.looks
			c.keepalive.flags.clear(dataPending)
			if l.dataPending {
				c.keepalive.flags.set(dataPending)
			}
			if l.sent {
				c.out.counts.bytes.Add(1)
			}
			if l.busy {
				c.out.mu.Lock()
				c.out.activateLocked().busy = true
				c.out.mu.Unlock()
				defer func() {
					c.out.mu.Lock()
					defer c.out.mu.Unlock()
					c.out.releaseLocked()
				}()
			}
			var since instant
			if l.waits != 0 {
				since = at.add(-l.waits)
			}
			var got string
			switch state := c.lookLocked(at, since); {
			case state == peerGone:
				got = gone
			case !k.flags.has(probing) && k.at == at && state == peerAlive:
				got = alive
			case k.at == at.add(backgroundReadDelay) && k.looks == l.looks+1 && state == peerAlive:
				got = again
			case k.at == at.add(c.cfg.PongTimeout) && k.looks == l.looks && state == peerAlive:
				got = anew
			}
			require.Equal(t, want, got, "%+v", l)
		})
	}
}

// TestConnectionsAreSpread proves that connections made one after the other use
// all wheels, and have Pings due at different times.
func TestConnectionsAreSpread(t *testing.T) {
	clocks, intervals := make(map[uint8]int), make(map[time.Duration]int)
	for range 256 {
		near, _ := net.Pipe()
		c := newConn(near, server, (&Config{}).withDefaults(), agreement{}, nil)
		defer c.CloseNow()
		clocks[c.keepalive.clock]++
		intervals[c.pingInterval().Round(time.Second/8)]++
	}
	require.Len(t, clocks, len(keepaliveClocks))
	require.GreaterOrEqual(t, len(intervals), 30)
	for _, n := range intervals {
		require.LessOrEqual(t, n, 40)
	}
}
