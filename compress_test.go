package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/flate"
	"github.com/stretchr/testify/require"
)

// TestCompressedEcho proves that messages of all sizes survive compression,
// under every pair of settings, and that it pays.
func TestCompressedEcho(t *testing.T) {
	covers(t, "Z01", "Z05", "Z08", "Z09", "Z10", "Z18", "E01")
	sides := []*Compression{{}, {NoContextTakeover: true}, {PeerNoContextTakeover: true}, {WindowBits: 9, PeerWindowBits: 9}, {Level: 6, WindowBits: 15}, {Threshold: -1}}
	for i, clientSide := range sides {
		for j, serverSide := range sides {
			t.Run(fmt.Sprintf("%d with %d", i, j), func(t *testing.T) {
				c, s := deflatePair(t, clientSide, serverSide, Config{MaxMessageSize: 4 << 20})
				go echo(s)
				long := 150000
				if i == j {
					long = 1 << 20
				}
				for k, size := range []int{0, 1, 127, 128, 400, 4000, 4096, 70000, 300, 300, long, 200} {
					text := sentence(size, k)
					done := make(chan error, 1)
					go func() { done <- c.WriteString(t.Context(), text) }()
					_, got, err := c.Read(t.Context())
					require.NoError(t, err)
					require.NoError(t, <-done)
					require.Equal(t, text, string(got))
				}
				st := c.Stats()
				require.Less(t, st.CompressedOut, st.DeflatedOut/2)
				require.Less(t, st.CompressedIn, st.InflatedIn/2)
				require.NoError(t, c.Close(CloseNormal, ""))
			})
		}
	}
}

// TestCompressedStreams proves that compressed messages can be written and read
// in pieces.
func TestCompressedStreams(t *testing.T) {
	covers(t, "Z04", "Z02")
	c, s := deflatePair(t, &Compression{}, &Compression{}, Config{MaxMessageSize: 4 << 20})
	go func() {
		for {
			_, r, err := s.Reader(t.Context())
			if err != nil {
				return
			}
			w, err := s.Writer(t.Context(), Text)
			if err != nil {
				return
			}
			io.Copy(w, r)
			w.Close()
		}
	}()
	for _, size := range []int{0, 10, 5000, 100000, 1 << 20, 10} {
		text := sentence(size, size)
		go func() {
			w, _ := c.Writer(t.Context(), Text)
			for p := range bytes.SplitSeq([]byte(text), []byte("7")) {
				w.Write(p)
				if len(p) > 30 {
					w.Flush()
				}
				w.Write([]byte("7"))
			}
			w.Close()
		}()
		_, r, err := c.Reader(t.Context())
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, text+"7", string(got))
	}
}

// TestCompressedTextIsChecked proves that text is checked after it was inflated.
func TestCompressedTextIsChecked(t *testing.T) {
	covers(t, "T08", "Q.E09")
	c, s := deflatePair(t, &Compression{Threshold: -1}, &Compression{}, Config{})
	c.cfg.SkipUTF8Check = true
	require.NoError(t, c.Write(t.Context(), Text, append(bytes.Repeat([]byte("good "), 50), 0xff)))
	_, _, err := s.Read(t.Context())
	require.ErrorIs(t, err, textNotUTF8.err())
}

// TestCompressedLimit proves that MaxMessageSize counts the inflated bytes, to
// the byte.
func TestCompressedLimit(t *testing.T) {
	covers(t, "Z15", "Q.E02")
	for _, big := range []int{1 << 16, 1<<16 + 1} {
		c, s := deflatePair(t, &Compression{}, &Compression{}, Config{MaxMessageSize: 1 << 16})
		require.NoError(t, c.Write(t.Context(), Binary, make([]byte, big)))
		_, p, err := s.Read(t.Context())
		if big == 1<<16 {
			require.NoError(t, err)
			require.Len(t, p, big)
		} else {
			require.ErrorIs(t, err, ErrMessageTooBig)
			require.ErrorIs(t, err, CloseMessageTooBig)
		}
	}
}

// TestPreparedUnderTakeover proves that prepared and plain messages do not
// disturb the window that the others share.
func TestPreparedUnderTakeover(t *testing.T) {
	c, s := deflatePair(t, &Compression{}, &Compression{}, Config{})
	m := Prepare(Text, []byte(sentence(1000, 3)))
	for i := range 10 {
		require.NoError(t, s.WriteString(t.Context(), sentence(500, i)))
		require.NoError(t, s.WritePrepared(t.Context(), m))
		require.NoError(t, s.SendPrepared(m))
		require.NoError(t, s.WritePlain(t.Context(), Text, []byte(sentence(300, i))))
		for _, want := range []string{sentence(500, i), sentence(1000, 3), sentence(1000, 3), sentence(300, i)} {
			_, got, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	}
}

// TestContextIsKept proves that messages refer to those before them, whether they
// leave one by one, corked or from the queue.
func TestContextIsKept(t *testing.T) {
	ways := map[string]func(c *Conn, p []byte) error{
		"Write": func(c *Conn, p []byte) error { return c.Write(context.Background(), Binary, p) },
		"corked": func(c *Conn, p []byte) error {
			c.out.cork.on.Store(true)
			return c.Write(context.Background(), Binary, p)
		},
		"Send": func(c *Conn, p []byte) error { return c.Send(Binary, p) },
	}
	for name, write := range ways {
		t.Run(name, func(t *testing.T) {
			cfg := Config{PingInterval: -1, HoldReplies: time.Hour, MaxQueuedBytes: 1 << 20, Compression: &Compression{}}
			nc, ns := tcpPair(t)
			c := newConn(ns, server, cfg.withDefaults(), agreedFor(server, cfg.Compression), nil)
			defer c.CloseNow()
			go io.Copy(io.Discard, nc)
			p := []byte(block(500))
			for range 100 {
				require.NoError(t, write(c, p))
			}
			require.NoError(t, c.Drain(t.Context()))
			require.Less(t, c.Stats().BytesOut, uint64(10*len(p)))
		})
	}
}

// TestInflateInParts inflates payloads, some of which are corrupt, in parts of
// any size with any room for what comes out: the same as at once.
func TestInflateInParts(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		window, context := 9+rnd.IntN(7), flate.Context(rnd.IntN(2))
		compressor := flate.NewCompressor(window, 1+rnd.IntN(9), context)
		whole, parts := flate.NewDecompressor(window, context), flate.NewDecompressor(window, context)
		var err error
		for n := 1 + rnd.IntN(5); n > 0 && err == nil; n-- {
			payload, ok := compressor.Append(nil, compressible(rnd))
			if !ok {
				continue
			}
			if rnd.IntN(4) == 0 && len(payload) > 0 {
				payload[rnd.IntN(len(payload))] ^= 1 << rnd.IntN(8)
			}
			var want []byte
			want, err = whole.Append(nil, payload, 1<<20)
			got, partsErr := inflateInParts(rnd, &parts, payload)
			require.Equal(t, err == nil, partsErr == nil, "seed %d: at once %v, in parts %v", seed, err, partsErr)
			require.True(t, err != nil || bytes.Equal(want, got), "seed %d", seed)
		}
	}
}

// compressible returns up to 100000 bytes, some of which repeat others.
func compressible(rnd *rand.Rand) []byte {
	p := make([]byte, rnd.IntN(100000))
	symbols := 1 + rnd.IntN(200)
	for i := range p {
		p[i] = byte(rnd.IntN(symbols))
		if i > 300 && rnd.IntN(3) == 0 {
			p[i] = p[i-1-rnd.IntN(300)]
		}
	}
	return p
}

// inflateInParts inflates payload with d.
func inflateInParts(rnd *rand.Rand, d *flate.Decompressor, payload []byte) (out []byte, err error) {
	for len(payload) > 0 {
		n := 1 + rnd.IntN(min(len(payload), []int{3, 500, 10000}[rnd.IntN(3)]))
		for part := payload[:n]; ; {
			var taken int
			out, taken, err = d.AppendPart(out, part, rnd.IntN(5000))
			part = part[taken:]
			if err == nil && len(part) > 0 {
				return nil, errors.New("a part was not taken")
			}
			if err == nil {
				break
			}
			if err != flate.ErrTooLong {
				return nil, err
			}
		}
		payload = payload[n:]
	}
	for {
		out, err = d.Finish(out, rnd.IntN(5000))
		if err != flate.ErrTooLong {
			return out, err
		}
	}
}
