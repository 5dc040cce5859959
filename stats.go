package websocket

import "sync/atomic"

// Stats are counts since the opening handshake, which is not included. Counters
// are read one by one, so on a busy connection they may differ by a few frames.
// They remain available after the connection has ended.
//
// The sum over many connections is that of Stats of those that live, and of
// those that have ended, which Trace.Closed can add up.
type Stats struct {
	// MessagesIn and MessagesOut count data messages: those received to their
	// end and found valid, and those handed to the writer to their end and not
	// withdrawn.
	MessagesIn, MessagesOut uint64
	// FramesIn and FramesOut count frames of all kinds: those whose header
	// was received and found valid, and those handed to the writer and not
	// withdrawn.
	FramesIn, FramesOut uint64
	// BytesIn and BytesOut count what was read from the network and what was
	// written to it, frame headers included.
	BytesIn, BytesOut uint64
	// Flushes counts writes to the network, of which one may take several
	// system calls. MessagesOut divided by it says how many messages shared
	// one.
	Flushes uint64
	// CompressedIn and InflatedIn count the payload bytes of messages that
	// came compressed, on the wire and inflated; CompressedOut and DeflatedOut
	// those of messages that went compressed, on the wire and before.
	CompressedIn, InflatedIn   uint64
	CompressedOut, DeflatedOut uint64
	// Dropped counts messages that Send, SendPrepared and Group.Send dropped
	// because the queue was full. Those lost with the connection are not in it.
	Dropped uint64
}

// counters count what is received; frameWriter counts what is sent.
type counters struct {
	messagesIn atomic.Uint64
	framesIn   atomic.Uint64
}

// countFrame counts a received frame.
func (c *Conn) countFrame(h header) {
	c.read.counters.framesIn.Add(1)
	if t := c.cfg.Trace; t != nil && t.FrameIn != nil {
		t.FrameIn(c, frameTrace(h))
	}
}

// Stats returns the counts so far.
func (c *Conn) Stats() Stats {
	s := Stats{
		MessagesIn: c.read.counters.messagesIn.Load(),
		FramesIn:   c.read.counters.framesIn.Load(),
		BytesIn:    c.read.intake.received.Load(),
	}
	c.out.stats(&s)
	if c.deflate != nil {
		c.deflate.stats(&s)
	}
	if q := c.send.queue.Load(); q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		s.Dropped = q.dropped
	}
	return s
}

// stats sets the counts of what was sent.
func (w *frameWriter) stats(s *Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.MessagesOut, s.FramesOut = w.counts.messages, w.counts.frames
	s.BytesOut, s.Flushes = w.counts.bytes.Load(), w.counts.flushes
}

// stats sets the counts of compressed messages.
func (d *deflation) stats(s *Stats) {
	s.CompressedIn, s.InflatedIn = d.compressedIn.Load(), d.inflatedIn.Load()
	s.CompressedOut, s.DeflatedOut = d.compressedOut.Load(), d.deflatedOut.Load()
}
