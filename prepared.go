package websocket

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/internal/flate"
)

// A Prepared is a message made ready once, to be sent to many connections. It
// does not change, and may be sent by any number of goroutines at once.
//
// All connections share its memory, also while it waits in their queues. It is
// compressed once for all connections with the same agreed window and the same
// Compression.Level. A server's connection sends it as it is. A client's masks
// it anew each time: two frames with one key would reveal what both contain (RFC
// 6455, Section 5.3).
type Prepared struct {
	typ     MessageType
	plain   bool // it must not be compressed
	payload []byte
	err     error // why it must not be sent

	forms atomic.Pointer[preparedForm] // the newest; forms are added and never removed
}

// A preparedForm is the payload of a Prepared, compressed without a history for
// connections of one window and level, by the first of them that needs it.
type preparedForm struct {
	window, level int
	older         *preparedForm // does not change once the form is in the list
	once          sync.Once
	payload       []byte // nil if it is not smaller
}

// deflated returns the payload compressed for a connection, or false if it is
// to be sent as it is. The slice must not be changed.
func (m *Prepared) deflated(d *deflation) ([]byte, bool) {
	form := m.form(d.window, d.level)
	form.once.Do(func() {
		c := flate.NewCompressor(d.window, d.level, flate.NoTakeover)
		if p, smaller := c.Append(nil, m.payload); smaller {
			form.payload = p
		}
	})
	return form.payload, form.payload != nil
}

// form returns the form for a window and a level, which it adds if there is
// none. It waits for nobody who compresses another.
func (m *Prepared) form(window, level int) *preparedForm {
	var added *preparedForm
	for {
		newest := m.forms.Load()
		for f := newest; f != nil; f = f.older {
			if f.window == window && f.level == level {
				return f
			}
		}
		if added == nil {
			added = &preparedForm{window: window, level: level}
		}
		added.older = newest
		if m.forms.CompareAndSwap(newest, added) {
			return added
		}
	}
}

// Prepare makes a copy of p ready to be sent as a message of type t. If the
// message must not be sent, such as text that is not UTF-8, every call that
// sends it returns the error. If p has a secret, see [PreparePlain].
func Prepare(t MessageType, p []byte) *Prepared {
	m := &Prepared{typ: t, payload: append([]byte(nil), p...)}
	switch {
	case t != Text && t != Binary:
		m.err = errInvalidType
	case t == Text && !utf8.Valid(p):
		m.err = errInvalidText
	}
	return m
}

// PreparePlain is Prepare for a message that must not be compressed, for the
// reason that [Conn.WritePlain] gives. WritePrepared, SendPrepared and Group.Send
// send it so, also on connections that compress other messages.
func PreparePlain(t MessageType, p []byte) *Prepared {
	m := Prepare(t, p)
	m.plain = true
	return m
}

// outgoing returns the message to encode.
func (m *Prepared) outgoing() outgoing {
	return outgoing{typ: m.typ, payload: m.payload, shared: m, plain: m.plain}
}

// errNotPrepared answers calls with a Prepared that neither Prepare nor
// PreparePlain made.
var errNotPrepared = errors.New("websocket: this Prepared is empty: make one with Prepare")

// checkPrepared returns an error if m must not be sent.
func (c *Conn) checkPrepared(m *Prepared) error {
	if m == nil || m.typ == 0 && m.err == nil {
		return errNotPrepared
	}
	if m.err == errInvalidText && c.cfg.SkipUTF8Check {
		return nil
	}
	return m.err
}

// WritePrepared sends m as Write does.
func (c *Conn) WritePrepared(ctx context.Context, m *Prepared) error {
	ctx = c.callContext(ctx)
	if err := c.checkPrepared(m); err != nil {
		return err
	}
	if c.deflate == nil || m.plain {
		return c.writeFrame(ctx, bitFIN|byte(m.typ), m.payload)
	}
	return c.write(ctx, m.outgoing())
}

// SendPrepared queues m as Send does, without copying it.
func (c *Conn) SendPrepared(m *Prepared) error {
	waits, err := c.postPrepared(m, c.cfg.SlowConsumer)
	if err == nil && !waits {
		c.out.flushNow()
	}
	return err
}

// postPrepared is SendPrepared under a policy and without the flush, which must
// follow unless waits is true: then the message is corked, or is in the queue.
// A large message takes the way through the queue, from which it is sent
// without being copied.
func (c *Conn) postPrepared(m *Prepared, policy SlowPolicy) (waits bool, err error) {
	if err := c.checkPrepared(m); err != nil {
		return false, err
	}
	if len(m.payload) < inPlaceFrom {
		done, corked, err := c.postNow(m.outgoing())
		if done || err != nil {
			return corked, err
		}
	}
	return true, c.enqueue(queued{shared: m}, policy)
}
