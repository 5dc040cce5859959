package http1

import (
	"bytes"
	"errors"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Bounds on one head. They are far above what a handshake needs.
const (
	MaxHeadBytes  = 64 << 10
	MaxHeadFields = 256
)

// Errors for a head that is not acceptable.
var (
	ErrTooLarge  = errors.New("header is too large")
	ErrMalformed = errors.New("header is malformed")
	ErrStartLine = errors.New("start line is malformed")
	ErrTarget    = errors.New("request target is malformed")
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
			return 0, ErrMalformed
		}
		if i >= 3 && b[i-2] == '\n' {
			return i + 1, nil
		}
	}
	return 0, nil
}

// parseHead splits a head, whose length is that of headLength, into its start
// line and its fields. The strings share head's memory.
func parseHead(head string) (start string, h http.Header, err error) {
	start, rest, _ := strings.Cut(head, "\r\n")
	n := strings.Count(rest, "\n") - 1
	if n > MaxHeadFields {
		return "", nil, ErrTooLarge
	}
	if !IsFieldText(start) {
		return "", nil, ErrStartLine
	}
	h = make(http.Header, n)
	values := make([]string, n)
	for i := range values {
		line, after, _ := strings.Cut(rest, "\r\n")
		name, value, ok := parseField(line)
		if !ok {
			return "", nil, ErrMalformed
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
	return name, TrimSpace(value), ok && IsToken(name) && IsFieldText(value)
}

// addField adds one value, in a slice of its own, to h.
func addField(h http.Header, name string, value []string) {
	key := CanonicalName(name)
	if earlier, ok := h[key]; ok {
		value = append(earlier, value...)
	}
	h[key] = value
}

// parseVersion reads "HTTP/1.1" (RFC 9112, Section 2.3).
func parseVersion(s string) (major, minor int, ok bool) {
	if s == "HTTP/1.1" {
		return 1, 1, true
	}
	return http.ParseHTTPVersion(s)
}

// CanonicalName returns the key of a field in an http.Header. The fields of
// the WebSocket handshake, whose registered spelling is not Go's canonical one,
// need no memory.
func CanonicalName(name string) string {
	switch name {
	case "Sec-WebSocket-Key":
		return "Sec-Websocket-Key"
	case "Sec-WebSocket-Version":
		return "Sec-Websocket-Version"
	case "Sec-WebSocket-Protocol":
		return "Sec-Websocket-Protocol"
	case "Sec-WebSocket-Extensions":
		return "Sec-Websocket-Extensions"
	case "Sec-WebSocket-Accept":
		return "Sec-Websocket-Accept"
	default:
		return textproto.CanonicalMIMEHeaderKey(name)
	}
}

// KeyOf returns the key under which h has the field with the canonical name: that
// itself, or the first of the other spellings. If h has none, it is name.
func KeyOf(h http.Header, name string) string {
	if _, ok := h[name]; ok {
		return name
	}
	for _, key := range sortedNames(h) {
		if CanonicalName(key) == name {
			return key
		}
	}
	return name
}

// IsFraming reports whether the field name frames a message, names its host or
// governs the connection, so that only the writer of the head may set it.
func IsFraming(name string) bool {
	switch CanonicalName(name) {
	case "Connection", "Content-Length", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	default:
		return false
	}
}

// AppendField appends one line of a head. The caller has checked name and
// value.
func AppendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// AppendFields appends the fields of h in the order of their names, without
// those that skip reports. Fields that would break the head are left out.
func AppendFields(b []byte, h http.Header, skip func(name string) bool) []byte {
	for _, name := range sortedNames(h) {
		if !IsToken(name) || skip(name) {
			continue
		}
		for _, v := range h[name] {
			if IsFieldText(v) {
				b = AppendField(b, name, v)
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
