package websocket

import (
	"fmt"
	"math"
	"strings"
)

// This file is a second opinion: a reading of RFC 6455, Sections 5 to 8, in
// slow and plain Go that shares no code with the package. Given a role, limits
// and the bytes a peer sends, it says which messages the application gets,
// which control frames we must answer with, and how the connection ends.

// A modelHeader is a frame header as drawn in RFC 6455, Section 5.2.
type modelHeader struct {
	fin, rsv1, rsv2, rsv3 bool
	opcode                int
	mask                  bool
	short                 int    // the 7-bit length field: 0 to 127
	length                uint64 // the payload length
	key                   []byte // four bytes if mask is set
	size                  int    // of the header, in bytes
}

// modelParse reads the header at the start of b. Fields whose bytes are
// missing stay zero; whole reports whether none is.
func modelParse(b []byte) (h modelHeader, whole bool) {
	bit := func(octet, n int) bool { return octet < len(b) && b[octet]>>(7-n)&1 == 1 }
	h.fin, h.rsv1, h.rsv2, h.rsv3 = bit(0, 0), bit(0, 1), bit(0, 2), bit(0, 3)
	if len(b) > 0 {
		h.opcode = int(b[0] % 16)
	}
	if len(b) < 2 {
		return h, false
	}
	h.mask = bit(1, 0)
	h.short = int(b[1] % 128)
	lengthOctets := h.lengthOctets()
	h.size = 2 + lengthOctets
	if h.mask {
		h.size += 4
	}
	if lengthOctets == 0 {
		h.length = uint64(h.short)
	} else if len(b) >= 2+lengthOctets {
		for _, octet := range b[2 : 2+lengthOctets] {
			h.length = h.length*256 + uint64(octet)
		}
	}
	if len(b) < h.size {
		return h, false
	}
	if h.mask {
		h.key = append([]byte{}, b[h.size-4:h.size]...)
	}
	return h, true
}

// lengthOctets returns the size of the extended payload length.
func (h modelHeader) lengthOctets() int {
	switch h.short {
	case 126:
		return 2
	case 127:
		return 8
	default:
		return 0
	}
}

// control reports whether the frame is a control frame.
func (h modelHeader) control() bool { return h.opcode >= 8 }

// A modelState is what decides whether a header may come: whether a message
// is open, that is, begun and not finished, and whether RSV1 has the meaning
// of RFC 7692.
type modelState struct {
	role    role
	open    bool
	deflate bool
}

// first judges the first octet alone, as an impatient endpoint may.
func (s modelState) first(h modelHeader) CloseCode {
	known := h.opcode <= 2 || h.opcode >= 8 && h.opcode <= 10
	compressed := s.deflate && (h.opcode == 1 || h.opcode == 2) // RFC 7692, Section 6.1
	switch {
	case h.rsv1 && !compressed, h.rsv2, h.rsv3: // Section 5.2: no extension gives them meaning
	case !known: // Section 5.2
	case h.control() && !h.fin: // Section 5.5
	case h.opcode == 0 && !s.open: // Section 5.4
	case (h.opcode == 1 || h.opcode == 2) && s.open: // Section 5.4
	default:
		return 0
	}
	return 1002
}

// firstTwo judges the first two octets, which decide all but the length.
func (s modelState) firstTwo(h modelHeader) CloseCode {
	switch {
	case s.first(h) != 0:
	case h.mask != (s.role == server): // Section 5.1
	case h.control() && h.short > 125: // Section 5.5
	default:
		return 0
	}
	return 1002
}

// lengthForm judges the length field once it is complete.
func lengthForm(h modelHeader) CloseCode {
	switch {
	case h.length > math.MaxInt64: // Section 5.2: "the most significant bit MUST be 0"
	case h.short == 126 && h.length < 126: // Section 5.2: "the minimal number of bytes"
	case h.short == 127 && h.length < 65536:
	default:
		return 0
	}
	return 1002
}

// A modelEvent is something the endpoint does because of what it received.
type modelEvent struct {
	kind    modelKind
	message MessageType // of a message
	payload string      // of a message or a Pong; of a Close the code, in decimal
}

// A modelKind says what an event is.
type modelKind string

const (
	modelMessage modelKind = "message"
	modelPong    modelKind = "pong"
	modelClose   modelKind = "close"
)

// String returns the event for failure messages.
func (e modelEvent) String() string {
	shown := fmt.Sprintf("%.40q", e.payload)
	if len(e.payload) > 40 {
		shown += fmt.Sprintf("... (%d bytes)", len(e.payload))
	}
	if e.kind == modelMessage {
		return e.message.String() + " " + shown
	}
	return string(e.kind) + " " + shown
}

// A model is one endpoint. Set the fields of the first group, then feed it.
type model struct {
	role         role
	maxMessage   int64 // bytes in one message
	maxFragments int   // frames in one message; 0: 1024 and one for every 16 bytes
	skipUTF8     bool
	deflate      bool // permessage-deflate is agreed on
	forgets      bool // the peer compresses without context takeover
	window       int  // of the peer's compressor, in bytes

	events []modelEvent
	failed CloseCode // we found a fault and told the peer this code
	also   CloseCode // or this one, where the order of two faults is free
	closed bool      // the peer's Close was received
	code   CloseCode // of the peer's Close; 1005 if it had none
	reason string    // of the peer's Close

	closeSent bool      // the application has closed
	told      CloseCode // with this code
	fed       int       // bytes
	headers   int64     // frames whose header, or a fault in it, was seen

	header  []byte // of the frame under way
	h       modelHeader
	inFrame bool
	payload []byte // of the frame under way, unmasked

	open     bool // a message is under way
	kind     MessageType
	deflated bool   // RSV1 was set on its first frame
	message  []byte // as it came
	history  []byte // the peer's compressor knows it
	frames   int
	sequence []byte // the bytes of an incomplete code point
}

// over reports whether the endpoint has stopped looking at its input.
func (m *model) over() bool { return m.failed != 0 || m.closed }

// feed takes the next bytes of the peer.
func (m *model) feed(b []byte) {
	for _, octet := range b {
		if m.over() {
			return
		}
		m.fed++
		if m.inFrame {
			m.payloadOctet(octet)
		} else {
			m.headerOctet(octet)
		}
	}
}

// end returns the code the connection ends with if the peer's bytes end here,
// and whether it may as well have failed with one of the others: bytes of an
// incomplete header can show a fault before the header is whole.
func (m *model) end() (code CloseCode, orFail []CloseCode) {
	switch {
	case m.failed != 0 && m.closeSent:
		return m.told, nil
	case m.failed != 0 && m.also != 0:
		return m.failed, []CloseCode{m.also}
	case m.failed != 0:
		return m.failed, nil
	case m.closed:
		return m.code, nil
	case m.inFrame && m.deflated && !m.h.control():
		code, also := m.inflate(false)
		return 1006, []CloseCode{code, also}
	default:
		return 1006, m.early()
	}
}

// early returns the faults that show in the incomplete header under way.
func (m *model) early() (codes []CloseCode) {
	if m.inFrame || len(m.header) == 0 {
		return nil
	}
	h, _ := modelParse(m.header)
	if m.state().first(h) != 0 {
		codes = append(codes, 1002)
	}
	lengthOctets := m.header[min(2, len(m.header)):]
	if h.short == 127 && len(lengthOctets) > 0 && lengthOctets[0] >= 0x80 {
		codes = append(codes, 1002)
	}
	if len(m.header) < 2 || len(lengthOctets) < h.lengthOctets() {
		return codes
	}
	if code := lengthForm(h); code != 0 {
		return append(codes, code)
	}
	return append(codes, m.limits(h)...)
}

// state returns what decides about the next header.
func (m *model) state() modelState { return modelState{role: m.role, open: m.open, deflate: m.deflate} }

// weClose enters that the application closes. Only the first time counts, and
// only with a code that can travel.
func (m *model) weClose(code CloseCode) {
	if m.closeSent || !codeMayBeSent(code) {
		return
	}
	m.closeSent, m.told = true, code
	if code == 0 {
		m.told = CloseNoStatus
	}
}

// fail enters that the endpoint fails the connection.
func (m *model) fail(code CloseCode) {
	m.failed = code
	if !m.closeSent {
		m.event(modelEvent{kind: modelClose, payload: fmt.Sprint(uint16(code))})
	}
}

// event enters an event.
func (m *model) event(e modelEvent) { m.events = append(m.events, e) }

// limits returns the limits that a data frame with header h breaks.
func (m *model) limits(h modelHeader) (codes []CloseCode) {
	if h.control() {
		return nil
	}
	received, most := uint64(len(m.message)), uint64(m.maxMessage)
	if m.deflated && m.open || h.rsv1 {
		most += most/64 + 8192
	}
	if h.length > most || received+h.length > most {
		codes = append(codes, 1009)
	}
	allowed := m.maxFragments
	if allowed == 0 {
		allowed = 1024 + len(m.message)/16
	}
	if m.frames+1 > allowed {
		codes = append(codes, 1008)
	}
	return codes
}

// headerOctet takes a byte of a header.
func (m *model) headerOctet(octet byte) {
	m.header = append(m.header, octet)
	h, whole := modelParse(m.header)
	if len(m.header) == 2 {
		m.headers++
	}
	if len(m.header) >= 2 && m.state().firstTwo(h) != 0 {
		m.fail(1002)
		return
	}
	if !whole {
		return
	}
	if code := lengthForm(h); code != 0 {
		m.fail(code)
		return
	}
	if broken := m.limits(h); len(broken) > 0 {
		m.fail(broken[0])
		return
	}
	m.beginFrame(h)
}

// beginFrame enters that the header h is whole.
func (m *model) beginFrame(h modelHeader) {
	m.h, m.inFrame, m.header, m.payload = h, true, m.header[:0], m.payload[:0]
	if !h.control() {
		m.frames++
		m.open = true
		if h.opcode != 0 {
			m.kind = MessageType(h.opcode)
			m.deflated = h.rsv1
		}
	}
	if h.length == 0 {
		m.endFrame()
	}
}

// payloadOctet takes a byte of a payload.
func (m *model) payloadOctet(octet byte) {
	if m.h.mask {
		octet ^= m.h.key[len(m.payload)%4] // Section 5.3
	}
	m.payload = append(m.payload, octet)
	if !m.h.control() {
		m.message = append(m.message, octet)
		if !m.textOctet(octet) {
			m.fail(1007)
			return
		}
	}
	if uint64(len(m.payload)) == m.h.length {
		m.endFrame()
	}
}

// textOctet reports whether a text message may go on with this byte.
func (m *model) textOctet(octet byte) bool {
	if m.kind != Text || m.skipUTF8 || m.deflated {
		return true
	}
	m.sequence = append(m.sequence, octet)
	switch wellFormed(m.sequence) {
	case sequenceInvalid:
		return false
	case sequenceWhole:
		m.sequence = m.sequence[:0]
	}
	return true
}

// endFrame acts on the frame, which is whole.
func (m *model) endFrame() {
	m.inFrame = false
	switch m.h.opcode {
	case 8:
		m.closeFrame(m.payload)
	case 9:
		m.event(modelEvent{kind: modelPong, payload: string(m.payload)})
	case 10:
	default:
		if m.deflated {
			if code, also := m.inflate(m.h.fin); code != 0 {
				m.also = also
				m.fail(code)
				return
			}
		}
		if m.h.fin {
			m.endMessage()
		}
	}
}

// endMessage delivers the message, which is whole.
func (m *model) endMessage() {
	if len(m.sequence) > 0 { // Section 8.1: the message ends inside a code point
		m.fail(1007)
		return
	}
	m.event(modelEvent{modelMessage, m.kind, string(m.message)})
	m.open, m.message, m.frames = false, m.message[:0], 0
}

// closeFrame is RFC 6455, Section 5.5.1.
func (m *model) closeFrame(payload []byte) {
	code, reason := CloseCode(1005), ""
	switch {
	case len(payload) == 1:
		m.fail(1002)
		return
	case len(payload) >= 2:
		code = CloseCode(payload[0])*256 + CloseCode(payload[1])
		reason = string(payload[2:])
		if !modelCloseCode(int(code)) {
			m.fail(1002)
			return
		}
		if !modelUTF8(reason) {
			m.fail(1007)
			return
		}
	}
	m.closed, m.code, m.reason = true, code, reason
	if m.closeSent {
		return
	}
	answer := modelEvent{kind: modelClose}
	if len(payload) > 0 {
		answer.payload = fmt.Sprint(uint16(code))
	}
	m.event(answer)
}

// modelCloseCode is the list of codes of Section 7.4 that may stand in a Close
// frame, with those of the IANA registry.
func modelCloseCode(code int) bool {
	for _, assigned := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
		if code == assigned {
			return true
		}
	}
	return code >= 3000 && code <= 4999
}

// sequenceState is what can be said of the first bytes of a code point.
type sequenceState int

const (
	sequenceInvalid sequenceState = iota
	sequencePart
	sequenceWhole
)

// utf8Table is the syntax of RFC 3629, Section 4: for each range of first
// bytes the ranges of the bytes that follow.
var utf8Table = [][][2]byte{
	{{0x00, 0x7f}},
	{{0xc2, 0xdf}, {0x80, 0xbf}},
	{{0xe0, 0xe0}, {0xa0, 0xbf}, {0x80, 0xbf}},
	{{0xe1, 0xec}, {0x80, 0xbf}, {0x80, 0xbf}},
	{{0xed, 0xed}, {0x80, 0x9f}, {0x80, 0xbf}},
	{{0xee, 0xef}, {0x80, 0xbf}, {0x80, 0xbf}},
	{{0xf0, 0xf0}, {0x90, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}},
	{{0xf1, 0xf3}, {0x80, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}},
	{{0xf4, 0xf4}, {0x80, 0x8f}, {0x80, 0xbf}, {0x80, 0xbf}},
}

// wellFormed judges the first bytes of one code point by utf8Table.
func wellFormed(sequence []byte) sequenceState {
	for _, row := range utf8Table {
		if len(sequence) > len(row) {
			continue
		}
		fits := true
		for i, octet := range sequence {
			fits = fits && octet >= row[i][0] && octet <= row[i][1]
		}
		switch {
		case fits && len(sequence) == len(row):
			return sequenceWhole
		case fits:
			return sequencePart
		}
	}
	return sequenceInvalid
}

// modelUTF8 reports whether s is valid by utf8Table.
func modelUTF8(s string) bool {
	var sequence []byte
	for _, octet := range []byte(s) {
		sequence = append(sequence, octet)
		switch wellFormed(sequence) {
		case sequenceInvalid:
			return false
		case sequenceWhole:
			sequence = nil
		}
	}
	return len(sequence) == 0
}

// A modelFrame is a frame found in what we sent, with its payload unmasked.
type modelFrame struct {
	modelHeader
	payload []byte
}

// modelFrames cuts what an endpoint of the given role sent into frames, and
// reports the first one that no endpoint may send. rest is what follows the
// last whole frame.
func modelFrames(from role, stream []byte) (frames []modelFrame, rest []byte, err error) {
	receiver := server
	if from == server {
		receiver = client
	}
	state := modelState{role: receiver}
	for {
		h, whole := modelParse(stream)
		if len(stream) >= 2 && state.firstTwo(h) != 0 {
			return frames, stream, fmt.Errorf("frame %d: % x is not allowed here", len(frames), stream[:2])
		}
		if !whole {
			return frames, stream, nil
		}
		if lengthForm(h) != 0 {
			return frames, stream, fmt.Errorf("frame %d: bad length in % x", len(frames), stream[:h.size])
		}
		if uint64(len(stream)-h.size) < h.length {
			return frames, stream, nil
		}
		frame := modelFrame{modelHeader: h}
		for i, octet := range stream[h.size : h.size+int(h.length)] {
			if h.mask {
				octet ^= h.key[i%4]
			}
			frame.payload = append(frame.payload, octet)
		}
		frames = append(frames, frame)
		if !h.control() {
			state.open = !h.fin
		}
		stream = stream[h.size+int(h.length):]
	}
}

// describe writes events in a form for failure messages.
func describe(events []modelEvent) string {
	var lines []string
	for _, e := range events {
		lines = append(lines, "\t"+e.String())
	}
	if len(lines) == 0 {
		return "\tnothing"
	}
	return strings.Join(lines, "\n")
}
