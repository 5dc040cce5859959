package websocket

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// This file connects through a proxy: HTTP CONNECT (RFC 9110, Section 9.3.6)
// over TCP or TLS, and SOCKS version 5 (RFC 1928, RFC 1929). What a proxy
// answers is bounded like a server's response.

// A proxy is a proxy to connect through.
type proxy struct {
	scheme string // http, https, socks5 or socks5h
	addr   string // host:port
	name   string // the host to verify in TLS
	user   *url.Userinfo
}

var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// proxy returns the proxy for this handshake, nil if there is none.
func (d *dialer) proxy() (*proxy, error) {
	choose := d.opts.Proxy
	if choose == nil {
		choose = proxyFromEnvironment
	}
	if d.target.network != "tcp" {
		return nil, nil
	}
	u, err := choose(d.request)
	if err != nil || u == nil {
		return nil, err
	}
	return parseProxy(u)
}

// proxyFromEnvironment is [http.ProxyFromEnvironment] with an error that does
// not show the password.
func proxyFromEnvironment(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("proxy in the environment is malformed")
	}
	return u, nil
}

// parseProxy reads the URL of a proxy. Errors do not show its userinfo.
func parseProxy(u *url.URL) (*proxy, error) {
	port, ok := proxyPorts[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("scheme %q of the proxy is not http, https, socks5 or socks5h", u.Scheme)
	}
	name, err := checkHost(u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("URL of the proxy: %w", err)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if !isPort(port) {
		return nil, errors.New("URL of the proxy: port is not between 1 and 65535")
	}
	p := &proxy{scheme: u.Scheme, addr: joinHostPort(u.Hostname(), port), name: name, user: u.User}
	if p.isSOCKS() {
		return p, checkSOCKSUser(p.user)
	}
	return p, nil
}

// isSOCKS reports whether p speaks SOCKS, not HTTP.
func (p *proxy) isSOCKS() bool { return p.scheme == "socks5" || p.scheme == "socks5h" }

// tunnel connects to the target through p. It returns a connection to close
// even with an error, unless nothing was connected.
func (d *dialer) tunnel(ctx context.Context, p *proxy) (net.Conn, error) {
	nc, err := d.netDial(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	if p.scheme == "https" {
		config := tlsConfig(d.opts.TLS, p.name)
		config.ServerName = p.name
		if nc, err = shakeTLS(ctx, nc, config); err != nil {
			return nc, err
		}
	}
	end := watch(ctx, nc)
	through, err := d.ask(ctx, p, nc)
	if late := end(); late != nil && err == nil {
		err = late
	}
	return through, err
}

// ask has the proxy at the other end of nc connect to the target.
func (d *dialer) ask(ctx context.Context, p *proxy, nc net.Conn) (net.Conn, error) {
	if p.isSOCKS() {
		return nc, d.socks(ctx, p, nc)
	}
	return d.connectHTTP(p, nc)
}

// connectHTTP does HTTP CONNECT. "Any 2xx (Successful) response indicates that
// the sender (and all inbound proxies) will switch to tunnel mode immediately
// after the response header section" (RFC 9110, Section 9.3.6), whatever
// length that header announces.
func (d *dialer) connectHTTP(p *proxy, nc net.Conn) (net.Conn, error) {
	if _, err := nc.Write(d.appendConnect(nil, p)); err != nil {
		return nc, &HandshakeError{Reason: "request to the proxy was not sent", Err: err}
	}
	head := newHeadReader(nc, "HTTP/1.")
	defer head.release()
	text, r, err := finalResponse(&head)
	if err != nil {
		return nc, &HandshakeError{Reason: "response of the proxy was not received", Err: err}
	}
	if r.StatusCode < 200 || r.StatusCode > 299 {
		r.Request = &http.Request{Method: http.MethodConnect}
		return nc, proxyRefused(r, readErrorBody(&head, text, r))
	}
	return glue(nc, head.rest()), nil
}

// proxyRefused returns the error for a response to CONNECT that is not 2xx and
// whose body begins with body.
func proxyRefused(r *http.Response, body []byte) error {
	e := &HandshakeError{Status: r.StatusCode, Reason: "proxy refused", Response: r, said: saidBy(r, body)}
	if r.StatusCode == http.StatusProxyAuthRequired {
		e.Reason = "proxy refused: give it a user name and password in its URL, or a Proxy-Authorization in DialOptions.ProxyHeader"
	}
	return e
}

// appendConnect appends the CONNECT request.
func (d *dialer) appendConnect(b []byte, p *proxy) []byte {
	b = fmt.Appendf(b, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", d.target.hostPort())
	if p.user != nil && !hasField(d.opts.ProxyHeader, "Proxy-Authorization") {
		password, _ := p.user.Password()
		b = append(b, "Proxy-Authorization: Basic "...)
		b = base64.StdEncoding.AppendEncode(b, []byte(p.user.Username()+":"+password))
		b = append(b, "\r\n"...)
	}
	b = appendFields(b, d.opts.ProxyHeader, isReservedField)
	return append(b, "\r\n"...)
}

// hasField reports whether h has the field name, in any spelling.
func hasField(h http.Header, name string) bool {
	for key := range h {
		if canonicalName(key) == name {
			return true
		}
	}
	return false
}

// A gluedConn is a net.Conn of which some bytes were read already. Only one
// goroutine may read.
type gluedConn struct {
	net.Conn
	early []byte
}

// glue returns nc with early, which it copies, before everything else.
func glue(nc net.Conn, early []byte) net.Conn {
	if len(early) == 0 {
		return nc
	}
	return &gluedConn{Conn: nc, early: append([]byte(nil), early...)}
}

// Read returns the early bytes first.
func (c *gluedConn) Read(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	c.early = c.early[n:]
	return n, nil
}

// Numbers of SOCKS version 5 (RFC 1928).
const (
	socksVersion     = 5
	socksNoAuth      = 0
	socksPassword    = 2
	socksConnect     = 1
	socksIPv4        = 1
	socksName        = 3
	socksIPv6        = 4
	socksAuthVersion = 1
)

// socksReplies are the refusals of RFC 1928, Section 6.
var socksReplies = [...]string{
	1: "general failure",
	2: "connection not allowed",
	3: "network unreachable",
	4: "host unreachable",
	5: "connection refused",
	6: "TTL expired",
	7: "command not supported",
	8: "address type not supported",
}

// checkSOCKSUser returns an error if name and password do not fit RFC 1929.
func checkSOCKSUser(u *url.Userinfo) error {
	if u == nil {
		return nil
	}
	password, _ := u.Password()
	if n, m := len(u.Username()), len(password); n < 1 || n > 255 || m < 1 || m > 255 {
		return errors.New("URL of the proxy: user name and password are not between 1 and 255 bytes")
	}
	return nil
}

// socks does the client's part of SOCKS on nc. It reads not a byte more than
// the proxy's answers.
func (d *dialer) socks(ctx context.Context, p *proxy, nc net.Conn) error {
	address, err := d.socksAddress(ctx, p)
	if err == nil {
		err = socksAuthenticate(nc, p.user)
	}
	if err == nil {
		err = socksRequest(nc, address)
	}
	if err != nil {
		return &HandshakeError{Reason: "no connection through the SOCKS proxy", Err: err}
	}
	return nil
}

// socksAddress returns the address of the target as SOCKS writes it: a name
// for socks5h, which leaves its resolution to the proxy.
func (d *dialer) socksAddress(ctx context.Context, p *proxy) ([]byte, error) {
	ip, err := netip.ParseAddr(d.target.name)
	if err != nil && p.scheme == "socks5" {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", d.target.name)
		if err != nil {
			return nil, err
		}
		ip = ips[0]
	}
	var b []byte
	switch ip = ip.Unmap(); {
	case ip.Is4():
		b = append([]byte{socksIPv4}, ip.AsSlice()...)
	case ip.Is6():
		b = append([]byte{socksIPv6}, ip.AsSlice()...)
	case len(d.target.name) > 255:
		return nil, errors.New("host name is longer than 255 bytes")
	default:
		b = append([]byte{socksName, byte(len(d.target.name))}, d.target.name...)
	}
	port, err := strconv.ParseUint(d.target.port, 10, 16)
	return append(b, byte(port>>8), byte(port)), err
}

// socksAuthenticate agrees on a method and shows the password if the proxy
// wants it.
func socksAuthenticate(nc net.Conn, user *url.Userinfo) error {
	greeting := []byte{socksVersion, 1, socksNoAuth}
	if user != nil {
		greeting = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	answer, err := socksExchange(nc, greeting, 2)
	if err != nil {
		return err
	}
	switch method := answer[1]; {
	case answer[0] != socksVersion:
		return errors.New("answer is not SOCKS version 5")
	case method == socksNoAuth:
		return nil
	case method == socksPassword && user != nil:
		return socksShowPassword(nc, user)
	default:
		return errors.New("proxy accepts none of our authentication methods")
	}
}

// socksShowPassword does the exchange of RFC 1929.
func socksShowPassword(nc net.Conn, user *url.Userinfo) error {
	password, _ := user.Password()
	b := append([]byte{socksAuthVersion, byte(len(user.Username()))}, user.Username()...)
	b = append(append(b, byte(len(password))), password...)
	answer, err := socksExchange(nc, b, 2)
	switch {
	case err != nil:
		return err
	case answer[0] != socksAuthVersion || answer[1] != 0:
		return errors.New("user name and password are refused")
	default:
		return nil
	}
}

// socksRequest asks for a connection to address.
func socksRequest(nc net.Conn, address []byte) error {
	answer, err := socksExchange(nc, append([]byte{socksVersion, socksConnect, 0}, address...), 4)
	if err != nil {
		return err
	}
	if answer[0] != socksVersion || answer[2] != 0 {
		return errors.New("reply is malformed")
	}
	if code := int(answer[1]); code != 0 {
		if code < len(socksReplies) {
			return errors.New(socksReplies[code])
		}
		return fmt.Errorf("reply has unknown code %d", code)
	}
	return socksSkipAddress(nc, answer[3])
}

// socksSkipAddress reads the address the proxy connects from.
func socksSkipAddress(nc net.Conn, kind byte) error {
	size := 0
	switch kind {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		length, err := socksExchange(nc, nil, 1)
		if err != nil {
			return err
		}
		size = int(length[0])
	default:
		return errors.New("reply has an unknown kind of address")
	}
	_, err := socksExchange(nc, nil, size+2)
	return err
}

// socksExchange writes b, if there is any, and reads n bytes.
func socksExchange(nc net.Conn, b []byte, n int) ([]byte, error) {
	if len(b) > 0 {
		if _, err := nc.Write(b); err != nil {
			return nil, err
		}
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(nc, answer); err != nil {
		return nil, err
	}
	return answer, nil
}
