package peer

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// gobwas is github.com/gobwas/ws at its lowest level: headers read through a
// small buffer, the payload into memory that the connection keeps, header and
// payload in one write. A lean connection reads directly from the socket and
// keeps nothing.
type gobwas struct{}

// gobwasConn is a connection and the memory it keeps. All of it belongs to
// the goroutine that reads.
type gobwasConn struct {
	nc       net.Conn
	br       io.Reader // nc, through a bufio.Reader unless lean
	client   bool
	lean     bool
	compress bool
	first    ws.Header   // of the message being read
	payload  []byte      // of that message
	out      appender    // a small message being written
	vec      net.Buffers // a large message being written
	inflated bytes.Buffer
	deflated bytes.Buffer
	header   [ws.MaxHeaderSize]byte
}

// gobwasCopies is the length up to which appending the payload to its header
// costs less than a write of two parts.
const gobwasCopies = 16 << 10

// errGobwasClosed ends a connection after a Close frame was answered.
var errGobwasClosed = errors.New("peer: close frame received")

func (gobwas) Name() string { return "gobwas" }

func (gobwas) Handler(o Options, b Behaviour) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u ws.HTTPUpgrader
		var ext wsflate.Extension
		if o.Compress {
			ext.Parameters = gobwasParameters
			u.Negotiate = ext.Negotiate
		}
		nc, _, _, err := u.Upgrade(r, w)
		if err != nil {
			return
		}
		_, compress := ext.Accepted()
		c := &gobwasConn{nc: nc, lean: o.Lean, compress: compress}
		go c.serve(nil, b)
	})
}

// gobwasParameters are those of compression without context takeover.
var gobwasParameters = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}

func (gobwas) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	return func(nc net.Conn) error {
		if _, err := ws.Upgrade(nc); err != nil {
			nc.Close()
			return err
		}
		c := &gobwasConn{nc: nc, lean: o.Lean}
		return c.serve(nil, b)
	}
}

func (gobwas) Dial(addr string, o Options, b Behaviour) error {
	d := ws.Dialer{TLSConfig: o.TLS}
	nc, br, _, err := d.Dial(context.Background(), o.url(addr))
	if err != nil {
		return err
	}
	c := &gobwasConn{nc: nc, client: true}
	return c.serve(br, b)
}

// serve passes every message to b. br holds bytes that arrived with the
// handshake, or is nil.
func (c *gobwasConn) serve(br *bufio.Reader, b Behaviour) error {
	defer c.nc.Close()
	switch {
	case br != nil:
		c.br = br
	case c.lean:
		c.br = c.nc
	default:
		c.br = bufio.NewReader(c.nc)
	}
	b.opened(c)
	for {
		if err := c.next(b); err != nil {
			return err
		}
	}
}

// next reads one frame, and answers it if it ends a message.
func (c *gobwasConn) next(b Behaviour) error {
	h, err := ws.ReadHeaderBuffer(c.br, c.header[:])
	if err != nil {
		return err
	}
	if h.OpCode.IsControl() {
		return c.control(h)
	}
	start := 0
	if h.OpCode == ws.OpContinuation {
		start = len(c.payload)
	} else {
		c.first = h
	}
	c.payload = slices.Grow(c.payload[:start], int(h.Length))[:start+int(h.Length)]
	if err := c.readPayload(h, c.payload[start:]); err != nil || !h.Fin {
		return err
	}
	err = c.hand(c.first, b)
	if c.lean {
		c.payload, c.out = nil, nil
	}
	return err
}

// readPayload reads and unmasks the payload of a frame.
func (c *gobwasConn) readPayload(h ws.Header, p []byte) error {
	if _, err := io.ReadFull(c.br, p); err != nil {
		return err
	}
	if h.Masked {
		ws.Cipher(p, h.Mask, 0)
	}
	return nil
}

// control answers a control frame.
func (c *gobwasConn) control(h ws.Header) error {
	p := make([]byte, h.Length)
	if err := c.readPayload(h, p); err != nil {
		return err
	}
	switch h.OpCode {
	case ws.OpClose:
		return errors.Join(errGobwasClosed, c.write(ws.OpClose, 0, p))
	case ws.OpPing:
		return c.write(ws.OpPong, 0, p)
	default:
		return nil
	}
}

// hand passes the message, inflated if it was compressed, to b.
func (c *gobwasConn) hand(h ws.Header, b Behaviour) error {
	if !h.Rsv1() {
		return b.Message(c, byte(h.OpCode), c.payload)
	}
	r := gobwasReaders.Get().(*wsflate.Reader)
	defer gobwasReaders.Put(r)
	r.Reset(bytes.NewReader(c.payload))
	c.inflated.Reset()
	if _, err := c.inflated.ReadFrom(r); err != nil {
		return err
	}
	return b.Message(c, byte(h.OpCode), c.inflated.Bytes())
}

// gobwasReaders and gobwasWriters hold inflaters and deflaters, each for one
// message at a time.
var (
	gobwasReaders = sync.Pool{New: func() any {
		return wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor { return flate.NewReader(r) })
	}}
	gobwasWriters = sync.Pool{New: func() any {
		return wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
			// The level is valid, so there is no error.
			f, _ := flate.NewWriter(w, flate.BestSpeed)
			return f
		})
	}}
)

// deflate appends the compressed data to out.
func deflate(out *bytes.Buffer, data []byte) error {
	w := gobwasWriters.Get().(*wsflate.Writer)
	defer gobwasWriters.Put(w)
	w.Reset(out)
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Close()
}

func (c *gobwasConn) Write(t byte, data []byte) error {
	if !c.compress {
		return c.write(ws.OpCode(t), 0, data)
	}
	c.deflated.Reset()
	if err := deflate(&c.deflated, data); err != nil {
		return err
	}
	return c.write(ws.OpCode(t), gobwasCompressed, c.deflated.Bytes())
}

// gobwasCompressed is RSV1 of a compressed message.
var gobwasCompressed = ws.Rsv(true, false, false)

// write sends one frame, masked in place for a client.
func (c *gobwasConn) write(op ws.OpCode, rsv byte, data []byte) error {
	h := ws.Header{Fin: true, Rsv: rsv, OpCode: op, Length: int64(len(data))}
	if c.client {
		h.Masked, h.Mask = true, ws.NewMask()
		ws.Cipher(data, h.Mask, 0)
	}
	c.out = c.out[:0]
	if err := ws.WriteHeaderBuffer(&c.out, h, c.header[:]); err != nil {
		return err
	}
	if _, plain := c.nc.(*net.TCPConn); !plain || len(data) <= gobwasCopies {
		c.out = append(c.out, data...)
		_, err := c.nc.Write(c.out)
		return err
	}
	c.vec = append(c.vec[:0], c.out, data)
	vec := c.vec
	_, err := c.vec.WriteTo(c.nc)
	c.vec = vec
	return err
}

// appender is the io.Writer through which the library hands over a header.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// gobwasGroup compiles one frame and writes it to each connection in turn.
type gobwasGroup struct {
	mu    sync.Mutex
	conns []*gobwasConn
}

func (gobwas) NewGroup() Group { return new(gobwasGroup) }

func (g *gobwasGroup) Add(c Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c.(*gobwasConn))
}

func (g *gobwasGroup) Send(t byte, data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := ws.NewFrame(ws.OpCode(t), true, data)
	if len(g.conns) > 0 && g.conns[0].compress {
		var out bytes.Buffer
		if err := deflate(&out, data); err != nil {
			return err
		}
		f = ws.NewFrame(ws.OpCode(t), true, out.Bytes())
		f.Header.Rsv = gobwasCompressed
	}
	frame, err := ws.CompileFrame(f)
	if err != nil {
		return err
	}
	for _, c := range g.conns {
		if _, err := c.nc.Write(frame); err != nil {
			return err
		}
	}
	return nil
}
