package websocket

import (
	"context"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	fullduplex "github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

// interruptions are the calls that a context interrupts while they wait: the
// peer reads and sends nothing.
var interruptions = map[string]func(ctx context.Context, c *Conn) error{
	"Read": func(ctx context.Context, c *Conn) error {
		_, _, err := c.Read(ctx)
		return err
	},
	"Reader": func(ctx context.Context, c *Conn) error {
		_, _, err := c.Reader(ctx)
		return err
	},
	"Write": func(ctx context.Context, c *Conn) error {
		return c.Write(ctx, MessageBinary, make([]byte, 1<<20))
	},
	"Writer": func(ctx context.Context, c *Conn) error {
		w, err := c.Writer(ctx, MessageBinary)
		if err != nil {
			return err
		}
		if _, err = w.Write(make([]byte, 1<<20)); err == nil {
			err = w.Close()
		}
		return err
	},
}

func TestContextThatEndsDuringACallCloses(t *testing.T) {
	for name, call := range interruptions {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := rawClient(t)
				err := call(within(t, time.Second), c)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.True(t, hasEnded(c))
				err = call(background, c)
				require.Error(t, err)
				require.Equal(t, StatusCode(-1), CloseStatus(err))
			})
		})
	}
}

func TestContextThatHasEndedLeavesOpen(t *testing.T) {
	for name, call := range interruptions {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := pipe(t)
				require.ErrorIs(t, call(canceled(), c), context.Canceled)
				sends(t, c, "still open")
				receives(t, s, "still open")
			})
		})
	}
}

func TestContextEndsWithinAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		peer.SendFrame(wstest.TextFrame("begin").Fragment())
		_, r, err := c.Reader(within(t, time.Second))
		require.NoError(t, err)
		n, err := r.Read(make([]byte, 5))
		require.NoError(t, err)
		require.Equal(t, 5, n)
		_, err = r.Read(make([]byte, 5))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, hasEnded(c))
	})
}

// TestSecondWriterGivesUp: the context of a writer that waits for another one
// closes the connection, too.
func TestSecondWriterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		w, err := c.Writer(background, MessageText)
		require.NoError(t, err)
		_, err = c.Writer(within(t, time.Second), MessageText)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, hasEnded(c))
		require.Error(t, w.Close())
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		require.NoError(t, c.Ping(background)) // nobody reads
		require.NoError(t, s.Ping(background))
	})
}

func TestPingWithoutPongLeavesOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		go peer.NextFrame()
		err := c.Ping(within(t, time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, hasEnded(c))
	})
}

func TestPingAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		c.CloseNow()
		require.ErrorIs(t, c.Ping(background), net.ErrClosed)
	})
}

// TestNoKeepalive: nothing is sent on an idle connection.
func TestNoKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		time.Sleep(24 * time.Hour)
		require.False(t, hasEnded(c))
		require.Zero(t, s.Unwrap().Stats().FramesIn+c.Unwrap().Stats().FramesIn)
	})
}

func TestUnwrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		require.NoError(t, c.Unwrap().WriteString(background, "below"))
		receives(t, s, "below")
		require.Same(t, c.Unwrap(), Wrap(c.Unwrap()).Unwrap())
	})
}

// TestWrap: the options of a wrapped connection stay.
func TestWrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := wstest.Pipe(t, nil, nil)
		s, c := Wrap(server), Wrap(client)
		go s.Write(background, MessageBinary, make([]byte, 100_000))
		_, p, err := c.Read(background)
		require.NoError(t, err)
		require.Len(t, p, 100_000)
	})
}

// TestDeadlinesOfUnwrap: deadlines set below interrupt calls, and leave the
// connection open.
func TestDeadlinesOfUnwrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		c.Unwrap().SetReadDeadline(time.Now().Add(time.Second))
		_, _, err := c.Read(background)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.False(t, hasEnded(c))
	})
}

func TestErrorsOfTheLibraryBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		go s.Close(StatusGoingAway, "restart")
		_, _, err := c.Read(background)
		var end *fullduplex.CloseError
		require.ErrorAs(t, err, &end)
		require.ErrorIs(t, err, fullduplex.CloseGoingAway)
		require.NotErrorIs(t, err, fullduplex.CloseNormal)
	})
}
