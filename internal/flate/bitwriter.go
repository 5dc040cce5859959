package flate

import "encoding/binary"

// A bitWriter appends bits, the lowest first. The caller reserves room for what
// it writes and 8 bytes more.
type bitWriter struct {
	out []byte
	at  int
	acc uint64
	n   uint // bits of acc, fewer than 8 after flush
}

// reserve makes room for n bytes and for what the last flush writes.
func (w *bitWriter) reserve(n int) {
	if need := w.at + n + 16; need > len(w.out) {
		if need > cap(w.out) {
			w.out = append(w.out[:w.at], make([]byte, n+16)...)
		}
		w.out = w.out[:cap(w.out)]
	}
}

// add appends n bits, which stay in acc until flush.
func (w *bitWriter) add(bits uint64, n uint) {
	w.acc |= bits << (w.n & 63)
	w.n += n
}

// flush moves whole bytes from acc to the output.
func (w *bitWriter) flush() {
	binary.LittleEndian.PutUint64(w.out[w.at:], w.acc)
	w.at += int(w.n >> 3)
	w.acc >>= w.n &^ 7 & 63
	w.n &= 7
}

// align pads the last byte with zero bits.
func (w *bitWriter) align() {
	w.n = (w.n + 7) &^ 7
	w.flush()
}

// bytes appends b. The output must end at a byte boundary.
func (w *bitWriter) bytes(b []byte) { w.at += copy(w.out[w.at:], b) }
