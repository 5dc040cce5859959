// Package hostport checks host names, IP addresses and ports as they stand in
// URIs and in the Host and Origin fields (RFC 3986, Section 3.2). It resolves
// nothing.
package hostport

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// Canonical returns host, which is a name or an IP address without brackets, as
// others may read it: an IPv6 address in its shortest form and without its
// zone, which means nothing to others (RFC 6874, Section 1).
func Canonical(host string) (string, error) {
	if host == "" {
		return "", errors.New("URI has no host")
	}
	if strings.Contains(host, ":") {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return "", errors.New("host is not an IPv6 address")
		}
		return ip.WithZone("").String(), nil
	}
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 0x80:
			return "", errors.New("host is not ASCII: give its ASCII form, which begins with xn--")
		case !isHostChar(c):
			return "", errors.New("host has a character that no host name has")
		}
	}
	return host, nil
}

// isHostChar reports whether c can be part of a host name or IPv4 address. The
// underscore is in no standard and in many names.
func isHostChar(c byte) bool {
	return http1.IsAlphanumeric(c) || c == '-' || c == '.' || c == '_'
}

// Split splits host:port, [IPv6]:port or a host alone. It is not ok if either
// has characters that do not belong there. The brackets are part of the host.
func Split(s string) (host, port string, ok bool) {
	n := hostLength(s)
	if n == 0 || n == len(s) {
		return s, "", n > 0
	}
	port, ok = strings.CutPrefix(s[n:], ":")
	return s[:n], port, ok && IsPort(port)
}

// hostLength returns the length of the host name or bracketed address that s
// begins with, 0 if there is none.
func hostLength(s string) int {
	n := 0
	if strings.HasPrefix(s, "[") {
		if n = strings.IndexByte(s, ']') + 1; n > 0 && isAddress(s[1:n-1]) {
			return n
		}
		return 0
	}
	for n < len(s) && isHostChar(s[n]) {
		n++
	}
	return n
}

// isAddress reports whether s has only characters of an IPv6 address.
func isAddress(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF:.") == ""
}

// IsPort reports whether s is a port in its shortest form, as browsers write
// it.
func IsPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}
