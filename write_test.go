package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// TestLineOfClosedConnection closes a connection while one Write is on the
// network and another waits behind it: both return.
func TestLineOfClosedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := faultnet.Pipe()
		defer far.Close()
		release := make(chan struct{})
		var calls atomic.Int32
		nc := faultnet.OnWrite(near, func(p []byte) (int, error) {
			if calls.Add(1) > 1 {
				return near.Write(p)
			}
			<-release
			return len(p), nil
		})
		c := newConn(nc, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- c.Write(context.Background(), Text, []byte("text")) }()
			synctest.Wait()
		}
		far.Write(clientFrame(0x88, "\x03\xe8"))
		require.ErrorIs(t, readToEnd(c), CloseNormal)
		c.CloseNow()
		synctest.Wait() // until nothing is written any more
		close(release)
		synctest.Wait()
		for range 2 {
			require.ErrorIs(t, <-errs, net.ErrClosed)
		}
	})
}

// TestContextOfWriteAfterPeerClosed proves that a blocked Write still ends with
// its context after the peer has closed.
func TestContextOfWriteAfterPeerClosed(t *testing.T) {
	covers(t, "Q.G03")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		far.SetWindow(0)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			c.Write(ctx, Text, []byte("blocked"))
			assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		})
		synctest.Wait()
		far.Write(clientFrame(0x88, "\x03\xe8"))
		require.ErrorIs(t, readToEnd(c), CloseNormal)
		wg.Wait()
	})
}

// TestWriteOnClosedPipe writes to a net.Conn that refuses to set deadlines
// because it is over. That is an error of the network, which ends the
// connection, and not of the caller.
func TestWriteOnClosedPipe(t *testing.T) {
	covers(t, "X18", "Q.G07")
	near, far := net.Pipe()
	c := newConn(near, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	far.Close()
	require.ErrorIs(t, c.Write(t.Context(), Binary, []byte("x")), CloseAbnormal)
	require.ErrorIs(t, context.Cause(c.Context()), CloseAbnormal)
}

// A noDeadlines is a net.Conn without deadlines. It ends when it was asked for
// one too often, so that nobody asks for ever.
type noDeadlines struct {
	*faultnet.Conn
	asked atomic.Int32
}

// mostDeadlines is how often a noDeadlines may be asked.
const mostDeadlines = 20

// SetReadDeadline fails.
func (n *noDeadlines) SetReadDeadline(time.Time) error {
	if n.asked.Add(1) > mostDeadlines {
		n.Conn.Close()
	}
	return errNoDeadlines
}

// SetWriteDeadline fails.
func (n *noDeadlines) SetWriteDeadline(t time.Time) error { return n.SetReadDeadline(t) }

// TestConnWithoutDeadlines uses a net.Conn that has no deadlines. What needs
// them fails, or waits, but does not try again and again.
func TestConnWithoutDeadlines(t *testing.T) {
	covers(t, "Q.G07")
	uses := map[string]func(t *testing.T, c *Conn){
		"Send": func(t *testing.T, c *Conn) {
			c.Send(Text, []byte("x"))
			synctest.Wait()
		},
		"Close": func(t *testing.T, c *Conn) { require.Error(t, c.Close(CloseNormal, "")) },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := faultnet.Pipe()
				defer far.Close()
				nc := &noDeadlines{Conn: near}
				c := newConn(nc, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
				defer c.CloseNow()
				use(t, c)
				require.LessOrEqual(t, nc.asked.Load(), int32(mostDeadlines))
			})
		})
	}
}

// overTLS runs f in a bubble with a server over TLS, the peer's end of that,
// and the end of the network that is below the peer's.
func overTLS(t *testing.T, cfg Config, f func(t *testing.T, s *Conn, peer *tls.Conn, below *faultnet.Conn)) {
	t.Helper()
	serverTLS() // which needs a real network
	synctest.Test(t, func(t *testing.T) {
		near, far := faultnet.Pipe()
		peer, ns := tlsEnds(t, far, near)
		cfg.PingInterval = -1
		s := newConn(ns, server, cfg.withDefaults(), agreement{}, nil)
		defer far.Close()
		defer s.CloseNow()
		f(t, s, peer, far)
	})
}

// TestInterruptedWriteOverTLS lets a context interrupt a write inside a TLS
// record, which cannot be resumed: that ends the connection, and every later
// call says so.
func TestInterruptedWriteOverTLS(t *testing.T) {
	covers(t, "Q.G03")
	overTLS(t, Config{}, func(t *testing.T, s *Conn, peer *tls.Conn, below *faultnet.Conn) {
		below.SetWindow(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, s.Write(ctx, Binary, make([]byte, 100)))
		below.SetWindow(faultnet.DefaultWindow)
		go io.Copy(io.Discard, peer)
		for range 3 {
			require.ErrorIs(t, s.Write(t.Context(), Binary, []byte("after")), CloseAbnormal)
		}
		require.ErrorIs(t, context.Cause(s.Context()), CloseAbnormal)
	})
}

// TestExpiredWriteOverTLS begins a write after its deadline. Nothing of it is
// written, so the connection lives.
func TestExpiredWriteOverTLS(t *testing.T) {
	overTLS(t, Config{}, func(t *testing.T, s *Conn, peer *tls.Conn, _ *faultnet.Conn) {
		go io.Copy(io.Discard, peer)
		require.NoError(t, s.SetWriteDeadline(time.Now().Add(-time.Second)))
		require.ErrorIs(t, s.Write(t.Context(), Binary, []byte("late")), os.ErrDeadlineExceeded)
		require.NoError(t, s.SetWriteDeadline(time.Time{}))
		for range 3 {
			require.NoError(t, s.Write(t.Context(), Binary, []byte("after")))
		}
	})
}

// TestReadSendsHeldReplyOverTLS corks a reply until a Read waits for input, and
// lets nobody take it at first. Neither the context of that Read nor a write
// deadline that is over interrupts the TLS record.
func TestReadSendsHeldReplyOverTLS(t *testing.T) {
	for _, expired := range []bool{false, true} {
		overTLS(t, Config{HoldReplies: time.Hour, WriteTimeout: time.Minute}, func(t *testing.T, s *Conn, peer *tls.Conn, below *faultnet.Conn) {
			if expired {
				require.NoError(t, s.SetWriteDeadline(time.Now().Add(-time.Hour)))
			}
			peer.Write(bytes.Repeat(clientFrame(0x81, "a message of some length"), 2))
			_, _, err := s.Read(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Write(t.Context(), Text, []byte("corked")))
			_, _, err = s.Read(t.Context())
			require.NoError(t, err)
			below.SetWindow(0)
			readForASecond(t, s)
			below.SetWindow(faultnet.DefaultWindow)
			_, p := readFrame(t, peer)
			require.Equal(t, "corked", string(p))
			require.NoError(t, s.SetWriteDeadline(time.Time{}))
			require.NoError(t, s.Write(t.Context(), Binary, []byte("after")))
		})
	}
}

// A lateWriter is a net.Conn without deadlines, of which a Write that was
// interrupted returns that it has written a part.
type lateWriter struct {
	withoutDeadlines
	interrupt func()
	closed    chan struct{}
}

// Close closes the net.Conn.
func (w *lateWriter) Close() error {
	defer close(w.closed)
	return w.withoutDeadlines.Close()
}

// Write is interrupted, and succeeds.
func (w *lateWriter) Write(p []byte) (int, error) {
	w.interrupt()
	<-w.closed
	return len(p), nil
}

// TestWriteThatClosesTheTransport proves that a write whose context has closed
// the net.Conn, which has no deadlines, says that the connection is closed, also
// if a part was written at that moment.
func TestWriteThatClosesTheTransport(t *testing.T) {
	covers(t, "V16")
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	nc := &lateWriter{withoutDeadlines{near}, cancel, make(chan struct{})}
	c := newConn(nc, client, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	err := c.Write(ctx, Binary, make([]byte, 1<<20))
	require.ErrorIs(t, err, net.ErrClosed)
	<-c.Context().Done()
}
