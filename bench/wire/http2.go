package wire

import "encoding/binary"

// Types of frames of HTTP/2, and their flags (RFC 9113, Section 6).
const (
	HTTP2Data         byte = 0
	HTTP2Headers      byte = 1
	HTTP2ResetStream  byte = 3
	HTTP2Settings     byte = 4
	HTTP2Ping         byte = 6
	HTTP2GoAway       byte = 7
	HTTP2WindowUpdate byte = 8

	HTTP2Ack        byte = 1
	HTTP2EndStream  byte = 1
	HTTP2EndHeaders byte = 4
)

// Settings (RFC 9113, Section 6.5.2, and RFC 8441, Section 3).
const (
	HTTP2InitialWindow         uint16 = 4
	HTTP2EnableConnectProtocol uint16 = 8
)

// HTTP2DefaultWindow is the window of a connection, and of a stream unless a
// setting says something else (RFC 9113, Section 6.9.2).
const HTTP2DefaultWindow = 65535

// HTTP2Preface begins what a client sends (RFC 9113, Section 3.4).
const HTTP2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// An HTTP2Frame is a frame of HTTP/2 (RFC 9113, Section 4.1).
type HTTP2Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// http2HeaderLen is the length of a frame's header.
const http2HeaderLen = 9

// AppendTo appends the frame to b.
func (f HTTP2Frame) AppendTo(b []byte) []byte {
	n := len(f.Payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), f.Type, f.Flags)
	b = binary.BigEndian.AppendUint32(b, f.Stream)
	return append(b, f.Payload...)
}

// TakeHTTP2Frame takes a frame from the front of p and returns it with the bytes
// that follow. If p does not hold a whole frame it returns false.
func TakeHTTP2Frame(p []byte) (f HTTP2Frame, rest []byte, whole bool) {
	if len(p) < http2HeaderLen {
		return f, p, false
	}
	end := http2HeaderLen + (int(p[0])<<16 | int(p[1])<<8 | int(p[2]))
	if len(p) < end {
		return f, p, false
	}
	f = HTTP2Frame{p[3], p[4], binary.BigEndian.Uint32(p[5:]) &^ (1 << 31), p[http2HeaderLen:end]}
	return f, p[end:], true
}

// ConnectFields returns the fields of a request for a WebSocket
// (RFC 8441, Section 5), none of which uses or enters a table of the compression
// of fields.
func ConnectFields(host string) (b []byte) {
	for _, field := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", "/"},
		{":authority", host}, {"sec-websocket-version", "13"}, {"origin", "http://" + host},
	} {
		b = append(b, 0) // a literal, and so are both strings (RFC 7541, Section 6.2.2)
		for _, s := range field {
			b = append(append(b, byte(len(s))), s...)
		}
	}
	return b
}

// AcceptsConnect reports whether the fields of a response begin with the status
// 200, which is what accepts a request for a WebSocket.
func AcceptsConnect(fields []byte) bool {
	const (
		status200 = 0x88 // in the static table (RFC 7541, Appendix A)
		isResize  = 0x20 // of the dynamic table, in the upper three bits
	)
	for len(fields) > 0 && fields[0]&0xe0 == isResize {
		n := 1
		if fields[0]&0x1f == 0x1f { // the size goes on in further bytes
			for n < len(fields)-1 && fields[n]&0x80 != 0 {
				n++
			}
			n++
		}
		fields = fields[min(n, len(fields)):]
	}
	return len(fields) > 0 && fields[0] == status200
}

// AppendHTTP2Setting appends one setting to the payload b of a frame.
func AppendHTTP2Setting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}
