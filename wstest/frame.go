package wstest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fullduplex-go/websocket"
)

// An Opcode is the type of a frame (RFC 6455, Section 5.2). Values 3 to 7 and
// 11 to 15 are reserved.
type Opcode byte

// The opcodes that RFC 6455 defines.
const (
	OpContinuation Opcode = 0
	OpText         Opcode = 1
	OpBinary       Opcode = 2
	OpClose        Opcode = 8
	OpPing         Opcode = 9
	OpPong         Opcode = 10
)

// Reserved bits of a frame, for Frame.RSV. They can be combined.
const (
	RSV1 byte = 4 // with permessage-deflate: a compressed message
	RSV2 byte = 2
	RSV3 byte = 1
)

// Masking says whether a frame is masked.
type Masking byte

const (
	// MaskByRole masks the frames of a client and no others, as
	// RFC 6455, Section 5.1 requires.
	MaskByRole Masking = iota
	Masked             // with Frame.Key, in either role
	Unmasked           // in either role
)

// A LengthForm says how many bytes encode the length of a frame's payload.
type LengthForm byte

const (
	// ShortestLength is the form that RFC 6455, Section 5.2 requires.
	ShortestLength LengthForm = iota
	Length16                  // the 16-bit form
	Length64                  // the 64-bit form
)

// A Frame is one frame, valid or not.
type Frame struct {
	FIN     bool
	RSV     byte // RSV1, RSV2 and RSV3
	Opcode  Opcode
	Mask    Masking  // Masked or Unmasked in a received frame
	Key     *[4]byte // masking key; nil: 37 fa 21 3d
	Form    LengthForm
	Length  uint64 // if not 0, announced instead of the payload's length
	Payload []byte // before masking
}

// TextFrame returns a whole text message. s need not be valid UTF-8.
func TextFrame(s string) Frame {
	return Frame{FIN: true, Opcode: OpText, Payload: []byte(s)}
}

// BinaryFrame returns a whole binary message.
func BinaryFrame(p []byte) Frame {
	return Frame{FIN: true, Opcode: OpBinary, Payload: p}
}

// PingFrame returns a Ping. More than 125 bytes of payload break the protocol.
func PingFrame(payload string) Frame {
	return Frame{FIN: true, Opcode: OpPing, Payload: []byte(payload)}
}

// PongFrame returns a Pong. More than 125 bytes of payload break the protocol.
func PongFrame(payload string) Frame {
	return Frame{FIN: true, Opcode: OpPong, Payload: []byte(payload)}
}

// CloseFrame returns a Close frame with any code and reason, or an empty one
// if code is 0.
func CloseFrame(code websocket.CloseCode, reason string) Frame {
	f := Frame{FIN: true, Opcode: OpClose}
	if code != 0 {
		f.Payload = append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	}
	return f
}

// Fragment returns f with FIN clear.
func (f Frame) Fragment() Frame {
	f.FIN = false
	return f
}

// CloseCode returns the code and the reason of a Close frame, or
// websocket.CloseNoStatus if the payload is too short for a code.
func (f Frame) CloseCode() (code websocket.CloseCode, reason string) {
	if len(f.Payload) < 2 {
		return websocket.CloseNoStatus, ""
	}
	return websocket.CloseCode(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:])
}

// String returns a description of the frame with the start of its payload.
func (f Frame) String() string {
	const shown = 64
	p := f.Payload
	if len(p) > shown {
		p = p[:shown]
	}
	return fmt.Sprintf("{FIN:%t RSV:%03b opcode:%d mask:%d form:%d %d bytes %q}",
		f.FIN, f.RSV, f.Opcode, f.Mask, f.Form, len(f.Payload), p)
}

// defaultKey is the masking key of the example in RFC 6455, Section 5.7.
var defaultKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// appendFrame appends f to b, valid or not. masks says whether MaskByRole
// masks.
func appendFrame(b []byte, f Frame, masks bool) []byte {
	masks = f.Mask == Masked || f.Mask == MaskByRole && masks
	b = append(b, f.RSV<<4|byte(f.Opcode))
	if f.FIN {
		b[len(b)-1] |= 0x80
	}
	at := len(b)
	b = appendLength(b, f)
	if !masks {
		return append(b, f.Payload...)
	}
	b[at] |= 0x80
	key := f.Key
	if key == nil {
		key = &defaultKey
	}
	b = append(b, key[:]...)
	for i, c := range f.Payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// appendLength appends the length that f announces, in its form.
func appendLength(b []byte, f Frame) []byte {
	n := f.Length
	if n == 0 {
		n = uint64(len(f.Payload))
	}
	switch {
	case f.Form == Length64 || n > 0xffff:
		return binary.BigEndian.AppendUint64(append(b, 127), n)
	case f.Form == Length16 || n > 125:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		return append(b, byte(n))
	}
}

// maxReceived is the length in bytes of the longest payload a RawPeer reads.
const maxReceived = 64 << 20

// readFrame reads a frame, valid or not. The error is io.EOF before a frame and
// io.ErrUnexpectedEOF inside one.
func readFrame(r *bufio.Reader) (Frame, error) {
	first, err := r.ReadByte()
	if err != nil {
		return Frame{}, err
	}
	f := Frame{FIN: first&0x80 != 0, RSV: first >> 4 & 7, Opcode: Opcode(first & 15), Mask: Unmasked}
	length, err := readLength(r, &f)
	if err != nil {
		return f, cutShort(err)
	}
	if length > maxReceived {
		return f, fmt.Errorf("wstest: frame of %d bytes is too long to be read", length)
	}
	if f.Mask == Masked {
		f.Key = new([4]byte)
		if _, err := io.ReadFull(r, f.Key[:]); err != nil {
			return f, cutShort(err)
		}
	}
	f.Payload = make([]byte, length)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return f, cutShort(err)
	}
	for i := range f.Payload {
		if f.Mask == Masked {
			f.Payload[i] ^= f.Key[i%4]
		}
	}
	return f, nil
}

// readLength reads the length, sets f.Mask, and sets f.Form if the length is
// not in the shortest form.
func readLength(r *bufio.Reader, f *Frame) (uint64, error) {
	second, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	if second&0x80 != 0 {
		f.Mask = Masked
	}
	var extended [8]byte
	switch n := uint64(second & 0x7f); n {
	case 126:
		if _, err = io.ReadFull(r, extended[6:]); binary.BigEndian.Uint64(extended[:]) < 126 {
			f.Form = Length16
		}
	case 127:
		if _, err = io.ReadFull(r, extended[:]); binary.BigEndian.Uint64(extended[:]) <= 0xffff {
			f.Form = Length64
		}
	default:
		return n, nil
	}
	return binary.BigEndian.Uint64(extended[:]), err
}

// cutShort returns err as reported inside a frame: io.EOF becomes
// io.ErrUnexpectedEOF.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
