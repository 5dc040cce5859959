package wire

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// key is the Sec-WebSocket-Key of every request, and accept the answer to it:
// the example of RFC 6455, Section 1.3.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// maxHeader is the longest request or response that is read, in bytes.
const maxHeader = 4096

// Request returns the opening handshake of a browser on a page of the host
// itself. The scheme is that of the page, http or https. Like a browser's, it
// offers permessage-deflate; without context takeover if noContext is set.
func Request(scheme, host string, noContext bool) []byte {
	extension := "permessage-deflate; client_max_window_bits"
	if noContext {
		extension = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	}
	return fmt.Appendf(nil, "GET / HTTP/1.1\r\n"+
		"Host: %[1]s\r\n"+
		"Connection: Upgrade\r\n"+
		"Pragma: no-cache\r\n"+
		"Cache-Control: no-cache\r\n"+
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n"+
		"Upgrade: websocket\r\n"+
		"Origin: %[3]s://%[1]s\r\n"+
		"Sec-WebSocket-Version: 13\r\n"+
		"Accept-Encoding: gzip, deflate, br, zstd\r\n"+
		"Accept-Language: en-US,en;q=0.9\r\n"+
		"Sec-WebSocket-Key: "+key+"\r\n"+
		"Sec-WebSocket-Extensions: %[2]s\r\n"+
		"\r\n", host, extension, scheme)
}

// endOfHeader ends a request and a response.
var endOfHeader = []byte("\r\n\r\n")

// CheckResponse returns nil if p is a whole response that accepts Request.
func CheckResponse(p []byte) error {
	switch {
	case !bytes.HasPrefix(p, []byte("HTTP/1.1 101 ")):
		return fmt.Errorf("wire: handshake refused: %.80q", p)
	case !bytes.Contains(p, []byte(accept)):
		return errors.New("wire: wrong Sec-WebSocket-Accept")
	case !bytes.HasSuffix(p, endOfHeader):
		return errors.New("wire: response is not whole")
	}
	return nil
}

// ReadHeader reads up to the empty line that ends a request or a response. It
// also returns bytes that arrive with it, such as the content of a refusal.
func ReadHeader(r io.Reader) ([]byte, error) {
	p := make([]byte, 0, maxHeader)
	for !bytes.Contains(p, endOfHeader) {
		if len(p) == cap(p) {
			return nil, errors.New("wire: header is too long")
		}
		n, err := r.Read(p[len(p):cap(p)])
		if err != nil {
			return nil, err
		}
		p = p[:len(p)+n]
	}
	return p, nil
}

// Response returns the answer that accepts the request
// (RFC 6455, Section 4.2.2).
func Response(request []byte) ([]byte, error) {
	// Header names are case-insensitive.
	const name = "\r\nsec-websocket-key:"
	at := bytes.Index(bytes.ToLower(request), []byte(name))
	if at < 0 {
		return nil, errors.New("wire: request has no key")
	}
	line, _, _ := bytes.Cut(request[at+len(name):], []byte("\r\n"))
	return Switching(string(bytes.TrimSpace(line))), nil
}

// Switching returns the answer that accepts a request with the key.
func Switching(key string) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// Greet performs the client's opening handshake on rw.
func Greet(rw io.ReadWriter, scheme, host string, noContext bool) (response []byte, err error) {
	if _, err := rw.Write(Request(scheme, host, noContext)); err != nil {
		return nil, err
	}
	p, err := ReadHeader(rw)
	if err != nil {
		return nil, err
	}
	return p, CheckResponse(p)
}

// Answer performs the server's opening handshake on rw.
func Answer(rw io.ReadWriter) error {
	request, err := ReadHeader(rw)
	if err != nil {
		return err
	}
	response, err := Response(request)
	if err != nil {
		return err
	}
	_, err = rw.Write(response)
	return err
}
