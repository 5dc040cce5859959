package flate

import "strconv"

// A Context says whether a message may refer to the messages before it
// (RFC 7692, Section 7.1.1).
type Context uint8

const (
	// NoTakeover means that no message refers to another.
	NoTakeover Context = iota
	// Takeover keeps the window from message to message.
	Takeover
)

// checkWindow panics if bits is not a window size of RFC 7692, Section 7.1.2.
func checkWindow(bits int) {
	if bits < 8 || bits > 15 {
		panic("flate: window of " + strconv.Itoa(bits) + " bits")
	}
}

// A Decompressor inflates the messages of one direction of a connection. Between
// messages it holds only the history, and only with Takeover. It must be created
// with [NewDecompressor], is not safe for concurrent use, and must not be copied
// after its first use.
//
// Every later call returns the first error, except an ErrTooLong of AppendPart
// or Finish: a history that lacks a message is useless.
type Decompressor struct {
	recent  history
	context Context
	z       *inflater // of a message in parts, or nil
	err     error
}

// NewDecompressor returns a Decompressor for a window of 1<<window bytes, where
// window is 8 to 15. A distance beyond the window is an error.
func NewDecompressor(window int, context Context) Decompressor {
	checkWindow(window)
	return Decompressor{recent: history{window: 1 << window}, context: context}
}

// Append appends the message that payload inflates to, without the tail that
// its sender left out (RFC 7692, Section 7.2.2), and returns the extended slice.
// payload is not changed and not retained. If the message has more than limit
// bytes, the error is [ErrTooLong]; if it is invalid or cut short, the error is
// a [*CorruptError]. After an error dst is returned unchanged, though bytes
// between its length and capacity may differ. An empty payload is an empty
// message. Append must not be called inside a message in parts.
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
// inflates to, at most room bytes. Parts may be cut anywhere. It appends all
// bytes that part completes, and n is len(part). If the room does not suffice
// the error is [ErrTooLong], and the call must be repeated with part[n:], even
// if that is empty. After any other error dst is returned unchanged.
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

// Finish ends a message after the last call of AppendPart. It appends what is
// left, at most room bytes; if the room does not suffice the error is
// [ErrTooLong] and Finish must be called again. If the message does not end as
// it must, the error is a [*CorruptError].
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

// open returns the inflater of the current message in parts, or of a new one.
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

// closePart releases the inflater of a message in parts.
func (d *Decompressor) closePart() {
	if d.z != nil {
		d.z.release()
		d.z = nil
	}
}

// Close frees all memory. Later calls return err, which must not be nil.
func (d *Decompressor) Close(err error) {
	d.closePart()
	d.recent = history{window: d.recent.window}
	if d.err == nil {
		d.err = err
	}
}

// Size returns the number of bytes of memory that d holds between messages.
func (d *Decompressor) Size() int { return len(d.recent.buf) }
