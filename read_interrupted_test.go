package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// stored returns s as a block of DEFLATE that is not compressed. A payload
// ends with a zero byte behind its last block.
func stored(s string) string {
	n := uint16(len(s))
	b := binary.LittleEndian.AppendUint16([]byte{0}, n)
	return string(binary.LittleEndian.AppendUint16(b, ^n)) + s
}

// plainAndCompressed runs f for a server without and for one with compression.
// frame returns a frame for it with part of a message.
func plainAndCompressed(t *testing.T, f func(t *testing.T, c *Conn, peer *faultnet.Conn, frame func(first byte, part string) []byte)) {
	t.Run("plain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := memPair(t, server, nil)
			f(t, c, peer, clientFrame)
		})
	})
	t.Run("compressed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := memPairWith(t, Compression{})
			f(t, c, peer, storedFrame)
		})
	})
}

// storedFrame is clientFrame for part of a compressed message, whose blocks are
// stored as they are.
func storedFrame(first byte, part string) []byte {
	payload := stored(part)
	if first&0x80 != 0 {
		payload += "\x00"
	}
	if first&0x0f != 0 {
		first |= 0x40
	}
	return clientFrame(first, payload)
}

// pingForASecond calls Ping, for which the background reader reads until a data
// frame is in its way.
func pingForASecond(t *testing.T, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.Ping(ctx)
	require.Equal(t, context.DeadlineExceeded, err)
}

// readTheRest returns the messages that loop reads of what was sent to c, and
// ends c.
func readTheRest(c *Conn, loop readLoop) (messages []string) {
	var wg sync.WaitGroup
	wg.Go(func() {
		loop(c, func(_ MessageType, p []byte) { messages = append(messages, string(p)) })
	})
	synctest.Wait()
	c.CloseNow()
	wg.Wait()
	return messages
}

// TestPingBetweenFragments interrupts a Read between two fragments and lets a
// Ping meet the header of the last one. The message is read once, and whole.
func TestPingBetweenFragments(t *testing.T) {
	for _, reading := range readLoops {
		t.Run(reading.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := memPair(t, server, nil)
				peer.Write(clientFrame(0x01, "Hel"))
				readForASecond(t, c)
				peer.Write(clientFrame(0x80, "lo"))
				pingForASecond(t, c)
				peer.Write(clientFrame(0x82, "next"))
				require.Equal(t, []string{"Hello", "next"}, readTheRest(c, reading.loop))
			})
		})
	}
}

// TestPingBeforeEndOfReader takes every byte of a streamed message, but not its
// io.EOF, and lets a Ping meet the header of the next message. That one is not
// taken for a part of the first.
func TestPingBeforeEndOfReader(t *testing.T) {
	for _, reading := range readLoops {
		for _, toTheEnd := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, to the end %v", reading.name, toTheEnd), func(t *testing.T) {
				plainAndCompressed(t, func(t *testing.T, c *Conn, peer *faultnet.Conn, frame func(byte, string) []byte) {
					peer.Write(frame(0x82, "one"))
					_, r, err := c.Reader(t.Context())
					require.NoError(t, err)
					var one [3]byte
					_, err = io.ReadFull(r, one[:])
					require.NoError(t, err)
					require.Equal(t, "one", string(one[:]))
					peer.Write(frame(0x82, "two"))
					peer.Write(frame(0x82, "three"))
					pingForASecond(t, c)
					if toTheEnd {
						rest, err := io.ReadAll(r)
						require.NoError(t, err)
						require.Empty(t, rest)
					}
					require.Equal(t, []string{"two", "three"}, readTheRest(c, reading.loop))
				})
			})
		}
	}
}

// TestInterruptedDiscard lets a deadline interrupt Discard: the MessageReader
// goes on where that came to.
func TestInterruptedDiscard(t *testing.T) {
	covers(t, "V17", "Q.G06")
	afterInterruption(t, func(t *testing.T, c *Conn, r *MessageReader) {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		require.Error(t, r.Discard())
		require.NoError(t, c.SetReadDeadline(time.Time{}))
	}, func(t *testing.T, rest string, err error) {
		require.NoError(t, err)
		require.Equal(t, "abcdefghijkl", rest)
	})
}

// TestReaderIsStaleAfterInterruptedRead lets a context interrupt a Read that
// drops the rest of a streamed message: its MessageReader gives no end of a
// message whose middle is gone.
func TestReaderIsStaleAfterInterruptedRead(t *testing.T) {
	covers(t, "Q.H05")
	afterInterruption(t, func(t *testing.T, c *Conn, _ *MessageReader) {
		readForASecond(t, c)
	}, func(t *testing.T, _ string, err error) {
		require.Error(t, err)
	})
}

// afterInterruption reads half of what is there of a streamed message, interrupts
// something that drops the other half, and passes to check what the MessageReader
// then returns as the rest.
func afterInterruption(t *testing.T, interrupt func(*testing.T, *Conn, *MessageReader), check func(t *testing.T, rest string, err error)) {
	t.Helper()
	plainAndCompressed(t, func(t *testing.T, c *Conn, peer *faultnet.Conn, frame func(byte, string) []byte) {
		peer.Write(frame(0x02, strings.Repeat("0123456789", 10)))
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 50))
		require.NoError(t, err)
		interrupt(t, c, r)
		peer.Write(frame(0x00, "ab"))
		peer.Write(frame(0x80, "cdefghijkl"))
		rest, err := io.ReadAll(r)
		check(t, string(rest), err)
	})
}

// TestCloseWhileKeepaliveReads closes a connection that only the background
// reader reads. What the peer sends before its Close frame is passed over.
func TestCloseWhileKeepaliveReads(t *testing.T) {
	covers(t, "Q.F04")
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, server, &Config{PingInterval: time.Second})
		go func() {
			raw := newRawPeer(peer, server)
			for {
				f, err := raw.read()
				if !assert.NoError(t, err) || f.opcode() == byte(opClose) {
					break
				}
				peer.Write(clientFrame(0x8a, f.payload))
			}
			peer.Write(clientFrame(0x82, "some data that was under way"))
			peer.Write(clientFrame(0x88, "\x03\xe8"))
		}()
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, c.Close(CloseNormal, ""))
	})
}

// TestCloseWhilePingReads closes a connection that only the background reader
// reads, for a Ping. Data that looks like a Close frame is not taken for one.
func TestCloseWhilePingReads(t *testing.T) {
	covers(t, "Q.F04")
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, server, nil)
		go c.Ping(context.Background())
		synctest.Wait()
		time.AfterFunc(time.Second, func() {
			peer.Write(clientFrame(0x82, string(clientFrame(0x88, "\x03\xf3"))))
			peer.Write(clientFrame(0x88, "\x03\xe8"))
		})
		require.NoError(t, c.Close(CloseNormal, ""))
		require.Equal(t, CloseNormal, c.life.terminal().Code)
	})
}

// TestBadEndOfText waits for the last byte of a text, which makes it invalid:
// nothing of it is handed over beside the error.
func TestBadEndOfText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, server, nil)
		frame := clientFrame(0x81, "a\xc3")
		last := len(frame) - 1
		peer.Write(frame[:last])
		time.AfterFunc(time.Second, func() { peer.Write(frame[last:]) })
		kind, p, err := c.Read(t.Context())
		require.ErrorIs(t, err, CloseInvalidPayload)
		require.Nil(t, p)
		require.Zero(t, kind)
	})
}

// TestReaderAfterInterruptedRead interrupts a Read behind the header of a
// message: a MessageReader of that message does not return zero bytes without
// an error, which io.Reader advises against.
func TestReaderAfterInterruptedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := memPair(t, server, nil)
		frame := clientFrame(0x82, string(make([]byte, 10000)))
		peer.Write(frame[:8])
		readForASecond(t, c)
		peer.Write(frame[8:])
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		n, err := r.Read(make([]byte, 10))
		require.NoError(t, err)
		require.NotZero(t, n)
	})
}

// TestReadDuringWriteTo reads the next messages in another goroutine while
// WriteTo is in the middle of a Write: the bytes that it passed stay as they are.
func TestReadDuringWriteTo(t *testing.T) {
	covers(t, "Q.H02")
	plainAndCompressed(t, func(t *testing.T, c *Conn, peer *faultnet.Conn, frame func(byte, string) []byte) {
		peer.Write(frame(0x82, strings.Repeat("1", 2000)))
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		calls := 0
		r.WriteTo(writerFunc(func(p []byte) (int, error) {
			calls++
			before := bytes.Clone(p)
			var reader sync.WaitGroup
			reader.Go(func() {
				for range 2 {
					peer.Write(frame(0x82, strings.Repeat("2", 2000)))
					c.Read(context.Background())
				}
			})
			reader.Wait()
			require.Equal(t, before, p)
			return len(p), nil
		}))
		require.NotZero(t, calls)
	})
}

// TestReaderInterruptedAtTheEnd has a deadline end a call of a MessageReader just
// before the connection ends: this and all later calls tell the end.
func TestReaderInterruptedAtTheEnd(t *testing.T) {
	c, s := memConns(t, &Config{})
	require.NoError(t, s.Write(t.Context(), Text, []byte("read halfway")))
	_, r, err := c.Reader(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	c.CloseNow()
	require.Equal(t, c.terminal(), r.keep(os.ErrDeadlineExceeded))
	_, err = r.Read(make([]byte, 1))
	require.Equal(t, c.terminal(), err)
}

// TestReadDeadlineWithoutDeadlines proves that a read under way ends at a deadline
// that is set later, on a net.Conn of which nobody knows yet that it has no
// deadlines: the reader came before the background reader.
func TestReadDeadlineWithoutDeadlines(t *testing.T) {
	covers(t, "V16")
	near, far := net.Pipe()
	defer far.Close()
	c := newConn(withoutDeadlines{near}, client, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		ended <- err
	}()
	for !c.read.lock.isLocked() {
		runtime.Gosched()
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	select {
	case err := <-ended:
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	case <-time.After(20 * time.Second):
		t.Fatal("the read goes on")
	}
}

// A lateReader is a net.Conn without deadlines, of which a Read that was
// interrupted returns what it read.
type lateReader struct {
	withoutDeadlines
	interrupt func() // is called by the next Read, or nil
	late      string // what that returns, once the net.Conn is closed
}

// Read is interrupted, and succeeds.
func (r *lateReader) Read(p []byte) (int, error) {
	if r.interrupt == nil {
		return r.withoutDeadlines.Read(p)
	}
	r.interrupt()
	for {
		if _, err := r.withoutDeadlines.Read(p); err != nil {
			return copy(p, r.late), nil
		}
	}
}

// TestReadThatClosesTheTransport proves that a read whose context has closed the
// net.Conn, which has no deadlines, says that the connection is closed, also if
// bytes came at that moment.
func TestReadThatClosesTheTransport(t *testing.T) {
	covers(t, "V16")
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		nc := &lateReader{withoutDeadlines: withoutDeadlines{near}, late: "\x82\x0a12345"}
		c := newConn(nc, client, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
		defer c.CloseNow()
		far.Write([]byte("\x82\x01a")) // at which the background reader stops
		synctest.Wait()
		_, _, err := c.Read(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		nc.interrupt = cancel
		_, _, err = c.Read(ctx)
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, err, context.Canceled)
		<-c.Context().Done()
	})
}
