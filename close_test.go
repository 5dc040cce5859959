package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestClosePayload proves which codes may be in a Close frame, received and
// sent.
func TestClosePayload(t *testing.T) {
	covers(t, "X01", "X02", "Q.F01", "Q.F02", "Q.F15", "R01", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09")
	registered := func(c int) bool {
		return c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999
	}
	for code := range 1 << 16 {
		p := appendClosePayload(nil, CloseCode(code), "why")
		got, reason, v := parseClosePayload(p)
		switch {
		case code == 0:
			require.Empty(t, p)
		case registered(code):
			require.Equal(t, noViolation, v, code)
			require.Equal(t, CloseCode(code), got)
			require.Equal(t, "why", reason)
		default:
			require.Equal(t, closeCodeInvalid, v, code)
			require.Equal(t, code != int(CloseNoStatus), checkClose(CloseCode(code)) != nil)
		}
	}
	_, _, v := parseClosePayload([]byte{3})
	require.Equal(t, closePayloadTooShort, v)
	_, _, v = parseClosePayload([]byte{3, 0xe8, 0xff})
	require.Equal(t, closeReasonNotUTF8, v)
	code, _, _ := parseClosePayload(nil)
	require.Equal(t, CloseNoStatus, code)
}

// TestCloseReasonIsCutBetweenRunes proves that a reason that is too long is cut
// as late as possible, and never inside a rune.
func TestCloseReasonIsCutBetweenRunes(t *testing.T) {
	for n := range 130 {
		reason := strings.Repeat("x", n) + "€€€€"
		p := appendClosePayload(nil, CloseNormal, reason)
		require.LessOrEqual(t, len(p), maxControlPayload)
		require.True(t, utf8.Valid(p[2:]))
		require.True(t, strings.HasPrefix(reason, string(p[2:])))
		require.Greater(t, len(p)+3, min(maxControlPayload, len(reason)+2))
	}
}

// outcome is what a call of Close and a reader saw.
type outcome struct{ closeErr, readErr error }

// closeWhileReading closes c while another goroutine reads.
func closeWhileReading(c *Conn, code CloseCode) (o outcome) {
	var wg sync.WaitGroup
	wg.Go(func() { o.readErr = readToEnd(c) })
	o.closeErr = c.Close(code, "")
	wg.Wait()
	return o
}

// TestWeCloseFirst proves that data may come before the answer, that Close reports
// the peer's code, and that nothing is sent after its Close frame.
func TestWeCloseFirst(t *testing.T) {
	covers(t, "X03", "X06", "X11", "X12", "X13", "X14", "F12", "Q.F04", "W10", "W11")
	for _, reading := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, nil)
			require.NoError(t, c.Write(t.Context(), Text, []byte("before")))
			var peer sync.WaitGroup
			peer.Go(func() {
				io.ReadFull(far, make([]byte, 8+4))
				far.Write(clientFrame(0x81, "too late"))
				far.Write(clientFrame(0x88, "\x0b\xb8bye"))
				rest, err := io.ReadAll(far)
				assert.NoError(t, err)
				assert.Empty(t, rest)
				far.Close()
			})
			var readErr error
			if reading {
				o := closeWhileReading(c, CloseGoingAway)
				require.NoError(t, o.closeErr)
				readErr = o.readErr
			} else {
				require.NoError(t, c.Close(CloseGoingAway, ""))
				_, _, readErr = c.Read(t.Context())
			}
			var end *CloseError
			require.ErrorAs(t, readErr, &end)
			require.Equal(t, &CloseError{Code: 3000, Reason: "bye", Received: true, Sent: true}, end)
			require.Equal(t, readErr, c.Write(t.Context(), Text, nil))
			require.NoError(t, c.Close(CloseNormal, ""), "again")
			peer.Wait()
		})
	}
}

// TestPeerClosesFirst proves that a Close frame is answered once with its own
// payload, and that nothing behind it is delivered.
func TestPeerClosesFirst(t *testing.T) {
	covers(t, "X04", "X08", "X09", "X10", "X16", "Q.F03")
	for payload, answer := range map[string]string{"": "", "\x03\xe8": "\x03\xe8", "\x0b\xb8why": "\x0b\xb8why"} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, nil)
			far.Write(clientFrame(0x88, payload))
			far.Write(clientFrame(0x81, "after the end"))
			far.Write(clientFrame(0x89, ""))
			far.Write(clientFrame(0x88, ""))
			_, _, err := c.Read(t.Context())
			code, reason, _ := parseClosePayload([]byte(payload))
			require.Equal(t, &CloseError{Code: code, Reason: reason, Received: true, Sent: true}, err)
			payloads, opcodes := readFrames(t, far)
			require.Equal(t, []opcode{opClose}, opcodes)
			require.Equal(t, []string{answer}, payloads)
			for _, err := range c.Messages(t.Context()) {
				require.Error(t, err, "a message after the end")
			}
			far.Close()
			synctest.Wait()
		})
	}
}

// TestClientWaitsForTheServerToEnd proves that a client leaves the end of TCP to
// the server.
func TestClientWaitsForTheServerToEnd(t *testing.T) {
	covers(t, "X06", "X10")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, client, nil)
		done := make(chan error, 1)
		go func() { done <- c.Close(CloseNormal, "") }()
		synctest.Wait()
		far.Write(appendFrame(nil, header{byte0: 0x88}, nil).b)
		synctest.Wait()
		require.Empty(t, done, "Close returned before the server ended TCP")
		far.CloseWrite()
		require.NoError(t, <-done)
	})
}

// TestBothCloseAtOnce proves that each of two ends that close at once sends one
// Close frame and reports what the other said.
func TestBothCloseAtOnce(t *testing.T) {
	covers(t, "X07", "Q.F06", "Q.F10")
	synctest.Test(t, func(t *testing.T) {
		c, s := memConns(t, nil)
		notReading(t, c, s)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { assert.NoError(t, c.Close(4001, "client")) })
			wg.Go(func() { assert.NoError(t, s.Close(4002, "server")) })
		}
		wg.Wait()
		require.ErrorIs(t, c.terminal(), CloseCode(4002))
		require.ErrorIs(t, s.terminal(), CloseCode(4001))
		require.EqualValues(t, 1, c.Stats().FramesOut)
		require.EqualValues(t, 1, s.Stats().FramesOut)
	})
}

// TestCloseIsNeverAnswered proves that Close gives up after CloseTimeout,
// whether or not its frame could leave.
func TestCloseIsNeverAnswered(t *testing.T) {
	covers(t, "X22", "X23", "Q.F05", "Q.F11", "Q.G05")
	for _, window := range []int{1 << 16, 3, 0} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, nil)
			far.SetWindow(window)
			go c.Write(t.Context(), Text, []byte("no one reads this"))
			synctest.Wait()
			began := time.Now()
			err := c.Close(CloseGoingAway, "")
			require.Equal(t, 5*time.Second, time.Since(began))
			require.ErrorIs(t, err, CloseAbnormal)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, net.ErrClosed)
			require.Equal(t, err, context.Cause(c.Context()))
		})
	}
}

// TestCloseAnsweredByteByByte proves that a peer cannot prolong Close by sending
// a message slowly.
func TestCloseAnsweredByteByByte(t *testing.T) {
	covers(t, "Q.F05")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		go func() {
			for _, b := range clientFrame(0x81, "a long message that never ends in time") {
				time.Sleep(time.Second)
				if _, err := far.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		require.ErrorIs(t, c.Close(CloseNormal, ""), CloseAbnormal)
		require.Equal(t, 5*time.Second, time.Since(began))
		far.Close()
		time.Sleep(time.Minute)
	})
}

// TestEndWithoutClose proves that an end of the stream without a Close frame is
// 1006, with the same error from every call.
func TestEndWithoutClose(t *testing.T) {
	covers(t, "G10", "X18", "Q.F07", "Q.F09", "Q.F13", "Q.J11", "Q.C08")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.CloseWrite()
		_, _, err := c.Read(t.Context())
		require.Equal(t, &CloseError{Code: CloseAbnormal, Err: io.ErrUnexpectedEOF}, err)
		for range 1000 {
			_, _, again := c.Read(t.Context())
			require.True(t, again == err)
		}
		require.Equal(t, err, c.Write(t.Context(), Text, nil))
	})
}

// TestCloseNow proves that CloseNow ends every call that waits at once, and that
// every later call fails.
func TestCloseNow(t *testing.T) {
	covers(t, "Q.F10")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, client, nil)
		far.SetWindow(0)
		errs := make(chan error, 4)
		go func() { _, _, err := c.Read(context.Background()); errs <- err }()
		go func() { errs <- c.Write(context.Background(), Text, []byte("x")) }()
		synctest.Wait()
		go func() { _, err := c.Ping(context.Background()); errs <- err }()
		go func() { errs <- c.Drain(context.Background()) }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, c.CloseNow())
		require.NoError(t, c.CloseNow())
		for range 4 {
			err := <-errs
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, err, CloseAbnormal)
		}
		require.Zero(t, time.Since(began))
		require.ErrorIs(t, c.SetReadDeadline(time.Now()), net.ErrClosed)
		require.ErrorIs(t, c.SetWriteDeadline(time.Now()), net.ErrClosed)
		require.ErrorIs(t, c.Send(Text, nil), net.ErrClosed)
		require.ErrorIs(t, c.Flush(), net.ErrClosed)
		_, err := c.Writer(context.Background(), Text)
		require.ErrorIs(t, err, net.ErrClosed)
		_, _, err = c.Reader(context.Background())
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestPeerLearnsWhyDespiteUnreadInput proves that a peer whose input was not all
// read receives our Close frame and the end of the stream, not a reset.
func TestPeerLearnsWhyDespiteUnreadInput(t *testing.T) {
	covers(t, "X09", "X15", "Q.D02", "Q.F14", "E04", "E05")
	for _, unread := range []int{0, 100 << 10, 1 << 20, 4 << 20} {
		nc, ns := tcpPair(t)
		s := newConn(ns, server, (&Config{}).withDefaults(), agreement{}, nil)
		go func() {
			nc.Write(appendHeader(nil, header{byte0: 0x82, masked: true, length: 1<<20 + 1}))
			nc.Write(make([]byte, unread))
		}()
		_, _, err := s.Read(t.Context())
		require.ErrorIs(t, err, ErrMessageTooBig)
		require.ErrorIs(t, err, CloseMessageTooBig)
		got, err := io.ReadAll(nc)
		require.NoError(t, err, "end of file, not a reset")
		require.True(t, bytes.HasPrefix(got[2:], []byte{0x03, 0xf1}))
		nc.Close()
	}
}

// TestDrainIsBounded proves that a peer that goes on sending after its Close
// frame is cut off.
func TestDrainIsBounded(t *testing.T) {
	covers(t, "Q.F03")
	nc, ns := tcpPair(t)
	s := newConn(ns, server, (&Config{}).withDefaults(), agreement{}, nil)
	nc.Write(clientFrame(0x88, ""))
	_, _, err := s.Read(t.Context())
	require.ErrorIs(t, err, CloseNoStatus)
	junk := make([]byte, 1<<20)
	sent := 0
	for err = nil; err == nil && sent < 1<<30; {
		var n int
		n, err = nc.Write(junk)
		sent += n
	}
	require.Error(t, err)
}

// TestCloseError proves what a CloseError matches and says, and that every
// violation has a code, a text and a section.
func TestCloseError(t *testing.T) {
	covers(t, "X21", "R11", "Q.J06")
	end := &CloseError{Code: CloseGoingAway, Reason: "\x1b[31m\n", Err: io.ErrUnexpectedEOF}
	require.Equal(t, `websocket: closed: 1001 (going away) "\x1b[31m\n": unexpected EOF`, end.Error())
	require.ErrorIs(t, end, CloseGoingAway)
	require.NotErrorIs(t, end, CloseNormal)
	require.ErrorIs(t, end, net.ErrClosed)
	require.ErrorIs(t, end, io.ErrUnexpectedEOF)
	require.Equal(t, "4321", CloseCode(4321).String())
	require.Equal(t, "websocket: close 1000 (normal closure)", CloseNormal.Error())
	for v := noViolation + 1; v < violationCount; v++ {
		breach := v.err()
		require.True(t, breach.Code.onWire())
		require.NotEmpty(t, breach.Text)
		require.Contains(t, breach.Section, "RFC ")
		require.LessOrEqual(t, len(breach.Text), maxReason)
		var target *ProtocolError
		require.True(t, errors.As(error(&CloseError{Err: breach}), &target))
		require.Contains(t, breach.Error(), "websocket: ")
	}
}

// TestMessagesEndQuietly proves which codes of the peer end a loop over Messages
// without an error.
func TestMessagesEndQuietly(t *testing.T) {
	for code, quiet := range map[CloseCode]bool{
		CloseNormal: true, CloseGoingAway: true, 0: true, CloseInternalError: false, 4000: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, nil)
			far.Write(clientFrame(0x88, string(appendClosePayload(nil, code, ""))))
			turns := 0
			for _, err := range c.Messages(t.Context()) {
				require.Error(t, err)
				turns++
			}
			require.Equal(t, quiet, turns == 0, code)
			far.Close()
			synctest.Wait()
		})
	}
}

// TestClientDoesNotCloseOnItsOwn proves that two idle ends stay connected for a
// day.
func TestClientDoesNotCloseOnItsOwn(t *testing.T) {
	covers(t, "X17")
	synctest.Test(t, func(t *testing.T) {
		c, s := memConns(t, nil)
		go echo(c)
		go echo(s)
		time.Sleep(24 * time.Hour)
		require.NoError(t, c.terminal())
		require.NoError(t, s.terminal())
		require.NoError(t, c.Close(CloseNormal, ""))
	})
}

// TestCloseWaitsWhileTheQueueMoves closes with a queue that needs most of
// CloseTimeout to leave: nothing is given up as long as the peer takes something.
func TestCloseWaitsWhileTheQueueMoves(t *testing.T) {
	covers(t, "V14")
	synctest.Test(t, func(t *testing.T) {
		const messages, size = 40, 10 << 10
		c, far := memPair(t, server, &Config{PingInterval: -1})
		far.SetWindow(1 << 10)
		for range messages {
			require.NoError(t, c.Send(Binary, make([]byte, size)))
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close(CloseNormal, "") }()
		received := make(chan []byte, 1)
		go func() { received <- slowly(far, messages*size/4) }()
		synctest.Wait()
		far.SetReadDeadline(time.Now().Add(4800 * time.Millisecond))
		payloads, opcodes := framesIn(t, <-received)
		require.Len(t, payloads, messages+1)
		require.Equal(t, opClose, opcodes[messages])
		far.Close()
		require.NotContains(t, fmt.Sprint(<-closed), "given up")
	})
}

// TestCloseWithOpenWriterAndQueue closes while a streamed message keeps queued
// ones waiting: the closing handshake is done nevertheless, and Close says what
// was given up.
func TestCloseWithOpenWriterAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		_, err := c.Writer(t.Context(), Text)
		require.NoError(t, err)
		require.NoError(t, c.Send(Text, []byte("queued")))
		go func() {
			if _, _, err := newRawPeer(far, server).readClose(); assert.NoError(t, err) {
				far.Write(clientFrame(0x88, "\x03\xe8"))
			}
		}()
		require.ErrorContains(t, c.Close(CloseNormal, ""), "given up: 1, with 6 bytes")
		require.True(t, asCloseError(c.terminal()).clean())
	})
}

// TestCloseFrameUnderExpiredWriteDeadline lets the deadline of a write pass,
// and then makes the connection end: the peer is told, because the deadline was
// for the application's writes.
func TestCloseFrameUnderExpiredWriteDeadline(t *testing.T) {
	covers(t, "X04", "R11")
	for _, tt := range []struct {
		name string
		sent []byte
		code CloseCode
	}{
		{"Close frame", clientFrame(0x88, "\x03\xe8"), CloseNormal},
		{"violation", clientFrame(0x83, ""), CloseProtocolError},
	} {
		t.Run(tt.name+" in memory", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := memPair(t, server, nil)
				require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
				require.NoError(t, c.Write(t.Context(), Text, []byte("in time")))
				time.Sleep(time.Minute)
				far.Write(tt.sent)
				require.ErrorIs(t, readToEnd(c), tt.code)
				far.CloseWrite()
				payloads, ops := readFrames(t, far)
				require.Equal(t, []opcode{opText, opClose}, ops)
				require.Equal(t, appendClosePayload(nil, tt.code, ""), []byte(payloads[1])[:2])
			})
		})
		t.Run(tt.name+" over TCP", func(t *testing.T) {
			nc, ns := tcpPair(t)
			s := newConn(ns, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
			defer s.CloseNow()
			require.NoError(t, s.SetWriteDeadline(time.Now().Add(-time.Second)))
			nc.Write(tt.sent)
			require.ErrorIs(t, readToEnd(s), tt.code)
			nc.(*net.TCPConn).CloseWrite()
			nc.SetReadDeadline(time.Now().Add(5 * time.Second))
			payloads, ops := readFrames(t, nc)
			require.Equal(t, []opcode{opClose}, ops)
			require.Equal(t, appendClosePayload(nil, tt.code, ""), []byte(payloads[0])[:2])
		})
	}
}
