//go:build linux

package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A session is a connection of HTTP/2 whose streams are the links of a load. What
// they write leaves together once all that was received has been looked at.
type session struct {
	*load
	socket   *socket
	streams  []*link // by the order of their identifiers
	framer   *http2.Framer
	in       bytes.Buffer // received, and not yet read by framer
	out      bytes.Buffer // written by framer, and not yet sent
	window   int          // what the subject takes from all streams
	initial  int          // what it takes from each of them
	received int          // that was not yet given back to the subject's windows
	offered  bool
	accepted int // requests that were
}

// What the subject may send on a stream and on all of them, at first and again
// after that.
const (
	hugeWindow  = math.MaxInt32
	refillAfter = hugeWindow / 4
)

// defaultWindow is the window of a connection, and of a stream unless a setting
// says something else (RFC 9113, Section 6.9.2).
const defaultWindow = 65535

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
	s := &session{load: ld, socket: so, window: defaultWindow, initial: defaultWindow}
	s.framer = http2.NewFramer(&s.out, &s.in) // whose writes cannot fail
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.framer.SetReuseFrames()
	s.out.WriteString(http2.ClientPreface)
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: hugeWindow})
	s.enlarge(0, hugeWindow-defaultWindow)
	if err := s.receiveUntil(func() bool { return s.offered }); err != nil {
		return nil, err
	}
	fields := connectFields(ld.spec.Addr)
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
	s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: st.id, BlockFragment: fields, EndHeaders: true})
}

// connectFields returns the fields of a request for a WebSocket (RFC 8441, Section
// 5).
func connectFields(host string) []byte {
	var b bytes.Buffer
	encoder := hpack.NewEncoder(&b)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"}, {Name: ":protocol", Value: "websocket"},
		{Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: host},
		{Name: "sec-websocket-version", Value: "13"}, {Name: "origin", Value: "http://" + host},
	} {
		encoder.WriteField(f)
	}
	return b.Bytes()
}

// enlarge lets the subject send n bytes more on a stream, or on all if it is 0.
func (s *session) enlarge(id uint32, n int) {
	s.framer.WriteWindowUpdate(id, uint32(n))
}

// flush sends what the streams have written.
func (s *session) flush() error {
	if s.out.Len() == 0 {
		return nil
	}
	_, err := s.socket.Write(s.out.Bytes())
	s.out.Reset()
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
	s.in.Write(s.buf[:n])
	for s.holdsFrame() {
		f, err := s.framer.ReadFrame()
		if err != nil {
			return err
		}
		if err := s.take(f); err != nil {
			return err
		}
	}
	return nil
}

// frameHeaderLen is the length of a frame's header (RFC 9113, Section 4.1).
const frameHeaderLen = 9

// holdsFrame reports whether a whole frame was received, and not yet read.
func (s *session) holdsFrame() bool {
	h, err := http2.ReadFrameHeader(bytes.NewReader(s.in.Bytes()))
	return err == nil && s.in.Len() >= frameHeaderLen+int(h.Length)
}

// take handles one frame.
func (s *session) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.DataFrame:
		return s.takeData(f)
	case *http2.MetaHeadersFrame:
		if f.PseudoValue("status") != "200" || f.StreamEnded() {
			return errors.New("measure: request for a WebSocket refused")
		}
		s.accepted++
	case *http2.WindowUpdateFrame:
		return s.takeWindow(f.StreamID, int(f.Increment))
	case *http2.SettingsFrame:
		return s.takeSettings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			s.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame, *http2.GoAwayFrame:
		return fmt.Errorf("measure: the subject ended a stream: %v", f)
	}
	return nil
}

// takeData compares what a stream has received. It lets the subject send as much
// again, but says so rarely.
func (s *session) takeData(f *http2.DataFrame) error {
	l, err := s.linkOf(f.StreamID)
	if err != nil {
		return err
	}
	st := l.stream.(*stream)
	st.received += int(f.Length)
	s.received += int(f.Length)
	if st.received >= refillAfter {
		s.enlarge(st.id, st.received)
		st.received = 0
	}
	if s.received >= refillAfter {
		s.enlarge(0, s.received)
		s.received = 0
	}
	if len(f.Data()) == 0 {
		return nil
	}
	return s.echoed(l, f.Data())
}

// linkOf returns the stream with the identifier.
func (s *session) linkOf(id uint32) (*link, error) {
	if i := int(id) / 2; id%2 == 1 && i < len(s.streams) {
		return s.streams[i], nil
	}
	return nil, fmt.Errorf("measure: the subject uses stream %d", id)
}

// takeSettings takes note of the subject's settings.
func (s *session) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	f.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingEnableConnectProtocol:
			s.offered = setting.Val == 1
		case http2.SettingInitialWindowSize:
			for _, l := range s.streams {
				l.stream.(*stream).window += int(setting.Val) - s.initial
			}
			s.initial = int(setting.Val)
		}
		return nil
	})
	s.framer.WriteSettingsAck()
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
		st.framer.WriteData(st.id, false, p[sent:sent+n])
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
