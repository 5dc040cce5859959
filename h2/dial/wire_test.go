package dial_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/h2/dial"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A wire is one end of a connection of HTTP/2 that sends and receives frames.
type wire struct {
	*http2.Framer
	t  testing.TB
	nc net.Conn
}

// newWire returns the wire on nc. It says nothing by itself.
func newWire(t testing.TB, nc net.Conn) *wire {
	deadline, _ := within(t).Deadline()
	nc.SetDeadline(deadline)
	t.Cleanup(func() { nc.Close() })
	w := &wire{Framer: http2.NewFramer(nc, nc), t: t, nc: nc}
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return w
}

// The fields of a head are names and values, in their order.
type fields [][2]string

// sendHead sends HEADERS on a stream.
func (w *wire) sendHead(stream uint32, end bool, head fields) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range head {
		require.NoError(w.t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(w.t, w.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end,
	}))
}

// next returns the next frame of a stream.
func (w *wire) next() http2.Frame {
	w.t.Helper()
	for {
		f, err := w.ReadFrame()
		require.NoError(w.t, err)
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				require.NoError(w.t, w.WriteSettingsAck())
			}
		case *http2.WindowUpdateFrame:
		case *http2.PingFrame:
			if !f.IsAck() {
				require.NoError(w.t, w.WritePing(true, f.Data))
			}
		default:
			return f
		}
	}
}

// nextHead returns the fields of the HEADERS that must come next.
func (w *wire) nextHead() (stream uint32, end bool, head map[string]string) {
	w.t.Helper()
	f, ok := w.next().(*http2.MetaHeadersFrame)
	require.True(w.t, ok)
	head = make(map[string]string)
	for _, field := range f.Fields {
		require.NotContains(w.t, head, field.Name)
		head[field.Name] = field.Value
	}
	return f.StreamID, f.StreamEnded(), head
}

// nextData returns the DATA that must come next.
func (w *wire) nextData() (p []byte, end bool) {
	w.t.Helper()
	f := w.next()
	data, ok := f.(*http2.DataFrame)
	require.True(w.t, ok, "%v", f)
	return bytes.Clone(data.Data()), data.StreamEnded()
}

// nextReset returns the code of the RST_STREAM that must come next.
func (w *wire) nextReset() http2.ErrCode {
	w.t.Helper()
	f := w.next()
	reset, ok := f.(*http2.RSTStreamFrame)
	require.True(w.t, ok, "%v", f)
	return reset.ErrCode
}

// unmasked returns first octet and payload of a masked frame of less than 126
// octets (RFC 6455, Section 5.2).
func unmasked(t testing.TB, p []byte) (first byte, payload string) {
	t.Helper()
	require.GreaterOrEqual(t, len(p), 6)
	require.Equal(t, 0x80|byte(len(p)-6), p[1])
	key, masked := p[2:6], bytes.Clone(p[6:])
	for i := range masked {
		masked[i] ^= key[i%4]
	}
	return p[0], string(masked)
}

// closeOf returns the payload of a Close frame.
func closeOf(code websocket.CloseCode) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code)))
}

// A wiredServer is a server that the test plays.
type wiredServer struct {
	*wire
	client    *http.Client
	transport *dial.Transport
	dialed    chan dialResult
}

// A dialResult is what Dial returned.
type dialResult struct {
	c   *websocket.Conn
	err error
}

// newWiredServer returns a server that has sent these settings, to which a client
// dials with opts, which may be nil.
func newWiredServer(t testing.TB, opts *websocket.DialOptions, settings ...http2.Setting) *wiredServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	s := &wiredServer{transport: new(dial.Transport), dialed: make(chan dialResult, 1)}
	s.transport.NetDial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}
	s.client = &http.Client{Transport: s.transport}
	if opts == nil {
		opts = new(websocket.DialOptions)
	}
	opts.HTTPClient = s.client
	ctx := within(t)
	go func() {
		c, _, err := websocket.Dial(ctx, "ws://server.example.com/chat?room=7", opts)
		s.dialed <- dialResult{c, err}
	}()
	nc, err := l.Accept()
	require.NoError(t, err)
	s.wire = newWire(t, nc)
	preface := make([]byte, len(http2.ClientPreface))
	_, err = io.ReadFull(nc, preface)
	require.NoError(t, err)
	require.NoError(t, s.WriteSettings(settings...))
	return s
}

// extendedConnect is the setting with which a server offers extended CONNECT (RFC
// 8441, Section 3).
var extendedConnect = http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}

// openWired opens a WebSocket, and returns both ends of it.
func openWired(t testing.TB) (*websocket.Conn, *wiredServer) {
	s := newWiredServer(t, nil, extendedConnect)
	stream, _, _ := s.nextHead()
	require.Equal(t, uint32(1), stream)
	s.sendHead(stream, false, fields{{":status", "200"}})
	got := <-s.dialed
	require.NoError(t, got.err)
	return got.c, s
}

// TestRequestOnWire has the fields of RFC 8441, Section 5, and no other ones.
func TestRequestOnWire(t *testing.T) {
	covers(t, "H04", "H06", "H07", "H08", "H09")
	opts := &websocket.DialOptions{
		Config: websocket.Config{Subprotocols: []string{"chat", "superchat"}, Compression: new(websocket.Compression)},
		Header: http.Header{"Origin": {"http://www.example.com"}, "User-Agent": {"test"}},
	}
	s := newWiredServer(t, opts, extendedConnect)
	stream, end, head := s.nextHead()
	require.False(t, end)
	require.True(t, strings.HasPrefix(head["sec-websocket-extensions"], "permessage-deflate"))
	delete(head, "sec-websocket-extensions")
	require.Equal(t, map[string]string{
		":method":                "CONNECT",
		":protocol":              "websocket",
		":scheme":                "http",
		":authority":             "server.example.com",
		":path":                  "/chat?room=7",
		"origin":                 "http://www.example.com",
		"user-agent":             "test",
		"sec-websocket-version":  "13",
		"sec-websocket-protocol": "chat, superchat",
	}, head)

	s.sendHead(stream, false, fields{{":status", "200"}, {"sec-websocket-protocol", "superchat"}})
	got := <-s.dialed
	require.NoError(t, got.err)
	require.Equal(t, "superchat", got.c.Subprotocol())
	require.False(t, got.c.CompressionAgreed())
	require.NoError(t, got.c.WriteString(within(t), "Hello"))
	p, end := s.nextData()
	require.False(t, end)
	first, payload := unmasked(t, p)
	require.Equal(t, byte(0x81), first)
	require.Equal(t, "Hello", payload)
	for _, octet := range []byte("\x81\x05World") {
		require.NoError(t, s.WriteData(stream, false, []byte{octet}))
	}
	_, world, err := got.c.Read(within(t))
	require.NoError(t, err)
	require.Equal(t, "World", string(world))
	got.c.CloseNow()
}

// TestServerClosesOnWire answers the Close frame, and END_STREAM with END_STREAM.
func TestServerClosesOnWire(t *testing.T) {
	covers(t, "H12")
	c, s := openWired(t)
	require.NoError(t, s.WriteData(1, false, []byte("\x88\x02"+closeOf(websocket.CloseGoingAway))))
	require.Equal(t, websocket.CloseGoingAway, endOf(t, c).Code)
	p, end := s.nextData()
	first, payload := unmasked(t, p)
	require.Equal(t, byte(0x88), first)
	require.Equal(t, closeOf(websocket.CloseGoingAway), payload)
	require.False(t, end)
	require.NoError(t, s.WriteData(1, true, nil))
	p, end = s.nextData()
	require.Empty(t, p)
	require.True(t, end)
	noneLeft(t)
}

// TestClientClosesOnWire sends END_STREAM once the server did.
func TestClientClosesOnWire(t *testing.T) {
	c, s := openWired(t)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(websocket.CloseNormal, "") }()
	p, end := s.nextData()
	first, payload := unmasked(t, p)
	require.Equal(t, byte(0x88), first)
	require.Equal(t, closeOf(websocket.CloseNormal), payload)
	require.False(t, end)
	require.NoError(t, s.WriteData(1, true, []byte("\x88\x02"+closeOf(websocket.CloseNormal))))
	p, end = s.nextData()
	require.Empty(t, p)
	require.True(t, end)
	require.NoError(t, <-closed)
	noneLeft(t)
}

// TestViolationOnWire sends END_STREAM after the Close frame, and goes on to read.
func TestViolationOnWire(t *testing.T) {
	c, s := openWired(t)
	require.NoError(t, s.WriteData(1, false, []byte("\xf1\x00"))) // with reserved bits
	require.Equal(t, websocket.CloseProtocolError, endOf(t, c).Code)
	p, end := s.nextData()
	first, payload := unmasked(t, p)
	require.Equal(t, byte(0x88), first)
	require.True(t, strings.HasPrefix(payload, closeOf(websocket.CloseProtocolError)))
	for !end {
		p, end = s.nextData()
		require.Empty(t, p)
	}
	require.NoError(t, s.WriteData(1, true, []byte("dropped")))
	noneLeft(t)
}

// TestCloseNowOnWire resets the stream with CANCEL (RFC 8441, Section 5).
func TestCloseNowOnWire(t *testing.T) {
	covers(t, "H12")
	c, s := openWired(t)
	require.NoError(t, c.WriteString(within(t), "last"))
	c.CloseNow()
	p, _ := s.nextData()
	_, payload := unmasked(t, p)
	require.Equal(t, "last", payload)
	require.Equal(t, http2.ErrCodeCancel, s.nextReset())
	noneLeft(t)
}

// TestStreamEndsOnWire ends the connection with 1006, at a border of frames, in the
// middle of one, and with RST_STREAM.
func TestStreamEndsOnWire(t *testing.T) {
	for name, end := range map[string]func(s *wiredServer) error{
		"END_STREAM":          func(s *wiredServer) error { return s.WriteData(1, true, nil) },
		"END_STREAM in frame": func(s *wiredServer) error { return s.WriteData(1, true, []byte("\x81\x05Wor")) },
		"RST_STREAM":          func(s *wiredServer) error { return s.WriteRSTStream(1, http2.ErrCodeCancel) },
		"NO_ERROR":            func(s *wiredServer) error { return s.WriteRSTStream(1, http2.ErrCodeNo) },
		"GOAWAY":              func(s *wiredServer) error { return s.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			c, s := openWired(t)
			require.NoError(t, end(s))
			require.Equal(t, websocket.CloseAbnormal, endOf(t, c).Code)
			noneLeft(t)
		})
	}
}

// TestNotOfferedOnWire sends nothing of the handshake to a server without the
// setting (RFC 8441, Section 3).
func TestNotOfferedOnWire(t *testing.T) {
	covers(t, "H03", "Q.K06")
	for name, settings := range map[string][]http2.Setting{
		"missing": nil,
		"0":       {{ID: http2.SettingEnableConnectProtocol, Val: 0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWiredServer(t, nil, settings...)
			err := (<-s.dialed).err
			require.IsType(t, new(websocket.HandshakeError), err)
			require.ErrorIs(t, err, dial.ErrNotOffered)
			s.transport.CloseIdleConnections()
			for {
				f, err := s.ReadFrame()
				if err != nil {
					break
				}
				require.Zero(t, f.Header().StreamID, "%v", f)
			}
			noneLeft(t)
		})
	}
}

// TestBadResponsesOnWire fail the handshake and reset the stream.
func TestBadResponsesOnWire(t *testing.T) {
	for name, head := range map[string]fields{
		"extension not offered":   {{":status", "200"}, {"sec-websocket-extensions", "bbf-usp-protocol"}},
		"subprotocol not offered": {{":status", "200"}, {"sec-websocket-protocol", "chat"}},
		"status 101":              {{":status", "101"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWiredServer(t, nil, extendedConnect)
			stream, _, _ := s.nextHead()
			s.sendHead(stream, false, head)
			require.IsType(t, new(websocket.HandshakeError), (<-s.dialed).err)
			s.nextReset()
			noneLeft(t)
		})
	}
}

// TestRefusedStreamOnWire sends the request again on another stream if the server
// has not processed it (RFC 9113, Section 8.7).
func TestRefusedStreamOnWire(t *testing.T) {
	s := newWiredServer(t, nil, extendedConnect)
	first, _, want := s.nextHead()
	require.NoError(t, s.WriteRSTStream(first, http2.ErrCodeRefusedStream))
	second, _, got := s.nextHead()
	require.NotEqual(t, first, second)
	require.Equal(t, want, got)
	s.sendHead(second, false, fields{{":status", "200"}})
	dialed := <-s.dialed
	require.NoError(t, dialed.err)
	require.NoError(t, dialed.c.WriteString(within(t), "Hello"))
	p, _ := s.nextData()
	_, payload := unmasked(t, p)
	require.Equal(t, "Hello", payload)
	dialed.c.CloseNow()
	require.Equal(t, http2.ErrCodeCancel, s.nextReset())
	noneLeft(t)
}

// covers names the requirements that the test proves, for TestRequirements of the
// root.
func covers(testing.TB, ...string) {}
