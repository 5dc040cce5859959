//go:build !race

package websocket

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGroupSendDoesNotAllocate(t *testing.T) {
	var g Group
	for range 20 {
		nc, peer := tcpPair(t)
		go io.Copy(io.Discard, peer)
		s := newConn(nc, server, (&Config{}).withDefaults(), agreement{}, nil)
		defer s.CloseNow()
		g.Add(s)
	}
	m := Prepare(Text, []byte("tick"))
	perSend := testing.AllocsPerRun(200, func() { g.Send(m) })
	require.Less(t, perSend, 1.0)
}
