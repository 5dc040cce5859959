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

// A wsURI is what a WebSocket URI says (RFC 6455, Section 3): where to
// connect and what to ask for.
type wsURI struct {
	secure       bool          // TLS
	network      string        // "tcp" or "unix"
	addr         string        // host:port to connect to, or the path of a socket
	host         string        // the host: an ASCII name, or an IP address without brackets
	port         string        // "" for a Unix socket
	hostField    string        // of the Host field, without a default port
	resourceName string        // path and query: the request target
	user         *url.Userinfo // nil if there is none
}

// parseURI reads a URI. Its errors never quote userinfo, path or query,
// which may hold secrets.
func parseURI(uri string) (*wsURI, error) {
	if strings.Contains(uri, "#") {
		return nil, errors.New("a fragment is not allowed in a WebSocket URI")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return nil, withoutURI(err)
	}
	t := &wsURI{user: u.User}
	scheme, unix := strings.CutSuffix(u.Scheme, "+unix")
	switch scheme {
	case "ws", "http":
	case "wss", "https":
		t.secure = true
	default:
		return nil, errors.New("scheme is not ws, wss, http, https, ws+unix or wss+unix")
	}
	switch {
	case u.Opaque != "":
		return nil, errors.New("URI has no // before its host")
	case !unix:
		return t, t.setHost(u)
	case strings.HasPrefix(scheme, "ws"):
		return t, t.setSocket(u)
	default:
		return nil, errors.New("scheme of a Unix socket is not ws+unix or wss+unix")
	}
}

// withoutURI returns what is wrong with a URI without the URI, which
// [url.Error] quotes whole.
func withoutURI(err error) error {
	var e *url.Error
	if !errors.As(err, &e) || strings.Contains(e.URL, "@") {
		return errors.New("malformed URI")
	}
	return e.Err
}

// setHost takes host, port and resource from u.
func (t *wsURI) setHost(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	bare, err := hostport.Canonical(host)
	if err != nil {
		return err
	}
	if port == "" {
		port = t.defaultPort()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("port is not between 1 and 65535")
	}
	t.network, t.addr = "tcp", net.JoinHostPort(host, port)
	t.host, t.port = bare, port
	t.hostField = t.hostPort()
	if port == t.defaultPort() {
		t.hostField = strings.TrimSuffix(t.hostField, ":"+port)
	}
	t.resourceName = resourceName(u.EscapedPath(), u.RawQuery)
	return nil
}

// setSocket takes the path of a Unix socket and, after the first colon, the
// resource from u.
func (t *wsURI) setSocket(u *url.URL) error {
	socket, path, _ := strings.Cut(u.EscapedPath(), ":")
	socket, err := url.PathUnescape(socket)
	if err != nil || socket == "" || u.Host != "" || strings.Contains(socket, "\x00") {
		return errors.New("URI is not of the form ws+unix:///path/to/socket:/resource")
	}
	if path != "" && path[0] != '/' {
		return errors.New("resource after the path of the socket does not begin with a slash")
	}
	t.network, t.addr = "unix", socket
	t.host, t.hostField = "localhost", "localhost"
	t.resourceName = resourceName(path, u.RawQuery)
	return nil
}

// defaultPort returns the port of a URI that names none.
func (t *wsURI) defaultPort() string {
	if t.secure {
		return "443"
	}
	return "80"
}

// hostPort returns host and port, even a default port.
func (t *wsURI) hostPort() string { return net.JoinHostPort(t.host, t.port) }

// url returns the target as a URL of HTTP, without userinfo, for the parts of
// net/http that want one.
func (t *wsURI) url() *url.URL {
	u := &url.URL{Scheme: "http", Host: t.hostField}
	if t.secure {
		u.Scheme = "https"
	}
	path, query, _ := strings.Cut(t.resourceName, "?")
	u.RawQuery = query
	u.RawPath = path
	u.Path, _ = url.PathUnescape(path)
	return u
}

// resourceName returns the request target for an escaped path and a query: "/" if
// the path is empty, the question mark only before a query (RFC 6455, Section
// 3).
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
// request target. What is encoded stays as it is.
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
