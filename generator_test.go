package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// This file compares endpoints with the model at volume: a generator without
// instrumentation makes streams of frames, most of them valid, others with one
// fault, and each is played to an endpoint in pieces. A stream is made from the
// seed and its number alone, so that one that fails can be played again:
//
//	go test -run TestGeneratedStreams -generate.seed=1 -generate.stream=123 .

// The flags of TestGeneratedStreams.
var (
	generateFrames = flag.Int64("generate.frames", 20_000, "how many generated frames are compared with the model")
	generateSeed   = flag.Uint64("generate.seed", 1, "the seed of the generated frames")
	generateStream = flag.Int64("generate.stream", -1, "the only generated stream to play")
)

// progressFrames is how many frames are between two lines that say how far the
// test has come.
const progressFrames = 1_000_000

// TestGeneratedStreams plays generated streams until there were enough frames.
// What it logs is read by internal/reliability.
func TestGeneratedStreams(t *testing.T) {
	covers(t, "F13", "G06", "Q.C15")
	if *generateStream >= 0 {
		playGenerated(t, *generateSeed, uint64(*generateStream))
		return
	}
	var frames, logged int64
	for stream := uint64(0); frames < *generateFrames; stream++ {
		frames += playGenerated(t, *generateSeed, stream)
		if frames-logged >= progressFrames || frames >= *generateFrames || t.Failed() {
			logged = frames
			t.Logf("generated %d frames in %d streams of seed %d", frames, stream+1, *generateSeed)
		}
		if t.Failed() {
			t.Fatalf("failed at -generate.seed=%d -generate.stream=%d", *generateSeed, stream)
		}
	}
}

// TestGeneratedStreamsVary proves that the generator makes what the comparison is
// meant for: every kind of end, with and without compression, in both roles.
func TestGeneratedStreamsVary(t *testing.T) {
	seen := map[string]int{}
	for stream := range uint64(2000) {
		g := newGenerator(1, stream)
		m := conversation{config: g.config}.model(g.role)
		m.feed(g.stream())
		code, _ := m.end()
		seen[fmt.Sprint(g.role, " ", uint16(code))]++
		seen[fmt.Sprint("compressed ", g.config.Compression != nil)]++
		for _, e := range m.events {
			seen[string(e.kind)]++
		}
	}
	for _, r := range []role{client, server} {
		for _, code := range []CloseCode{1000, 1002, 1005, 1006, 1007, 1008, 1009} {
			if want := fmt.Sprint(r, " ", uint16(code)); seen[want] < 3 {
				t.Errorf("%d of 2000 streams end as %s", seen[want], want)
			}
		}
	}
	for _, want := range []string{"compressed true", "compressed false", "message", "pong", "close"} {
		if seen[want] < 100 {
			t.Errorf("%d times %s", seen[want], want)
		}
	}
}

// playGenerated plays one stream, compares what it led to with the model, and
// returns how many frames the model has looked at.
func playGenerated(t *testing.T, seed, stream uint64) int64 {
	g := newGenerator(seed, stream)
	input := g.stream()
	m := conversation{config: g.config}.model(g.role)
	m.feed(input)
	nc := &generatedConn{input: input, sizes: g.pieces(), end: g.end()}
	e := &endpoint{t: t, role: g.role}
	conn, err := NewConn(nc, connOptionsFor(g.role, g.config, nil))
	if err != nil {
		t.Fatal(err)
	}
	e.conn = conn
	e.err = readLoops[g.IntN(len(readLoops)-1)].loop(conn, e.deliver)
	<-conn.transportClosedChan()
	e.sent = nc.written()
	end := asCloseError(e.err)
	e.compare(end, m)
	if end.Code == CloseAbnormal {
		e.checkAnswersToNobody(m)
	} else {
		e.checkAnswers(m)
	}
	if t.Failed() {
		t.Logf("a %s with %+v and pieces of %v ends with %v\n%s", g.role, g.config, nc.sizes, e.err, describe(m.events))
	}
	return m.headers
}

// A generatedConn is a net.Conn that has received a stream, which it hands on in
// pieces, and keeps what is written.
type generatedConn struct {
	input []byte
	sizes []int // of the pieces, over and over
	piece int   // how many there were
	end   error // behind the stream; io.EOF may come with the last piece

	mu     sync.Mutex
	closed bool
	sent   []byte
}

// Read returns the next piece.
func (c *generatedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	size := c.sizes[c.piece%len(c.sizes)]
	n := copy(p[:min(size, len(p))], c.input)
	c.input = c.input[n:]
	c.piece++
	if n == 0 || len(c.input) == 0 && c.end == io.EOF && size%2 == 1 {
		return n, c.end
	}
	return n, nil
}

// Write keeps p.
func (c *generatedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.sent = append(c.sent, p...)
	return len(p), nil
}

// written returns what was written.
func (c *generatedConn) written() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// Close makes all calls that follow fail.
func (c *generatedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// LocalAddr returns an address of no meaning.
func (c *generatedConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr returns an address of no meaning.
func (c *generatedConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline does nothing: no call waits.
func (c *generatedConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *generatedConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *generatedConn) SetWriteDeadline(time.Time) error { return nil }

// A generator makes a stream that a peer may send.
type generator struct {
	*rand.Rand
	role    role // of the endpoint that receives it
	config  Config
	b       []byte
	starts  []int // of the frames in b
	open    bool  // a message is under way
	text    bool  // and is text
	pending []byte
	deflate deflateGenerator
}

// newGenerator returns the generator of a stream. Limits are low, so that short
// streams reach them.
func newGenerator(seed, stream uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, stream))}
	if g.oneIn(2) {
		g.role = server
	}
	g.config = Config{PingInterval: -1, SkipUTF8Check: g.oneIn(8)}
	g.config.MaxMessageSize = []int64{60, 300, 1 << 17}[g.IntN(3)]
	g.config.MaxFragments = []int{0, 6, 20}[g.IntN(3)]
	if g.oneIn(16) {
		g.config.Compression = &Compression{
			PeerNoContextTakeover: g.oneIn(2),
			PeerWindowBits:        []int{0, 9, 12}[g.IntN(3)],
		}
	}
	g.deflate = deflateGenerator{Rand: g.Rand}
	return g
}

// oneIn returns true once in n times.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// stream returns the stream: frames, often a Close frame at the end, and in every
// other one a fault.
func (g *generator) stream() []byte {
	count := 4 << g.IntN(9)
	if g.config.Compression != nil {
		count = min(count, 32)
	}
	for range count {
		g.frame()
	}
	if !g.oneIn(4) {
		g.closeFrame()
	}
	if g.oneIn(2) {
		g.damage()
	}
	return g.b
}

// end returns what follows the stream.
func (g *generator) end() error {
	if g.oneIn(4) {
		return syscall.ECONNRESET
	}
	return io.EOF
}

// pieces returns the sizes of the pieces in which the stream arrives.
func (g *generator) pieces() []int {
	largest := []int{1, 5, 20, 100, 600, 5000, 70_000, 70_000}[g.IntN(8)]
	sizes := make([]int, 1+g.IntN(8))
	for i := range sizes {
		sizes[i] = 1 + g.IntN(largest)
	}
	return sizes
}

// frame appends a frame that may come now.
func (g *generator) frame() {
	switch n := g.IntN(100); {
	case n < 3:
		g.append(0x89, g.bytes(g.controlSize()))
	case n < 6:
		g.append(0x8a, g.bytes(g.controlSize()))
	case g.open:
		g.continuation()
	default:
		g.message()
	}
}

// controlSize returns the size of the payload of a Ping or Pong.
func (g *generator) controlSize() int { return []int{0, 4, 8, g.IntN(126)}[g.IntN(4)] }

// message appends the first frame of a message, most often the only one.
func (g *generator) message() {
	g.text = g.oneIn(2)
	byte0 := byte(0x02)
	if g.text {
		byte0 = 0x01
	}
	var payload []byte
	if g.config.Compression != nil && !g.oneIn(3) {
		byte0 |= 0x40
		payload = g.deflate.message(g.config.Compression, g.text)
	} else {
		payload = g.payload()
	}
	if !g.oneIn(4) {
		g.append(byte0|0x80, payload)
		return
	}
	cut := g.IntN(len(payload) + 1)
	g.append(byte0, payload[:cut])
	g.open, g.pending = true, payload[cut:]
}

// continuation appends the next fragment, most often the last.
func (g *generator) continuation() {
	if g.oneIn(2) {
		g.append(0x80, g.pending)
		g.open = false
		return
	}
	cut := g.IntN(len(g.pending) + 1)
	g.append(0x00, g.pending[:cut])
	g.pending = g.pending[cut:]
}

// payload returns that of a message, rarely one that is too large.
func (g *generator) payload() []byte {
	size := g.IntN(12)
	switch n := g.IntN(400); {
	case n < 40:
		size = g.IntN(61)
	case n < 44 && g.config.MaxMessageSize > 60:
		size = 120 + g.IntN(180)
	case n == 44:
		size = int(g.config.MaxMessageSize) - 1 + g.IntN(3)
		if size > 1000 && !g.oneIn(20) {
			size = 1000
		}
	case n == 45 && g.oneIn(20):
		size = 1<<16 - 1 + g.IntN(3)
	}
	if g.text {
		return g.letters(size)
	}
	return g.bytes(size)
}

// bytes returns n random bytes.
func (g *generator) bytes(n int) []byte {
	b := make([]byte, n, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:i+8:cap(b)], g.Uint64())
	}
	return b
}

// letters returns a text of at most n bytes, with code points of all lengths.
func (g *generator) letters(n int) []byte {
	b := make([]byte, 0, n)
	for {
		letter := []rune{'a', 'z', 'ß', '€', '😀', 0x10ffff, 0xfffd, 0x7ff}[g.IntN(8)]
		if g.oneIn(2) {
			letter = 'e'
		}
		if len(b)+len(string(letter)) > n {
			return b
		}
		b = append(b, string(letter)...)
	}
}

// closeFrame appends a Close frame, rarely one that is not valid.
func (g *generator) closeFrame() {
	if g.oneIn(4) {
		g.append(0x88, g.bytes(g.IntN(2)*g.IntN(2)))
		return
	}
	code := []int{1000, 1000, 1001, 1011, 3000, 4999, 1005, g.IntN(1 << 16)}[g.IntN(8)]
	payload := append([]byte{byte(code >> 8), byte(code)}, g.letters(g.IntN(124))...)
	g.append(0x88, payload)
}

// append appends a frame, masked for a server.
func (g *generator) append(byte0 byte, payload []byte) {
	g.starts = append(g.starts, len(g.b))
	g.b = append(g.b, byte0)
	g.b = g.appendLength(len(payload))
	if g.role == client {
		g.b = append(g.b, payload...)
		return
	}
	g.b[g.starts[len(g.starts)-1]+1] |= 0x80
	key := g.Uint32()
	if g.oneIn(16) {
		key = 0
	}
	at := len(g.b)
	g.b = binary.BigEndian.AppendUint32(g.b, key)
	for i, octet := range payload {
		g.b = append(g.b, octet^g.b[at+i%4])
	}
}

// appendLength returns g.b with a length, whose mask bit is not set, rarely in a
// form that is too long.
func (g *generator) appendLength(n int) []byte {
	switch {
	case n < 126 && !g.oneIn(20_000):
		return append(g.b, byte(n))
	case n < 1<<16 && !g.oneIn(1000):
		return binary.BigEndian.AppendUint16(append(g.b, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(g.b, 127), uint64(n))
	}
}

// damage puts a fault into the stream.
func (g *generator) damage() {
	at := g.starts[g.IntN(len(g.starts))]
	anywhere := g.IntN(len(g.b))
	switch g.IntN(8) {
	case 0: // the first octet of a header
		g.b[at] ^= 1 << g.IntN(8)
	case 1: // the second
		g.b[at+1] ^= 1 << g.IntN(8)
	case 2: // the one behind
		at = min(at+2, len(g.b)-1)
		g.b[at] ^= 1 << g.IntN(8)
	case 3: // any octet
		g.b[anywhere] = byte(g.IntN(256))
	case 4: // the end
		g.b = g.b[:anywhere]
	case 5: // an octet too many
		g.b = slices.Insert(g.b, anywhere, byte(g.IntN(256)))
	case 6: // one too few
		g.b = slices.Delete(g.b, anywhere, anywhere+1)
	case 7: // frames that are missing
		from := g.starts[g.IntN(len(g.starts))]
		g.b = slices.Delete(g.b, min(at, from), max(at, from))
	}
}

// A deflateGenerator makes compressed messages, most of them valid.
type deflateGenerator struct {
	*rand.Rand
	history []byte
	bits    bitWriter
}

// message returns a compressed message: blocks of the three types, and the end
// of RFC 7692, Section 7.2.1. It may refer to what was sent before.
func (g *deflateGenerator) message(c *Compression, text bool) []byte {
	g.bits = bitWriter{}
	if c.PeerNoContextTakeover {
		g.history = nil
	}
	for range 1 + g.IntN(3) {
		switch g.IntN(8) {
		case 0:
			g.dynamic()
		case 1:
			g.stored()
		default:
			g.fixed(text)
		}
	}
	if g.IntN(8) == 0 { // a final block, and behind it what Section 7.2.3.4 adds
		g.bits.put(0b011, 3)
		g.bits.put(0, 7)
		return append(g.bits.b, 0)
	}
	g.bits.put(0, 3)
	return g.bits.b
}

// fixed appends a block with fixed Huffman codes (RFC 1951, Section 3.2.6):
// literals, and matches, rarely of what lies too far back.
func (g *deflateGenerator) fixed(text bool) {
	g.bits.put(0b010, 3)
	for range g.IntN(12) {
		if len(g.history) == 0 || g.IntN(3) > 0 {
			g.literal(text)
		} else {
			g.match()
		}
	}
	g.bits.put(0, 7)
}

// literal appends a literal, for text of ASCII.
func (g *deflateGenerator) literal(text bool) {
	octet := byte(g.IntN(256))
	if text {
		octet %= 128
	}
	if octet < 144 {
		g.bits.putCode(0x30+uint(octet), 8)
	} else {
		g.bits.putCode(0x190+uint(octet)-144, 9)
	}
	g.history = append(g.history, octet)
}

// match appends a match of 3 to 10 bytes at a distance of up to 4.
func (g *deflateGenerator) match() {
	length, distance := 3+g.IntN(8), 1+g.IntN(min(4, len(g.history)))
	if g.IntN(100) == 0 {
		distance = 4
	}
	g.bits.putCode(uint(length-2), 7) // codes 257 to 264 have no extra bits
	g.bits.putCode(uint(distance-1), 5)
	for range length {
		if distance <= len(g.history) {
			g.history = append(g.history, g.history[len(g.history)-distance])
		}
	}
}

// stored appends a stored block (RFC 1951, Section 3.2.4) of a few bytes, or of
// none.
func (g *deflateGenerator) stored() {
	n := g.IntN(6)
	g.bits.put(0, 3)
	g.bits.align()
	g.bits.b = append(g.bits.b, byte(n), 0, ^byte(n), 0xff)
	for range n {
		octet := byte(g.IntN(128))
		g.bits.b = append(g.bits.b, octet)
		g.history = append(g.history, octet)
	}
}

// dynamic appends blocks that the standard library has made, behind an empty one
// that ends with an octet.
func (g *deflateGenerator) dynamic() {
	made := dynamicBlocks()[g.IntN(len(dynamicBlocks()))]
	g.bits.put(0, 3)
	g.bits.align()
	g.bits.b = append(g.bits.b, tail...)
	g.bits.b = append(g.bits.b, made.compressed...)
	g.history = append(g.history, made.plain...)
}

// A madeBlock is a text and what it was compressed to, up to an octet's end.
type madeBlock struct{ plain, compressed []byte }

// dynamicBlocks returns texts of which the standard library makes blocks with
// dynamic Huffman codes.
var dynamicBlocks = sync.OnceValue(func() (made []madeBlock) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 64 {
		var plain, compressed bytes.Buffer
		for range 40 + r.IntN(60) {
			plain.WriteByte("eeeeaatn o"[r.IntN(10)])
		}
		w, _ := flate.NewWriter(&compressed, flate.BestCompression)
		w.Write(plain.Bytes())
		w.Flush()
		made = append(made, madeBlock{plain.Bytes(), compressed.Bytes()})
	}
	return made
})

// A bitWriter packs bits as RFC 1951, Section 3.1.1 has it.
type bitWriter struct {
	b    []byte
	used int // bits of the last byte; 0: all
}

// put appends n bits, the least significant first.
func (w *bitWriter) put(bits uint, n int) {
	for ; n > 0; n-- {
		if w.used == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(bits&1) << w.used
		w.used = (w.used + 1) % 8
		bits >>= 1
	}
}

// putCode appends a Huffman code of n bits, the most significant first.
func (w *bitWriter) putCode(code uint, n int) {
	for n--; n >= 0; n-- {
		w.put(code>>n, 1)
	}
}

// align makes what follows begin with an octet.
func (w *bitWriter) align() { w.used = 0 }
