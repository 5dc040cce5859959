package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/fullduplex-go/websocket/h2"
	"github.com/stretchr/testify/require"
)

// An http2Peer is the client's end of a connection of HTTP/2 as the wire shows it
// (RFC 9113). It sends and parses frames itself, so that it can send any.
type http2Peer struct {
	nc      net.Conn
	manual  bool // windows are enlarged by the test alone
	writing sync.Mutex

	mu       sync.Mutex
	changed  sync.Cond
	settings map[uint16]uint32 // the server's first ones; nil until they came
	initial  int               // window of a new stream, for what is sent
	window   int               // of the connection, for what is sent
	streams  map[uint32]*http2Stream
	goneAway bool
	nextID   uint32
	err      error // of the connection
}

// An http2Frame is a frame as it is on the wire (RFC 9113, Section 4.1).
type http2Frame struct {
	typ, flags byte
	stream     uint32
	payload    []byte
}

// Types, flags and settings of frames (RFC 9113, Section 6).
const (
	http2Data         = 0
	http2Headers      = 1
	http2ResetStream  = 3
	http2Settings     = 4
	http2Ping         = 6
	http2GoAway       = 7
	http2WindowUpdate = 8

	http2Ack        = 1
	http2EndStream  = 1
	http2EndHeaders = 4
	http2Padded     = 8

	http2MaxConcurrentStreams  = 3
	http2InitialWindow         = 4
	http2EnableConnectProtocol = 8
)

// http2MaxFrame is the largest payload that every endpoint takes.
const http2MaxFrame = 16 << 10

// errStreamReset is what a stream that the server has reset returns.
var errStreamReset = errors.New("stream was reset")

// newHTTP2Peer begins a connection of HTTP/2 with these settings.
func newHTTP2Peer(nc net.Conn, settings ...uint32) *http2Peer {
	p := &http2Peer{nc: nc, streams: make(map[uint32]*http2Stream), initial: 65535, window: 65535, nextID: 1}
	p.changed.L = &p.mu
	go p.receive()
	var b []byte
	for i := 0; i < len(settings); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(settings[i]))
		b = binary.BigEndian.AppendUint32(b, settings[i+1])
	}
	io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	p.send(http2Frame{typ: http2Settings, payload: b})
	return p
}

// send writes frames, in one write.
func (p *http2Peer) send(frames ...http2Frame) error {
	var b []byte
	for _, f := range frames {
		b = append(b, byte(len(f.payload)>>16), byte(len(f.payload)>>8), byte(len(f.payload)), f.typ, f.flags)
		b = binary.BigEndian.AppendUint32(b, f.stream)
		b = append(b, f.payload...)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	_, err := p.nc.Write(b)
	return err
}

// receive reads frames until the connection fails.
func (p *http2Peer) receive() {
	var err error
	for err == nil {
		var f http2Frame
		if f, err = p.readFrame(); err == nil {
			p.handle(f)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.changed.Broadcast()
}

// readFrame returns the next frame.
func (p *http2Peer) readFrame() (f http2Frame, err error) {
	var head [9]byte
	if _, err := io.ReadFull(p.nc, head[:]); err != nil {
		return f, err
	}
	f = http2Frame{typ: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
	f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(p.nc, f.payload)
	return f, err
}

// handle takes note of a frame, and answers what has to be.
func (p *http2Peer) handle(f http2Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	s := p.streams[f.stream]
	switch {
	case f.typ == http2Settings && f.flags&http2Ack == 0:
		p.handleSettings(f.payload)
		go p.send(http2Frame{typ: http2Settings, flags: http2Ack})
	case f.typ == http2Ping && f.flags&http2Ack == 0:
		go p.send(http2Frame{typ: http2Ping, flags: http2Ack, payload: f.payload})
	case f.typ == http2GoAway:
		p.goneAway = true
	case f.typ == http2WindowUpdate && f.stream == 0:
		p.window += int(binary.BigEndian.Uint32(f.payload))
	case s == nil:
	case f.typ == http2WindowUpdate:
		s.window += int(binary.BigEndian.Uint32(f.payload))
	case f.typ == http2Headers && s.status == 0:
		s.status = statusInHead(f.payload)
		s.ended = f.flags&http2EndStream != 0
	case f.typ == http2Data:
		s.received = append(s.received, f.payload...)
		s.ended = f.flags&http2EndStream != 0
	case f.typ == http2ResetStream:
		s.reset, s.resetCode = true, binary.BigEndian.Uint32(f.payload)
	}
}

// handleSettings takes note of the server's settings. The caller holds mu.
func (p *http2Peer) handleSettings(b []byte) {
	first := p.settings == nil
	if first {
		p.settings = make(map[uint16]uint32)
	}
	for ; len(b) >= 6; b = b[6:] {
		id, value := binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
		if first {
			p.settings[id] = value
		}
		if id == http2InitialWindow {
			for _, s := range p.streams {
				s.window += int(value) - p.initial
			}
			p.initial = int(value)
		}
	}
}

// statusInHead returns the status in the head of a response, its first field: an
// entry of the static table, or three digits, as they are or in Huffman's code (RFC
// 7541).
func statusInHead(b []byte) int {
	known := map[byte]int{0x88: 200, 0x89: 204, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}
	if status := known[b[0]]; status != 0 {
		return status
	}
	if b[1] == 3 {
		status, _ := strconv.Atoi(string(b[2:5]))
		return status
	}
	code := uint64(b[2])<<24 | uint64(b[3])<<16 | uint64(b[4])<<8
	status := 0
	for range 3 {
		digit, size := code>>27, 5
		if digit > 2 { // of six bits
			digit, size = code>>26-0b011001+3, 6
		}
		status, code = status*10+int(digit), code<<size&0xffffffff
	}
	return status
}

// await waits until done, called with mu, reports true, or the connection fails.
func (p *http2Peer) await(done func() bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !done() {
		if p.err != nil {
			return p.err
		}
		p.changed.Wait()
	}
	return nil
}

// setting returns one of the server's settings, 0 if it has not sent that.
func (p *http2Peer) setting(id uint16) (uint32, error) {
	err := p.await(func() bool { return p.settings != nil })
	return p.settings[id], err
}

// http2Head returns the fields of a request, as literals.
func http2Head(fields ...string) (b []byte) {
	for i := 0; i < len(fields); i += 2 {
		b = append(append(b, 0, byte(len(fields[i]))), fields[i]...)
		b = append(append(b, byte(len(fields[i+1]))), fields[i+1]...)
	}
	return b
}

// connectFields are the fields of an extended CONNECT for a WebSocket, before
// those that are given.
func connectFields(more ...string) []string {
	return append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat",
		":authority", "server.example.com", "sec-websocket-version", "13"}, more...)
}

// open sends a request with these fields on a new stream, with these flags.
func (p *http2Peer) open(flags byte, fields ...string) *http2Stream {
	p.mu.Lock()
	s := &http2Stream{peer: p, id: p.nextID, window: p.initial}
	p.nextID += 2
	p.streams[s.id] = s
	p.mu.Unlock()
	p.send(http2Frame{http2Headers, http2EndHeaders | flags, s.id, http2Head(fields...)})
	return s
}

// connect opens a WebSocket.
func (p *http2Peer) connect() (*http2Stream, error) {
	if _, err := p.setting(http2EnableConnectProtocol); err != nil {
		return nil, err
	}
	s := p.open(0, connectFields()...)
	if status, err := s.awaitStatus(); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("status %d, %w", status, err)
	}
	return s, nil
}

// An http2Stream is a stream of an http2Peer: a net.Conn whose Close ends the
// connection. The mutex of its http2Peer guards it.
type http2Stream struct {
	peer      *http2Peer
	id        uint32
	window    int // for what is sent
	status    int // of the response; 0: none came
	received  []byte
	ended     bool // the server has ended the stream
	reset     bool // the server has reset it
	resetCode uint32
}

// awaitStatus returns the status of the response.
func (s *http2Stream) awaitStatus() (int, error) {
	err := s.peer.await(func() bool { return s.status != 0 || s.reset })
	if err == nil && s.status == 0 {
		err = errStreamReset
	}
	return s.status, err
}

// Read reads what came.
func (s *http2Stream) Read(p []byte) (n int, err error) {
	err = s.peer.await(func() bool { return len(s.received) > 0 || s.ended || s.reset })
	s.peer.mu.Lock()
	n = copy(p, s.received)
	s.received = s.received[n:]
	switch {
	case n > 0:
		err = nil
	case s.ended:
		err = io.EOF
	case s.reset:
		err = errStreamReset
	}
	s.peer.mu.Unlock()
	if n > 0 && !s.peer.manual {
		s.enlarge(n)
	}
	return n, err
}

// enlarge lets the server send n bytes more.
func (s *http2Stream) enlarge(n int) {
	size := binary.BigEndian.AppendUint32(nil, uint32(n))
	s.peer.send(http2Frame{http2WindowUpdate, 0, s.id, size}, http2Frame{http2WindowUpdate, 0, 0, size})
}

// Write sends p as the windows allow.
func (s *http2Stream) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		var n int
		err = s.peer.await(func() bool {
			n = min(len(p), s.window, s.peer.window, http2MaxFrame)
			if n > 0 {
				s.window -= n
				s.peer.window -= n
			}
			return n > 0 || s.reset
		})
		if err == nil && n <= 0 {
			err = errStreamReset
		}
		if err == nil {
			err = s.peer.send(http2Frame{http2Data, 0, s.id, p[:n]})
		}
		if err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// CloseWrite ends the client's direction.
func (s *http2Stream) CloseWrite() error {
	return s.peer.send(http2Frame{http2Data, http2EndStream, s.id, nil})
}

// cancel resets the stream with CANCEL.
func (s *http2Stream) cancel() error {
	return s.peer.send(http2Frame{http2ResetStream, 0, s.id, []byte{0, 0, 0, 8}})
}

// Close ends what the client sends, on all streams. What the server sends is still
// received, or its last words to us would reset the connection and overtake ours.
func (s *http2Stream) Close() error {
	if half, ok := s.peer.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.peer.nc.Close()
}

// LocalAddr returns that of the connection.
func (s *http2Stream) LocalAddr() net.Addr { return s.peer.nc.LocalAddr() }

// RemoteAddr returns that of the connection.
func (s *http2Stream) RemoteAddr() net.Addr { return s.peer.nc.RemoteAddr() }

// SetDeadline fails: the connection has deadlines.
func (s *http2Stream) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline fails.
func (s *http2Stream) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline fails.
func (s *http2Stream) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// http2Server returns a server that speaks HTTP/2 without TLS.
func http2Server(h http.Handler) *http.Server {
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// serveHTTP2 serves h over HTTP/2 on one end of a connection, and returns the
// peer on the other.
func serveHTTP2(t *testing.T, h http.Handler, settings ...uint32) *http2Peer {
	t.Helper()
	near, far := tcpNetwork(t, server)
	t.Cleanup(func() { far.Close() })
	go http2Server(h).Serve(&oneListener{nc: near})
	return newHTTP2Peer(far, settings...)
}

// http2Network is a stream of HTTP/2 as a net.Conn.
var http2Network = rawNetwork{"HTTP/2", noHalfClose, func(t *testing.T, ours role) (near, far net.Conn) {
	return pairOverHTTP2(t, ours, new(answer))
}}

// http2ReceiverNetwork is a stream of HTTP/2 as ReceiverHandler has it.
var http2ReceiverNetwork = rawNetwork{"HTTP/2 for a Receiver", noHalfClose | noDeadline, func(t *testing.T, ours role) (near, far net.Conn) {
	return pairOverHTTP2(t, ours, &answer{delivers: true})
}}

// pairOverHTTP2 returns both ends of a stream that was accepted with this answer.
// Its handler stays until the stream is closed.
func pairOverHTTP2(t *testing.T, ours role, ans *answer) (near, far net.Conn) {
	t.Helper()
	nearTCP, farTCP := tcpNetwork(t, ours)
	t.Cleanup(func() { farTCP.Close() })
	opened := make(chan net.Conn, 1)
	h := func(w http.ResponseWriter, r *http.Request) {
		near, err := newAcceptor(new(AcceptOptions)).openStream(w, r, ans)
		if err != nil {
			t.Error(err)
			close(opened)
			return
		}
		opened <- near
		stay(near)
	}
	serveOneHTTP2(nearTCP, h)
	stream, err := newHTTP2Peer(farTCP).connect()
	require.NoError(t, err)
	near, ok := <-opened
	require.True(t, ok)
	return near, stream
}

// serveOneHTTP2 serves h over HTTP/2 on nc, and returns at once.
func serveOneHTTP2(nc net.Conn, h http.HandlerFunc) { http2Server(h).Serve(&oneListener{nc: nc}) }

// joinHTTP2 is join with an extended CONNECT.
func (e rawEntryPoint) joinHTTP2(near, far net.Conn, cfg Config, app func(c *Conn)) (*rawPeer, error) {
	opened := make(chan error, 1)
	go e.open(near, cfg, func(c *Conn, err error) {
		opened <- err
		if err == nil {
			app(c)
		}
	})
	stream, err := newHTTP2Peer(far).connect()
	if err != nil {
		far.Close()
		return nil, err
	}
	return newRawPeer(stream, e.role), <-opened
}

// stay serves nc, a stream, until it is closed.
func stay(nc net.Conn) {
	s := (&socket{Conn: nc}).stream()
	s.Receive()
	<-s.Done()
}

// TestStatusInHead decodes what net/http's server encodes.
func TestStatusInHead(t *testing.T) {
	for _, want := range []int{200, 201, 204, 299, 304, 345, 400, 403, 404, 405, 426, 500, 501, 503, 505, 599} {
		p := serveHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(want) }))
		got, err := p.open(http2EndStream, strings.Split(":method GET :scheme http :path / :authority h", " ")...).awaitStatus()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
