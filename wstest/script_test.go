package wstest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		NewServer(t, echo).RawPeer().Play(`
			# The opening handshake, by hand.
			send "GET / HTTP/1.1\r\nHost: server.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			send "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
			want "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			want "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

			send 81 85 <37fa213d> "Hello"
			want 81 05 "Hello"
			send 82 fe 0080 <00000000> 00*64 "ab"*32
			wait 5s
			want 82 7e 0080 00*64 "ab"*32
			send 88 80 <00000000>
			want 88 00
			eof
			end`)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestPlayAgainstAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := ClientConn(t, nil)
		go c.WriteString(t.Context(), "Hello")
		p.Play(`
			want 81 85 <*> "Hello"
			reset`)
		_, _, err := c.Read(t.Context())
		require.Error(t, err)
	})
}

func TestPlayStopsTheTest(t *testing.T) {
	for script, want := range map[string]string{
		`dance`:                         `there is no "dance"`,
		`eof now`:                       `takes no argument`,
		`wait long`:                     `invalid duration`,
		`send 8`:                        `no bytes at "8"`,
		`send xy`:                       `no bytes at "xy"`,
		`send "open`:                    `no bytes`,
		`send 00*`:                      `no number of times`,
		`send 81 80 <37fa>`:             `not a key of four bytes`,
		`send 80 <00000000> <00000000>`: `one key`,
		`send 81 80 <*>`:                `needs a key`,
		`want 82 00`:                    `received 81 00`,
		`want 81 00 00`:                 `then unexpected EOF`,
	} {
		t.Run(script, func(t *testing.T) {
			near, far := faultnet.Pipe()
			other := RawServer(t, far)
			other.SendFrame(TextFrame(""))
			other.CloseWrite()
			got := stops(t, func(t testing.TB) { RawClient(t, near).Play(script) })
			require.Contains(t, got, want)
		})
	}
	near, _ := faultnet.Pipe()
	near.Close()
	for _, script := range []string{`send 00`, `want 00`} {
		require.Contains(t, stops(t, func(t testing.TB) { RawClient(t, near).Play(script) }), "closed")
	}
}

func TestOctetsWithAKey(t *testing.T) {
	o, err := parseOctets(`8182<01020304>"ab" 00*3`)
	require.NoError(t, err)
	require.Equal(t, "\x81\x82\x01\x02\x03\x04"+"`"+"`"+"\x03\x04\x01", string(o.wire()))
	require.False(t, strings.Contains(string(o.wire()), "ab"))
}
