//go:build !race

// sync.Pool drops things at random under the race detector.

package websocket

import (
	"context"
	"fmt"
	"io"
	"testing"

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
// do not count.
func steadyAllocs(f func()) float64 {
	for range 20 {
		f()
	}
	return testing.AllocsPerRun(200, f)
}

func TestWriteAllocatesNothing(t *testing.T) {
	for _, r := range []role{client, server} {
		for name, ctx := range contexts(t) {
			for _, size := range []int{125, 4 << 10, 64 << 10} {
				t.Run(fmt.Sprintf("role %d, %s, %d bytes", r, name, size), func(t *testing.T) {
					nc, peer := tcpPair(t)
					c := newConn(nc, r, (&Config{}).settled(), agreement{}, nil)
					defer c.CloseNow()
					go discard(peer)
					p := make([]byte, size)
					require.Zero(t, steadyAllocs(func() {
						if err := c.Write(ctx, Binary, p); err != nil {
							t.Fatal(err)
						}
					}))
				})
			}
		}
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	for _, r := range []role{client, server} {
		for name, ctx := range contexts(t) {
			for _, size := range []int{125, 4 << 10, 64 << 10} {
				t.Run(fmt.Sprintf("role %d, %s, %d bytes", r, name, size), func(t *testing.T) {
					nc, peer := tcpPair(t)
					c := newConn(nc, r, (&Config{}).settled(), agreement{}, nil)
					defer c.CloseNow()
					go func() {
						h := header{first: 0x82, masked: r == server, key: 1, length: int64(size)}
						frame := appendFrame(nil, h, make([]byte, size)).b
						for {
							if _, err := peer.Write(frame); err != nil {
								return
							}
						}
					}()
					buf := make([]byte, size)
					require.Zero(t, steadyAllocs(func() {
						if _, _, err := c.ReadInto(ctx, buf); err != nil {
							t.Fatal(err)
						}
					}), "ReadInto")
					allocs := -1.0
					for m, err := range c.Messages(ctx) {
						require.NoError(t, err)
						require.Len(t, m.Data, size)
						allocs = steadyAllocs(func() {
							if _, _, err := c.borrowMessage(ctx); err != nil {
								t.Fatal(err)
							}
						})
						break
					}
					require.Zero(t, allocs, "Messages")
				})
			}
		}
	}
}
