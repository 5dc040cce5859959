package websocket

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// TestWriteDeadlineSetDuringWrite proves that a write deadline ends a Write that
// waits already.
func TestWriteDeadlineSetDuringWrite(t *testing.T) {
	covers(t, "Q.G04")
	synctest.Test(t, func(t *testing.T) {
		c, _ := memPair(t, server, nil)
		began := time.Now()
		time.AfterFunc(time.Second, func() { c.SetWriteDeadline(time.Now()) })
		err := c.Write(t.Context(), Binary, make([]byte, 2*faultnet.DefaultWindow))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
	})
}

// TestReadDeadlineSetDuringRead proves that a read deadline ends a Read that
// waits already.
func TestReadDeadlineSetDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := memPair(t, server, nil)
		began := time.Now()
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(time.Now().Add(time.Second)) })
		_, _, err := c.Read(t.Context())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// TestWriteDeadlineMovedAsItPasses moves the deadline between the moment when
// it ends a write and the moment when the writer looks at it.
func TestWriteDeadlineMovedAsItPasses(t *testing.T) {
	covers(t, "Q.G04")
	nc, _ := faultnet.Pipe()
	var c *Conn
	passed := false
	c = newConn(faultnet.OnWrite(nc, func(p []byte) (int, error) {
		if passed {
			return nc.Write(p)
		}
		passed = true
		c.SetWriteDeadline(time.Time{})
		return 0, os.ErrDeadlineExceeded
	}), server, (&Config{}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Hour)))
	require.ErrorIs(t, c.Write(t.Context(), Binary, []byte("late")), os.ErrDeadlineExceeded)
	require.NoError(t, c.Write(t.Context(), Binary, []byte("in time")))
}

// TestDeadlineSetWhileInLine sets deadlines while calls wait for others.
func TestDeadlineSetWhileInLine(t *testing.T) {
	covers(t, "Q.H01", "Q.H02")
	for name, call := range map[string]func(c *Conn) error{
		"write": func(c *Conn) error {
			return c.Write(context.Background(), Binary, make([]byte, 2*faultnet.DefaultWindow))
		},
		"stream": func(c *Conn) error {
			w, err := c.Writer(context.Background(), Binary)
			if err != nil {
				return err
			}
			_, err = w.Write(make([]byte, 2*faultnet.DefaultWindow))
			return err
		},
		"write behind a send": func(c *Conn) error {
			c.Send(Binary, make([]byte, 2*faultnet.DefaultWindow))
			return c.Write(context.Background(), Binary, nil)
		},
		"read": func(c *Conn) error {
			_, _, err := c.Read(context.Background())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := memPair(t, server, &Config{PingInterval: -1, WriteTimeout: time.Hour})
				began := time.Now()
				ended := make(chan error)
				for range 3 {
					go func() { ended <- call(c) }()
				}
				synctest.Wait()
				time.AfterFunc(time.Second, func() {
					c.SetReadDeadline(time.Now().Add(time.Second))
					c.SetWriteDeadline(time.Now().Add(time.Second))
				})
				for range 3 {
					require.ErrorIs(t, <-ended, os.ErrDeadlineExceeded)
				}
				require.Equal(t, 2*time.Second, time.Since(began))
			})
		})
	}
}
