//go:build linux

package measure

import (
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// key is the Sec-WebSocket-Key of every handshake, the one of RFC 6455,
// Section 1.3.
const key = "dGhlIHNhbXBsZSBub25jZQ=="

// accept is the answer to key.
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// request is the opening handshake of a browser.
func request(addr netip.AddrPort) []byte {
	return fmt.Appendf(nil, "GET / HTTP/1.1\r\n"+
		"Host: %[1]s\r\n"+
		"Connection: Upgrade\r\n"+
		"Pragma: no-cache\r\n"+
		"Cache-Control: no-cache\r\n"+
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n"+
		"Upgrade: websocket\r\n"+
		"Origin: http://%[1]s\r\n"+
		"Sec-WebSocket-Version: 13\r\n"+
		"Accept-Encoding: gzip, deflate, br, zstd\r\n"+
		"Accept-Language: en-US,en;q=0.9\r\n"+
		"Sec-WebSocket-Key: "+key+"\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"+
		"\r\n", addr)
}

// endOfHeader ends a request and a response.
var endOfHeader = []byte("\r\n\r\n")

// checkResponse returns nil if p is a whole response that accepts request.
func checkResponse(p []byte) error {
	switch {
	case !bytes.HasPrefix(p, []byte("HTTP/1.1 101 ")):
		return fmt.Errorf("measure: handshake refused: %.80q", p)
	case !bytes.Contains(p, []byte(accept)):
		return errors.New("measure: wrong Sec-WebSocket-Accept")
	case !bytes.HasSuffix(p, endOfHeader):
		return errors.New("measure: response is not whole")
	}
	return nil
}

// readHeader reads up to the empty line. The peer sends nothing after it.
func readHeader(r io.Reader) ([]byte, error) {
	p := make([]byte, 0, 4096)
	for !bytes.HasSuffix(p, endOfHeader) {
		if len(p) == cap(p) {
			return nil, errors.New("measure: header is too long")
		}
		n, err := r.Read(p[len(p):cap(p)])
		if err != nil {
			return nil, err
		}
		p = p[:len(p)+n]
	}
	return p, nil
}

// openLink connects to a server and does the client's handshakes.
func openLink(addr netip.AddrPort, source [4]byte, config *tls.Config) (*link, error) {
	s, err := connect(addr, source)
	if err != nil {
		return nil, err
	}
	l := &link{socket: s, stream: s}
	if config != nil {
		l.stream = tls.Client(s, config)
	}
	if err := l.greet(request(addr)); err != nil {
		s.Close()
		return nil, err
	}
	s.waits = false
	return l, nil
}

// greet sends the request and checks the response.
func (l *link) greet(request []byte) error {
	if _, err := l.stream.Write(request); err != nil {
		return err
	}
	p, err := readHeader(l.stream)
	if err != nil {
		return err
	}
	return checkResponse(p)
}

// answerLink does the server's handshake on s.
func answerLink(s *socket) (*link, error) {
	p, err := readHeader(s)
	if err != nil {
		return nil, err
	}
	// Header names may be spelled in any case.
	_, after, found := bytes.Cut(bytes.ToLower(p), []byte("\r\nsec-websocket-key:"))
	if !found {
		return nil, errors.New("measure: request has no key")
	}
	start := len(p) - len(after)
	line, _, _ := bytes.Cut(p[start:], []byte("\r\n"))
	sum := sha1.Sum(append(bytes.TrimSpace(line), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	_, err = fmt.Fprintf(s, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	s.waits = false
	return &link{socket: s, stream: s}, err
}
