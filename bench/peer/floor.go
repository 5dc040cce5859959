package peer

import (
	"net"
	"net/http"
	"sync"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// floor is a TCP server: after the opening handshake each read is one message,
// passed on as received, including headers and still masked. What it writes must
// be frames already. Over HTTP/2 it is a handler that does so with its stream.
type floor struct{}

// The sizes of the one buffer of a connection. The larger holds 16 messages
// of nearly 16 KiB; a connection starts with the smaller, and a lean one keeps it.
const (
	floorBuffer     = 256 << 10
	floorLeanBuffer = 64
)

// floorConn is a TCP connection that writes ready-made frames.
type floorConn struct{ net.Conn }

func (c floorConn) Write(_ byte, frame []byte) error {
	_, err := c.Conn.Write(frame)
	return err
}

func (floor) Name() string { return "floor" }

func (f floor) Handler(o Options, b Behaviour) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			serveStream(w, r)
			return
		}
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := nc.Write(wire.Switching(r.Header.Get("Sec-WebSocket-Key"))); err != nil {
			nc.Close()
			return
		}
		go f.serve(nc, o, b)
	})
}

func (f floor) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	return func(nc net.Conn) error {
		if err := wire.Answer(nc); err != nil {
			nc.Close()
			return err
		}
		return f.serve(nc, o, b)
	}
}

func (floor) Dial(string, Options, Behaviour) error { return ErrNoClient }

// serve hands every read to b.
func (floor) serve(nc net.Conn, o Options, b Behaviour) error {
	defer nc.Close()
	c := floorConn{nc}
	b.opened(c)
	buf := make([]byte, floorLeanBuffer)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return err
		}
		if err := b.Message(c, Binary, buf[:n]); err != nil {
			return err
		}
		if !o.Lean && len(buf) < floorBuffer && n == len(buf) {
			buf = make([]byte, floorBuffer)
		}
	}
}

// serveStream writes back the bytes of each read of a stream of HTTP/2, and makes
// them leave.
func serveStream(w http.ResponseWriter, r *http.Request) {
	control, buf := http.NewResponseController(w), make([]byte, 32<<10)
	for err := control.Flush(); err == nil; err = control.Flush() {
		n, err := r.Body.Read(buf)
		if err != nil {
			return
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
	}
}

// floorGroup writes the same bytes to each connection in turn.
type floorGroup struct {
	mu    sync.Mutex
	conns []floorConn
}

func (floor) NewGroup() Group { return new(floorGroup) }

func (g *floorGroup) Add(c Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c.(floorConn))
}

func (g *floorGroup) Send(t byte, data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	frame := wire.AppendFrame(nil, wire.FIN|t, data, nil)
	for _, c := range g.conns {
		if err := c.Write(t, frame); err != nil {
			return err
		}
	}
	return nil
}
