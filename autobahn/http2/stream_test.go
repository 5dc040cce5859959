package http2

//lint:file-ignore SA1019 net/http's own Transport refuses the field :protocol, so x/net's is used

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http2"
)

// newTransport returns a client's side of HTTP/2. Without settings of TLS it sends
// HTTP/2 at once, with prior knowledge (RFC 9113, Section 3.3).
func newTransport(config *tls.Config) *http2.Transport {
	t := &http2.Transport{TLSClientConfig: config, DisableCompression: true}
	if config == nil {
		t.AllowHTTP = true
		t.DialTLSContext = func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	return t
}

// A stream is the client's end of a stream of HTTP/2, as a net.Conn.
type stream struct {
	io.Reader                // the body of the response
	*io.PipeWriter           // to the body of the request
	cancel         func()    // resets the stream
	ended          io.Closer // the body of the response
}

// openStream opens a WebSocket with an extended CONNECT (RFC 8441, Section 4). It
// returns its stream and the header of the response.
func openStream(t http.RoundTripper, u *url.URL, header http.Header) (*stream, http.Header, error) {
	ctx, cancel := context.WithCancel(context.Background())
	sent, body := io.Pipe()
	header = header.Clone()
	header.Set(":protocol", "websocket")
	header.Set("Sec-WebSocket-Version", "13")
	r := (&http.Request{Method: http.MethodConnect, URL: u, Header: header, Body: sent, ContentLength: -1}).WithContext(ctx)
	response, err := t.RoundTrip(r)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered with %s", response.Status)
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return &stream{response.Body, body, cancel, response.Body}, response.Header, nil
}

// Close resets the stream, unless both sides have ended it.
func (s *stream) Close() error {
	s.PipeWriter.Close()
	defer s.cancel()
	return s.ended.Close()
}

// CloseWrite ends what is sent.
func (s *stream) CloseWrite() error { return s.PipeWriter.Close() }

// Reset resets the stream.
func (s *stream) Reset() error {
	s.cancel()
	return nil
}

// LocalAddr returns no address: the stream does not show its connection.
func (*stream) LocalAddr() net.Addr { return new(net.TCPAddr) }

// RemoteAddr returns no address.
func (*stream) RemoteAddr() net.Addr { return new(net.TCPAddr) }

// SetDeadline does nothing.
func (*stream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (*stream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (*stream) SetWriteDeadline(time.Time) error { return nil }
