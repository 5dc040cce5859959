package websocket

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A HandshakeError says why an opening handshake did not lead to a connection.
//
// A server's policy ([OriginPolicy], AcceptOptions.SelectSubprotocol, the open
// function of [Handler]) can return one to decide how a request is refused:
// Status, Reason as the text of the body, and the fields of Response.Header,
// such as WWW-Authenticate.
type HandshakeError struct {
	// Status is the HTTP status that the server, or a proxy before it,
	// answered. 0: none was sent or received.
	Status int
	// Reason is what was wrong, in words that may be shown to the peer.
	Reason string
	// Response is, on a client, the response received. Its Body holds what
	// arrived of the first 1024 bytes and need not be closed. On a server
	// only its Header is used: the fields that distinguish the refusal. Nil:
	// there is none.
	Response *http.Response
	// Err is the cause, if there is one besides the peer's answer: an error
	// of the network or of TLS, or the context's.
	Err error

	invalid bool   // the options or the URL do not make a request
	quoted  string // the response's own words, as quotedFrom returns them
}

// Error returns the reason, the status and the cause. On a client, the status
// is followed by the Location and the beginning of the body of the response, in
// quotes and on one line, without a password that Location may have.
func (e *HandshakeError) Error() string {
	s := "websocket: opening handshake: " + e.Reason
	if e.Status != 0 {
		s += " (HTTP status " + strconv.Itoa(e.Status) + e.quoted + ")"
	}
	if e.Err != nil {
		s += ": " + withoutPrefix(e.Err)
	}
	return s
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }

// withoutPrefix returns the text of err for use within another error of this
// package.
func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "websocket: ") }

// newRefusal returns the error of a server that answers with status. fields are
// pairs of name and value for the header of the response.
func newRefusal(status int, reason string, fields ...string) *HandshakeError {
	e := &HandshakeError{Status: status, Reason: reason}
	if len(fields) > 0 {
		e.Response = &http.Response{StatusCode: status, Header: make(http.Header)}
		for i := 0; i < len(fields); i += 2 {
			e.Response.Header.Set(fields[i], fields[i+1])
		}
	}
	return e
}

// badResponseError returns the error of a client that does not accept a 101
// response.
func badResponseError(reason string) error {
	return &HandshakeError{Status: http.StatusSwitchingProtocols, Reason: reason}
}

// maxQuoted bounds, in bytes, what an error quotes of a response.
const maxQuoted = 200

// quotedFrom returns what the response r and the beginning of its body say, in
// the form in which it follows the status in an error.
func quotedFrom(r *http.Response, body []byte) string {
	s := ""
	if u, err := url.Parse(r.Header.Get("Location")); err == nil && u.String() != "" {
		s = ", Location " + excerpt(u.Redacted())
	}
	text := strings.Join(strings.Fields(string(body)), " ")
	if text != "" && r.Header.Get("Content-Encoding") == "" {
		s += ", body " + excerpt(text)
	}
	return s
}

// excerpt returns the beginning of s in quotes, on one line.
func excerpt(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	end := maxQuoted
	for end > maxQuoted-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return strconv.Quote(s[:end] + "...")
}
