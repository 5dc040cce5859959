package websocket

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// answersLate is a peer that sends messages when it sees our Close frame, then a
// Ping, and then the answer.
func answersLate(peer *rawPeer, messages ...string) {
	payload, _, err := peer.readClose()
	if err != nil {
		return
	}
	for _, m := range messages {
		if peer.send(0x81, m) != nil {
			return
		}
	}
	peer.send(0x01, "in ")
	peer.send(0x89, "still here?")
	peer.send(0x80, "pieces")
	peer.send(0x88, payload)
	if peer.role == client {
		peer.readEnd() // the server closes first
	}
	peer.nc.Close()
}

// TestLastWords proves that whoever reads when Close is called gets the messages
// that come before the answer.
func TestLastWords(t *testing.T) {
	late := []string{"one", strings.Repeat("x", 100_000), "three"}
	for _, reading := range readLoops {
		t.Run(reading.name, func(t *testing.T) {
			eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				var mu sync.Mutex
				var got []string
				var done sync.WaitGroup
				done.Go(func() {
					reading.loop(c, func(_ MessageType, p []byte) {
						mu.Lock()
						defer mu.Unlock()
						got = append(got, string(p))
					})
				})
				done.Go(func() { answersLate(peer, late...) })
				for c.read.intake.waitingSince.Load() == 0 || !c.isBeingRead() {
					time.Sleep(time.Millisecond)
				}
				require.NoError(t, c.Close(CloseGoingAway, "restart"))
				done.Wait()
				for i, p := range append(slices.Clone(late), "in pieces") {
					require.Less(t, i, len(got), "only %d messages came", len(got))
					require.True(t, p == got[i], "message %d is %.20q", i, got[i])
				}
				require.ErrorIs(t, c.terminal(), CloseGoingAway)
			})
		})
	}
}

// TestLastWordsOfASlowReader proves that a reader that works on each message for
// less than an eighth of CloseTimeout misses none, and that one that stops to read
// does not keep Close from dropping the rest.
func TestLastWordsOfASlowReader(t *testing.T) {
	for _, test := range []struct {
		work time.Duration
		want int
	}{{0, 4}, {300 * time.Millisecond, 4}, {600 * time.Millisecond, 4}, {time.Hour, 1}} {
		t.Run(test.work.String(), func(t *testing.T) {
			eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				var got int
				stop := make(chan struct{})
				defer close(stop)
				go loopRead(c, func(MessageType, []byte) {
					got++
					select {
					case <-time.After(test.work):
					case <-stop:
					}
				})
				synctest.Wait()
				go answersLate(peer, "one", "two", "three")
				require.NoError(t, c.Close(CloseNormal, ""))
				synctest.Wait()
				require.Equal(t, test.want, got)
			})
		})
	}
}

// TestLastWordsWithNobodyReading proves that Close takes no time if nobody reads,
// also within a loop of messages, and that a reader that comes before the first
// message gets it.
func TestLastWordsWithNobodyReading(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		began := time.Now()
		go answersLate(peer, "one", "two")
		require.NoError(t, c.Close(CloseNormal, ""))
		require.Zero(t, time.Since(began))
	})
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		began := time.Now()
		go func() {
			peer.send(0x81, "close")
			peer.send(0x81, "dropped")
			answersLate(peer, "one", "two")
		}()
		for range c.Messages(context.Background()) {
			require.NoError(t, c.Close(CloseNormal, ""))
		}
		require.Zero(t, time.Since(began))
	})
	eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		go c.Close(CloseNormal, "")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _, err := c.Read(ctx)
		require.Equal(t, context.DeadlineExceeded, err, "and the connection is still closing")
		go p.say(p.frame(0x81, "late"))
		_, m, err := c.Read(context.Background())
		require.NoError(t, err)
		require.Equal(t, "late", string(m))
		p.say(p.frame(0x88, rawClose(1000, "")))
		_, _, err = c.Read(context.Background())
		require.ErrorIs(t, err, CloseNormal)
	})
}

// TestLastWordsAreWhole proves that a message of which Close has dropped some is
// given to nobody.
func TestLastWordsAreWhole(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		p.say(p.frame(0x01, "the beginning "))
		_, r, err := c.Reader(context.Background())
		require.NoError(t, err)
		_, err = r.Read(make([]byte, 3))
		require.NoError(t, err)
		go c.Close(CloseNormal, "")
		synctest.Wait()
		p.say(p.frame(0x80, "and the end"), p.frame(0x81, "another"), p.frame(0x88, rawClose(1000, "")))
		_, err = r.Read(make([]byte, 100))
		require.ErrorIs(t, err, CloseNormal)
		_, _, err = c.Read(context.Background())
		require.ErrorIs(t, err, CloseNormal)
	})
}

// TestLastWordsWithAHookThatPanics proves that a MessageReader whose message Close
// has dropped lets others read on when a hook that it calls panics.
func TestLastWordsWithAHookThatPanics(t *testing.T) {
	cfg := Config{PingInterval: -1, OnPing: func(*Conn, []byte) bool { panic("the hook") }}
	eachEnd(t, cfg, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		p.say(p.frame(0x01, "the beginning "))
		_, r, err := c.Reader(context.Background())
		require.NoError(t, err)
		_, err = r.Read(make([]byte, 3))
		require.NoError(t, err)
		go c.Close(CloseNormal, "")
		synctest.Wait()
		time.AfterFunc(time.Second, func() { p.say(p.frame(0x89, ""), p.frame(0x88, rawClose(1000, ""))) })
		require.PanicsWithValue(t, "the hook", func() { r.Read(make([]byte, 100)) })
		<-c.endedChan()
		require.ErrorIs(t, c.terminal(), CloseNormal)
	})
}

// TestLastWordsBehindADroppedFragment proves that what follows a fragment that
// Close has dropped is no message, for whoever begins to read then.
func TestLastWordsBehindADroppedFragment(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		go c.Close(CloseNormal, "")
		synctest.Wait()
		p.say(p.frame(0x01, "the beginning "))
		synctest.Wait()
		time.AfterFunc(time.Second, func() {
			p.say(p.frame(0x80, "and the end"), p.frame(0x81, "another"), p.frame(0x88, rawClose(1000, "")))
		})
		_, m, err := c.Read(context.Background())
		require.ErrorIs(t, err, CloseNormal, "%s", m)
		require.True(t, asCloseError(err).clean())
	})
}

// TestOnlyTheApplicationAsks proves that Close takes no reader of the connection's
// own for the application, also one that has just begun.
func TestOnlyTheApplicationAsks(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, _ *rawPeer) {
		synctest.Wait()
		require.False(t, c.isBeingRead(), "the background reader reads")
		free := new(Conn)
		require.False(t, free.isBeingRead(), "nobody reads")
		require.True(t, free.read.lock.tryLockInternal())
		require.False(t, free.isBeingRead(), "a background reader begins")
		free.read.lock.unlock()
		require.True(t, free.read.lock.tryLock())
		require.True(t, free.isBeingRead(), "the application reads")
		free.read.lock.unlock()
	})
}

// TestLastWordsOfABusyReceiver proves that a Receiver that is busy when Close is
// called gets the messages that come afterwards.
func TestLastWordsOfABusyReceiver(t *testing.T) {
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		busy, goOn := make(chan struct{}), make(chan struct{})
		r := newRecorder(func(_ *Conn, m Message) error {
			if string(m.Data) == "first" {
				close(busy)
				<-goOn
			}
			return nil
		})
		require.NoError(t, c.Deliver(r))
		var done sync.WaitGroup
		done.Go(func() {
			if peer.send(0x81, "first") == nil {
				answersLate(peer, "late")
			}
		})
		<-busy
		done.Go(func() {
			if err := c.Close(CloseNormal, ""); err != nil {
				t.Error(err)
			}
		})
		for !c.isClosing() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // in which Close might begin to drop
		close(goOn)
		done.Wait()
		<-r.closed
		require.Contains(t, r.history(), "late")
		require.Contains(t, r.history(), "in pieces")
	})
}

// TestBackgroundReaderMakesWayForClose proves that the background reader does not
// wait for input while Close wants to read, also if Close has asked it to leave
// just before.
func TestBackgroundReaderMakesWayForClose(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, _ *rawPeer) {
		c.readDeadlines().noteProven()
		require.NoError(t, c.lockReading(t.Context()))
		c.refuseWrites(CloseNormal, "", nil)
		give := make(chan bool)
		go func() { give <- c.lockForClose(context.Background()) }()
		synctest.Wait()
		require.ErrorIs(t, c.readUntilWanted(caller{ctx: context.Background(), internal: true}), os.ErrDeadlineExceeded)
		c.read.lock.unlock()
		require.True(t, <-give)
		c.unlockReading(nil)
	})
}

// TestFailingHasNoLastWords proves that nothing is delivered once this side has
// failed the connection.
func TestFailingHasNoLastWords(t *testing.T) {
	cfg := Config{PingInterval: -1, IdleTimeout: time.Second}
	eachEnd(t, cfg, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		go answersLate(peer, "one", "two")
		_, _, err := c.Read(context.Background())
		require.ErrorIs(t, err, ClosePolicyViolation)
	})
}

// TestCloseContext proves that Close with a context that ends returns then, with
// its error, that the peer was sent the Close frame, and that the connection is
// over.
func TestCloseContext(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("after ", patience), func(t *testing.T) {
			eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, false) // and never answers
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				began := time.Now()
				err := c.CloseContext(ctx, CloseGoingAway, "restart")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, err, CloseAbnormal)
				require.LessOrEqual(t, time.Since(began), patience+maxLeaving)
				require.Equal(t, err, c.terminal())
				synctest.Wait()
				require.True(t, p.has(8, rawClose(1001, "restart")))
			})
		})
	}
}

// TestCloseNowLeavesTheCloseFrame proves that CloseNow, and a context that ends, do not
// make a peer lose the Close frame that was sent before, though it has sent what nobody
// has read, and sends more.
func TestCloseNowLeavesTheCloseFrame(t *testing.T) {
	networks := slices.DeleteFunc(slices.Clone(rawNetworks), func(n rawNetwork) bool { return n.is(noDeadline) })
	for _, ending := range []struct {
		name string
		ends func(c *Conn)
	}{
		{"SendClose and CloseNow", func(c *Conn) {
			c.SendClose(CloseGoingAway, "bye")
			c.CloseNow()
		}},
		{"Close with a context that has ended", func(c *Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			c.CloseContext(ctx, CloseGoingAway, "bye")
		}},
		{"CloseNow during Close", func(c *Conn) {
			c.refuseWrites(CloseGoingAway, "bye", nil) // as far as Close has come
			c.CloseNow()
		}},
	} {
		for _, reading := range []readLoop{noLoop, loopRead, loopReceiver} {
			t.Run(ending.name, func(t *testing.T) {
				eachEnd(t, silent, networks, func(t *testing.T, c *Conn, peer *rawPeer) {
					read := make(chan error)
					go func() { read <- reading(c, func(MessageType, []byte) {}) }()
					require.NoError(t, peer.send(0x81, "unread"))
					ending.ends(c)
					require.ErrorIs(t, <-read, CloseAbnormal)
					go peer.send(0x81, "late")
					payload, _, err := peer.readClose()
					require.NoError(t, err)
					require.Equal(t, rawClose(1001, "bye"), payload)
					peer.nc.Close()
					<-c.transportClosedChan()
				})
			})
		}
	}
}

// TestCloseContextIsClose proves that a context that does not end changes
// nothing, and that CloseTimeout stays the bound.
func TestCloseContextIsClose(t *testing.T) {
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go answersLate(peer)
		require.NoError(t, c.CloseContext(ctx, 3001, ""))
		require.ErrorIs(t, c.terminal(), CloseCode(3001))
	})
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		peer.listen(t, false)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, c.CloseContext(ctx, 3001, ""), context.DeadlineExceeded)
		require.Equal(t, c.cfg.CloseTimeout, time.Since(began))
	})
	c, s := connPair(t, &silent)
	go readToEnd(s)
	require.NoError(t, c.CloseContext(c.Context(), CloseNormal, "")) // ends with the connection
	require.ErrorContains(t, s.CloseContext(t.Context(), CloseAbnormal, ""), "must not be sent")
}

// TestSendClose proves that SendClose does not wait, that its Close frame is not
// overtaken by CloseNow, and that the closing handshake goes on without the
// caller.
func TestSendClose(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		peer.listen(t, false) // never answers
		began := time.Now()
		require.NoError(t, c.SendClose(4001, "bye"))
		require.Zero(t, time.Since(began))
		<-c.Context().Done()
		require.Equal(t, c.cfg.CloseTimeout, time.Since(began))
	})
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		got := make(chan string, 1)
		go func() {
			payload, _, _ := peer.readClose()
			got <- payload
		}()
		require.NoError(t, c.SendClose(4001, "bye"))
		c.CloseNow()
		require.Equal(t, rawClose(4001, "bye"), <-got)
	})
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		var done sync.WaitGroup
		done.Go(func() { answersLate(peer, "one", "two") })
		require.NoError(t, c.SendClose(4001, "bye"))
		require.ErrorIs(t, c.WriteString(t.Context(), "too late"), CloseCode(4001))
		require.Error(t, c.SendClose(4002, ""))
		for _, want := range []string{"one", "two", "in pieces"} {
			if inBubble() {
				time.Sleep(500 * time.Millisecond) // it is not in a hurry
			}
			_, p, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, string(p))
		}
		done.Wait()
		<-c.endedChan()
		require.ErrorIs(t, c.terminal(), CloseCode(4001))
		require.True(t, asCloseError(c.terminal()).clean())
	})
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		go answersLate(peer) // nobody reads what is in pieces, until Close drops it
		require.NoError(t, c.SendClose(4001, "bye"))
		require.NoError(t, c.Close(CloseNormal, ""))
		require.ErrorIs(t, c.terminal(), CloseCode(4001))
	})
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		ctx := c.CloseRead(t.Context())
		require.NoError(t, c.SendClose(4001, "bye"))
		for n := range uint64(2) {
			p.say(p.frame(0x81, "late"))
			require.Eventually(t, func() bool { return c.read.counters.messagesIn.Load() == n+1 }, time.Minute, time.Millisecond)
		}
		p.say(p.frame(0x88, rawClose(4001, "bye")))
		<-ctx.Done()
		require.True(t, asCloseError(context.Cause(ctx)).clean(), "%v", context.Cause(ctx))
	})
	c, s := connPair(t, &silent)
	require.ErrorContains(t, c.SendClose(CloseAbnormal, ""), "must not be sent")
	require.ErrorIs(t, c.terminal(), CloseAbnormal)
	<-s.endedChan()
	require.Equal(t, s.terminal(), s.SendClose(CloseNormal, ""))
}

// TestSendCloseBehindThePump proves that the Close frame of SendClose leaves
// behind a message that the pump has taken from the queue and not added yet.
func TestSendCloseBehindThePump(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		require.NoError(t, c.lockSending(t.Context()))
		require.NoError(t, c.Send(Text, []byte("queued")))
		q := c.send.queue.Load()
		m, ok := q.takeOldest(0, 100)
		require.True(t, ok)
		require.NoError(t, c.SendClose(4001, "bye"))
		_, err := c.out.postData(bitFIN|byte(opText), m.payload())
		require.NoError(t, err)
		q.noteAdded(len(m.payload()), nil)
		c.send.lock.unlock()
		q.noteSent(1, len(m.payload()), nil)
		synctest.Wait()
		require.True(t, p.has(1, "queued"))
		require.True(t, p.has(8, rawClose(4001, "bye")))
	})
}

// TestSendCloseOfABegunMessage proves that a message which SendClose has refused
// the rest of takes nothing from what is still the application's to read.
func TestSendCloseOfABegunMessage(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		w, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		_, err = w.Write([]byte("begun"))
		require.NoError(t, err)
		require.NoError(t, w.Flush())
		require.NoError(t, c.SendClose(4001, "bye"))
		require.ErrorIs(t, w.Close(), CloseCode(4001))
		synctest.Wait()
		require.True(t, p.has(8, rawClose(4001, "bye")))
		for _, message := range []string{"one", "two"} {
			p.say(p.frame(0x81, message))
		}
		p.say(p.frame(0x88, rawClose(4001, "bye")))
		synctest.Wait()
		for _, want := range []string{"one", "two"} {
			_, p, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, string(p))
		}
		_, _, err = c.Read(t.Context())
		require.ErrorIs(t, err, CloseCode(4001))
		require.True(t, asCloseError(err).clean())
	})
}

// TestLastWordsWhenTheContextEnds proves that Close drops nothing because its
// context has ended, when the application reads: the connection could end well all
// the same, and nobody would hear of the loss.
func TestLastWordsWhenTheContextEnds(t *testing.T) {
	for _, r := range roles {
		near, far := tcpNetwork(t, r)
		peer := newRawPeer(far, r)
		c := newConn(near, r, silent.withDefaults(), agreement{}, peer.frame(0x81, "last"))
		defer c.CloseNow()
		c.refuseWrites(CloseNormal, "", nil)
		c.life.closing.Load().attended.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, c.awaitPeerClose(ctx))
		require.False(t, c.isDeaf())
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "last", string(p))
	}
}

// TestCloseContextBehindThePump proves that CloseContext tells of a message that
// the pump has taken from the queue when the Close frame is added before it.
func TestCloseContextBehindThePump(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		require.NoError(t, c.lockSending(t.Context()))
		require.NoError(t, c.Send(Text, []byte("queued")))
		_, ok := c.sendQueue().takeOldest(0, 100)
		require.True(t, ok)
		go func() {
			for !p.has(8, rawClose(1000, "")) {
				time.Sleep(time.Millisecond)
			}
			p.say(p.frame(0x88, rawClose(1000, "")))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := c.CloseContext(ctx, CloseNormal, "")
		require.ErrorContains(t, err, "given up: 1, with 6 bytes")
		require.True(t, asCloseError(err).clean())
		c.sendQueue().noteAdded(6, err)
		c.send.lock.unlock()
	})
}

// TestCloseReadsWhileTheQueueMoves proves that Close reads while a large message
// of Send is on its way out: the peer may wait for that.
func TestCloseReadsWhileTheQueueMoves(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		require.NoError(t, c.Send(Binary, make([]byte, maxAtOnce)))
		require.NoError(t, c.Send(Binary, make([]byte, maxAtOnce+1)))
		synctest.Wait()
		require.False(t, c.send.queue.Load().hasMessages())
		go func() {
			peer.send(0x82, strings.Repeat("x", 1_000_000))
			answersLate(peer)
		}()
		began := time.Now()
		require.NoError(t, c.Close(CloseNormal, ""))
		require.Zero(t, time.Since(began))
	})
}

// TestSendCloseBehindTheQueue proves the same of a message that the pump has not
// taken yet.
func TestSendCloseBehindTheQueue(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		_, err := c.sendQueue().add(outgoing{typ: Text, payload: []byte("queued")}.copied(), 100, Block)
		require.NoError(t, err)
		require.NoError(t, c.SendClose(4001, "bye"))
		synctest.Wait()
		require.True(t, p.has(1, "queued"))
		require.True(t, p.has(8, rawClose(4001, "bye")))
	})
}

// TestCloseContextInFrontOfTheQueue proves that the Close frame is sent with a
// context that has ended, also if messages wait behind an open MessageWriter.
func TestCloseContextInFrontOfTheQueue(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		_, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		require.NoError(t, c.Send(Text, []byte("queued")))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.CloseContext(ctx, CloseGoingAway, ""), context.Canceled)
		synctest.Wait()
		require.True(t, p.has(8, rawClose(1001, "")))
	})
}

// TestCloseContextOfALingeringConnection proves that a context also ends the wait
// for a peer that has closed and does not end its stream.
func TestCloseContextOfALingeringConnection(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		p.say(p.frame(0x88, rawClose(1000, "")))
		<-c.endedChan()
		require.False(t, c.isTransportClosed())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		require.NoError(t, c.CloseContext(ctx, CloseGoingAway, ""))
		require.Equal(t, time.Second, time.Since(began))
	})
}

// TestCloseContextOfAnUnsentClose proves that the error is that of the context,
// too, when it ends while the answer to the peer's Close frame is on its way.
func TestCloseContextOfAnUnsentClose(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		require.NoError(t, peer.send(0x88, rawClose(1000, ""))) // and nobody takes the answer
		synctest.Wait()
		require.NotNil(t, c.life.ending())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := c.CloseContext(ctx, CloseGoingAway, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, CloseNormal)
		require.False(t, asCloseError(err).Sent)
	})
}
