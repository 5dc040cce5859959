// Package proxy has a proxy at the far end of a net.Conn connect to a host: by
// HTTP CONNECT (RFC 9110, Section 9.3.6) or SOCKS version 5 (RFC 1928,
// RFC 1929).
//
// The package does not dial the proxy, and it waits only in the Read and Write
// of the net.Conn, and for the resolution of a name: TLS to the proxy,
// deadlines and contexts are left to the caller. It bounds what it reads of a
// proxy's answer. Errors never show a password.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/fullduplex-go/websocket/internal/hostport"
)

// defaultPorts holds the schemes of proxies and the port of each.
var defaultPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// A Proxy is what the URL of a proxy says.
type Proxy struct {
	scheme string        // a key of defaultPorts
	addr   string        // the host:port to dial
	name   string        // the host, as hostport.Canonical returns it
	user   *url.Userinfo // nil if there is none
}

// Parse reads the URL of a proxy, whose scheme is http or https for CONNECT, or
// socks5 or socks5h, which leaves the resolution of names to the proxy.
func Parse(u *url.URL) (*Proxy, error) {
	port, ok := defaultPorts[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("scheme %q of the proxy is not http, https, socks5 or socks5h", u.Scheme)
	}
	name, err := hostport.Canonical(u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("URL of the proxy: %w", err)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if !hostport.IsPort(port) {
		return nil, errors.New("URL of the proxy: port is not between 1 and 65535")
	}
	p := &Proxy{scheme: u.Scheme, addr: net.JoinHostPort(u.Hostname(), port), name: name, user: u.User}
	if p.isSOCKS() {
		return p, checkSOCKSUser(p.user)
	}
	return p, nil
}

// Addr returns the host:port to dial.
func (p *Proxy) Addr() string { return p.addr }

// ServerName returns the name that the certificate of the proxy must have, or
// "" for a proxy that is spoken to without TLS.
func (p *Proxy) ServerName() string {
	if p.scheme != "https" {
		return ""
	}
	return p.name
}

// isSOCKS reports whether p speaks SOCKS and not HTTP.
func (p *Proxy) isSOCKS() bool { return p.scheme == "socks5" || p.scheme == "socks5h" }

// Connect has the proxy at the other end of nc connect to host, which is a name
// or an IP address without brackets, and port. It returns the connection to
// there: nc, or a [*PrefixedConn] over it if the proxy sent more than its
// answer. header is added to a CONNECT request, except for fields that frame
// the message; a Proxy-Authorization in it replaces the user and password of
// the proxy's URL. ctx bounds nothing but the resolution of a name for socks5.
//
// Errors are of type [*Error]. nc is then left open, and of no more use.
func (p *Proxy) Connect(ctx context.Context, nc net.Conn, host, port string, header http.Header) (net.Conn, error) {
	if p.isSOCKS() {
		if err := p.connectSOCKS(ctx, nc, host, port); err != nil {
			return nil, &Error{Reason: "no connection through the SOCKS proxy", Err: err}
		}
		return nc, nil
	}
	return p.connectHTTP(nc, net.JoinHostPort(host, port), header)
}

// An Error says why there is no connection through a proxy.
type Error struct {
	// Reason is what was wrong.
	Reason string
	// Response is the refusal of an HTTP proxy, nil if there is none.
	Response *http.Response
	// Body is the beginning of the body of Response.
	Body []byte
	// Err is the cause, if it is not the refusal.
	Err error
}

// Error returns the reason, the status of the refusal and the cause.
func (e *Error) Error() string {
	s := e.Reason
	if e.Response != nil {
		s += " with status " + e.Response.Status
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
