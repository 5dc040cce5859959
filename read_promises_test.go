package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadingDoesNotWaitForWriting proves that calls end on time, and receive
// what comes, while a Write is stuck and replies are corked (V05).
func TestReadingDoesNotWaitForWriting(t *testing.T) {
	covers(t, "V05")
	reads := map[string]func(ctx context.Context, c *Conn) error{
		"Read":     func(ctx context.Context, c *Conn) error { _, _, err := c.Read(ctx); return err },
		"ReadInto": func(ctx context.Context, c *Conn) error { _, _, err := c.ReadInto(ctx, nil); return err },
		"Messages": func(ctx context.Context, c *Conn) error {
			for _, err := range c.Messages(ctx) {
				return err
			}
			return nil
		},
		"Reader": func(ctx context.Context, c *Conn) error {
			_, r, err := c.Reader(ctx)
			if err == nil {
				err = r.Discard()
			}
			return err
		},
	}
	for name, read := range reads {
		for _, network := range []rawNetwork{memoryNetwork, pipeNetwork} {
			t.Run(name+" on "+network.name, func(t *testing.T) {
				eachEnd(t, Config{HoldReplies: time.Hour}, []rawNetwork{network}, func(t *testing.T, c *Conn, peer *rawPeer) {
					defer c.CloseNow()
					go peer.nc.Write(append(peer.frame(0x81, "1"), peer.frame(0x81, "2")...))
					require.NoError(t, read(t.Context(), c))
					require.NoError(t, c.Write(t.Context(), Text, []byte("corked")))
					go c.Write(context.Background(), Binary, make([]byte, 8<<20))
					require.NoError(t, read(t.Context(), c))
					began := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					require.ErrorIs(t, read(ctx, c), context.DeadlineExceeded)
					require.NoError(t, c.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
					require.ErrorIs(t, read(t.Context(), c), os.ErrDeadlineExceeded)
					require.Equal(t, 1500*time.Millisecond, time.Since(began))
					require.NoError(t, c.SetReadDeadline(time.Time{}))
					go peer.nc.Write(peer.frame(0x81, "three"))
					require.NoError(t, read(t.Context(), c))
				})
			})
		}
	}
}

// TestTwoEndsThatWriteAndRead proves that two ends that write and read as fast
// as they can never stop each other, though each loop is left after each
// message (V06).
func TestTwoEndsThatWriteAndRead(t *testing.T) {
	covers(t, "V06")
	const messages, size = 60, 64 << 10
	networks := map[string]func(t *testing.T) (near, far net.Conn){
		"TCP":  func(t *testing.T) (near, far net.Conn) { return tcpPair(t) },
		"TLS":  func(t *testing.T) (near, far net.Conn) { nc, ns := tcpPair(t); return tlsEnds(t, nc, ns) },
		"Pipe": func(*testing.T) (near, far net.Conn) { return net.Pipe() },
		"wrapped": func(t *testing.T) (near, far net.Conn) {
			near, far = tcpPair(t)
			return struct{ net.Conn }{near}, struct{ net.Conn }{far}
		},
	}
	for name, join := range networks {
		t.Run(name, func(t *testing.T) {
			near, far := join(t)
			a, b := connsOn(t, near, far, nil)
			var ends sync.WaitGroup
			for _, c := range []*Conn{a, b} {
				ends.Go(func() {
					for range messages {
						if !assert.NoError(t, c.Write(context.Background(), Binary, bytes.Repeat([]byte("x"), size))) {
							return
						}
					}
				})
				ends.Go(func() {
					for range messages {
						n, err := oneByLoop(c)
						if !assert.NoError(t, err) || !assert.Equal(t, size, n) {
							return
						}
					}
				})
			}
			ends.Wait()
		})
	}
}

// oneByLoop reads a message by a loop that it leaves, and returns its size.
func oneByLoop(c *Conn) (size int, err error) {
	for m, err := range c.Messages(context.Background()) {
		return len(m.Data), err
	}
	return 0, errors.New("the loop ended")
}

// TestReadThatGivesUpTakesNothing gives up reads again and again while a Ping
// waits for its Pong (V07): the background reader sees it all the same.
func TestReadThatGivesUpTakesNothing(t *testing.T) {
	covers(t, "V07")
	synctest.Test(t, func(t *testing.T) {
		c, s := memConns(t, &Config{})
		go s.Read(context.Background())
		for range 20 {
			pinged := make(chan error, 1)
			go func() {
				_, err := c.Ping(t.Context())
				pinged <- err
			}()
			c.SetReadDeadline(time.Now().Add(-time.Second))
			for range 5 {
				_, _, err := c.Read(t.Context())
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
			require.NoError(t, <-pinged)
		}
		c.CloseNow()
		s.CloseNow()
	})
}

// TestStreamedMessageEndsWithNobodySending reads a streamed message to its last
// byte, pauses, and asks for the end (V07): it is there although nothing more
// comes, also where the background reader cannot be interrupted.
func TestStreamedMessageEndsWithNobodySending(t *testing.T) {
	covers(t, "V07", "V16")
	eachEnd(t, Config{PingInterval: -1}, memoryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		defer c.CloseNow()
		go peer.nc.Write(peer.frame(0x81, "whole"))
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		p := make([]byte, 5)
		_, err = io.ReadFull(r, p)
		require.NoError(t, err)
		require.Equal(t, "whole", string(p))
		<-time.After(10 * backgroundReadDelay)
		began := time.Now()
		late := time.AfterFunc(time.Minute, func() { c.CloseNow() })
		defer late.Stop()
		_, err = r.Read(p)
		require.Equal(t, io.EOF, err)
		require.Zero(t, time.Since(began))
	})
}
