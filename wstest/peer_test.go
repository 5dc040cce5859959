package wstest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// TestPeerMisbehaves checks that each thing a RawPeer can do wrong is noticed
// on the other side, in both roles.
func TestPeerMisbehaves(t *testing.T) {
	unmasked, masked := TextFrame("a"), TextFrame("a")
	unmasked.Mask, masked.Mask = Unmasked, Masked
	for _, m := range []struct {
		name string
		do   func(p *RawPeer)
		code websocket.CloseCode
	}{
		{"reserved bit", func(p *RawPeer) { p.SendFrame(Frame{FIN: true, RSV: RSV2, Opcode: OpText}) }, 1002},
		{"reserved opcode", func(p *RawPeer) { p.SendFrame(Frame{FIN: true, Opcode: 3}) }, 1002},
		{"mask", func(p *RawPeer) {
			if p.client {
				p.SendFrame(unmasked)
			} else {
				p.SendFrame(masked)
			}
		}, 1002},
		{"16-bit length of one byte", func(p *RawPeer) {
			p.SendFrame(Frame{FIN: true, Opcode: OpText, Form: Length16, Payload: []byte("a")})
		}, 1002},
		{"length with its top bit", func(p *RawPeer) { p.SendFrame(Frame{FIN: true, Opcode: OpText, Length: 1 << 63}) }, 1002},
		{"ping in fragments", func(p *RawPeer) { p.SendFrame(PingFrame("a").Fragment()) }, 1002},
		{"message in a message", func(p *RawPeer) { p.SendFrame(TextFrame("a").Fragment(), TextFrame("b")) }, 1002},
		{"text that is not UTF-8", func(p *RawPeer) { p.SendFrame(TextFrame("\xff")) }, 1007},
		{"too long a message", func(p *RawPeer) { p.SendFrame(Frame{FIN: true, Opcode: OpBinary, Length: 2 << 20}) }, 1009},
		{"close code that must not be sent", func(p *RawPeer) { p.SendFrame(CloseFrame(1006, "")) }, 1002},
		{"one byte at a time", func(p *RawPeer) {
			p.Pace(1, time.Second)
			p.SendFrame(TextFrame("a"), Frame{FIN: true, Opcode: 11})
		}, 1002},
	} {
		t.Run(m.name, func(t *testing.T) {
			misbehave := func(t *testing.T, c *websocket.Conn, p *RawPeer) {
				read := make(chan error, 1)
				go func() {
					for {
						if _, _, err := c.Read(t.Context()); err != nil {
							read <- err
							return
						}
					}
				}()
				m.do(p)
				p.ExpectClose(m.code)
				require.ErrorIs(t, <-read, m.code)
			}
			synctest.Test(t, func(t *testing.T) {
				c, p := ServerConn(t, nil)
				misbehave(t, c, p)
			})
			synctest.Test(t, func(t *testing.T) {
				c, p := ClientConn(t, nil)
				misbehave(t, c, p)
			})
		})
	}
}

func TestPeerEndsEarly(t *testing.T) {
	for name, end := range map[string]struct {
		do    func(p *RawPeer)
		cause error
	}{
		"half-close in a frame": {func(p *RawPeer) {
			p.Send(p.Encode(TextFrame("hello"))[:4])
			p.CloseWrite()
		}, io.ErrUnexpectedEOF},
		"close": {func(p *RawPeer) { p.Close() }, io.ErrUnexpectedEOF},
		"reset": {func(p *RawPeer) { p.Reset() }, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := ServerConn(t, nil)
				end.do(p)
				_, _, err := s.Read(t.Context())
				require.ErrorIs(t, err, websocket.CloseAbnormal)
				require.ErrorIs(t, err, end.cause)
			})
		})
	}
}

func TestPeerNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := ServerConn(t, &websocket.AcceptOptions{Config: websocket.Config{WriteTimeout: time.Hour, PingInterval: -1}})
		p.Window(0)
		began := time.Now()
		err := s.Write(t.Context(), websocket.Binary, []byte("stuck"))
		require.ErrorIs(t, err, websocket.CloseAbnormal)
		require.Equal(t, time.Hour, time.Since(began))
	})
}

func TestPeerSendsWhatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := faultnet.Pipe()
		p := RawServer(t, near)
		began := time.Now()
		_, err := p.Write(make([]byte, 1<<20))
		require.ErrorContains(t, err, "timeout")
		require.Equal(t, p.Timeout, time.Since(began))
	})
}

func TestPeerPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := faultnet.Pipe()
		p := RawClient(t, near)
		p.Pace(2, time.Second)
		go p.Send([]byte("abcde"))
		for i, want := range []string{"ab", "cd", "e"} {
			began := time.Now()
			got := make([]byte, 10)
			n, err := far.Read(got)
			require.NoError(t, err)
			require.Equal(t, want, string(got[:n]))
			if i > 0 {
				require.Equal(t, time.Second, time.Since(began))
			}
		}
		p.Close()
		_, err := p.Write([]byte("abcde"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestPeerStopsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := faultnet.Pipe()
		other := RawServer(t, far)
		peer := func(t testing.TB) *RawPeer { return RawClient(t, near) }
		other.SendFrame(TextFrame("a"))
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).Expect(TextFrame("b")) }), "received")
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).ReadFrame() }), "timeout")
		other.SendFrame(CloseFrame(1000, ""))
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).ExpectClose(1001) }), "received close")
		other.SendFrame(CloseFrame(1000, ""))
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).ExpectEOF() }), "not the end")
		other.Send([]byte("HTTP/1.1 403 Forbidden\r\n\r\n"))
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).Open("/", nil) }), "handshake was answered")
		other.Reset()
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).ExpectEOF() }), "not in order")
		near.Close()
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).Send(nil) }), "closed")
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).ReadFrame() }), "closed")
		require.Contains(t, stops(t, func(t testing.TB) { peer(t).ReadRequest() }), "closed")
	})
}

func TestPeerOnAPlainConn(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	for _, f := range []func(p *RawPeer){
		func(p *RawPeer) { p.Window(1) },
		(*RawPeer).CloseWrite,
		(*RawPeer).Reset,
	} {
		stops(t, func(t testing.TB) { f(RawServer(t, near)) })
	}
	require.Equal(t, near, RawServer(t, near).NetConn())
}

func TestPeerHandshake(t *testing.T) {
	near, far := faultnet.Pipe()
	c, s := RawClient(t, near), RawServer(t, far)
	asked := make(chan *http.Request, 1)
	go func() { asked <- s.Accept(http.Header{"X-Answer": {"yes"}}) }()
	r := c.Open("/a?b", http.Header{"X-Ask": {"1", "2"}})
	require.Equal(t, "yes", r.Header.Get("X-Answer"))
	q := <-asked
	require.Equal(t, "/a?b", q.RequestURI)
	require.Equal(t, "1, 2", q.Header.Get("X-Ask"))
}

// TestAcceptKey has the example of RFC 6455, Section 1.3.
func TestAcceptKey(t *testing.T) {
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="))
}

func TestPeerErrors(t *testing.T) {
	near, far := faultnet.Pipe()
	p := RawClient(t, near)
	RawServer(t, far).Send([]byte{0x81})
	far.CloseWrite()
	_, err := p.NextFrame()
	require.Equal(t, io.ErrUnexpectedEOF, err)
	_, err = p.NextFrame()
	require.True(t, errors.Is(err, io.EOF))
}
