package deflate

import (
	"bytes"
	"compress/flate"
	"math"
)

// tail ends every flush of a compressor and is not sent
// (RFC 7692, Section 7.2.1).
const tail = "\x00\x00\xff\xff"

// Compressor compresses the messages of one direction of a connection. The
// window of compress/flate is always 32 KiB. For a smaller one the compressor
// restarts whenever it has been fed as many octets as the window has: no match
// then reaches further back.
type Compressor struct {
	terms Direction
	out   bytes.Buffer
	w     *flate.Writer
	fed   int // octets since the last restart
}

// NewCompressor returns a compressor with the suite's level, or with the fastest
// one if it restarts often.
func NewCompressor(terms Direction) *Compressor {
	c := &Compressor{terms: terms}
	level := 6
	if c.limited() {
		level = flate.BestSpeed
	}
	c.w, _ = flate.NewWriter(&c.out, level)
	return c
}

// limited reports whether the window is smaller than that of compress/flate.
func (c *Compressor) limited() bool { return c.terms.Window < 15 }

// Compress returns the payload of message p. It is valid until the next call.
func (c *Compressor) Compress(p []byte) []byte {
	c.out.Reset()
	if c.terms.NoContext || c.room() == 0 {
		c.restart()
	}
	for {
		part := p[:min(len(p), c.room())]
		c.w.Write(part)
		c.w.Flush()
		c.fed += len(part)
		p = p[len(part):]
		if len(p) == 0 {
			return bytes.TrimSuffix(c.out.Bytes(), []byte(tail))
		}
		c.restart()
	}
}

// room returns how many octets may be fed before the compressor must restart.
func (c *Compressor) room() int {
	if !c.limited() {
		return math.MaxInt // the window is that of compress/flate
	}
	return 1<<c.terms.Window - c.fed
}

// restart forgets everything that was fed.
func (c *Compressor) restart() {
	c.w.Reset(&c.out)
	c.fed = 0
}
