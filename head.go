package websocket

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// This file reads and writes the heads of HTTP/1 messages: the start line, the
// header fields and the blank line. It is pure and stricter than net/http: a
// bare LF, a folded line, a space before a colon or a control character is an
// error, because two readers that differ about a head can be played off
// against each other (RFC 9112, Section 11.2).

// Bounds on one head. They are far above what a handshake needs.
const (
	maxHeadBytes  = 64 << 10
	maxHeadFields = 256
)

var (
	errHeadTooLarge  = errors.New("header is too large")
	errHeadMalformed = errors.New("header is malformed")
	errStartLine     = errors.New("start line is malformed")
)

// headLength returns the length of the head at the start of b, with the blank
// line that ends it, or 0 if that line has not arrived. The first seen bytes
// were looked at by an earlier call. A bare LF is an error.
func headLength(b []byte, seen int) (int, error) {
	for i := seen; i < len(b); i++ {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return 0, nil
		}
		i += lf
		if i == 0 || b[i-1] != '\r' {
			return 0, errHeadMalformed
		}
		if i >= 3 && b[i-2] == '\n' {
			return i + 1, nil
		}
	}
	return 0, nil
}

// parseHead splits a head that headLength measured into its start line and its
// fields. The strings share head's memory.
func parseHead(head string) (start string, h http.Header, err error) {
	start, rest, _ := strings.Cut(head, "\r\n")
	n := strings.Count(rest, "\n") - 1
	if n > maxHeadFields {
		return "", nil, errHeadTooLarge
	}
	if !isFieldText(start) {
		return "", nil, errStartLine
	}
	h = make(http.Header, n)
	values := make([]string, n)
	for i := range values {
		line, after, _ := strings.Cut(rest, "\r\n")
		name, value, ok := parseField(line)
		if !ok {
			return "", nil, errHeadMalformed
		}
		rest = after
		values[i] = value
		addField(h, name, values[i:i+1:i+1])
	}
	return start, h, nil
}

// parseField splits one line of a head (RFC 9112, Section 5). The value comes
// without the white space around it.
func parseField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	return name, trimSpace(value), ok && isToken(name) && isFieldText(value)
}

// addField adds one value, in a slice of its own, to h.
func addField(h http.Header, name string, value []string) {
	key := canonicalName(name)
	if earlier, ok := h[key]; ok {
		value = append(earlier, value...)
	}
	h[key] = value
}

// canonicalName returns the key of a field in an http.Header. The fields of
// the handshake, whose registered spelling is not Go's canonical one, need no
// memory.
func canonicalName(name string) string {
	switch name {
	case "Sec-WebSocket-Key":
		return keyField
	case "Sec-WebSocket-Version":
		return versionField
	case "Sec-WebSocket-Protocol":
		return protocolField
	case "Sec-WebSocket-Extensions":
		return extensionsField
	case "Sec-WebSocket-Accept":
		return acceptField
	default:
		return textproto.CanonicalMIMEHeaderKey(name)
	}
}

// parseRequest returns the request with the given head and context (RFC 9112,
// Section 3). Its body is empty whatever the head announces; checkRequest
// refuses those.
func parseRequest(ctx context.Context, head string) (*http.Request, error) {
	start, h, err := parseHead(head)
	if err != nil {
		return nil, err
	}
	r := new(http.Request).WithContext(ctx)
	r.Header, r.Body = h, http.NoBody
	if err := parseRequestLine(r, start); err != nil {
		return nil, err
	}
	if err := liftHost(r); err != nil {
		return nil, err
	}
	liftBody(r)
	return r, nil
}

// parseRequestLine fills r from the first line of a request.
func parseRequestLine(r *http.Request, line string) (err error) {
	var ok1, ok2, ok3 bool
	r.Method, line, ok1 = strings.Cut(line, " ")
	r.RequestURI, r.Proto, ok2 = strings.Cut(line, " ")
	r.ProtoMajor, r.ProtoMinor, ok3 = parseHTTPVersion(r.Proto)
	if !ok1 || !ok2 || !ok3 || !isToken(r.Method) || !isVisibleASCII(r.RequestURI) {
		return errStartLine
	}
	if r.Method == http.MethodConnect {
		r.URL = &url.URL{Host: r.RequestURI}
		return nil
	}
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		return errStartLine
	}
	return nil
}

// parseHTTPVersion reads "HTTP/1.1" (RFC 9112, Section 2.3).
func parseHTTPVersion(s string) (major, minor int, ok bool) {
	if s == "HTTP/1.1" {
		return 1, 1, true
	}
	return http.ParseHTTPVersion(s)
}

// liftHost moves the Host field to where net/http keeps it. "A server MUST
// respond with a 400 status code to any HTTP/1.1 request message that lacks a
// Host header field and to any request message that contains more than one
// Host header field line or a Host header field with an invalid field value"
// (RFC 9112, Section 3.2).
func liftHost(r *http.Request) error {
	hosts := r.Header["Host"]
	delete(r.Header, "Host")
	if len(hosts) > 1 || len(hosts) == 0 && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 {
		return errHeadMalformed
	}
	if len(hosts) == 1 && !isHostText(hosts[0]) {
		return errHeadMalformed
	}
	r.Host = r.URL.Host
	if r.Host == "" && len(hosts) == 1 {
		r.Host = hosts[0]
	}
	return nil
}

// liftBody notes whether a body is announced, the way net/http does: a length
// of -1 for one that is not known.
func liftBody(r *http.Request) {
	lengths := r.Header["Content-Length"]
	if len(lengths) > 1 || len(lengths) == 1 && lengths[0] != "0" {
		r.ContentLength = -1
	}
	if codings := r.Header["Transfer-Encoding"]; len(codings) > 0 {
		r.ContentLength, r.TransferEncoding = -1, codings
	}
}

// parseResponse returns the response with the given head (RFC 9112, Section
// 4). Its body is empty.
func parseResponse(head string) (*http.Response, error) {
	start, h, err := parseHead(head)
	if err != nil {
		return nil, err
	}
	r := &http.Response{Header: h, Body: http.NoBody}
	var ok1, ok2 bool
	r.Proto, r.Status, ok1 = strings.Cut(start, " ")
	r.ProtoMajor, r.ProtoMinor, ok2 = parseHTTPVersion(r.Proto)
	r.StatusCode = parseStatus(r.Status)
	if !ok1 || !ok2 || r.ProtoMajor != 1 || r.StatusCode == 0 {
		return nil, errStartLine
	}
	return r, nil
}

// parseStatus returns the code at the start of "101 Switching Protocols", or 0
// if s is not three digits and a space (RFC 9112, Section 4). The space may be
// missing if the phrase is, as many servers have it.
func parseStatus(s string) int {
	if len(s) < 3 || len(s) > 3 && s[3] != ' ' || s[0] < '1' || s[0] > '9' {
		return 0
	}
	code := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	return code
}

// appendField appends one line of a head. Name and value are checked before.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// appendFields appends the fields of h in the order of their names, without
// those that skip reports. Fields that would break the head are left out.
func appendFields(b []byte, h http.Header, skip func(name string) bool) []byte {
	for _, name := range sortedNames(h) {
		if !isToken(name) || skip(name) {
			continue
		}
		for _, v := range h[name] {
			if isFieldText(v) {
				b = appendField(b, name, v)
			}
		}
	}
	return b
}

// sortedNames returns the names in h in alphabetical order.
func sortedNames(h http.Header) []string {
	if len(h) == 0 {
		return nil
	}
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// isToken reports whether s is a token (RFC 9110, Section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTokenChar reports whether c can be part of a token.
func isTokenChar(c byte) bool {
	return isAlphanumeric(c) || c == '-' || strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0
}

// isAlphanumeric reports whether c is an ASCII letter or digit.
func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isFieldText reports whether s can stand in a line of a head: it has no
// control character but the tab (RFC 9110, Section 5.5).
func isFieldText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isHostText reports whether s has only characters of uri-host [":" port]
// (RFC 3986, Section 3.2).
func isHostText(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("-._~%!$&'()*+,;=:[]", c) < 0 {
			return false
		}
	}
	return true
}

// isVisibleASCII reports whether s is made of visible ASCII characters only.
func isVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// trimSpace returns s without the optional white space of RFC 9110, Section
// 5.6.3, at both ends.
func trimSpace(s string) string { return strings.Trim(s, " \t") }

// equalFold reports whether s and t are equal when the case of ASCII letters
// is ignored. Where lengths are equal, strings.EqualFold cannot take a longer
// letter of another script for an ASCII one.
func equalFold(s, t string) bool { return len(s) == len(t) && strings.EqualFold(s, t) }

// Names of the handshake's fields as keys of an http.Header. On the wire they
// are spelled as in RFC 6455.
const (
	keyField        = "Sec-Websocket-Key"
	acceptField     = "Sec-Websocket-Accept"
	versionField    = "Sec-Websocket-Version"
	protocolField   = "Sec-Websocket-Protocol"
	extensionsField = "Sec-Websocket-Extensions"
)
