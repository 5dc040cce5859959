//go:build linux

package websocket

import (
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A polledFunc is served by a function.
type polledFunc struct {
	serve func() (more bool)
	slow  atomic.Int32
	state delivery // says whose turn it is
}

func (f *polledFunc) beginTurn(readiness) polled {
	if f.state.claim() {
		return f
	}
	return nil
}

func (f *polledFunc) serveTurn() bool {
	for {
		if f.serve() {
			return true
		}
		if f.state.yieldTurn() {
			return false
		}
	}
}

func (f *polledFunc) slowness() *atomic.Int32 { return &f.slow }

// polledPair returns a socket that the first poller serves by calling serve with
// it, and its peer.
func polledPair(t *testing.T, serve func(d *descriptor) (more bool)) (*polledFunc, net.Conn) {
	t.Helper()
	require.True(t, startPollers())
	near, far := tcpPair(t)
	raw, err := far.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	fd, err := duplicate(raw)
	require.NoError(t, err)
	require.NoError(t, far.Close())
	f := new(polledFunc)
	d := new(descriptor)
	f.serve = func() bool { return serve(d) }
	for {
		*d = descriptor{owner: f, fd: fd}
		require.NoError(t, d.register())
		if d.queue() == &pollers.all[0].queue {
			break
		}
		descriptors.forget(d)
		d.queue().remove(int(fd))
		d = new(descriptor) // an event may still look at the old one
	}
	t.Cleanup(func() { d.Close() })
	return f, near
}

// echoBytes sends back what has come.
func echoBytes(d *descriptor) (more bool) {
	var p [64]byte
	d.use(func(fd uintptr) bool {
		for {
			n, _, err := readNow(fd, p[:])
			if n == 0 || err != nil {
				return true
			}
			writeNow(fd, p[:n])
		}
	})
	return false
}

// bounce sends a byte to an echo and waits for it.
func bounce(t *testing.T, nc net.Conn) {
	t.Helper()
	_, err := nc.Write([]byte{1})
	require.NoError(t, err)
	_, err = io.ReadFull(nc, make([]byte, 1))
	require.NoError(t, err)
}

// TestPollerServesBesideOneThatBlocks proves that a turn that does not return
// holds up nobody, and that what came meanwhile for the same socket is served
// behind it.
func TestPollerServesBesideOneThatBlocks(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		entered, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		blocking, slow := polledPair(t, func(d *descriptor) bool {
			once.Do(func() {
				close(entered)
				<-release
			})
			return echoBytes(d)
		})
		_, quick := polledPair(t, echoBytes)
		slow.Write([]byte{1})
		<-entered
		for range 100 {
			bounce(t, quick)
		}
		close(release)
		_, err := io.ReadFull(slow, make([]byte, 1))
		require.NoError(t, err)
		for range 2 * slowMemory {
			bounce(t, slow)
		}
		slow.SetDeadline(time.Now().Add(time.Minute))
		for blocking.slow.Load() >= slowMemory { // the machine may have been busy in the last turns
			bounce(t, slow)
		}
	})
}

// TestPollerOutlivesGoexit proves that a poller goes on when what it serves ends
// the goroutine.
func TestPollerOutlivesGoexit(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		_, ending := polledPair(t, func(*descriptor) bool { runtime.Goexit(); return false })
		_, other := polledPair(t, echoBytes)
		for range 10 {
			ending.Write([]byte{1})
			bounce(t, other)
		}
	})
}

// TestPollerIsFair proves that a socket that always has more to do leaves room
// for others of its poller, and for goroutines that wait for the network.
func TestPollerIsFair(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		var stop atomic.Bool
		var once sync.Once
		done := make(chan struct{})
		_, greedy := polledPair(t, func(*descriptor) bool {
			if !stop.Load() {
				return true
			}
			once.Do(func() { close(done) })
			return false
		})
		_, other := polledPair(t, echoBytes)
		near, far := tcpPair(t)
		go io.Copy(far, far)
		greedy.Write([]byte{1})
		for range 20 {
			bounce(t, other)
			bounce(t, near)
		}
		stop.Store(true)
		<-done
	})
}

// TestPollerForgetsWhatIsClosed proves that an event of a descriptor that is
// closed, whose number another one has, does not reach that.
func TestPollerForgetsWhatIsClosed(t *testing.T) {
	near, _ := tcpPair(t)
	raw, err := near.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	fd, err := duplicate(raw)
	require.NoError(t, err)
	defer closeSocket(int(fd))
	first, second := &descriptor{fd: fd}, &descriptor{fd: fd}
	var table descriptorTable
	require.Nil(t, table.find(int(fd), 1))
	table.add(first)
	require.Same(t, first, table.find(int(fd), first.generation))
	table.add(second)
	require.Nil(t, table.find(int(fd), first.generation))
	table.forget(first)
	require.Same(t, second, table.find(int(fd), second.generation))
	table.forget(second)
	require.Nil(t, table.find(int(fd), second.generation))
	require.Nil(t, table.find(1<<20, 1))
}

// TestParkedConnHasNoGoroutine proves that a connection over TCP that was handed
// over has no goroutine.
func TestParkedConnHasNoGoroutine(t *testing.T) {
	var served *Conn
	r := newRecorder(echoMessage)
	r.opened = func(c *Conn) error { served = c; return nil }
	c := deliverTo(t, nil, r)
	for range 10 {
		require.NoError(t, c.WriteString(t.Context(), "hello"))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
	}
	require.Eventually(t, func() bool { return !hasGoroutine(served, "beginDelivery") }, time.Minute, 10*time.Millisecond)
	require.NoError(t, c.WriteString(t.Context(), "it is served nevertheless"))
	_, p, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "it is served nevertheless", string(p))
}
