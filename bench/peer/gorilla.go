package peer

import (
	"compress/flate"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// gorilla is github.com/gorilla/websocket: NextReader into a reused buffer,
// WriteMessage, and PreparedMessage for groups. The settings for many
// connections come from its chat example.
type gorilla struct{}

// gorillaConn is a connection with the buffer that its messages are read into.
type gorillaConn struct {
	*websocket.Conn
	buf []byte
}

func (c *gorillaConn) Write(t byte, data []byte) error { return c.WriteMessage(int(t), data) }

func (gorilla) Name() string { return "gorilla" }

func (gorilla) Handler(o Options, b Behaviour) http.Handler {
	u := &websocket.Upgrader{EnableCompression: o.Compress}
	if o.Lean {
		u.ReadBufferSize, u.WriteBufferSize = 1024, 1024
		u.WriteBufferPool = new(sync.Pool)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		go serveGorilla(c, b)
	})
}

func (gorilla) ConnServer(Options, Behaviour) func(net.Conn) error { return nil }

func (gorilla) Dial(addr string, o Options, b Behaviour) error {
	d := websocket.Dialer{TLSClientConfig: o.TLS, EnableCompression: o.Compress}
	c, _, err := d.Dial(o.url(addr), nil)
	if err != nil {
		return err
	}
	return serveGorilla(c, b)
}

// serveGorilla hands every message of wc to b.
func serveGorilla(wc *websocket.Conn, b Behaviour) error {
	defer wc.Close()
	wc.SetReadLimit(readLimit)
	if err := wc.SetCompressionLevel(flate.BestSpeed); err != nil {
		return err
	}
	c := &gorillaConn{Conn: wc}
	b.opened(c)
	for {
		t, r, err := wc.NextReader()
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

// gorillaGroup writes one PreparedMessage to each connection in turn.
type gorillaGroup struct {
	mu    sync.Mutex
	conns []*gorillaConn
}

func (gorilla) NewGroup() Group { return new(gorillaGroup) }

func (g *gorillaGroup) Add(c Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c.(*gorillaConn))
}

func (g *gorillaGroup) Send(t byte, data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, err := websocket.NewPreparedMessage(int(t), data)
	if err != nil {
		return err
	}
	for _, c := range g.conns {
		if err := c.WritePreparedMessage(m); err != nil {
			return err
		}
	}
	return nil
}
