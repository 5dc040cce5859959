// Package attack has what one hostile peer can do to make a server hold memory
// or spend time: for each attack the bytes that it sends, made by hand. It knows no
// library.
package attack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An Attack is what a client does after its opening handshake: it sends First,
// waits for Answers frames, and sends Last. Then it sends Flood again and again
// until nothing more is taken, and never reads. Any of these may be empty.
type Attack struct {
	Name    string // what the peer does, as docs/security.md says it
	Row     string // the ID of the requirement that bounds it
	Deflate bool   // permessage-deflate is offered
	First   []byte
	Answers int
	Last    []byte
	Flood   []byte
}

// Sizes of the payloads of attacks, in bytes.
const (
	maxControl = 125
	bombSize   = 1 << 20 // what a bomb inflates to
)

// Opcodes, with FIN where the frame is a whole message (RFC 6455, Section 5.2).
const (
	fragment   = 0x02
	binaryWord = 0x82
	textWord   = 0x81
	closing    = 0x88
	ping       = 0x89
	pong       = 0x8a
	rsv1       = 0x40
)

// All returns every attack. The first does nothing, and shows what an idle
// connection holds.
func All() []Attack {
	return append(append(parts(), ends()...), append(floods(), compressed()...)...)
}

// parts are the attacks that leave something unfinished.
func parts() []Attack {
	pongs := repeat(frame(pong, make([]byte, maxControl)), 68<<10)
	return []Attack{
		{Name: "nothing", Row: "Q.D12", First: frame(binaryWord, []byte("x")), Answers: 1},
		{Name: "one byte of a header", Row: "Q.M06", Last: []byte{binaryWord}},
		{Name: "a header of 64-bit length but for its last byte", Row: "Q.M06", Last: announce(1 << 20)[:13]},
		{Name: "1 MiB announced and one byte sent", Row: "Q.M06", Last: append(announce(1<<20), 0)},
		{Name: "a Ping without the last byte of its payload", Row: "Q.M06", Last: cut(frame(ping, make([]byte, maxControl)))},
		{Name: "text cut in a character", Row: "Q.M06", Last: cut(frame(textWord, []byte("aé")))},
		{Name: "4.3 KiB of Pongs and one byte of a frame", Row: "Q.M01", Last: append(bytes.Clone(pongs[:131*34]), binaryWord)},
		{Name: "68 KiB of Pongs and one byte of a frame", Row: "Q.M01", Last: append(bytes.Clone(pongs), binaryWord)},
		{Name: "68 KiB of Pongs and a header of 16-bit length", Row: "Q.M01", Last: append(bytes.Clone(pongs), frame(binaryWord, make([]byte, 60000))[:8]...)},
		{Name: "68 KiB of Pongs in an open message", Row: "Q.M01", Last: append(frame(fragment, []byte("x")), pongs...)},
		{Name: "1024 empty fragments", Row: "Q.D04", Last: append(frame(fragment, nil), repeat(frame(0, nil), 1023*6)...)},
	}
}

// ends are the attacks that make the server end the connection, and do not close
// theirs.
func ends() []Attack {
	return []Attack{
		{Name: "an invalid frame, TCP left open", Row: "Q.M02", First: frame(0x83, nil), Answers: 1},
		{Name: "a Close frame, TCP left open", Row: "Q.M02", First: frame(closing, []byte{3, 232}), Answers: 1},
		{Name: "a Close frame and 4 KiB, TCP left open", Row: "Q.M02", First: append(frame(closing, []byte{3, 232}), make([]byte, 4<<10)...), Answers: 1},
	}
}

// floods are the attacks of a peer that sends and does not read.
func floods() []Attack {
	return []Attack{
		{Name: "messages of 600 bytes, and no reading", Row: "Q.M03", Flood: repeat(frame(binaryWord, make([]byte, 600)), 8<<10)},
		{Name: "messages of 30 KiB, and no reading", Row: "Q.M03", Flood: frame(binaryWord, make([]byte, 30<<10))},
		{Name: "Pings of 125 bytes, and no reading", Row: "Q.M03", Last: repeat(frame(ping, make([]byte, maxControl)), 512<<10)},
	}
}

// compressed are the attacks with permessage-deflate.
func compressed() []Attack {
	bomb := deflated(make([]byte, bombSize))
	stored := deflated(ramp(600))
	return []Attack{
		{Name: "one byte of a compressed message", Row: "Q.M06", Deflate: true, Last: frame(binaryWord|rsv1, stored)[:7]},
		{Name: "half of a compressed message", Row: "Q.M06", Deflate: true, Last: frame(binaryWord|rsv1, bomb)[:len(bomb)/2]},
		{
			Name: "a bomb that is answered, then 600 bytes in a fragment", Row: "Q.M04", Deflate: true,
			First: frame(binaryWord|rsv1, bomb), Answers: 1, Last: frame(fragment|rsv1, stored),
		},
		{Name: "a bomb that is answered", Row: "Q.M04", Deflate: true, First: frame(binaryWord|rsv1, bomb), Answers: 1},
		{Name: "a fragment that inflates to 1 MiB", Row: "Q.M04", Deflate: true, Last: frame(fragment|rsv1, bomb)},
		{Name: "50 bytes that fill the history", Row: "Q.M05", Deflate: true, First: frame(binaryWord|rsv1, deflated(make([]byte, 40<<10))), Answers: 1},
	}
}

// key is the masking key of all frames.
var key = [4]byte{1, 2, 3, 4}

// header returns the header of a masked frame (RFC 6455, Section 5.2).
func header(first byte, length int) []byte {
	h := []byte{first}
	switch {
	case length <= maxControl:
		h = append(h, 0x80|byte(length))
	case length <= 0xffff:
		h = binary.BigEndian.AppendUint16(append(h, 0x80|126), uint16(length))
	default:
		h = binary.BigEndian.AppendUint64(append(h, 0x80|127), uint64(length))
	}
	return append(h, key[:]...)
}

// announce returns the header of a message of a length.
func announce(length int) []byte { return header(binaryWord, length) }

// frame returns a masked frame.
func frame(first byte, payload []byte) []byte {
	f := header(first, len(payload))
	for i, b := range payload {
		f = append(f, b^key[i%4])
	}
	return f
}

// cut returns f without its last byte.
func cut(f []byte) []byte { return f[:len(f)-1] }

// repeat returns f so often that it is about size bytes, or once.
func repeat(f []byte, size int) []byte { return bytes.Repeat(f, max(size/len(f), 1)) }

// ramp returns n bytes that compress badly.
func ramp(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

// deflated returns p as the payload of a compressed message (RFC 7692, Section
// 7.2.1).
func deflated(p []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// Begin opens a WebSocket on peer and does what comes before Flood.
func (a Attack) Begin(peer io.ReadWriter) error {
	if err := a.open(peer); err != nil {
		return err
	}
	if _, err := peer.Write(a.First); err != nil {
		return err
	}
	for range a.Answers {
		if err := skipFrame(peer); err != nil {
			return err
		}
	}
	_, err := peer.Write(a.Last)
	return err
}

// Sent returns how many bytes Begin sends after the handshake.
func (a Attack) Sent() int { return len(a.First) + len(a.Last) }

// open sends the request of the opening handshake and reads the response.
func (a Attack) open(peer io.ReadWriter) error {
	request := "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if a.Deflate {
		request += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	if _, err := io.WriteString(peer, request+"\r\n"); err != nil {
		return err
	}
	var response strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(response.String(), "\r\n\r\n"); response.Write(b) {
		if _, err := io.ReadFull(peer, b); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(response.String(), "HTTP/1.1 101 ") {
		return fmt.Errorf("attack: no WebSocket: %q", response.String())
	}
	return nil
}

// skipFrame reads a frame of the server's and drops it.
func skipFrame(r io.Reader) error {
	h := make([]byte, 8)
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return err
	}
	length := int64(h[1])
	switch length {
	case 126:
		if _, err := io.ReadFull(r, h[:2]); err != nil {
			return err
		}
		length = int64(binary.BigEndian.Uint16(h))
	case 127:
		if _, err := io.ReadFull(r, h); err != nil {
			return err
		}
		length = int64(binary.BigEndian.Uint64(h))
	}
	if length < 0 || length > 1<<30 {
		return errors.New("attack: a frame of the server's is masked or too long")
	}
	_, err := io.CopyN(io.Discard, r, length)
	return err
}
