package websocket

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/fullduplex-go/websocket/internal/flate"
	"github.com/stretchr/testify/require"
)

// TestSizeOfConn proves that a connection takes no more memory than
// docs/design.md says.
func TestSizeOfConn(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the figures are for 64 bits")
	}
	var c Conn
	require.LessOrEqual(t, unsafe.Sizeof(c), uintptr(288), "Conn")
	require.LessOrEqual(t, unsafe.Sizeof(c.read)+unsafe.Sizeof(c.in), uintptr(80), "what it keeps for reading")
	require.LessOrEqual(t, unsafe.Sizeof(delivery{}), uintptr(96), "delivery")
}

// restingReader has a reader or the background reader wait for input, asks it
// for the lock and returns what it left of the state of reading.
func restingReader(t *testing.T, c *Conn, waits func() bool) *readState {
	t.Helper()
	for !waits() {
		runtime.Gosched()
	}
	require.NoError(t, c.lockReading(t.Context()))
	defer c.unlockReading(nil)
	return c.in
}

// TestWaitingReaderHasNoState proves that a reader that waits between messages
// has given everything back, on a socket and on any other net.Conn, before and
// after a message of each kind, and after a Ping.
func TestWaitingReaderHasNoState(t *testing.T) {
	inputs := map[string][]byte{
		"nothing":    nil,
		"a message":  clientFrame(0x81, "small"),
		"a long one": clientFrame(0x82, string(ramp(20000))),
		"fragments":  append(clientFrame(0x01, strings.Repeat("é", 5000)), clientFrame(0x80, "end")...),
		"a Ping":     clientFrame(0x89, "ping"),
	}
	for name, input := range inputs {
		t.Run("socket, "+name, func(t *testing.T) {
			peer, nc := tcpPair(t)
			c := newConn(nc, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
			defer c.CloseNow()
			go io.Copy(io.Discard, peer)
			peer.Write(input)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				for _, err := range c.Messages(ctx) {
					if err != nil {
						ended <- err
					}
				}
			}()
			for c.read.intake.received.Load() < uint64(len(input)) || c.read.intake.waitingSince.Load() == 0 {
				runtime.Gosched()
			}
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
			reads := func() bool {
				return c.read.background.state.Load() == backgroundReadArmed && c.read.intake.waitingSince.Load() != 0
			}
			require.Nil(t, restingReader(t, c, reads))
		})
		t.Run("net.Conn, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := memPair(t, server, nil)
				go io.Copy(io.Discard, peer)
				go by(loopMessages)(c)
				peer.Write(input)
				synctest.Wait()
				require.Nil(t, c.in)
				peer.Write(append(clientFrame(0x82, "next"), 0x81)) // and a byte of one more
				synctest.Wait()
				require.NotNil(t, c.in)
				c.CloseNow()
				synctest.Wait()
				require.Nil(t, c.in)
			})
		})
	}
}

// TestLentMessageKeepsTheState proves that the state stays as long as a loop
// has a message, also while the background reader waits.
func TestLentMessageKeepsTheState(t *testing.T) {
	covers(t, "V08")
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, server, nil)
		for _, size := range []int{0, 10, 20000} {
			go peer.Write(clientFrame(0x82, string(ramp(size))))
			for m, err := range c.Messages(t.Context()) {
				require.NoError(t, err)
				time.Sleep(2 * backgroundReadDelay)
				synctest.Wait()
				require.NotNil(t, c.in)
				spoilBuffers()
				require.Equal(t, ramp(size), m.Data)
				break
			}
		}
		c.CloseNow()
	})
}

// spoilBuffers overwrites what lies in the pools.
func spoilBuffers() {
	for class := minBufferClass; class <= 16; class++ {
		var taken []*buffer
		for range 4 {
			b := acquireBuffer(1 << class)
			for i := range b.b[:cap(b.b)] {
				b.b[:cap(b.b)][i] = 0xee
			}
			taken = append(taken, b)
		}
		for _, b := range taken {
			b.free()
		}
	}
}

// TestStaleReaderOfAnotherState keeps a MessageReader while the state that its
// message was in is given back, serves another connection, and comes back: the
// reader never takes another message for its own.
func TestStaleReaderOfAnotherState(t *testing.T) {
	covers(t, "V08")
	synctest.Test(t, func(t *testing.T) {
		a, toA := memPair(t, server, nil)
		b, toB := memPair(t, server, nil)
		open := func(c *Conn, peer io.Writer, payload string) *MessageReader {
			go peer.Write(clientFrame(0x82, payload))
			_, r, err := c.Reader(t.Context())
			require.NoError(t, err)
			return r
		}
		var stale []MessageReader
		rest := func() {
			time.Sleep(2 * backgroundReadDelay)
			synctest.Wait()
			require.Nil(t, a.in)
			require.Nil(t, b.in)
			for _, r := range stale {
				requireStale(t, r)
			}
		}
		back := false
		for range 40 {
			stale = append(stale, *open(a, toA, "given up"))
			go toA.Write(clientFrame(0x82, "whole"))
			_, p, err := a.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, "whole", string(p))
			rest()
			for _, r := range []*MessageReader{open(b, toB, "of B"), open(a, toA, "of A")} {
				back = back || slices.ContainsFunc(stale, func(old MessageReader) bool { return old.state == r.state })
				for _, r := range stale {
					requireStale(t, r)
				}
				requireStale(t, MessageReader{c: r.c, ctx: r.ctx, state: new(readState), number: r.number})
				got, err := io.ReadAll(r)
				require.NoError(t, err)
				require.Contains(t, []string{"of A", "of B"}, string(got))
			}
			rest()
		}
		require.True(t, back, "no state came back")
		a.CloseNow()
		b.CloseNow()
	})
}

// requireStale checks that r, a copy of a reader, takes no message for its own.
func requireStale(t *testing.T, r MessageReader) {
	t.Helper()
	_, err := r.Read(make([]byte, 8))
	require.ErrorIs(t, err, errStaleReader)
}

// TestLoopsAcrossStates has two loops take turns, each with a state that the
// other never saw: what one of them has stays as it is while the other reads,
// and is only used again once it asks for more.
func TestLoopsAcrossStates(t *testing.T) {
	covers(t, "V08")
	for _, size := range []int{30, 20000} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := memPair(t, server, nil)
			var loops [2]borrower
			var lent, want [2][]byte
			for i := range byte(40) {
				turn := int(i) % 2
				if i%5 == 4 {
					interrupted(t, c, &loops[turn])
				}
				if i%7 == 6 {
					loops[turn] = nobody // a loop that begins
				}
				want[turn] = slices.Repeat([]byte{i}, size)
				go peer.Write(clientFrame(0x82, string(want[turn])))
				_, p, err := c.borrowMessage(t.Context(), &loops[turn])
				require.NoError(t, err)
				lent[turn] = p
				spoilBuffers()
				require.Equal(t, want, lent)
			}
			require.NotEqual(t, loops[0], loops[1])
			c.CloseNow()
		})
	}
}

// interrupted has a loop ask for a message until a deadline passes.
func interrupted(t *testing.T, c *Conn, loop *borrower) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
	_, _, err := c.borrowMessage(t.Context(), loop)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	synctest.Wait()
	require.Nil(t, c.in, "what was lent was returned, or left to the other")
}

// A pollingReader reads a connection on a raw socket without waiting, and keeps
// read.lock.
type pollingReader struct {
	t    *testing.T
	c    *Conn
	peer net.Conn
	loop borrower
	fed  int // bytes that the peer has sent

	reply func(data []byte) // to each message, or nil

	messages []modelEvent
	err      error // the end
}

// newPollingReader returns a pollingReader of a connection of the role, on which no
// background reader reads.
func newPollingReader(t *testing.T, r role, cfg Config) *pollingReader {
	t.Helper()
	peer, nc := tcpPair(t)
	c := newConn(nc, r, cfg.withDefaults(), agreedFor(r, cfg.Compression), nil)
	if !c.socket().isRaw() {
		t.Skip("sockets cannot be read without waiting here")
	}
	require.NoError(t, c.lockReading(t.Context()))
	t.Cleanup(func() {
		c.CloseNow()
		c.unlockReading(c.terminal())
	})
	return &pollingReader{t: t, c: c, peer: peer}
}

// poll reads messages until there is no more input.
func (p *pollingReader) poll() {
	for p.err == nil {
		if p.c.in != nil && p.c.in.msg.loan.to != nobody {
			p.c.endLoan(p.loop)
		}
		kind, data, err := p.c.readMessage(caller{ctx: context.Background(), polled: true}, placeLend, nil)
		switch err {
		case nil:
			p.c.lendTo(&p.loop)
			p.messages = append(p.messages, modelEvent{modelMessage, kind, string(data)})
			if p.reply != nil {
				p.reply(data)
			}
		case errNoInput:
			p.checkMemory()
			return
		case errEnding:
			p.err = p.c.awaitEnd(caller{ctx: context.Background()})
		default:
			p.err = err
		}
	}
}

// feed sends b and polls until all of it was read.
func (p *pollingReader) feed(b []byte) {
	p.peer.Write(b)
	p.fed += len(b)
	for p.err == nil && p.c.read.intake.received.Load() < uint64(p.fed) {
		p.poll()
		runtime.Gosched()
	}
}

// checkMemory checks that little is held for little input.
func (p *pollingReader) checkMemory() {
	in := p.c.in
	if in == nil {
		return
	}
	require.False(p.t, in.isIdle())
	for _, b := range []*buffer{in.buf, in.msg.partial} {
		if b == nil {
			continue
		}
		require.LessOrEqual(p.t, cap(b.b), max(2<<minBufferClass, sparse*len(b.b)), "a buffer for %d bytes", len(b.b))
	}
}

// TestPolledConversations plays the conversations in which only the peer acts,
// byte by byte, to a connection that is polled: it delivers, answers and ends
// as the model foresees.
func TestPolledConversations(t *testing.T) {
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		if slices.ContainsFunc(c.steps, func(s step) bool { return s.verb != "recv" && !slices.Contains(effects, s.verb) }) {
			return
		}
		m := c.model(r)
		p := newPollingReader(t, r, c.config)
		sent := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(p.peer)
			sent <- b
		}()
		input := c.input()
		m.feed(input)
		size := 1
		if len(input) > 4096 {
			size = 509
		}
		for piece := range slices.Chunk(input, size) {
			p.feed(piece)
		}
		p.peer.(*net.TCPConn).CloseWrite()
		for p.err == nil {
			p.poll()
		}
		p.check(m, <-sent)
	})
}

// check compares what the pollingReader has seen, and what the peer was sent, with the
// model.
func (p *pollingReader) check(m *model, sent []byte) {
	t := p.t
	t.Helper()
	var want []modelEvent
	for _, event := range m.events {
		if event.kind == modelMessage {
			want = append(want, event)
		}
	}
	require.Equal(t, want, p.messages)
	code, orFail := m.end()
	require.Contains(t, append(orFail, code), asCloseError(p.err).Code)
	frames, rest, err := modelFrames(m.role, sent)
	require.NoError(t, err)
	require.Empty(t, rest)
	pongs, closes := answersIn(frames)
	wantPongs, wantCloses := answersOf(m.events)
	require.True(t, isAnswer(pongs, wantPongs), "Pongs %q, want %q", pongs, wantPongs)
	if len(orFail) == 0 {
		require.Equal(t, wantCloses, closes)
	}
}

// TestPolledMessages proves that messages of all kinds are the same, however
// they are cut, and that a message of which little has come holds little.
func TestPolledMessages(t *testing.T) {
	compression := &Compression{Threshold: -1}
	for _, cut := range []int{1, 3, 700, 5000} {
		for _, compresses := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, compressed %v", cut, compresses), func(t *testing.T) {
				var cfg Config
				if cfg.PingInterval = -1; compresses {
					cfg.Compression = compression
				}
				p := newPollingReader(t, server, cfg)
				go io.Copy(io.Discard, p.peer)
				input, want := mixedInput(compresses)
				for piece := range slices.Chunk(input, cut) {
					p.feed(piece)
				}
				require.NoError(t, p.err)
				require.Equal(t, len(want), len(p.messages))
				for i, message := range p.messages {
					require.Equal(t, want[i], message.payload)
				}
				p.poll()
				require.Nil(t, p.c.in, "nothing is left")
			})
		}
	}
}

// mixedInput returns what a client sends, and the messages in it: of many
// sizes, in up to four fragments with Pings between them, with characters cut.
func mixedInput(compressed bool) (input []byte, messages []string) {
	theirs := flate.NewCompressor(15, 6, flate.Takeover)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 24 {
		text := sentence(random.IntN(200), i)
		if i%6 == 5 {
			text = strings.Repeat("全二重の通信は一本の線で。", 100*i)
		}
		messages = append(messages, text)
		payload, first := text, byte(opText)
		if compressed {
			payload, first = string(theirs.AppendLast(nil, []byte(text))), first|bitRSV1
		}
		for pieces := i % 4; pieces > 0; pieces-- {
			n := random.IntN(len(payload) + 1)
			input = append(input, clientFrame(first, payload[:n])...)
			input = append(input, clientFrame(0x89, "between")...)
			payload, first = payload[n:], byte(opContinuation)
		}
		input = append(input, clientFrame(bitFIN|first, payload)...)
	}
	return input, messages
}

// TestPolledReplies proves that replies which are held while more messages are
// here leave when there are none.
func TestPolledReplies(t *testing.T) {
	p := newPollingReader(t, server, Config{PingInterval: -1, HoldReplies: time.Hour})
	held := 0
	p.reply = func(data []byte) {
		if p.c.out.cork.on.Load() { // the last message has no reply, with which others would leave
			held++
			require.NoError(t, p.c.Write(t.Context(), Binary, data))
		}
	}
	p.feed(slices.Concat(clientFrame(0x82, "one"), clientFrame(0x82, "two"), clientFrame(0x82, "three")))
	require.Equal(t, 2, held)
	p.peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	for _, want := range []string{"one", "two"} {
		_, payload := readFrame(t, p.peer)
		require.Equal(t, want, string(payload))
	}
}

// TestPolledInterrupted proves that a deadline, the end of the context and a
// failure of the network have the same result as for a call that waits.
func TestPolledInterrupted(t *testing.T) {
	p := newPollingReader(t, server, Config{PingInterval: -1})
	read := func(ctx context.Context) ([]byte, error) {
		_, data, err := p.c.readMessage(caller{ctx: ctx, polled: true}, placeNew, nil)
		return data, err
	}
	frame := clientFrame(0x81, "goes on")
	p.feed(frame[:5])
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := read(canceled)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, p.c.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = read(t.Context())
	require.Equal(t, os.ErrDeadlineExceeded, err)
	require.NoError(t, p.c.SetReadDeadline(time.Time{}))
	p.peer.Write(frame[5:])
	var data []byte
	for err = errNoInput; err == errNoInput; data, err = read(t.Context()) {
	}
	require.NoError(t, err)
	require.Equal(t, "goes on", string(data))
	p.peer.Close()
	for err = errNoInput; err == errNoInput; _, err = read(t.Context()) {
	}
	require.ErrorIs(t, err, CloseAbnormal)
	require.Equal(t, p.c.terminal(), err)
}

// TestPolledLargeMessage proves that a message that is announced, after large
// ones, takes little until more of it has come.
func TestPolledLargeMessage(t *testing.T) {
	for _, compresses := range []bool{false, true} {
		cfg := Config{PingInterval: -1}
		first := byte(0x82)
		if compresses {
			cfg.Compression = &Compression{}
			first |= bitRSV1
		}
		p := newPollingReader(t, server, cfg)
		go io.Copy(io.Discard, p.peer)
		payload := string(noise(300<<10, 1))
		if compresses {
			alone := flate.NewCompressor(15, 1, flate.NoTakeover)
			payload = string(alone.AppendLast(nil, noise(300<<10, 1)))
		}
		whole := clientFrame(first, payload)
		p.feed(whole)
		p.feed(whole[:100])
		require.NotNil(t, p.c.in)
		held := 0
		for _, b := range []*buffer{p.c.in.buf, p.c.in.msg.partial} {
			if b != nil {
				held += cap(b.b)
			}
		}
		require.LessOrEqual(t, held, 2*2<<minBufferClass)
		p.feed(whole[100:])
		require.NoError(t, p.err)
		require.Len(t, p.messages, 2)
		require.Equal(t, p.messages[0], p.messages[1])
	}
}
