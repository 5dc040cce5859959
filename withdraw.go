package websocket

import (
	"math"
	"slices"
)

// leaveLine takes t out of the line, unless it has been woken. Its bytes are
// withdrawn unless they have begun to go out.
func (w *frameWriter) leaveLine(t *ticket, revocable bool) (left, withdrawn bool) {
	for {
		left, withdrawn, tried := w.tryLeave(t, revocable)
		if tried == nil {
			return left, withdrawn
		}
		<-tried
	}
}

// tryLeave is leaveLine, but returns a channel if a call that does not block
// must end before it is known whether bytes of t have begun to go out.
func (w *frameWriter) tryLeave(t *ticket, revocable bool) (left, withdrawn bool, tried <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flushing == nil {
		return false, false, nil
	}
	i := slices.Index(w.line, t)
	if i < 0 {
		return false, false, nil
	}
	if at := w.placeLocked(t); revocable && w.nc.raw != nil && at >= w.work.off && at < w.work.handed {
		if w.tried == nil {
			w.tried = make(chan struct{})
		}
		return false, false, w.tried
	}
	w.line = slices.Delete(w.line, i, i+1)
	t.state = ticketDone
	return true, revocable && w.takeBackLocked(t), nil
}

// placeLocked returns where in the work the bytes of t begin, which is behind
// its end if they are pending. The caller holds w.mu.
func (w *frameWriter) placeLocked(t *ticket) int {
	return w.work.dataStart + int(t.start-w.sent)
}

// takeBackLocked removes the bytes of t, unless they have begun to go out or are
// in the call under way. The caller holds w.mu.
func (w *frameWriter) takeBackLocked(t *ticket) (withdrawn bool) {
	size := int(t.end - t.start)
	pending := t.start - w.pendingStartLocked()
	at := w.placeLocked(t)
	switch {
	case size == 0, pending < 0 && at < w.work.handed:
		return false
	case pending >= 0:
		w.data = cutOut(w.data, int(pending), size)
	default:
		w.work.head = cutOut(w.work.head, at, size)
	}
	w.forgetLocked(t)
	return true
}

// pendingStartLocked returns where in the data stream the pending bytes begin.
// The caller holds w.mu.
func (w *frameWriter) pendingStartLocked() int64 {
	n := 0
	if w.data != nil {
		n = len(w.data.b)
	}
	return w.appended - int64(n)
}

// forgetLocked takes the bytes of t, which were cut out, from the data stream
// and from the statistics. Some may have waited for nothing else. The caller
// holds w.mu.
func (w *frameWriter) forgetLocked(t *ticket) {
	size := t.end - t.start
	w.appended -= size
	for _, later := range w.line {
		if later.start >= t.end {
			later.start -= size
			later.end -= size
		}
	}
	switch {
	case w.doubt == t.start+1:
		w.doubt = math.MaxInt64
	case w.doubt > t.end && w.doubt != math.MaxInt64:
		w.doubt -= size
	}
	w.frames--
	if t.first&bitFIN != 0 {
		w.messages--
	}
	w.line = slices.DeleteFunc(w.line, w.wakeLocked)
}

// mayRefer reports whether the next message may refer to those that were
// compressed before it: not to one that may still be withdrawn, or that was.
// Then the compressor must forget. The caller has the sending turn.
func (w *frameWriter) mayRefer() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	doubt := w.doubt
	w.doubt = 0
	return doubt == 0 || w.outLocked() >= doubt
}

// cutOut removes up to n bytes at the given place from b. A buffer without
// bytes is given back.
func cutOut(b *buffer, at, n int) *buffer {
	b.b = slices.Delete(b.b, at, min(at+n, len(b.b)))
	if len(b.b) > 0 {
		return b
	}
	b.free()
	return nil
}

// giveUpLocked withdraws the bytes of t, whose owner was the flusher. If they
// have begun to go out, they become independent of memory that was lent. The
// caller holds w.mu.
func (w *frameWriter) giveUpLocked(t *ticket, revocable bool) (withdrawn bool) {
	external := w.work.external // which is of t, if it is of anybody
	w.work.external = nil
	if revocable && w.takeBackLocked(t) {
		w.retireLocked()
		return true
	}
	w.work.external = external
	w.work.takeOver()
	return false
}
