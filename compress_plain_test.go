package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/fullduplex-go/websocket/internal/flate"
)

// A messageWay is a way to send one message of text.
type messageWay func(c *Conn, p []byte) error

// groupSend sends m to a Group with one member.
func groupSend(c *Conn, m *Prepared) error {
	var g Group
	defer g.Add(c)()
	if queued, _ := g.Send(m); queued != 1 {
		return errors.New("not queued")
	}
	return nil
}

// streamTo writes p in two parts, of which the first leaves as a fragment.
func streamTo(w *MessageWriter, err error, p []byte) error {
	if err != nil {
		return err
	}
	half := len(p) / 2
	_, first := w.Write(p[:half])
	flushed := w.Flush()
	_, second := w.Write(p[half:])
	return errors.Join(first, flushed, second, w.Close())
}

// plainWays are the ways to send a message that must not be compressed.
var plainWays = map[string]messageWay{
	"WritePlain": func(c *Conn, p []byte) error { return c.WritePlain(context.Background(), Text, p) },
	"SendPlain":  func(c *Conn, p []byte) error { return c.SendPlain(Text, p) },
	"WriterPlain, one fragment": func(c *Conn, p []byte) error {
		w, err := c.WriterPlain(context.Background(), Text)
		if err != nil {
			return err
		}
		_, err = w.Write(p)
		return errors.Join(err, w.Close())
	},
	"WriterPlain": func(c *Conn, p []byte) error {
		w, err := c.WriterPlain(context.Background(), Text)
		return streamTo(w, err, p)
	},
	"WritePrepared": func(c *Conn, p []byte) error { return c.WritePrepared(context.Background(), PreparePlain(Text, p)) },
	"SendPrepared":  func(c *Conn, p []byte) error { return c.SendPrepared(PreparePlain(Text, p)) },
	"Group.Send":    func(c *Conn, p []byte) error { return groupSend(c, PreparePlain(Text, p)) },
}

// compressedWays are the ways to send a message that may be compressed.
var compressedWays = map[string]messageWay{
	"Write": func(c *Conn, p []byte) error { return c.Write(context.Background(), Text, p) },
	"Send":  func(c *Conn, p []byte) error { return c.Send(Text, p) },
	"Writer": func(c *Conn, p []byte) error {
		w, err := c.Writer(context.Background(), Text)
		return streamTo(w, err, p)
	},
	"WritePrepared": func(c *Conn, p []byte) error { return c.WritePrepared(context.Background(), Prepare(Text, p)) },
	"SendPrepared":  func(c *Conn, p []byte) error { return c.SendPrepared(Prepare(Text, p)) },
	"Group.Send":    func(c *Conn, p []byte) error { return groupSend(c, Prepare(Text, p)) },
}

// plainAgreements are what may be agreed on for compression, with a window that
// holds whole tests.
var plainAgreements = map[string]*Compression{
	"none":       nil,
	"takeover":   {Threshold: -1, WindowBits: 15},
	"no context": {Threshold: -1, WindowBits: 15, NoContextTakeover: true, PeerNoContextTakeover: true},
}

// plainNetworks are the networks of these tests.
var plainNetworks = map[string]func(t testing.TB) (near, far net.Conn){
	"socket": tcpPair,
	"memory": func(testing.TB) (near, far net.Conn) { return faultnet.Pipe() },
}

// A plainTest is a connection and the net.Conn of its peer.
type plainTest struct {
	c     *Conn
	peer  net.Conn
	alone *flate.Compressor // of another connection with the same agreement; nil: no compression
}

// eachPlain runs f for every role, agreement and network.
func eachPlain(t *testing.T, f func(t *testing.T, p plainTest)) {
	for _, r := range roles {
		for agreement, compression := range plainAgreements {
			for network, join := range plainNetworks {
				t.Run(fmt.Sprintf("%s, %s, %s", r, agreement, network), func(t *testing.T) {
					near, far := join(t)
					cfg := Config{PingInterval: -1, Compression: compression}
					c := newConn(near, r, cfg.withDefaults(), agreedFor(r, compression), nil)
					t.Cleanup(func() { c.CloseNow(); far.Close() })
					p := plainTest{c: c, peer: far}
					if compression != nil {
						alone := flate.NewCompressor(15, 1, contextOf(compression.NoContextTakeover))
						p.alone = &alone
					}
					f(t, p)
				})
			}
		}
	}
}

// next returns the payload of the next message, and whether it is compressed.
func (p plainTest) next(t *testing.T) (payload []byte, compressed bool) {
	t.Helper()
	for {
		h, part := readFrame(t, p.peer)
		if h.masked {
			mask(part, h.key)
		}
		rsv1 := h.byte0&bitRSV1 != 0
		if h.opcode() == opContinuation {
			require.False(t, rsv1)
		} else {
			compressed = rsv1
		}
		if payload = append(payload, part...); h.fin() {
			return payload, compressed
		}
	}
}

// wantPlain fails unless the next message is text, as it is.
func (p plainTest) wantPlain(t *testing.T, text string) {
	t.Helper()
	payload, compressed := p.next(t)
	require.False(t, compressed)
	require.True(t, text == string(payload), "it is not what was sent")
}

// wantCompressed fails unless the next message is text as a connection would
// send it that sent nothing but these messages.
func (p plainTest) wantCompressed(t *testing.T, text string) {
	t.Helper()
	if p.alone == nil {
		p.wantPlain(t, text)
		return
	}
	want, smaller := p.alone.Append(nil, []byte(text))
	require.True(t, smaller)
	payload, compressed := p.next(t)
	require.True(t, compressed)
	require.True(t, string(want) == string(payload), "it is not compressed as if alone")
}

// TestPlainMessages sends a message that must not be compressed, in every way: it
// goes as it is, and does not enter the window.
func TestPlainMessages(t *testing.T) {
	covers(t, "Z17", "Z18", "Z10", "Z16", "Q.J09")
	eachPlain(t, func(t *testing.T, p plainTest) {
		sent := 0
		for name, send := range plainWays {
			for _, size := range []int{140, 40 << 10} {
				secret := name + sentence(size, size)
				before, after, again := sentence(300, 1), sentence(300, 2), secret[:100]
				done := make(chan error, 1)
				go func() {
					done <- errors.Join(
						p.c.WriteString(context.Background(), before),
						send(p.c, []byte(secret)),
						p.c.WriteString(context.Background(), after),
						p.c.WriteString(context.Background(), again))
				}()
				p.wantCompressed(t, before)
				p.wantPlain(t, secret)
				p.wantCompressed(t, after)
				p.wantCompressed(t, again)
				require.NoError(t, <-done)
				sent += len(before) + len(after) + len(again)
			}
		}
		if p.alone == nil {
			sent = 0
		}
		require.EqualValues(t, sent, p.c.Stats().DeflatedOut)
	})
}

// queueMovers are those that move messages from the queue to the network, once
// the test has released send.lock. pump says whether the pump may run.
var queueMovers = []struct {
	name string
	pump bool
	move func(c *Conn)
}{
	{"pump", true, func(*Conn) {}},
	{"lockSending", false, func(c *Conn) { c.WriteString(context.Background(), "moved") }},
	{"emptyQueue", false, func(c *Conn) { c.Close(CloseNormal, "") }},
}

// TestPlainMessagesStayPlainInTheQueue queues messages that may be compressed and
// others that must not be, of all sizes: whoever moves them on, each leaves as it
// should.
func TestPlainMessagesStayPlainInTheQueue(t *testing.T) {
	covers(t, "Z17", "Z18", "W10", "Q.J09")
	for _, mover := range queueMovers {
		t.Run(mover.name, func(t *testing.T) {
			eachPlain(t, func(t *testing.T, p plainTest) {
				require.True(t, p.c.send.lock.tryLock())
				q := p.c.sendQueue()
				q.pumping = !mover.pump // then no other is started
				secret, large, text := sentence(200, 1), sentence(2*inPlaceFrom, 2), sentence(200, 3)
				for range 2 {
					require.NoError(t, p.c.SendPlain(Text, []byte(secret)))
					require.NoError(t, p.c.Send(Text, []byte(text)))
					require.NoError(t, p.c.SendPlain(Text, []byte(large)))
					require.NoError(t, p.c.SendPrepared(PreparePlain(Text, []byte(large))))
					require.NoError(t, p.c.SendPrepared(PreparePlain(Text, []byte(secret))))
					require.NoError(t, p.c.Send(Text, []byte(secret)))
				}
				require.True(t, q.hasMessages())
				p.c.send.lock.unlock()
				go mover.move(p.c)
				for range 2 {
					p.wantPlain(t, secret)
					p.wantCompressed(t, text)
					p.wantPlain(t, large)
					p.wantPlain(t, large)
					p.wantPlain(t, secret)
					p.wantCompressed(t, secret)
				}
			})
		})
	}
}

// TestPlainMessagesKeepPeersInStep sends messages in all ways, of which half must
// not be compressed, between connections that agreed on compression: all arrive.
func TestPlainMessagesKeepPeersInStep(t *testing.T) {
	covers(t, "Z10", "Z17")
	var ways []messageWay
	for _, some := range []map[string]messageWay{plainWays, compressedWays} {
		for _, way := range some {
			ways = append(ways, way)
		}
	}
	for name, compression := range plainAgreements {
		t.Run(name, func(t *testing.T) {
			c, s := deflatePair(t, compression, compression, Config{})
			require.Equal(t, compression != nil, c.CompressionAgreed())
			require.Equal(t, compression != nil, s.CompressionAgreed())
			for _, from := range []*Conn{c, s} {
				go func() {
					rnd := rand.New(rand.NewPCG(1, 2))
					for i := range 200 {
						if err := ways[rnd.IntN(len(ways))](from, []byte(sentence(i*i, i))); err != nil {
							from.Close(CloseInternalError, err.Error())
						}
					}
				}()
			}
			for _, to := range []*Conn{c, s} {
				for i := range 200 {
					_, p, err := to.Read(t.Context())
					require.NoError(t, err)
					require.True(t, sentence(i*i, i) == string(p), "message %d", i)
				}
			}
		})
	}
}

// TestPlainStreamThatWasGivenUp gives up a plain message of which nothing has
// left: the next ones are compressed, and the peer can inflate them.
func TestPlainStreamThatWasGivenUp(t *testing.T) {
	covers(t, "Q.H04")
	c, s := deflatePair(t, &Compression{Threshold: -1}, &Compression{Threshold: -1}, Config{})
	for i := range 3 {
		w, err := c.WriterPlain(t.Context(), Text)
		require.NoError(t, err)
		_, err = io.WriteString(w, "begun")
		require.NoError(t, err)
		_, err = io.WriteString(w, "\xff")
		require.ErrorIs(t, err, errInvalidText)
		text := sentence(300, i)
		require.NoError(t, c.WriteString(t.Context(), text))
		_, p, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, text, string(p))
	}
	require.Less(t, c.Stats().CompressedOut, c.Stats().DeflatedOut/2)
}
