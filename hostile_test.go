package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnnouncedLengthIsNotAllocated announces the longest message to many
// connections and sends none of it.
func TestAnnouncedLengthIsNotAllocated(t *testing.T) {
	covers(t, "E04", "Q.D01", "Q.D15")
	const connections, perConnection = 200, 8 << 10
	for _, reading := range readLoops {
		synctest.Test(t, func(t *testing.T) {
			var endpoints []*endpoint
			for range connections {
				endpoints = append(endpoints, newEndpoint(t, endpointSetup{
					role: client, config: Config{PingInterval: -1, MaxMessageSize: -1}, loop: reading.loop,
				}))
			}
			synctest.Wait()
			got := allocated(func() {
				for _, e := range endpoints {
					e.recv([]byte{0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0})
				}
				synctest.Wait()
			})
			if got > connections*perConnection {
				t.Errorf("%s: %d bytes were allocated for each announcement, want at most %d", reading.name, got/connections, perConnection)
			}
			for _, e := range endpoints {
				e.abandon()
			}
		})
	}
}

// TestTinyFragments sends a message of 32 KiB in fragments of one byte: it
// takes no more memory than twice its size, a growing buffer's worth.
func TestTinyFragments(t *testing.T) {
	covers(t, "G06", "Q.D04", "Q.D05")
	const size = 32 << 10
	input := append([]byte{0x02, 1, 'x'}, bytes.Repeat([]byte{0x00, 1, 'x'}, size-2)...)
	input = append(input, 0x80, 1, 'x')
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1, MaxFragments: -1}})
		got := allocated(func() {
			e.recv(input)
			synctest.Wait()
		})
		messages, _ := e.seen()
		if len(messages) != 1 || messages[0].payload != strings.Repeat("x", size) {
			t.Fatalf("delivered\n%s", describe(messages))
		}
		// The network in memory and the record of the message take their
		// share.
		if limit := uint64(len(input)*4 + size*8); got > limit {
			t.Errorf("%d bytes were allocated for a message of %d, want at most %d", got, size, limit)
		}
		e.abandon()
	})
}

// TestSlowApplication lets the peer send while nobody reads: what is not read
// stays in the network.
func TestSlowApplication(t *testing.T) {
	covers(t, "Q.D11", "Q.H06")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: 10 * time.Second}, loop: noLoop})
		e.ours.SetWindow(1 << 30)
		frame := append([]byte{0x82, 126, 0x04, 0x00}, make([]byte, 1024)...)
		const frames = 1024
		for range frames {
			e.recv(frame)
		}
		<-time.After(time.Minute)
		if taken := frames*len(frame) - e.ours.Unread(); taken > 64<<10 {
			t.Errorf("%d bytes were taken with nobody reading", taken)
		}
		for range frames {
			if _, p, err := e.conn.Read(context.Background()); err != nil || len(p) != 1024 {
				t.Fatalf("Read: %d bytes, %v", len(p), err)
			}
		}
		e.abandon()
	})
}

// TestMessageThatTricklesIn proves that a connection is not idle while bytes of a
// message come, and is once they stop.
func TestMessageThatTricklesIn(t *testing.T) {
	covers(t, "R11", "Q.D06", "V12")
	for _, reading := range readLoops {
		t.Run(reading.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { trickleIn(t, reading.loop) })
		})
	}
}

// trickleIn is one case of TestMessageThatTricklesIn.
func trickleIn(t *testing.T, loop readLoop) {
	e := newEndpoint(t, endpointSetup{role: client, config: Config{IdleTimeout: time.Minute, PingInterval: -1}, loop: loop})
	start := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		e.recv([]byte{0x82, 126, 0xff, 0xff})
		for range 30 {
			<-time.After(10 * time.Second)
			e.recv([]byte("x"))
		}
		<-e.conn.Context().Done()
		e.peer.CloseWrite()
	})
	<-e.readEnded
	if waited := time.Since(start); waited < 6*time.Minute || waited > 6*time.Minute+10*time.Second {
		t.Errorf("the end came after %v, want six minutes and a little", waited)
	}
	wg.Wait()
	if end := e.finish(); end.Code != ClosePolicyViolation || end.Received {
		t.Errorf("the end is %v, want 1008 from our side", end)
	}
}

// TestEndlessInputAfterTheEnd goes on sending behind a Close and behind a
// fault: our Close arrives, and the connection is closed after a bounded
// amount, or time.
func TestEndlessInputAfterTheEnd(t *testing.T) {
	covers(t, "X06", "X08", "X09", "X16", "X22", "Q.F03", "Q.F14")
	const bound = 16 << 20
	for _, last := range [][]byte{{0x88, 0x02, 0x03, 0xe8}, {0x83, 0x00}} {
		for i, pause := range []time.Duration{0, time.Second, 0, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				loop := []readLoop{loopRead, loopReceiver}[i/2]
				e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1, CloseTimeout: 5 * time.Second}, loop: loop})
				start := time.Now()
				e.recv(last)
				total := sendForEver(e, pause, bound)
				e.finish()
				if total >= bound {
					t.Errorf("%d bytes behind the end were taken", total)
				}
				if waited := time.Since(start); waited > 6*time.Second {
					t.Errorf("the connection was kept for %v", waited)
				}
				if frames, _, err := modelFrames(client, e.sent); err != nil || len(frames) != 1 || frames[0].opcode != 8 {
					t.Errorf("% x arrived (%v), want a Close", e.sent, err)
				}
			})
		}
	}
}

// sendForEver lets the peer send junk until that fails, or more than the bound
// was taken, and returns how much was.
func sendForEver(e *endpoint, pause time.Duration, bound int) (total int) {
	junk := bytes.Repeat([]byte{0xff}, 32<<10)
	for total < bound {
		n, err := e.peer.Write(junk)
		total += n
		if err != nil {
			break
		}
		synctest.Wait()
		if pause > 0 {
			<-time.After(pause)
		}
	}
	return total
}

// TestReaderLeftInTheMiddle reads a part of a message and goes on to the
// next: the rest is skipped, and checked all the same.
func TestReaderLeftInTheMiddle(t *testing.T) {
	covers(t, "G06", "T01", "Q.H05")
	for _, bad := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}, loop: noLoop})
			rest := "lo"
			if bad {
				rest = "\xff\xff"
			}
			e.recv([]byte("\x01\x03Hel\x00\x02" + rest + "\x80\x01!\x81\x04next"))
			_, r, err := e.conn.Reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			_, p, err := e.conn.Read(context.Background())
			switch {
			case bad && !errors.Is(err, CloseInvalidPayload):
				t.Errorf("Read behind bad text: %q, %v; want 1007", p, err)
			case !bad && (string(p) != "next" || err != nil):
				t.Errorf("Read: %q, %v", p, err)
			}
			if n, err := r.Read(make([]byte, 10)); n > 0 || err == nil || err == io.EOF {
				t.Errorf("the reader that was left behind gives %d bytes and %v", n, err)
			}
			e.peer.CloseWrite()
			e.abandon()
		})
	}
}

// TestConcurrentReaders lets many goroutines read at once: each message goes
// to one of them, whole.
func TestConcurrentReaders(t *testing.T) {
	covers(t, "Q.H02")
	synctest.Test(t, func(t *testing.T) {
		const messages = 1000
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}, loop: noLoop})
		var mu sync.Mutex
		var got []int
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				loopRead(e.conn, func(_ MessageType, p []byte) {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, int(p[0])<<8+int(p[1]))
				})
			})
		}
		for i := range messages {
			e.recv([]byte{0x82, 2, byte(i >> 8), byte(i)})
		}
		synctest.Wait()
		e.conn.CloseNow()
		wg.Wait()
		slices.Sort(got)
		for i := range messages {
			if i >= len(got) || got[i] != i {
				t.Fatalf("%d messages came, and number %d is not among them once", len(got), i)
			}
		}
		e.abandon()
	})
}

// TestWriterAfterItsEnd uses a message writer after it was closed, and the
// connection while one is open.
func TestWriterAfterItsEnd(t *testing.T) {
	covers(t, "Q.H03", "Q.H04")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1, CloseTimeout: time.Second}})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w, err := e.conn.Writer(context.Background(), Text)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("Hello"))
		if err := e.conn.Write(ctx, Text, []byte("inside")); err != context.DeadlineExceeded {
			t.Errorf("Write inside a streamed message: %v, want that its context ended", err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := w.Write([]byte("late")); err == nil {
			t.Error("a write to a closed message succeeds")
		}
		w.Close()
		if err := e.conn.Write(context.Background(), Text, []byte("next")); err != nil {
			t.Errorf("Write after the message: %v", err)
		}
		_, sent := e.seen()
		frames, rest, err := modelFrames(server, sent)
		if text := payloads(frames); err != nil || len(rest) > 0 || text != "Hello next" && text != "Hello  next" {
			t.Errorf("sent %q, % x behind it, %v", text, rest, err)
		}
		e.abandon()
	})
}

// payloads returns the payloads of the frames, with spaces between.
func payloads(frames []modelFrame) string {
	var all []string
	for _, frame := range frames {
		all = append(all, string(frame.payload))
	}
	return strings.Join(all, " ")
}

// TestWriterAbandoned leaves a streamed message unfinished: closing still
// works, in time.
func TestWriterAbandoned(t *testing.T) {
	covers(t, "X05", "X22", "Q.H04")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1, CloseTimeout: 5 * time.Second}})
		w, err := e.conn.Writer(context.Background(), Text)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("Hello"))
		w.Flush()
		start := time.Now()
		e.conn.Close(CloseNormal, "")
		if waited := time.Since(start); waited > 5*time.Second {
			t.Errorf("Close took %v", waited)
		}
		e.finish()
		if _, _, err := modelFrames(server, e.sent); err != nil {
			t.Errorf("% x was sent: %v", e.sent, err)
		}
	})
}

// A countingContext never ends and counts who waits for it.
type countingContext struct {
	context.Context
	done          chan struct{}
	mu            sync.Mutex
	current, most int
}

// Done returns a channel that is never closed.
func (c *countingContext) Done() <-chan struct{} { return c.done }

// AfterFunc is what package context calls to wait for a context that is not
// its own.
func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.add(1)
	var once sync.Once
	return func() bool {
		once.Do(func() { c.add(-1) })
		return true
	}
}

// add counts n more registrations.
func (c *countingContext) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current += n
	c.most = max(c.most, c.current)
}

// TestOneContextForManyCalls proves that a context passed to many calls has at
// most one registration for each direction, and none after the end.
func TestOneContextForManyCalls(t *testing.T) {
	covers(t, "Q.I04", "Q.I06")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}, loop: noLoop})
		ctx := &countingContext{Context: context.Background(), done: make(chan struct{})}
		for range 1000 {
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, _, err := e.conn.Read(ctx); err != nil {
					t.Errorf("Read: %v", err)
				}
			})
			synctest.Wait()
			e.recv([]byte("\x81\x02hi"))
			if err := e.conn.Write(ctx, Text, []byte("hi")); err != nil {
				t.Errorf("Write: %v", err)
			}
			wg.Wait()
		}
		e.abandon()
		if ctx.current != 0 || ctx.most > 2 {
			t.Errorf("the context had up to %d registrations and has %d", ctx.most, ctx.current)
		}
	})
}

// TestLogOfAFailure proves that at most one line is logged of a connection,
// without payload, and that an error quotes the peer's reason.
func TestLogOfAFailure(t *testing.T) {
	covers(t, "X15", "X21", "Q.D14", "Q.F02", "Q.J06")
	inputs := map[string]string{
		"a fault":            "\x81\x06secret\x83\x00",
		"the network's end":  "\x81\x06secret\x01\x06secret",
		"a Close with lines": "\x81\x06secret\x88\x0e\x03\xebline\r\nline\x1b[2J"[:10+14],
	}
	for name, input := range inputs {
		logOfAFailure(t, name, input, loopRead)
		logOfAFailure(t, name, input, loopReceiver)
	}
}

// logOfAFailure is one case of TestLogOfAFailure.
func logOfAFailure(t *testing.T, name, input string, loop readLoop) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		config := Config{PingInterval: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		e := newEndpoint(t, endpointSetup{role: client, config: config, loop: loop})
		e.recv([]byte(input))
		synctest.Wait()
		e.peer.CloseWrite()
		end := e.finish()
		if strings.Contains(log.String(), "secret") || strings.Count(log.String(), "\n") > 1 {
			t.Errorf("%s: logged %q, want one line without payload", name, log.String())
		}
		if strings.ContainsAny(end.Error(), "\r\n\x1b") {
			t.Errorf("%s: the error %q shows control characters", name, end.Error())
		}
	})
}
