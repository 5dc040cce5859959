package websocket

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The benchmarks run the same code over the original and over this package,
// both ends in this process. cpu-ns/op is the processor time of both.

// compare runs f for both libraries, over a connection whose server runs serve.
func compare(b *testing.B, name string, o options, serve func(endpoint), f func(b *testing.B, c endpoint)) {
	for _, lib := range []library{coder, this} {
		b.Run(name+"/"+lib.name, func(b *testing.B) {
			url := serveBench(b, lib, o, serve)
			c, err := lib.dial(background, url, o)
			require.NoError(b, err)
			defer c.CloseNow()
			c.SetReadLimit(-1)
			f(b, c) // warm
			b.ReportAllocs()
			measured(b, func() { f(b, c) })
		})
	}
}

// serveBench is serve without a read limit.
func serveBench(b *testing.B, lib library, o options, f func(endpoint)) string {
	return serve(b, lib, o, func(c endpoint) {
		c.SetReadLimit(-1)
		f(c)
	})
}

// measured reports the processor time of f.
func measured(b *testing.B, f func()) {
	runtime.GC()
	b.ResetTimer()
	before := processorTime()
	f()
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// echoSizes are the sizes of messages that are echoed.
var echoSizes = []int{16, 128, 1 << 10, 16 << 10, 1 << 20}

// echoWhole returns messages with Read and Write.
func echoWhole(c endpoint) {
	for echoOne(c, true) == nil {
	}
}

// exchange sends p and receives its echo.
func exchange(b *testing.B, c endpoint, p []byte) {
	if err := c.Write(background, MessageBinary, p); err != nil {
		b.Fatal(err)
	}
	if _, _, err := c.Read(background); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, n := range echoSizes {
		compare(b, fmt.Sprint(n), options{}, echoWhole, func(b *testing.B, c endpoint) {
			p := pattern(n)
			b.SetBytes(int64(n))
			for range b.N {
				exchange(b, c, p)
			}
		})
	}
}

// BenchmarkEchoWithContext uses contexts that can end, a new one for each
// message, as most programs do.
func BenchmarkEchoWithContext(b *testing.B) {
	compare(b, "128", options{}, echoWhole, func(b *testing.B, c endpoint) {
		p := pattern(128)
		for range b.N {
			ctx, cancel := context.WithTimeout(background, time.Minute)
			if err := c.Write(ctx, MessageBinary, p); err != nil {
				b.Fatal(err)
			}
			if _, _, err := c.Read(ctx); err != nil {
				b.Fatal(err)
			}
			cancel()
		}
	})
}

// BenchmarkPipelined has 16 messages under way.
func BenchmarkPipelined(b *testing.B) {
	const depth = 16
	compare(b, "128x16", options{}, echoWhole, func(b *testing.B, c endpoint) {
		p := pattern(128)
		go func() {
			for range depth {
				c.Write(background, MessageBinary, p)
			}
		}()
		for i := range b.N + depth {
			if _, _, err := c.Read(background); err != nil {
				b.Fatal(err)
			}
			if i < b.N {
				c.Write(background, MessageBinary, p)
			}
		}
	})
}

// echoParts returns messages with Reader and Writer.
func echoParts(c endpoint) {
	for p := make([]byte, 32<<10); copyMessage(c, p) == nil; {
	}
}

// copyMessage returns one message through p.
func copyMessage(c endpoint, p []byte) error {
	t, r, err := c.Reader(background)
	if err != nil {
		return err
	}
	w, err := c.Writer(background, t)
	if err != nil {
		return err
	}
	for {
		n, err := r.Read(p)
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return w.Close()
		}
		if err != nil {
			return err
		}
	}
}

func BenchmarkReaderWriter(b *testing.B) {
	for _, n := range []int{128, 16 << 10, 1 << 20} {
		compare(b, fmt.Sprint(n), options{}, echoParts, func(b *testing.B, c endpoint) {
			p, into := pattern(n), make([]byte, 32<<10)
			b.SetBytes(int64(n))
			for range b.N {
				sendInWriter(b, c, p)
				dropReader(b, c, into)
			}
		})
	}
}

// sendInWriter sends p with Writer.
func sendInWriter(b *testing.B, c endpoint, p []byte) {
	w, err := c.Writer(background, MessageBinary)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// dropReader receives a message with Reader.
func dropReader(b *testing.B, c endpoint, into []byte) {
	_, r, err := c.Reader(background)
	for err == nil {
		_, err = r.Read(into)
	}
	if err != io.EOF {
		b.Fatal(err)
	}
}

// A quote is what the JSON of benchmarks says.
type quote struct {
	Symbol string    `json:"symbol"`
	Bids   []float64 `json:"bids"`
	Time   int64     `json:"time"`
}

func BenchmarkJSON(b *testing.B) {
	serve := func(c endpoint) {
		for {
			var q quote
			if c.ReadJSON(background, &q) != nil || c.WriteJSON(background, q) != nil {
				return
			}
		}
	}
	compare(b, "quote", options{}, serve, func(b *testing.B, c endpoint) {
		q := quote{"FDPX", []float64{1.25, 2.5, 3.75, 5}, 1700000000}
		for range b.N {
			if err := c.WriteJSON(background, q); err != nil {
				b.Fatal(err)
			}
			if err := c.ReadJSON(background, &q); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCompression echoes lists of prices, each different from the last.
func BenchmarkCompression(b *testing.B) {
	for _, mode := range []CompressionMode{CompressionContextTakeover, CompressionNoContextTakeover} {
		for _, n := range []int{1 << 10, 16 << 10} {
			messages := priceLists(n)
			compare(b, fmt.Sprint(mode, "/", n), options{mode: mode}, echoWhole, func(b *testing.B, c endpoint) {
				b.SetBytes(int64(n))
				for i := range b.N {
					exchange(b, c, messages[i%len(messages)])
				}
			})
		}
	}
}

// priceLists returns messages of n bytes as servers compress them.
func priceLists(n int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	lists := make([][]byte, 64)
	for i := range lists {
		var p []byte
		for len(p) < n {
			p = fmt.Appendf(p, `{"symbol":"FD%c%c","bid":%.2f,"ask":%.2f,"time":%d},`,
				'A'+r.IntN(26), 'A'+r.IntN(26), 100*r.Float64(), 100*r.Float64(), 1700000000+r.IntN(100_000))
		}
		lists[i] = p[:n]
	}
	return lists
}

func BenchmarkNetConn(b *testing.B) {
	serve := func(c endpoint) {
		n := c.NetConn(background, MessageBinary)
		p := make([]byte, 4096)
		for {
			read, err := n.Read(p)
			if err != nil {
				return
			}
			n.Write(p[:read])
		}
	}
	for _, lib := range []library{coder, this} {
		b.Run("128/"+lib.name, func(b *testing.B) {
			c, err := lib.dial(background, serveBench(b, lib, options{}, serve), options{})
			require.NoError(b, err)
			defer c.CloseNow()
			n, p := c.NetConn(background, MessageBinary), pattern(128)
			b.ReportAllocs()
			measured(b, func() {
				for range b.N {
					n.Write(p)
					if _, err := io.ReadFull(n, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkBroadcast writes each message to 50 connections from which nobody
// writes. An operation is one message to all.
func BenchmarkBroadcast(b *testing.B) {
	const members = 50
	for _, lib := range []library{coder, this} {
		b.Run(lib.name, func(b *testing.B) {
			all, received := gather(b, lib, members)
			p := pattern(256)
			b.ReportAllocs()
			measured(b, func() {
				for range b.N {
					for _, c := range all {
						c.Write(background, MessageText, p)
					}
					for range members {
						<-received
					}
				}
			})
		})
	}
}

// gather returns a server's ends of n connections, and a channel that gets a
// value for each message that a client has received.
func gather(b *testing.B, lib library, n int) (all []endpoint, received chan struct{}) {
	received = make(chan struct{}, n)
	joined, over := make(chan endpoint, n), make(chan struct{})
	url := serve(b, lib, options{}, func(c endpoint) {
		c.CloseRead(background)
		joined <- c
		<-over
	})
	b.Cleanup(func() { close(over) })
	for range n {
		c, err := lib.dial(background, url, options{})
		require.NoError(b, err)
		b.Cleanup(func() { c.CloseNow() })
		all = append(all, <-joined)
		go func() {
			for _, _, err := c.Read(background); err == nil; _, _, err = c.Read(background) {
				received <- struct{}{}
			}
		}()
	}
	return all, received
}

// BenchmarkOpen opens and closes connections.
func BenchmarkOpen(b *testing.B) {
	for _, lib := range []library{coder, this} {
		b.Run(lib.name, func(b *testing.B) {
			url := serve(b, lib, options{}, func(c endpoint) { c.Read(background) })
			b.ReportAllocs()
			measured(b, func() {
				for range b.N {
					c, err := lib.dial(background, url, options{})
					if err != nil {
						b.Fatal(err)
					}
					c.Close(StatusNormalClosure, "")
				}
			})
		})
	}
}
