package websocket

import (
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroupReachesItsMembers(t *testing.T) {
	var g Group
	require.Zero(t, g.Len())
	queued, dropped := g.Send(Prepare(Text, nil))
	require.Zero(t, queued+dropped)
	var clients, servers []*Conn
	for range 3 {
		c, s := connPair(t, nil)
		clients, servers = append(clients, c), append(servers, s)
		g.Add(s)
	}
	require.ElementsMatch(t, servers, slices.Collect(g.All()))
	remove := g.Add(servers[0])
	require.Equal(t, 3, g.Len())

	queued, dropped = g.Send(Prepare(Text, []byte("to all")))
	require.Equal(t, []int{3, 0}, []int{queued, dropped})
	for _, c := range clients {
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "to all", string(p))
	}

	remove()
	remove()
	require.Equal(t, 2, g.Len())
	require.Empty(t, servers[0].life.audience.watchers)
	queued, _ = g.Send(Prepare(Text, []byte("to the others")))
	require.Equal(t, 2, queued)
	queued, dropped = g.Send(Prepare(Text, []byte("\xff")))
	require.Equal(t, []int{0, 2}, []int{queued, dropped})
	for range g.All() {
		break
	}
}

func TestGroupMembersLeaveAsTheyEnd(t *testing.T) {
	covers(t, "Q.I01")
	var g Group
	c, s := connPair(t, nil)
	for range 100 {
		g.Add(s)()
	}
	require.Empty(t, s.life.audience.watchers)
	g.Add(s)
	go echo(s)
	require.NoError(t, c.Close(CloseNormal, ""))
	<-s.Context().Done()
	<-s.transportClosedChan()
	require.Zero(t, g.Len())
	require.Empty(t, g.members)
	g.Add(s)()
	require.Zero(t, g.Len())
}

// TestGroupDoesNotWait sends to a group with a member that takes nothing, under
// each policy.
func TestGroupDoesNotWait(t *testing.T) {
	covers(t, "W12", "Q.D09")
	const messages, size = 100, 32 << 10
	for _, policy := range []SlowPolicy{Block, DropNewest, DropOldest, CloseSlow} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := &Config{PingInterval: -1, WriteTimeout: time.Hour, SlowConsumer: policy}
				stuck, _ := memoryConn(server, cfg)
				defer func() {
					stuck.CloseNow()
					<-stuck.transportClosedChan() // a Close frame has its time to leave
				}()
				well, peer := memoryConn(server, cfg)
				defer well.CloseNow()
				var g Group
				g.Add(stuck)
				g.Add(well)
				began := time.Now()
				var queued, dropped int
				for i := range messages {
					q, d := g.Send(Prepare(Binary, make([]byte, size+i)))
					queued, dropped = queued+q, dropped+d
					h, _ := readFrame(t, peer)
					require.EqualValues(t, size+i, h.length)
					synctest.Wait()
					_, bytes := stuck.Queued()
					require.LessOrEqual(t, bytes, 1<<20)
				}
				require.Zero(t, time.Since(began))
				members := 2 * messages
				if policy == CloseSlow {
					require.ErrorIs(t, stuck.enqueue(queuedEmpty, policy), ErrSlowConsumer)
				} else {
					require.Equal(t, members, queued+dropped)
				}
				if policy == DropOldest {
					require.Zero(t, dropped)
				} else {
					require.NotZero(t, dropped)
				}
				if policy != CloseSlow {
					require.NotZero(t, stuck.Stats().Dropped)
				}
			})
		})
	}
}

var queuedEmpty = queued{shared: Prepare(Binary, nil)}

// TestGroupChangesWhileSending lets members come and go while several send.
func TestGroupChangesWhileSending(t *testing.T) {
	var g Group
	m := Prepare(Binary, []byte("x"))
	var all sync.WaitGroup
	for range 8 {
		c, s := connPair(t, nil)
		go io.Copy(io.Discard, c.NetConn())
		all.Go(func() {
			for range 200 {
				remove := g.Add(s)
				g.Send(m)
				remove()
			}
			g.Add(s)
			s.CloseNow()
		})
	}
	all.Wait()
	require.Zero(t, g.Len())
}

// TestLargeGroup sends to 5,000 members, of which one takes nothing.
func TestLargeGroup(t *testing.T) {
	covers(t, "W12")
	const members, messages = 5000, 10
	synctest.Test(t, func(t *testing.T) {
		cfg := &Config{PingInterval: -1, WriteTimeout: time.Hour, MaxQueuedBytes: 4 << 10}
		var g Group
		for range members {
			s, _ := memoryConn(server, cfg)
			g.Add(s)
		}
		stuck, _ := memoryConn(server, cfg)
		g.Add(stuck)
		require.NoError(t, stuck.Send(Binary, make([]byte, 1<<20)))
		began := time.Now()
		dropped := 0
		for range messages {
			queued, lost := g.Send(Prepare(Text, make([]byte, 1<<10)))
			require.GreaterOrEqual(t, queued, members)
			dropped += lost
			synctest.Wait()
		}
		require.Zero(t, time.Since(began))
		require.Positive(t, dropped)
		require.EqualValues(t, dropped, stuck.Stats().Dropped)
		for s := range g.All() {
			s.CloseNow()
		}
		require.Zero(t, g.Len())
	})
}

// TestGroupSendersShareWrites lets four goroutines send at once: all members
// get all messages, those of each sender in order, and messages that were left
// for later leave with the next.
func TestGroupSendersShareWrites(t *testing.T) {
	var g Group
	const members, senders, messages = 20, 4, 50
	var readers sync.WaitGroup
	var last *Conn
	for range members {
		c, s := connPair(t, nil)
		g.Add(s)
		last = s
		readers.Go(func() {
			var next [senders]byte
			for range senders * messages {
				_, p, err := c.Read(t.Context())
				if err != nil || len(p) != 2 || p[1] != next[p[0]] {
					assert.Fail(t, "wrong order", "got %v, %v; sender %d is at %d", p, err, p[0], next[p[0]])
					return
				}
				next[p[0]]++
			}
		})
	}
	var sending sync.WaitGroup
	for sender := range byte(senders) {
		sending.Go(func() {
			for i := range byte(messages) {
				queued, _ := g.Send(Prepare(Binary, []byte{sender, i}))
				assert.Equal(t, members, queued)
			}
		})
	}
	sending.Wait()
	readers.Wait()

	flushes := last.Stats().Flushes
	require.NoError(t, g.sendTo(last, Prepare(Binary, []byte("later")), true))
	require.Equal(t, flushes, last.Stats().Flushes)
	require.NoError(t, g.sendTo(last, Prepare(Binary, []byte("now")), false))
	require.Equal(t, flushes+1, last.Stats().Flushes)
}
