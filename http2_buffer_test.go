package websocket

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// http2Windows are settings with which a WebSocket that nobody reads leaves most of
// its connection's window to other streams.
var http2Windows = &http.HTTP2Config{
	MaxReceiveBufferPerConnection: 1 << 20,
	MaxReceiveBufferPerStream:     256 << 10,
}

// stuckBesideUpload returns the peer of a server with these settings, where nobody
// reads WebSockets until the function that it returns is called, and which takes
// uploads.
func stuckBesideUpload(t *testing.T, windows *http.HTTP2Config) (peer *http2Peer, read func()) {
	t.Helper()
	reading := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/chat", HandlerFunc(&AcceptOptions{Config: Config{MaxMessageSize: 4 << 20}}, func(c *Conn) error {
		<-reading
		_, _, err := c.Read(c.Context())
		return err
	}))
	mux.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	srv := http2Server(mux)
	srv.HTTP2 = windows
	near, far := tcpNetwork(t, server)
	t.Cleanup(func() { far.Close() })
	go srv.Serve(&oneListener{nc: near})
	return newHTTP2Peer(far), func() { close(reading) }
}

// fill sends what the stream and the connection let it, and returns how much.
func (s *http2Stream) fill() (sent int, err error) {
	for {
		s.peer.mu.Lock()
		n := min(s.window, s.peer.window, http2MaxFrame)
		s.window -= max(n, 0)
		s.peer.window -= max(n, 0)
		s.peer.mu.Unlock()
		if n <= 0 {
			return sent, nil
		}
		if err = s.peer.send(http2Frame{http2Data, 0, s.id, make([]byte, n)}); err != nil {
			return sent, err
		}
		sent += n
	}
}

// upload sends a request with a body of 2 MiB, and returns the status of the
// response.
func (p *http2Peer) upload() (int, error) {
	s := p.open(0, ":method", "POST", ":scheme", "http", ":path", "/upload", ":authority", "server.example.com")
	if _, err := s.Write(make([]byte, 2<<20)); err != nil {
		return 0, err
	}
	if err := s.CloseWrite(); err != nil {
		return 0, err
	}
	return s.awaitStatus()
}

// connectStuck opens a WebSocket on p and sends all of a message that it may, which
// nobody reads.
func (p *http2Peer) connectStuck() error {
	s, err := p.connect()
	if err != nil {
		return err
	}
	if _, err = s.Write([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0}); err != nil { // of 2 MiB
		return err
	}
	_, err = s.fill()
	return err
}

// TestStuckWebSocketBesideUpload lets an upload through beside a WebSocket that
// nobody reads, if a stream has a fraction of the connection's window. By default it
// has all of it, and the upload may send nothing until the WebSocket is read.
func TestStuckWebSocketBesideUpload(t *testing.T) {
	p, read := stuckBesideUpload(t, http2Windows)
	defer read()
	require.NoError(t, p.connectStuck())
	status, err := p.upload()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	p, readDefault := stuckBesideUpload(t, nil)
	_, err = p.setting(http2EnableConnectProtocol)
	require.NoError(t, err)
	require.NoError(t, p.await(func() bool { return p.window == 1<<20 }))
	require.Equal(t, 1<<20, p.initial)
	require.NoError(t, p.connectStuck())
	p.mu.Lock()
	require.Zero(t, p.window)
	p.mu.Unlock()
	readDefault()
	status, err = p.upload()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
}
