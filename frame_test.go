package websocket

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// TestHeaderExamples encodes and parses the headers of the examples of RFC 6455,
// Section 5.7, and those at the borders of the length forms.
func TestHeaderExamples(t *testing.T) {
	covers(t, "F07", "F08", "F13")
	for _, c := range []struct {
		name string
		h    header
		b    []byte
	}{
		{"unmasked text", header{byte0: bitFIN | byte(opText), length: 5}, []byte{0x81, 0x05}},
		{"masked text", header{byte0: bitFIN | byte(opText), masked: true, key: 0x3d21fa37, length: 5}, []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d}},
		{"first fragment", header{byte0: byte(opText), length: 3}, []byte{0x01, 0x03}},
		{"last fragment", header{byte0: bitFIN | byte(opContinuation), length: 2}, []byte{0x80, 0x02}},
		{"Ping", header{byte0: bitFIN | byte(opPing), length: 5}, []byte{0x89, 0x05}},
		{"masked Pong", header{byte0: bitFIN | byte(opPong), masked: true, key: 0x3d21fa37, length: 5}, []byte{0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d}},
		{"256 bytes", header{byte0: bitFIN | byte(opBinary), length: 256}, []byte{0x82, 0x7e, 0x01, 0x00}},
		{"64 KiB", header{byte0: bitFIN | byte(opBinary), length: 64 << 10}, []byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}},
		{"nothing", header{byte0: bitFIN | byte(opBinary)}, []byte{0x82, 0x00}},
		{"the longest 7-bit length", header{byte0: bitFIN | byte(opBinary), length: 125}, []byte{0x82, 0x7d}},
		{"the shortest 16-bit length", header{byte0: bitFIN | byte(opBinary), length: 126}, []byte{0x82, 0x7e, 0, 126}},
		{"the longest 16-bit length", header{byte0: bitFIN | byte(opBinary), length: 65535}, []byte{0x82, 0x7e, 0xff, 0xff}},
		{"the longest length", header{byte0: bitFIN | byte(opBinary), length: math.MaxInt64}, []byte{0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"RSV1", header{byte0: bitFIN | bitRSV1 | byte(opText), length: 1}, []byte{0xc1, 0x01}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if b := appendHeader(nil, c.h); !bytes.Equal(b, c.b) || headerSize(c.h) != len(c.b) {
				t.Errorf("appendHeader: % x, headerSize: %d, want % x", b, headerSize(c.h), c.b)
			}
			h, size, v := parseHeader(append(c.b, "payload"...))
			if v != noViolation || size != len(c.b) || h != c.h {
				t.Errorf("parseHeader: %+v of %d bytes, violation %d; want %+v of %d", h, size, v, c.h, len(c.b))
			}
			for cut := range c.b {
				if _, size, v := parseHeader(c.b[:cut]); size != 0 || v != noViolation {
					t.Errorf("parseHeader of %d bytes: size %d, violation %d", cut, size, v)
				}
			}
		})
	}
}

// TestHeaderViolations proves that a header is refused as soon as it shows a
// length that is not allowed.
func TestHeaderViolations(t *testing.T) {
	covers(t, "F09", "F10", "O01")
	for _, c := range []struct {
		name string
		b    []byte
		want violation
	}{
		{"125 in 16 bits", []byte{0x82, 0x7e, 0, 125}, lengthNotMinimal},
		{"0 in 16 bits", []byte{0x82, 0x7e, 0, 0}, lengthNotMinimal},
		{"65535 in 64 bits", []byte{0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, lengthNotMinimal},
		{"top bit of 64 bits", []byte{0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0}, lengthTopBit},
		{"Ping of 126 bytes, seen in two", []byte{0x89, 0x7e}, controlTooLong},
		{"Close with 64 bits, seen in two", []byte{0x88, 0xff}, controlTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, size, v := parseHeader(c.b); v != c.want || size != 0 {
				t.Errorf("violation %d and size %d, want violation %d", v, size, c.want)
			}
		})
	}
}

// checkHeader compares parseHeader with the model for one header, and for all
// that it begins with.
func checkHeader(t *testing.T, b []byte) {
	t.Helper()
	want, whole := modelParse(b)
	h, size, v := parseHeader(b)
	bad := len(b) >= 2 && want.control() && want.short > 125 ||
		len(b) >= 2+want.lengthOctets() && len(b) >= 2 && lengthForm(want) != 0
	switch {
	case bad != (v != noViolation):
		t.Errorf("% x: violation %d, want one: %v", b, v, bad)
	case bad || !whole:
		if size != 0 {
			t.Errorf("% x: size %d, want 0", b, size)
		}
		return
	case size != want.size || uint64(h.length) != want.length || h.masked != want.mask || h.fin() != want.fin || int(h.opcode()) != want.opcode:
		t.Errorf("% x: %+v of %d bytes, the model has %+v", b, h, size, want)
	}
	if want.mask && !bytes.Equal(binary.LittleEndian.AppendUint32(nil, h.key), want.key) {
		t.Errorf("% x: key %08x, want % x", b, h.key, want.key)
	}
	if again := appendHeader(nil, h); !bytes.Equal(again, b[:size]) || headerSize(h) != size {
		t.Errorf("% x is encoded again as % x", b[:size], again)
	}
}

// TestEveryLength compares the forms of the payload length with the model.
func TestEveryLength(t *testing.T) {
	covers(t, "F07", "F08", "F09", "F10", "F11", "F13", "O01", "Q.C06", "Q.C07", "Q.C08")
	for _, first := range []byte{0x82, 0x01, 0x89} {
		for _, second := range []byte{0, 0x80} {
			for length := range 1 << 16 {
				b := binary.BigEndian.AppendUint16([]byte{first, second | 126}, uint16(length))
				checkHeader(t, append(b, 1, 2, 3, 4))
			}
			for _, length := range longLengths() {
				b := binary.BigEndian.AppendUint64([]byte{first, second | 127}, length)
				b = append(b, 1, 2, 3, 4)
				for cut := range len(b) + 1 {
					checkHeader(t, b[:cut])
				}
			}
			for short := range byte(126) {
				b := []byte{first, second | short, 1, 2, 3, 4}
				for cut := range len(b) + 1 {
					checkHeader(t, b[:cut])
				}
			}
		}
	}
}

// FuzzFrameHeader compares the header codec with the model.
func FuzzFrameHeader(f *testing.F) {
	for _, c := range conversations(f) {
		for _, r := range c.roles {
			input := c.as(r).input()
			f.Add(input[:min(len(input), maxHeaderSize)])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkHeader(t, b) })
}
