package flate

import (
	"strconv"
	"sync"
)

// A Compressor compresses the messages of one direction of a connection
// (RFC 7692, Section 7.2.1). With [Takeover] it holds its window and table
// between messages, and may be told to forget them at any time; with
// [NoTakeover] it holds nothing. Its output depends on its parameters and on
// its earlier messages and calls, never on other Compressors. It is not safe
// for concurrent use and must not be copied after its first use.
//
// Messages that the peer receives uncompressed do not enter the window, and a
// Compressor need not know them. Messages that it receives compressed enter it;
// for one compressed elsewhere, call [Compressor.Remember] or
// [Compressor.Forget].
type Compressor struct {
	level   uint8
	window  uint8
	context Context
	open    bool     // a message in parts is under way
	m       *matcher // with Takeover or a message in parts, once used
}

// NewCompressor returns a Compressor that refers back at most 1<<window bytes.
// window is 8 to 15; level is 1, the fastest, to 9, the most thorough.
func NewCompressor(window, level int, context Context) Compressor {
	checkWindow(window)
	if level < 1 || level > 9 {
		panic("flate: level " + strconv.Itoa(level))
	}
	return Compressor{level: uint8(level), window: uint8(window), context: context}
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// Append appends message, compressed, to dst. If that would not be smaller than
// message it returns dst unchanged and false; the message must then be sent
// uncompressed and does not enter the window. Append must not be called inside
// a message in parts.
func (c *Compressor) Append(dst, message []byte) (out []byte, smaller bool) {
	if len(message) == 0 {
		return dst, false
	}
	e := encoders.Get().(*encoder)
	e.bitWriter = bitWriter{out: dst[:cap(dst)], at: len(dst)}
	var m *matcher
	if c.level == 1 && c.context == NoTakeover && len(message) >= largeMessage {
		e.compressLarge(message, 1<<c.window)
	} else {
		m = c.matcher(e, len(message))
		c.compress(e, m, message)
	}
	e.add(0, 3)
	e.align()
	out = e.out[:e.at]
	if smaller = len(out)-len(dst) < len(message); !smaller {
		out = dst
	}
	if m != nil && (smaller || m != c.m) {
		m.commit(message)
	}
	c.give(e, m)
	return out, smaller
}

// AppendPart appends part of a message, compressed, to dst. The output ends at
// a byte boundary, and the peer can inflate all of it when it arrives.
// [Compressor.AppendLast] ends the message.
func (c *Compressor) AppendPart(dst, part []byte) []byte {
	if len(part) == 0 {
		return dst
	}
	return append(c.appendOpen(dst, part), tail[:]...)
}

// AppendLast appends the last part of a message, which may be empty.
func (c *Compressor) AppendLast(dst, part []byte) []byte {
	out := c.appendOpen(dst, part)
	c.open = false
	if c.context == NoTakeover {
		partMatchers[c.window].Put(c.m)
		c.m = nil
	}
	return out
}

// appendOpen appends a part up to the header of the empty stored block.
func (c *Compressor) appendOpen(dst, part []byte) []byte {
	c.open = true
	e := encoders.Get().(*encoder)
	m := c.matcher(e, len(part))
	e.bitWriter = bitWriter{out: dst[:cap(dst)], at: len(dst)}
	c.compress(e, m, part)
	e.reserve(1)
	e.add(0, 3)
	e.align()
	out := e.out[:e.at]
	m.commit(part)
	c.give(e, m)
	return out
}

// compress writes the blocks of text.
func (c *Compressor) compress(e *encoder, m *matcher, text []byte) {
	m.begin(len(text))
	step := stepFor(len(text))
	for from := 0; from < len(text); from += blockSize {
		to := min(from+blockSize, len(text))
		if c.level == 1 {
			e.seqs = m.fast(e.seqs[:0], text, from, to, step)
		} else {
			e.seqs = m.lazy(e.seqs[:0], text, from, to, efforts[c.level])
		}
		e.block(text[from:to])
	}
	e.reserve(1)
}

// stepFor returns how many positions inside a match matcher.fast goes on before
// it enters one into the table: the longer a text, the less a position is worth.
func stepFor(n int) int {
	switch {
	case n > 16<<10:
		return 8
	case n > 4<<10:
		return 2
	default:
		return 1
	}
}

// ways returns the number of the table's entries for one hash.
func (c *Compressor) ways() uint8 {
	if c.level == 1 {
		return 1
	}
	return 4
}

// matcher returns the matcher of the connection, or one for this call.
func (c *Compressor) matcher(e *encoder, n int) *matcher {
	if c.m != nil {
		return c.m
	}
	if c.context == NoTakeover && !c.open {
		return c.shared(n)
	}
	c.m = c.fresh()
	return c.m
}

// partMatchers holds, by window, matchers for messages in parts without context
// takeover.
var partMatchers [16]sync.Pool

// fresh returns an empty matcher with a ring.
func (c *Compressor) fresh() *matcher {
	m, _ := partMatchers[c.window].Get().(*matcher)
	ring := 1 << c.window
	if m == nil {
		m = &matcher{slab: make([]byte, ring+tableBytes(int(c.window)))}
	}
	m.setup(m.slab, ring, int(c.window), c.ways())
	return m
}

// Messages without context share pooled matchers, which have no ring: small
// ones for messages up to smallMessage bytes, and larger ones. From largeMessage
// bytes on, where it is worth being cleared, messages of level 1 use the encoder's
// largeTable instead.
const (
	smallMessage = 16 << 10
	largeMessage = 8 << 10
	smallTable   = 16 << 10
	largeShared  = 64 << 10
)

// sharedMatchers holds matchers by size of table and ways.
var sharedMatchers [2][2]sync.Pool

// shared takes a matcher from the pool for a message of n bytes.
func (c *Compressor) shared(n int) *matcher {
	size := smallTable
	if n > smallMessage {
		size = largeShared
	}
	m, _ := sharedMatchers[b2i(n > smallMessage)][b2i(c.level > 1)].Get().(*matcher)
	if m == nil {
		m = new(matcher)
		m.setup(make([]byte, size), 0, int(c.window), c.ways())
	}
	m.window = 1 << c.window
	return m
}

// give returns e and m to their pools, unless m is the connection's.
func (c *Compressor) give(e *encoder, m *matcher) {
	if m != nil && m != c.m {
		sharedMatchers[b2i(len(m.slab) == largeShared)][b2i(c.level > 1)].Put(m)
	}
	e.out = nil
	encoders.Put(e)
}

// Remember enters into the window a message that the peer received compressed
// by another Compressor. If c holds no window it does nothing: c never refers to
// bytes it does not know.
func (c *Compressor) Remember(message []byte) {
	if c.m != nil {
		c.m.learn(message)
	}
}

// Forget empties the window, in constant time: later messages refer to nothing
// before. The memory is kept.
func (c *Compressor) Forget() {
	if c.m != nil {
		c.m.forget()
	}
}

// Drop empties the window and frees its memory until it is needed again. It
// also abandons a message in parts.
func (c *Compressor) Drop() { c.m, c.open = nil, false }

// Size returns the number of bytes of memory that c holds between messages.
func (c *Compressor) Size() int {
	if c.m == nil {
		return 0
	}
	return len(c.m.slab)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
