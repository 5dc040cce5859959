//go:build !race

// sync.Pool drops things at random under the race detector.

package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/flate"
	"github.com/stretchr/testify/require"
)

// discard reads from r for as long as it lasts.
func discard(r io.Reader) { io.Copy(io.Discard, r) }

// contexts are those under which nothing may be allocated.
func contexts(t *testing.T) map[string]context.Context {
	cancellable, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return map[string]context.Context{"background": context.Background(), "cancellable": cancellable}
}

// steadyAllocs returns the allocations of one call of f, after some calls that
// do not count. None of them may fail.
func steadyAllocs(t *testing.T, f func() error) float64 {
	t.Helper()
	var failure error
	call := func() {
		if failure == nil {
			failure = f()
		}
	}
	for range 20 {
		call()
	}
	allocs := testing.AllocsPerRun(200, call)
	require.NoError(t, failure)
	return allocs
}

// ofSize returns err, or an error if p does not have the size.
func ofSize(size int, p []byte, err error) error {
	if err == nil && len(p) != size {
		err = fmt.Errorf("%d bytes came, want %d", len(p), size)
	}
	return err
}

// TestWriteAllocatesNothing proves that Write allocates nothing, whatever the
// role, the size and the context.
func TestWriteAllocatesNothing(t *testing.T) {
	for _, r := range roles {
		for name, ctx := range contexts(t) {
			for _, size := range []int{125, 4 << 10, 64 << 10} {
				t.Run(fmt.Sprintf("%s, %s, %d bytes", r, name, size), func(t *testing.T) {
					nc, peer := tcpPair(t)
					c := newConn(nc, r, (&Config{}).withDefaults(), agreement{}, nil)
					defer c.CloseNow()
					go discard(peer)
					p := make([]byte, size)
					require.Zero(t, steadyAllocs(t, func() error { return c.Write(ctx, Binary, p) }))
				})
			}
		}
	}
}

// TestBurstsAllocateNothing proves that an echo of 16 messages in flight, whose
// replies are corked and leave together, allocates nothing.
func TestBurstsAllocateNothing(t *testing.T) {
	const inFlight = 16
	for _, r := range roles {
		t.Run(r.String(), func(t *testing.T) {
			nc, peer := tcpPair(t)
			c := newConn(nc, r, (&Config{}).withDefaults(), agreement{}, nil)
			defer c.CloseNow()
			go echo(c)
			h := header{byte0: 0x82, masked: r == server, key: 1, length: 128}
			burst := bytes.Repeat(appendFrame(nil, h, make([]byte, 128)).b, inFlight)
			h.masked = r == client
			replies := make([]byte, inFlight*(headerSize(h)+128))
			require.Zero(t, steadyAllocs(t, func() error {
				if _, err := peer.Write(burst); err != nil {
					return err
				}
				_, err := io.ReadFull(peer, replies)
				return err
			}))
			require.Less(t, c.Stats().Flushes, c.Stats().MessagesOut/2, "the replies are corked")
		})
	}
}

// TestStreamsAllocateNothing proves that a message that is written and read in
// pieces allocates nothing if its reader and its writer do not escape.
func TestStreamsAllocateNothing(t *testing.T) {
	for name, ctx := range contexts(t) {
		for _, size := range []int{125, 64 << 10} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, size), func(t *testing.T) {
				c, s := connPair(t, &Config{})
				p, got := make([]byte, size), make([]byte, size+1)
				require.Zero(t, steadyAllocs(t, func() error {
					w, err := c.Writer(ctx, Binary)
					if err == nil {
						_, err = w.Write(p)
					}
					if err == nil {
						err = w.Close()
					}
					if err != nil {
						return err
					}
					_, r, err := s.Reader(ctx)
					n := 0
					for err == nil {
						var m int
						m, err = r.Read(got[n:])
						n += m
					}
					if err != io.EOF {
						return err
					}
					return ofSize(size, got[:n], nil)
				}))
			})
		}
	}
}

// TestContendedWritesAllocateNothing proves that writers that wait for each other
// allocate nothing.
func TestContendedWritesAllocateNothing(t *testing.T) {
	const writers = 8
	nc, peer := tcpPair(t)
	c := newConn(nc, server, (&Config{}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	go discard(peer)
	begin, written := make(chan struct{}), make(chan error)
	defer close(begin)
	for range writers {
		go func() {
			p := make([]byte, 4<<10)
			for range begin {
				for range 20 {
					if err := c.Write(context.Background(), Binary, p); err != nil {
						written <- err
						return
					}
				}
				written <- nil
			}
		}()
	}
	require.Less(t, steadyAllocs(t, func() error {
		for range writers {
			begin <- struct{}{}
		}
		var failure error
		for range writers {
			failure = errors.Join(failure, <-written)
		}
		return failure
	}), 8.0, "for 160 messages; those that wait for send.lock have a channel each")
}

// TestReadAllocatesNothing proves that ReadInto and a loop over Messages
// allocate nothing.
func TestReadAllocatesNothing(t *testing.T) {
	for _, r := range roles {
		for name, ctx := range contexts(t) {
			for _, size := range []int{125, 4 << 10, 64 << 10} {
				t.Run(fmt.Sprintf("%s, %s, %d bytes", r, name, size), func(t *testing.T) {
					nc, peer := tcpPair(t)
					c := newConn(nc, r, (&Config{}).withDefaults(), agreement{}, nil)
					defer c.CloseNow()
					h := header{byte0: 0x82, masked: r == server, key: 1, length: int64(size)}
					go repeat(peer, appendFrame(nil, h, make([]byte, size)).b)
					buf := make([]byte, size)
					require.Zero(t, steadyAllocs(t, func() error {
						_, p, err := c.ReadInto(ctx, buf)
						return ofSize(size, p, err)
					}), "ReadInto")
					allocs := -1.0
					var loop borrower
					for m, err := range c.Messages(ctx) {
						require.NoError(t, err)
						require.Len(t, m.Data, size)
						allocs = steadyAllocs(t, func() error {
							_, p, err := c.borrowMessage(ctx, &loop)
							return ofSize(size, p, err)
						})
						break
					}
					require.Zero(t, allocs, "Messages")
				})
			}
		}
	}
}

// TestReceiverAllocatesNothing proves that a server whose connections are handed
// over allocates nothing for a message that it echoes, alone or with others in
// flight, whatever the network.
func TestReceiverAllocatesNothing(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, flight := range []int{1, 16} {
			for _, size := range []int{125, 4 << 10, 64 << 10} {
				if flight*size > 256<<10 {
					continue // a writer that waits costs the next turns a goroutine each
				}
				t.Run(fmt.Sprintf("%s, %d in flight, %d bytes", network, flight, size), func(t *testing.T) {
					nc := liveReceiver(t, network)
					frames := bytes.Repeat(clientFrame(0x82, string(make([]byte, size))), flight)
					answers := make([]byte, flight*(headerSize(header{length: int64(size)})+size))
					sent := make(chan int, 1)
					go func() {
						for range sent {
							nc.Write(frames)
						}
					}()
					defer close(sent)
					allocs := -1.0
					for range 10 { // a turn during which the system stops the poller costs the next ones a goroutine each
						if allocs = steadyAllocs(t, func() error {
							sent <- 1
							_, err := io.ReadFull(nc, answers)
							return err
						}); allocs == 0 {
							break
						}
					}
					require.Zero(t, allocs)
				})
			}
		}
	}
}

// liveReceiver returns a client of a server on this network whose connections
// are handed over to one that echoes.
func liveReceiver(t *testing.T, network string) net.Conn {
	t.Helper()
	srv := httptest.NewUnstartedServer(ReceiverHandler(nil, func(*http.Request) (Receiver, error) { return echoReceiver{}, nil }))
	if network == "unix" {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		require.NoError(t, err)
		srv.Listener.Close()
		srv.Listener = l
	}
	srv.Start()
	t.Cleanup(srv.Close)
	nc, err := net.Dial(network, srv.Listener.Addr().String())
	require.NoError(t, err)
	_, nc = roundTrip(t, nc, request())
	require.NoError(t, nc.SetDeadline(time.Time{}))
	return nc
}

// TestDeadlinesAllocateNothing proves that setting deadlines allocates nothing.
func TestDeadlinesAllocateNothing(t *testing.T) {
	c, _ := connPair(t, &Config{})
	later := time.Now().Add(time.Hour)
	require.Zero(t, steadyAllocs(t, func() error {
		return errors.Join(c.SetReadDeadline(later), c.SetWriteDeadline(later), c.SetReadDeadline(time.Time{}))
	}))
}

// deflateAgreements are those that make a difference to memory.
var deflateAgreements = map[string]*deflateAgreement{
	"takeover":   {serverWindow: 12, clientWindow: 12},
	"no context": {serverNoContext: true, clientNoContext: true, serverWindow: 15, clientWindow: 15},
}

// TestCompressedWriteAllocatesNothing proves that Write allocates nothing for a
// message that it compresses.
func TestCompressedWriteAllocatesNothing(t *testing.T) {
	for _, r := range roles {
		for name, agreed := range deflateAgreements {
			for _, size := range []int{125, 4 << 10, 64 << 10} {
				t.Run(fmt.Sprintf("%s, %s, %d bytes", r, name, size), func(t *testing.T) {
					nc, peer := tcpPair(t)
					c := newConn(nc, r, (&Config{Compression: &Compression{Threshold: -1}}).withDefaults(), agreement{deflate: agreed}, nil)
					defer c.CloseNow()
					go discard(peer)
					p := []byte(sentence(size, 1))
					require.Zero(t, steadyAllocs(t, func() error { return c.Write(context.Background(), Text, p) }))
					require.Less(t, c.Stats().CompressedOut, c.Stats().DeflatedOut/2+1000)
					require.NotZero(t, c.Stats().CompressedOut)
				})
			}
		}
	}
}

// TestSendAllocatesNothing proves that sending a message allocates nothing,
// prepared or not and compressed or not, as long as it need not be queued.
func TestSendAllocatesNothing(t *testing.T) {
	text := []byte(sentence(1000, 1))
	prepared, plain := Prepare(Text, text), PreparePlain(Text, text)
	sends := map[string]func(c *Conn) error{
		"Send":                       func(c *Conn) error { return c.Send(Text, text) },
		"SendPlain":                  func(c *Conn) error { return c.SendPlain(Text, text) },
		"WritePlain":                 func(c *Conn) error { return c.WritePlain(context.Background(), Text, text) },
		"SendPrepared":               func(c *Conn) error { return c.SendPrepared(prepared) },
		"SendPrepared, a plain one":  func(c *Conn) error { return c.SendPrepared(plain) },
		"WritePrepared":              func(c *Conn) error { return c.WritePrepared(context.Background(), prepared) },
		"WritePrepared, a plain one": func(c *Conn) error { return c.WritePrepared(context.Background(), plain) },
	}
	for _, r := range roles {
		for agreement, compression := range plainAgreements {
			for name, send := range sends {
				t.Run(fmt.Sprintf("%s, %s, %s", r, agreement, name), func(t *testing.T) {
					c := preparedConn(t, r, compression)
					require.Zero(t, steadyAllocs(t, func() error { return send(c) }))
				})
			}
		}
	}
}

// TestCompressedReadAllocatesNothing proves that ReadInto and Messages allocate
// nothing for a compressed message, in one frame or two.
func TestCompressedReadAllocatesNothing(t *testing.T) {
	for _, r := range roles {
		for name, agreed := range deflateAgreements {
			for i, size := range []int{125, 4 << 10, 64 << 10, 64 << 10} {
				pieces := 1 + i/3
				t.Run(fmt.Sprintf("%s, %s, %d bytes, in %d", r, name, size, pieces), func(t *testing.T) {
					nc, peer := tcpPair(t)
					c := newConn(nc, r, (&Config{Compression: &Compression{}}).withDefaults(), agreement{deflate: agreed}, nil)
					defer c.CloseNow()
					alone := flate.NewCompressor(12, 1, flate.NoTakeover)
					payload := alone.AppendLast(nil, []byte(sentence(size, 1)))
					go repeat(peer, fragments(r, payload, pieces))
					buf := make([]byte, 2*size)
					require.Zero(t, steadyAllocs(t, func() error {
						_, p, err := c.ReadInto(context.Background(), buf)
						return ofSize(size, p, err)
					}), "ReadInto")
					var loop borrower
					require.Zero(t, steadyAllocs(t, func() error {
						_, p, err := c.borrowMessage(context.Background(), &loop)
						return ofSize(size, p, err)
					}), "Messages")
					require.NotZero(t, c.Stats().InflatedIn)
				})
			}
		}
	}
}

// fragments returns a compressed text, as a peer of r sends it in one frame or
// in two.
func fragments(r role, payload []byte, n int) []byte {
	first := header{byte0: 0xc1, masked: r == server, key: 1, length: int64(len(payload))}
	if n == 1 {
		return appendFrame(nil, first, payload).b
	}
	half := len(payload) / 2
	last := first
	first.byte0, first.length = 0x41, int64(half)
	last.byte0, last.length = 0x80, int64(len(payload)-half)
	return appendFrame(appendFrame(nil, first, payload[:half]), last, payload[half:]).b
}

// repeat writes a frame again and again until the connection ends.
func repeat(w io.Writer, frame []byte) {
	for {
		if _, err := w.Write(frame); err != nil {
			return
		}
	}
}
