package websocket

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// An OriginPolicy decides whether a browser's page may open a connection: nil
// lets it. The request is refused with 403, or with what a [*HandshakeError]
// says. A policy guards users whose browser is led to a foreign page (RFC 6455,
// Section 10.2). It is no authentication: whoever is no browser sends any
// Origin, or none.
type OriginPolicy func(r *http.Request) error

// SameOrigin returns the policy that lets a page connect to the host it came
// from. The scheme of Origin must be http or https; host and port must be those
// of the Host field, where a missing port is the default of Origin's scheme.
// If the request came over TLS, so must have the page. A request without
// Origin does not come from a browser's page and passes. X-Forwarded-Host and
// its like are not looked at: anyone can send them. A server that trusts its
// network, such as one on localhost, must also check that Host is one of its
// own names: a page can give its own name a foreign address.
func SameOrigin() OriginPolicy { return sameOrigin }

// AllowOrigins returns the policy that lets the pages of the given origins
// connect, and no others: name the server's own among them if it has pages. A
// request without Origin passes. A pattern is an origin such as
// "https://example.com" or "https://example.com:8443"; "*." before the host
// stands for one or more labels, and ":*" for any port. A policy with any
// other pattern refuses every Origin and says why.
func AllowOrigins(patterns ...string) OriginPolicy {
	allowed := make([]origin, len(patterns))
	for i, p := range patterns {
		var ok bool
		if allowed[i], ok = parseOriginPattern(p); !ok {
			return refuseOrigins(fmt.Errorf("origin pattern %q is not of the form scheme://host or scheme://host:port", p))
		}
	}
	return func(r *http.Request) error {
		return judgeOrigin(r, func(o origin) bool {
			for _, a := range allowed {
				if a.matches(o) {
					return true
				}
			}
			return false
		})
	}
}

// InsecureAnyOrigin returns the policy that lets every page of the World Wide
// Web connect with the cookies of the user who looks at it. It fits only where
// no right depends on cookies, client certificates or the network's reach.
func InsecureAnyOrigin() OriginPolicy {
	return func(*http.Request) error { return nil }
}

// refuseOrigins returns the policy of a server that was set up wrongly.
func refuseOrigins(err error) OriginPolicy {
	return func(r *http.Request) error {
		if len(r.Header["Origin"]) == 0 {
			return nil
		}
		return &HandshakeError{Status: http.StatusInternalServerError, Reason: "origin policy is invalid", Err: err}
	}
}

func sameOrigin(r *http.Request) error {
	return judgeOrigin(r, func(o origin) bool { return o.sameAs(r) })
}

// judgeOrigin lets a request without Origin pass, and one with a single,
// well-formed Origin that allow accepts.
func judgeOrigin(r *http.Request, allow func(origin) bool) error {
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

// An origin is scheme, host and port of a page (RFC 6454). In a pattern, the
// host may begin with "*." and the port may be "*".
type origin struct{ scheme, host, port string }

// parseOrigin reads the value of an Origin field. Opaque origins, "null", are
// no origin.
func parseOrigin(s string) (o origin, ok bool) {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return o, false
	}
	o.scheme = scheme
	if o.host, o.port, ok = splitHostPort(authority); !ok {
		return o, false
	}
	if o.port == "" {
		o.port = o.defaultPort()
	}
	return o, true
}

// parseOriginPattern reads a pattern of AllowOrigins.
func parseOriginPattern(s string) (o origin, ok bool) {
	s, anyPort := strings.CutSuffix(s, ":*")
	scheme, authority, _ := strings.Cut(s, "://")
	authority, anySubdomain := strings.CutPrefix(authority, "*.")
	if o, ok = parseOrigin(scheme + "://" + authority); !ok {
		return o, false
	}
	if anyPort {
		_, port, _ := splitHostPort(authority)
		o.port, ok = "*", port == ""
	}
	if anySubdomain {
		o.host = "*." + o.host
	}
	return o, ok
}

// matches reports whether the pattern a stands for o.
func (a origin) matches(o origin) bool {
	if !equalFold(a.scheme, o.scheme) || a.port != "*" && a.port != o.port {
		return false
	}
	domain, anySubdomain := strings.CutPrefix(a.host, "*")
	if !anySubdomain {
		return equalFold(a.host, o.host)
	}
	cut := len(o.host) - len(domain)
	return cut > 0 && equalFold(o.host[cut:], domain)
}

// sameAs reports whether o is where r was sent to.
func (o origin) sameAs(r *http.Request) bool {
	if !equalFold(o.scheme, "https") && (!equalFold(o.scheme, "http") || r.TLS != nil) {
		return false
	}
	host, port, ok := splitHostPort(r.Host)
	if port == "" {
		port = o.defaultPort()
	}
	return ok && equalFold(o.host, host) && o.port == port
}

// defaultPort returns the port of an origin that names none, "" if its scheme
// has no ports.
func (o origin) defaultPort() string {
	switch {
	case equalFold(o.scheme, "https"):
		return "443"
	case equalFold(o.scheme, "http"):
		return "80"
	default:
		return ""
	}
}

// isScheme reports whether s is the scheme of a URI (RFC 3986, Section 3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return s != ""
}

// splitHostPort splits host:port, [IPv6]:port or a host alone. It is not ok if
// either has characters that do not belong there.
func splitHostPort(s string) (host, port string, ok bool) {
	n := hostLength(s)
	if n == 0 || n == len(s) {
		return s, "", n > 0
	}
	port, ok = strings.CutPrefix(s[n:], ":")
	return s[:n], port, ok && isPort(port)
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

// isPort reports whether s is a port in its shortest form, as browsers write
// it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}
