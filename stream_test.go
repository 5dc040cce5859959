package websocket

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/stretchr/testify/require"
)

// TestStreams proves that a message can be echoed in pieces while it comes.
func TestStreams(t *testing.T) {
	c, s := connPair(t, &Config{MaxMessageSize: 4 << 20})
	ctx := t.Context()
	data := make([]byte, 1<<20)
	rand.Read(data)
	go func() {
		_, r, err := s.Reader(ctx)
		if err != nil {
			return
		}
		w, err := s.Writer(ctx, Binary)
		if err != nil {
			return
		}
		io.Copy(w, r)
		w.Close()
	}()
	go func() {
		w, _ := c.Writer(ctx, Binary)
		w.ReadFrom(bytes.NewReader(data))
		w.Close()
	}()
	_, got, err := c.Read(ctx)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
}

// TestStreamedMessagesDoNotInterleave proves that goroutines that stream
// messages at once do not mix their fragments.
func TestStreamedMessagesDoNotInterleave(t *testing.T) {
	covers(t, "G07", "G08", "Q.H01", "Q.H03")
	c, s := connPair(t, nil)
	const writers, each = 16, 20
	for i := range writers {
		go func() {
			for range each {
				w, err := s.Writer(context.Background(), Binary)
				if err != nil {
					return
				}
				for range 5 {
					w.Write(bytes.Repeat([]byte{byte(i)}, 100))
					w.Flush()
				}
				w.Close()
				s.Ping(context.Background())
			}
		}()
	}
	for range writers * each {
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat(p[:1], 500), p)
	}
}

// waitingWrites are the calls that wait while a MessageWriter is open.
var waitingWrites = map[string]func(ctx context.Context, c *Conn) error{
	"Write":         func(ctx context.Context, c *Conn) error { return c.Write(ctx, Text, nil) },
	"WriteString":   func(ctx context.Context, c *Conn) error { return c.WriteString(ctx, "") },
	"WritePlain":    func(ctx context.Context, c *Conn) error { return c.WritePlain(ctx, Text, nil) },
	"WritePrepared": func(ctx context.Context, c *Conn) error { return c.WritePrepared(ctx, Prepare(Text, nil)) },
	"Writer":        func(ctx context.Context, c *Conn) error { _, err := c.Writer(ctx, Text); return err },
	"WriterPlain":   func(ctx context.Context, c *Conn) error { _, err := c.WriterPlain(ctx, Text); return err },
}

// TestOpenWriterMakesOthersWait proves what Writer says of calls while a writer
// is open: they wait until their context or deadline ends, even when the
// writer's own has ended; Send and Ping do not, and what they send is not lost.
func TestOpenWriterMakesOthersWait(t *testing.T) {
	covers(t, "G08", "Q.H03")
	for _, r := range roles {
		synctest.Test(t, func(t *testing.T) {
			c, peer := memPair(t, r, nil)
			ended, end := context.WithCancel(t.Context())
			first, err := c.Writer(ended, Text)
			require.NoError(t, err)
			end()
			for name, write := range waitingWrites {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				began := time.Now()
				require.Equal(t, context.DeadlineExceeded, write(ctx, c), name)
				cancel()
				require.Equal(t, time.Hour, time.Since(began), name)
				require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Hour)))
				require.ErrorIs(t, write(t.Context(), c), os.ErrDeadlineExceeded, name)
				require.NoError(t, c.SetWriteDeadline(time.Time{}))
			}
			require.NoError(t, c.Send(Text, []byte("queued")))
			require.NoError(t, c.SendPlain(Text, []byte("queued, too")))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = c.Ping(ctx)
			require.Equal(t, context.DeadlineExceeded, err, "this peer does not answer")
			cancel()
			_, err = io.WriteString(first, "begun")
			require.NoError(t, err)
			require.Equal(t, context.Canceled, first.Close(), "its context has ended")
			require.NoError(t, c.WriteString(t.Context(), "written"))
			for _, want := range []string{"", "queued", "queued, too", "written"} {
				h, payload := readFrame(t, peer)
				if h.masked {
					mask(payload, h.key)
				}
				require.Equal(t, want == "", h.opcode() == opPing)
				require.True(t, want == "" || want == string(payload))
			}
		})
	}
}

// TestWriterThatNobodyCloses proves that the end of the connection ends the wait
// for a writer that nobody closes, and that Close does not wait for it.
func TestWriterThatNobodyCloses(t *testing.T) {
	covers(t, "Q.H04")
	for _, r := range roles {
		for name, end := range map[string]func(c *Conn) error{
			"Close":    func(c *Conn) error { return c.Close(CloseNormal, "") },
			"CloseNow": (*Conn).CloseNow,
		} {
			synctest.Test(t, func(t *testing.T) {
				c, s := memConns(t, &Config{PingInterval: -1})
				if r == server {
					c, s = s, c
				}
				go readToEnd(s)
				w, err := c.Writer(t.Context(), Text)
				require.NoError(t, err)
				_, err = io.WriteString(w, "begun")
				require.NoError(t, err)
				require.NoError(t, w.Flush())
				errs := make(chan error, len(waitingWrites))
				for _, write := range waitingWrites {
					go func() { errs <- write(context.Background(), c) }()
				}
				synctest.Wait()
				require.Empty(t, errs)
				began := time.Now()
				require.NoError(t, end(c), name)
				require.Zero(t, time.Since(began), name)
				for range waitingWrites {
					require.Equal(t, c.terminal(), <-errs)
				}
				_, err = w.Write([]byte("more"))
				require.NoError(t, err, "it is only collected")
				require.Equal(t, c.terminal(), w.Close())
			})
		}
	}
}

// TestInvalidTextIsNotSent proves that no call sends text that is not UTF-8,
// even if only the whole message shows it.
func TestInvalidTextIsNotSent(t *testing.T) {
	covers(t, "T07")
	c, far := memPair(t, server, nil)
	require.Error(t, c.Write(t.Context(), Text, []byte("\xff")))
	require.Error(t, c.WriteString(t.Context(), "\xed\xa0\x80"))
	require.Error(t, c.Send(Text, []byte("\xff")))
	require.Error(t, c.Write(t.Context(), 7, nil))
	require.ErrorIs(t, c.WritePlain(t.Context(), Text, []byte("\xff")), errInvalidText)
	require.ErrorIs(t, c.SendPlain(Text, []byte("\xff")), errInvalidText)
	require.ErrorIs(t, c.SendPlain(7, nil), errInvalidType)
	for _, open := range []func(context.Context, MessageType) (*MessageWriter, error){c.Writer, c.WriterPlain} {
		_, err := open(t.Context(), 7)
		require.ErrorIs(t, err, errInvalidType)
		w, err := open(t.Context(), Text)
		require.NoError(t, err)
		_, err = io.WriteString(w, "\xe2\x82")
		require.NoError(t, err)
		require.Error(t, w.Close(), "the message ends inside a rune")
	}
	require.NoError(t, c.WriteString(t.Context(), "€"))
	require.Equal(t, 5, far.Unread())
}

// TestAbandonedStreamEndsTheConnection proves that a streamed message that turns
// out to be invalid ends the connection, and that the peer is told why.
func TestAbandonedStreamEndsTheConnection(t *testing.T) {
	covers(t, "Q.H04")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		w, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		io.WriteString(w, "begun")
		require.NoError(t, w.Flush())
		_, err = io.WriteString(w, "\xff")
		require.ErrorIs(t, err, errInvalidText)
		require.Equal(t, err, w.Close())
		synctest.Wait()
		far.Write(clientFrame(0x88, "\x03\xf3"))
		payloads, _ := readFrames(t, far)
		require.Equal(t, []string{"begun", "\x03\xf3message was not completed"}, payloads)
		require.NoError(t, far.Close())
	})
}

// TestQueueBehindStreamThatWasGivenUp proves that messages that wait behind a
// streamed one do not leave inside it when it turns out to be invalid.
func TestQueueBehindStreamThatWasGivenUp(t *testing.T) {
	covers(t, "G08", "Q.H04")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		w, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		w.Write([]byte("begun"))
		require.NoError(t, w.Flush())
		require.NoError(t, c.Send(Text, []byte("queued")))
		var wg sync.WaitGroup
		wg.Go(func() { c.Write(context.Background(), Text, []byte("written")) })
		synctest.Wait()
		_, err = w.Write([]byte("\xff"))
		require.ErrorIs(t, err, errInvalidText)
		synctest.Wait()
		c.CloseNow()
		wg.Wait()
		_, ops := readFrames(t, far)
		require.Equal(t, []opcode{opText, opClose}, ops)
	})
}

// TestWriteAfterCompressedStreamThatWasGivenUp proves that a Write fails, and
// does not panic, when a compressed message was given up in the middle and no
// compressor is left.
func TestWriteAfterCompressedStreamThatWasGivenUp(t *testing.T) {
	covers(t, "Q.H04")
	synctest.Test(t, func(t *testing.T) {
		c, _ := memPairWith(t, Compression{NoContextTakeover: true, PeerNoContextTakeover: true})
		w, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		w.Write(bytes.Repeat([]byte("x"), 5000))
		_, err = w.Write([]byte("\xff"))
		require.ErrorIs(t, err, errInvalidText)
		require.NotPanics(t, func() { err = c.Write(t.Context(), Binary, make([]byte, 20<<10)) })
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestFlushOfCorkedFragment proves that MessageWriter.Flush sends a fragment that
// was held back although nothing is collected any more.
func TestFlushOfCorkedFragment(t *testing.T) {
	for _, size := range []int{1, fragmentSize, 3 * fragmentSize} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := memPair(t, server, &Config{PingInterval: -1, HoldReplies: time.Hour})
			go io.Copy(io.Discard, peer)
			notReading(t, c)
			c.out.cork.on.Store(true)
			w, err := c.Writer(t.Context(), Binary)
			require.NoError(t, err)
			_, err = w.Write(make([]byte, size))
			require.NoError(t, err)
			require.NoError(t, w.Flush())
			require.Greater(t, c.Stats().BytesOut, uint64(size))
			require.NoError(t, w.Close())
		})
	}
}

// eachWholeMessage calls f in a bubble with a reader of a message of so many bytes,
// which has come, with the peer's Close frame behind it: in each role, compressed
// or not.
func eachWholeMessage(t *testing.T, f func(t *testing.T, c *Conn, m *MessageReader, size int)) {
	for _, compression := range []*Compression{nil, {Threshold: -1}} {
		for _, size := range []int{0, 1, 5000, 300_000} {
			for _, r := range roles {
				t.Run(fmt.Sprintf("%s, %d bytes, compressed %v", r, size, compression != nil), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ours, theirs := faultnet.Pipe()
						cfg := (&Config{PingInterval: -1, Compression: compression}).withDefaults()
						c := newConn(ours, r, cfg, agreedFor(r, compression), nil)
						peer := newConn(theirs, r.other(), cfg, agreedFor(r.other(), compression), nil)
						defer c.CloseNow()
						c.readDeadlines().noteProven() // as on a socket: it is read in the background
						go func() {
							peer.Write(context.Background(), Binary, make([]byte, size))
							peer.Close(CloseNormal, "")
						}()
						_, m, err := c.Reader(t.Context())
						require.NoError(t, err)
						f(t, c, m, size)
					})
				})
			}
		}
	}
}

// TestReaderOfAWholeMessage proves that a reader that takes its time gets all of a
// message that has come, and its end, although the peer's Close frame is behind
// it.
func TestReaderOfAWholeMessage(t *testing.T) {
	eachWholeMessage(t, func(t *testing.T, c *Conn, m *MessageReader, size int) {
		n, err := 0, error(nil)
		for p := make([]byte, 20_000); err == nil; {
			time.Sleep(300 * time.Millisecond)
			var read int
			read, err = m.Read(p)
			n += read
		}
		require.Equal(t, io.EOF, err)
		require.Equal(t, size, n)
		_, _, err = c.Read(t.Context())
		require.ErrorIs(t, err, CloseNormal)
	})
}

// TestReaderEndsWithTheLastByte proves that the connection is read on once all
// bytes of a message were read, without the call that returns io.EOF.
func TestReaderEndsWithTheLastByte(t *testing.T) {
	eachWholeMessage(t, func(t *testing.T, c *Conn, m *MessageReader, size int) {
		_, err := io.ReadFull(m, make([]byte, size))
		require.NoError(t, err)
		began := time.Now()
		<-c.endedChan()
		require.Less(t, time.Since(began), time.Second)
		require.ErrorIs(t, c.terminal(), CloseNormal)
		_, err = m.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
	})
}
