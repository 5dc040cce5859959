package peer

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"sync"
)

// floor is a TCP server: after the opening handshake each read is one message,
// handed over as it was received, masks and headers included, and what it
// writes must be frames already.
type floor struct{}

// The sizes of the one buffer of a connection. The larger holds 16 messages
// of 1 KiB and more; the smaller is what a lean connection can spare.
const (
	floorBuffer     = 64 << 10
	floorLeanBuffer = 64
)

var errRequestTooLong = errors.New("peer: request is too long")

// floorConn is a TCP connection that writes ready-made frames.
type floorConn struct{ net.Conn }

func (c floorConn) Write(_ byte, frame []byte) error {
	_, err := c.Conn.Write(frame)
	return err
}

func (floor) Name() string { return "floor" }

func (f floor) Handler(o Options, b Behaviour) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		key := r.Header.Get("Sec-WebSocket-Key")
		go f.serve(nc, key, o, b)
	})
}

func (f floor) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	return func(nc net.Conn) error {
		key, err := readKey(nc)
		if err != nil {
			nc.Close()
			return err
		}
		return f.serve(nc, key, o, b)
	}
}

// readKey returns the Sec-WebSocket-Key of a request that fits into 2 KiB.
func readKey(nc net.Conn) (string, error) {
	var request [2048]byte
	for n := 0; n < len(request); {
		m, err := nc.Read(request[n:])
		if err != nil {
			return "", err
		}
		n += m
		if bytes.HasSuffix(request[:n], []byte("\r\n\r\n")) {
			_, after, _ := bytes.Cut(request[:n], []byte("Sec-WebSocket-Key: "))
			key, _, _ := bytes.Cut(after, []byte("\r\n"))
			return string(key), nil
		}
	}
	return "", errRequestTooLong
}

func (floor) Dial(string, Options, Behaviour) error { return ErrNoClient }

// serve answers the handshake and hands every read to b.
func (floor) serve(nc net.Conn, key string, o Options, b Behaviour) error {
	defer nc.Close()
	if _, err := nc.Write(switching(key)); err != nil {
		return err
	}
	c := floorConn{nc}
	b.opened(c)
	size := floorBuffer
	if o.Lean {
		size = floorLeanBuffer
	}
	buf := make([]byte, size)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return err
		}
		if err := b.Message(c, Binary, buf[:n]); err != nil {
			return err
		}
	}
}

// switching returns the response that ends an opening handshake
// (RFC 6455, Section 4.2.2).
func switching(key string) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
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
	frame := appendFrame(nil, t, data)
	for _, c := range g.conns {
		if err := c.Write(t, frame); err != nil {
			return err
		}
	}
	return nil
}

// appendFrame appends a frame of an unmasked message of less than 64 KiB.
func appendFrame(b []byte, t byte, data []byte) []byte {
	if len(data) < 126 {
		b = append(b, 0x80|t, byte(len(data)))
	} else {
		b = append(b, 0x80|t, 126, byte(len(data)>>8), byte(len(data)))
	}
	return append(b, data...)
}
