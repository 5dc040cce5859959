package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// networks are what connections are made of, with little room on the way.
var networks = []struct {
	name string
	join func(t *testing.T) (a, b net.Conn)
}{
	{"TCP", func(t *testing.T) (a, b net.Conn) {
		a, b = tcpPair(t)
		for _, nc := range []net.Conn{a, b} {
			nc.(*net.TCPConn).SetWriteBuffer(16 << 10)
		}
		return a, b
	}},
	{"net.Pipe", func(*testing.T) (a, b net.Conn) { return net.Pipe() }},
	{"faultnet", func(*testing.T) (a, b net.Conn) {
		x, y := faultnet.Pipe()
		x.SetWindow(3000)
		y.SetWindow(3000)
		return x, y
	}},
	{"TLS", func(t *testing.T) (a, b net.Conn) {
		nc, ns := tcpPair(t)
		return tlsEnds(t, nc, ns)
	}},
}

// returnsWithin fails the test with the stacks of all goroutines if f does not
// return within the limit.
func returnsWithin(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s: hangs\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// A mixedEnd is one end of a connection. Its writers number their messages, and
// its reader notes the numbers of those that come from the other end.
type mixedEnd struct {
	c       *Conn
	seed    uint64
	patient bool // nothing is interrupted, which would end the connection over TLS
	stop    chan struct{}

	mu   sync.Mutex
	got  [mixedWriters][]uint32 // by the writer of the other end
	sure [mixedWriters][]uint32 // what a writer was told was written or will be
}

// mixedWriters is the number of writers at each end, which write up to
// mixedEach messages each.
const mixedWriters, mixedEach = 3, 60

// numbered returns a message of any size with a checksum.
func numbered(rnd *rand.Rand, writer int, n uint32) []byte {
	sizes := []int{300, 300, 300, 20000, 100000}
	p := make([]byte, 12+rnd.IntN(sizes[rnd.IntN(len(sizes))]))
	for i := range p {
		p[i] = byte(i * int(n+1) >> 3)
	}
	binary.BigEndian.PutUint32(p, uint32(writer))
	binary.BigEndian.PutUint32(p[4:], n)
	binary.BigEndian.PutUint32(p[8:], crc32.ChecksumIEEE(append(p[:8:8], p[12:]...)))
	return p
}

// deliver takes a message of the other end.
func (e *mixedEnd) deliver(t *testing.T, p []byte) {
	if len(p) < 12 || binary.BigEndian.Uint32(p[8:]) != crc32.ChecksumIEEE(append(p[:8:8], p[12:]...)) {
		t.Errorf("a message of %d bytes is corrupt", len(p))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	writer := binary.BigEndian.Uint32(p)
	e.got[writer] = append(e.got[writer], binary.BigEndian.Uint32(p[4:]))
}

// expected reports whether err is of a deadline, a full queue, or the end.
func expected(err error) bool {
	return err == nil || slices.ContainsFunc([]error{
		context.DeadlineExceeded, os.ErrDeadlineExceeded, ErrQueueFull, ErrSlowConsumer, net.ErrClosed,
	}, func(target error) bool { return errors.Is(err, target) })
}

// impatience returns a context that ends within limit, now and then.
func (e *mixedEnd) impatience(rnd *rand.Rand, limit time.Duration) (context.Context, context.CancelFunc) {
	if e.patient || rnd.IntN(3) > 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(rnd.Int64N(int64(limit))))
}

// read reads until the connection ends.
func (e *mixedEnd) read(t *testing.T) {
	rnd := rand.New(rand.NewPCG(e.seed, 77))
	for {
		ctx, cancel := e.impatience(rnd, 2*time.Millisecond)
		_, p, err := e.c.Read(ctx)
		cancel()
		switch {
		case err == nil:
			e.deliver(t, p)
		case asCloseError(err) != nil:
			return
		case !expected(err):
			t.Errorf("Read: %v", err)
			return
		}
		if rnd.IntN(256) == 0 {
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
		}
	}
}

// write writes messages in every way until the connection ends.
func (e *mixedEnd) write(t *testing.T, writer int) {
	rnd := rand.New(rand.NewPCG(e.seed, uint64(writer)+100))
	ways := []func(ctx context.Context, rnd *rand.Rand, p []byte) (sure bool, err error){
		e.writeWhole, e.writeWhole, e.writeWhole, e.send, e.sendPrepared, e.sendToGroup, e.stream, e.writePrepared, e.otherwise,
	}
	for n := range uint32(mixedEach) {
		select {
		case <-e.stop:
			return
		default:
		}
		p := numbered(rnd, writer, n)
		ctx, cancel := e.impatience(rnd, time.Millisecond)
		way := rnd.IntN(len(ways))
		sure, err := ways[way](ctx, rnd, p)
		cancel()
		clear(p) // nobody may have kept it
		if !expected(err) {
			t.Errorf("way %d: %v", way, err)
		}
		if err == nil && sure {
			e.mu.Lock()
			e.sure[writer] = append(e.sure[writer], n)
			e.mu.Unlock()
		}
		if e.c.terminal() != nil {
			return
		}
	}
}

// queueIsSure reports whether what was queued is not dropped for later messages.
func (e *mixedEnd) queueIsSure() bool { return e.c.cfg.SlowConsumer != DropOldest }

// writeWhole is a way of write.
func (e *mixedEnd) writeWhole(ctx context.Context, _ *rand.Rand, p []byte) (sure bool, err error) {
	return true, e.c.Write(ctx, Binary, p)
}

// writePrepared is a way of write.
func (e *mixedEnd) writePrepared(ctx context.Context, _ *rand.Rand, p []byte) (sure bool, err error) {
	return true, e.c.WritePrepared(ctx, Prepare(Binary, p))
}

// send is a way of write.
func (e *mixedEnd) send(_ context.Context, _ *rand.Rand, p []byte) (sure bool, err error) {
	return e.queueIsSure(), e.c.Send(Binary, p)
}

// sendPrepared is a way of write.
func (e *mixedEnd) sendPrepared(_ context.Context, _ *rand.Rand, p []byte) (sure bool, err error) {
	return e.queueIsSure(), e.c.SendPrepared(Prepare(Binary, p))
}

// sendToGroup is a way of write.
func (e *mixedEnd) sendToGroup(_ context.Context, _ *rand.Rand, p []byte) (sure bool, err error) {
	var g Group
	g.Add(e.c)
	if queued, _ := g.Send(Prepare(Binary, p)); queued == 0 {
		return false, ErrQueueFull
	}
	return e.queueIsSure(), nil
}

// stream is a way of write. The context is not for the whole message, which
// would be given up and end the connection.
func (e *mixedEnd) stream(_ context.Context, rnd *rand.Rand, p []byte) (sure bool, err error) {
	w, err := e.c.Writer(context.Background(), Binary)
	if err != nil {
		return false, err
	}
	for len(p) > 0 {
		n := min(len(p), 1+rnd.IntN(9000))
		if _, err := w.Write(p[:n]); err != nil {
			return false, err
		}
		p = p[n:]
		if rnd.IntN(3) > 0 {
			continue
		}
		if err := w.Flush(); err != nil {
			return false, err
		}
	}
	return true, w.Close()
}

// otherwise is a way of write that writes no message.
func (e *mixedEnd) otherwise(_ context.Context, rnd *rand.Rand, _ []byte) (sure bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	switch rnd.IntN(4) {
	case 0:
		_, err = e.c.Ping(ctx)
	case 1:
		err = e.c.Flush()
	case 2:
		err = e.c.Drain(ctx)
	case 3:
		if !e.patient {
			e.c.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(1000)) * time.Microsecond))
			time.Sleep(100 * time.Microsecond)
			e.c.SetWriteDeadline(time.Time{})
		}
	}
	return false, err
}

// mixedConfig returns any Config for mixed writes.
func mixedConfig(rnd *rand.Rand) Config {
	cfg := Config{
		PingInterval:   -1,
		CloseTimeout:   2 * time.Second,
		WriteTimeout:   5 * time.Second,
		HoldReplies:    []time.Duration{time.Hour, -1, 0, 0}[rnd.IntN(4)],
		SlowConsumer:   SlowPolicy(rnd.IntN(3)),
		MaxQueuedBytes: 50000,
	}
	if rnd.IntN(3) == 0 {
		cfg.PingInterval, cfg.PongTimeout = time.Duration(1+rnd.IntN(20))*time.Millisecond, 10*time.Second
	}
	if rnd.IntN(2) == 0 {
		noContext := rnd.IntN(2) == 0
		cfg.Compression = &Compression{NoContextTakeover: noContext, PeerNoContextTakeover: noContext}
	}
	return cfg
}

// TestMixedWrites writes in random ways from several goroutines at both ends,
// with interruptions, over every network, and ends that with the last message,
// with Close, or with CloseNow. Each message arrives whole, those of one writer
// in order, and if the end was clean none of those that are sure is missing.
func TestMixedWrites(t *testing.T) {
	covers(t, "Q.H01", "Q.H09", "Q.G03")
	before := runtime.NumGoroutine()
	for seed := range uint64(3) {
		for _, network := range networks {
			for _, ending := range []string{"complete", "Close", "CloseNow"} {
				t.Run(fmt.Sprintf("%s, %s, seed %d", network.name, ending, seed), func(t *testing.T) {
					a, b := network.join(t)
					mixWrites(t, seed, a, b, network.name == "TLS", ending)
				})
			}
		}
	}
	returnsWithin(t, 10*time.Second, "what the goroutines that are left do", func() {
		for runtime.NumGoroutine() > before+2 { // one is this
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// mixWrites is one run of TestMixedWrites.
func mixWrites(t *testing.T, seed uint64, near, far net.Conn, patient bool, ending string) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	cfg := mixedConfig(rnd)
	patient = patient || rnd.IntN(3) == 0
	stop := make(chan struct{})
	end := func(nc net.Conn, r role) *mixedEnd {
		c := newConn(nc, r, cfg.withDefaults(), agreedFor(r, cfg.Compression), nil)
		return &mixedEnd{c: c, seed: seed, patient: patient, stop: stop}
	}
	a, b := end(near, client), end(far, server)
	if rnd.IntN(4) == 0 {
		a.c.out.delegateFlushes()
		b.c.out.delegateFlushes()
	}
	var readers, writers sync.WaitGroup
	for _, e := range []*mixedEnd{a, b} {
		readers.Go(func() { e.read(t) })
		for writer := range mixedWriters {
			writers.Go(func() { e.write(t, writer) })
		}
	}
	if ending != "complete" {
		time.Sleep(time.Duration(rnd.IntN(20000)) * time.Microsecond) // into the middle of it
		if ending == "CloseNow" {
			a.c.CloseNow()
		} else {
			go b.c.Close(CloseNormal, "")
		}
		close(stop)
	}
	returnsWithin(t, 20*time.Second, "writing", writers.Wait)
	var err error
	returnsWithin(t, 20*time.Second, "closing", func() {
		err = a.c.Close(CloseNormal, "")
		b.c.Close(CloseNormal, "")
		readers.Wait()
	})
	checkOrder(t, a, b)
	checkOrder(t, b, a)
	if ending == "complete" && err == nil && a.c.life.terminal().Code == CloseNormal {
		checkNoneIsMissing(t, a, b) // a discards what comes after its Close
	}
	checkPool(t)
}

// checkOrder checks the order of what came from one end to the other.
func checkOrder(t *testing.T, from, to *mixedEnd) {
	t.Helper()
	for writer, got := range to.got {
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				t.Errorf("%v, writer %d: %d after %d", from.c.read.role, writer, got[i], got[i-1])
			}
		}
	}
}

// checkNoneIsMissing checks that what is sure came from one end to the other.
func checkNoneIsMissing(t *testing.T, from, to *mixedEnd) {
	t.Helper()
	for writer, sure := range from.sure {
		for _, n := range sure {
			if !slices.Contains(to.got[writer], n) {
				t.Errorf("%v, writer %d: %d is lost", from.c.read.role, writer, n)
			}
		}
	}
}

// checkPool checks that nothing of a connection is left in what is reused.
func checkPool(t *testing.T) {
	t.Helper()
	for range 50 {
		s := writeStates.Get().(*writeState)
		if s.writer != nil || s.corked.writer.Load() != nil || s.nc != nil || s.cfg != nil || s.pending != (pending{}) || s.offsets != (offsets{}) || s.corked.since != 0 ||
			s.busy || s.work.head != nil || s.ownTicket != (ticket{}) || len(s.queue) > 0 || s.raw.err != nil || s.awaited != (awaited{}) {
			t.Error("the pool has something of a connection")
		}
	}
}

// TestMixedGroup lets several goroutines send to a Group over every network:
// each member gets everything, in the order of each sender.
func TestMixedGroup(t *testing.T) {
	covers(t, "Q.H01")
	const senders, each = 4, 50
	var g Group
	var members []*Conn
	var readers, sending sync.WaitGroup
	got := make([][]uint64, 6)
	for i := range got {
		cfg := Config{PingInterval: -1, MaxQueuedBytes: 64 << 20}
		if i >= len(networks) {
			cfg.Compression = &Compression{}
		}
		ns, nc := networks[i%len(networks)].join(t)
		s := newConn(ns, server, cfg.withDefaults(), agreedFor(server, cfg.Compression), nil)
		c := newConn(nc, client, cfg.withDefaults(), agreedFor(client, cfg.Compression), nil)
		defer c.CloseNow()
		defer s.CloseNow()
		g.Add(s)
		members = append(members, s)
		go echo(s)
		readers.Go(func() {
			loopMessages(c, func(_ MessageType, p []byte) { got[i] = append(got[i], binary.BigEndian.Uint64(p)) })
		})
	}
	for sender := range uint64(senders) {
		sending.Go(func() {
			rnd := rand.New(rand.NewPCG(sender, 9))
			for n := range uint64(each) {
				p := make([]byte, []int{8, 100, 3000, 20000}[rnd.IntN(4)])
				binary.BigEndian.PutUint64(p, sender<<32|n)
				queued, dropped := g.Send(Prepare(Binary, p))
				if queued != len(members) || dropped != 0 {
					t.Errorf("%d queued and %d dropped of %d", queued, dropped, len(members))
				}
			}
		})
	}
	sending.Wait()
	for _, s := range members {
		if err := s.Drain(t.Context()); err != nil {
			t.Fatalf("Drain: %v", err)
		}
		if err := s.Close(CloseNormal, ""); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	readers.Wait()
	for i, list := range got {
		var next [senders]uint64
		for _, v := range list {
			if n := v & 0xffffffff; n != next[v>>32] {
				t.Fatalf("member %d got message %d of sender %d instead of %d", i, n, v>>32, next[v>>32])
			}
			next[v>>32]++
		}
		if len(list) != senders*each {
			t.Errorf("member %d got %d messages, want %d", i, len(list), senders*each)
		}
	}
}

// TestCloseNowEndsWritesOverTCP has the peer close while several goroutines
// write large messages, and calls CloseNow as the reader of such a connection
// does: each Write returns.
func TestCloseNowEndsWritesOverTCP(t *testing.T) {
	covers(t, "Q.F10")
	for range 100 {
		far, near := tcpEnds(t)
		s := newConn(near, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
		go io.Copy(io.Discard, far)
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for s.Write(context.Background(), Binary, make([]byte, 200<<10)) == nil {
				}
			})
		}
		far.Write(clientFrame(0x88, "\x03\xe8"))
		s.Read(t.Context())
		s.CloseNow()
		returnsWithin(t, 5*time.Second, "a Write after CloseNow", writers.Wait)
		far.Close()
	}
}
