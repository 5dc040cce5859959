package flate

import "strconv"

// A Context says whether a message may refer to the messages before it
// (RFC 7692, Section 7.1.1).
type Context uint8

const (
	// NoTakeover lets every message stand alone.
	NoTakeover Context = iota
	// Takeover keeps the window from message to message.
	Takeover
)

// checkWindow panics if bits is no window size of RFC 7692, Section 7.1.2.
func checkWindow(bits int) {
	if bits < 8 || bits > 15 {
		panic("flate: window of " + strconv.Itoa(bits) + " bits")
	}
}

// A Decompressor inflates the messages of one direction of a connection. With
// Takeover it holds the history between messages; nothing else is held but
// while a message is inflated. It must be created with [NewDecompressor], is
// not safe for concurrent use, and must not be copied after its first use.
//
// The first error is returned by every later call, except an ErrTooLong of
// AppendPart or Finish: a history with a message missing is of no use.
type Decompressor struct {
	recent  history
	context Context
	z       *inflater // of the message under way in parts, or nil
	err     error
}

// NewDecompressor returns a Decompressor for a window of 1<<window bytes, 8 to
// 15. A distance beyond it is an error.
func NewDecompressor(window int, context Context) Decompressor {
	checkWindow(window)
	return Decompressor{recent: history{window: 1 << window}, context: context}
}

// Append appends the message that payload inflates to, without the tail that
// its sender left out (RFC 7692, Section 7.2.2), and returns the longer slice.
// Payload is not changed and not kept. The message may have limit bytes;
// if it has more, the error is [ErrTooLong]. If it is wrong or cut short the
// error is a [*CorruptError]. With an error dst is returned as it was, though
// bytes behind its end may have changed. An empty payload is an empty message.
// Append must not be called while a message in parts is under way.
func (d *Decompressor) Append(dst, payload []byte, limit int) ([]byte, error) {
	if d.err != nil || len(payload) == 0 {
		return dst, d.err
	}
	z := newInflater(&d.recent)
	z.setOutput(dst, limit)
	p := z.whole(payload)
	if p == done {
		dst = z.out[:z.op]
		d.remember(dst[z.start:])
	} else {
		d.err = z.pauseErr(p)
	}
	z.release()
	return dst, d.err
}

// AppendPart appends to dst what part, the next bytes of a message's payload,
// inflates to, at most room bytes. Parts may be cut anywhere. All that part
// completes is appended, and n is len(part). If there is no room for more, the
// error is [ErrTooLong], and the call is to be repeated with part[n:], also if
// that is empty. With another error dst is returned as it was.
//
// After the last part, [Decompressor.Finish] ends the message.
func (d *Decompressor) AppendPart(dst, part []byte, room int) (out []byte, n int, err error) {
	if d.err != nil {
		return dst, 0, d.err
	}
	z := d.open()
	z.setOutput(dst, room)
	n, p := z.feed(part)
	dst, err = d.take(z, dst, p)
	return dst, n, err
}

// Finish ends a message of which all parts were given to AppendPart. It
// appends what is left, at most room bytes; if there is no room for it the
// error is [ErrTooLong] and Finish is to be called again. A message that does
// not end as it should is a [*CorruptError].
func (d *Decompressor) Finish(dst []byte, room int) ([]byte, error) {
	if d.err != nil || d.z == nil {
		return dst, d.err
	}
	z := d.z
	z.setOutput(dst, room)
	p := done
	if z.consumed != 0 || z.carried != 0 {
		p = z.finish()
	}
	dst, err := d.take(z, dst, p)
	if p == done {
		d.closePart()
	}
	return dst, err
}

// open returns the inflater of the message under way, or of a new one.
func (d *Decompressor) open() *inflater {
	if d.z == nil {
		d.z = newInflater(&d.recent)
		if d.context == NoTakeover {
			d.z.own.window = d.recent.window
			d.z.recent = &d.z.own
		}
	}
	return d.z
}

// take returns what was appended to dst, enters it into the history, and
// turns the reason for the pause into an error.
func (d *Decompressor) take(z *inflater, dst []byte, p pause) ([]byte, error) {
	if p == failed {
		d.err = z.pauseErr(p)
		d.closePart()
		return dst, d.err
	}
	dst = z.out[:z.op]
	z.recent.write(dst[z.start:])
	if p == wantRoom {
		return dst, ErrTooLong
	}
	return dst, nil
}

// remember enters a whole message into the history.
func (d *Decompressor) remember(message []byte) {
	if d.context == Takeover {
		d.recent.write(message)
	}
}

// closePart gives the inflater of a message in parts back.
func (d *Decompressor) closePart() {
	if d.z != nil {
		d.z.release()
		d.z = nil
	}
}

// Close gives back all memory. Later calls return err, which must not be nil.
func (d *Decompressor) Close(err error) {
	d.closePart()
	d.recent = history{window: d.recent.window}
	if d.err == nil {
		d.err = err
	}
}

// Size returns the bytes of memory that d holds between messages.
func (d *Decompressor) Size() int { return len(d.recent.buf) }
