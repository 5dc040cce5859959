// Package bench compares WebSocket libraries: here with client and server in
// one process, in compare with separate processes.
//
// The client of a benchmark sends prepared frames and allocates nothing, so the
// allocations are the server's. Only a handshake includes those of the client,
// which are the same for all.
package bench

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/bench/peer"
	"github.com/fullduplex-go/websocket/bench/wire"
)

// sizes are the payload sizes of the benchmarks that use all of them.
var sizes = []int{16, 128, 1 << 10, 16 << 10, 128 << 10, 1 << 20}

// limit bounds every wait in a benchmark.
const limit = 2 * time.Minute

// forEach runs f for each peer.
func forEach(b *testing.B, f func(b *testing.B, p peer.Peer)) {
	for _, p := range peer.All() {
		b.Run(p.Name(), func(b *testing.B) { f(b, p) })
	}
}

// forLibraries runs f for each peer but the floor.
func forLibraries(b *testing.B, f func(b *testing.B, p peer.Peer)) {
	forEach(b, func(b *testing.B, p peer.Peer) {
		if p == peer.Floor {
			b.Skip("the floor knows no frames")
		}
		f(b, p)
	})
}

// listen returns a listener that closes with the test.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// serve starts a server of p through net/http and returns its address.
func serve(t testing.TB, p peer.Peer, o peer.Options, behaviour peer.Behaviour) string {
	t.Helper()
	ln := listen(t)
	server := &http.Server{Handler: p.Handler(o, behaviour), ErrorLog: log.New(io.Discard, "", 0)}
	t.Cleanup(func() { server.Close() })
	go server.Serve(ln)
	return ln.Addr().String()
}

// dial connects to a WebSocket server at addr.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, _ := dialResponse(t, addr)
	return nc
}

// dialResponse is like dial, and also returns the response.
func dialResponse(t testing.TB, addr string) (nc net.Conn, response []byte) {
	t.Helper()
	nc, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc, greet(t, nc, "http", addr)
}

// greet performs the client's handshake and returns the response.
func greet(t testing.TB, nc net.Conn, scheme, addr string) (response []byte) {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	response, err := wire.Greet(nc, scheme, addr, true)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// masks is the masking key of every frame that the benchmarks send.
var masks = []byte{0x37, 0xfa, 0x21, 0x3d}

// A load is bytes to send, the bytes that must come back, and their number of
// messages.
type load struct {
	request, reply []byte
	messages       int
}

// newLoad returns count messages of type t with the payload.
func newLoad(p peer.Peer, t byte, payload []byte, count int) load {
	l := load{messages: count}
	for range count {
		l.request = wire.AppendFrame(l.request, wire.FIN|t, payload, masks)
		l.reply = wire.AppendFrame(l.reply, wire.FIN|t, payload, nil)
	}
	if p == peer.Floor {
		l.reply = l.request
	}
	return l
}

// exchange sends the load and compares what comes back. It writes and reads at
// the same time if the load may fill the buffers in between.
func (l load) exchange(nc net.Conn, buf []byte) error {
	const fits = 32 << 10
	if len(l.request) <= fits {
		if _, err := nc.Write(l.request); err != nil {
			return err
		}
		return l.receive(nc, buf)
	}
	written := make(chan error, 1)
	go func() {
		_, err := nc.Write(l.request)
		written <- err
	}()
	return errors.Join(l.receive(nc, buf), <-written)
}

// errEcho says that a server is broken.
var errEcho = errors.New("what came back is not what was sent")

// receive reads the reply into buf and compares it.
func (l load) receive(nc net.Conn, buf []byte) error {
	if _, err := io.ReadFull(nc, buf[:len(l.reply)]); err != nil {
		return err
	}
	if !bytes.Equal(buf[:len(l.reply)], l.reply) {
		return errEcho
	}
	return nil
}

// bench exchanges b.N messages of the load on nc.
func (l load) bench(b *testing.B, nc net.Conn) {
	b.Helper()
	buf := make([]byte, len(l.reply))
	b.SetBytes(int64(len(l.request) / l.messages))
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += l.messages {
		if err := l.exchange(nc, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// pattern returns n bytes.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}

// BenchmarkEcho measures echo on one connection, with 1, 16 and 64 messages sent
// together.
func BenchmarkEcho(b *testing.B) {
	forEach(b, func(b *testing.B, p peer.Peer) {
		addr := serve(b, p, peer.Options{}, peer.Echo)
		for _, size := range sizes {
			for _, together := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("%dB/%d", size, together), func(b *testing.B) {
					newLoad(p, wire.Binary, pattern(size), together).bench(b, dial(b, addr))
				})
			}
		}
	})
}

// BenchmarkText measures text messages, whose UTF-8 has to be checked.
func BenchmarkText(b *testing.B) {
	texts := map[string]string{
		"ASCII": strings.Repeat("The quick brown fox jumps over the lazy dog. ", 23),
		"CJK":   strings.Repeat("全二重の通信は一本の線で。", 26),
	}
	forLibraries(b, func(b *testing.B, p peer.Peer) {
		addr := serve(b, p, peer.Options{}, peer.Echo)
		for name, text := range texts {
			b.Run(name, func(b *testing.B) {
				newLoad(p, wire.Text, []byte(text), 16).bench(b, dial(b, addr))
			})
		}
	})
}

// BenchmarkTLS measures echo over TLS.
func BenchmarkTLS(b *testing.B) {
	forEach(b, func(b *testing.B, p peer.Peer) {
		addr, config := serveTLS(b, p)
		for _, size := range []int{128, 16 << 10} {
			for _, together := range []int{1, 16} {
				b.Run(fmt.Sprintf("%dB/%d", size, together), func(b *testing.B) {
					newLoad(p, wire.Binary, pattern(size), together).bench(b, dialTLS(b, addr, config))
				})
			}
		}
	})
}

// BenchmarkRead measures messages that are read, unmasked and not answered. The
// large ones show the cost of unmasking.
func BenchmarkRead(b *testing.B) {
	const batch = 64 << 10
	answerLast := peer.Behaviour{Message: func(c peer.Conn, t byte, data []byte) error {
		if len(data) > 1 {
			return nil
		}
		return c.Write(t, data)
	}}
	forLibraries(b, func(b *testing.B, p peer.Peer) {
		addr := serve(b, p, peer.Options{}, answerLast)
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
				l := newLoad(p, wire.Binary, pattern(size), max(1, batch/size))
				benchRead(b, p, dial(b, addr), l)
			})
		}
	})
}

// benchRead sends b.N messages and waits for the answer to the one of one byte
// at the end.
func benchRead(b *testing.B, p peer.Peer, nc net.Conn, l load) {
	b.SetBytes(int64(len(l.request) / l.messages))
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += l.messages {
		if _, err := nc.Write(l.request); err != nil {
			b.Fatal(err)
		}
	}
	end := newLoad(p, wire.Binary, []byte{0}, 1)
	if err := end.exchange(nc, make([]byte, 16)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWrite measures messages that are only written.
func BenchmarkWrite(b *testing.B) {
	forLibraries(b, func(b *testing.B, p peer.Peer) {
		for _, size := range sizes {
			payload := pattern(size)
			addr := serve(b, p, peer.Options{}, peer.Behaviour{
				// The request says how often to send the message.
				Message: func(c peer.Conn, _ byte, data []byte) error {
					count := binary.BigEndian.Uint64(data)
					var err error
					for ; count > 0 && err == nil; count-- {
						err = c.Write(wire.Binary, payload)
					}
					return err
				},
			})
			b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
				b.SetBytes(int64(size))
				benchWrite(b, dial(b, addr), int64(wire.HeaderLen(size, false)+size))
			})
		}
	})
}

// benchWrite asks for b.N messages, each of n bytes on the wire, and reads
// them.
func benchWrite(b *testing.B, nc net.Conn, n int64) {
	b.ReportAllocs()
	buf := make([]byte, 256<<10)
	b.ResetTimer()
	ask := wire.AppendFrame(nil, wire.FIN|wire.Binary, binary.BigEndian.AppendUint64(nil, uint64(b.N)), masks)
	if _, err := nc.Write(ask); err != nil {
		b.Fatal(err)
	}
	for left := n * int64(b.N); left > 0; {
		m, err := nc.Read(buf[:min(int64(len(buf)), left)])
		if err != nil {
			b.Fatal(err)
		}
		left -= int64(m)
	}
}

// BenchmarkDeflate measures echo of JSON with permessage-deflate off and on.
// Context takeover is off on both sides.
func BenchmarkDeflate(b *testing.B) {
	record := []byte(strings.Repeat(`{"id":1024,"name":"full duplex","tags":["a","b"],"value":3.14159},`, 16))
	forLibraries(b, func(b *testing.B, p peer.Peer) {
		b.Run("off", func(b *testing.B) {
			addr := serve(b, p, peer.Options{}, peer.Echo)
			newLoad(p, wire.Text, record, 1).bench(b, dial(b, addr))
		})
		b.Run("on", func(b *testing.B) {
			addr := serve(b, p, peer.Options{Compress: true}, peer.Echo)
			benchDeflate(b, addr, record)
		})
	})
}

// benchDeflate exchanges compressed messages. The first reply is inflated and
// compared; since every message stands alone, the others are the same.
func benchDeflate(b *testing.B, addr string, record []byte) {
	nc, response := dialResponse(b, addr)
	if !bytes.Contains(response, []byte("permessage-deflate")) {
		b.Skip("compression was not agreed on")
	}
	l := load{messages: 1, request: wire.AppendFrame(nil, wire.FIN|wire.RSV1|wire.Text, deflate(b, record), masks)}
	if _, err := nc.Write(l.request); err != nil {
		b.Fatal(err)
	}
	l.reply = readFrame(b, nc)
	f, _, _ := wire.TakeFrame(bytes.Clone(l.reply))
	if f.First != wire.FIN|wire.RSV1|wire.Text || !bytes.Equal(inflate(b, f.Payload), record) {
		b.Fatal(errEcho)
	}
	l.bench(b, nc)
}

// readFrame returns the bytes of the next frame.
func readFrame(t testing.TB, r io.Reader) []byte {
	t.Helper()
	p := make([]byte, 0, 64<<10)
	for {
		if _, _, whole := wire.TakeFrame(p); whole {
			return p
		}
		n, err := r.Read(p[len(p):cap(p)])
		if err != nil {
			t.Fatal(err)
		}
		p = p[:len(p)+n]
	}
}

// flushMarker ends every flush of DEFLATE, and is left out of messages
// (RFC 7692, Section 7.2.1).
const flushMarker = "\x00\x00\xff\xff"

// deflate returns p as the payload of a compressed message.
func deflate(t testing.TB, p []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(flushMarker))
}

// inflate returns the message whose payload is p.
func inflate(t testing.TB, p []byte) []byte {
	t.Helper()
	// An empty final block ends the reader.
	const final = flushMarker + "\x01\x00\x00\xff\xff"
	out, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(final))))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// BenchmarkClient measures a client that echoes the messages of a server made of
// prepared bytes.
func BenchmarkClient(b *testing.B) {
	forLibraries(b, func(b *testing.B, p peer.Peer) {
		for _, size := range []int{128, 16 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) { benchClient(b, p, size) })
		}
	})
}

// benchClient sends messages to a client, one at a time, and reads them back, in
// any number of frames.
func benchClient(b *testing.B, p peer.Peer, size int) {
	ln := listen(b)
	go p.Dial(ln.Addr().String(), peer.Options{}, peer.Echo)
	nc, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	if err := errors.Join(nc.SetDeadline(time.Now().Add(limit)), wire.Answer(nc)); err != nil {
		b.Fatal(err)
	}
	payload := pattern(size)
	request := wire.AppendFrame(nil, wire.FIN|wire.Binary, payload, nil)
	buf := make([]byte, 0, 2*size+4096)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nc.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := receiveFragments(nc, buf, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// receiveFragments reads frames into buf until they add up to the payload.
func receiveFragments(r io.Reader, buf, payload []byte) error {
	for len(payload) > 0 {
		n, err := r.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return err
		}
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			f, after, whole := wire.TakeFrame(rest)
			if !whole {
				break
			}
			if !bytes.HasPrefix(payload, f.Payload) {
				return errEcho
			}
			payload, rest = payload[len(f.Payload):], after
		}
		buf = buf[:copy(buf, rest)]
	}
	return nil
}

// BenchmarkHandshake measures connections that are opened, accepted and lost,
// with net/http and without it.
func BenchmarkHandshake(b *testing.B) {
	forEach(b, func(b *testing.B, p peer.Peer) {
		b.Run("http", func(b *testing.B) {
			benchHandshake(b, serve(b, p, peer.Options{Lean: true}, peer.Echo))
		})
		serveConn := p.ConnServer(peer.Options{Lean: true}, peer.Echo)
		if serveConn == nil {
			return
		}
		b.Run("conn", func(b *testing.B) {
			ln := listen(b)
			go accept(ln, serveConn)
			benchHandshake(b, ln.Addr().String())
		})
	})
}

// accept serves the connections of ln until it is closed.
func accept(ln net.Listener, serveConn func(net.Conn) error) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go serveConn(nc)
	}
}

// benchHandshake opens a connection and resets it, one at a time.
func benchHandshake(b *testing.B, addr string) {
	b.ReportAllocs()
	for b.Loop() {
		nc, err := net.Dial("tcp4", addr)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := wire.Greet(nc, "http", addr, true); err != nil {
			b.Fatal(err)
		}
		// After a reset the port can be used again at once.
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
}

// BenchmarkBroadcast measures one message of 512 bytes to many connections:
// written to each, sent to a group, and sent to a group with compression.
func BenchmarkBroadcast(b *testing.B) {
	forLibraries(b, func(b *testing.B, p peer.Peer) {
		for _, conns := range []int{1000, 5000} {
			b.Run(fmt.Sprintf("%d/each", conns), func(b *testing.B) { benchBroadcast(b, p, conns, false, new(each)) })
			b.Run(fmt.Sprintf("%d/group", conns), func(b *testing.B) { benchBroadcast(b, p, conns, false, p.NewGroup()) })
			b.Run(fmt.Sprintf("%d/deflate", conns), func(b *testing.B) { benchBroadcast(b, p, conns, true, p.NewGroup()) })
		}
	})
}

// each is a Group that writes the message to each connection.
type each struct {
	mu    sync.Mutex
	conns []peer.Conn
}

func (e *each) Add(c peer.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns = append(e.conns, c)
}

func (e *each) Send(t byte, data []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		if err := c.Write(t, data); err != nil {
			return err
		}
	}
	return nil
}

// benchBroadcast sends b.N messages to the group and has every connection
// read each of them.
func benchBroadcast(b *testing.B, p peer.Peer, conns int, compress bool, group peer.Group) {
	var joined sync.WaitGroup
	joined.Add(conns)
	addr := serve(b, p, peer.Options{Compress: compress}, peer.Behaviour{
		Opened:  func(c peer.Conn) { group.Add(c); joined.Done() },
		Message: func(peer.Conn, byte, []byte) error { return nil },
	})
	payload := []byte(strings.Repeat("a message to all of us. ", 22))[:512]
	var received audience
	for range conns {
		go received.listen(dial(b, addr))
	}
	joined.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		received.expect(conns)
		if err := group.Send(wire.Text, payload); err != nil {
			b.Fatal(err)
		}
		received.wait(b)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(conns), "ns/message")
}

// An audience counts frames that many connections receive.
type audience struct {
	missing atomic.Int64
	all     chan struct{}
	once    sync.Once
}

// init makes the channel.
func (a *audience) init() { a.once.Do(func() { a.all = make(chan struct{}, 1) }) }

// expect starts to count down from n.
func (a *audience) expect(n int) {
	a.init()
	a.missing.Store(int64(n))
}

// wait waits until all frames have been received.
func (a *audience) wait(b *testing.B) {
	select {
	case <-a.all:
	case <-time.After(limit):
		b.Fatal("a message did not reach everybody")
	}
}

// listen counts the frames on nc until it ends. It expects one frame per read.
func (a *audience) listen(nc net.Conn) {
	a.init()
	buf, held := make([]byte, 1024), 0
	for {
		n, err := nc.Read(buf[held:])
		if err != nil {
			return
		}
		held += n
		if _, _, whole := wire.TakeFrame(buf[:held]); whole {
			held = 0
			if a.missing.Add(-1) == 0 {
				a.all <- struct{}{}
			}
		}
	}
}
