// Command gobwas is the peer of gobwas/ws. Its compression has no context takeover.
package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/fullduplex-go/websocket/internal/interop/peers/peer"
)

// parameters are those of compression.
var parameters = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}

type conn struct {
	net.Conn
	r       io.Reader
	client  bool
	deflate bool
	pong    string
}

// Read reads frames until a message is complete, and answers control frames.
func (c *conn) Read() (m peer.Message, err error) {
	var compressed bool
	for {
		f, err := c.readFrame()
		if err != nil {
			return m, err
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			err = c.write(ws.NewPongFrame(f.Payload))
		case ws.OpPong:
			c.pong = string(f.Payload)
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			c.write(f)
			c.Conn.Close()
			return m, peer.Closed{Code: int(code), Reason: reason}
		case ws.OpText, ws.OpBinary:
			m.Text, compressed = f.Header.OpCode == ws.OpText, f.Header.Rsv1()
			m.Content = f.Payload
		default:
			m.Content = append(m.Content, f.Payload...)
		}
		if err != nil {
			return m, err
		}
		if f.Header.OpCode.IsControl() || !f.Header.Fin {
			continue
		}
		if compressed {
			m.Content, err = wsflate.DefaultHelper.Decompress(m.Content)
		}
		return m, err
	}
}

// readFrame returns the next frame, unmasked.
func (c *conn) readFrame() (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(c.r); err != nil {
		return f, err
	}
	if f.Header.Length > peer.Limit {
		return f, ws.ErrHeaderLengthUnexpected
	}
	f.Payload = make([]byte, f.Header.Length)
	if _, err = io.ReadFull(c.r, f.Payload); err != nil {
		return f, err
	}
	return ws.UnmaskFrameInPlace(f), nil
}

func (c *conn) Write(m peer.Message, fragments bool) error {
	op := ws.OpBinary
	if m.Text {
		op = ws.OpText
	}
	if !fragments {
		return c.frame(ws.NewFrame(op, true, m.Content))
	}
	compressed := ws.NewFrame(op, true, m.Content)
	if c.deflate {
		var err error
		if compressed, err = wsflate.CompressFrame(compressed); err != nil {
			return err
		}
	}
	for i, part := range (peer.Message{Content: compressed.Payload}).Thirds() {
		f := ws.NewFrame(op, i == 2, part)
		if i == 0 {
			f.Header.Rsv = compressed.Header.Rsv
		} else {
			f.Header.OpCode = ws.OpContinuation
		}
		if err := c.write(f); err != nil {
			return err
		}
	}
	return nil
}

// frame sends a message in one frame.
func (c *conn) frame(f ws.Frame) error {
	if c.deflate {
		var err error
		if f, err = wsflate.CompressFrame(f); err != nil {
			return err
		}
	}
	return c.write(f)
}

func (c *conn) write(f ws.Frame) error {
	if c.client {
		f = ws.MaskFrame(f)
	}
	return ws.WriteFrame(c.Conn, f)
}

func (c *conn) Ping() error { return c.write(ws.NewPingFrame([]byte(peer.Payload))) }

func (c *conn) Pong() string { return c.pong }

func (c *conn) Close(code int, reason string) error {
	return c.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

func serve(w http.ResponseWriter, r *http.Request) {
	var u ws.HTTPUpgrader
	ext := wsflate.Extension{Parameters: parameters}
	if peer.Deflate {
		u.Negotiate = ext.Negotiate
	}
	nc, rw, _, err := u.Upgrade(r, w)
	if err != nil {
		return
	}
	_, deflate := ext.Accepted()
	peer.Use(&conn{Conn: nc, r: rw, deflate: deflate}, r.URL.Path)
}

func connect(url string) (peer.Conn, error) {
	var d ws.Dialer
	if peer.Deflate {
		d.Extensions = append(d.Extensions, parameters.Option())
	}
	nc, br, h, err := d.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReader(nc)
	}
	return &conn{Conn: nc, r: br, client: true, deflate: len(h.Extensions) > 0}, nil
}

func main() { peer.Main(http.HandlerFunc(serve), connect) }
