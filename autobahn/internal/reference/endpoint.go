// Package reference holds a small, slow and correct echo endpoint of RFC 6455
// and RFC 7692, and deliberately wrong ones. The judge is tested against them:
// it must pass the correct one and catch each of the others.
package reference

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

// The opcodes of RFC 6455, Section 5.2. That of binary follows text.
const (
	continuation = 0
	text         = 1
	closeFrame   = 8
	ping         = 9
	pong         = 10
)

// moment is how long the bugs that wait for more input wait.
const moment = 300 * time.Millisecond

// drainLimit bounds the wait for the peer's end of TCP.
const drainLimit = 20 * time.Second

// An Endpoint echoes the messages of one connection.
type Endpoint struct {
	conn   net.Conn
	r      *bufio.Reader
	client bool
	bug    Bug

	compressor *deflate.Compressor // nil: compression was not agreed on
	inflater   *inflater

	open       bool // inside a fragmented message
	opcode     byte
	compressed bool
	frames     int
	message    []byte
	tail       []byte   // octets of an incomplete character
	held       [][]byte // pongs to be sent later
	lastEcho   func()   // not sent yet, only with LoseEarlierEcho
	closeSent  bool
	piece      [1 << 16]byte // scratch of payload
}

// A failure ends the connection with a code.
type failure int

// Error returns the same text for every code.
func (f failure) Error() string { return "reference: failure" }

// errClosed ends an endpoint whose closing handshake is done.
var errClosed = errors.New("reference: closing handshake done")

// A header is the start of a frame.
type header struct {
	fin    bool
	rsv    byte
	opcode byte
	key    [4]byte
	length uint64
}

// Echo echoes until the connection ends.
func (e *Endpoint) Echo() {
	defer e.conn.Close()
	for {
		err := e.frame()
		var f failure
		switch {
		case err == nil:
			continue
		case errors.As(err, &f):
			e.fail(int(f))
		case errors.Is(err, errClosed):
			e.end()
		}
		return
	}
}

// frame reads and handles one frame.
func (e *Endpoint) frame() error {
	e.flushLastEcho()
	h, err := e.readHeader()
	if err != nil {
		return err
	}
	if err := e.check(h); err != nil {
		return err
	}
	if h.opcode > pong || h.opcode > 2 && h.opcode < closeFrame {
		_, err := e.payload(h, nil)
		return err // only with IgnoreReservedOpcodes
	}
	if h.opcode >= closeFrame {
		payload, err := e.payload(h, nil)
		if err != nil {
			return err
		}
		return e.control(h.opcode, payload)
	}
	return e.data(h)
}

// readHeader reads a header.
func (e *Endpoint) readHeader() (h header, err error) {
	var b [8]byte
	if _, err := io.ReadFull(e.r, b[:2]); err != nil {
		return h, err
	}
	h = header{fin: b[0]>>7 == 1, rsv: b[0] >> 4 & 7, opcode: b[0] & 15, length: uint64(b[1] & 127)}
	masked := b[1]>>7 == 1
	switch h.length {
	case 126:
		_, err = io.ReadFull(e.r, b[6:])
		h.length = uint64(binary.BigEndian.Uint16(b[6:]))
	case 127:
		_, err = io.ReadFull(e.r, b[:])
		h.length = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return h, err
	}
	if masked == e.client {
		return h, failure(1002)
	}
	if masked {
		_, err = io.ReadFull(e.r, h.key[:])
	}
	return h, err
}

// check checks a header.
func (e *Endpoint) check(h header) error {
	control := h.opcode >= closeFrame
	compressed := h.rsv == 4 && e.inflater != nil && (h.opcode == text || h.opcode == text+1)
	switch {
	case h.rsv != 0 && !compressed && e.bug != IgnoreRSV:
		return failure(1002)
	case h.opcode > 2 && h.opcode < closeFrame, h.opcode > pong:
		if e.bug != IgnoreReservedOpcodes {
			return failure(1002)
		}
	case control && !h.fin && e.bug != AcceptFragmentedControl:
		return failure(1002)
	case control && h.length > 125 && e.bug != AcceptLongControl:
		return failure(1002)
	case h.opcode == continuation && !e.open && e.bug != SkipContinuation:
		return failure(1002)
	case !control && h.opcode != continuation && e.open && e.bug != AcceptInterleaved:
		return failure(1002)
	}
	return nil
}

// payload reads the payload of a frame, and calls see for each piece as it
// arrives.
func (e *Endpoint) payload(h header, see func([]byte) error) ([]byte, error) {
	p := make([]byte, 0, min(h.length, 1<<16))
	piece := e.piece[:]
	for read := uint64(0); read < h.length; {
		n, err := e.r.Read(piece[:min(uint64(len(piece)), h.length-read)])
		if n == 0 && err != nil {
			return nil, err
		}
		for i := range n {
			piece[i] ^= h.key[(read+uint64(i))%4]
		}
		if see != nil {
			if err := see(piece[:n]); err != nil {
				return nil, err
			}
		}
		p = append(p, piece[:n]...)
		read += uint64(n)
	}
	return p, nil
}

// data handles a frame of a message.
func (e *Endpoint) data(h header) error {
	if h.opcode == continuation && !e.open {
		_, err := e.payload(h, nil)
		return err // only with SkipContinuation
	}
	if h.opcode != continuation {
		e.open, e.opcode, e.frames = true, h.opcode, 0
		e.compressed = h.rsv == 4 && e.inflater != nil
		e.message, e.tail = nil, nil
	}
	payload, err := e.payload(h, e.seeText)
	if err != nil {
		return err
	}
	if err := e.checkFrameText(h.fin); err != nil {
		return err
	}
	e.message = append(e.message, payload...)
	e.frames++
	if e.bug == FragmentLimit && e.frames > 1024 || e.bug == SmallMessageLimit && len(e.message) > 1<<20 {
		return failure(1009)
	}
	if !h.fin {
		return nil
	}
	e.open = false
	return e.complete()
}

// seeText checks octets of text as they arrive.
func (e *Endpoint) seeText(p []byte) error {
	if e.opcode != text || e.compressed || e.bug == NoUTF8 || e.bug == LateUTF8 {
		return nil
	}
	e.tail = append(e.tail, p...)
	if e.bug == FrameUTF8 {
		return nil
	}
	return e.checkText()
}

// checkFrameText checks text at the end of a frame.
func (e *Endpoint) checkFrameText(fin bool) error {
	if e.bug == FrameUTF8 {
		if err := e.checkText(); err != nil {
			return err
		}
	}
	if fin && len(e.tail) > 0 {
		return failure(1007)
	}
	return nil
}

// checkText cuts the complete characters off tail.
func (e *Endpoint) checkText() error {
	for len(e.tail) > 0 && utf8.FullRune(e.tail) {
		r, n := utf8.DecodeRune(e.tail)
		if r == utf8.RuneError && n == 1 {
			return failure(1007)
		}
		e.tail = e.tail[n:]
	}
	return nil
}

// complete handles a message whose last frame has arrived.
func (e *Endpoint) complete() error {
	if e.compressed {
		message, err := e.inflater.inflate(e.message, e.bug == ContextLost)
		if err != nil {
			return failure(1007)
		}
		e.message = message
	}
	checked := e.opcode == text && e.bug != NoUTF8 && (e.compressed || e.bug == LateUTF8)
	if checked && !utf8.Valid(e.message) {
		return failure(1007)
	}
	message, opcode := e.message, e.opcode
	e.message = nil
	if e.bug == LoseEarlierEcho {
		e.lastEcho = func() { e.echo(opcode, message) }
		return nil
	}
	if err := e.echo(opcode, message); err != nil {
		return err
	}
	return e.sendHeld()
}

// flushLastEcho sends the delayed echo, unless a bad frame comes next.
func (e *Endpoint) flushLastEcho() {
	if e.lastEcho == nil {
		return
	}
	e.conn.SetReadDeadline(time.Now().Add(moment))
	b, err := e.r.Peek(2)
	e.conn.SetReadDeadline(time.Time{})
	if err == nil && e.check(header{fin: b[0]>>7 == 1, rsv: b[0] >> 4 & 7, opcode: b[0] & 15, length: uint64(b[1] & 127)}) != nil {
		return
	}
	e.lastEcho()
	e.lastEcho = nil
}

// sendHeld sends the held pongs.
func (e *Endpoint) sendHeld() error {
	for _, payload := range e.held {
		if err := e.write(pong, 0, payload); err != nil {
			return err
		}
	}
	e.held = nil
	return nil
}

// echo sends a message back.
func (e *Endpoint) echo(opcode byte, message []byte) error {
	times := 1
	switch long := len(message) >= 65535; {
	case e.bug == WrongType:
		opcode = text + 1
	case e.bug == TruncatedEcho && long:
		message = message[:len(message)-1]
	case e.bug == CorruptEcho && long:
		message = append([]byte{}, message...)
		message[len(message)/2] ^= 1
	case e.bug == DoubleEcho:
		times = 2
	case e.bug == NoEcho:
		times = 0
	}
	for range times {
		if err := e.send(opcode, message); err != nil {
			return err
		}
	}
	return nil
}

// send sends a message, compressed if that was agreed.
func (e *Endpoint) send(opcode byte, message []byte) error {
	if e.compressor == nil {
		return e.write(opcode, 0, message)
	}
	payload := e.compressor.Compress(message)
	if e.bug != RSV1OnContinue {
		return e.write(opcode, 4, payload)
	}
	half := len(payload) / 2
	if err := e.writeFrame(false, opcode, 4, payload[:half]); err != nil {
		return err
	}
	return e.writeFrame(true, continuation, 4, payload[half:])
}

// write sends one frame with FIN.
func (e *Endpoint) write(opcode, rsv byte, payload []byte) error {
	return e.writeFrame(true, opcode, rsv, payload)
}

// writeFrame sends one frame.
func (e *Endpoint) writeFrame(fin bool, opcode, rsv byte, payload []byte) error {
	first := rsv<<4 | opcode
	if fin {
		first |= 0x80
	}
	masked := e.client && e.bug != UnmaskedClientFrames || !e.client && e.bug == MaskedServerFrames
	var bit byte
	if masked {
		bit = 0x80
	}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126 && (e.bug != NonMinimalLength || opcode >= closeFrame):
		b = append(b, bit|byte(n))
	case n < 65536:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	var key [4]byte
	if masked {
		binary.LittleEndian.PutUint32(key[:], rand.Uint32())
		b = append(b, key[:]...)
	}
	from := len(b)
	b = append(b, payload...)
	for i := range payload {
		b[from+i] ^= key[i%4]
	}
	_, err := e.conn.Write(b)
	return err
}

// newCompressor returns a compressor with the agreed terms, unless the bug says
// otherwise.
func newCompressor(terms deflate.Direction, bug Bug) *deflate.Compressor {
	switch bug {
	case ContextKept:
		terms.NoContext = false
	case WindowExceeded:
		terms.Window = 15
	}
	return deflate.NewCompressor(terms)
}
