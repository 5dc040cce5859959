package websocket

// A role is the side of the connection an endpoint is on. It decides which
// direction is masked (RFC 6455, Section 5.1).
type role uint8

const (
	client role = iota
	server
)

// frameRules judges whether a header may come now. It is a pure machine: it
// does no I/O, and a header that it refuses leaves it unchanged.
//
//	               first frame, FIN=0
//	between  ───────────────────────────►  inside
//	messages ◄───────────────────────────  a message
//	   ▲  │        continuation, FIN=1       ▲  │
//	   └──┘ first frame, FIN=1               └──┘ continuation, FIN=0
//
// Control frames may come anywhere and change nothing. The zero value is that
// of a client without extensions, which accepts no payload in data frames.
type frameRules struct {
	role         role
	deflate      bool  // permessage-deflate is agreed: RSV1 has a meaning
	inside       bool  // a fragmented message is open
	compressed   bool  // the open message is compressed, or the last one if none is open
	maxSize      int64 // bytes of one message, after inflation; changes only between messages
	maxFragments int   // frames of one message; 0: by size; negative: no limit
	size         int64 // payload bytes announced for this message so far
	fragments    int64 // frames of this message so far
}

// check judges what shows in the first two bytes of a header: everything but
// the payload length.
func (r *frameRules) check(h header) violation {
	op := h.opcode()
	if h.byte0&bitsRSV != 0 {
		if v := r.checkReserved(h); v != noViolation {
			return v
		}
	}
	switch {
	case op.isReserved():
		return reservedOpcode
	case h.masked != (r.role == server):
		if h.masked {
			return maskedFrame
		}
		return unmaskedFrame
	case op.isControl():
		if !h.fin() {
			return controlFragmented
		}
	case op == opContinuation && !r.inside:
		return continuationWithoutMessage
	case op != opContinuation && r.inside:
		return messageInterrupted
	}
	return noViolation
}

// checkReserved judges a header with a reserved bit set. RSV1 marks the first
// frame of a compressed message (RFC 7692, Section 6).
func (r *frameRules) checkReserved(h header) violation {
	switch {
	case h.byte0&bitsRSV != bitRSV1 || !r.deflate:
		return reservedBitSet
	case h.opcode() != opText && h.opcode() != opBinary:
		return compressedContinuation
	default:
		return noViolation
	}
}

// accept judges a complete header and, if it is a data frame's, enters it.
func (r *frameRules) accept(h header) violation {
	if v := r.check(h); v != noViolation || h.opcode().isControl() {
		return v
	}
	size, fragments, compressed := r.size, r.fragments, r.compressed
	if !r.inside {
		size, fragments, compressed = 0, 0, h.byte0&bitRSV1 != 0
	}
	if h.length > r.wireLimit(compressed)-size {
		return messageTooBig
	}
	size += h.length
	fragments++
	if !r.fragmentsAllowed(fragments, size-h.length) {
		return tooManyFragments
	}
	r.size, r.fragments, r.compressed = size, fragments, compressed
	r.inside = !h.fin()
	return noViolation
}

// wireLimit returns the payload bytes that one message may announce. A
// compressed message is measured after inflation, but data that inflates to
// nothing must end as well: it may be as long as the limit and a little more,
// for what DEFLATE adds to data it cannot shorten.
func (r *frameRules) wireLimit(compressed bool) int64 {
	if !compressed {
		return r.maxSize
	}
	const slack = 8 << 10
	if extra := r.maxSize>>6 + slack; r.maxSize <= 1<<63-1-extra {
		return r.maxSize + extra
	}
	return 1<<63 - 1
}

// fragmentsAllowed reports whether a message may have n frames when earlier
// ones brought size bytes.
func (r *frameRules) fragmentsAllowed(n, size int64) bool {
	switch {
	case r.maxFragments < 0:
		return true
	case r.maxFragments == 0:
		return n <= 1024+size/16
	default:
		return n <= int64(r.maxFragments)
	}
}
