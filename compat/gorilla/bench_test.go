//go:build unix

package websocket_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
)

// The benchmarks run the same server on this package and on the original. The
// client is the same for both, and sends frames that were made before. Most have
// it in a process of its own: then cpu-ns/op is the server's time. To compare the
// packages, give each process one processor, with -cpu 1.

// An endpoint is a connection of either package.
type endpoint interface {
	ReadMessage() (messageType int, p []byte, err error)
	WriteMessage(messageType int, data []byte) error
	NextReader() (messageType int, r io.Reader, err error)
	NextWriter(messageType int) (io.WriteCloser, error)
	ReadJSON(v any) error
	WriteJSON(v any) error
	Close() error
}

// A library is one of the packages.
type library struct {
	name    string
	upgrade func(w http.ResponseWriter, r *http.Request, compress bool) (endpoint, error)
	prepare func(data []byte) (send func(endpoint) error)
}

// libraries are both packages.
var libraries = []library{
	{"original", func(w http.ResponseWriter, r *http.Request, compress bool) (endpoint, error) {
		up := gorilla.Upgrader{EnableCompression: compress}
		return up.Upgrade(w, r, nil)
	}, func(data []byte) func(endpoint) error {
		pm, _ := gorilla.NewPreparedMessage(gorilla.BinaryMessage, data)
		return func(c endpoint) error { return c.(*gorilla.Conn).WritePreparedMessage(pm) }
	}},
	{"compat", func(w http.ResponseWriter, r *http.Request, compress bool) (endpoint, error) {
		up := websocket.Upgrader{EnableCompression: compress}
		return up.Upgrade(w, r, nil)
	}, func(data []byte) func(endpoint) error {
		pm, _ := websocket.NewPreparedMessage(websocket.BinaryMessage, data)
		return func(c endpoint) error { return c.(*websocket.Conn).WritePreparedMessage(pm) }
	}},
}

// cpuTime returns the processor time of this process, in nanoseconds.
func cpuTime() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

// measure measures run, which is told how often to exchange some messages.
func measure(b *testing.B, messages int, run func(rounds int)) {
	run(1)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	run((b.N + messages - 1) / messages)
	b.ReportMetric((cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

// loadOf returns a load of count binary messages.
func loadOf(p []byte, count int) load {
	return load{Wire: bytes.Repeat(frame(0x82, p), count), Messages: count}
}

// exchange measures a server that answers each message with one.
func exchange(b *testing.B, l load, serveOne func(c endpoint) error) {
	for _, lib := range libraries {
		b.Run(lib.name, func(b *testing.B) {
			url := serve(b, func(w http.ResponseWriter, r *http.Request) {
				c, err := lib.upgrade(w, r, l.Compress)
				if err != nil {
					return
				}
				defer c.Close()
				for serveOne(c) == nil {
				}
			})
			measure(b, l.Messages, startClient(b, task{url, l}).exchange)
		})
	}
}

// echoMessage echoes a message as a whole.
func echoMessage(c endpoint) error {
	messageType, p, err := c.ReadMessage()
	if err != nil {
		return err
	}
	return c.WriteMessage(messageType, p)
}

// echoStream echoes a message as it comes.
func echoStream(c endpoint) error {
	messageType, r, err := c.NextReader()
	if err != nil {
		return err
	}
	w, err := c.NextWriter(messageType)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

func BenchmarkEcho(b *testing.B) {
	for _, n := range []int{16, 128, 1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) { exchange(b, loadOf(payload(n), 1), echoMessage) })
	}
	b.Run("128Bx16", func(b *testing.B) { exchange(b, loadOf(payload(128), 16), echoMessage) })
}

func BenchmarkStream(b *testing.B) {
	for _, n := range []int{16, 128, 1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) { exchange(b, loadOf(payload(n), 1), echoStream) })
	}
	b.Run("128Bx16", func(b *testing.B) { exchange(b, loadOf(payload(128), 16), echoStream) })
}

func BenchmarkJSON(b *testing.B) {
	type point struct {
		X, Y int
		Name string
	}
	for _, n := range []int{1, 100} {
		text := []byte("[" + strings.Repeat(`{"X":1,"Y":-22,"Name":"somewhere"},`, n-1) + `{"X":1,"Y":-22,"Name":"somewhere"}]`)
		b.Run(fmt.Sprintf("%dB", len(text)), func(b *testing.B) {
			exchange(b, loadOf(text, 1), func(c endpoint) error {
				var points []point
				if err := c.ReadJSON(&points); err != nil {
					return err
				}
				return c.WriteJSON(points)
			})
		})
	}
}

// records returns n bytes of text as programs send it.
func records(n int) []byte {
	var text bytes.Buffer
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, `{"user":%d,"name":"name %d","online":%t},`, i*7919, i, i%3 == 0)
	}
	return text.Bytes()[:n]
}

func BenchmarkCompressed(b *testing.B) {
	for _, n := range []int{128, 1 << 10, 16 << 10} {
		var packed bytes.Buffer
		w, _ := flate.NewWriter(&packed, flate.BestSpeed)
		w.Write(records(n))
		w.Flush()
		l := load{frame(0xc2, packed.Bytes()[:packed.Len()-4]), 1, true}
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) { exchange(b, l, echoMessage) })
		b.Run(fmt.Sprintf("%dB/stream", n), func(b *testing.B) { exchange(b, l, echoStream) })
	}
}

func BenchmarkPrepared(b *testing.B) {
	for _, compress := range []bool{false, true} {
		for _, n := range []int{128, 16 << 10} {
			b.Run(fmt.Sprintf("%dB/compress=%t", n, compress), func(b *testing.B) { benchPrepared(b, records(n), compress) })
		}
	}
}

// benchPrepared measures a message that is prepared and sent to 50 connections.
func benchPrepared(b *testing.B, p []byte, compress bool) {
	for _, lib := range libraries {
		b.Run(lib.name, func(b *testing.B) {
			accepted := make(chan endpoint)
			url := serve(b, func(w http.ResponseWriter, r *http.Request) {
				if c, err := lib.upgrade(w, r, compress); err == nil {
					accepted <- c
				}
			})
			var clients [50]*client
			var conns [50]endpoint
			for i := range clients {
				clients[i] = connect(url, compress)
				defer clients[i].nc.Close()
				conns[i] = <-accepted
				defer conns[i].Close()
			}
			measure(b, len(conns), func(rounds int) {
				for range rounds {
					send := lib.prepare(p)
					for _, c := range conns {
						check(send(c))
					}
					for _, c := range clients {
						c.skipMessage()
					}
				}
			})
		})
	}
}

func BenchmarkWriteControl(b *testing.B) {
	for _, lib := range libraries {
		b.Run(lib.name, func(b *testing.B) {
			accepted := make(chan endpoint)
			url := serve(b, func(w http.ResponseWriter, r *http.Request) {
				if c, err := lib.upgrade(w, r, false); err == nil {
					accepted <- c
				}
			})
			peer := connect(url, false)
			defer peer.nc.Close()
			c := <-accepted
			defer c.Close()
			go c.ReadMessage()
			measure(b, 1, func(rounds int) {
				for range rounds {
					check(c.WriteMessage(websocket.PingMessage, nil))
					peer.skipFrame()
				}
			})
		})
	}
}

// BenchmarkDeadlines measures messages each of which has deadlines of its own.
func BenchmarkDeadlines(b *testing.B) {
	exchange(b, loadOf(payload(128), 1), func(c endpoint) error {
		switch c := c.(type) {
		case *websocket.Conn:
			c.SetReadDeadline(soon())
			c.SetWriteDeadline(soon())
		case *gorilla.Conn:
			c.SetReadDeadline(soon())
			c.SetWriteDeadline(soon())
		}
		return echoMessage(c)
	})
}
