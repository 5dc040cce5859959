package proxy

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// connectHTTP does HTTP CONNECT for target, a host:port. "Any 2xx (Successful)
// response indicates that the sender (and all inbound proxies) will switch to
// tunnel mode immediately after the response header section" (RFC 9110,
// Section 9.3.6), whatever length that header announces.
func (p *Proxy) connectHTTP(nc net.Conn, target string, header http.Header) (net.Conn, error) {
	if _, err := nc.Write(p.appendRequest(nil, target, header)); err != nil {
		return nil, &Error{Reason: "request to the proxy was not sent", Err: err}
	}
	reader := http1.NewResponseReader(nc)
	defer reader.Release()
	r, head, err := reader.ReadFinalResponse(nil)
	if err != nil {
		return nil, &Error{Reason: "response of the proxy was not received", Err: err}
	}
	if r.StatusCode < 200 || r.StatusCode > 299 {
		r.Request = &http.Request{Method: http.MethodConnect}
		body := reader.ReadErrorBody(r, head)
		return nil, &Error{Reason: "proxy refused", Response: r, Body: body}
	}
	return withPrefix(nc, reader.Rest()), nil
}

// appendRequest appends the CONNECT request.
func (p *Proxy) appendRequest(b []byte, target string, header http.Header) []byte {
	b = fmt.Appendf(b, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", target)
	if p.user != nil && header[http1.KeyOf(header, "Proxy-Authorization")] == nil {
		password, _ := p.user.Password()
		b = append(b, "Proxy-Authorization: Basic "...)
		b = base64.StdEncoding.AppendEncode(b, []byte(p.user.Username()+":"+password))
		b = append(b, "\r\n"...)
	}
	b = http1.AppendFields(b, header, http1.IsFraming)
	return append(b, "\r\n"...)
}

// A PrefixedConn is a net.Conn of which some bytes were read already: Read
// returns them first. Only one goroutine at a time may read.
type PrefixedConn struct {
	net.Conn
	prefix []byte // still to be returned
}

// withPrefix returns nc with a copy of prefix before everything else, or nc
// itself if prefix is empty.
func withPrefix(nc net.Conn, prefix []byte) net.Conn {
	if len(prefix) == 0 {
		return nc
	}
	return &PrefixedConn{Conn: nc, prefix: append([]byte(nil), prefix...)}
}

// Read returns the bytes that were read before, then those of the net.Conn.
func (c *PrefixedConn) Read(b []byte) (int, error) {
	if len(c.prefix) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.prefix)
	c.prefix = c.prefix[n:]
	return n, nil
}

// NetConn returns the net.Conn below.
func (c *PrefixedConn) NetConn() net.Conn { return c.Conn }
