package wstest

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A RawPeer is the other end of a connection under test. It sends what it is
// told, valid or not, and nothing by itself: it answers no Ping and no Close.
// It reads only in the methods that return or expect something. It must not be
// used by several goroutines at once.
type RawPeer struct {
	// Timeout bounds each call. It is a minute unless changed.
	Timeout time.Duration

	t      testing.TB
	nc     net.Conn
	r      *bufio.Reader
	client bool // the role: masks what it sends
	pace   int  // bytes per write; 0: all in one
	pause  time.Duration
}

// RawClient returns a RawPeer in the client's role on nc, which is closed when
// the test ends.
func RawClient(t testing.TB, nc net.Conn) *RawPeer { return newRawPeer(t, nc, true) }

// RawServer returns a RawPeer in the server's role on nc, which is closed when
// the test ends.
func RawServer(t testing.TB, nc net.Conn) *RawPeer { return newRawPeer(t, nc, false) }

func newRawPeer(t testing.TB, nc net.Conn, client bool) *RawPeer {
	t.Cleanup(func() { nc.Close() })
	return &RawPeer{Timeout: time.Minute, t: t, nc: nc, r: bufio.NewReader(nc), client: client}
}

// NetConn returns the underlying connection.
func (p *RawPeer) NetConn() net.Conn { return p.nc }

// Pace makes the peer write n bytes at a time from now on, with a pause in
// between. If n is 0 it writes everything at once again.
func (p *RawPeer) Pace(n int, pause time.Duration) { p.pace, p.pause = n, pause }

// Window sets how many unread bytes the connection to this peer holds before
// the other side's writes block. In memory 0 is allowed; on TCP the system
// rounds up.
func (p *RawPeer) Window(n int) {
	p.t.Helper()
	switch nc := p.nc.(type) {
	case interface{ SetWindow(int) }:
		nc.SetWindow(n)
	case interface{ SetReadBuffer(int) error }:
		p.must(nc.SetReadBuffer(n))
	default:
		p.t.Fatalf("wstest: a %T has no window", p.nc)
	}
}

// Write sends b unchanged, at the peer's pace.
func (p *RawPeer) Write(b []byte) (written int, err error) {
	if err := p.nc.SetWriteDeadline(time.Now().Add(p.Timeout)); err != nil {
		return 0, err
	}
	for piece := range p.pieces(b) {
		n, err := p.nc.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// pieces cuts b according to the pace, and pauses after each piece but the
// last.
func (p *RawPeer) pieces(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for p.pace > 0 && len(b) > p.pace {
			if !yield(b[:p.pace]) {
				return
			}
			b = b[p.pace:]
			time.Sleep(p.pause)
		}
		yield(b)
	}
}

// Send is like Write, but stops the test on an error.
func (p *RawPeer) Send(b []byte) {
	p.t.Helper()
	_, err := p.Write(b)
	p.must(err)
}

// SendFrame sends frames, all in one write.
func (p *RawPeer) SendFrame(frames ...Frame) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, p.Encode(f)...)
	}
	p.Send(b)
}

// Encode returns the bytes of f as this peer sends it. They may be changed.
func (p *RawPeer) Encode(f Frame) []byte { return appendFrame(nil, f, p.client) }

// NextFrame returns the next frame, valid or not. The error is io.EOF if the
// other side has closed its direction, and io.ErrUnexpectedEOF if it did so
// inside a frame.
func (p *RawPeer) NextFrame() (Frame, error) {
	if err := p.await(); err != nil {
		return Frame{}, err
	}
	return readFrame(p.r)
}

// ReadFrame is like NextFrame, but stops the test on an error.
func (p *RawPeer) ReadFrame() Frame {
	p.t.Helper()
	f, err := p.NextFrame()
	p.must(err)
	return f
}

// Expect reads as many frames as given and stops the test unless they are
// equal. MaskByRole stands for what the other side's role requires; masking
// keys are not compared.
func (p *RawPeer) Expect(frames ...Frame) {
	p.t.Helper()
	for _, want := range frames {
		want = p.fromOther(want)
		if got := p.ReadFrame(); !sameFrame(got, want) {
			p.t.Fatalf("wstest: received %v, not %v", got, want)
		}
	}
}

// fromOther returns f with MaskByRole resolved for the other side.
func (p *RawPeer) fromOther(f Frame) Frame {
	if f.Mask == MaskByRole {
		f.Mask = Masked
		if p.client {
			f.Mask = Unmasked
		}
	}
	return f
}

func sameFrame(a, b Frame) bool {
	return a.FIN == b.FIN && a.RSV == b.RSV && a.Opcode == b.Opcode &&
		a.Mask == b.Mask && a.Form == b.Form && bytes.Equal(a.Payload, b.Payload)
}

// ExpectClose skips frames up to a Close frame, which must have this code, and
// returns its reason. websocket.CloseNoStatus stands for a frame without a
// code.
func (p *RawPeer) ExpectClose(code websocket.CloseCode) (reason string) {
	p.t.Helper()
	for {
		f := p.ReadFrame()
		if f.Opcode != OpClose {
			continue
		}
		got, reason := f.CloseCode()
		if got != code {
			p.t.Fatalf("wstest: received close %v %q, not %v", got, reason, code)
		}
		return reason
	}
}

// ExpectEOF stops the test unless the other side closes its direction without
// sending another byte, and without a reset.
func (p *RawPeer) ExpectEOF() {
	p.t.Helper()
	p.must(p.await())
	b, err := p.r.ReadByte()
	switch {
	case err == nil:
		p.t.Fatalf("wstest: received %#02x, not the end", b)
	case err != io.EOF:
		p.t.Fatalf("wstest: connection ended with %v, not in order", err)
	}
}

// CloseWrite closes the peer's sending direction and leaves the other one open.
func (p *RawPeer) CloseWrite() {
	p.t.Helper()
	half, ok := p.nc.(interface{ CloseWrite() error })
	if !ok {
		p.t.Fatalf("wstest: a %T cannot close one direction", p.nc)
	}
	p.must(half.CloseWrite())
}

// Reset ends the connection with a TCP reset: the other side loses the bytes it
// has not read yet.
func (p *RawPeer) Reset() {
	p.t.Helper()
	switch nc := p.nc.(type) {
	case interface{ Reset() error }:
		p.must(nc.Reset())
	case interface{ SetLinger(sec int) error }:
		p.must(errors.Join(nc.SetLinger(0), p.nc.Close()))
	default:
		p.t.Fatalf("wstest: a %T cannot be reset", p.nc)
	}
}

// Close closes the connection, in both directions.
func (p *RawPeer) Close() error { return p.nc.Close() }

// sampleKey is the nonce of the example in RFC 6455, Section 1.3.
const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// AcceptKey returns the value of Sec-WebSocket-Accept that answers a value of
// Sec-WebSocket-Key (RFC 6455, Section 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Open performs the client's side of an opening handshake, with the fields of
// header added, and returns the response, which must accept the connection. For
// an invalid request use Send and ReadResponse.
func (p *RawPeer) Open(path string, header http.Header) *http.Response {
	p.t.Helper()
	p.Send([]byte(head("GET "+path+" HTTP/1.1", http.Header{
		"Host":                  {host},
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-WebSocket-Key":     {sampleKey},
		"Sec-WebSocket-Version": {"13"},
	}, header)))
	r := p.ReadResponse()
	accept := r.Header.Get("Sec-WebSocket-Accept")
	if r.StatusCode != http.StatusSwitchingProtocols || accept != AcceptKey(sampleKey) {
		p.t.Fatalf("wstest: handshake was answered with %s and Sec-WebSocket-Accept %q", r.Status, accept)
	}
	return r
}

// Accept performs the server's side of an opening handshake, with the fields of
// header added, and returns the request. For an invalid response use
// ReadRequest and Send.
func (p *RawPeer) Accept(header http.Header) *http.Request {
	p.t.Helper()
	r := p.ReadRequest()
	p.Send([]byte(head("HTTP/1.1 101 Switching Protocols", http.Header{
		"Upgrade":              {"websocket"},
		"Connection":           {"Upgrade"},
		"Sec-WebSocket-Accept": {AcceptKey(r.Header.Get("Sec-WebSocket-Key"))},
	}, header)))
	return r
}

// ReadResponse returns the next response. Unless its status is 101, its body
// has not been read yet.
func (p *RawPeer) ReadResponse() *http.Response {
	p.t.Helper()
	p.must(p.await())
	r, err := http.ReadResponse(p.r, nil)
	p.must(err)
	return r
}

// ReadRequest returns the next request.
func (p *RawPeer) ReadRequest() *http.Request {
	p.t.Helper()
	p.must(p.await())
	r, err := http.ReadRequest(p.r)
	p.must(err)
	return r
}

// head returns the head of a request or response.
func head(start string, fields ...http.Header) string {
	var b strings.Builder
	b.WriteString(start + "\r\n")
	for _, header := range fields {
		for name, values := range header {
			fmt.Fprintf(&b, "%s: %s\r\n", name, strings.Join(values, ", "))
		}
	}
	return b.String() + "\r\n"
}

// await sets the deadline of the next read.
func (p *RawPeer) await() error { return p.nc.SetReadDeadline(time.Now().Add(p.Timeout)) }

// must stops the test on an error.
func (p *RawPeer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("wstest: %v", err)
	}
}
