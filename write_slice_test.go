package websocket

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestWriteLeavesSliceAlone proves that no way to send changes the caller's
// slice.
func TestWriteLeavesSliceAlone(t *testing.T) {
	covers(t, "K04", "Q.H09")
	for _, r := range roles {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}})
			ctx := context.Background()
			for _, size := range []int{1, 7, 64, 125, 4096, 65536, 300000} {
				p := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
				was := slices.Clone(p)
				if err := e.conn.Write(ctx, Binary, p); err != nil {
					t.Fatal(err)
				}
				w, err := e.conn.Writer(ctx, Binary)
				if err != nil {
					t.Fatal(err)
				}
				w.Write(p)
				w.Close()
				e.conn.Send(Binary, p)
				synctest.Wait()
				if !bytes.Equal(p, was) {
					t.Errorf("%s: a slice of %d bytes was changed", r, size)
				}
			}
			e.abandon()
		})
	}
}

// TestSliceReusedAfterWrite proves that a slice may be changed as soon as its
// Write has returned, though the peer has taken none of it.
func TestSliceReusedAfterWrite(t *testing.T) {
	covers(t, "K03", "Q.G03", "Q.H09", "Q.J03")
	for _, r := range roles {
		for _, size := range []int{100, 100000, 300000} {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}})
				e.peer.SetWindow(10)
				reuse(e, size)
				e.peer.SetWindow(1 << 20)
				_, sent := e.seen()
				frames, rest, err := modelFrames(r, sent)
				if err != nil {
					t.Errorf("%s, %d bytes: %v", r, size, err)
				}
				for _, frame := range frames {
					if len(bytes.Trim(frame.payload, string(frame.payload[:1]))) > 0 {
						t.Errorf("%s, %d bytes: the payload of a frame changed on the way", r, size)
					}
				}
				if len(rest) > 0 && e.conn.Context().Err() == nil {
					t.Errorf("%s: a frame of %d bytes stays unfinished", r, size)
				}
				e.abandon()
			})
		}
	}
}

// reuse writes and queues a slice, overwriting it each time a call returns.
func reuse(e *endpoint, size int) {
	p := bytes.Repeat([]byte("a"), size)
	e.conn.Send(Binary, p)
	fill(p, 'b')
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e.conn.Write(ctx, Binary, p)
	fill(p, 'c')
	synctest.Wait()
}

// fill sets all bytes of p.
func fill(p []byte, b byte) {
	for i := range p {
		p[i] = b
	}
}
