package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/stretchr/testify/require"
)

// inHTTP2Bubble runs f in a bubble with the peer of a server of h. Whatever is
// still open afterwards is closed.
func inHTTP2Bubble(t *testing.T, s *http.Server, f func(t *testing.T, p *http2Peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, serveInMemory(t, s)) })
}

// serveInMemory serves one connection in memory and returns the peer on it. It is
// called in a bubble, which ends once the timers of net/http have run out.
func serveInMemory(t *testing.T, s *http.Server) *http2Peer {
	t.Cleanup(func() { time.Sleep(time.Minute) })
	near, far := faultnet.Pipe()
	t.Cleanup(func() { far.Close() })
	go s.Serve(&oneListener{nc: near})
	return newHTTP2Peer(far)
}

// An http2Door is a way to serve a WebSocket over HTTP/2.
type http2Door struct {
	name  string
	serve func(opts *AcceptOptions, serve func(c *Conn)) http.Handler
}

// http2Doors are all of them. Behind ReceiverHandler, serve is called by Opened.
var http2Doors = []http2Door{
	{"Accept", func(opts *AcceptOptions, serve func(c *Conn)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := Accept(w, r, opts)
			if err == nil {
				defer c.CloseNow()
				serve(c)
			}
		})
	}},
	{"Handler", func(opts *AcceptOptions, serve func(c *Conn)) http.Handler {
		return HandlerFunc(opts, func(c *Conn) error {
			serve(c)
			return nil
		})
	}},
}

// echoForever sends messages back until the connection ends.
func echoForever(c *Conn) { echo(c) }

// atHTTP2Doors runs f at each door with a server that echoes, in a bubble, with a
// peer and the peer's end of a WebSocket, and checks that the handler returns in the end.
func atHTTP2Doors(t *testing.T, cfg Config, f func(t *testing.T, p *rawPeer, s *http2Stream, end func() error)) {
	t.Helper()
	doors := append(slices.Clone(http2Doors), http2Door{"ReceiverHandler", nil})
	for _, door := range doors {
		t.Run(door.name, func(t *testing.T) {
			var conn atomic.Pointer[Conn]
			var h http.Handler
			opts := &AcceptOptions{Config: cfg}
			if door.serve == nil {
				h = ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return keepingReceiver{&conn}, nil })
			} else {
				h = door.serve(opts, func(c *Conn) {
					conn.Store(c)
					echoForever(c)
				})
			}
			var handlers atomic.Int32
			inHTTP2Bubble(t, http2Server(countRunning(h, &handlers)), func(t *testing.T, p *http2Peer) {
				s, err := p.connect()
				require.NoError(t, err)
				synctest.Wait()
				f(t, newRawPeer(s, server), s, func() error {
					<-conn.Load().endedChan()
					return conn.Load().terminal()
				})
				s.cancel()
				synctest.Wait()
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Zero(t, handlers.Load(), "handlers that have not returned")
			})
		})
	}
}

// countRunning returns h, with running counting the calls of it that have not returned.
func countRunning(h http.Handler, running *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		h.ServeHTTP(w, r)
	})
}

// A keepingReceiver echoes, and keeps its Conn.
type keepingReceiver struct{ conn *atomic.Pointer[Conn] }

// Opened keeps c.
func (r keepingReceiver) Opened(c *Conn) error { r.conn.Store(c); return nil }

// Receive sends m back.
func (r keepingReceiver) Receive(c *Conn, m Message) error { return echoMessage(c, m) }

// Closed does nothing.
func (keepingReceiver) Closed(*Conn, *CloseError) {}

// TestExtendedConnectIsOffered reads the server's first settings, in a program that
// imports package h2.
func TestExtendedConnectIsOffered(t *testing.T) {
	covers(t, "H01", "H02")
	value, err := serveHTTP2(t, http.NotFoundHandler()).setting(http2EnableConnectProtocol)
	require.NoError(t, err)
	require.EqualValues(t, 1, value)
}

// without returns fields without the one with this name.
func without(fields []string, name string) []string {
	i := slices.Index(fields, name)
	return slices.Delete(slices.Clone(fields), i, i+2)
}

// with returns fields with another value of the one with this name.
func with(fields []string, name, value string) []string {
	fields = slices.Clone(fields)
	fields[slices.Index(fields, name)+1] = value
	return fields
}

// TestHTTP2Handshake sends requests to a server, good and bad ones, and wants a
// status, or a reset of the stream.
func TestHTTP2Handshake(t *testing.T) {
	covers(t, "H04", "H05", "H07", "H08", "H09", "H10", "H14", "H15", "H18", "Q.K04")
	mux := http.NewServeMux()
	mux.Handle("/chat", HandlerFunc(&AcceptOptions{Config: Config{Subprotocols: []string{"a"}}}, echo))
	mux.Handle("GET /get", HandlerFunc(nil, echo))
	fields := connectFields()
	for _, test := range []struct {
		name   string
		fields []string
		want   int // 0: the stream is reset
	}{
		{"valid", fields, 200},
		{"another authority", with(fields, ":authority", "other.example.com:22"), 200},
		{"own page", connectFields("origin", "http://server.example.com"), 200},
		{"foreign page", connectFields("origin", "http://evil.example.com"), 403},
		{"key", connectFields("sec-websocket-key", "nonsense"), 200},
		{"subprotocols", connectFields("sec-websocket-protocol", "b, a"), 200},
		{"malformed subprotocols", connectFields("sec-websocket-protocol", "a b"), 400},
		{"malformed extensions", connectFields("sec-websocket-extensions", ";"), 400},
		{"another protocol", with(fields, ":protocol", "connect-udp"), 501},
		{"another case", with(fields, ":protocol", "WebSocket"), 501},
		{"no version", without(fields, "sec-websocket-version"), 400},
		{"version 8", with(fields, "sec-websocket-version", "8"), 400},
		{"two versions", connectFields("sec-websocket-version", "13"), 400},
		{"a pattern for GET", with(fields, ":path", "/get"), 405},
		{"no handler", with(fields, ":path", "/nowhere"), 404},
		{"no path", without(fields, ":path"), 0},
		{"GET with a protocol", with(fields, ":method", "GET"), 505},
		{"Connection", connectFields("connection", "Upgrade"), 400},
		{"Upgrade", connectFields("upgrade", "websocket"), 400},
		{"Transfer-Encoding", connectFields("transfer-encoding", "chunked"), 400},
		{"GET with Upgrade's key", append(without(with(fields, ":method", "GET"), ":protocol"), "sec-websocket-key", sampleKey), 505},
		{"CONNECT without a protocol", without(without(without(fields, ":protocol"), ":path"), ":scheme"), 404},
	} {
		p := serveHTTP2(t, mux)
		_, err := p.setting(http2EnableConnectProtocol)
		require.NoError(t, err)
		got, err := p.open(0, test.fields...).awaitStatus()
		if errors.Is(err, errStreamReset) {
			err = nil
		}
		require.NoErrorf(t, err, test.name)
		require.Equal(t, test.want, got, test.name)
	}
}

// connectRequest returns the request of an extended CONNECT as net/http has it.
func connectRequest(header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodConnect, "http://server.example.com/chat", nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.RequestURI, r.URL.Path = "/chat", "/chat"
	r.Header[protocolPseudoField] = []string{"websocket"}
	r.Header[versionField] = []string{"13"}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// TestIsUpgradeOverHTTP2 asks of requests whether they want a WebSocket.
func TestIsUpgradeOverHTTP2(t *testing.T) {
	require.True(t, IsUpgrade(connectRequest()))
	other := connectRequest()
	other.Header[protocolPseudoField] = []string{"connect-udp"}
	require.False(t, IsUpgrade(other))
	get := connectRequest()
	get.Method = http.MethodGet
	require.False(t, IsUpgrade(get))
	plain := connectRequest()
	delete(plain.Header, protocolPseudoField)
	require.False(t, IsUpgrade(plain))
}

// TestHTTP2Response has the header of a response, behind middleware of several
// kinds: the fields of RFC 6455 that mean something over HTTP/2, and those that the
// application adds.
func TestHTTP2Response(t *testing.T) {
	covers(t, "H08", "H10")
	opts := &AcceptOptions{
		Config: Config{Subprotocols: []string{"chat"}, Compression: new(Compression)},
		Header: http.Header{"X-Own": {"1"}},
	}
	for name, wrap := range map[string]func(http.ResponseWriter, *[]int) http.ResponseWriter{
		"none":             func(w http.ResponseWriter, _ *[]int) http.ResponseWriter { return w },
		"Unwrap":           func(w http.ResponseWriter, seen *[]int) http.ResponseWriter { return statusRecorder{wrapper{w}, seen} },
		"keeps the status": func(w http.ResponseWriter, _ *[]int) http.ResponseWriter { return silentWriter{wrapper{w}} },
	} {
		t.Run(name, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			var seen []int
			w := wrap(recorder, &seen)
			w.Header().Set("Set-Cookie", "id=1")
			w.Header().Set("Content-Type", "text/plain")
			c, err := Accept(w, connectRequest("Sec-WebSocket-Protocol", "chat", "Sec-WebSocket-Extensions", "permessage-deflate"), opts)
			require.NoError(t, err)
			defer c.CloseNow()
			require.Equal(t, "chat", c.Subprotocol())
			require.True(t, c.CompressionAgreed())
			require.Nil(t, c.NetConn())
			require.Equal(t, "192.0.2.1:1234", c.RemoteAddr().String())
			response := recorder.Result()
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.True(t, recorder.Flushed)
			require.Equal(t, http.Header{
				"Sec-Websocket-Protocol":   {"chat"},
				"Sec-Websocket-Extensions": {"permessage-deflate"},
				"X-Own":                    {"1"},
				"Set-Cookie":               {"id=1"},
			}, canonical(response.Header))
			if name == "Unwrap" {
				require.Equal(t, []int{200}, seen)
			}
		})
	}
}

// TestHTTP2Addresses has the addresses of a connection, also if middleware has put
// something else there.
func TestHTTP2Addresses(t *testing.T) {
	for _, remote := range []string{"192.0.2.1:1234", "[2001:db8::1]:99", "client.example.com:80", "192.0.2.7", ""} {
		r := connectRequest()
		r.RemoteAddr = remote
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{Port: 443}))
		c, err := Accept(httptest.NewRecorder(), r, nil)
		require.NoError(t, err)
		require.Equal(t, remote, c.RemoteAddr().String())
		require.Equal(t, ":443", c.LocalAddr().String())
		c.CloseNow()
	}
}

// canonical returns h with keys as http.Header.Get wants them.
func canonical(h http.Header) http.Header {
	c := make(http.Header)
	for name, values := range h {
		c[http.CanonicalHeaderKey(name)] = values
	}
	return c
}

// A silentWriter keeps the status to itself, as those do that compress.
type silentWriter struct{ wrapper }

// WriteHeader does nothing.
func (silentWriter) WriteHeader(int) {}

// TestHTTP2HiddenStream refuses requests whose stream is hidden, and leaves
// responses alone that were begun.
func TestHTTP2HiddenStream(t *testing.T) {
	recorder := httptest.NewRecorder()
	_, err := Accept(opaqueWriter{recorder}, connectRequest(), nil)
	require.Equal(t, http.StatusNotImplemented, statusOf(err))
	require.ErrorContains(t, err, "opaqueWriter hides the stream")
	require.Equal(t, http.StatusNotImplemented, recorder.Code)

	began := make(chan error, 1)
	p := serveHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, err := Accept(w, r, nil)
		began <- err
	}))
	_, err = p.setting(http2EnableConnectProtocol)
	require.NoError(t, err)
	status, err := p.open(0, connectFields()...).awaitStatus()
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, status)
	require.ErrorIs(t, <-began, errBegun)
}

// An opaqueWriter shows nothing of what it wraps.
type opaqueWriter struct{ w http.ResponseWriter }

// Header returns the header.
func (o opaqueWriter) Header() http.Header { return o.w.Header() }

// WriteHeader passes the status on.
func (o opaqueWriter) WriteHeader(status int) { o.w.WriteHeader(status) }

// Write passes p on.
func (o opaqueWriter) Write(p []byte) (int, error) { return o.w.Write(p) }

// TestHTTP2HandshakeTrace tells the hook of the handshake.
func TestHTTP2HandshakeTrace(t *testing.T) {
	var got HandshakeTrace
	opts := &AcceptOptions{Config: Config{Trace: &Trace{Handshake: func(_ *Conn, h HandshakeTrace) { got = h }}}}
	c, err := Accept(httptest.NewRecorder(), connectRequest(), opts)
	require.NoError(t, err)
	c.CloseNow()
	require.Equal(t, http.StatusOK, got.Status)
	r := connectRequest()
	delete(r.Header, versionField)
	_, err = Accept(httptest.NewRecorder(), r, opts)
	require.Error(t, err)
	require.Equal(t, http.StatusBadRequest, got.Status)
}

// TestHTTP2HandshakeTracePanics closes the stream if the hook panics: the handler
// ends, and nothing is left behind.
func TestHTTP2HandshakeTracePanics(t *testing.T) {
	opts := &AcceptOptions{Config: Config{Trace: &Trace{Handshake: func(*Conn, HandshakeTrace) { panic("the trap") }}}}
	inHTTP2Bubble(t, http2Server(HandlerFunc(opts, echo)), func(t *testing.T, p *http2Peer) {
		_, err := p.setting(http2EnableConnectProtocol)
		require.NoError(t, err)
		s := p.open(0, connectFields()...)
		_, err = io.ReadAll(s)
		require.ErrorIs(t, err, errStreamReset)
	})
}

// TestHTTP2EndOfStream ends the stream before a frame, within one at each octet,
// and on the request: the connection ends with 1006, and no message is made up.
func TestHTTP2EndOfStream(t *testing.T) {
	covers(t, "H12", "H13", "Q.K01", "Q.K02")
	for name, end := range map[string]func(s *http2Stream) error{
		"END_STREAM": (*http2Stream).CloseWrite,
		"CANCEL":     (*http2Stream).cancel,
		"connection": func(s *http2Stream) error { return s.peer.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			wire := newRawPeer(nil, server).frame(0x81, "a message")
			for cut := range wire {
				atHTTP2Doors(t, silent, func(t *testing.T, _ *rawPeer, s *http2Stream, terminal func() error) {
					s.Write(wire[:cut])
					require.NoError(t, end(s))
					err := asCloseError(terminal())
					require.Equal(t, CloseAbnormal, err.Code)
					if name == "END_STREAM" {
						require.ErrorIs(t, err, io.ErrUnexpectedEOF)
						_, readErr := io.ReadAll(s)
						require.NoError(t, readErr, "the server ends the stream")
					}
				})
			}
		})
	}
	t.Run("on the request", func(t *testing.T) {
		ended := make(chan error, 1)
		p := serveHTTP2(t, HandlerFunc(nil, func(c *Conn) error {
			err := readToEnd(c)
			ended <- err
			return err
		}))
		_, err := p.setting(http2EnableConnectProtocol)
		require.NoError(t, err)
		status, err := p.open(http2EndStream, connectFields()...).awaitStatus()
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.ErrorIs(t, <-ended, CloseAbnormal)
	})
}

// TestHTTP2BordersOfData sends octet by octet, in frames with padding, and with
// many empty ones between.
func TestHTTP2BordersOfData(t *testing.T) {
	covers(t, "H11", "Q.K02")
	atHTTP2Doors(t, silent, func(t *testing.T, peer *rawPeer, s *http2Stream, _ func() error) {
		for _, octet := range peer.frame(0x81, "Hello") {
			s.peer.send(http2Frame{http2Data, 0, s.id, []byte{octet}})
		}
		f, err := peer.read()
		require.NoError(t, err)
		require.Equal(t, rawFrame{0x81, "Hello"}, f)
		for range 100 {
			s.peer.send(http2Frame{http2Data, 0, s.id, nil})
		}
		padded := append(append([]byte{5}, peer.frame(0x82, "padded")...), 0, 0, 0, 0, 0)
		s.peer.send(http2Frame{http2Data, http2Padded, s.id, padded})
		f, err = peer.read()
		require.NoError(t, err)
		require.Equal(t, rawFrame{0x82, "padded"}, f)
	})
}

// TestHTTP2Windows has the client let the server send little: octet by octet, less
// than before, and nothing for so long that the connection ends.
func TestHTTP2Windows(t *testing.T) {
	covers(t, "H16", "Q.K01")
	atHTTP2Doors(t, Config{PingInterval: -1, WriteTimeout: time.Hour}, func(t *testing.T, peer *rawPeer, s *http2Stream, terminal func() error) {
		s.peer.manual = true
		lower := binary.BigEndian.AppendUint32([]byte{0, http2InitialWindow}, 100)
		message := strings.Repeat("x", 70_000)
		require.NoError(t, peer.send(0x81, message)) // beyond the window of 65,535
		synctest.Wait()
		s.peer.send(http2Frame{typ: http2Settings, payload: lower}) // the window is negative now
		require.NoError(t, peer.send(0x81, "second"))
		for range 10 {
			s.enlarge(1)
		}
		s.enlarge(70_000)
		f, err := peer.read()
		require.NoError(t, err)
		require.True(t, f.payload == message)
		f, err = peer.read()
		require.NoError(t, err)
		require.Equal(t, rawFrame{0x81, "second"}, f)
		// The window is closed for ever.
		for range 4 {
			require.NoError(t, peer.send(0x81, message))
		}
		err = terminal()
		require.ErrorIs(t, err, CloseAbnormal)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// TestHTTP2GoAway goes on with streams that are open when the client says that it
// wants no more from the server.
func TestHTTP2GoAway(t *testing.T) {
	covers(t, "Q.K01")
	atHTTP2Doors(t, silent, func(t *testing.T, peer *rawPeer, s *http2Stream, terminal func() error) {
		s.peer.send(http2Frame{typ: http2GoAway, payload: make([]byte, 8)})
		require.NoError(t, peer.send(0x81, "still here"))
		f, err := peer.read()
		require.NoError(t, err)
		require.Equal(t, rawFrame{0x81, "still here"}, f)
		require.NoError(t, peer.send(0x88, rawClose(1000, "bye")))
		payload, _, err := peer.readClose()
		require.NoError(t, err)
		require.Equal(t, rawClose(1000, "bye"), payload)
		require.NoError(t, peer.readEnd())
		require.ErrorIs(t, terminal(), CloseNormal)
	})
}

// TestHTTP2ManyStreams opens more streams than the server allows, of which one is
// stuck: those beyond are refused, and the others go on.
func TestHTTP2ManyStreams(t *testing.T) {
	covers(t, "H16", "Q.K03")
	const allowed, asked = 250, 1000
	s := http2Server(HandlerFunc(&AcceptOptions{Config: silent}, func(c *Conn) error {
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return err
			}
			for range 1 + 9*(len(m.Data)/1000) {
				if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	inHTTP2Bubble(t, s, func(t *testing.T, p *http2Peer) {
		limit, err := p.setting(http2MaxConcurrentStreams)
		require.NoError(t, err)
		require.EqualValues(t, allowed, limit)
		p.manual = true
		var open []*http2Stream
		refused := 0
		for range asked {
			s := p.open(0, connectFields()...)
			switch status, err := s.awaitStatus(); {
			case errors.Is(err, errStreamReset):
				require.Contains(t, []uint32{1, 7}, s.resetCode) // PROTOCOL_ERROR, as the client knew the limit, or REFUSED_STREAM
				refused++
			default:
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status)
				open = append(open, s)
			}
		}
		require.Len(t, open, allowed)
		require.Equal(t, asked-allowed, refused)
		stuck := newRawPeer(open[0], server)
		p.manual = false
		for range 10 { // more than the window of the stream, and less than that of the connection
			require.NoError(t, stuck.send(0x82, strings.Repeat("x", 7000)))
		}
		p.send(http2Frame{http2WindowUpdate, 0, 0, []byte{0x00, 0xff, 0, 0}})
		synctest.Wait()
		p.mu.Lock()
		require.Len(t, open[0].received, 65535, "it is stuck")
		p.mu.Unlock()
		for _, s := range open[1:] {
			peer := newRawPeer(s, server)
			require.NoError(t, peer.send(0x81, "hello"))
			f, err := peer.read()
			require.NoError(t, err)
			require.Equal(t, rawFrame{0x81, "hello"}, f)
		}
	})
}

// TestHTTP2RapidReset opens and resets many streams at each door: all handlers
// return, and another WebSocket works.
func TestHTTP2RapidReset(t *testing.T) {
	covers(t, "Q.K05")
	for _, door := range http2Doors {
		t.Run(door.name, func(t *testing.T) {
			var handlers atomic.Int32
			s := http2Server(countRunning(door.serve(&AcceptOptions{Config: silent}, echoForever), &handlers))
			inHTTP2Bubble(t, s, func(t *testing.T, p *http2Peer) {
				_, err := p.setting(http2EnableConnectProtocol)
				require.NoError(t, err)
				for range 20 {
					for range 50 {
						p.open(0, connectFields()...).cancel()
					}
					synctest.Wait()
				}
				time.Sleep(time.Second)
				require.Zero(t, handlers.Load())
				stream, err := p.connect()
				require.NoError(t, err)
				peer := newRawPeer(stream, server)
				require.NoError(t, peer.send(0x81, "hello"))
				_, err = peer.read()
				require.NoError(t, err)
			})
		})
	}
}

// TestHTTP2Timeouts has a server whose timeouts for requests are short: they do not
// end WebSockets.
func TestHTTP2Timeouts(t *testing.T) {
	covers(t, "H22")
	for _, door := range http2Doors {
		t.Run(door.name, func(t *testing.T) {
			s := http2Server(door.serve(&AcceptOptions{Config: silent}, echoForever))
			s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = time.Second, time.Second, time.Second
			inHTTP2Bubble(t, s, func(t *testing.T, p *http2Peer) {
				stream, err := p.connect()
				require.NoError(t, err)
				time.Sleep(time.Minute)
				peer := newRawPeer(stream, server)
				require.NoError(t, peer.send(0x81, "hello"))
				f, err := peer.read()
				require.NoError(t, err)
				require.Equal(t, rawFrame{0x81, "hello"}, f)
			})
		})
	}
}

// TestHTTP2Keepalive ends a connection whose peer answers no Ping, and with it the
// stream.
func TestHTTP2Keepalive(t *testing.T) {
	cfg := Config{PingInterval: time.Second, PongTimeout: time.Second}
	atHTTP2Doors(t, cfg, func(t *testing.T, _ *rawPeer, s *http2Stream, terminal func() error) {
		require.ErrorIs(t, terminal(), ErrPongTimeout)
		_, err := io.ReadAll(s)
		require.NoError(t, err)
	})
}

// TestHTTP2Shutdown stops a server with a Registry: the peer is told 1001, the
// stream ends, and so does Shutdown of the server, which waits for streams.
func TestHTTP2Shutdown(t *testing.T) {
	for _, door := range http2Doors {
		t.Run(door.name, func(t *testing.T) {
			registry := new(Registry)
			s := http2Server(door.serve(&AcceptOptions{Config: silent, Registry: registry}, echoForever))
			registry.Attach(s)
			inHTTP2Bubble(t, s, func(t *testing.T, p *http2Peer) {
				stream, err := p.connect()
				require.NoError(t, err)
				synctest.Wait()
				require.Equal(t, 1, registry.Len())
				stopped := make(chan error, 1)
				go func() { stopped <- s.Shutdown(context.Background()) }()
				peer := newRawPeer(stream, server)
				payload, _, err := peer.readClose()
				require.NoError(t, err)
				require.Equal(t, rawClose(1001, ""), payload[:2])
				require.NoError(t, peer.send(0x88, payload))
				require.NoError(t, peer.readEnd())
				stream.Close()
				require.NoError(t, <-stopped)
				require.NoError(t, registry.Shutdown(context.Background(), CloseGoingAway, ""))
			})
		})
	}
}

// TestHTTP2CloseNow closes while a write waits for the peer, at each door: calls
// return, and the handler may return soon after, though the write cannot finish.
func TestHTTP2CloseNow(t *testing.T) {
	covers(t, "Q.F10")
	for _, door := range http2Doors {
		synctest.Test(t, func(t *testing.T) {
			var wrote error
			var took time.Duration
			served := make(chan struct{})
			h := door.serve(&AcceptOptions{Config: silent}, func(c *Conn) {
				defer close(served)
				done := make(chan struct{})
				go func() {
					defer close(done)
					wrote = c.Write(context.Background(), Binary, make([]byte, 200_000))
				}()
				synctest.Wait()
				began := time.Now()
				c.CloseNow()
				took = time.Since(began)
				<-done
			})
			p := serveInMemory(t, http2Server(h))
			p.manual = true
			s, err := p.connect()
			require.NoError(t, err)
			<-served
			require.ErrorIs(t, wrote, net.ErrClosed, door.name)
			require.LessOrEqual(t, took, 2*maxLeaving, door.name)
			time.Sleep(time.Minute)
			_, err = io.Copy(io.Discard, s)
			require.ErrorIs(t, err, errStreamReset, "%s: what was in flight is given up", door.name)
		})
	}
}

// TestHTTP2Interruptions interrupts reads and writes on a stream: the connection
// lives on, and nothing is lost.
func TestHTTP2Interruptions(t *testing.T) {
	covers(t, "V03")
	for _, door := range http2Doors {
		synctest.Test(t, func(t *testing.T) {
			payload := string(noise(200_000, 1))
			results := make(chan error, 10)
			h := door.serve(&AcceptOptions{Config: silent}, func(c *Conn) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, _, err := c.Read(ctx)
				results <- err
				c.SetReadDeadline(time.Now().Add(time.Second))
				_, _, err = c.Read(context.Background())
				results <- err
				c.SetReadDeadline(time.Time{})
				late, cancelWrite := context.WithTimeout(context.Background(), time.Second)
				defer cancelWrite()
				results <- c.Write(late, Binary, []byte(payload))
				_, p, err := c.Read(context.Background())
				results <- err
				results <- c.Write(context.Background(), Text, p)
				results <- c.Close(CloseNormal, "")
			})
			p := serveInMemory(t, http2Server(h))
			p.manual = true
			s, err := p.connect()
			require.NoError(t, err)
			require.ErrorIs(t, <-results, context.DeadlineExceeded, door.name)
			require.ErrorIs(t, <-results, os.ErrDeadlineExceeded, door.name)
			require.ErrorIs(t, <-results, context.DeadlineExceeded, door.name)
			p.manual = false
			s.enlarge(300_000)
			peer := newRawPeer(s, server)
			f, err := peer.read()
			require.NoError(t, err)
			require.True(t, f.payload == payload)
			require.NoError(t, peer.send(0x81, "after"))
			require.NoError(t, <-results)
			f, err = peer.read()
			require.NoError(t, err)
			require.Equal(t, rawFrame{0x81, "after"}, f)
			require.NoError(t, <-results)
			code, _, err := peer.readClose()
			require.NoError(t, err)
			require.NoError(t, peer.send(0x88, code))
			require.NoError(t, <-results)
		})
	}
}

// TestOneHandlerServesBothVersions has one handler take WebSockets over HTTP/1.1 and
// HTTP/2.
func TestOneHandlerServesBothVersions(t *testing.T) {
	covers(t, "H21")
	for _, door := range http2Doors {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := http2Server(door.serve(nil, echoForever))
		s.Protocols.SetHTTP1(true)
		go s.Serve(l)
		defer s.Close()
		c, _, err := Dial(t.Context(), "ws://"+l.Addr().String(), nil)
		require.NoError(t, err)
		defer c.CloseNow()
		mustEcho(t, c)
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer nc.Close()
		stream, err := newHTTP2Peer(nc).connect()
		require.NoError(t, err)
		peer := newRawPeer(stream, server)
		require.NoError(t, peer.send(0x81, "hello"))
		f, err := peer.read()
		require.NoError(t, err)
		require.Equal(t, rawFrame{0x81, "hello"}, f)
	}
}

// TestReverseProxyRefusesExtendedConnect is about programs in which others than this
// package are to take WebSockets: net/http's proxy refuses them over HTTP/2.
func TestReverseProxyRefusesExtendedConnect(t *testing.T) {
	backend := httptest.NewServer(HandlerFunc(nil, echo))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	p := serveHTTP2(t, proxy)
	_, err = p.setting(http2EnableConnectProtocol)
	require.NoError(t, err)
	status, err := p.open(0, connectFields()...).awaitStatus()
	require.NoError(t, err)
	require.GreaterOrEqual(t, status, 400)
}

// TestHTTP2HandlerReturns has an application's handler return while its connection
// is used: that ends with an error, and not with a panic.
func TestHTTP2HandlerReturns(t *testing.T) {
	inHTTP2Bubble(t, http2Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, &AcceptOptions{Config: silent})
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			time.Sleep(time.Second)
			if err := c.Write(context.Background(), Text, []byte("too late")); err == nil {
				t.Error("a write succeeded after the handler has returned")
			}
			c.CloseNow()
		}()
	})), func(t *testing.T, p *http2Peer) {
		s, err := p.connect()
		require.NoError(t, err)
		_, err = io.ReadAll(s)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
	})
}

// TestHTTP2ShutdownIsCutShort drops connections whose peers take nothing: Shutdown
// does not wait for each of them, and their handlers return soon.
func TestHTTP2ShutdownIsCutShort(t *testing.T) {
	registry := new(Registry)
	var handlers atomic.Int32
	h := http2Doors[0].serve(&AcceptOptions{Config: silent, Registry: registry}, func(c *Conn) {
		c.Write(context.Background(), Binary, make([]byte, 200_000))
	})
	inHTTP2Bubble(t, http2Server(countRunning(h, &handlers)), func(t *testing.T, p *http2Peer) {
		p.manual = true
		const n = 100
		for range n {
			_, err := p.connect()
			require.NoError(t, err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		err := registry.Shutdown(ctx, CloseGoingAway, "")
		require.ErrorContains(t, err, fmt.Sprint(n))
		require.Equal(t, time.Second, time.Since(began), "it waits for none")
		time.Sleep(time.Second)
		require.Zero(t, handlers.Load())
	})
}
