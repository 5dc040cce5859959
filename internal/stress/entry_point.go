package stress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// An entryPoint says which functions open a connection, at the server and at the
// client.
type entryPoint struct {
	viaServer   bool // Accept, in a server of net/http; else AcceptConn
	viaReceiver bool // ReceiverHandler instead of Accept
	viaHandler  bool // Handler instead of Accept
	viaDial     bool // Dial, with NetDial; else DialConn
	viaNewConn  bool // NewConn instead of DialConn, on a stream of HTTP/2
}

func (d entryPoint) String() string {
	accept, dial := "AcceptConn", "DialConn"
	if d.viaServer {
		accept = "Accept"
	}
	if d.viaReceiver {
		accept = "ReceiverHandler"
	}
	if d.viaHandler {
		accept = "Handler"
	}
	if d.viaDial {
		dial = "Dial"
	}
	if d.viaNewConn {
		dial = "NewConn"
	}
	return dial + " to " + accept
}

// open performs the opening handshake over j. If it is by ReceiverHandler, the
// server is late's.
func (d entryPoint) open(j *joint, tr *transport, cc, sc websocket.Config, late *lateReceiver) (client, server *websocket.Conn, err error) {
	if tr.http2 {
		return d.openStream(j, tr, cc, sc, late)
	}
	var serverErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc := j.server
		if tr.tls {
			_, cfg := tlsConfigs()
			nc = tls.Server(nc, cfg)
		}
		server, serverErr = d.accept(nc, &websocket.AcceptOptions{Config: sc}, late)
		if serverErr != nil {
			j.close()
		}
	}()
	client, err = d.dial(j.client, tr, &websocket.DialOptions{Config: cc})
	if err != nil {
		j.close()
	}
	<-done
	return client, server, errors.Join(err, serverErr)
}

// dial performs the client's part.
func (d entryPoint) dial(nc net.Conn, tr *transport, opts *websocket.DialOptions) (c *websocket.Conn, err error) {
	target := "ws://" + host + "/"
	if tr.tls {
		target = "wss://" + host + "/"
		opts.TLS, _ = tlsConfigs()
	}
	if !d.viaDial {
		c, _, err = websocket.DialConn(context.Background(), nc, target, opts)
		return c, err
	}
	opts.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	opts.NetDial = func(context.Context, string, string) (net.Conn, error) { return nc, nil }
	c, _, err = websocket.Dial(context.Background(), target, opts)
	return c, err
}

// accept performs the server's part.
func (d entryPoint) accept(nc net.Conn, opts *websocket.AcceptOptions, late *lateReceiver) (*websocket.Conn, error) {
	if !d.viaServer {
		c, _, err := websocket.AcceptConn(context.Background(), nc, opts)
		return c, err
	}
	o := newOpening()
	srv := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler:  d.handler(o, opts, late),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				o.failed <- errors.New("the server closed the connection")
			}
		},
	}
	l := &onceListener{nc: nc, closed: make(chan struct{})}
	go srv.Serve(l)
	defer srv.Close()
	return o.wait()
}

// An opening is what becomes of a handler's connection.
type opening struct {
	accepted chan *websocket.Conn
	failed   chan error
}

func newOpening() *opening {
	return &opening{make(chan *websocket.Conn, 1), make(chan error, 4)}
}

// wait returns the connection, or why there is none.
func (o *opening) wait() (*websocket.Conn, error) {
	select {
	case c := <-o.accepted:
		return c, nil
	case err := <-o.failed:
		return nil, err
	}
}

// handler returns the server's handler, for one request.
func (d entryPoint) handler(o *opening, opts *websocket.AcceptOptions, late *lateReceiver) http.Handler {
	switch {
	case d.viaReceiver:
		late.accepted = o.accepted
		return websocket.ReceiverHandler(opts, func(*http.Request) (websocket.Receiver, error) { return late, nil })
	case d.viaHandler:
		return websocket.HandlerFunc(opts, func(c *websocket.Conn) error {
			o.accepted <- c
			<-c.Context().Done()
			return nil
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, opts)
		if err != nil {
			o.failed <- err
			return
		}
		o.accepted <- c
		if r.ProtoMajor == 2 { // the stream ends with its handler
			<-c.Context().Done()
			c.CloseNow()
		}
	})
}

// A lateReceiver is a Receiver that tells another what it is told, as soon as
// there is one.
type lateReceiver struct {
	websocket.Receiver
	accepted chan<- *websocket.Conn
	ready    chan struct{} // closed once Receiver is set
}

// Opened waits for the other Receiver.
func (l *lateReceiver) Opened(c *websocket.Conn) error {
	l.accepted <- c
	<-l.ready
	return l.Receiver.Opened(c)
}

// become makes r the other Receiver.
func (l *lateReceiver) become(r websocket.Receiver) {
	l.Receiver = r
	close(l.ready)
}

// A onceListener accepts one existing connection.
type onceListener struct {
	mu     sync.Mutex
	nc     net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept returns the connection. Later calls wait for Close.
func (l *onceListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	nc := l.nc
	l.nc = nil
	l.mu.Unlock()
	if nc != nil {
		return nc, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

// Close ends a waiting call of Accept.
func (l *onceListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns a made-up address.
func (l *onceListener) Addr() net.Addr { return &net.UnixAddr{Name: host, Net: "unix"} }
