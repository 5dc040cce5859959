package websocket

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket/internal/hostport"
	"github.com/fullduplex-go/websocket/internal/http1"
)

// A wsURI is a WebSocket URI (RFC 6455, Section 3): where to connect and what
// to ask for.
type wsURI struct {
	secure       bool          // over TLS
	network      string        // "tcp" or "unix"
	addr         string        // host:port to connect to, or the path of a Unix socket
	host         string        // an ASCII name, or an IP address without brackets
	port         string        // "" for a Unix socket
	hostField    string        // the value of Host, without a default port
	resourceName string        // path and query: the request target
	user         *url.Userinfo // nil if there is none
}

// parseURI reads a WebSocket URI or one of the aliases that Dial knows. Its
// errors never quote userinfo or query, which may hold secrets, and of the path
// at most the three bytes of a malformed escape.
func parseURI(s string) (*wsURI, error) {
	if strings.Contains(s, "#") {
		return nil, errors.New("a fragment is not allowed in a WebSocket URI")
	}
	parsed, err := url.Parse(s)
	if err != nil {
		return nil, withoutURI(err)
	}
	u := &wsURI{user: parsed.User}
	scheme, unix := strings.CutSuffix(parsed.Scheme, "+unix")
	switch scheme {
	case "ws", "http":
	case "wss", "https":
		u.secure = true
	default:
		return nil, errors.New("scheme is not ws, wss, http, https, ws+unix or wss+unix")
	}
	switch {
	case parsed.Opaque != "":
		return nil, errors.New("URI has no // before its host")
	case !unix:
		return u, u.setHost(parsed)
	case strings.HasPrefix(scheme, "ws"):
		return u, u.setSocket(parsed)
	default:
		return nil, errors.New("scheme of a Unix socket is not ws+unix or wss+unix")
	}
}

// withoutURI returns what is wrong with a URI without the URI itself, which
// [url.Error] quotes in full.
func withoutURI(err error) error {
	var e *url.Error
	if !errors.As(err, &e) || strings.Contains(e.URL, "@") {
		return errors.New("malformed URI")
	}
	return e.Err
}

// setHost sets host, port, resource name and what follows from them.
func (u *wsURI) setHost(parsed *url.URL) error {
	host, err := hostport.Canonical(parsed.Hostname())
	if err != nil {
		return err
	}
	port := parsed.Port()
	if port == "" {
		port = u.defaultPort()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("port is not between 1 and 65535")
	}
	// To dial an address, its zone is needed.
	u.network, u.addr = "tcp", net.JoinHostPort(parsed.Hostname(), port)
	u.host, u.port = host, port
	u.hostField = net.JoinHostPort(host, port)
	if port == u.defaultPort() {
		u.hostField = strings.TrimSuffix(u.hostField, ":"+port)
	}
	u.resourceName = resourceName(parsed.EscapedPath(), parsed.RawQuery)
	return nil
}

// setSocket sets the path of a Unix socket and the resource name, which is
// behind the first colon of the path.
func (u *wsURI) setSocket(parsed *url.URL) error {
	socket, path, _ := strings.Cut(parsed.EscapedPath(), ":")
	socket, err := url.PathUnescape(socket)
	if err != nil || socket == "" || parsed.Host != "" || strings.Contains(socket, "\x00") {
		return errors.New("URI is not of the form ws+unix:///path/to/socket:/resource")
	}
	if path != "" && path[0] != '/' {
		return errors.New("resource after the path of the socket does not begin with a slash")
	}
	u.network, u.addr = "unix", socket
	u.host, u.hostField = "localhost", "localhost"
	u.resourceName = resourceName(path, parsed.RawQuery)
	return nil
}

// defaultPort returns the port of a URI that names none.
func (u *wsURI) defaultPort() string {
	if u.secure {
		return "443"
	}
	return "80"
}

// url returns u with the scheme http or https and without userinfo, for the
// parts of net/http that want a URL.
func (u *wsURI) url() *url.URL {
	r := &url.URL{Scheme: "http", Host: u.hostField}
	if u.secure {
		r.Scheme = "https"
	}
	path, query, _ := strings.Cut(u.resourceName, "?")
	r.RawQuery = query
	r.RawPath = path
	r.Path, _ = url.PathUnescape(path)
	return r
}

// resourceName returns the resource name for an escaped path and a query: "/"
// for an empty path, the question mark only before a query that is not empty
// (RFC 6455, Section 3).
func resourceName(path, query string) string {
	if path == "" {
		path = "/"
	}
	if query == "" {
		return path
	}
	return path + "?" + escapeQuery(query)
}

// escapeQuery percent-encodes the bytes of a query that may not stand in a
// request target. What is encoded already stays as it is.
func escapeQuery(q string) string {
	if http1.IsVisibleASCII(q) {
		return q
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, 3*len(q))
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c >= 0x7f {
			b = append(b, '%', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}
