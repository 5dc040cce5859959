package websocket

import "sync/atomic"

// Stats are counts since the connection began.
type Stats struct {
	MessagesIn, MessagesOut uint64 // data messages, whole
	FramesIn, FramesOut     uint64 // of all kinds
	BytesIn, BytesOut       uint64 // on the wire, headers included, after the handshake
	Flushes                 uint64 // writes to the network

	// Payload bytes of messages that came, or went, compressed: on the wire,
	// and as the application sees them.
	CompressedIn, InflatedIn   uint64
	CompressedOut, DeflatedOut uint64

	Dropped uint64 // messages that Send dropped
}

// counters are those of the inbound half; frameWriter has the others.
type counters struct {
	messagesIn atomic.Uint64
	framesIn   atomic.Uint64
}

// countFrame enters a received frame.
func (c *Conn) countFrame(h header) {
	c.counters.framesIn.Add(1)
	if t := c.cfg.Trace; t != nil && t.FrameIn != nil {
		t.FrameIn(frameTrace(h))
	}
}

// Stats returns the counts so far.
func (c *Conn) Stats() Stats {
	s := Stats{
		MessagesIn: c.counters.messagesIn.Load(),
		FramesIn:   c.counters.framesIn.Load(),
		BytesIn:    c.in.received.Load(),
	}
	c.out.stats(&s)
	if c.deflate != nil {
		c.deflate.stats(&s)
	}
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	s.Dropped = c.queue.dropped
	return s
}

// stats fills in the counts of the outbound half.
func (w *frameWriter) stats(s *Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.MessagesOut, s.FramesOut = w.messages, w.frames
	s.BytesOut, s.Flushes = w.bytes, w.flushes
}

// stats fills in the counts of compressed messages.
func (d *deflation) stats(s *Stats) {
	s.CompressedIn, s.InflatedIn = d.compressedIn.Load(), d.inflatedIn.Load()
	s.CompressedOut, s.DeflatedOut = d.compressedOut.Load(), d.deflatedOut.Load()
}
