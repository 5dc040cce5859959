//go:build linux

package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// A session is a connection of HTTP/2 whose streams are the links of a load. What
// they write leaves together once all that was received has been looked at.
type session struct {
	*load
	socket   *socket
	streams  []*link // by the order of their identifiers
	unparsed []byte  // the start of a frame
	out      []byte
	window   int // what the subject takes from all streams
	initial  int // what it takes from each of them
	received int // that was not yet given back to the subject's windows
	offered  bool
	accepted int // requests that were
}

// What the subject may send on a stream and on all of them, at first and again
// after that.
const (
	hugeWindow  = math.MaxInt32
	refillAfter = hugeWindow / 4
)

// openSession connects to the subject and opens the row's streams.
func openSession(ld *load) (*session, error) {
	addr, err := netip.ParseAddrPort(ld.spec.Addr)
	if err != nil {
		return nil, err
	}
	so, err := connect(addr, source(0))
	if err != nil {
		return nil, err
	}
	s := &session{load: ld, socket: so, window: wire.HTTP2DefaultWindow, initial: wire.HTTP2DefaultWindow}
	s.out = append(s.out, wire.HTTP2Preface...)
	s.add(wire.HTTP2Frame{Type: wire.HTTP2Settings, Payload: wire.AppendHTTP2Setting(nil, wire.HTTP2InitialWindow, hugeWindow)})
	s.enlarge(0, hugeWindow-wire.HTTP2DefaultWindow)
	if err := s.receiveUntil(func() bool { return s.offered }); err != nil {
		return nil, err
	}
	fields := wire.ConnectFields(ld.spec.Addr)
	for range ld.spec.Row.Conns {
		s.openStream(fields)
	}
	err = s.receiveUntil(func() bool { return s.accepted == len(s.streams) })
	so.waits = false
	return s, err
}

// openStream requests a WebSocket.
func (s *session) openStream(fields []byte) {
	st := &stream{session: s, id: uint32(2*len(s.streams) + 1), window: s.initial}
	s.streams = append(s.streams, &link{stream: st})
	s.add(wire.HTTP2Frame{Type: wire.HTTP2Headers, Flags: wire.HTTP2EndHeaders, Stream: st.id, Payload: fields})
}

// add appends a frame to what is sent.
func (s *session) add(f wire.HTTP2Frame) { s.out = f.AppendTo(s.out) }

// enlarge lets the subject send n bytes more on a stream, or on all if it is 0.
func (s *session) enlarge(id uint32, n int) {
	s.add(wire.HTTP2Frame{Type: wire.HTTP2WindowUpdate, Stream: id, Payload: binary.BigEndian.AppendUint32(nil, uint32(n))})
}

// flush sends what the streams have written.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.socket.Write(s.out)
	s.out = s.out[:0]
	return err
}

// receiveUntil sends and receives until done.
func (s *session) receiveUntil(done func() bool) error {
	for !done() {
		if err := s.flush(); err != nil {
			return err
		}
		if err := s.receive(); err != nil {
			return err
		}
	}
	return s.flush()
}

// receive takes what has come.
func (s *session) receive() error {
	n, err := s.socket.Read(s.buf)
	switch {
	case errors.Is(err, errAgain):
		return nil
	case err != nil:
		return fmt.Errorf("measure: the subject ended the connection: %w", err)
	}
	s.unparsed = append(s.unparsed, s.buf[:n]...)
	rest := s.unparsed
	for {
		f, after, whole := wire.TakeHTTP2Frame(rest)
		if !whole {
			s.unparsed = s.unparsed[:copy(s.unparsed, rest)]
			return nil
		}
		if err := s.take(f); err != nil {
			return err
		}
		rest = after
	}
}

// take handles one frame.
func (s *session) take(f wire.HTTP2Frame) error {
	switch f.Type {
	case wire.HTTP2Data:
		return s.takeData(f)
	case wire.HTTP2Headers:
		if !wire.AcceptsConnect(f.Payload) || f.Flags&wire.HTTP2EndStream != 0 {
			return errors.New("measure: request for a WebSocket refused")
		}
		s.accepted++
	case wire.HTTP2WindowUpdate:
		return s.takeWindow(f.Stream, int(binary.BigEndian.Uint32(f.Payload)))
	case wire.HTTP2Settings:
		return s.takeSettings(f)
	case wire.HTTP2Ping:
		if f.Flags&wire.HTTP2Ack == 0 {
			f.Flags = wire.HTTP2Ack
			s.add(f)
		}
	case wire.HTTP2ResetStream, wire.HTTP2GoAway:
		return fmt.Errorf("measure: the subject ended a stream: %x", f.Payload)
	}
	return nil
}

// takeData compares what a stream has received. It lets the subject send as much
// again, but says so rarely.
func (s *session) takeData(f wire.HTTP2Frame) error {
	l, err := s.linkOf(f.Stream)
	if err != nil {
		return err
	}
	st := l.stream.(*stream)
	st.received += len(f.Payload)
	s.received += len(f.Payload)
	if st.received >= refillAfter {
		s.enlarge(st.id, st.received)
		st.received = 0
	}
	if s.received >= refillAfter {
		s.enlarge(0, s.received)
		s.received = 0
	}
	if len(f.Payload) == 0 {
		return nil
	}
	return s.echoed(l, f.Payload)
}

// linkOf returns the stream with the identifier.
func (s *session) linkOf(id uint32) (*link, error) {
	if i := int(id) / 2; id%2 == 1 && i < len(s.streams) {
		return s.streams[i], nil
	}
	return nil, fmt.Errorf("measure: the subject uses stream %d", id)
}

// takeSettings takes note of the subject's settings.
func (s *session) takeSettings(f wire.HTTP2Frame) error {
	if f.Flags&wire.HTTP2Ack != 0 {
		return nil
	}
	for p := f.Payload; len(p) >= 6; p = p[6:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case wire.HTTP2EnableConnectProtocol:
			s.offered = value == 1
		case wire.HTTP2InitialWindow:
			for _, l := range s.streams {
				l.stream.(*stream).window += int(value) - s.initial
			}
			s.initial = int(value)
		}
	}
	s.add(wire.HTTP2Frame{Type: wire.HTTP2Settings, Flags: wire.HTTP2Ack})
	if !s.offered {
		return errors.New("measure: the subject does not offer WebSockets over HTTP/2")
	}
	return nil
}

// takeWindow sends n bytes more of what a stream, or any, had to keep.
func (s *session) takeWindow(id uint32, n int) error {
	if id == 0 {
		s.window += n
		for _, l := range s.streams {
			l.stream.(*stream).sendUnsent()
		}
		return nil
	}
	l, err := s.linkOf(id)
	if err != nil {
		return err
	}
	st := l.stream.(*stream)
	st.window += n
	st.sendUnsent()
	return nil
}

// A stream is what a link of a session writes to.
type stream struct {
	*session
	id       uint32
	window   int    // what the subject takes
	received int    // that was not yet given back to the subject's window
	unsent   []byte // what had no room in the windows
}

// maxFramePayload is what every endpoint takes (RFC 9113, Section 4.2).
const maxFramePayload = 16 << 10

// Read is not used: the session receives.
func (st *stream) Read([]byte) (int, error) { return 0, io.EOF }

// Write sends p, as far as the windows allow, and keeps the rest.
func (st *stream) Write(p []byte) (int, error) {
	n := 0
	if len(st.unsent) == 0 {
		n = st.send(p)
	}
	st.unsent = append(st.unsent, p[n:]...)
	return len(p), nil
}

// send sends a beginning of p and returns its length.
func (st *stream) send(p []byte) (sent int) {
	for {
		n := min(len(p)-sent, st.window, st.session.window, maxFramePayload)
		if n <= 0 {
			return sent
		}
		st.window -= n
		st.session.window -= n
		st.add(wire.HTTP2Frame{Type: wire.HTTP2Data, Stream: st.id, Payload: p[sent : sent+n]})
		sent += n
	}
}

// sendUnsent sends what was kept.
func (st *stream) sendUnsent() {
	n := st.send(st.unsent)
	st.unsent = st.unsent[:copy(st.unsent, st.unsent[n:])]
}

// driveStreams is driveEcho on streams of one connection.
func (ld *load) driveStreams(ask asker) (Result, error) {
	s, err := openSession(ld)
	if err != nil {
		return Result{}, err
	}
	if err := ld.watch(&link{socket: s.socket, stream: s.socket}); err != nil {
		return Result{}, err
	}
	for _, l := range s.streams {
		if err := ld.send(l); err != nil {
			return Result{}, err
		}
	}
	if err := s.flush(); err != nil {
		return Result{}, err
	}
	again := func(*link) error { return errors.Join(s.receive(), s.flush()) }
	r, err := ld.run(again)
	if err != nil {
		return r, err
	}
	return ld.count(r, ask, again)
}
