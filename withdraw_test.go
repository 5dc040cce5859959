//go:build unix

package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A fullNetwork takes nothing until it is opened.
type fullNetwork struct {
	near, far net.Conn
	junk      int         // bytes that far has to read first
	room      int         // what it may take at once when that was read
	window    func(n int) // sets how many bytes are on the way, if that can be set
}

// let lets n bytes of a frame through and returns them.
func (f *fullNetwork) let(t *testing.T, n int) []byte {
	if f.window != nil {
		f.window(n)
	}
	p := make([]byte, f.junk+n)
	f.far.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.ReadFull(f.far, p)
	require.NoError(t, err)
	f.far.SetReadDeadline(time.Time{})
	defer func() { f.junk = 0 }()
	return p[f.junk:]
}

// open lets everything through from now on.
func (f *fullNetwork) open(t *testing.T) {
	if f.junk > 0 {
		f.let(t, 0)
	}
	if f.window != nil {
		f.window(faultnet.DefaultWindow)
	}
}

// fullUnix returns a Unix socket whose buffers are full.
func fullUnix(t *testing.T) *fullNetwork {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "")
		ends[i], err = net.FileConn(file)
		require.NoError(t, err)
		file.Close()
	}
	near := ends[0].(*net.UnixConn)
	near.SetWriteBuffer(8 << 10)
	require.NotNil(t, rawConn(near))
	return stuff(t, near, ends[1])
}

// stuff returns the network of near and far after near was filled.
func stuff(t *testing.T, near interface {
	net.Conn
	syscall.Conn
}, far net.Conn) *fullNetwork {
	f := &fullNetwork{near: near, far: far, room: 200 << 10}
	raw, err := near.SyscallConn()
	require.NoError(t, err)
	junk := make([]byte, 1<<10)
	for refused := 0; refused < 50; refused++ {
		raw.Write(func(fd uintptr) bool {
			if n, err := writeNow(fd, junk); n > 0 && err == nil {
				refused, f.junk = 0, f.junk+n
			}
			return true
		})
		runtime.Gosched() // what was sent may still be on its way into the other buffer
	}
	return f
}

// fullMemory returns a connection in memory that takes nothing.
func fullMemory(*testing.T) *fullNetwork {
	near, far := faultnet.Pipe()
	f := &fullNetwork{near: near, far: far, window: far.SetWindow}
	f.window(0)
	return f
}

// fullNetworks are the networks that are full.
var fullNetworks = []struct {
	name     string
	records  bool // TLS: what was loaded may share a record with others
	makeFull func(t *testing.T) *fullNetwork
}{
	{"socket", false, fullUnix},
	{"wrapped", false, func(t *testing.T) *fullNetwork {
		f := fullUnix(t)
		f.near = struct{ net.Conn }{f.near}
		return f
	}},
	{"net.Pipe", false, func(*testing.T) *fullNetwork {
		near, far := net.Pipe()
		return &fullNetwork{near: near, far: far}
	}},
	{"memory", false, fullMemory},
	{"TLS", true, func(t *testing.T) *fullNetwork {
		near, far := faultnet.Pipe()
		peer, ns := tlsEnds(t, far, near)
		f := &fullNetwork{near: ns, far: peer, window: far.SetWindow}
		f.window(0)
		return f
	}},
}

// A withdrawnWrite is a way to write a message that is then withdrawn.
type withdrawnWrite struct {
	name  string
	write func(ctx context.Context, c *Conn, s string) error
}

// withdrawnWrites are the ways to write that wait.
var withdrawnWrites = []withdrawnWrite{
	{"Write", func(ctx context.Context, c *Conn, s string) error { return c.Write(ctx, Text, []byte(s)) }},
	{"WritePlain", func(ctx context.Context, c *Conn, s string) error { return c.WritePlain(ctx, Text, []byte(s)) }},
	{"WritePrepared", func(ctx context.Context, c *Conn, s string) error {
		return c.WritePrepared(ctx, Prepare(Text, []byte(s)))
	}},
	{"stream", func(ctx context.Context, c *Conn, s string) error {
		w, err := c.Writer(ctx, Text)
		if err != nil {
			return err
		}
		io.WriteString(w, s)
		if err = w.Flush(); err == nil {
			return w.Close()
		}
		return err
	}},
	{"stream of one fragment", func(ctx context.Context, c *Conn, s string) error {
		w, err := c.Writer(ctx, Text)
		if err != nil {
			return err
		}
		io.WriteString(w, s)
		return w.Close()
	}},
}

// withdrawnCompressions are the ways to compress.
var withdrawnCompressions = map[string]*Compression{
	"plain":      nil,
	"no context": {NoContextTakeover: true, PeerNoContextTakeover: true},
	"takeover":   {},
}

// A withdrawal is one run of TestWithdrawnWrites.
type withdrawal struct {
	net   *fullNetwork
	c     *Conn
	cfg   Config
	peer  role
	early []byte         // what came before the peer reads
	sent  []string       // what the peer is to get
	calls sync.WaitGroup // of writers that nobody withdraws
}

// send queues a message: no deadline ends its wait.
func (w *withdrawal) send(t *testing.T, s string) {
	require.NoError(t, w.c.Send(Text, []byte(s)))
	w.sent = append(w.sent, s)
}

// until waits until the writer is in a state.
func (w *withdrawal) until(t *testing.T, what string, state func(w *frameWriter) bool) {
	t.Helper()
	for began := time.Now(); ; runtime.Gosched() {
		w.c.out.mu.Lock()
		reached := w.c.out.active != nil && state(&w.c.out)
		w.c.out.mu.Unlock()
		if reached {
			return
		}
		require.Less(t, time.Since(began), 20*time.Second, what)
	}
}

// inLine waits until n frames are queued.
func (w *withdrawal) inLine(t *testing.T, n int) {
	t.Helper()
	w.until(t, "it is not queued", func(out *frameWriter) bool {
		frames := 0
		for _, t := range out.active.queue {
			if t.byte0 != 0 {
				frames++
			}
		}
		return frames == n
	})
}

// withdrawnPlaces are where a message waits. ready makes the network busy, and
// placed waits until a message has its place.
var withdrawnPlaces = []struct {
	name   string
	shares bool // with others, in what was loaded
	ready  func(t *testing.T, w *withdrawal)
	placed func(t *testing.T, w *withdrawal)
}{
	{"pending", false,
		func(t *testing.T, w *withdrawal) { w.send(t, block(200)) },
		func(t *testing.T, w *withdrawal) { w.inLine(t, 1) },
	},
	{"loaded", true,
		func(t *testing.T, w *withdrawal) {
			w.send(t, block(200))
			w.send(t, block(w.net.room+5000))
			w.until(t, "the next is not behind it", func(out *frameWriter) bool { return len(out.active.queue) == 1 })
		},
		func(t *testing.T, w *withdrawal) {
			w.inLine(t, 1+b2i(w.net.room > inPlaceFrom)) // a large one waits as a frame
			frame := headerSize(header{length: 200, masked: w.peer == server}) + 200
			w.early = w.net.let(t, frame+10)
			w.until(t, "it is not loaded", func(out *frameWriter) bool {
				last := out.active.queue[len(out.active.queue)-1]
				return last.byte0 != 0 && out.active.work.head != nil && last.start < out.pendingStartLocked() && out.active.work.handed > 0
			})
		},
	},
	{"flusher", true,
		func(t *testing.T, w *withdrawal) { require.NoError(t, w.c.out.addControl(opPong, []byte("first"))) },
		func(t *testing.T, w *withdrawal) {
			w.until(t, "it does not flush", func(out *frameWriter) bool { return out.active.busy && out.active.ownTicket.flusher })
		},
	},
}

// TestWithdrawnWrites withdraws messages that were written in every way, wherever
// they wait and whatever ends their wait, on every network (V04): the peer gets
// the others whole, and the counts are of what it gets.
func TestWithdrawnWrites(t *testing.T) {
	covers(t, "V04", "Q.G03")
	for _, network := range fullNetworks {
		for _, place := range withdrawnPlaces {
			if network.records && place.shares {
				continue // it cannot be withdrawn
			}
			for compression, c := range withdrawnCompressions {
				for _, way := range withdrawnWrites {
					for _, r := range roles {
						for _, by := range []string{"context", "deadline"} {
							name := strings.Join([]string{network.name, place.name, compression, way.name, r.String(), by}, ", ")
							t.Run(name, func(t *testing.T) {
								w := newWithdrawal(t, network.makeFull(t), r, c)
								place.ready(t, w)
								w.withdraw(t, way, by, func() { place.placed(t, w) })
								w.check(t)
							})
						}
					}
				}
			}
		}
	}
}

// newWithdrawal returns a run on a network.
func newWithdrawal(t *testing.T, f *fullNetwork, r role, compression *Compression) *withdrawal {
	cfg := Config{PingInterval: -1, MaxMessageSize: -1, MaxQueuedBytes: 1 << 20, Compression: compression}
	c := newConn(f.near, r, cfg.withDefaults(), agreedFor(r, cfg.Compression), nil)
	t.Cleanup(func() { c.CloseNow(); f.far.Close() })
	if !c.socket().isRaw() {
		require.Eventually(t, func() bool { return c.readDeadlines().canPreempt() && c.read.intake.waitingSince.Load() != 0 },
			20*time.Second, time.Millisecond, "the background reader, which flushes before, does not wait")
	}
	return &withdrawal{net: f, c: c, cfg: cfg, peer: r.other()}
}

// withdraw writes a message and ends its wait once it has its place.
func (w *withdrawal) withdraw(t *testing.T, way withdrawnWrite, by string, placed func()) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	errs := make(chan error, 1)
	go func() { errs <- way.write(ctx, w.c, "withdrawn "+block(500)) }()
	placed()
	if by == "deadline" {
		require.NoError(t, w.c.SetWriteDeadline(time.Now()))
		require.ErrorIs(t, <-errs, os.ErrDeadlineExceeded)
		require.NoError(t, w.c.SetWriteDeadline(time.Time{}))
	} else {
		cancel()
		require.Equal(t, context.Canceled, <-errs)
	}
	require.NoError(t, w.c.terminal())
}

// check writes more, and compares what the peer gets.
func (w *withdrawal) check(t *testing.T) {
	w.net.open(t)
	peer := newConn(w.net.far, w.peer, w.cfg.withDefaults(), agreedFor(w.peer, w.cfg.Compression), w.early)
	defer peer.CloseNow()
	ended := make(chan error, 1)
	for i := range 2 * len(withdrawnWrites) {
		w.sent = append(w.sent, block(500)+fmt.Sprint(i))
	}
	go func() {
		more := w.sent[len(w.sent)-2*len(withdrawnWrites):]
		for i, s := range more {
			assert.NoError(t, withdrawnWrites[[]int{1, 0, 2, 3, 4}[i%5]].write(context.Background(), w.c, s))
		}
		w.calls.Wait()
		ended <- w.c.Close(CloseNormal, "")
	}()
	var got []string
	err := readOn(peer, func(_ MessageType, p []byte) { got = append(got, string(p)) })
	require.ErrorIs(t, err, CloseNormal)
	require.Equal(t, w.sent, got)
	require.NoError(t, <-ended)
	out, in := w.c.Stats(), peer.Stats()
	require.Equal(t, uint64(len(w.sent)), out.MessagesOut)
	require.Equal(t, in.FramesIn, out.FramesOut)
	require.Equal(t, in.CompressedIn, out.CompressedOut)
	require.Equal(t, in.InflatedIn, out.DeflatedOut)
}

// TestWithdrawnBetweenOthers withdraws some of many messages that wait, in any
// order: those before and behind them arrive, whatever they refer to (V04).
func TestWithdrawnBetweenOthers(t *testing.T) {
	covers(t, "V04")
	for compression, c := range withdrawnCompressions {
		for seed := range uint64(40) {
			t.Run(fmt.Sprintf("%s, seed %d", compression, seed), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 4))
				w := newWithdrawal(t, fullUnix(t), server, c)
				w.send(t, block(200))
				calls := w.waitInLine(t, rnd)
				var want []string
				last := numberedBlock(0)
				for i, call := range calls {
					if rnd.IntN(2) > 0 {
						want = append(want, numberedBlock(i))
						continue
					}
					call.cancel()
					require.Equal(t, context.Canceled, <-call.err)
					last = numberedBlock(i)
				}
				w.expect(t, append(want, last))
			})
		}
	}
}

// numberedBlock returns the message of a call of TestWithdrawnBetweenOthers.
func numberedBlock(i int) string { return "numbered " + block(400+i) }

// A waitingCall waits to write a message.
type waitingCall struct {
	cancel context.CancelFunc
	err    chan error
}

// waitInLine has calls wait, each behind the one before, and queued messages
// between them. The last may be a stream, which keeps others from waiting.
func (w *withdrawal) waitInLine(t *testing.T, rnd *rand.Rand) []waitingCall {
	calls := make([]waitingCall, 20)
	for i := range calls {
		ctx, cancel := context.WithCancel(context.Background())
		calls[i] = waitingCall{cancel, make(chan error, 1)}
		way := withdrawnWrites[rnd.IntN(3)]
		if i == len(calls)-1 {
			way = withdrawnWrites[rnd.IntN(5)]
		}
		go func() { calls[i].err <- way.write(ctx, w.c, numberedBlock(i)) }()
		w.inLine(t, i+1)
		if rnd.IntN(4) == 0 {
			require.NoError(t, w.c.Send(Text, []byte("queued")))
		}
	}
	return calls
}

// expect reads all that comes and compares those messages that are numbered.
func (w *withdrawal) expect(t *testing.T, want []string) {
	w.net.open(t)
	peer := newConn(w.net.far, w.peer, w.cfg.withDefaults(), agreedFor(w.peer, w.cfg.Compression), nil)
	defer peer.CloseNow()
	go func() {
		assert.NoError(t, w.c.WritePlain(context.Background(), Text, []byte(block(40<<10))))
		assert.NoError(t, w.c.WriteString(context.Background(), want[len(want)-1]))
		w.c.Close(CloseNormal, "")
	}()
	var got []string
	err := readOn(peer, func(_ MessageType, p []byte) {
		if bytes.HasPrefix(p, []byte("numbered")) {
			got = append(got, string(p))
		}
	})
	require.ErrorIs(t, err, CloseNormal)
	require.Equal(t, want, got)
}

// TestWithdrawnDuringCall gives up a Write while the flusher, which is the
// test, is in a call that does not block: the Write waits to learn whether the
// call took bytes of its message (V04).
func TestWithdrawnDuringCall(t *testing.T) {
	covers(t, "V04")
	for _, taken := range []bool{false, true} {
		w := newWithdrawal(t, fullUnix(t), server, nil)
		out := &w.c.out
		require.NoError(t, out.addControl(opPong, []byte("before")))
		require.True(t, out.claimFlush())
		out.noteWritten(0)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 1)
		go func() { errs <- w.c.WriteString(ctx, "given up") }()
		w.inLine(t, 1)
		out.mu.Lock()
		size := out.active.work.size()
		out.active.work.head.b = append(out.active.work.head.b, out.active.pending.data.b...) // as if it was loaded as well
		out.active.pending.data.free()
		out.active.pending.data = nil
		out.handOverLocked()
		out.mu.Unlock()
		cancel()
		w.until(t, "it does not wait", func(out *frameWriter) bool { return out.active.awaited.callDone != nil })
		require.Empty(t, errs)
		if taken {
			size++
		}
		out.noteWritten(size)
		require.Equal(t, context.Canceled, <-errs)
		require.EqualValues(t, b2i(taken), w.c.Stats().MessagesOut)
		go out.flushDetached()
	}
}

// TestTimeoutRestartsOnSocket proves that WriteTimeout begins anew whenever a
// socket takes a part of a large message (V12).
func TestTimeoutRestartsOnSocket(t *testing.T) {
	covers(t, "V12")
	for _, r := range roles {
		w := newWithdrawal(t, fullUnix(t), r, nil)
		limit := func(after uint64) (at instant) {
			w.until(t, "it does not wait", func(out *frameWriter) bool {
				g := out.deadlines.load()
				if g == nil || out.written() <= after {
					return false
				}
				g.mu.Lock()
				defer g.mu.Unlock()
				at = g.call.limit
				return g.call.armed
			})
			return at
		}
		require.NoError(t, w.c.out.addControl(opPong, nil)) // something leaves first
		go w.c.Write(context.Background(), Binary, make([]byte, 4<<20))
		w.net.let(t, 300<<10)
		for range 5 {
			before := limit(0)
			w.net.let(t, 300<<10)
			left := w.c.out.written()
			w.net.let(t, 300<<10)
			require.Greater(t, limit(left), before)
		}
	}
}

// b2i returns 1 for true.
func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
