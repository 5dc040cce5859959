package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

// MaxMessage is the longest message a testee may send, in octets.
const MaxMessage = 1 << 26

// An Inbound is a complete message or a control frame from the testee.
type Inbound struct {
	Opcode  byte
	Payload []byte
	Code    int    // of a Close frame; 0: none
	Reason  string // of a Close frame
}

// A Reader reads what the testee sends and checks every octet of it.
type Reader struct {
	r        *bufio.Reader
	masked   bool // the testee is a client
	inflater *deflate.Inflater

	open       bool // a fragmented message has begun
	opcode     byte
	compressed bool
	message    bytes.Buffer
	closed     bool
}

// NewReader returns a reader for a judge in that role. inflater is nil where
// permessage-deflate was not agreed.
func NewReader(r *bufio.Reader, role Role, inflater *deflate.Inflater) *Reader {
	return &Reader{r: r, masked: role == Server, inflater: inflater}
}

// Next returns the next message or control frame. The error is a *Violation or
// comes from the network; with an invalid Close frame both results are set.
// The reader must not be used after an error.
func (r *Reader) Next() (Inbound, error) {
	for {
		h, err := r.header()
		if err != nil {
			return Inbound{}, err
		}
		payload, err := r.payload(h)
		if err != nil {
			return Inbound{}, err
		}
		if h.opcode >= conversation.Close {
			return r.control(h, payload)
		}
		if !r.open {
			r.open, r.opcode, r.compressed = true, h.opcode, h.rsv != 0
		}
		r.message.Write(payload)
		if h.fin {
			return r.complete()
		}
	}
}

// A header is the start of a frame.
type header struct {
	fin    bool
	rsv    byte
	opcode byte
	key    *Key
	length uint64
}

// header reads and checks a header.
func (r *Reader) header() (h header, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r.r, b[:2]); err != nil {
		return h, err
	}
	h = header{fin: b[0]&0x80 != 0, rsv: b[0] >> 4 & 7, opcode: b[0] & 15, length: uint64(b[1] & 0x7f)}
	if err := r.checkFirst(h, b[1]&0x80 != 0); err != nil {
		return h, err
	}
	if h.length >= 126 {
		if h.length, err = r.extendedLength(h.length); err != nil {
			return h, err
		}
	}
	if r.masked {
		h.key = new(Key)
		_, err = io.ReadFull(r.r, h.key[:])
	}
	return h, err
}

// checkFirst checks the first two octets.
func (r *Reader) checkFirst(h header, masked bool) error {
	control := h.opcode >= conversation.Close
	firstOfMessage := h.opcode == conversation.Text || h.opcode == conversation.Binary
	switch {
	case r.closed:
		return breach("a frame follows the Close frame")
	case h.rsv != 0 && !(h.rsv == 4 && r.inflater != nil && firstOfMessage):
		return breach("reserved bits %03b on opcode %d", h.rsv, h.opcode)
	case h.opcode > conversation.Pong, h.opcode > conversation.Binary && !control:
		return breach("reserved opcode %d", h.opcode)
	case masked && !r.masked:
		return breach("a frame of the server is masked")
	case !masked && r.masked:
		return breach("a frame of the client is not masked")
	case control && !h.fin:
		return breach("a control frame is fragmented")
	case control && h.length > 125:
		return breach("a control frame is longer than 125 octets")
	case h.opcode == conversation.Continuation && !r.open:
		return breach("a continuation frame outside a message")
	case firstOfMessage && r.open:
		return breach("a new message inside a fragmented one")
	default:
		return nil
	}
}

// extendedLength reads the length that follows 126 or 127.
func (r *Reader) extendedLength(short uint64) (uint64, error) {
	var b [8]byte
	size, least := 2, uint64(126)
	if short == 127 {
		size, least = 8, 65536
	}
	if _, err := io.ReadFull(r.r, b[8-size:]); err != nil {
		return 0, err
	}
	length := binary.BigEndian.Uint64(b[:])
	switch {
	case length < least:
		return 0, breach("length %d is not in its shortest form", length)
	case length > MaxMessage-uint64(r.message.Len()):
		return 0, breach("a message of at least %d octets", length)
	default:
		return length, nil
	}
}

// payload reads the payload of a frame and unmasks it.
func (r *Reader) payload(h header) ([]byte, error) {
	if h.length <= 1<<16 {
		p := make([]byte, h.length)
		_, err := io.ReadFull(r.r, p)
		return unmasked(p, h.key), unexpected(err)
	}
	var b bytes.Buffer // grows with what arrives, not with what is announced
	_, err := io.CopyN(&b, r.r, int64(h.length))
	return unmasked(b.Bytes(), h.key), unexpected(err)
}

// unmasked returns p without its masking.
func unmasked(p []byte, key *Key) []byte {
	if key != nil {
		mask(p, *key, 0)
	}
	return p
}

// unexpected turns io.EOF inside a frame into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// complete returns the message whose last frame has arrived.
func (r *Reader) complete() (Inbound, error) {
	payload := r.message.Bytes()
	if r.compressed {
		var err error
		if payload, err = r.inflater.Inflate(payload); err != nil {
			return Inbound{}, &Violation{1007, err.Error()}
		}
	}
	m := Inbound{Opcode: r.opcode, Payload: append([]byte{}, payload...)}
	r.message.Reset()
	r.open = false
	if m.Opcode == conversation.Text && !utf8.Valid(m.Payload) {
		return Inbound{}, &Violation{1007, "a text message is not UTF-8"}
	}
	return m, nil
}

// control returns a control frame.
func (r *Reader) control(h header, payload []byte) (Inbound, error) {
	m := Inbound{Opcode: h.opcode, Payload: payload}
	if h.opcode != conversation.Close {
		return m, nil
	}
	r.closed = true
	switch {
	case len(payload) == 0:
		return m, nil
	case len(payload) == 1:
		return m, breach("a Close payload of one octet")
	}
	m.Code, m.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
	switch {
	case !closeCodeValid(m.Code):
		return m, breach("Close code %d", m.Code)
	case !utf8.ValidString(m.Reason):
		return m, &Violation{1007, "the reason of a Close is not UTF-8"}
	default:
		return m, nil
	}
}

// closeCodeValid reports whether the suite accepts a code in a Close frame.
func closeCodeValid(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1011 || code >= 3000 && code <= 4999
}
