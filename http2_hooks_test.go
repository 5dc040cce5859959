package websocket

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// endsOfStreams are ways in which a stream that the application's handler serves
// ends.
var endsOfStreams = map[string]func(c *Conn, s *http2Stream){
	"CloseNow":               func(c *Conn, _ *http2Stream) { c.CloseNow() },
	"Close":                  func(c *Conn, s *http2Stream) { s.Write(maskedClose); c.Close(CloseNormal, "") },
	"the peer's Close frame": func(_ *Conn, s *http2Stream) { s.Write(maskedClose) },
	"a violation":            func(_ *Conn, s *http2Stream) { s.Write([]byte{0x83, 0x80, 0, 0, 0, 0}) },
	"a reset":                func(_ *Conn, s *http2Stream) { s.cancel() },
	"the end of the stream":  func(_ *Conn, s *http2Stream) { s.CloseWrite() },
}

// maskedClose is a Close frame without a code.
var maskedClose = []byte{0x88, 0x80, 0, 0, 0, 0}

// TestCloseNowInHooksOverHTTP2 calls CloseNow where the end is told, on a stream
// whose handler is the application's and returns: nobody waits for the other. The
// closing handshake has so much time that it does not help.
func TestCloseNowInHooksOverHTTP2(t *testing.T) {
	for name, end := range endsOfStreams {
		t.Run("Trace.Closed/"+name, func(t *testing.T) {
			opts := &AcceptOptions{Config: Config{CloseTimeout: time.Hour, Trace: &Trace{Closed: func(c *Conn, _ *CloseError) { c.CloseNow() }}}}
			endHosted(t, opts, func(c *Conn) { c.Read(c.Context()) }, end)
		})
		t.Run("Receiver.Closed/"+name, func(t *testing.T) {
			opts := &AcceptOptions{Config: Config{CloseTimeout: time.Hour}}
			endHosted(t, opts, func(c *Conn) {
				to := closingReceiver{make(chan struct{})}
				if c.Deliver(to) == nil { // it has not ended yet
					<-to.closed
				}
			}, end)
		})
	}
}

// A closingReceiver calls CloseNow when it is told of the end.
type closingReceiver struct{ closed chan struct{} }

func (closingReceiver) Opened(*Conn) error           { return nil }
func (closingReceiver) Receive(*Conn, Message) error { return nil }
func (r closingReceiver) Closed(c *Conn, _ *CloseError) {
	c.CloseNow()
	close(r.closed)
}

// endHosted ends a connection of Accept over HTTP/2, and waits until its handler,
// which calls serve and then CloseNow, has returned.
func endHosted(t *testing.T, opts *AcceptOptions, serve func(c *Conn), end func(c *Conn, s *http2Stream)) {
	returned := make(chan struct{})
	accepted := make(chan *Conn, 1)
	p := serveHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		c, err := Accept(w, r, opts)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		accepted <- c
		serve(c)
	}))
	s, err := p.connect()
	require.NoError(t, err)
	end(<-accepted, s)
	<-returned
}
