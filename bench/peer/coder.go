package peer

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// coder is github.com/coder/websocket: Reader into a reused buffer, and Write.
// It has no prepared messages.
type coder struct{}

// coderConn is a connection with the buffer that its messages are read into.
type coderConn struct {
	*websocket.Conn
	buf []byte
}

func (c *coderConn) Write(t byte, data []byte) error {
	return c.Conn.Write(context.Background(), websocket.MessageType(t), data)
}

func (coder) Name() string { return "coder" }

func (coder) Handler(o Options, b Behaviour) http.Handler {
	opts := &websocket.AcceptOptions{CompressionMode: coderMode(o)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, opts)
		if err != nil {
			return
		}
		go serveCoder(c, b)
	})
}

func (coder) ConnServer(Options, Behaviour) func(net.Conn) error { return nil }

func (coder) Dial(addr string, o Options, b Behaviour) error {
	opts := &websocket.DialOptions{CompressionMode: coderMode(o)}
	if o.TLS != nil {
		opts.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: o.TLS}}
	}
	c, _, err := websocket.Dial(context.Background(), o.url(addr), opts)
	if err != nil {
		return err
	}
	return serveCoder(c, b)
}

// coderMode returns the compression mode for o.
func coderMode(o Options) websocket.CompressionMode {
	if o.Compress {
		return websocket.CompressionNoContextTakeover
	}
	return websocket.CompressionDisabled
}

// serveCoder hands every message of wc to b.
func serveCoder(wc *websocket.Conn, b Behaviour) error {
	defer wc.CloseNow()
	wc.SetReadLimit(readLimit)
	c := &coderConn{Conn: wc}
	b.opened(c)
	for {
		t, r, err := wc.Reader(context.Background())
		if err != nil {
			return err
		}
		if c.buf, err = readAll(r, c.buf, io.EOF); err != nil {
			return err
		}
		if err := b.Message(c, byte(t), c.buf); err != nil {
			return err
		}
	}
}

// coderGroup writes to each connection in turn.
type coderGroup struct {
	mu    sync.Mutex
	conns []*coderConn
}

func (coder) NewGroup() Group { return new(coderGroup) }

func (g *coderGroup) Add(c Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c.(*coderConn))
}

func (g *coderGroup) Send(t byte, data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		if err := c.Write(t, data); err != nil {
			return err
		}
	}
	return nil
}
