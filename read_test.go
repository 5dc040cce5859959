package websocket

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadBufferIsGivenBackAtTheEnd(t *testing.T) {
	whole := clientFrame(0x82, string(ramp(100)))
	for _, sent := range [][]byte{nil, whole[:50], whole[:1], append(whole[:len(whole):len(whole)], whole[:20]...)} {
		nc, ns := tcpPair(t)
		s := newConn(ns, server, (&Config{PingInterval: -1}).settled(), agreement{}, nil)
		nc.Write(sent)
		nc.Close()
		var err error
		for err == nil {
			_, _, err = s.Read(t.Context())
		}
		require.ErrorIs(t, err, CloseAbnormal)
		require.Nil(t, s.in.buf)
	}
}
