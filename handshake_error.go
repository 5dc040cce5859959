package websocket

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// A HandshakeError says why an opening handshake did not lead to a connection.
//
// A server's policy ([OriginPolicy], AcceptOptions.SelectSubprotocol, the open
// function of [Handler] or [ReceiverHandler]) can return one to decide how a
// request is refused: Status, the fields of Response.Header, such as
// WWW-Authenticate, and Response.Body or, without one, Reason as the text of the
// body.
type HandshakeError struct {
	// Status is the HTTP status that the server, or a proxy before it,
	// answered. 0: none was sent or received.
	Status int
	// Reason is what was wrong, in words that may be shown to the peer.
	Reason string
	// Response is, on a client, the response received. Its Body holds what
	// arrived of the first 1024 bytes and need not be closed. On a server
	// its Header has the fields that distinguish the refusal, and its Body,
	// if it has one, is what the client is sent, with the Content-Type and
	// Content-Encoding of Header. Without a Content-Type that is
	// text/plain; charset=utf-8; no browser is left to guess. The Body is
	// read once and closed: each refusal needs one of its own. Reason is
	// sent instead of one that is empty, longer than 64 KiB, or cannot be
	// read, and instead of that of a client's error. Nil: there is none.
	Response *http.Response
	// Err is the cause, if there is one besides the peer's answer: an error
	// of the network or of TLS, or the context's.
	Err error

	invalid  bool   // the options or the URL do not make a request
	received bool   // Response was received by a client, and its Body may be cut
	quoted   string // the response's own words, as quotedFrom returns them
	body     []byte // what a server sends as the body; empty: Reason
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

// plainText is the media type of a body that does not say what it is.
const plainText = "text/plain; charset=utf-8"

// content returns the body with which a server refuses, and its media type.
func (e *HandshakeError) content() (body []byte, mediaType string) {
	if len(e.body) == 0 {
		return []byte(e.Reason + "\n"), plainText
	}
	for name, values := range e.Response.Header {
		if http1.CanonicalName(name) == "Content-Type" && len(values) > 0 && values[0] != "" && http1.IsFieldText(values[0]) {
			return e.body, values[0]
		}
	}
	return e.body, plainText
}

// isOwnField reports whether the field name of Response.Header is not sent with
// a refusal, because this package describes the body that it sends: its type,
// its length, and how it is framed. The encoding is that of Response.Body, and
// goes out with it alone.
func (e *HandshakeError) isOwnField(name string) bool {
	switch http1.CanonicalName(name) {
	case "Content-Length", "Content-Range", "Content-Type", "Trailer", "Transfer-Encoding", "X-Content-Type-Options":
		return true
	case "Content-Encoding":
		return len(e.body) == 0
	default:
		return false
	}
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
