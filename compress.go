package websocket

import (
	"math"
	"sync/atomic"

	"github.com/fullduplex-go/websocket/internal/flate"
)

// This file compresses and inflates the messages of a connection by
// permessage-deflate (RFC 7692). Its parameters are negotiated in extension.go.

// level returns the compressor's effort.
func (c *Compression) level() int { return min(max(c.Level, 1), 9) }

// threshold returns the size in bytes from which on messages are compressed.
func (c *Compression) threshold() int {
	if c.Threshold == 0 {
		return 128
	}
	return max(c.Threshold, 0)
}

// A deflation is the compression of a connection. send.lock guards the
// compressor, read.lock the decompressor.
type deflation struct {
	compressor   flate.Compressor
	decompressor flate.Decompressor
	takeover     bool // our messages refer to those before
	window       int  // what was agreed on for our compressor, in bits
	level        int
	threshold    int

	compressedIn, inflatedIn   atomic.Uint64 // see Stats
	compressedOut, deflatedOut atomic.Uint64
}

// newDeflation returns the compression of a connection of role r, or nil if
// none was negotiated.
func newDeflation(r role, a *deflateAgreement, c *Compression) *deflation {
	if a == nil || c == nil {
		return nil
	}
	ownWindow, peerWindow := a.clientWindow, a.serverWindow
	ownReset, peerReset := a.clientNoContext || c.NoContextTakeover, a.serverNoContext
	if r == server {
		ownWindow, peerWindow = peerWindow, ownWindow
		ownReset, peerReset = a.serverNoContext || c.NoContextTakeover, a.clientNoContext
	}
	return &deflation{
		compressor:   flate.NewCompressor(min(c.window(!ownReset), ownWindow), c.level(), contextOf(ownReset)),
		decompressor: flate.NewDecompressor(peerWindow, contextOf(peerReset)),
		takeover:     !ownReset,
		window:       ownWindow,
		level:        c.level(),
		threshold:    c.threshold(),
	}
}

// contextOf returns how package flate calls a side that forgets after each
// message, or does not.
func contextOf(reset bool) flate.Context {
	if reset {
		return flate.NoTakeover
	}
	return flate.Takeover
}

// compress appends p, compressed, to scratch and returns true, or returns false
// if p is to be sent as it is. The caller holds send.lock.
func (d *deflation) compress(scratch *buffer, p []byte) (smaller bool) {
	scratch.b, smaller = d.compressor.Append(scratch.b, p)
	if smaller {
		d.countSent(len(p), len(scratch.b))
	}
	return smaller
}

// countSent counts a message, or a part, that is sent compressed.
func (d *deflation) countSent(before, after int) {
	d.deflatedOut.Add(uint64(before))
	d.compressedOut.Add(uint64(after))
}

// countWithdrawn takes back what countSent counted.
func (d *deflation) countWithdrawn(before, after int) {
	d.deflatedOut.Add(-uint64(before))
	d.compressedOut.Add(-uint64(after))
}

// countReceived counts a message, or a part, that came compressed.
func (d *deflation) countReceived(before, after int) {
	d.compressedIn.Add(uint64(before))
	d.inflatedIn.Add(uint64(after))
}

// maxExpected bounds what is acquired for bytes that were not inflated yet.
const maxExpected = 1 << 20

// expectedSize returns how many bytes of memory are acquired for what n bytes
// of payload inflate to, so that it need not grow: twice the ratio of what came
// before, at least four times n, at most limit and maxExpected.
func (d *deflation) expectedSize(n int, limit int64) int {
	each := max(2*d.inflatedIn.Load()/max(d.compressedIn.Load(), 1), 4)
	return int(min(int64(n)*int64(each), limit, maxExpected))
}

// inflateWhole appends what the payload of a whole message inflates to, at most
// limit bytes. The caller of this and the next two holds read.lock.
func (d *deflation) inflateWhole(dst, payload []byte, limit int64) ([]byte, violation) {
	out, err := d.decompressor.Append(dst, payload, clampInt(limit))
	d.countReceived(len(payload), len(out)-len(dst))
	return out, inflateViolation(err)
}

// An inflation is how far what came of a compressed message has been inflated.
type inflation uint8

const (
	inflationHungry inflation = iota // it needs more input
	inflationFull                    // there is more output from the input so far
	inflationDone                    // all of the message has been put out
)

// inflatePart appends up to room bytes of what a part of a message inflates to,
// and returns how much of the part was used. While the result is inflationFull,
// the call is to be repeated with the rest of the part.
func (d *deflation) inflatePart(dst, part []byte, room int64) (out []byte, used int, state inflation, v violation) {
	out, used, err := d.decompressor.AppendPart(dst, part, clampInt(room))
	d.countReceived(used, len(out)-len(dst))
	if err == flate.ErrTooLong {
		return out, used, inflationFull, noViolation
	}
	return out, used, inflationHungry, inflateViolation(err)
}

// inflateEnd appends up to room bytes of what is left at the end of a message.
// While the result is inflationFull, the call is to be repeated.
func (d *deflation) inflateEnd(dst []byte, room int64) (out []byte, state inflation, v violation) {
	out, err := d.decompressor.Finish(dst, clampInt(room))
	d.countReceived(0, len(out)-len(dst))
	if err == flate.ErrTooLong {
		return out, inflationFull, noViolation
	}
	return out, inflationHungry, inflateViolation(err)
}

// inflateViolation returns the violation that an error of package flate stands
// for.
func inflateViolation(err error) violation {
	switch {
	case err == nil:
		return noViolation
	case err == flate.ErrTooLong:
		return messageTooBig
	default:
		return compressedDataCorrupt
	}
}

// clampInt returns n, or the largest int.
func clampInt(n int64) int { return int(min(n, math.MaxInt)) }
