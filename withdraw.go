package websocket

import "slices"

// This file takes frames back whose owner gave up. A frame can be withdrawn
// until a byte of it has been handed to the network:
//
//	            on the network   in a call      in the work     pending
//	            ├───────────────┼──────────────┼───────────────┼──────────►
//	            0              off           handed           size
//	  withdrawn      no            no, or wait       yes            yes
//
// "Wait" is for a call that cannot block: it is over at once, and then it is
// known how much it took. The bytes are cut out, later tickets move up, and the
// statistics forget the frame. A compressed message may be referred to by later
// ones, so mayRefer makes the compressor forget while that is in doubt.

// cancelTicket takes t out of the queue, unless it has been woken, and reports
// that as left. f says what becomes of its bytes.
func (w *frameWriter) cancelTicket(t *ticket, f fate) (left, withdrawn bool) {
	for {
		left, withdrawn, tried := w.tryCancelTicket(t, f)
		if tried == nil {
			return left, withdrawn
		}
		<-tried
	}
}

// tryCancelTicket is cancelTicket, but returns a channel if a call that does
// not block must end before it is known whether bytes of t have begun to leave.
func (w *frameWriter) tryCancelTicket(t *ticket, f fate) (left, withdrawn bool, tried <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active == nil {
		return false, false, nil
	}
	i := slices.Index(w.active.queue, t)
	if i < 0 {
		return false, false, nil
	}
	if at := w.workOffsetLocked(t); f == orWithdraw && w.active.nc.isRaw() && at >= w.active.work.off && at < w.active.work.handed {
		if w.active.awaited.callDone == nil {
			w.active.awaited.callDone = make(chan struct{})
		}
		return false, false, w.active.awaited.callDone
	}
	w.active.queue = slices.Delete(w.active.queue, i, i+1)
	t.state = ticketDone
	return true, f == orWithdraw && w.withdrawLocked(t), nil
}

// workOffsetLocked returns where in the work the bytes of t begin; that is its
// end or behind it if they are pending. The caller holds w.mu.
func (w *frameWriter) workOffsetLocked(t *ticket) int {
	return w.active.work.dataStart + int(t.start-w.active.offsets.sent)
}

// withdrawLocked removes the bytes of t, unless they have begun to leave or are
// in the call under way. The caller holds w.mu.
func (w *frameWriter) withdrawLocked(t *ticket) (withdrawn bool) {
	size := int(t.end - t.start)
	pending := t.start - w.pendingStartLocked()
	at := w.workOffsetLocked(t)
	switch {
	case size == 0, pending < 0 && at < w.active.work.handed:
		return false
	case pending >= 0:
		w.active.pending.data = cutOut(w.active.pending.data, int(pending), size)
	default:
		w.active.work.head = cutOut(w.active.work.head, at, size)
	}
	w.closeGapLocked(t)
	return true
}

// pendingStartLocked returns where in the data stream the pending bytes begin.
// The caller holds w.mu.
func (w *frameWriter) pendingStartLocked() int64 {
	return w.active.offsets.appended - int64(w.active.pending.data.size())
}

// closeGapLocked removes the bytes of t, which were cut out, from the data
// stream and from the statistics. Others may have waited for nothing else. The
// caller holds w.mu.
func (w *frameWriter) closeGapLocked(t *ticket) {
	size := t.end - t.start
	w.active.offsets.appended -= size
	for _, later := range w.active.queue {
		if later.start >= t.end {
			later.start -= size
			later.end -= size
		}
	}
	switch {
	case w.active.offsets.doubtful == t.start+1:
		w.active.offsets.doubtful = 0
		w.mode.withdrawn = true
	case w.active.offsets.doubtful > t.end:
		w.active.offsets.doubtful -= size
	}
	w.counts.frames--
	if t.byte0&bitFIN != 0 {
		w.counts.messages--
	}
	w.active.queue = slices.DeleteFunc(w.active.queue, w.wakeLocked)
}

// mayRefer reports whether the next message may refer to those compressed
// before it: not if one of them was withdrawn, or still may be. Then the
// compressor must forget them. The caller holds Conn.send.lock.
func (w *frameWriter) mayRefer() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	withdrawn := w.mode.withdrawn
	w.mode.withdrawn = false
	s := w.active
	if s == nil {
		return !withdrawn
	}
	doubt := s.offsets.doubtful
	s.offsets.doubtful = 0
	return !withdrawn && (doubt == 0 || w.sentToLocked() >= doubt)
}

// cutOut removes up to n bytes at the given place from b, and returns it. A
// buffer left without bytes is freed, and the result is nil.
func cutOut(b *buffer, at, n int) *buffer {
	b.b = slices.Delete(b.b, at, min(at+n, len(b.b)))
	if len(b.b) > 0 {
		return b
	}
	b.free()
	return nil
}

// giveUpLocked is called when the flusher, whose ticket is t, gives up. Its
// bytes are withdrawn if f says so and they have not begun to leave; otherwise
// they are made independent of the application's memory. The caller holds w.mu.
func (w *frameWriter) giveUpLocked(t *ticket, f fate) (withdrawn bool) {
	external := w.active.work.external // that of t, if there is one
	w.active.work.external = nil
	if f == orWithdraw && w.withdrawLocked(t) {
		w.retireLocked()
		return true
	}
	w.active.work.external = external
	w.active.work.takeOver()
	return false
}
