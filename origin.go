package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/fullduplex-go/websocket/internal/hostport"
	"github.com/fullduplex-go/websocket/internal/http1"
)

// An OriginPolicy decides whether a browser's page may open a connection. Nil
// allows it; an error refuses the request, with 403 or with what a
// [*HandshakeError] says. A policy protects users from pages of other sites
// that their browsers visit (RFC 6455, Section 10.2). It is not authentication:
// a client that is not a browser can send any Origin, or none.
type OriginPolicy func(r *http.Request) error

// SameOrigin returns the policy that lets a page connect to the host it came
// from. The scheme of Origin must be http or https; host and port must be those
// of the Host field, where a missing port is the default of Origin's scheme. If
// the request came over TLS, the page must have come over TLS as well. A
// request without Origin does not come from a browser's page and is allowed.
// X-Forwarded-Host and similar fields are ignored: anyone can send them. A
// server that trusts its network, such as one on localhost, must also check
// that Host is one of its own names: the owner of a page can have the page's
// name resolve to the server's address.
func SameOrigin() OriginPolicy { return checkSameOrigin }

// AllowOrigins returns the policy that lets the pages of the given origins
// connect, and no others: list the server's own origin if it has pages. A
// request without Origin is allowed. The patterns are:
//
//	https://example.com       an origin; a slash may follow
//	https://example.com:8443  on a port that is not the scheme's default
//	https://example.com:*     on any port
//	https://*.example.com     any name below example.com, but not example.com itself
//	example.com               a host alone, with or without "*." and a port: https only
//	localhost:3000            http as well, as for localhost, *.localhost, 127.0.0.0/8 and [::1]
//	app://localhost           the shell of an app; also capacitor, tauri, ionic, moz-extension ...
//	vscode-webview://*        any origin of a scheme other than http and https
//	file://                   a scheme without hosts
//	null                      a page without an origin; any page can become one, in a sandboxed frame
//
// Only the case of ASCII letters is ignored: a name with a dot at its end is
// another name, and a name that is not ASCII is written in its ASCII form, as
// browsers send it. AllowOrigins panics if a pattern has none of these forms,
// and the panic says what to write instead.
func AllowOrigins(patterns ...string) OriginPolicy {
	var allowed []origin
	for _, p := range patterns {
		origins, err := parseOriginPattern(p)
		if err != nil {
			panic(fmt.Sprintf("websocket: AllowOrigins: pattern %q %v", p, err))
		}
		allowed = append(allowed, origins...)
	}
	return func(r *http.Request) error {
		return checkOrigin(r, func(o origin) bool {
			return slices.ContainsFunc(allowed, func(pattern origin) bool { return o.matches(pattern) })
		})
	}
}

// InsecureAnyOrigin returns the policy that lets every page of the World Wide
// Web connect, with the cookies of the user who visits it. Use it only where
// access depends neither on cookies nor on client certificates nor on who can
// reach the network.
func InsecureAnyOrigin() OriginPolicy {
	return func(*http.Request) error { return nil }
}

// checkSameOrigin is the policy that SameOrigin returns.
func checkSameOrigin(r *http.Request) error {
	return checkOrigin(r, func(o origin) bool { return o.isOriginOf(r) })
}

// checkOrigin returns nil for a request without Origin, and for one with a
// single, well-formed Origin that allow accepts.
func checkOrigin(r *http.Request, allow func(origin) bool) error {
	lines := r.Header["Origin"]
	if len(lines) == 0 {
		return nil
	}
	if len(lines) == 1 {
		if o, ok := parseOrigin(lines[0]); ok && allow(o) {
			return nil
		}
	}
	return fmt.Errorf("websocket: page of origin %.100q may not connect to %.100q", strings.Join(lines, ", "), r.Host)
}

// An origin is scheme, host and port of a page (RFC 6454, Section 4). Origins
// of some app shells have an empty host; the opaque origin has nothing but a
// host. In a pattern, the host may be "*" or begin with "*.", and the port may
// be "*".
type origin struct{ scheme, host, port string }

// opaqueOrigin is the value of Origin of pages that have no origin, and the
// host of the origin that stands for it.
const opaqueOrigin = "null"

// parseOrigin reads the value of an Origin field.
func parseOrigin(s string) (o origin, ok bool) {
	if s == opaqueOrigin {
		return origin{host: opaqueOrigin}, true
	}
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return o, false
	}
	o.scheme = scheme
	if authority == "" {
		return o, !o.isWeb()
	}
	if o.host, o.port, ok = hostport.Split(authority); !ok {
		return o, false
	}
	if o.port == "" {
		o.port = o.defaultPort()
	}
	return o, true
}

// parseOriginPattern reads a pattern of AllowOrigins and returns the one or two
// origins it stands for. The text of its error continues "pattern X" and says
// what to write instead.
func parseOriginPattern(s string) ([]origin, error) {
	scheme, authority, whole := strings.Cut(s, "://")
	if !whole {
		scheme, authority = "", s
	}
	authority = strings.TrimSuffix(authority, "/")
	switch {
	case s == opaqueOrigin:
		return []origin{{host: opaqueOrigin}}, nil
	case authority == "*" && (scheme == "*" || !whole):
		return nil, errors.New("is every origin: use InsecureAnyOrigin")
	case scheme == "*":
		return nil, errors.New("has a wildcard for its scheme: give an origin for each, such as https://example.com and http://example.com")
	case whole && !isScheme(scheme):
		return nil, errors.New("has a scheme with characters that do not belong there")
	case http1.EqualFold(scheme, "ws"), http1.EqualFold(scheme, "wss"):
		return nil, errors.New("has the scheme of a connection: write that of the page, http or https")
	}
	o := origin{scheme: scheme}
	if err := o.setAuthority(authority); err != nil {
		return nil, err
	}
	return o.expand(), nil
}

// expand returns the origins that a pattern stands for: a host without a scheme
// stands for https and, where that is as safe, for http.
func (o origin) expand() []origin {
	schemes := []string{o.scheme}
	if o.scheme == "" {
		schemes = []string{"https"}
		if isLoopback(o.host) {
			schemes = []string{"https", "http"}
		}
	}
	origins := make([]origin, len(schemes))
	for i, scheme := range schemes {
		origins[i] = origin{scheme: scheme, host: o.host, port: o.port}
		if o.port == "" {
			origins[i].port = origins[i].defaultPort()
		}
	}
	return origins
}

// setAuthority sets host and port from what follows the scheme of a pattern.
func (o *origin) setAuthority(authority string) error {
	bare, anyPort := strings.CutSuffix(authority, ":*")
	bare, below := strings.CutPrefix(bare, "*.")
	switch {
	case authority == "" && o.isWeb():
		return errors.New("has no host: write an origin such as https://example.com")
	case authority == "":
		return nil
	case bare == "*" && !below && o.isWeb():
		return errors.New("is every origin of its scheme: name the hosts, or use InsecureAnyOrigin")
	case bare == "*" && !below:
		o.host, o.port = "*", "*"
		return nil
	}
	host, port, ok := hostport.Split(bare)
	if !ok || anyPort && port != "" {
		return authorityError(bare)
	}
	if anyPort {
		port = "*"
	}
	o.host, o.port = host, port
	return o.normalizeHost(below)
}

// normalizeHost puts the host of a pattern into the form in which browsers send
// it, with "*." before it if below is set: the pattern then stands for the
// names below the host. A host that no browser sends is an error.
func (o *origin) normalizeHost(below bool) error {
	if !o.isWeb() && !below {
		return nil // other schemes need no host names
	}
	ip, err := netip.ParseAddr(strings.Trim(o.host, "[]"))
	switch {
	case err == nil && below:
		return errors.New("has a wildcard before an address: it stands for names alone")
	case err == nil && o.host[0] == '[':
		o.host = "[" + ip.String() + "]"
		return nil
	case err == nil:
		return nil
	case o.host[0] == '[', endsInNumber(o.host):
		return errors.New("has a malformed address: write all of its parts, as in 127.0.0.1 or [::1]")
	case o.host[0] == '.' && !below:
		return fmt.Errorf("has a dot before its host: write *%s", o.host)
	case strings.Contains("."+o.host, ".."):
		return errors.New("has an empty label in its host: leave one of the dots out")
	}
	if below {
		o.host = "*." + o.host
	}
	return nil
}

// authorityError returns what is wrong with s, which is not a host and port.
func authorityError(s string) error {
	switch i := strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 || strings.ContainsRune("/?#@*, ", r) }); {
	case i < 0 && strings.Count(s, ":") > 1 && s[0] != '[':
		return errors.New("has an address without brackets: write it as in [::1]")
	case i < 0:
		return errors.New("is no origin: write one such as https://example.com or https://example.com:8443")
	case s[i] >= 0x80:
		return errors.New("is not ASCII: write the ASCII form of the host, which begins with xn--")
	case s[i] == '*':
		return errors.New("has a wildcard where none is known: it stands for whole names, as in https://*.example.com, and for a port, as in https://example.com:*")
	case s[i] == '@':
		return errors.New("has user information, which no origin has: drop it")
	case s[i] == ',', s[i] == ' ':
		return errors.New("has a separator: give each origin as an argument of its own")
	default:
		return errors.New("has a path, which no origin has: drop the path")
	}
}

// endsInNumber reports whether the last label of host is a number: browsers
// take such a host for an IPv4 address.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// isLoopback reports whether host is a name or address of the machine itself,
// which browsers trust even without TLS.
func isLoopback(host string) bool {
	if http1.EqualFold(host, "localhost") || len(host) > 10 && http1.EqualFold(host[len(host)-10:], ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// matches reports whether o matches pattern.
func (o origin) matches(pattern origin) bool {
	if !http1.EqualFold(pattern.scheme, o.scheme) || pattern.port != "*" && pattern.port != o.port {
		return false
	}
	domain, wild := strings.CutPrefix(pattern.host, "*")
	if !wild {
		return http1.EqualFold(pattern.host, o.host)
	}
	cut := len(o.host) - len(domain)
	return cut > 0 && http1.EqualFold(o.host[cut:], domain)
}

// isOriginOf reports whether o is the origin that r was sent to.
func (o origin) isOriginOf(r *http.Request) bool {
	if !http1.EqualFold(o.scheme, "https") && (!http1.EqualFold(o.scheme, "http") || r.TLS != nil) {
		return false
	}
	host, port, ok := hostport.Split(r.Host)
	if port == "" {
		port = o.defaultPort()
	}
	return ok && http1.EqualFold(o.host, host) && o.port == port
}

// isWeb reports whether the scheme of o is one of the World Wide Web, where
// hosts are names that have owners. A pattern without a scheme is of the Web.
func (o origin) isWeb() bool {
	return o.scheme == "" || http1.EqualFold(o.scheme, "http") || http1.EqualFold(o.scheme, "https")
}

// defaultPort returns the port of an origin that names none, or "" if its
// scheme has no ports.
func (o origin) defaultPort() string {
	switch {
	case http1.EqualFold(o.scheme, "https"):
		return "443"
	case http1.EqualFold(o.scheme, "http"):
		return "80"
	default:
		return ""
	}
}

// isScheme reports whether s is the scheme of a URI (RFC 3986, Section 3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; !http1.IsAlphanumeric(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return s != ""
}
