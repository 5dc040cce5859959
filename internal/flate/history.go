package flate

// A history is a ring of the last bytes of the messages received, at most as
// many as the window has. Its buffer doubles as bytes arrive, and wraps around
// only once it is as large as the window.
//
// Invariant: len(buf) is 0 or a power of two, at most window; valid bytes end
// before buf[next]; valid <= len(buf); and next == valid while len(buf) < window.
type history struct {
	buf    []byte
	next   int // where the next byte goes
	valid  int // bytes that may be referred to
	window int
}

// smallestHistory is the size of the first buffer in bytes.
const smallestHistory = 256

// write appends p, of which only the last window bytes matter.
func (h *history) write(p []byte) {
	if len(p) >= h.window {
		p = p[len(p)-h.window:]
	}
	h.grow(len(p))
	n := copy(h.buf[h.next:], p)
	copy(h.buf, p[n:])
	if len(h.buf) != 0 {
		h.next = (h.next + len(p)) & (len(h.buf) - 1)
	}
	h.valid = min(h.valid+len(p), len(h.buf))
}

// grow makes room for n more bytes without loss, as far as the window allows.
func (h *history) grow(n int) {
	want := min(h.valid+n, h.window)
	if want <= len(h.buf) {
		return
	}
	size := max(len(h.buf), min(smallestHistory, h.window))
	for size < want {
		size *= 2
	}
	buf := make([]byte, size)
	copy(buf, h.buf[:h.valid])
	h.buf, h.next = buf, h.valid
}

// copyOut copies bytes to dst, beginning back bytes before the end, until dst is
// full or the end is reached. back must be at most valid. It returns the number
// of bytes copied.
func (h *history) copyOut(dst []byte, back int) int {
	dst = dst[:min(len(dst), back)]
	from := (h.next - back) & (len(h.buf) - 1)
	if n := copy(dst, h.buf[from:]); n < len(dst) {
		copy(dst[n:], h.buf)
	}
	return len(dst)
}

// forget empties the history and keeps its buffer.
func (h *history) forget() { h.next, h.valid = 0, 0 }
