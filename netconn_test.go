package websocket

import (
	"bytes"
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
