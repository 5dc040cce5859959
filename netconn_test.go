package websocket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

func TestNetConnIsAStream(t *testing.T) {
	for _, typ := range []MessageType{Text, Binary} {
		c, s := connPair(t, nil)
		a, b := AsNetConn(c, typ), AsNetConn(s, typ)
		text := []byte("x" + strings.Repeat("ä€😀", 30000))
		go func() {
			a.Write(nil)
			c.Write(t.Context(), typ, nil)
			n, err := a.Write(text)
			if n == len(text) && err == nil {
				a.Close()
			}
		}()
		n, err := b.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err)
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, got))
		_, err = b.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = a.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = a.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		require.Equal(t, c.LocalAddr(), b.RemoteAddr())
		require.Equal(t, c.RemoteAddr(), b.LocalAddr())
	}
}

func TestNetConnCutsMessages(t *testing.T) {
	covers(t, "T01")
	c, s := connPair(t, nil)
	text := []byte("x" + strings.Repeat("😀", 20000))
	go AsNetConn(c, Text).Write(text)
	var got []byte
	for len(got) < len(text) {
		typ, p, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, Text, typ)
		require.LessOrEqual(t, len(p), maxNetConnMessage)
		require.True(t, utf8.Valid(p))
		got = append(got, p...)
	}
	require.True(t, bytes.Equal(text, got))
	n, err := AsNetConn(c, Text).Write([]byte("good\xff"))
	require.Zero(t, n)
	require.ErrorIs(t, err, errInvalidText)
}

func TestNetConnRefusesOtherMessages(t *testing.T) {
	covers(t, "R11")
	c, s := connPair(t, nil)
	require.NoError(t, c.WriteString(t.Context(), "text"))
	n := AsNetConn(s, Binary)
	_, err := n.Read(make([]byte, 10))
	require.ErrorContains(t, err, "text message in a stream of binary messages")
	_, again := n.Read(make([]byte, 10))
	require.Equal(t, err, again)
	require.ErrorIs(t, readToEnd(c), CloseUnsupportedData)
}

func TestNetConnEndsWithTheError(t *testing.T) {
	c, s := connPair(t, nil)
	n := AsNetConn(s, Binary)
	go c.Close(CloseInternalError, "broken")
	_, err := n.Read(make([]byte, 10))
	require.ErrorIs(t, err, CloseInternalError)
	_, err = n.Write([]byte("x"))
	require.ErrorIs(t, err, CloseInternalError)
	require.ErrorIs(t, n.SetDeadline(time.Time{}), CloseInternalError)
}

// TestNetConnDeadlines lets deadlines pass and goes on without losing or
// doubling a byte, over a net.Conn that would not survive an interrupted Write.
func TestNetConnDeadlines(t *testing.T) {
	covers(t, "Q.G04", "Q.G06")
	synctest.Test(t, func(t *testing.T) {
		nc, ns := faultnet.Pipe()
		whole := faultnet.OnWrite(nc, func(p []byte) (int, error) {
			n, err := nc.Write(p)
			require.NoError(t, err)
			return n, err
		})
		cfg := &Config{PingInterval: -1, WriteTimeout: time.Hour}
		a := AsNetConn(newConn(whole, client, cfg.withDefaults(), agreement{}, nil), Binary)
		b := AsNetConn(newConn(ns, server, cfg.withDefaults(), agreement{}, nil), Binary)
		defer b.(*netConn).c.CloseNow()
		defer a.(*netConn).c.CloseNow()

		require.NoError(t, a.SetDeadline(time.Now().Add(time.Second)))
		_, err := a.Read(make([]byte, 10))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		n, err := a.Write([]byte("late"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Zero(t, n)

		data := make([]byte, 5*faultnet.DefaultWindow)
		for i := range data {
			data[i] = byte(i / 251)
		}
		sent := 0
		for range 3 {
			require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
			n, err := a.Write(data[sent:])
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			sent += n
		}
		require.LessOrEqual(t, sent, 2*faultnet.DefaultWindow)
		got := make(chan []byte)
		go func() {
			all := make([]byte, len(data))
			io.ReadFull(b, all)
			got <- all
		}()
		require.NoError(t, a.SetWriteDeadline(time.Time{}))
		n, err = a.Write(data[sent:])
		require.NoError(t, err)
		require.Equal(t, len(data), sent+n)
		require.True(t, bytes.Equal(data, <-got))
	})
}

// TestNetConnCloseEndsCalls closes while calls wait, some for their turn.
func TestNetConnCloseEndsCalls(t *testing.T) {
	covers(t, "Q.F10", "Q.F11")
	synctest.Test(t, func(t *testing.T) {
		c, _ := memoryConn(server, &Config{PingInterval: -1, WriteTimeout: time.Hour})
		n := AsNetConn(c, Binary)
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				_, err := n.Read(make([]byte, 1))
				assert.ErrorIs(t, err, net.ErrClosed)
			})
			calls.Go(func() {
				_, err := n.Write(make([]byte, 4*faultnet.DefaultWindow))
				assert.ErrorIs(t, err, net.ErrClosed)
			})
		}
		synctest.Wait()
		began := time.Now()
		require.Error(t, n.Close())
		require.Equal(t, 5*time.Second, time.Since(began))
		calls.Wait()
	})
}

// netConnPairs runs f for both roles of c, every agreement and every network of
// plainNetworks.
func netConnPairs(t *testing.T, cfg Config, f func(t *testing.T, c, s *Conn)) {
	for _, r := range roles {
		for agreement, compression := range plainAgreements {
			for network, join := range plainNetworks {
				t.Run(strings.Join([]string{r.String(), agreement, network}, ", "), func(t *testing.T) {
					cfg := cfg
					cfg.Compression = compression
					near, far := join(t)
					c := newConn(near, r, cfg.withDefaults(), agreedFor(r, compression), nil)
					s := newConn(far, r.other(), cfg.withDefaults(), agreedFor(r.other(), compression), nil)
					t.Cleanup(func() { c.CloseNow(); s.CloseNow() })
					f(t, c, s)
				})
			}
		}
	}
}

// netConnWrites are what is written in the tests of how Write cuts.
var netConnWrites = []string{"", "a", "b", "", sentence(maxNetConnMessage, 1), sentence(maxNetConnMessage+1, 2), sentence(300<<10, 3), "end"}

// writeEach writes to n, and ends the connection if that fails.
func writeEach(n net.Conn, writes []string) {
	for _, p := range writes {
		if written, err := n.Write([]byte(p)); written != len(p) || err != nil {
			n.(*netConn).c.Close(CloseInternalError, "not written")
		}
	}
}

// TestNetConnMessagePerWrite proves that each Write is one message, also an empty
// one.
func TestNetConnMessagePerWrite(t *testing.T) {
	netConnPairs(t, Config{}, func(t *testing.T, c, s *Conn) {
		for _, typ := range []MessageType{Text, Binary} {
			for _, options := range [][]NetConnOption{{MessagePerWrite}, {AnyType, MessagePerWrite, AnyType}} {
				go writeEach(AsNetConn(c, typ, options...), netConnWrites)
				for _, want := range netConnWrites {
					got, p, err := s.Read(t.Context())
					require.NoError(t, err)
					require.Equal(t, typ, got)
					require.True(t, want == string(p), "%d bytes, want %d", len(p), len(want))
				}
			}
		}
	})
}

// TestNetConnWritesShareNoMessage proves that without MessagePerWrite a Write of
// up to 32 KiB is a message too, unless it is empty, and that longer ones are cut.
func TestNetConnWritesShareNoMessage(t *testing.T) {
	covers(t, "T01")
	netConnPairs(t, Config{}, func(t *testing.T, c, s *Conn) {
		go writeEach(AsNetConn(c, Text), netConnWrites)
		for _, want := range netConnWrites {
			for len(want) > 0 {
				_, p, err := s.Read(t.Context())
				require.NoError(t, err)
				require.Len(t, p, min(len(want), maxNetConnMessage))
				require.True(t, strings.HasPrefix(want, string(p)))
				want = want[len(p):]
			}
		}
	})
}

// TestNetConnReadsOneMessage proves that Read does not join messages, skips empty
// ones, and with AnyType takes those of both types.
func TestNetConnReadsOneMessage(t *testing.T) {
	covers(t, "R11")
	netConnPairs(t, Config{}, func(t *testing.T, c, s *Conn) {
		types := []MessageType{Text, Binary, Binary, Text}
		go func() {
			for i, p := range []string{"one", "", "two", "three"} {
				s.Write(t.Context(), types[i], []byte(p))
			}
			s.Close(CloseNormal, "")
		}()
		n := AsNetConn(c, Binary, AnyType)
		p := make([]byte, 100)
		for _, want := range []string{"one", "two", "three"} {
			read, err := n.Read(p)
			require.NoError(t, err)
			require.Equal(t, want, string(p[:read]))
		}
		_, err := n.Read(p)
		require.Equal(t, io.EOF, err)
	})
}

// interruptedWrite writes p to n, whose peer reads nothing, until a deadline that
// passes meanwhile ends that, and returns what Write has returned.
func interruptedWrite(t *testing.T, n net.Conn, p []byte) (written int, err error) {
	t.Helper()
	require.NoError(t, n.SetWriteDeadline(time.Time{}))
	done := make(chan struct{})
	go func() {
		written, err = n.Write(p)
		close(done)
	}()
	eventually(t, "the Write of a message", n.(*netConn).c.out.isBusy)
	require.NoError(t, n.SetWriteDeadline(time.Now()))
	<-done
	return written, err
}

// notRead keeps everybody from reading c until the test calls unlockReading.
func notRead(t *testing.T, c *Conn) {
	t.Helper()
	require.NoError(t, c.awaitReadLock(t.Context()))
}

// unreadMessage is the size of a message that no network holds.
const unreadMessage = 8 << 20

// TestNetConnMessagesAreWhole lets deadlines interrupt Writes of one message
// each: what a Write counts arrives whole, and of others nothing does.
func TestNetConnMessagesAreWhole(t *testing.T) {
	covers(t, "Q.G04", "Q.G06")
	cfg := Config{PingInterval: -1, MaxMessageSize: -1, WriteTimeout: time.Hour}
	netConnPairs(t, cfg, func(t *testing.T, c, s *Conn) {
		notRead(t, s)
		n := AsNetConn(c, Binary, MessagePerWrite)
		first, third := noise(unreadMessage, 1), noise(maxNetConnMessage+1, 3)
		kept := bytes.Clone(first)
		written, err := interruptedWrite(t, n, first)
		require.NoError(t, err)
		require.Equal(t, len(first), written)
		clear(first)
		for range 2 {
			written, err = interruptedWrite(t, n, noise(100, 2))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Zero(t, written)
		}
		require.NoError(t, n.SetWriteDeadline(time.Time{}))
		done := make(chan error, 1)
		go func() {
			_, err := n.Write(third)
			done <- err
		}()
		s.unlockReading(nil)
		for _, want := range [][]byte{kept, third} {
			_, p, err := s.Read(t.Context())
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, p), "%d bytes, want %d", len(p), len(want))
		}
		require.NoError(t, <-done)
	})
}

// TestNetConnHalfAMessage ends the connection in the middle of a message whose
// Write a deadline has interrupted: the peer gets an error, and not a shorter
// message.
func TestNetConnHalfAMessage(t *testing.T) {
	cfg := Config{PingInterval: -1, MaxMessageSize: -1, WriteTimeout: time.Hour}
	netConnPairs(t, cfg, func(t *testing.T, c, s *Conn) {
		notRead(t, s)
		written, err := interruptedWrite(t, AsNetConn(c, Binary, MessagePerWrite), noise(unreadMessage, 1))
		require.NoError(t, err)
		require.Equal(t, unreadMessage, written)
		c.CloseNow()
		s.unlockReading(nil)
		_, p, err := s.Read(t.Context())
		require.Error(t, err)
		require.Empty(t, p)
	})
}

// TestNetConnMessageBeyondThePeersLimit proves what MessagePerWrite says of the
// peer's limit.
func TestNetConnMessageBeyondThePeersLimit(t *testing.T) {
	netConnPairs(t, Config{MaxMessageSize: maxNetConnMessage}, func(t *testing.T, c, s *Conn) {
		n := AsNetConn(c, Binary, MessagePerWrite)
		for i, size := range []int{maxNetConnMessage, maxNetConnMessage + 1} {
			go n.Write(make([]byte, size))
			_, _, err := s.Read(t.Context())
			require.Equal(t, i == 1, errors.Is(err, ErrMessageTooBig))
		}
		_, err := n.Read(make([]byte, 1))
		require.ErrorIs(t, err, CloseMessageTooBig)
		_, err = n.Write(nil)
		require.ErrorIs(t, err, CloseMessageTooBig)
	})
}

// TestNetConnMessagePerWriteOfText proves that text that is not UTF-8 sends
// nothing.
func TestNetConnMessagePerWriteOfText(t *testing.T) {
	covers(t, "T07")
	c, s := connPair(t, nil)
	n := AsNetConn(c, Text, MessagePerWrite)
	written, err := n.Write([]byte("good\xff"))
	require.Zero(t, written)
	require.ErrorIs(t, err, errInvalidText)
	_, err = n.Write([]byte("€"))
	require.NoError(t, err)
	_, p, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "€", string(p))
}

// TestNetConnUnknownOption proves that an option that does not exist panics, and
// leaves the connection as it was.
func TestNetConnUnknownOption(t *testing.T) {
	c, s := connPair(t, nil)
	for _, o := range []NetConnOption{0, AnyType + 1, 255} {
		require.Panics(t, func() { AsNetConn(c, Text, MessagePerWrite, o) })
	}
	require.False(t, c.out.mode.patient)
	go echo(s)
	mustEcho(t, c)
}
