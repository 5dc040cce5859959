package websocket

// A readBuffer holds the bytes that were received and not taken. It owns no
// memory while a read waits and there are none.
//
//	         start         len(buf.b)       cap(buf.b)
//	┌──────────┬───────────────┬──────────────┐
//	│  taken   │    unread     │     room     │  buf
//	└──────────┴───────────────┴──────────────┘
//
// What was taken may still be in use, until releaseIfEmpty or room; pinned, it
// is a part of a message that the application borrows, and may neither move nor
// be overwritten until unpin. If the buffer has to be replaced meanwhile, the
// old one becomes borrowed.
//
// A buffer has an ordinary size, baseSize, or one of busyBufferSizes after
// reads that filled it, or is smaller after trim, until room.
type readBuffer struct {
	buf      *buffer // nil only when nothing is unread
	start    int     // where the unread bytes begin in buf
	borrowed *buffer // what the application borrows, and nothing else uses
	pinned   bool    // buf has bytes that the application borrows
	busy     uint8   // small reads left before an ordinary buffer is large enough
	baseSize int32   // bytes of an ordinary buffer
}

// busyBufferSizes are the sizes of buffers after reads that filled an ordinary
// one, and after others that filled the first of these.
var busyBufferSizes = [...]int{64 << 10, 256 << 10}

// shrinkAfter is how many small reads, with none between them that fills the
// buffer, make its size shrink by one step.
const shrinkAfter = 8

// unread returns the bytes that were received and not taken.
func (b *readBuffer) unread() []byte {
	if b.buf == nil {
		return nil
	}
	return b.buf.b[b.start:]
}

// discard takes n unread bytes. A buffer without unread bytes stays until fill
// or releaseIfEmpty, because the bytes taken last may still be in use.
func (b *readBuffer) discard(n int) { b.start += n }

// bufferSize returns the size in bytes of the buffer that room acquires.
func (b *readBuffer) bufferSize() int { return b.sizeAt(b.sizeStep()) }

// sizeStep returns by how many steps buffers are larger than ordinary ones.
func (b *readBuffer) sizeStep() int { return (int(b.busy) + shrinkAfter - 1) / shrinkAfter }

// sizeAt returns the size in bytes of a buffer after so many steps.
func (b *readBuffer) sizeAt(step int) int {
	if step == 0 {
		return int(b.baseSize)
	}
	return max(int(b.baseSize), busyBufferSizes[step-1])
}

// pin keeps the bytes taken last valid until unpin, or for ever after disown.
func (b *readBuffer) pin() { b.pinned = true }

// unpin ends what pin began, when the borrower is done.
func (b *readBuffer) unpin() {
	b.pinned = false
	b.borrowed.free()
	b.borrowed = nil
}

// disown ends what pin began while the borrower may still use the bytes: their
// memory is left to it and not used again.
func (b *readBuffer) disown() {
	if b.pinned {
		old := b.unread()
		b.buf, b.start, b.pinned = nil, 0, false
		if len(old) > 0 {
			b.buf = acquireBuffer(max(b.bufferSize(), len(old)))
			b.buf.b = append(b.buf.b, old...)
		}
	}
	b.borrowed = nil
}

// releaseIfEmpty parts with the buffer if it has no unread bytes.
func (b *readBuffer) releaseIfEmpty() {
	if b.buf == nil || b.start < len(b.buf.b) {
		return
	}
	b.detachBuffer()
}

// detachBuffer parts with the buffer: it is freed or, if pinned, becomes
// borrowed.
func (b *readBuffer) detachBuffer() {
	if b.pinned {
		b.borrowed.free()
		b.borrowed, b.pinned = b.buf, false
	} else {
		b.buf.free()
	}
	b.buf, b.start = nil, 0
}

// room returns the free part of the buffer, which is never empty, acquiring a
// buffer or moving its bytes as needed.
func (b *readBuffer) room() []byte {
	if b.buf == nil {
		b.buf = acquireBuffer(b.bufferSize())
	}
	free := cap(b.buf.b) - len(b.buf.b)
	movable := b.start > 0 && (b.start == len(b.buf.b) || free < cap(b.buf.b)/2)
	if movable || free == 0 || cap(b.buf.b) < b.bufferSize() {
		b.compact()
	}
	return b.buf.b[len(b.buf.b):cap(b.buf.b)]
}

// compact moves the unread bytes, if any, to the start of the buffer, or of a
// new one if this one is pinned, too small, or full of them.
func (b *readBuffer) compact() {
	old := b.unread()
	if !b.pinned && b.start > 0 && cap(b.buf.b) >= b.bufferSize() {
		b.buf.b = b.buf.b[:copy(b.buf.b, old)]
		b.start = 0
		return
	}
	fresh := acquireBuffer(max(b.bufferSize(), 2*len(old)))
	fresh.b = append(fresh.b, old...)
	b.detachBuffer()
	b.buf = fresh
}

// noteFilled records n bytes that were read into room. Reads that fill the
// buffer ask for a larger one; shrinkAfter small reads, for which one of the
// size before would have been enough, take that back.
func (b *readBuffer) noteFilled(n int) {
	b.buf.b = b.buf.b[:len(b.buf.b)+n]
	step := b.sizeStep()
	switch {
	case len(b.buf.b) == cap(b.buf.b):
		if step < len(busyBufferSizes) && cap(b.buf.b) >= b.bufferSize() {
			step++
		}
		b.busy = uint8(step * shrinkAfter)
	case step > 0 && n < b.sizeAt(step-1):
		b.busy--
	}
}

// trim moves the unread bytes to a smaller buffer if they are few. Of what was
// taken nothing may be in use, unless it is pinned.
func (b *readBuffer) trim() {
	if b.pinned || b.buf == nil {
		return
	}
	if small := b.buf.trim(b.start); small != b.buf {
		b.buf, b.start = small, 0
	}
}

// shrinkTo moves the unread bytes to the start of a buffer of about size bytes,
// which they must fit in: the present one, unless it is larger. Nothing may be
// pinned.
func (b *readBuffer) shrinkTo(size int) {
	old := b.unread()
	if cap(b.buf.b) >= 2*size || cap(b.buf.b) < size {
		fresh := acquireBuffer(size)
		fresh.b = append(fresh.b, old...)
		b.buf.free()
		b.buf = fresh
	} else {
		b.buf.b = b.buf.b[:copy(b.buf.b, old)]
	}
	b.start = 0
}
