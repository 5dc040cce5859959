//go:build linux

package websocket

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBackgroundPollHasNoGoroutine proves that on a socket the background reader
// needs no goroutine: the peer's Pings are answered, also again and again, its
// messages wait, and its end is noticed.
func TestBackgroundPollHasNoGoroutine(t *testing.T) {
	c, s := connPair(t, &Config{PingInterval: -1})
	for range 10 {
		_, err := c.Ping(t.Context()) // the client's reader is a poller as well
		require.NoError(t, err)
	}
	require.False(t, hasGoroutine(c, "readInBackground"))
	require.False(t, hasGoroutine(s, "readInBackground"))
	near, far := net.Pipe()
	other, _ := connsOn(t, near, far, &Config{PingInterval: -1}) // whose reader is a goroutine
	require.Eventually(t, func() bool { return hasGoroutine(other, "readInBackground") }, time.Minute, time.Millisecond)
	require.NoError(t, c.WriteString(t.Context(), "waits"))
	require.Eventually(t, func() bool { return s.keepalive.flags.has(dataPending) }, time.Minute, time.Millisecond)
	_, p, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "waits", string(p))
	_, err = c.Ping(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.CloseNow())
	<-s.Context().Done()
}

// TestBackgroundPollMakesWay proves that the application reads what it wants
// while a poller reads in the background, in any order.
func TestBackgroundPollMakesWay(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		c, s := connPair(t, &Config{PingInterval: -1})
		go func() {
			for range 200 {
				c.Ping(context.Background())
			}
			c.CloseNow()
		}()
		go func() {
			for range 200 {
				c.WriteString(context.Background(), strings.Repeat("x", 100))
			}
		}()
		n := 0
		for ; ; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%3)*time.Millisecond)
			_, _, err := s.Read(ctx)
			cancel()
			if err != nil && err != context.DeadlineExceeded {
				break
			}
		}
		require.NotZero(t, n)
	})
}

// TestBackgroundPollBeforeDeliver proves that a connection that a poller has read
// in the background can be parked, and then is read once.
func TestBackgroundPollBeforeDeliver(t *testing.T) {
	c, s := connPair(t, &Config{PingInterval: -1})
	_, err := c.Ping(t.Context())
	require.NoError(t, err)
	_, err = s.Ping(t.Context())
	require.NoError(t, err)
	s.life.mu.Lock()
	watched := s.lazy.Load().watched
	s.life.mu.Unlock()
	require.NotNil(t, watched)
	require.NoError(t, s.Deliver(newRecorder(echoMessage)))
	for range 10 {
		require.NoError(t, c.WriteString(t.Context(), "hello"))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
	}
	require.Nil(t, descriptors.find(int(watched.fd), watched.generation))
}

// TestBackgroundPollWaitsAfterARead proves that a poller that waits counts as a
// reader again after a read of the application that brought nothing: otherwise a
// peer that is gone would be taken for one that was not asked.
func TestBackgroundPollWaitsAfterARead(t *testing.T) {
	covers(t, "V11")
	near, _ := tcpPair(t)
	c := newConn(near, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	c.ensureReading(atOnce)
	require.Equal(t, backgroundReadArmed, c.read.background.state.Load())
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _, err := c.Read(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, backgroundReadArmed, c.read.background.state.Load())
	require.NotZero(t, c.read.intake.waitingSince.Load())
}

// TestBackgroundPollOutlivesDeadlines proves that a poller reads on after the
// deadline of the application's reads.
func TestBackgroundPollOutlivesDeadlines(t *testing.T) {
	covers(t, "V09")
	c, s := connPair(t, &Config{PingInterval: -1})
	require.NoError(t, s.SetReadDeadline(time.Now().Add(-time.Second)))
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := c.Ping(ctx)
		cancel()
		require.NoError(t, err)
	}
}

// TestPingBehindAMessageOnNetworks proves that a Ping that came together with the
// last message that was read is answered with nobody reading, on every network
// and however it was read (V09).
func TestPingBehindAMessageOnNetworks(t *testing.T) {
	covers(t, "V09")
	ways := map[string]func(c *Conn) error{
		"Read": func(c *Conn) error { _, _, err := c.Read(context.Background()); return err },
		"Reader": func(c *Conn) error {
			_, r, err := c.Reader(context.Background())
			if err == nil {
				err = r.Discard()
			}
			return err
		},
	}
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, silent, rawNetworks[:4], func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				for _, payload := range []string{"first", "second"} {
					p.say(p.frame(0x81, "a message"), p.frame(0x89, payload), p.frame(0x89, "half of a Ping")[:3])
					require.NoError(t, read(c))
					require.Eventually(t, func() bool { return p.has(0xa, payload) }, time.Minute, time.Millisecond)
					p.say(p.frame(0x89, "half of a Ping")[3:])
					require.Eventually(t, func() bool { return p.has(0xa, "half of a Ping") }, time.Minute, time.Millisecond)
				}
			})
		})
	}
}

// TestBackgroundPollFindsTheLockTaken proves that an event that comes while
// somebody reads is not the last: that one may have relied on the poller.
func TestBackgroundPollFindsTheLockTaken(t *testing.T) {
	c, s := connPair(t, &silent)
	c.ensureReading(atOnce)
	require.True(t, c.read.lock.tryLock())
	c.pollControls()
	require.Equal(t, backgroundReadPutOff, c.read.background.state.Load())
	c.read.lock.unlock()
	_, err := s.Ping(t.Context())
	require.NoError(t, err)
}
