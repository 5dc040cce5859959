package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deliveryNetworks are the kinds of net.Conn whose reading is handed over.
var deliveryNetworks = append(slices.Clone(rawNetworks), rawNetwork{"Unix", 0, unixNetwork}, http2ReceiverNetwork)

// unixNetwork joins two ends over a socket file. What the raw peer does is
// bounded.
func unixNetwork(t *testing.T, _ role) (near, far net.Conn) {
	t.Helper()
	far, near = unixPair(t)
	far.SetDeadline(time.Now().Add(pairLimit))
	return near, far
}

// TestDeliverTakesReadingOver proves that nobody else reads after Deliver, and
// that a second one is refused.
func TestDeliverTakesReadingOver(t *testing.T) {
	client, server := connPair(t, nil)
	r := newRecorder(nil)
	require.NoError(t, server.Deliver(r))
	require.ErrorIs(t, server.Deliver(r), errDelivered)
	require.ErrorIs(t, client.Deliver(nil), errNoReceiver)
	_, _, err := server.Read(t.Context())
	require.ErrorIs(t, err, errDelivered)
	_, _, err = server.ReadInto(t.Context(), nil)
	require.ErrorIs(t, err, errDelivered)
	_, _, err = server.Reader(t.Context())
	require.ErrorIs(t, err, errDelivered)
	for _, err := range server.Messages(t.Context()) {
		require.ErrorIs(t, err, errDelivered)
	}
	require.NoError(t, client.CloseNow())
	end := <-r.closed
	require.ErrorIs(t, end, net.ErrClosed)
	require.ErrorIs(t, server.Deliver(r), end.Code)
	_, _, err = server.Read(t.Context())
	require.True(t, errors.Is(err, end))
}

// echoSizes are those of the messages that TestDeliverEchoes sends, on both
// sides of every limit that matters.
var echoSizes = []int{0, 1, 125, 126, 4000, 4096, 5000, 16 << 10, inPlaceFrom - 1, inPlaceFrom, 65535, 65536, 200_000, 1 << 20, 3}

// TestDeliverEchoes hands connections of both roles over on every network:
// messages of all sizes come back in order, Pings between them are answered, and
// what the connection says of itself stays as it was.
func TestDeliverEchoes(t *testing.T) {
	eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		local, remote := c.LocalAddr(), c.RemoteAddr()
		r := newRecorder(echoMessage)
		require.NoError(t, c.Deliver(r))
		var sent uint64
		said := make(chan struct{})
		go func() {
			defer close(said)
			for i, size := range echoSizes {
				wire := slices.Concat(peer.frame(0x82, string(noise(size, uint64(i)))), peer.frame(0x89, fmt.Sprint(i)))
				sent += uint64(len(wire))
				peer.nc.Write(wire)
			}
		}()
		for i, size := range echoSizes {
			f, pongs := nextAnswer(t, peer)
			require.Truef(t, f.first == 0x82 && f.payload == string(noise(size, uint64(i))), "%v, want %d bytes, after the Pongs %q", f, size, pongs)
		}
		<-said
		require.Equal(t, local.String(), c.LocalAddr().String())
		require.Equal(t, remote.String(), c.RemoteAddr().String())
		if nc := c.NetConn(); nc != nil { // not a stream of HTTP/2
			require.Equal(t, local.String(), nc.LocalAddr().String())
			require.Equal(t, remote.String(), nc.RemoteAddr().String())
		}
		closeFromPeer(t, c, peer, r)
		s := c.Stats()
		require.EqualValues(t, len(echoSizes), s.MessagesIn)
		require.EqualValues(t, len(echoSizes), s.MessagesOut)
		require.EqualValues(t, 2*len(echoSizes)+1, s.FramesIn)
		require.Equal(t, sent+uint64(len(peer.frame(0x88, rawClose(1000, "bye")))), s.BytesIn)
	})
}

// nextAnswer returns the next frame that is no Pong, and the Pongs before.
func nextAnswer(t *testing.T, peer *rawPeer) (f rawFrame, pongs []string) {
	t.Helper()
	for {
		f, err := peer.read()
		require.NoError(t, err)
		if f.opcode() != 0xa {
			return f, pongs
		}
		pongs = append(pongs, f.payload)
	}
}

// closeFromPeer lets the peer do the closing handshake, and checks the end that r
// and all calls are told.
func closeFromPeer(t *testing.T, c *Conn, peer *rawPeer, r *recorder) {
	t.Helper()
	go peer.send(0x88, rawClose(1000, "bye"))
	payload, _, err := peer.readClose()
	require.NoError(t, err)
	require.Equal(t, rawClose(1000, "bye"), payload)
	peer.nc.Close()
	end := <-r.closed
	require.Equal(t, CloseError{Code: 1000, Reason: "bye", Received: true, Sent: true}, *end)
	for call, err := range laterCalls(c) {
		require.Same(t, end, err, call)
	}
}

// A takeover is what happened to a connection before its reading was handed
// over, while its peer sends.
type takeover struct {
	name   string
	before func(t *testing.T, c *Conn, peer *pingingPeer)
	after  func(t *testing.T, peer *pingingPeer)
	told   string // of what the peer sent before and after
}

// takeovers are the states of reading in which Deliver may find a connection.
var takeovers = []takeover{
	{name: "nothing was read", before: func(*testing.T, *Conn, *pingingPeer) {}},
	{name: "messages wait", told: "one two ", before: func(_ *testing.T, _ *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "one"), peer.frame(0x89, ""), peer.frame(0x81, "two"))
	}},
	{name: "others came with what was read", told: "two three ", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "one"), peer.frame(0x81, "two"), peer.frame(0x81, "three"))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "one", string(p))
	}},
	{name: "Read was interrupted", told: "whole ",
		before: func(t *testing.T, c *Conn, peer *pingingPeer) {
			interruptIn(t, c, peer, func(ctx context.Context) error { _, _, err := c.Read(ctx); return err })
		},
		after: func(_ *testing.T, peer *pingingPeer) { peer.say(peer.frame(0x80, "ole")) }},
	{name: "ReadInto was interrupted", told: "whole ",
		before: func(t *testing.T, c *Conn, peer *pingingPeer) {
			interruptIn(t, c, peer, func(ctx context.Context) error {
				_, _, err := c.ReadInto(ctx, make([]byte, 0, 100))
				return err
			})
		},
		after: func(_ *testing.T, peer *pingingPeer) { peer.say(peer.frame(0x80, "ole")) }},
	{name: "a long Read was interrupted", told: "100000 bytes ",
		before: func(t *testing.T, c *Conn, peer *pingingPeer) {
			peer.say(peer.frame(0x82, string(noise(100_000, 1)))[:50_000])
			interrupt(t, c, 50_000, func(ctx context.Context) error { _, _, err := c.Read(ctx); return err })
		},
		after: func(_ *testing.T, peer *pingingPeer) { peer.say(peer.frame(0x82, string(noise(100_000, 1)))[50_000:]) }},
	{name: "a MessageReader has begun", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x01, "dropp"), peer.frame(0x80, "ed"))
		readerOf(t, c, 0)
	}},
	{name: "a MessageReader has read a part", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x01, "dropp"))
		readerOf(t, c, 3)
	}, after: func(_ *testing.T, peer *pingingPeer) { peer.say(peer.frame(0x00, "ed"), peer.frame(0x80, "!")) }},
	{name: "a MessageReader has read all", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x01, "taken"), peer.frame(0x80, "over"))
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 9))
		require.NoError(t, err)
		t.Cleanup(func() {
			_, err := r.Read(make([]byte, 1))
			assert.Equal(t, io.EOF, err)
		})
	}},
	{name: "a loop was left", told: "two ", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "one"), peer.frame(0x81, "two"))
		for m, err := range c.Messages(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, "one", string(m.Data))
			break
		}
	}},
	{name: "a stream has read a part", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x82, "stream"))
		_, err := io.ReadFull(AsNetConn(c, Binary), make([]byte, 3))
		require.NoError(t, err)
	}},
	{name: "its deadline has passed", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	}},
	{name: "its deadline passes later", before: func(t *testing.T, c *Conn, peer *pingingPeer) {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	}, after: func(*testing.T, *pingingPeer) { time.Sleep(50 * time.Millisecond) }},
}

// interruptIn interrupts a call that reads in the middle of a message.
func interruptIn(t *testing.T, c *Conn, peer *pingingPeer, read func(ctx context.Context) error) {
	t.Helper()
	begun := peer.frame(0x01, "wh")
	peer.say(begun)
	interrupt(t, c, len(begun), read)
}

// interrupt interrupts a call once so many bytes have come.
func interrupt(t *testing.T, c *Conn, bytes int, read func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- read(ctx) }()
	eventually(t, "a part of the message", func() bool { return c.Stats().BytesIn == uint64(bytes) })
	cancel()
	err := <-ended
	if errors.Is(err, net.ErrClosed) {
		t.Skip("without deadlines, a read that is interrupted ends the connection")
	}
	require.ErrorIs(t, err, context.Canceled)
}

// readerOf begins the next message, and reads some bytes of it, but not all.
func readerOf(t *testing.T, c *Conn, bytes int) {
	t.Helper()
	_, r, err := c.Reader(t.Context())
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, bytes))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := r.Read(make([]byte, 1))
		assert.Error(t, err, "the MessageReader that was left")
		assert.NotEqual(t, io.EOF, err)
	})
}

// TestDeliverTakesOver hands connections over in every state of reading. Messages
// that were not read are delivered, and those that come later.
func TestDeliverTakesOver(t *testing.T) {
	for _, k := range takeovers {
		t.Run(k.name, func(t *testing.T) {
			eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				k.before(t, c, p)
				r := newRecorder(nil)
				require.NoError(t, c.Deliver(r))
				if k.after != nil {
					k.after(t, p)
				}
				p.say(p.frame(0x81, "last"))
				r.await(t, "opened "+k.told+"last")
				require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
				p.say(p.frame(0x81, "behind the deadline"))
				r.await(t, "opened "+k.told+"last behind the deadline")
			})
		})
	}
}

// TestDeliverFromALoop hands a connection over in a loop over its messages: the
// message stays the loop's, which gets no other.
func TestDeliverFromALoop(t *testing.T) {
	eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, true)
		p.say(p.frame(0x81, "one"), p.frame(0x81, "two"))
		r := newRecorder(func(_ *Conn, m Message) error { clear(m.Data); return nil })
		var told []string
		for m, err := range c.Messages(t.Context()) {
			if err != nil {
				require.ErrorIs(t, err, errDelivered)
				told = append(told, "handed over")
				continue
			}
			require.NoError(t, c.Deliver(r))
			p.say(p.frame(0x81, "three"))
			r.await(t, "opened two three")
			told = append(told, string(m.Data))
		}
		require.Equal(t, []string{"one", "handed over"}, told)
	})
}

// TestDeliverBesideReads calls Deliver while others read: each message goes to
// one of them, and once a call was refused all go to the Receiver. A call that began
// just before Deliver may wait when all messages have been taken: then there is
// another one.
func TestDeliverBesideReads(t *testing.T) {
	eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, true)
		var mu sync.Mutex
		got := map[string]int{}
		keep := func(_ MessageType, m []byte) {
			mu.Lock()
			defer mu.Unlock()
			got[string(m)]++
		}
		var readers sync.WaitGroup
		for _, loop := range []readLoop{loopRead, loopReadInto, loopRead} {
			readers.Go(func() { assert.ErrorIs(t, loop(c, keep), errDelivered) })
		}
		messages := 200
		for n := range messages {
			p.say(p.frame(0x81, fmt.Sprint(n)))
			if n == messages/2 {
				r := newRecorder(func(_ *Conn, m Message) error { keep(m.Type, m.Data); return nil })
				require.NoError(t, c.Deliver(r))
			}
		}
		refused := make(chan struct{})
		go func() {
			readers.Wait()
			close(refused)
		}()
		for waiting := true; waiting; {
			select {
			case <-refused:
				waiting = false
			case <-time.After(time.Second):
				p.say(p.frame(0x81, fmt.Sprint(messages)))
				messages++
			}
		}
		all := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) == messages
		}
		eventually(t, "all messages", all)
		for m, times := range got {
			require.Equal(t, 1, times, m)
		}
	})
}

// TestDeliverOnce calls Deliver at the same time as everything that ends or reads
// a connection: one call succeeds at most, and its Receiver is told of the
// beginning and of the end.
func TestDeliverOnce(t *testing.T) {
	others := map[string]func(c *Conn){
		"CloseNow":     func(c *Conn) { c.CloseNow() },
		"Close":        func(c *Conn) { c.Close(CloseNormal, "") },
		"Read":         func(c *Conn) { c.Read(context.Background()) },
		"the stream's": func(c *Conn) { AsNetConn(c, Text).Close() },
	}
	for name, other := range others {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				c, s := connPair(t, nil)
				go by(loopRead)(c)
				var recorders [3]*recorder
				var errs [len(recorders)]error
				var calls sync.WaitGroup
				for i := range recorders {
					recorders[i] = newRecorder(nil)
					calls.Go(func() { errs[i] = s.Deliver(recorders[i]) })
				}
				calls.Go(func() { other(s) })
				c.WriteString(t.Context(), "")
				eventually(t, "the calls", func() bool { c.WriteString(t.Context(), ""); return !anyRuns(&calls) })
				s.CloseNow()
				done := 0
				for i, r := range recorders {
					if errs[i] != nil {
						require.Empty(t, r.history())
						continue
					}
					done++
					require.NotNil(t, <-r.closed)
					h := r.history()
					require.Regexp(t, "^opened *closed$", h)
				}
				require.LessOrEqual(t, done, 1)
				c.CloseNow()
			}
		})
	}
}

// anyRuns reports whether a goroutine of calls runs after a moment.
func anyRuns(calls *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { calls.Wait(); close(done) }()
	select {
	case <-done:
		return false
	case <-time.After(10 * time.Millisecond):
		return true
	}
}

// TestDeliverLends proves that a message belongs to Receive until it returns,
// whatever else the connection does and others receive.
func TestDeliverLends(t *testing.T) {
	eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, true)
		for _, size := range []int{200, 3000, 5000, 70_000} {
			p.say(p.frame(0x82, string(noise(size, uint64(size)))), p.frame(0x89, fmt.Sprint(size)), p.frame(0x82, "next"))
		}
		other, echoing := memConns(t, &silent)
		go echo(echoing)
		r := newRecorder(func(c *Conn, m Message) error {
			kept := bytes.Clone(m.Data)
			for i := range 5 {
				p := noise(2000*(i+1), 9)
				if err := errors.Join(c.Write(context.Background(), Binary, p), other.Write(context.Background(), Binary, p)); err != nil {
					return err
				}
				if _, _, err := other.Read(context.Background()); err != nil {
					return err
				}
			}
			if !bytes.Equal(kept, m.Data) {
				return errFault
			}
			clear(append(m.Data, "what lies behind is not lent"...))
			clear(m.Data)
			return nil
		})
		require.NoError(t, c.Deliver(r))
		r.await(t, "opened 200 bytes next 3000 bytes next 5000 bytes next 70000 bytes next")
	})
}

// TestDeliverBetweenTwo hands both ends over, on every network, with compression
// and without: what one Receiver sends in Receive is the next message of the
// other.
func TestDeliverBetweenTwo(t *testing.T) {
	const turns = 200
	for name, compression := range map[string]*Compression{
		"plain":      nil,
		"takeover":   {Threshold: -1},
		"no context": {Threshold: -1, NoContextTakeover: true, PeerNoContextTakeover: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range deliveryNetworks {
				t.Run(n.name, func(t *testing.T) {
					n.run(t, func(t *testing.T) {
						near, far := n.pair(t, server)
						far.SetDeadline(time.Time{})
						cfg := Config{PingInterval: -1, Compression: compression}
						s := newConn(near, server, cfg.withDefaults(), agreedFor(server, compression), nil)
						c := newConn(far, client, cfg.withDefaults(), agreedFor(server, compression), nil)
						defer c.CloseNow()
						defer s.CloseNow()
						playTurns(t, c, s, turns)
						if compression != nil {
							require.NotZero(t, s.Stats().CompressedIn)
							require.NotZero(t, s.Stats().CompressedOut)
						}
					})
				})
			}
		})
	}
}

// playTurns lets two Receivers send each other texts that grow, and the client
// close after the last.
func playTurns(t *testing.T, c, s *Conn, turns int) {
	turn := 0
	next := func(c *Conn, m Message) error {
		if want := sentence(turn*20, turn); string(m.Data) != want {
			return fmt.Errorf("turn %d: %.60q, want %.60q", turn, m.Data, want)
		}
		if turn++; turn == turns {
			return CloseGoingAway
		}
		return c.WriteString(context.Background(), sentence(turn*20, turn))
	}
	rc, rs := newRecorder(next), newRecorder(next)
	require.NoError(t, s.Deliver(rs))
	require.NoError(t, c.Deliver(rc))
	require.NoError(t, c.WriteString(t.Context(), sentence(0, 0)))
	require.Equal(t, CloseGoingAway, (<-rc.closed).Code)
	require.Equal(t, CloseGoingAway, (<-rs.closed).Code)
	require.Equal(t, turns, turn)
}

// TestDeliverTraces compares what the hooks are told with what happens.
func TestDeliverTraces(t *testing.T) {
	covered := map[string]bool{}
	for _, n := range deliveryNetworks {
		t.Run(n.name, func(t *testing.T) {
			n.run(t, func(t *testing.T) {
				near, far := n.pair(t, server)
				defer far.Close()
				var mu sync.Mutex
				counts := map[string]int{}
				count := func(what string) {
					mu.Lock()
					defer mu.Unlock()
					counts[what]++
				}
				cfg := Config{PingInterval: -1, HoldReplies: -1, Trace: &Trace{
					FrameIn:  func(_ *Conn, f FrameTrace) { count(fmt.Sprint("in ", f.Opcode)) },
					FrameOut: func(_ *Conn, f FrameTrace) { count(fmt.Sprint("out ", f.Opcode)) },
					Flush:    func(_ *Conn, f FlushTrace) { count("flush") },
					Pong:     func(*Conn, time.Duration) { count("pong") },
					Closed:   func(*Conn, *CloseError) { count("closed") },
				}}
				c := newConn(near, server, cfg.withDefaults(), agreement{}, nil)
				defer c.CloseNow()
				r := newRecorder(echoMessage)
				require.NoError(t, c.Deliver(r))
				p := newRawPeer(far, server).listen(t, true)
				p.say(p.frame(0x81, "one"), p.frame(0x89, "ping"), p.frame(0x01, "t"), p.frame(0x80, "wo"))
				_, err := c.Ping(t.Context())
				require.NoError(t, err)
				r.await(t, "opened one two")
				c.CloseNow()
				<-r.closed
				mu.Lock()
				defer mu.Unlock()
				require.NotZero(t, counts["flush"])
				delete(counts, "flush")
				require.Equal(t, map[string]int{"in 1": 2, "in 0": 1, "in 9": 1, "in 10": 1, "out 1": 2, "out 9": 1, "out 10": 1, "pong": 1, "closed": 1}, counts)
				covered[n.name] = true
			})
		})
	}
	require.Len(t, covered, len(deliveryNetworks))
}

// TestDeliverKeepalive proves that what keeps a connection alive, or ends it,
// works while Receive waits and while nobody does.
func TestDeliverKeepalive(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprint("Receive waits ", slow), func(t *testing.T) {
			eachEnd(t, Config{}, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, false)
				deliverSlowly(t, c, p, slow)
				time.Sleep(time.Second)
				p.wantPong(t, "while it waits")
				pinged := make(chan error, 1)
				go func() {
					_, err := c.Ping(context.Background())
					pinged <- err
				}()
				synctest.Wait()
				p.say(p.frame(0x8a, p.last(t, 9)))
				require.NoError(t, <-pinged)
				began := time.Now()
				<-c.Context().Done()
				require.ErrorIs(t, context.Cause(c.Context()), ErrPongTimeout)
				require.Equal(t, 50*time.Second, time.Since(began))
			})
		})
	}
}

// deliverSlowly hands c over to a Receiver that has a message. If slow is set,
// it keeps that until the connection ends.
func deliverSlowly(t *testing.T, c *Conn, p *pingingPeer, slow bool) {
	t.Helper()
	r := newRecorder(func(c *Conn, _ Message) error {
		if slow {
			<-c.Context().Done()
		}
		return nil
	})
	require.NoError(t, c.Deliver(r))
	p.say(p.frame(0x81, "work"))
	r.await(t, "opened work")
}

// last returns the payload of the last frame with this opcode.
func (p *pingingPeer) last(t *testing.T, opcode byte) (payload string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range slices.Backward(p.frames) {
		if f.opcode() == opcode {
			return f.payload
		}
	}
	t.Fatalf("no frame with opcode %d came", opcode)
	return ""
}

// TestDeliverKeepaliveOnSockets is TestDeliverKeepalive where time cannot be
// made: silent peers are found, and others stay.
func TestDeliverKeepaliveOnSockets(t *testing.T) {
	for _, n := range socketNetworks() {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Receive waits %v", n.name, slow), func(t *testing.T) {
				t.Parallel()
				findSilentPeer(t, n, slow)
				keepOthers(t, n, slow)
			})
		}
	}
}

// findSilentPeer is about a peer that sends no Pongs.
func findSilentPeer(t *testing.T, n rawNetwork, slow bool) {
	cfg := Config{PingInterval: 20 * time.Millisecond, PongTimeout: 100 * time.Millisecond}
	eachEnd(t, cfg, []rawNetwork{n}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		deliverSlowly(t, c, p, slow)
		if slow && n.name != "TLS" { // where a read that waits is not known to be interruptible
			p.say(p.frame(0x81, "more"))
		}
		<-c.Context().Done()
		require.ErrorIs(t, context.Cause(c.Context()), ErrPongTimeout)
	})
}

// keepOthers is about a peer that answers Pings, and sends some.
func keepOthers(t *testing.T, n rawNetwork, slow bool) {
	cfg := Config{PingInterval: 20 * time.Millisecond, PongTimeout: pairLimit}
	eachEnd(t, cfg, []rawNetwork{n}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, true)
		deliverSlowly(t, c, p, slow)
		p.say(p.frame(0x89, "anybody there"))
		eventually(t, "a Pong", func() bool { return p.has(0xa, "anybody there") })
		eventually(t, "some Pings", func() bool { return c.Stats().FramesIn > 4 })
		require.NoError(t, c.Context().Err())
	})
}

// socketNetworks returns those that are not in memory, without those that only
// change a little: tests for which time passes are played on few.
func socketNetworks() []rawNetwork {
	return slices.DeleteFunc(slices.Clone(deliveryNetworks), func(n rawNetwork) bool { return n.is(inMemory | noHalfClose) })
}

// TestDeliverIdleTimeout proves that a connection without messages ends, and
// that those that come keep it.
func TestDeliverIdleTimeout(t *testing.T) {
	eachEnd(t, Config{PingInterval: -1, IdleTimeout: time.Minute, CloseTimeout: time.Second}, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		began := time.Now()
		p := peer.listen(t, true)
		r := newRecorder(nil)
		require.NoError(t, c.Deliver(r))
		for range 5 {
			time.Sleep(50 * time.Second)
			p.say(p.frame(0x81, ""))
		}
		require.ErrorIs(t, <-r.closed, ClosePolicyViolation)
		require.Equal(t, 311*time.Second, time.Since(began))
	})
	eachEnd(t, Config{PingInterval: -1, IdleTimeout: 100 * time.Millisecond, CloseTimeout: 20 * time.Millisecond}, socketNetworks(), func(t *testing.T, c *Conn, peer *rawPeer) {
		peer.listen(t, true)
		r := newRecorder(nil)
		require.NoError(t, c.Deliver(r))
		require.ErrorIs(t, <-r.closed, ClosePolicyViolation)
	})
}

// TestDeliverHoldsReplies sends messages that come together: the replies leave
// together, and at the latest when the last Receive is over.
func TestDeliverHoldsReplies(t *testing.T) {
	const messages = 16
	for _, lasts := range []struct {
		name    string
		replies bool
		err     error
	}{
		{"replies", true, nil}, {"says nothing", false, nil}, {"fails", false, CloseGoingAway}, {"replies and fails", true, CloseGoingAway},
	} {
		t.Run("the last "+lasts.name, func(t *testing.T) {
			eachEnd(t, Config{PingInterval: -1, HoldReplies: time.Hour}, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				n := 0
				r := newRecorder(func(c *Conn, m Message) error {
					if n++; n < messages {
						return echoMessage(c, m)
					}
					if lasts.replies {
						echoMessage(c, m)
					}
					return lasts.err
				})
				var all []byte
				for i := range messages {
					all = append(all, p.frame(0x81, fmt.Sprint(i))...)
				}
				p.say(all)
				require.NoError(t, c.Deliver(r))
				want := messages - 1
				if lasts.replies {
					want++
				}
				eventually(t, "the replies", func() bool { return len(p.texts()) == want }, func() string { return fmt.Sprint(p.texts()) })
				for i, text := range p.texts() {
					require.Equal(t, fmt.Sprint(i), text)
				}
				if lasts.err == nil {
					require.Less(t, c.Stats().Flushes, uint64(messages/2))
				}
			})
		})
	}
}

// texts returns the texts that came.
func (p *pingingPeer) texts() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.first == 0x81 {
			all = append(all, f.payload)
		}
	}
	return all
}

// TestDeliverHeldRepliesDoNotWaitForWork lets the last of the messages that came
// together work for as long as the replies to the others are missing.
func TestDeliverHeldRepliesDoNotWaitForWork(t *testing.T) {
	eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, true)
		r := newRecorder(func(c *Conn, m Message) error {
			if string(m.Data) != "work" {
				return echoMessage(c, m)
			}
			for len(p.texts()) < 3 && c.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			return echoMessage(c, m)
		})
		p.say(p.frame(0x81, "a"), p.frame(0x81, "b"), p.frame(0x81, "c"), p.frame(0x81, "work"), p.frame(0x81, "d"))
		require.NoError(t, c.Deliver(r))
		eventually(t, "the replies", func() bool { return slices.Equal(p.texts(), []string{"a", "b", "c", "work", "d"}) })
	})
}

// A stuckWrite is a write to a peer that does not read.
type stuckWrite struct {
	config Config
	write  func(c *Conn) error
	want   error // what it returns
	ends   bool  // the connection has ended then
	mayEnd bool  // it may have, because a write was interrupted
}

// stuckWrites are all that end by themselves.
var stuckWrites = map[string]stuckWrite{
	"context": {write: func(c *Conn) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		return c.Write(ctx, Binary, make([]byte, 8<<20))
	}, want: context.DeadlineExceeded},
	"SetWriteDeadline": {write: func(c *Conn) error {
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		return c.Write(context.Background(), Binary, make([]byte, 8<<20))
	}, want: os.ErrDeadlineExceeded},
	"WriteTimeout": {config: Config{WriteTimeout: 20 * time.Millisecond}, write: func(c *Conn) error {
		return c.Write(context.Background(), Binary, make([]byte, 8<<20))
	}, want: os.ErrDeadlineExceeded, ends: true},
	"DropNewest": {config: Config{SlowConsumer: DropNewest, MaxQueuedBytes: 1000}, write: sendUntilRefused, want: ErrQueueFull},
	"CloseSlow":  {config: Config{SlowConsumer: CloseSlow, MaxQueuedBytes: 1000, CloseTimeout: 20 * time.Millisecond}, write: sendUntilRefused, want: ErrSlowConsumer, ends: true},
	"Block": {config: Config{MaxQueuedBytes: 1000}, write: func(c *Conn) error {
		time.AfterFunc(20*time.Millisecond, func() { c.CloseNow() })
		return sendUntilRefused(c)
	}, want: net.ErrClosed, ends: true},
	"DropOldest": {config: Config{SlowConsumer: DropOldest, MaxQueuedBytes: 1000}, write: func(c *Conn) error {
		for c.Stats().Dropped == 0 {
			if err := c.Send(Binary, make([]byte, 500)); err != nil {
				return err
			}
		}
		return errFault
	}, want: errFault},
}

// sendUntilRefused sends until that fails.
func sendUntilRefused(c *Conn) error {
	for {
		if err := c.Send(Binary, make([]byte, 500)); err != nil {
			return err
		}
	}
}

// TestDeliverToPeerThatDoesNotRead writes in Receive to a peer that does not
// read: the call returns what it does elsewhere, and once the peer reads, the
// connection goes on, unless it has ended.
func TestDeliverToPeerThatDoesNotRead(t *testing.T) {
	for name, k := range stuckWrites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k.config.PingInterval = -1
			for _, n := range deliveryNetworks {
				k := k
				k.mayEnd = n.is(noDeadline) || n.name == "TLS"
				if n.is(noDeadline) && k.config.WriteTimeout > 0 {
					k.want = net.ErrClosed // a reader may be told first
				}
				eachEnd(t, k.config, []rawNetwork{n}, k.play)
			}
		})
	}
}

// play is one case of TestDeliverToPeerThatDoesNotRead.
func (k stuckWrite) play(t *testing.T, c *Conn, peer *rawPeer) {
	wrote := make(chan error, 1)
	r := newRecorder(func(c *Conn, m Message) error {
		if string(m.Data) == "write" {
			err := k.write(c)
			c.SetWriteDeadline(time.Time{})
			wrote <- err
		}
		return nil
	})
	require.NoError(t, c.Deliver(r))
	go peer.send(0x81, "write")
	err := <-wrote
	if k.mayEnd && !k.ends && errors.Is(err, net.ErrClosed) {
		return
	}
	require.ErrorIs(t, err, k.want)
	p := peer.listen(t, true)
	if k.ends {
		require.NotNil(t, <-r.closed)
		return
	}
	p.say(p.frame(0x81, "go on"))
	eventually(t, "what comes later", func() bool {
		return r.history() == "opened write go on" || k.mayEnd && c.Context().Err() != nil
	}, r.history)
}

// TestDeliverBesideEverything lets goroutines call all methods of a connection
// that is handed over, and then ends it in one of many ways: all calls return,
// and no message is lost, mixed or told twice.
func TestDeliverBesideEverything(t *testing.T) {
	ends := map[string]func(c, s *Conn){
		"Close":    func(_, s *Conn) { s.Close(CloseNormal, "") },
		"the peer": func(c, _ *Conn) { c.Close(CloseNormal, "") },
		"CloseNow": func(_, s *Conn) { s.CloseNow() },
		"both":     func(c, s *Conn) { go c.Close(CloseNormal, ""); s.Close(CloseGoingAway, "") },
		"Shutdown": func(_, s *Conn) {
			var registry Registry
			reserved, _ := registry.reserve(nil)
			reserved.commit(s)
			registry.Shutdown(context.Background(), CloseServiceRestart, "")
		},
	}
	for name, end := range ends {
		for network, pair := range map[string]func(testing.TB, *Config) (c, s *Conn){"TCP": connPair, "TLS": tlsPair, "memory": memConns} {
			t.Run(name+" on "+network, func(t *testing.T) {
				c, s := pair(t, &Config{PingInterval: 5 * time.Millisecond})
				crowd(t, c, s, end)
			})
		}
	}
}

// crowd is one case of TestDeliverBesideEverything. The server is handed over,
// and the client is read by a loop.
func crowd(t *testing.T, c, s *Conn, end func(c, s *Conn)) {
	const messages = 100
	var group Group
	group.Add(c)
	group.Add(s)
	toServer, toClient := newOrders(t), newOrders(t)
	r := newRecorder(func(_ *Conn, m Message) error { toServer.take(m.Data); return nil })
	require.NoError(t, s.Deliver(r))
	var readers, writers, meddlers sync.WaitGroup
	readers.Go(func() { loopMessages(c, func(_ MessageType, p []byte) { toClient.take(p) }) })
	ctx := context.Background()
	for i, write := range []func(conn *Conn, p string) error{
		func(conn *Conn, p string) error { return conn.WriteString(ctx, p) },
		func(conn *Conn, p string) error { return conn.Send(Text, []byte(p)) },
		func(conn *Conn, p string) error { return conn.WritePrepared(ctx, Prepare(Text, []byte(p))) },
		func(conn *Conn, p string) error { return conn.SendPrepared(Prepare(Text, []byte(p))) },
		func(conn *Conn, p string) error {
			w, err := conn.Writer(ctx, Text)
			if err != nil {
				return err
			}
			io.WriteString(w, p[:1])
			w.Flush()
			io.WriteString(w, p[1:])
			return w.Close()
		},
	} {
		for _, conn := range []*Conn{c, s} {
			writers.Go(func() {
				for n := range messages {
					assert.NoError(t, write(conn, fmt.Sprintf("%d %d", i, n)))
				}
			})
		}
	}
	writers.Go(func() {
		for n := range messages {
			group.Send(Prepare(Text, fmt.Appendf(nil, "%d %d", 99, n)))
		}
	})
	for _, conn := range []*Conn{c, s} {
		meddlers.Go(func() { meddle(conn) })
	}
	writers.Wait()
	eventually(t, "all messages", func() bool { return toServer.count() == 6*messages && toClient.count() == 6*messages })
	end(c, s)
	require.NotNil(t, <-r.closed)
	readers.Wait()
	meddlers.Wait()
}

// meddle calls what changes nothing, until the connection ends.
func meddle(c *Conn) {
	for c.Context().Err() == nil {
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		c.SetWriteDeadline(time.Time{})
		c.Stats()
		c.NetConn()
		c.RemoteAddr()
		c.LocalAddr()
		c.Flush()
		c.Drain(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c.Ping(ctx)
		cancel()
	}
}

// orders checks that each writer's messages, "writer number", come in order.
type orders struct {
	t    *testing.T
	mu   sync.Mutex
	next map[int]int
	all  int
}

// newOrders returns orders for one direction.
func newOrders(t *testing.T) *orders { return &orders{t: t, next: map[int]int{}} }

// take takes the next message.
func (o *orders) take(p []byte) {
	var writer, number int
	_, err := fmt.Sscanf(string(p), "%d %d", &writer, &number)
	assert.NoError(o.t, err, "%.40q", p)
	o.mu.Lock()
	defer o.mu.Unlock()
	assert.Equal(o.t, o.next[writer], number, "of writer %d", writer)
	o.next[writer]++
	o.all++
}

// count returns how many messages came.
func (o *orders) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all
}
