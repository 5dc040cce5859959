package websocket

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// memoryConn returns a connection in memory and the net.Conn of its peer.
func memoryConn(r role, cfg *Config) (*Conn, *faultnet.Conn) {
	nc, peer := faultnet.Pipe()
	return newConn(nc, r, cfg.settled(), agreement{}, nil), peer
}

func TestWriteDeadlineSetDuringWrite(t *testing.T) {
	covers(t, "Q.G04")
	synctest.Test(t, func(t *testing.T) {
		c, _ := memoryConn(server, &Config{PingInterval: -1})
		defer c.CloseNow()
		began := time.Now()
		time.AfterFunc(time.Second, func() { c.SetWriteDeadline(time.Now()) })
		err := c.Write(t.Context(), Binary, make([]byte, 2*faultnet.DefaultWindow))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestReadDeadlineSetDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := memoryConn(server, &Config{PingInterval: -1})
		defer c.CloseNow()
		began := time.Now()
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(time.Now().Add(time.Second)) })
		_, _, err := c.Read(t.Context())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}
