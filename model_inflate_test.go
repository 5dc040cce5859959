package websocket

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
)

// This file is the part of the second opinion that is RFC 7692, Section 7.2.2.
// Its inflater is that of the standard library, which knows nothing of
// messages: it stops at a final block, and takes any end for its own.

// Ends of a compressed message. The first is what its sender left out
// (Section 7.2.1). The second lies where a sender could have gone on, and so
// tells an end from the middle of a stored block, which takes anything.
var (
	tail      = []byte{0x00, 0x00, 0xff, 0xff}
	otherTail = []byte{0x01, 0x00, 0xfe, 0xff, '?'}
	lastBlock = []byte{0x01, 0x00, 0x00, 0xff, 0xff}
)

// inflate judges what has come of a compressed message, and, if that is the
// whole, puts what it inflates to in its place. It returns the fault, and a
// second one if the order is free.
func (m *model) inflate(whole bool) (code, also CloseCode) {
	end := tail
	if !whole || len(m.message) == 0 {
		end = nil
	}
	out, err := modelInflate(m.history, m.message, end)
	text := m.kind != Text || m.skipUTF8 || modelUTF8Start(out)
	switch {
	case int64(len(out)) > m.maxMessage && !text:
		return 1009, 1007
	case int64(len(out)) > m.maxMessage:
		return 1009, 0
	case !text, err == io.ErrUnexpectedEOF && whole, err != nil && err != io.ErrUnexpectedEOF:
		return 1007, 0
	case !whole:
		return 0, 0
	}
	return m.inflated(out), 0
}

// inflated judges what the whole message has inflated to.
func (m *model) inflated(out []byte) CloseCode {
	other, err := modelInflate(m.history, m.message, otherTail)
	atEnd := err == nil && (bytes.Equal(other, out) || string(other) == string(out)+"?")
	if len(m.message) > 0 && !atEnd || m.kind == Text && !m.skipUTF8 && !modelUTF8(string(out)) {
		return 1007
	}
	m.message = out
	if !m.forgets {
		m.history = append(m.history, out...)
		m.history = m.history[max(0, len(m.history)-m.window):]
	}
	return 0
}

// modelUTF8Start reports whether p can be the start of a text.
func modelUTF8Start(p []byte) bool {
	for cut := range min(len(p)+1, 4) {
		if rest := p[len(p)-cut:]; modelUTF8(string(p[:len(p)-cut])) && (cut == 0 || wellFormed(rest) == sequencePart) {
			return true
		}
	}
	return false
}

// modelInflate returns what a payload inflates to, with an end or, if that is
// nil, as far as it goes. The error is io.ErrUnexpectedEOF if it stops inside a
// block.
func modelInflate(history, payload, end []byte) (out []byte, err error) {
	if end == nil {
		return modelInflateAll(history, payload, nil)
	}
	out, err = modelInflateAll(history, payload, slices.Concat(end, lastBlock))
	if err != nil { // what was made of lastBlock is none of the message
		out, _ = modelInflateAll(history, slices.Concat(payload, end), nil)
	}
	return out, err
}

// modelInflateAll is modelInflate with an end that has a last block.
func modelInflateAll(history, payload, end []byte) (out []byte, err error) {
	in := bytes.NewReader(slices.Concat(payload, end))
	for in.Len() > 0 {
		z := flate.NewReaderDict(in, slices.Concat(history, out))
		block, err := io.ReadAll(z)
		out = append(out, block...)
		if err != nil {
			return out, err
		}
		if end != nil && (in.Len() == len(lastBlock) || in.Len() == len(end)) {
			break // the payload has ended with a final block
		}
	}
	return out, nil
}
