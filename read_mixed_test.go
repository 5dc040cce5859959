package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/fullduplex-go/websocket/internal/flate"
)

// mixedMessages returns n messages of any kind and their bytes on the wire,
// with control frames between the fragments. Some are compressed if that is
// agreed.
func mixedMessages(rnd *rand.Rand, n int, agreed *deflateAgreement) (messages []Message, wire []byte) {
	context := flate.Takeover
	if agreed != nil && agreed.clientNoContext {
		context = flate.NoTakeover
	}
	compressor := flate.NewCompressor(15, 1, context)
	for i := range n {
		m := mixedMessage(rnd, i)
		messages = append(messages, m)
		payload, first := m.Data, byte(m.Type)
		if agreed != nil && rnd.IntN(3) > 0 {
			if smaller, ok := compressor.Append(nil, payload); ok {
				payload, first = smaller, first|0x40
			}
		}
		wire = appendFragments(wire, rnd, first, payload)
	}
	return messages, wire
}

// mixedMessage returns a message that says it is the i-th.
func mixedMessage(rnd *rand.Rand, i int) Message {
	sizes := []int{0, 1, 5, 100, 126, 1000, 4096, 5000, 20000, 70000, 300000}
	p := make([]byte, rnd.IntN(sizes[rnd.IntN(len(sizes))]+1))
	for j := range p {
		p[j] = "abcdefgh"[rnd.IntN(8)]
	}
	if len(p) > 20 {
		copy(p, fmt.Sprintf("#%d#", i))
		copy(p[len(p)/2:], "äöü€")
		if rnd.IntN(2) == 0 {
			copy(p[len(p)/2:], p[:len(p)/4])
		}
	}
	typ := MessageType(1 + rnd.IntN(2))
	if typ == Text {
		p = bytes.ToValidUTF8(p, []byte("?"))
	}
	return Message{typ, p}
}

// appendFragments appends payload in frames of any size, the first of which
// has the bits of first. Pings and Pongs come before any of them.
func appendFragments(wire []byte, rnd *rand.Rand, first byte, payload []byte) []byte {
	for {
		for rnd.IntN(6) == 0 {
			wire = append(wire, clientFrame(0x80|byte(9+rnd.IntN(2)), "ping")...)
		}
		if rnd.IntN(2) == 0 {
			return append(wire, clientFrame(first|0x80, string(payload))...)
		}
		n := rnd.IntN(len(payload) + 1)
		wire = append(wire, clientFrame(first, string(payload[:n]))...)
		payload, first = payload[n:], 0
	}
}

// A mixedReader is an application that reads messages in every way, does not
// wait long, and expects all of them whole and in order.
type mixedReader struct {
	t        *testing.T
	c        *Conn
	rnd      *rand.Rand
	unit     time.Duration // of what it waits
	messages []Message     // what is still to come
	done     []string      // what it did
}

// did notes a step; a failure shows the last ones.
func (m *mixedReader) did(what string, n int, err error) {
	m.done = append(m.done, fmt.Sprintf("%s: %d, %v", what, n, err))
}

// fail ends the test.
func (m *mixedReader) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s after %q", fmt.Sprintf(format, args...), m.done[max(0, len(m.done)-14):])
}

// wait returns up to n units.
func (m *mixedReader) wait(n int) time.Duration { return time.Duration(m.rnd.IntN(n)+1) * m.unit }

// interrupted reports whether err is of a deadline. No other is expected.
func (m *mixedReader) interrupted(err error) bool {
	m.t.Helper()
	if err == nil {
		return false
	}
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		m.fail("%v", err)
	}
	return true
}

// ping sends a Ping now and then, whose answer does not come.
func (m *mixedReader) ping() {
	if m.rnd.IntN(3) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.wait(20))
	defer cancel()
	_, err := m.c.Ping(ctx)
	m.did("Ping", 0, err)
}

// got compares a message, or an interruption, with what is expected.
func (m *mixedReader) got(how string, kind MessageType, p []byte, err error) {
	m.t.Helper()
	m.did(how, len(p), err)
	if m.interrupted(err) {
		return
	}
	if len(m.messages) == 0 {
		m.fail("%s: a message too many, %.30q", how, p)
	}
	want := m.messages[0]
	if kind != want.Type || !bytes.Equal(p, want.Data) {
		m.fail("%s: %v of %d bytes %.30q, want %v of %d bytes %.30q", how, kind, len(p), p, want.Type, len(want.Data), want.Data)
	}
	m.messages = m.messages[1:]
}

// step reads in one way, under some deadline.
func (m *mixedReader) step() {
	m.ping()
	ctx := context.Background()
	if m.rnd.IntN(3) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.wait(20))
		defer cancel()
	}
	if m.rnd.IntN(4) == 0 {
		m.c.SetReadDeadline(time.Now().Add(m.wait(20) - m.unit))
		defer m.c.SetReadDeadline(time.Time{})
	}
	switch m.rnd.IntN(5) {
	case 0:
		kind, p, err := m.c.Read(ctx)
		m.got("Read", kind, p, err)
	case 1:
		kind, p, err := m.c.ReadInto(ctx, make([]byte, 0, m.rnd.IntN(10000)))
		m.got("ReadInto", kind, p, err)
	case 2:
		m.iterate(ctx)
	default:
		m.stream(ctx)
	}
}

// iterate takes a few messages that are lent, and spoils them.
func (m *mixedReader) iterate(ctx context.Context) {
	n := m.rnd.IntN(4)
	for lent, err := range m.c.Messages(ctx) {
		kept := lent.Clone()
		if err == nil {
			m.ping()
			if !bytes.Equal(kept.Data, lent.Data) {
				m.fail("what is lent has changed")
			}
			clear(lent.Data)
		}
		m.got("Messages", kept.Type, kept.Data, err)
		if n--; err != nil || n < 0 || len(m.messages) == 0 {
			return
		}
	}
}

// stream reads a message in pieces, perhaps not to its end.
func (m *mixedReader) stream(ctx context.Context) {
	kind, r, err := m.c.Reader(ctx)
	m.did("Reader", 0, err)
	if m.interrupted(err) {
		return
	}
	want := m.messages[0]
	m.messages = m.messages[1:]
	if kind != want.Type {
		m.fail("Reader: %v, want %v", kind, want.Type)
	}
	left, more := want.Data, true
	for more {
		m.ping()
		switch m.rnd.IntN(12) {
		case 0:
			return
		case 1:
			m.discard(ctx, r, left)
			return
		case 2:
			left, more = m.writeTo(r, left)
		case 3:
			m.leave(ctx, r, left)
			return
		default:
			left, more = m.readSome(r, left)
		}
		more = more && ctx.Err() == nil
	}
}

// readSome reads a piece, and returns what is left and whether there is more.
func (m *mixedReader) readSome(r *MessageReader, left []byte) (_ []byte, more bool) {
	b := make([]byte, 1+m.rnd.IntN(9000))
	n, err := r.Read(b)
	m.did("Read of a piece", n, err)
	if !bytes.HasPrefix(left, b[:n]) {
		m.fail("the bytes of the piece differ")
	}
	left = left[n:]
	if err == io.EOF {
		if len(left) > 0 {
			m.fail("the end is there %d bytes too early", len(left))
		}
		return nil, false
	}
	if m.interrupted(err) {
		m.c.SetReadDeadline(time.Time{})
	}
	return left, true
}

// writeTo is readSome with WriteTo.
func (m *mixedReader) writeTo(r *MessageReader, left []byte) (_ []byte, more bool) {
	var b bytes.Buffer
	_, err := r.WriteTo(&b)
	m.did("WriteTo", b.Len(), err)
	if !bytes.HasPrefix(left, b.Bytes()) {
		m.fail("the bytes of WriteTo differ")
	}
	left = left[b.Len():]
	if m.interrupted(err) {
		m.c.SetReadDeadline(time.Time{})
		return left, m.rnd.IntN(2) == 0
	}
	if len(left) > 0 {
		m.fail("WriteTo ended %d bytes too early", len(left))
	}
	return left, m.rnd.IntN(2) == 0
}

// discard drops the rest of a message. When that is interrupted, what comes
// then is the end of the message.
func (m *mixedReader) discard(ctx context.Context, r *MessageReader, left []byte) {
	err := r.Discard()
	m.did("Discard", 0, err)
	if !m.interrupted(err) || m.rnd.IntN(2) == 0 {
		return
	}
	m.c.SetReadDeadline(time.Time{})
	if ctx.Err() != nil {
		return
	}
	p, err := io.ReadAll(r)
	m.did("after Discard", len(p), err)
	if !m.interrupted(err) && !bytes.HasSuffix(left, p) {
		m.fail("what comes after Discard is not the end of the message")
	}
}

// leave reads the next message before the end of one. If that is interrupted,
// the MessageReader gives an error, or what it has received.
func (m *mixedReader) leave(ctx context.Context, r *MessageReader, left []byte) {
	short, cancel := context.WithTimeout(context.Background(), m.wait(5))
	defer cancel()
	kind, p, err := m.c.Read(short)
	m.got("Read before the end", kind, p, err)
	if err == nil || ctx.Err() != nil {
		return
	}
	b := make([]byte, 100)
	n, err := r.Read(b)
	m.did("Read behind that", n, err)
	if err == nil && !bytes.HasPrefix(left, b[:n]) {
		m.fail("the bytes of a MessageReader that was left differ")
	}
}

// mixReads lets a mixedReader read what far sends to near in pieces, some of
// which it waits for.
func mixReads(t *testing.T, seed uint64, near, far net.Conn, unit time.Duration) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{PingInterval: -1, MaxFragments: -1, SkipUTF8Check: rnd.IntN(4) == 0}
	if rnd.IntN(3) == 0 {
		cfg.PingInterval, cfg.PongTimeout = time.Duration(1+rnd.IntN(50))*unit, time.Hour
	}
	if rnd.IntN(2) == 0 {
		cfg.Compression = &Compression{PeerNoContextTakeover: rnd.IntN(2) == 0}
	}
	agreed := agreedFor(server, cfg.Compression)
	messages, wire := mixedMessages(rnd, 1+rnd.IntN(12), agreed.deflate)
	early := 0
	if rnd.IntN(3) == 0 {
		early = rnd.IntN(min(len(wire), 20000) + 1)
	}
	c := newConn(near, server, cfg.withDefaults(), agreed, wire[:early])
	var peer sync.WaitGroup
	defer peer.Wait()
	defer far.Close()
	defer c.CloseNow()
	peer.Go(func() { io.Copy(io.Discard, far) })
	peer.Go(func() { sendInPieces(far, rand.New(rand.NewPCG(seed, 2)), wire[early:], unit) })
	m := &mixedReader{t: t, c: c, rnd: rnd, unit: unit, messages: messages}
	for len(m.messages) > 0 {
		m.step()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*unit)
	defer cancel()
	kind, p, err := c.Read(ctx)
	m.got("Read at the end", kind, p, err)
}

// sendInPieces writes wire to nc until that ends, with pauses.
func sendInPieces(nc net.Conn, rnd *rand.Rand, wire []byte, unit time.Duration) {
	sizes := []int{1, 3, 20, 1000, 5000, 100000}
	for len(wire) > 0 {
		n := 1 + rnd.IntN(min(sizes[rnd.IntN(len(sizes))], len(wire)))
		if _, err := nc.Write(wire[:n]); err != nil {
			return
		}
		wire = wire[n:]
		if rnd.IntN(2) == 0 {
			time.Sleep(time.Duration(rnd.IntN(30)) * unit)
		}
	}
}

// TestMixedReads reads in random ways, with Pings and interruptions, in memory.
func TestMixedReads(t *testing.T) {
	covers(t, "Q.H05", "Q.G06")
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			far, near := faultnet.Pipe()
			mixReads(t, seed, near, far, time.Millisecond)
		})
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// TestMixedReadsOverTCP does the same over TCP, where reads need not wait.
func TestMixedReadsOverTCP(t *testing.T) {
	covers(t, "Q.H05", "Q.G06")
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			far, near := tcpPair(t)
			mixReads(t, seed, near, far, 20*time.Microsecond)
		})
	}
}

// TestManyReaders reads in all ways at once, in several goroutines: each
// message that one of them gets is one that was sent.
func TestManyReaders(t *testing.T) {
	covers(t, "Q.H02")
	for seed := range uint64(6) {
		cfg := Config{PingInterval: time.Millisecond, PongTimeout: time.Hour, MaxFragments: -1}
		if seed%2 == 0 {
			cfg.Compression = &Compression{}
		}
		agreed := agreedFor(server, cfg.Compression)
		messages, wire := mixedMessages(rand.New(rand.NewPCG(seed, 7)), 40, agreed.deflate)
		known := map[string]bool{}
		for _, m := range messages {
			known[string(m.Data)] = true
		}
		far, near := tcpPair(t)
		c := newConn(near, server, cfg.withDefaults(), agreed, nil)
		go io.Copy(io.Discard, far)
		go far.Write(append(wire, clientFrame(0x88, "\x03\xe8")...))
		var readers sync.WaitGroup
		for g := range uint64(4) {
			rnd := rand.New(rand.NewPCG(seed, g))
			readers.Go(func() {
				for c.terminal() == nil {
					if p, err := readAnyhow(t, c, rnd); err == nil && !known[string(p)] {
						t.Errorf("nobody sent %d bytes %.40q", len(p), p)
					}
				}
			})
		}
		readers.Wait()
		if end := c.terminal(); !errors.Is(end, CloseNormal) {
			t.Fatalf("seed %d: the end is %v", seed, end)
		}
		c.CloseNow()
	}
}

// errNoMessage is what readAnyhow returns when it did not want a message.
var errNoMessage = errors.New("no message wanted")

// readAnyhow reads a message in one of the ways, or pings, and waits for less
// than a millisecond.
func readAnyhow(t *testing.T, c *Conn, rnd *rand.Rand) (p []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(300))*time.Microsecond)
	defer cancel()
	way := rnd.IntN(5)
	switch way {
	case 0:
		c.Ping(ctx)
		return nil, errNoMessage
	case 1:
		_, p, err = c.Read(ctx)
		return p, err
	case 2:
		_, p, err = c.ReadInto(ctx, make([]byte, 0, 5000))
		return p, err
	}
	_, r, err := c.Reader(ctx)
	if err != nil {
		return nil, err
	}
	if way == 3 {
		return io.ReadAll(r)
	}
	_, err = r.WriteTo(writerFunc(func(piece []byte) (int, error) {
		before := bytes.Clone(piece)
		time.Sleep(10 * time.Microsecond) // for the others to read
		if !bytes.Equal(before, piece) {
			t.Error("what WriteTo lends has changed")
		}
		p = append(p, piece...)
		return len(piece), nil
	}))
	return p, err
}
