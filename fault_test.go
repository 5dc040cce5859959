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
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A script is a whole life of a connection: messages both ways, a Ping, a
// streamed message, and a closing handshake begun by us. Whatever fails in it,
// every call returns.
type script struct{ *endpoint }

// run goes through the script. Errors of the calls are those of the end.
func (s script) run() {
	ctx := context.Background()
	s.peerSays(0x81, "Hello")
	s.conn.Write(ctx, Text, []byte("Hello"))
	s.peerSays(0x89, "ping")
	s.peerSays(0x02, "frag")
	s.stream(ctx)
	s.peerSays(0x80, "ment")
	s.conn.Write(ctx, Binary, bytes.Repeat([]byte("x"), 300))
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.conn.Close(CloseNormal, "bye")
	}()
	synctest.Wait()
	s.peerSays(0x88, "\x03\xe8")
	s.peer.CloseWrite()
	<-closed
}

// stream writes a message in two fragments.
func (s script) stream(ctx context.Context) {
	w, err := s.conn.Writer(ctx, Text)
	if err != nil {
		return
	}
	w.Write([]byte("strea"))
	w.Flush()
	w.Write([]byte("med"))
	w.Close()
}

// scriptMessages is what the application gets in the script.
var scriptMessages = []modelEvent{
	{modelMessage, Text, "Hello"},
	{modelMessage, Binary, "fragment"},
}

// runScript runs the script with an application that reads by loop and the
// connection below wrapped, and checks what must be true of every run.
func runScript(t *testing.T, r role, loop readLoop, wrap func(net.Conn) net.Conn) (s script, end *CloseError) {
	t.Helper()
	s = script{newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}, wrap: wrap, loop: loop})}
	s.run()
	end = s.finish()
	if n := len(s.messages); n > len(scriptMessages) || !slices.Equal(s.messages, scriptMessages[:n]) {
		t.Errorf("delivered\n%s\nwant the first of\n%s", describe(s.messages), describe(scriptMessages))
	}
	if _, _, err := modelFrames(r, s.sent); err != nil {
		t.Errorf("% x was sent: %v", s.sent, err)
	}
	s.peer.Close()
	return s, end
}

// TestEveryCallFails fails the n-th call to the connection below, for every n
// until none is left to fail.
func TestEveryCallFails(t *testing.T) {
	covers(t, "X13", "X18", "R11", "Q.F12", "Q.G07", "Q.G09", "Q.I01")
	faults := []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE, os.ErrDeadlineExceeded, net.ErrClosed, io.ErrUnexpectedEOF, errFault}
	for _, r := range roles {
		for _, fault := range faults {
			for name, loop := range map[string]readLoop{"Read": readOn, "Receiver": loopReceiver} {
				t.Run(fmt.Sprint(r, " ", fault, ", ", name), func(t *testing.T) {
					for n, fired := 0, true; fired; n++ {
						synctest.Test(t, func(t *testing.T) { fired = failCall(t, r, n, fault, loop) })
						if t.Failed() {
							t.Fatalf("with call %d failing", n)
						}
					}
				})
			}
		}
	}
}

// failCall runs the script with the n-th call failing and reports whether
// there was one.
func failCall(t *testing.T, r role, n int, fault error, loop readLoop) (fired bool) {
	var failing *faultnet.ErrConn
	_, end := runScript(t, r, loop, func(nc net.Conn) net.Conn {
		failing = faultnet.ErrAt(nc, n, fault)
		return failing
	})
	if failing.UsedAfterFailure() {
		t.Error("a half was used again after it had failed")
	}
	if end.Code != CloseNormal && end.Code != CloseAbnormal {
		t.Errorf("the end is %v, want 1000 or 1006", end)
	}
	unexpected := fault == io.EOF && errors.Is(end, io.ErrUnexpectedEOF)
	if end.Code == CloseAbnormal && !errors.Is(end, fault) && !unexpected {
		t.Errorf("the end is %v, which does not wrap %v", end, fault)
	}
	if !failing.Fired() && end.Code != CloseNormal {
		t.Errorf("nothing failed, but the end is %v", end)
	}
	return failing.Fired()
}

// TestEveryShortWrite stops one write at every byte of what is sent: nothing
// may follow it, neither the rest nor another frame.
func TestEveryShortWrite(t *testing.T) {
	covers(t, "Q.F12", "Q.G01", "Q.G02")
	for _, r := range roles {
		var total int
		synctest.Test(t, func(t *testing.T) {
			s, end := runScript(t, r, readOn, nil)
			if end.Code != CloseNormal || !slices.Equal(s.messages, scriptMessages) {
				t.Fatalf("without a fault the end is %v, and %d messages came", end, len(s.messages))
			}
			total = len(s.sent)
		})
		for n := range total {
			for _, fault := range []error{nil, syscall.EPIPE} {
				synctest.Test(t, func(t *testing.T) { shortWrite(t, r, n, fault) })
				if t.Failed() {
					t.Fatalf("%s, with a write stopped at byte %d with %v", r, n, fault)
				}
			}
		}
	}
}

// shortWrite is one case of TestEveryShortWrite.
func shortWrite(t *testing.T, r role, n int, fault error) {
	s, end := runScript(t, r, readOn, func(nc net.Conn) net.Conn { return faultnet.ShortWrite(nc, n, fault) })
	if len(s.sent) != n {
		t.Errorf("%d bytes were sent, want %d", len(s.sent), n)
	}
	if fault == nil {
		fault = io.ErrShortWrite
	}
	if !errors.Is(end, fault) {
		t.Errorf("the end is %v, which does not wrap %v", end, fault)
	}
}

// TestWriteThatMiscounts proves that a net.Conn that reports an impossible
// number of bytes ends the connection.
func TestWriteThatMiscounts(t *testing.T) {
	covers(t, "Q.G02")
	for _, r := range roles {
		for _, wrong := range []int{-1, +1, 1 << 30} {
			synctest.Test(t, func(t *testing.T) {
				_, end := runScript(t, r, loopReceiver, func(nc net.Conn) net.Conn {
					return faultnet.OnWrite(nc, func(p []byte) (int, error) {
						if wrong < 0 {
							return wrong, nil
						}
						return len(p) + wrong, nil
					})
				})
				if end.Code != CloseAbnormal || end.Err == nil {
					t.Errorf("the end is %v, want 1006 and a cause", end)
				}
			})
		}
	}
}

// peerInputs calls f with what the peer sends in each short conversation in
// which only the peer acts.
func peerInputs(t *testing.T, f func(t *testing.T, c conversation, r role, input []byte)) {
	t.Helper()
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		acts := func(s step) bool { return s.verb != "recv" && s.verb != "eof" && !slices.Contains(effects, s.verb) }
		input := c.input()
		if slices.ContainsFunc(c.steps, acts) || len(input) > 150 {
			return
		}
		f(t, c, r, input)
	})
}

// exchange gives input to an endpoint, then the end of the connection, and
// compares everything with the model.
func exchange(t *testing.T, c conversation, setup endpointSetup, input []byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		setup.config = c.config
		e := newEndpoint(t, setup)
		m := c.model(setup.role)
		m.feed(input)
		e.recv(input)
		synctest.Wait()
		e.peer.CloseWrite()
		e.checkEnd(m)
		e.checkAnswers(m)
	})
}

// TestErrorWithData ends each conversation at each byte with an error that
// comes together with the last bytes: the bytes count.
func TestErrorWithData(t *testing.T) {
	covers(t, "G10", "Q.C09", "Q.G10")
	peerInputs(t, func(t *testing.T, c conversation, r role, input []byte) {
		for i := range len(input) + 1 {
			for _, end := range []error{io.EOF, syscall.ECONNRESET} {
				synctest.Test(t, func(t *testing.T) {
					e := newEndpoint(t, endpointSetup{role: r, config: c.config, wrap: func(nc net.Conn) net.Conn {
						return faultnet.EndWithData(nc, i, end)
					}})
					m := c.model(r)
					m.feed(input[:i])
					e.recv(input[:i])
					e.checkEnd(m)
				})
			}
			if t.Failed() {
				t.Fatalf("ended after byte %d", i)
			}
		}
	})
}

// TestEmptyReads lets the connection return nothing a few times at each byte:
// that changes nothing.
func TestEmptyReads(t *testing.T) {
	covers(t, "Q.G10")
	peerInputs(t, func(t *testing.T, c conversation, r role, input []byte) {
		for i := range len(input) + 1 {
			exchange(t, c, endpointSetup{role: r, wrap: func(nc net.Conn) net.Conn {
				return faultnet.EmptyReads(nc, i, 3)
			}}, input)
			if t.Failed() {
				t.Fatalf("empty reads after byte %d", i)
			}
		}
	})
}

// TestEmptyReadsForEver proves that a net.Conn that returns nothing again and
// again ends the connection with io.ErrNoProgress.
func TestEmptyReadsForEver(t *testing.T) {
	covers(t, "Q.G10")
	for _, at := range []int{0, 1, 2, 6, 8} {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1}, wrap: func(nc net.Conn) net.Conn {
				return faultnet.EmptyReads(nc, at, -1)
			}})
			e.peerSays(0x81, "Hello")
			if end := e.finish(); !errors.Is(end, io.ErrNoProgress) || end.Code != CloseAbnormal {
				t.Errorf("the end is %v, want 1006 and io.ErrNoProgress", end)
			}
		})
	}
}

// TestSplitReads cuts each conversation in two reads at each byte.
func TestSplitReads(t *testing.T) {
	covers(t, "F13", "G06")
	peerInputs(t, func(t *testing.T, c conversation, r role, input []byte) {
		for i := range len(input) {
			exchange(t, c, endpointSetup{role: r, wrap: func(nc net.Conn) net.Conn {
				return faultnet.SplitAt(nc, i)
			}}, input)
			if t.Failed() {
				t.Fatalf("split after byte %d", i)
			}
		}
	})
}

// TestMutatedBytes changes each byte of each conversation.
func TestMutatedBytes(t *testing.T) {
	covers(t, "E07", "Q.C13", "Q.C14", "Q.D15")
	tried := map[string]bool{}
	peerInputs(t, func(t *testing.T, c conversation, r role, input []byte) {
		for i, was := range input {
			for _, b := range mutations(was, i) {
				mutated := slices.Clone(input)
				mutated[i] = b
				key := r.String() + string(mutated)
				if tried[key] {
					continue
				}
				tried[key] = true
				exchange(t, c, endpointSetup{role: r}, mutated)
				if t.Failed() {
					t.Fatalf("with byte %d changed from %02x to %02x", i, was, b)
				}
			}
		}
	})
}

// mutations returns other values for the byte was at offset i. Over all
// offsets every bit is flipped.
func mutations(was byte, i int) []byte {
	values := []byte{was ^ 1<<(i%8), ^was, 0xff * byte(i%2)}
	return slices.DeleteFunc(values, func(b byte) bool { return b == was })
}

// stalled returns an endpoint whose peer has stopped reading.
func stalled(t *testing.T, config Config) *endpoint {
	config.PingInterval = -1
	e := newEndpoint(t, endpointSetup{role: server, config: config})
	e.peer.SetWindow(0)
	return e
}

// TestPeerStopsReading proves that a Write to a peer that takes nothing ends the
// connection after WriteTimeout.
func TestPeerStopsReading(t *testing.T) {
	covers(t, "Q.G05", "Q.G04")
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{WriteTimeout: 10 * time.Second})
		start := time.Now()
		err := e.conn.Write(t.Context(), Binary, make([]byte, 1<<20))
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("Write returned after %v, want 10s", waited)
		}
		end := e.finish()
		if err != error(end) || end.Code != CloseAbnormal || !errors.Is(end, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v, the end is %v; want 1006 and a deadline exceeded", err, end)
		}
	})
}

// TestCloseWhileWriteIsStuck closes a connection whose peer takes nothing.
func TestCloseWhileWriteIsStuck(t *testing.T) {
	covers(t, "X22", "X23", "Q.F11", "Q.G05")
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{CloseTimeout: time.Second, WriteTimeout: time.Hour})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := e.conn.Write(context.Background(), Binary, make([]byte, 1<<20)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the stuck Write: %v", err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if err := e.conn.Close(CloseNormal, ""); !errors.Is(err, CloseAbnormal) {
			t.Errorf("Close: %v, want 1006", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("Close returned after %v, want 1s", waited)
		}
		wg.Wait()
		e.finish()
		if _, _, err := modelFrames(server, e.sent); err != nil {
			t.Errorf("% x was sent: %v", e.sent, err)
		}
	})
}

// TestCloseNowWhileWriteIsStuck proves that CloseNow ends a stuck Write at once.
func TestCloseNowWhileWriteIsStuck(t *testing.T) {
	covers(t, "X23", "Q.F10")
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{WriteTimeout: time.Hour})
		var wg sync.WaitGroup
		wg.Go(func() { e.conn.Write(context.Background(), Binary, make([]byte, 1<<20)) })
		synctest.Wait()
		start := time.Now()
		e.conn.CloseNow()
		wg.Wait()
		e.finish()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the end took %v", waited)
		}
	})
}

// TestPingsFromPeerThatNeverReads floods an endpoint whose Pongs cannot leave:
// it goes on reading, and answers the last Ping once they can.
func TestPingsFromPeerThatNeverReads(t *testing.T) {
	covers(t, "O05", "Q.D07", "Q.D09", "Q.H06")
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{WriteTimeout: time.Hour})
		for i := range 10000 {
			e.recv([]byte{0x89, 0x84, 0, 0, 0, 0, 'p', byte(i >> 16), byte(i >> 8), byte(i)})
		}
		e.peerSays(0x81, "Hello")
		messages, _ := e.seen()
		if !slices.Equal(messages, scriptMessages[:1]) {
			t.Errorf("delivered\n%s\nwant one message", describe(messages))
		}
		e.peer.SetWindow(1 << 20)
		_, sent := e.seen()
		frames, rest, err := modelFrames(server, sent)
		if err != nil || len(rest) > 0 || len(frames) == 0 {
			t.Fatalf("%d frames and % x were sent, %v", len(frames), rest, err)
		}
		if last := frames[len(frames)-1]; last.opcode != 10 || !bytes.Equal(last.payload, []byte{'p', 0, 9999 >> 8, 9999 & 0xff}) {
			t.Errorf("the last frame sent is %+v, want the Pong of the last Ping", last)
		}
		if len(sent) > 8<<10 {
			t.Errorf("%d bytes of Pongs were kept while none could leave", len(sent))
		}
		e.abandon()
	})
}

// TestWriteWithdrawn ends the context of a write that waits behind a stuck
// one: nothing of it is sent and the connection lives.
func TestWriteWithdrawn(t *testing.T) {
	covers(t, "Q.G03", "G08")
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{WriteTimeout: time.Hour})
		var wg sync.WaitGroup
		first := bytes.Repeat([]byte("1"), 1<<20)
		wg.Go(func() {
			if err := e.conn.Write(context.Background(), Binary, first); err != nil {
				t.Errorf("the write that was stuck: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := e.conn.Write(ctx, Binary, []byte("withdrawn")); err != context.DeadlineExceeded {
			t.Errorf("the write that waited: %v", err)
		}
		e.peer.SetWindow(1 << 20)
		wg.Wait()
		if err := e.conn.Write(context.Background(), Binary, []byte("next")); err != nil {
			t.Errorf("the write after that: %v", err)
		}
		_, sent := e.seen()
		frames, _, err := modelFrames(server, sent)
		if err != nil || len(frames) != 2 || !bytes.Equal(frames[0].payload, first) || string(frames[1].payload) != "next" {
			t.Errorf("%d frames were sent (%v), want the first write and the next", len(frames), err)
		}
		e.abandon()
	})
}

// TestCloseFromEverywhere closes from many goroutines while others read and
// write: one Close frame goes out and all calls return.
func TestCloseFromEverywhere(t *testing.T) {
	covers(t, "X07", "Q.F10", "Q.H01")
	for _, r := range roles {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}})
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					e.conn.Write(context.Background(), Text, []byte("Hello"))
					if err := e.conn.Close(CloseNormal, ""); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
			}
			synctest.Wait()
			e.peerSays(0x88, "\x03\xe8")
			e.peer.CloseWrite()
			wg.Wait()
			e.finish()
			frames, rest, err := modelFrames(r, e.sent)
			_, closes := answersIn(frames)
			if err != nil || len(rest) > 0 || !slices.Equal(closes, []string{"1000"}) || frames[len(frames)-1].opcode != 8 {
				t.Errorf("Closes %q in %d frames, % x behind them, %v; want one at the end", closes, len(frames), rest, err)
			}
		})
	}
}

// TestConcurrentStreams lets many goroutines stream messages at once: the
// frames of two never mix.
func TestConcurrentStreams(t *testing.T) {
	covers(t, "G07", "G08", "Q.H01", "Q.H03")
	for _, r := range roles {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}})
			var wg sync.WaitGroup
			for i := range 64 {
				letter := bytes.Repeat([]byte{'0' + byte(i)}, 50)
				wg.Go(func() {
					w, err := e.conn.Writer(context.Background(), Binary)
					if err != nil {
						t.Errorf("Writer: %v", err)
						return
					}
					for range 3 {
						w.Write(letter)
						w.Flush()
					}
					if err := w.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
				wg.Go(func() { e.conn.Write(context.Background(), Binary, letter) })
			}
			wg.Wait()
			_, sent := e.seen()
			checkStreams(t, r, sent)
			e.abandon()
		})
	}
}

// checkStreams checks that each message in what was sent is of one letter: 64
// messages of one frame and 64 of several.
func checkStreams(t *testing.T, r role, sent []byte) {
	t.Helper()
	frames, rest, err := modelFrames(r, sent)
	if err != nil || len(rest) > 0 {
		t.Fatalf("% x was sent, % x is left, %v", sent, rest, err)
	}
	lengths := map[int]int{}
	var message []byte
	for _, frame := range frames {
		message = append(message, frame.payload...)
		if !frame.fin {
			continue
		}
		if len(bytes.Trim(message, string(message[:1]))) > 0 {
			t.Errorf("two messages are mixed: %q", message)
		}
		lengths[len(message)]++
		message = nil
	}
	if lengths[50] != 64 || lengths[150] != 64 {
		t.Errorf("messages by length: %v, want 64 of 50 and 64 of 150", lengths)
	}
}

// TestReadingOnAfterTheEnd proves that every Read after the end returns the same
// error.
func TestReadingOnAfterTheEnd(t *testing.T) {
	covers(t, "Q.F13")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1}})
		e.peer.CloseWrite()
		end := e.finish()
		for range 100000 {
			if _, _, err := e.conn.Read(context.Background()); err != error(end) {
				t.Fatalf("Read: %v, want %v", err, end)
			}
		}
	})
}

// TestSimultaneousClose joins a client to a server, both of which close at
// once: each reports what the other said.
func TestSimultaneousClose(t *testing.T) {
	covers(t, "X07", "X10", "Q.F06")
	synctest.Test(t, func(t *testing.T) {
		a, b := faultnet.Pipe()
		config := &Config{PingInterval: -1}
		c := newConn(a, client, config.withDefaults(), agreement{}, nil)
		s := newConn(b, server, config.withDefaults(), agreement{}, nil)
		notReading(t, c, s)
		var wg sync.WaitGroup
		closing := func(conn *Conn, code CloseCode) {
			if err := conn.Close(code, ""); err != nil {
				t.Errorf("Close with %v: %v", code, err)
			}
		}
		wg.Go(func() { closing(c, 3001) })
		wg.Go(func() { closing(s, 3002) })
		wg.Wait()
		if err := context.Cause(c.Context()); !errors.Is(err, CloseCode(3002)) {
			t.Errorf("the client ends with %v", err)
		}
		if err := context.Cause(s.Context()); !errors.Is(err, CloseCode(3001)) {
			t.Errorf("the server ends with %v", err)
		}
		if a.CloseCalls() != 1 || b.CloseCalls() != 1 {
			t.Errorf("the connections below were closed %d and %d times", a.CloseCalls(), b.CloseCalls())
		}
	})
}

// TestSimultaneousCloseWithFullWindows closes both ends while both wait to
// write what nobody reads, with more in the queue: each must read on to let the
// other's data through.
func TestSimultaneousCloseWithFullWindows(t *testing.T) {
	covers(t, "X07", "X10", "Q.F06")
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		config := &Config{PingInterval: -1}
		c := newConn(a, client, config.withDefaults(), agreement{}, nil)
		s := newConn(b, server, config.withDefaults(), agreement{}, nil)
		var calls sync.WaitGroup
		for _, conn := range []*Conn{c, s} {
			calls.Go(func() {
				if err := conn.Write(context.Background(), Binary, make([]byte, 1<<20)); err != nil {
					t.Errorf("Write: %v", err)
				}
			})
			for range 10 {
				if err := conn.Send(Binary, make([]byte, 10<<10)); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
		}
		synctest.Wait()
		start := time.Now()
		for _, conn := range []*Conn{c, s} {
			calls.Go(func() {
				if err := conn.Close(CloseNormal, ""); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		calls.Wait()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("it took %v", waited)
		}
		for _, conn := range []*Conn{c, s} {
			if n := conn.Stats().MessagesOut; n != 11 {
				t.Errorf("%d messages left, want 11", n)
			}
		}
	})
}

// TestClientWaitsForServer leaves the end of the TCP connection to the server,
// for as long as CloseTimeout.
func TestClientWaitsForServer(t *testing.T) {
	covers(t, "X06", "X10")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1, CloseTimeout: 5 * time.Second}})
		start := time.Now()
		e.peerSays(0x88, "\x03\xe8")
		select {
		case <-e.sentEnded:
			t.Error("the client ends the TCP connection first")
		default:
		}
		<-e.sentEnded
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("the client waited %v, want 5s", waited)
		}
		e.finish()
	})
}

// TestServerEndsFirst lets the server end the TCP connection as soon as the
// closing handshake is over.
func TestServerEndsFirst(t *testing.T) {
	covers(t, "X06", "X10")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1}})
		e.peerSays(0x88, "\x03\xe8")
		select {
		case <-e.sentEnded:
		default:
			t.Error("the server waits for the client")
		}
		if e.peer.CloseWrite(); e.finish().Code != CloseNormal {
			t.Errorf("the end is %v", e.err)
		}
	})
}
