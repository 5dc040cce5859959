package dial

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"

	"github.com/fullduplex-go/websocket/internal/http2stream"
)

// A handshake opens a WebSocket (RFC 8441, Section 5).
type handshake struct {
	request *http.Request // of HTTP/1.1
	cancel  context.CancelFunc
	pipe    *io.PipeWriter // to the body of the request that was sent last
	conn    net.Conn       // on which that was sent
}

// roundTrip sends the extended CONNECT and returns the response to the request of
// HTTP/1.1. The context of that ends the handshake, but not the stream later.
func (h *handshake) roundTrip(next http.RoundTripper) (*http.Response, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(h.request.Context()))
	h.cancel = cancel
	part := context.AfterFunc(h.request.Context(), cancel)
	response, err := next.RoundTrip(h.connect(life))
	if err != nil {
		cancel()
		return nil, h.errorOf(err)
	}
	// What made it succeed or fail is told by the rules of HTTP/1.1.
	response.Proto, response.ProtoMajor, response.ProtoMinor = "HTTP/1.1", 1, 1
	response.Request = h.request
	if response.StatusCode/100 != 2 {
		return response, nil
	}
	if !part() {
		cancel()
		response.Body.Close()
		return nil, context.Cause(h.request.Context())
	}
	h.accept(response)
	return response, nil
}

// connect returns the extended CONNECT, whose stream lives as long as life.
func (h *handshake) connect(life context.Context) *http.Request {
	life = httptrace.WithClientTrace(life, &httptrace.ClientTrace{
		GotConn:        func(got httptrace.GotConnInfo) { h.conn = got.Conn },
		Got1xxResponse: checkInterim,
	})
	r := h.request.Clone(life)
	r.Method = http.MethodConnect
	for _, name := range []string{"Connection", "Upgrade", keyField} {
		r.Header.Del(name)
	}
	r.Header[":protocol"] = []string{"websocket"}
	r.ContentLength = -1
	r.GetBody = h.newBody // for a request that the server has not processed
	r.Body, _ = h.newBody()
	return r
}

// checkInterim refuses the status 101, which does not exist in HTTP/2 (RFC 9113,
// Section 8.6).
func checkInterim(status int, _ textproto.MIMEHeader) error {
	if status == http.StatusSwitchingProtocols {
		return errors.New("status 101 over HTTP/2")
	}
	return nil
}

// newBody returns what is read from pipe.
func (h *handshake) newBody() (body io.ReadCloser, err error) {
	body, h.pipe = io.Pipe()
	return body, nil
}

// errorOf returns the error for a handshake without response, because of err.
func (h *handshake) errorOf(err error) error {
	if ended := context.Cause(h.request.Context()); ended != nil {
		return ended
	}
	if strings.Contains(err.Error(), "extended connect not supported") {
		return ErrNotOffered
	}
	return err
}

// accept makes a response that has opened the stream the 101 of HTTP/1.1.
func (h *handshake) accept(r *http.Response) {
	r.StatusCode, r.Status = http.StatusSwitchingProtocols, "101 Switching Protocols"
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Sec-Websocket-Accept", acceptKey(h.request.Header.Get(keyField)))
	s := &stream{body: r.Body, pipe: h.pipe, cancel: h.cancel}
	c := &conn{stream: s, Conn: http2stream.New(http2stream.Options{
		Body:   input{s},
		Writer: output{s},
		Linger: linger,
		Local:  h.conn.LocalAddr(),
		Remote: h.conn.RemoteAddr(),
	})}
	go c.Receive()
	r.Body = c
}

// keyField has what a server of HTTP/1.1 proves with that it understood the
// handshake. HTTP/2 has ":protocol" for that (RFC 8441, Section 5).
const keyField = "Sec-Websocket-Key"

// acceptKey returns the proof for key (RFC 6455, Section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
