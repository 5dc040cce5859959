package websocket

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fullduplex-go/websocket/internal/flate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// marker is what secrets consist of.
const marker = "SECRET-MARKER-"

// TestNothingLeaksBetweenConnections compares what a connection sends, after
// others have had secrets in the memory it uses, with what it would send alone.
func TestNothingLeaksBetweenConnections(t *testing.T) {
	covers(t, "Z16", "Q.E10", "Q.E04", "Q.I05")
	for _, context := range []flate.Context{flate.NoTakeover, flate.Takeover} {
		cfg := Compression{Threshold: -1, NoContextTakeover: context == flate.NoTakeover, PeerNoContextTakeover: context == flate.NoTakeover}
		for i := range 30 {
			synctest.Test(t, func(t *testing.T) { exchangeSecrets(t, cfg, i) })
			synctest.Test(t, func(t *testing.T) { sendAlone(t, cfg, context) })
			synctest.Test(t, func(t *testing.T) { askForMore(t, cfg, i%2 == 0) })
		}
	}
}

// exchangeSecrets sends and receives secrets, and ends in the middle of one.
func exchangeSecrets(t *testing.T, cfg Compression, i int) {
	e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1, Compression: &cfg}, loop: readLoops[i%len(readLoops)].loop})
	secret := strings.Repeat(marker, 1+i*i)
	require.NoError(t, e.conn.WriteString(t.Context(), secret))
	theirs := flate.NewCompressor(15, 6, flate.NoTakeover)
	payload := string(theirs.AppendLast(nil, []byte(secret)))
	e.recv(clientFrame(0xc1, payload))
	e.recv(clientFrame(0x41, payload[:len(payload)/2]))
	messages, _ := e.seen()
	require.Equal(t, []modelEvent{{modelMessage, Text, secret}}, messages)
	e.abandon()
}

// sendAlone checks that a new connection sends what a new compressor makes.
func sendAlone(t *testing.T, cfg Compression, context flate.Context) {
	s, far := memPairWith(t, cfg)
	window := 12
	if context == flate.NoTakeover {
		window = 15
	}
	alone := flate.NewCompressor(window, 1, context)
	for i := range 5 {
		text := sentence(300, i)
		require.NoError(t, s.WriteString(t.Context(), text))
		payload, smaller := alone.Append(nil, []byte(text))
		require.True(t, smaller)
		want := appendFrame(nil, header{byte0: 0xc1, length: int64(len(payload))}, payload).b
		got := make([]byte, len(want))
		_, err := io.ReadFull(far, got)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// askForMore lets a peer refer to bytes that it never sent.
func askForMore(t *testing.T, cfg Compression, whole bool) {
	e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1, Compression: &cfg}})
	if whole {
		e.recv(clientFrame(0xc2, "\xf2\x00\x11\x00\x00"))
	} else {
		e.recv(clientFrame(0x42, "\xf2\x00"))
		e.recv(clientFrame(0x80, "\x11\x00\x00"))
	}
	messages, sent := e.seen()
	require.Empty(t, messages)
	require.NotContains(t, string(sent), marker)
	e.peer.CloseWrite()
	require.ErrorIs(t, e.finish(), CloseInvalidPayload)
}

// TestCloseDuringInflation ends connections while others of their goroutines
// inflate and compress. Under the race detector, what is used after it went
// back to a pool shows.
func TestCloseDuringInflation(t *testing.T) {
	covers(t, "Q.E12", "Q.E10", "Q.I05")
	text := sentence(200_000, 1)
	for i := range 40 {
		c, s := deflatePair(t, &Compression{}, &Compression{NoContextTakeover: i%2 == 0, PeerNoContextTakeover: i%3 == 0}, Config{})
		var wg sync.WaitGroup
		for _, end := range []*Conn{c, s} {
			wg.Go(func() {
				for end.WriteString(context.Background(), text) == nil {
				}
			})
			wg.Go(func() {
				readLoops[i%len(readLoops)].loop(end, func(_ MessageType, p []byte) {
					assert.True(t, string(p) == text, "another text has come")
				})
			})
		}
		for s.Stats().InflatedIn < uint64(i)*20_000 && s.Context().Err() == nil {
			_, err := s.Ping(t.Context())
			require.NoError(t, err)
		}
		[]*Conn{c, s}[i%2].CloseNow()
		wg.Wait()
	}
}

// TestWindowAfterOddMessages leaves messages in the middle, and has others of
// more than the largest window: the next one still refers to the right bytes.
func TestWindowAfterOddMessages(t *testing.T) {
	covers(t, "Q.E07", "Z10", "Q.H05")
	c, s := deflatePair(t, &Compression{WindowBits: 15, Level: 6}, &Compression{}, Config{})
	for i, size := range []int{100, 1000, 5000, 40_000, 70_000, 100, 1000} {
		text := sentence(size, i)
		go c.WriteString(t.Context(), text)
		_, r, err := s.Reader(t.Context())
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, min(size/2, 10*i)))
		require.NoError(t, err)
		go c.WriteString(t.Context(), text[size/2:]+text)
		_, p, err := s.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, text[size/2:]+text, string(p))
	}
}

// TestBomb receives 256 MiB in 256 KiB: it costs no more than the limit does.
func TestBomb(t *testing.T) {
	covers(t, "Z15", "Q.E01")
	const limit = 1 << 20
	theirs := flate.NewCompressor(15, 6, flate.NoTakeover)
	mega := theirs.AppendLast(nil, make([]byte, 1<<20))
	mega = append(mega[:len(mega):len(mega)], 0, 0, 0xff, 0xff)
	bomb := clientFrame(0xc2, string(append(bytes.Repeat(mega, 256), 0)))
	require.Less(t, len(bomb), limit)
	for _, reading := range readLoops {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{PingInterval: -1, MaxMessageSize: limit, Compression: &Compression{}}
			e := newEndpoint(t, endpointSetup{role: server, config: cfg, loop: reading.loop})
			synctest.Wait()
			e.ours.SetWindow(1 << 20)
			got := allocated(func() {
				e.recv(bomb)
				synctest.Wait()
			})
			messages, _ := e.seen()
			require.Empty(t, messages)
			e.peer.CloseWrite()
			require.ErrorIs(t, e.finish(), CloseMessageTooBig)
			require.LessOrEqual(t, got, uint64(8*limit+4*len(bomb)), "bytes allocated by %s", reading.name)
		})
	}
}
