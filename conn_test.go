package websocket

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEchoOfAllSizes proves that messages around every border of size survive
// both ways, and that Write leaves the slice as it was.
func TestEchoOfAllSizes(t *testing.T) {
	covers(t, "F07", "F08", "F14", "K02", "K05")
	c, s := connPair(t, &Config{MaxMessageSize: 4 << 20})
	go echo(s)
	ctx := t.Context()
	for _, size := range []int{0, 1, 2, 3, 125, 126, 127, 4095, 4096, 5000, 65535, 65536, 65537, 1 << 20, 3 << 20} {
		p := make([]byte, size)
		rand.Read(p)
		sent := bytes.Clone(p)
		done := make(chan error, 1)
		go func() { done <- c.Write(ctx, Binary, p) }()
		typ, got, err := c.Read(ctx)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Equal(t, Binary, typ)
		require.True(t, bytes.Equal(sent, got), "size %d", size)
		require.True(t, bytes.Equal(sent, p))
	}
	require.NoError(t, c.Close(CloseNormal, "bye"))
	_, _, err := s.Read(ctx)
	require.ErrorIs(t, err, CloseNormal)
	require.ErrorIs(t, err, net.ErrClosed)
	_, _, err = c.Read(ctx)
	require.ErrorIs(t, err, CloseNormal)
}

// TestPipelinedMessages proves that messages sent without waiting for their
// echoes come back in order.
func TestPipelinedMessages(t *testing.T) {
	c, s := connPair(t, nil)
	go echo(s)
	ctx := t.Context()
	const n = 10000
	go func() {
		for i := range n {
			c.Write(ctx, Text, []byte{byte('a' + i%26)})
		}
	}()
	i := 0
	for m, err := range c.Messages(ctx) {
		require.NoError(t, err)
		require.Equal(t, string(rune('a'+i%26)), string(m.Data))
		if i++; i == n {
			break
		}
	}
}

// TestReadGoesOnAfterDeadline proves that a context or a deadline may interrupt
// a Read at any byte of a frame without loss.
func TestReadGoesOnAfterDeadline(t *testing.T) {
	nc, ns := tcpPair(t)
	s := newConn(ns, server, (&Config{}).withDefaults(), agreement{}, nil)
	defer s.CloseNow()
	frame := appendFrame(nil, header{byte0: bitFIN | byte(opText), masked: true, key: 0x01020304, length: 5}, []byte("Hello")).b
	for _, b := range frame {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := s.Read(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, _, err = s.Read(t.Context())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		nc.Write([]byte{b})
	}
	s.SetReadDeadline(time.Time{})
	_, p, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Hello", string(p))
}

// TestPingWithNobodyReading proves that Ping works while the application does
// not read, and loses no message.
func TestPingWithNobodyReading(t *testing.T) {
	c, s := connPair(t, nil)
	go s.Read(t.Context())
	_, err := c.Ping(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Write(t.Context(), Text, []byte("data")))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for err == nil {
		_, err = c.Ping(ctx)
	}
	_, p, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "data", string(p))
}

// TestSend proves that queued messages all arrive, and that Drain returns when
// they have left.
func TestSend(t *testing.T) {
	c, s := connPair(t, nil)
	for range 1000 {
		require.NoError(t, s.Send(Text, []byte("hello")))
	}
	go s.Drain(t.Context())
	for range 1000 {
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
	}
	require.NoError(t, s.Drain(t.Context()))
	n, b := s.Queued()
	require.Zero(t, n)
	require.Zero(t, b)
}

// TestConcurrentWriters proves that many goroutines may write at once.
func TestConcurrentWriters(t *testing.T) {
	c, s := connPair(t, nil)
	for range 16 {
		go func() {
			for range 500 {
				s.Write(t.Context(), Binary, make([]byte, 300))
			}
		}()
	}
	for range 16 * 500 {
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, p, 300)
	}
}

// TestBadFrame proves that an unmasked frame fails a server with 1002, which the
// peer is told.
func TestBadFrame(t *testing.T) {
	nc, ns := tcpPair(t)
	s := newConn(ns, server, (&Config{}).withDefaults(), agreement{}, nil)
	nc.Write([]byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'})
	_, _, err := s.Read(t.Context())
	var pe *ProtocolError
	require.True(t, errors.As(err, &pe))
	require.ErrorIs(t, err, CloseProtocolError)
	all, err := io.ReadAll(nc)
	require.NoError(t, err)
	require.Equal(t, []byte{0x03, 0xea}, all[2:4])
}

// TestReadersWaitTheirTurn proves that two goroutines that read at once share the
// messages, and that no Read fails or hangs for that.
func TestReadersWaitTheirTurn(t *testing.T) {
	covers(t, "Q.H02")
	c, s := connPair(t, nil)
	ctx := t.Context()
	const messages = 50
	results := make(chan error)
	for range 2 {
		go func() {
			for range messages {
				_, _, err := s.Read(ctx)
				results <- err
			}
		}()
	}
	for range 2 * messages {
		require.NoError(t, c.WriteString(ctx, "a"))
		require.NoError(t, <-results)
	}
}

// TestSizes holds what every connection takes, whatever it does.
func TestSizes(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("the sizes are those of machines with 64 bits")
	}
	require.LessOrEqual(t, int(reflect.TypeFor[Conn]().Size()), 288)
	require.LessOrEqual(t, int(reflect.TypeFor[keepalive]().Size()), 48)
	require.LessOrEqual(t, int(reflect.TypeFor[lifetime]().Size()), 32)
	require.LessOrEqual(t, int(reflect.TypeFor[fifoLock]().Size()), 4)
	require.LessOrEqual(t, int(reflect.TypeFor[wheelEntry[Conn]]().Size()), 16)
}
