package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// This file holds the rules of the opening handshake (RFC 6455, Section 4) and
// does no I/O: what a request and a response must say, and the bytes of ours.
// server.go and client.go carry them.

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
	// Err is the cause, if it is not the peer's answer alone: an error of
	// the network or of TLS, or the context's.
	Err error

	invalid bool   // the request cannot be made
	quoted  string // what the response says of itself, for Error
}

// Error returns the reason, the status and the cause. On a client, Location and
// the beginning of the body of the response stand with the status, in quotes
// and on one line; a password in Location does not.
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

// withoutPrefix returns the text of err for use within one of our errors.
func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "websocket: ") }

// newRefusal returns the error of a server that answers status. The fields come
// in pairs of name and value.
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

// Names of the handshake's fields as keys of an http.Header. On the wire they
// are spelled as in RFC 6455.
const (
	keyField        = "Sec-Websocket-Key"
	acceptField     = "Sec-Websocket-Accept"
	versionField    = "Sec-Websocket-Version"
	protocolField   = "Sec-Websocket-Protocol"
	extensionsField = "Sec-Websocket-Extensions"
)

// An agreement is what the opening handshake settled.
type agreement struct {
	subprotocol string            // "" if there is none
	deflate     *deflateAgreement // nil: messages are not compressed
}

// Server: the client's opening handshake (RFC 6455, Section 4.2.1).

// requestChecks are the rules for a request, in the order of their answers: a
// browser that just visits the address learns that it should upgrade.
var requestChecks = [...]func(*http.Request) error{
	checkHTTPVersion,
	checkMethod,
	checkRequestTarget,
	checkHostField,
	checkUpgrade,
	checkConnection,
	checkVersion,
	checkKey,
	checkNoBody,
}

// checkRequest returns the refusal of a request that is no valid opening
// handshake, or nil.
func checkRequest(r *http.Request) error {
	for _, check := range requestChecks {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

// checkHTTPVersion refuses HTTP/1.0, where Upgrade means nothing (RFC 9110,
// Section 7.8), and HTTP/2, where it does not exist.
func checkHTTPVersion(r *http.Request) error {
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return newRefusal(http.StatusHTTPVersionNotSupported, fmt.Sprintf("WebSocket needs HTTP/1.1, and this request came in HTTP/%d.%d: "+
			"a proxy in front of this server must speak HTTP/1.1 to it, and pass Upgrade and Connection on"+
			" (nginx: proxy_http_version 1.1)", r.ProtoMajor, r.ProtoMinor))
	}
	return nil
}

func checkMethod(r *http.Request) error {
	if r.Method != http.MethodGet {
		return newRefusal(http.StatusMethodNotAllowed, "method is not GET, with which a WebSocket opens", "Allow", http.MethodGet)
	}
	return nil
}

// checkRequestTarget refuses "*", which is for OPTIONS alone, and URIs without
// a path (RFC 9112, Section 3.2).
func checkRequestTarget(r *http.Request) error {
	if r.RequestURI == "*" || r.URL != nil && r.URL.Opaque != "" {
		return newRefusal(http.StatusBadRequest, "request target is not a path")
	}
	return nil
}

func checkHostField(r *http.Request) error {
	if r.Host == "" {
		return newRefusal(http.StatusBadRequest, "Host is missing")
	}
	return nil
}

// proxyAdvice is the advice for who finds a field of a WebSocket client's request
// missing, or changed.
const proxyAdvice = ": a proxy in front of this server must pass Upgrade and Connection on" +
	` (nginx: proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade")`

// checkUpgrade tells a visitor what this is, and a WebSocket client, which sends
// a key, what became of its request.
func checkUpgrade(r *http.Request) error {
	lines := r.Header["Upgrade"]
	switch {
	case len(lines) == 0 && len(r.Header[keyField]) == 0:
		return newRefusal(http.StatusUpgradeRequired, "this is a WebSocket endpoint: open it with a WebSocket client", upgradeFields...)
	case len(lines) == 0:
		return newRefusal(http.StatusUpgradeRequired, "Upgrade is missing"+proxyAdvice, upgradeFields...)
	case !containsToken(lines, "websocket"):
		return newRefusal(http.StatusBadRequest, "Upgrade does not name websocket"+proxyAdvice)
	default:
		return nil
	}
}

// upgradeFields belong in a 426 response (RFC 9110, Section 15.5.22; RFC 6455,
// Section 4.4).
var upgradeFields = []string{"Upgrade", "websocket", "Connection", "Upgrade", versionField, "13"}

func checkConnection(r *http.Request) error {
	if !containsToken(r.Header["Connection"], "upgrade") {
		return newRefusal(http.StatusBadRequest, "Connection does not name Upgrade"+proxyAdvice)
	}
	return nil
}

// checkVersion wants "13": "the value MUST be 13" (RFC 6455, Section 4.1).
func checkVersion(r *http.Request) error {
	lines := r.Header[versionField]
	switch {
	case len(lines) == 0:
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Version is missing", versionField, "13")
	case len(lines) > 1:
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Version appears twice", versionField, "13")
	case http1.TrimSpace(lines[0]) != "13":
		return newRefusal(http.StatusUpgradeRequired, "Sec-WebSocket-Version is not 13, the one that this server speaks", upgradeFields...)
	default:
		return nil
	}
}

func checkKey(r *http.Request) error {
	lines := r.Header[keyField]
	switch {
	case len(lines) == 0:
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Key is missing")
	case len(lines) > 1:
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Key appears twice")
	case !isKey(http1.TrimSpace(lines[0])):
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Key is not the base64 form of 16 bytes")
	default:
		return nil
	}
}

// isKey reports whether s is 16 bytes in base64. The bits of the last letter
// that carry nothing may have any value: the example in RFC 6455, Section 4.1,
// sets some.
func isKey(s string) bool {
	if len(s) != 24 || s[22:] != "==" {
		return false
	}
	for i := range len(s) - 2 {
		if c := s[i]; c != '+' && c != '/' && !http1.IsAlphanumeric(c) {
			return false
		}
	}
	return true
}

// checkNoBody refuses a request with a body, whose bytes would be taken for
// frames. The rest of such a connection is of no use.
func checkNoBody(r *http.Request) error {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return newRefusal(http.StatusBadRequest, "request has a body, which an opening handshake must not have", "Connection", "close")
	}
	return nil
}

// offeredSubprotocols returns the subprotocols in the request, in the client's
// order of preference (RFC 6455, Section 4.2.1).
func offeredSubprotocols(r *http.Request) ([]string, error) {
	var offered []string
	for element := range listElements(r.Header[protocolField]) {
		switch {
		case !http1.IsToken(element):
			return nil, newRefusal(http.StatusBadRequest, "Sec-WebSocket-Protocol is malformed")
		case slices.Contains(offered, element):
			return nil, newRefusal(http.StatusBadRequest, "Sec-WebSocket-Protocol names a subprotocol twice")
		case len(offered) == maxListed:
			return nil, newRefusal(http.StatusBadRequest, "Sec-WebSocket-Protocol names too many subprotocols")
		}
		offered = append(offered, element)
	}
	return offered, nil
}

// chooseSubprotocol returns the first of the server's subprotocols that the
// client offered, or "".
func chooseSubprotocol(supported, offered []string) string {
	for _, s := range supported {
		if slices.Contains(offered, s) {
			return s
		}
	}
	return ""
}

// offeredExtensions returns the extensions in the request, in the client's
// order of preference.
func offeredExtensions(r *http.Request) ([]extension, error) {
	offers, err := parseExtensions(r.Header[extensionsField])
	if err != nil {
		return nil, newRefusal(http.StatusBadRequest, "Sec-WebSocket-Extensions is malformed")
	}
	return offers, nil
}

// appendSwitchingProtocols appends the server's opening handshake (RFC 6455,
// Section 4.2.2) up to the fields that the application adds. The blank line is
// the caller's.
func appendSwitchingProtocols(b []byte, key string, agreed agreement, answer []extension) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\n"+
		"Connection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	b = appendAcceptKey(b, key)
	b = append(b, "\r\n"...)
	if agreed.subprotocol != "" {
		b = http1.AppendField(b, "Sec-WebSocket-Protocol", agreed.subprotocol)
	}
	if len(answer) > 0 {
		b = append(b, "Sec-WebSocket-Extensions: "...)
		b = appendExtensions(b, answer)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendRefusal appends the whole response that tells a client of e, for a
// server that closes the connection after it.
func appendRefusal(b []byte, e *HandshakeError) []byte {
	body := e.Reason + "\n"
	b = fmt.Appendf(b, "HTTP/1.1 %03d %s\r\n", e.Status, http.StatusText(e.Status))
	if e.Response != nil {
		b = http1.AppendFields(b, e.Response.Header, isRefusalField)
	}
	b = appendConnection(b, e.Status)
	b = http1.AppendField(b, "Content-Type", "text/plain; charset=utf-8")
	b = http1.AppendField(b, "X-Content-Type-Options", "nosniff")
	b = http1.AppendField(b, "Content-Length", strconv.Itoa(len(body)))
	b = append(b, "\r\n"...)
	return append(b, body...)
}

// appendConnection appends Upgrade, which only a 426 has, and Connection, which
// says in any case that the connection ends.
func appendConnection(b []byte, status int) []byte {
	if status != http.StatusUpgradeRequired {
		return http1.AppendField(b, "Connection", "close")
	}
	return append(b, "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"...)
}

// isRefusalField reports whether name is one of the fields that this package
// sets itself in a refusal.
func isRefusalField(name string) bool {
	switch http1.CanonicalName(name) {
	case "Connection", "Content-Length", "Content-Type", "Trailer", "Transfer-Encoding", "Upgrade", "X-Content-Type-Options":
		return true
	default:
		return false
	}
}

// Client: the request and the server's answer (RFC 6455, Section 4.1).

// requestFields are the fields of our request in their order, with their
// spelling on the wire.
var requestFields = [...]struct{ key, name string }{
	{"Upgrade", "Upgrade"},
	{"Connection", "Connection"},
	{keyField, "Sec-WebSocket-Key"},
	{versionField, "Sec-WebSocket-Version"},
	{protocolField, "Sec-WebSocket-Protocol"},
	{extensionsField, "Sec-WebSocket-Extensions"},
}

// setRequestFields makes h the header of an opening handshake.
func setRequestFields(h http.Header, key string, subprotocols []string, offers []extension) {
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set(keyField, key)
	h.Set(versionField, "13")
	if len(subprotocols) > 0 {
		h.Set(protocolField, strings.Join(subprotocols, ", "))
	}
	if len(offers) > 0 {
		h.Set(extensionsField, string(appendExtensions(nil, offers)))
	}
}

// appendRequest appends the whole request with the given target, which was
// checked, as were Host and Header.
func appendRequest(b []byte, r *http.Request, resource string) []byte {
	b = append(b, "GET "...)
	b = append(b, resource...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = http1.AppendField(b, "Host", r.Host)
	for _, f := range requestFields {
		if v := r.Header[f.key]; len(v) > 0 {
			b = http1.AppendField(b, f.name, v[0])
		}
	}
	b = http1.AppendFields(b, r.Header, isReservedField)
	return append(b, "\r\n"...)
}

// checkSubprotocols returns an error if the subprotocols may not be offered:
// they must be tokens and "MUST all be unique strings" (RFC 6455, Section 4.1).
func checkSubprotocols(list []string) error {
	for i, s := range list {
		if !http1.IsToken(s) {
			return fmt.Errorf("subprotocol %q is not a token: write it without spaces and separators", s)
		}
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("subprotocol %q is listed twice", s)
		}
	}
	return nil
}

// checkFields returns an error if an application's header may not be added to
// a request or response: a name that is reserved for the handshake, or a name
// or value that would break the head. Values are never part of the error.
func checkFields(h http.Header) error {
	for name, values := range h {
		if !http1.IsToken(name) {
			return fmt.Errorf("header name %q is not a token", name)
		}
		if isReservedField(name) {
			return fmt.Errorf("header %s is set by this package alone", name)
		}
		for _, v := range values {
			if !http1.IsFieldText(v) {
				return fmt.Errorf("value of header %s has a control character", name)
			}
		}
	}
	return nil
}

// isReservedField reports whether an application may not add the field name to
// a handshake: the handshake's own, and those that frame a message or name its
// host.
func isReservedField(name string) bool {
	name = http1.CanonicalName(name)
	return http1.IsFraming(name) || strings.HasPrefix(name, "Sec-Websocket-")
}

// An offer is what a client asked for; the response is judged by it.
type offer struct {
	key                string
	subprotocols       []string
	requireSubprotocol bool // fail if the server picks none of them
	compression        *Compression
}

// checkResponse returns what a server's opening handshake settled, or why it
// fails. The checks stand in the order of RFC 6455, Section 4.1.
func checkResponse(r *http.Response, o *offer) (agreed agreement, err error) {
	for _, check := range responseChecks {
		if err := check(r, o); err != nil {
			return agreement{}, err
		}
	}
	if agreed.deflate, err = checkExtensions(r, o.compression); err != nil {
		return agreement{}, err
	}
	agreed.subprotocol, err = checkSubprotocol(r, o)
	return agreed, err
}

var responseChecks = [...]func(*http.Response, *offer) error{
	checkResponseVersion,
	checkResponseUpgrade,
	checkResponseConnection,
	checkAccept,
}

// badResponseError returns the error of a client that fails on a 101 response.
func badResponseError(reason string) error {
	return &HandshakeError{Status: http.StatusSwitchingProtocols, Reason: reason}
}

func checkResponseVersion(r *http.Response, _ *offer) error {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return badResponseError("response is not HTTP/1.1")
	}
	return nil
}

// checkResponseUpgrade wants one protocol, not a list that holds it.
func checkResponseUpgrade(r *http.Response, _ *offer) error {
	if lines := r.Header["Upgrade"]; len(lines) != 1 || !http1.EqualFold(lines[0], "websocket") {
		return badResponseError("Upgrade in the response is not websocket")
	}
	return nil
}

func checkResponseConnection(r *http.Response, _ *offer) error {
	if !containsToken(r.Header["Connection"], "upgrade") {
		return badResponseError("Connection in the response does not name Upgrade")
	}
	return nil
}

func checkAccept(r *http.Response, o *offer) error {
	lines := r.Header[acceptField]
	if len(lines) != 1 || lines[0] != string(appendAcceptKey(nil, o.key)) {
		return badResponseError("Sec-WebSocket-Accept does not belong to our key")
	}
	return nil
}

// checkExtensions returns the parameters agreed on. "If the response includes
// a |Sec-WebSocket-Extensions| header field and this header field indicates
// the use of an extension that was not present in the client's handshake, the
// client MUST Fail the WebSocket Connection" (RFC 6455, Section 4.1).
func checkExtensions(r *http.Response, c *Compression) (*deflateAgreement, error) {
	answer, err := parseExtensions(r.Header[extensionsField])
	if err != nil {
		return nil, badResponseError("Sec-WebSocket-Extensions in the response is malformed")
	}
	agreed, err := checkDeflate(answer, c)
	if err != nil {
		return nil, badResponseError(err.Error())
	}
	return agreed, nil
}

// checkSubprotocol returns the subprotocol in the response, "" if there is
// none. It must be one of those offered, letter by letter.
func checkSubprotocol(r *http.Response, o *offer) (string, error) {
	lines := r.Header[protocolField]
	switch {
	case len(lines) == 0 && o.requireSubprotocol && len(o.subprotocols) > 0:
		return "", badResponseError("server picked none of our subprotocols")
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", badResponseError("Sec-WebSocket-Protocol appears twice in the response")
	case !slices.Contains(o.subprotocols, lines[0]):
		return "", badResponseError("response uses a subprotocol that was not offered")
	default:
		return lines[0], nil
	}
}

// maxQuoted bounds, in bytes, what an error quotes of a response.
const maxQuoted = 200

// quotedFrom returns what r and the beginning of its body say, to stand behind the
// status.
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

// Both: keys and lists.

// keyGUID is what a server joins to the client's key to show that it
// understood the handshake (RFC 6455, Section 1.3).
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// appendAcceptKey appends the value of Sec-WebSocket-Accept for key. SHA-1
// guards nothing here (RFC 6455, Section 10.8).
func appendAcceptKey(b []byte, key string) []byte {
	var joined [24 + len(keyGUID)]byte
	sum := sha1.Sum(append(append(joined[:0], key...), keyGUID...))
	return base64.StdEncoding.AppendEncode(b, sum[:])
}

// listElements returns an iterator over the elements of a list field, over all of
// its lines, without those that are empty (RFC 9110, Section 5.6.1).
func listElements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for line != "" {
				var element string
				element, line, _ = strings.Cut(line, ",")
				if element = http1.TrimSpace(element); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// containsToken reports whether the list field has the token, in any case.
func containsToken(lines []string, token string) bool {
	for element := range listElements(lines) {
		if http1.EqualFold(element, token) {
			return true
		}
	}
	return false
}
