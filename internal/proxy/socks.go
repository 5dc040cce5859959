package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// Numbers of SOCKS version 5 (RFC 1928, Sections 3 to 6; RFC 1929, Section 2).
const (
	socksVersion         = 5
	socksNoAuth          = 0
	socksPassword        = 2
	socksConnect         = 1
	socksIPv4            = 1
	socksName            = 3
	socksIPv6            = 4
	socksPasswordVersion = 1
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

// checkSOCKSUser returns an error if name and password do not fit the fields of
// RFC 1929, Section 2.
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

// connectSOCKS does the client's part of SOCKS on nc. It reads not a byte more
// than the proxy's answers.
func (p *Proxy) connectSOCKS(ctx context.Context, nc net.Conn, host, port string) error {
	address, err := p.socksAddress(ctx, host, port)
	if err != nil {
		return err
	}
	if err := authenticate(nc, p.user); err != nil {
		return err
	}
	return requestSOCKS(nc, address)
}

// socksAddress returns host and port as SOCKS writes them (RFC 1928, Section
// 4). A name stays one for socks5h, and is resolved for socks5.
func (p *Proxy) socksAddress(ctx context.Context, host, port string) ([]byte, error) {
	ip, err := netip.ParseAddr(host)
	if err != nil && p.scheme == "socks5" {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
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
	case len(host) > 255:
		return nil, errors.New("host name is longer than 255 bytes")
	default:
		b = append([]byte{socksName, byte(len(host))}, host...)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return append(b, byte(n>>8), byte(n)), err
}

// authenticate agrees on a method and sends the password if the proxy wants it
// (RFC 1928, Section 3).
func authenticate(nc net.Conn, user *url.Userinfo) error {
	greeting := []byte{socksVersion, 1, socksNoAuth}
	if user != nil {
		greeting = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	answer, err := exchange(nc, greeting, 2)
	if err != nil {
		return err
	}
	switch method := answer[1]; {
	case answer[0] != socksVersion:
		return errors.New("answer is not SOCKS version 5")
	case method == socksNoAuth:
		return nil
	case method == socksPassword && user != nil:
		return sendPassword(nc, user)
	default:
		return errors.New("proxy accepts none of our authentication methods")
	}
}

// sendPassword does the exchange of RFC 1929, Section 2.
func sendPassword(nc net.Conn, user *url.Userinfo) error {
	password, _ := user.Password()
	b := append([]byte{socksPasswordVersion, byte(len(user.Username()))}, user.Username()...)
	b = append(append(b, byte(len(password))), password...)
	answer, err := exchange(nc, b, 2)
	switch {
	case err != nil:
		return err
	case answer[0] != socksPasswordVersion || answer[1] != 0:
		return errors.New("user name and password are refused")
	default:
		return nil
	}
}

// requestSOCKS asks for a connection to address (RFC 1928, Section 4).
func requestSOCKS(nc net.Conn, address []byte) error {
	answer, err := exchange(nc, append([]byte{socksVersion, socksConnect, 0}, address...), 4)
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
	return skipBoundAddress(nc, answer[3])
}

// skipBoundAddress reads the address of the given kind that the proxy connects
// from.
func skipBoundAddress(nc net.Conn, kind byte) error {
	size := 0
	switch kind {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		length, err := exchange(nc, nil, 1)
		if err != nil {
			return err
		}
		size = int(length[0])
	default:
		return errors.New("reply has an unknown kind of address")
	}
	_, err := exchange(nc, nil, size+2)
	return err
}

// exchange writes b, if it is not empty, and reads n bytes.
func exchange(nc net.Conn, b []byte, n int) ([]byte, error) {
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
