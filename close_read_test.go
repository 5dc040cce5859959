package websocket

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// hasPong reports whether the peer has got this Pong, in the end.
func hasPong(t *testing.T, p *pingingPeer, payload string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.has(0xa, payload) }, time.Minute, time.Millisecond, "no Pong %q", payload)
}

// beforeCloseRead are what an application, and its peer, did before CloseRead.
var beforeCloseRead = map[string]func(t *testing.T, c *Conn, p *pingingPeer){
	"nothing": func(*testing.T, *Conn, *pingingPeer) {},
	"a message waits": func(t *testing.T, c *Conn, p *pingingPeer) {
		p.say(p.frame(0x81, "waits"), p.frame(0x89, "behind"))
		require.Eventually(t, func() bool { return c.keepalive.flags.has(dataPending) }, time.Minute, time.Millisecond)
	},
	"more waits than fits in the buffer": func(t *testing.T, c *Conn, p *pingingPeer) {
		p.say(p.frame(0x82, strings.Repeat("x", 100_000)), p.frame(0x89, "behind"))
		require.Eventually(t, func() bool { return c.keepalive.flags.has(dataPending) }, time.Minute, time.Millisecond)
	},
	"a message was read": func(t *testing.T, c *Conn, p *pingingPeer) {
		p.say(p.frame(0x81, "one"), p.frame(0x81, "two"), p.frame(0x89, "behind"))
		_, _, err := c.Read(t.Context())
		require.NoError(t, err)
	},
	"half of a message was read": func(t *testing.T, c *Conn, p *pingingPeer) {
		p.say(p.frame(0x01, "half and "), p.frame(0x80, "half"), p.frame(0x89, "behind"))
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 6))
		require.NoError(t, err)
	},
	"a read was interrupted inside a character": func(t *testing.T, c *Conn, p *pingingPeer) {
		text := p.frame(0x81, "caf\u00e9")
		if _, ok := c.NetConn().(withoutDeadlines); ok { // where an interrupted read ends the connection
			p.say(text, p.frame(0x89, "behind"))
			return
		}
		p.say(text[:len(text)-1])
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _, err := c.Read(ctx)
		require.Equal(t, context.DeadlineExceeded, err)
		p.say(text[len(text)-1:], p.frame(0x89, "behind"))
	},
	"a loop has a message": func(t *testing.T, c *Conn, p *pingingPeer) {
		p.say(p.frame(0x81, "one"), p.frame(0x81, "two"))
		for m, err := range c.Messages(t.Context()) {
			require.NoError(t, err)
			c.CloseRead(t.Context())
			p.say(p.frame(0x81, "three"), p.frame(0x89, "behind"))
			hasPong(t, p, "behind")
			require.Equal(t, "one", string(m.Data))
			break
		}
	},
}

// TestCloseRead proves that messages are dropped, Pings answered, and the peer's
// Close frame noticed and answered, with nobody reading, whatever happened
// before.
func TestCloseRead(t *testing.T) {
	for name, before := range beforeCloseRead {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				before(t, c, p)
				ctx := c.CloseRead(t.Context())
				if name != "nothing" {
					hasPong(t, p, "behind")
				}
				p.say(p.frame(0x81, "one"), p.frame(0x89, "a"), p.frame(0x02, "two"), p.frame(0x89, "b"), p.frame(0x80, ""), p.frame(0x89, "c"))
				hasPong(t, p, "a")
				hasPong(t, p, "b")
				hasPong(t, p, "c")
				require.False(t, c.keepalive.flags.has(dataPending))
				require.NoError(t, c.WriteString(ctx, "news"))
				require.NoError(t, ctx.Err())
				p.say(p.frame(0x82, strings.Repeat("x", 300_000)), p.frame(0x88, rawClose(3001, "bye")))
				<-ctx.Done()
				require.ErrorIs(t, context.Cause(ctx), CloseCode(3001))
				<-c.endedChan()
				require.Equal(t, c.terminal(), context.Cause(ctx))
				require.Eventually(t, func() bool { return p.has(8, rawClose(3001, "bye")) }, time.Minute, time.Millisecond)
			})
		})
	}
}

// TestCloseReadSeesTheEnd proves that the context ends when the peer goes
// without a Close frame.
func TestCloseReadSeesTheEnd(t *testing.T) {
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		ctx := c.CloseRead(c.Context())
		go func() {
			peer.send(0x81, "a message")
			peer.nc.Close()
		}()
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), CloseAbnormal)
	})
}

// TestCloseReadChecks proves that what is dropped is checked.
func TestCloseReadChecks(t *testing.T) {
	for payload, code := range map[string]CloseCode{"\xff": CloseInvalidPayload, strings.Repeat("x", 101): CloseMessageTooBig} {
		eachEnd(t, Config{PingInterval: -1, MaxMessageSize: 100}, rawNetworks[:1], func(t *testing.T, c *Conn, peer *rawPeer) {
			ctx := c.CloseRead(c.Context())
			go peer.send(0x81, payload)
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), code)
		})
	}
}

// TestCloseReadRefusesReaders proves that reading is an error from then on, that
// a call that waits still gets the next message, unless it was not its turn, and that
// the connection is not handed over.
func TestCloseReadRefusesReaders(t *testing.T) {
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		got := make(chan string)
		go func() {
			_, p, err := c.Read(context.Background())
			if err == errReadClosed {
				p = []byte("nothing")
			} else if err != nil {
				t.Errorf("Read: %v", err)
			}
			got <- string(p)
		}()
		for c.read.intake.waitingSince.Load() == 0 || !c.isBeingRead() {
			time.Sleep(time.Millisecond)
		}
		c.CloseRead(c.Context())
		go func() {
			peer.send(0x81, "for the one that waits")
			peer.send(0x81, "dropped")
			peer.send(0x88, "")
		}()
		first := <-got
		if first != "for the one that waits" && first != "nothing" {
			t.Errorf("Read returned %q", first)
		}
		_, _, err := c.Read(context.Background())
		require.Error(t, err)
		<-c.Context().Done()
		_, _, err = c.Read(context.Background())
		require.ErrorIs(t, err, CloseNoStatus)
		require.ErrorIs(t, c.Deliver(newRecorder(nil)), CloseNoStatus)
	})
	c, _ := connPair(t, &silent)
	c.CloseRead(t.Context())
	_, _, err := c.Read(t.Context())
	require.Equal(t, errReadClosed, err)
	_, _, err = c.Reader(t.Context())
	require.Equal(t, errReadClosed, err)
	require.Equal(t, errReadClosed, c.Deliver(newRecorder(nil)))
	require.NoError(t, c.SetReadDeadline(time.Now()))
	_, err = c.Ping(t.Context())
	require.NoError(t, err)
}

// TestCloseReadContext proves that the context ends with the one given, and
// then leaves the connection open.
func TestCloseReadContext(t *testing.T) {
	c, s := connPair(t, &silent)
	parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), c, "value"))
	ctx := c.CloseRead(parent)
	require.Equal(t, "value", ctx.Value(c))
	later := c.CloseRead(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	<-ctx.Done()
	require.Equal(t, reason, context.Cause(ctx))
	require.NoError(t, c.WriteString(t.Context(), "still open"))
	_, p, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "still open", string(p))
	s.CloseNow()
	<-later.Done()
	<-c.CloseRead(t.Context()).Done()
}

// TestCloseReadForgetsContexts proves that a connection that lives on keeps no
// context that has ended.
func TestCloseReadForgetsContexts(t *testing.T) {
	c, _ := connPair(t, &silent)
	collected := make(chan struct{})
	func() {
		value := new([1 << 10]byte)
		runtime.SetFinalizer(value, func(*[1 << 10]byte) { close(collected) })
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), c, value))
		bound := c.CloseRead(ctx)
		cancel()
		<-bound.Done()
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-collected:
			return true
		default:
			return false
		}
	}, time.Minute, time.Millisecond)
	require.NoError(t, c.Context().Err())
}

// TestCloseReadAfterDeliver proves that a Receiver still gets its messages.
func TestCloseReadAfterDeliver(t *testing.T) {
	c, s := connPair(t, &silent)
	r := newRecorder(nil)
	require.NoError(t, s.Deliver(r))
	ctx := s.CloseRead(t.Context())
	require.NoError(t, c.WriteString(t.Context(), "hello"))
	require.NoError(t, c.Close(CloseNormal, ""))
	<-ctx.Done()
	require.Eventually(t, func() bool { return strings.Contains(r.history(), "hello") }, time.Minute, time.Millisecond)
}

// TestCloseReadJustBeforeAWait proves that a background reader does not wait that
// was about to, behind a message, when CloseRead was called.
func TestCloseReadJustBeforeAWait(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		require.NoError(t, c.beginRead(t.Context(), nobody))
		c.reading()
		c.delivery.Store(readClosed) // and nobody to interrupt
		require.Equal(t, os.ErrDeadlineExceeded, c.readAhead(caller{ctx: context.Background(), internal: true}))
		c.unlockReading(errReadClosed)
	})
}

// TestCloseReadUnderLoad proves that CloseRead may come at any moment.
func TestCloseReadUnderLoad(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		for range 50 {
			c, s := connPair(t, &silent)
			var done sync.WaitGroup
			done.Go(func() {
				for range 200 {
					c.WriteString(context.Background(), "more")
				}
				c.Close(CloseNormal, "")
			})
			done.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
					_, _, err := s.Read(ctx)
					cancel()
					if err != nil && err != context.DeadlineExceeded {
						return
					}
				}
			})
			ctx := s.CloseRead(context.Background())
			done.Wait()
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), CloseNormal)
		}
	})
}

// TestCloseReadInHandler proves that a handler that only writes ends when its
// client does, and that one that returns nil closes the connection.
func TestCloseReadInHandler(t *testing.T) {
	causes := make(chan error, 1)
	h := httptest.NewServer(HandlerFunc(nil, func(c *Conn) error {
		ctx := c.CloseRead(c.Context())
		if err := c.WriteString(ctx, "news"); err != nil {
			return err
		}
		if c.RemoteAddr() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			causes <- context.Cause(ctx)
		case <-time.After(time.Minute):
			causes <- nil
		}
		return nil
	}))
	defer h.Close()
	c, _, err := Dial(t.Context(), h.URL, nil)
	require.NoError(t, err)
	_, _, err = c.Read(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Close(3002, ""))
	require.ErrorIs(t, <-causes, CloseCode(3002))

	returns := httptest.NewServer(HandlerFunc(nil, func(c *Conn) error {
		c.CloseRead(c.Context())
		return nil
	}))
	defer returns.Close()
	c, _, err = Dial(t.Context(), returns.URL, nil)
	require.NoError(t, err)
	_, _, err = c.Read(t.Context())
	require.ErrorIs(t, err, CloseNormal)
}

// TestCloseReadOvertakesRead proves that a Read that waits for its turn when CloseRead
// is called gets none of the messages that come afterwards, of which others are
// dropped.
func TestCloseReadOvertakesRead(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		synctest.Wait()
		require.True(t, lockForTest(c))
		read := make(chan error)
		go func() {
			_, _, err := c.Read(t.Context())
			read <- err
		}()
		synctest.Wait()
		c.CloseRead(t.Context())
		peer.send(0x81, "m")
		c.unlockReading(nil)
		require.ErrorIs(t, <-read, errReadClosed)
	})
}

// lockForTest takes read.lock, which a background reader leaves.
func lockForTest(c *Conn) bool {
	c.read.waiting.Add(1)
	defer c.read.waiting.Add(-1)
	c.read.deadlines.load().preempt()
	return c.read.lock.lock(nil, nil)
}
