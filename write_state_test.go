package websocket

import (
	"context"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// hasState reports whether w has a writeState.
func (w *frameWriter) hasState() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active != nil
}

// TestIdleWriterHasNoState proves that nothing that sends frames leaves a
// writeState behind, once they have left or never will.
func TestIdleWriterHasNoState(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	ways := map[string]func(c *Conn){
		"Write":          func(c *Conn) { c.Write(context.Background(), Binary, make([]byte, 100)) },
		"long Write":     func(c *Conn) { c.Write(context.Background(), Binary, make([]byte, 4*joinBelow)) },
		"ended context":  func(c *Conn) { c.Write(ended, Binary, make([]byte, 100)) },
		"Send":           func(c *Conn) { c.Send(Binary, make([]byte, 100)) },
		"Ping":           func(c *Conn) { go c.Ping(context.Background()) },
		"pending Pong":   func(c *Conn) { c.out.addControl(opPong, nil); c.Flush() },
		"Close":          func(c *Conn) { go c.Close(CloseNormal, "") },
		"CloseNow":       func(c *Conn) { c.out.addControl(opPong, nil); c.CloseNow() },
		"failure":        func(c *Conn) { c.socket().Conn.Close(); c.Write(context.Background(), Binary, make([]byte, 100)) },
		"after the end":  func(c *Conn) { c.CloseNow(); c.Write(context.Background(), Binary, make([]byte, 100)) },
		"as a net.Conn":  func(c *Conn) { AsNetConn(c, Binary).Write(make([]byte, 100)) },
		"closed by peer": func(c *Conn) { c.fail(io.EOF) },
		"corked": func(c *Conn) {
			c.out.cork.on.Store(true)
			c.Write(context.Background(), Binary, make([]byte, 100))
		},
		"corked, then dropped": func(c *Conn) {
			c.out.cork.on.Store(true)
			c.Write(context.Background(), Binary, make([]byte, 100))
			c.CloseNow()
		},
		"many writers": func(c *Conn) {
			var writers sync.WaitGroup
			for range 20 {
				writers.Go(func() { c.Write(context.Background(), Binary, make([]byte, 1000)) })
			}
			writers.Wait()
		},
	}
	for name, way := range ways {
		for _, r := range roles {
			for _, network := range networks {
				t.Run(name+", "+r.String()+", "+network.name, func(t *testing.T) {
					near, far := network.join(t)
					if r == client {
						near, far = far, near
					}
					go io.Copy(io.Discard, far)
					c := newConn(near, r, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
					defer c.CloseNow()
					require.False(t, c.out.hasState())
					way(c)
					for began := time.Now(); c.out.hasState(); runtime.Gosched() {
						require.Less(t, time.Since(began), 20*time.Second)
					}
				})
			}
		}
	}
}

// lend makes s the state of a connection that is idle.
func (s *writeState) lend(w *frameWriter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.writer, w.active = w, s
	s.nc, s.cfg = w.user.writesTo()
}

// corks writes a message that is corked.
func corks(t *testing.T, c *Conn) {
	c.out.cork.on.Store(true)
	require.NoError(t, c.Write(t.Context(), Binary, []byte("corked")))
	c.out.cork.on.Store(false)
}

// TestTimerOfAnotherWriter proves that a corked reply leaves in time, whatever
// the timer of the state was set for by the connection that had it before.
func TestTimerOfAnotherWriter(t *testing.T) {
	for _, before := range []struct {
		name      string
		set, wait time.Duration // for when the timer is set, and how much later the reply is corked
	}{
		{"it has fired", time.Millisecond, time.Minute},
		{"it fires earlier", time.Millisecond, 0},
		{"it fires at the same time", time.Second, 0},
		{"it fires later", time.Hour, 0},
	} {
		t.Run(before.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, _ := memPair(t, server, &Config{PingInterval: -1, HoldReplies: before.set})
				second, far := memPair(t, server, &Config{PingInterval: -1, HoldReplies: time.Second})
				notReading(t, first, second)
				s := newWriteState()
				s.lend(&first.out)
				corks(t, first)
				require.NoError(t, first.Flush())
				require.False(t, first.out.hasState())
				s.corked.timer.Reset(before.set) // in a bubble it has been stopped
				time.Sleep(before.wait)

				s.lend(&second.out)
				began := time.Now()
				corks(t, second)
				require.Zero(t, far.Unread())
				io.ReadFull(far, make([]byte, len("..corked")))
				require.Equal(t, time.Second, time.Since(began))
			})
		})
	}
}

// TestTimerOfStateThatIsGone proves that a timer that fires when its state
// belongs to nobody, to another connection, or to one that has corked nothing,
// does nothing.
func TestTimerOfStateThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1})
		notReading(t, c)
		s := newWriteState()
		s.onTimer()
		s.lend(&c.out)
		require.NoError(t, c.out.addControl(opPong, nil))
		s.onTimer()
		foreign := newWriteState()
		foreign.cfg, foreign.corked.since = c.cfg, now().add(-time.Hour)
		c.out.flushOverdue(foreign)
		synctest.Wait()
		require.Zero(t, far.Unread())
		require.NoError(t, c.Flush())
	})
}

// TestTicketOfAnEarlierState cancels a ticket that has been woken, when its
// state has been given back and frames of later writers are pending: they stay.
func TestTicketOfAnEarlierState(t *testing.T) {
	nc, peer := tcpPair(t)
	cfg := Config{PingInterval: -1, HoldReplies: time.Hour}
	c := newConn(nc, server, cfg.withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	w := &c.out
	var tickets []*ticket
	for range 3 {
		ticket, err := w.addData(bitFIN|byte(Binary), []byte("early"))
		require.NoError(t, err)
		tickets = append(tickets, ticket)
	}
	for _, own := range tickets[:2] { // the second flushes the third with it
		_, err := w.flush(t.Context(), own, orLeave)
		require.NoError(t, err)
	}
	woken := tickets[2]
	require.Len(t, woken.wake, 1)
	require.False(t, w.hasState())

	for range 3 {
		corks(t, c)
	}
	left, withdrawn := w.cancelTicket(woken, orWithdraw)
	require.False(t, left)
	require.False(t, withdrawn)
	_, err := w.flush(t.Context(), woken, orWithdraw)
	require.NoError(t, err)
	require.NoError(t, c.Flush())
	_, err = io.ReadFull(peer, make([]byte, 3*len("..early..corked")))
	require.NoError(t, err)
}

// TestStatesOfBubblesStayThere proves that a state that was used in a bubble of
// testing/synctest, with a timer and channels, is not used outside or in another
// bubble, where they would end the program.
func TestStatesOfBubblesStayThere(t *testing.T) {
	use := func(t *testing.T) {
		c, far := memPair(t, server, &Config{PingInterval: -1, HoldReplies: time.Millisecond})
		go io.Copy(io.Discard, far)
		for range 20 {
			corks(t, c)
			require.NoError(t, c.Flush())
			corks(t, c)
			time.Sleep(2 * time.Millisecond)
			var writers sync.WaitGroup
			for range 20 {
				writers.Go(func() { c.Write(t.Context(), Binary, make([]byte, 1000)) })
			}
			writers.Wait()
		}
		c.CloseNow()
	}
	synctest.Test(t, use)
	use(t)
	synctest.Test(t, use)
	use(t)
}
