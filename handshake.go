package websocket

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// This file has the rules for the request of an opening handshake (RFC 6455,
// Section 4): what it must say, and the bytes of those that this package sends.
// Those for the response are in handshake_response.go. Both files do no I/O; it
// is done in server.go, http2.go, accept_conn.go and client.go.

// Names of the handshake's fields as keys of an http.Header. On the wire they
// are spelled as in RFC 6455.
const (
	keyField        = "Sec-Websocket-Key"
	acceptField     = "Sec-Websocket-Accept"
	versionField    = "Sec-Websocket-Version"
	protocolField   = "Sec-Websocket-Protocol"
	extensionsField = "Sec-Websocket-Extensions"
)

// An agreement is what both sides agreed on in the opening handshake.
type agreement struct {
	subprotocol string            // "" if there is none
	deflate     *deflateAgreement // nil: messages are not compressed
}

// What a server checks in a request (RFC 6455, Section 4.2.1; RFC 8441, Section 5).

// IsUpgrade reports whether r asks for a WebSocket: its Connection names Upgrade
// and its Upgrade names websocket or, over HTTP/2, its method is CONNECT and its
// :protocol is websocket. So a server can answer at one address with a page or
// with [Accept] or a [Handler], which check the rest of the handshake and refuse
// what is wrong with it, such as another method than GET.
func IsUpgrade(r *http.Request) bool {
	if isExtendedConnect(r) {
		return checkProtocol(r) == nil
	}
	return containsToken(r.Header["Connection"], "upgrade") && containsToken(r.Header["Upgrade"], "websocket")
}

// protocolPseudoField is the key in an http.Header under which net/http keeps the
// pseudo-header field that makes a CONNECT an extended one (RFC 8441, Section 4).
const protocolPseudoField = ":protocol"

// isExtendedConnect reports whether r opens a stream of HTTP/2 for another
// protocol (RFC 8441, Section 4).
func isExtendedConnect(r *http.Request) bool {
	return r != nil && r.ProtoMajor == 2 && r.Method == http.MethodConnect && len(r.Header[protocolPseudoField]) > 0
}

// requestChecks are the rules for a request. The first one that is broken
// decides the answer: Upgrade is checked before the fields that only WebSocket
// clients send, so that a browser that visits the address is told to upgrade.
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

// connectChecks are the rules for a request over HTTP/2. Key, Connection and
// Upgrade mean nothing there (RFC 8441, Section 5).
var connectChecks = [...]func(*http.Request) error{
	checkProtocol,
	checkRequestTarget,
	checkHostField,
	checkVersion,
}

// checkRequest returns the refusal of a request that is not a valid opening
// handshake, or nil.
func checkRequest(r *http.Request) error {
	checks := requestChecks[:]
	if isExtendedConnect(r) {
		checks = connectChecks[:]
	}
	for _, check := range checks {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

// checkProtocol refuses an extended CONNECT for another protocol (RFC 9220,
// Section 3).
func checkProtocol(r *http.Request) error {
	if lines := r.Header[protocolPseudoField]; len(lines) != 1 || lines[0] != "websocket" {
		return newRefusal(http.StatusNotImplemented, ":protocol is not websocket, the one that this address speaks")
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

// checkMethod refuses every method but GET: "The method of the request MUST be
// GET" (RFC 6455, Section 4.1).
func checkMethod(r *http.Request) error {
	if r.Method != http.MethodGet {
		return newRefusal(http.StatusMethodNotAllowed, "method is not GET, with which a WebSocket opens", "Allow", http.MethodGet)
	}
	return nil
}

// checkRequestTarget refuses what is neither a path nor "an absolute HTTP/HTTPS
// URI" (RFC 6455, Section 4.2.1): "*" is only for OPTIONS, and a host with its
// port only for CONNECT (RFC 9112, Section 3.2). It judges what the client sent
// and not r.URL, which middleware may have changed.
func checkRequestTarget(r *http.Request) error {
	target := r.RequestURI
	if target == "" && r.URL != nil {
		target = r.URL.RequestURI()
	}
	switch {
	case strings.Contains(target, "#"):
		return newRefusal(http.StatusBadRequest, "request target has a fragment, which is for the client alone")
	case !strings.HasPrefix(target, "/") && !isAbsoluteForm(target):
		return newRefusal(http.StatusBadRequest, "request target is neither a path nor an http or https URI")
	default:
		return nil
	}
}

// isAbsoluteForm reports whether target is an http or https URI. It must name a
// host, and no user (RFC 9110, Sections 4.2.1 and 4.2.4).
func isAbsoluteForm(target string) bool {
	u, err := url.ParseRequestURI(target)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

// checkHostField refuses a request that names no host: "The request MUST
// contain a |Host| header field" (RFC 6455, Section 4.1).
func checkHostField(r *http.Request) error {
	if r.Host == "" {
		return newRefusal(http.StatusBadRequest, "Host is missing")
	}
	return nil
}

// proxyAdvice ends the reason of a refusal that a WebSocket client gets because
// a proxy removed or changed a field of its request.
const proxyAdvice = ": a proxy in front of this server must pass Upgrade and Connection on" +
	` (nginx: proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade")`

// checkUpgrade refuses a request whose Upgrade does not name websocket. A
// client that sends a key speaks WebSocket, and is told what may have happened
// to its request; any other is told what this address is for.
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

// upgradeFields are the fields of a 426 response (RFC 9110, Section 15.5.22;
// RFC 6455, Section 4.4).
var upgradeFields = []string{"Upgrade", "websocket", "Connection", "Upgrade", versionField, "13"}

// checkConnection refuses a request whose Connection does not name Upgrade.
func checkConnection(r *http.Request) error {
	if !containsToken(r.Header["Connection"], "upgrade") {
		return newRefusal(http.StatusBadRequest, "Connection does not name Upgrade"+proxyAdvice)
	}
	return nil
}

// checkVersion refuses a request for any version but 13: "The value of this
// header field MUST be 13" (RFC 6455, Section 4.1).
func checkVersion(r *http.Request) error {
	lines := r.Header[versionField]
	switch {
	case len(lines) == 0:
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Version is missing", versionField, "13")
	case len(lines) > 1:
		return newRefusal(http.StatusBadRequest, "Sec-WebSocket-Version appears twice", versionField, "13")
	case http1.TrimSpace(lines[0]) == "13":
		return nil
	case isExtendedConnect(r): // there is no Upgrade
		return newRefusal(http.StatusBadRequest, wrongVersion, versionField, "13")
	default:
		return newRefusal(http.StatusUpgradeRequired, wrongVersion, upgradeFields...)
	}
}

// wrongVersion is the reason for refusing another version.
const wrongVersion = "Sec-WebSocket-Version is not 13, the one that this server speaks"

// checkKey refuses a request without a valid Sec-WebSocket-Key.
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

// isKey reports whether s is 16 bytes in base64. The unused bits of the last
// letter may have any value: the example in RFC 6455, Section 4.1, sets some.
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
// frames. Connection: close ends the connection, on which the body may follow.
func checkNoBody(r *http.Request) error {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return newRefusal(http.StatusBadRequest, "request has a body, which an opening handshake must not have", "Connection", "close")
	}
	return nil
}

// Subprotocols returns the subprotocols that the client offers in r, in its
// order of preference. It returns nil if there are none, and if the list is
// malformed, for which [Accept] refuses r.
func Subprotocols(r *http.Request) []string {
	offered, err := offeredSubprotocols(r)
	if err != nil {
		return nil
	}
	return offered
}

// offeredSubprotocols returns the subprotocols in the request, in the client's
// order of preference (RFC 6455, Section 4.2.1), or the refusal of a malformed
// list.
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
// order of preference, or the refusal of a malformed list.
func offeredExtensions(r *http.Request) ([]extension, error) {
	offers, err := parseExtensions(r.Header[extensionsField])
	if err != nil {
		return nil, newRefusal(http.StatusBadRequest, "Sec-WebSocket-Extensions is malformed")
	}
	return offers, nil
}

// What a client sends (RFC 6455, Section 4.1).

// requestFields are the handshake's own fields in a request, in the order in
// which they are sent: the key in an http.Header and the name on the wire.
var requestFields = [...]struct{ key, name string }{
	{"Upgrade", "Upgrade"},
	{"Connection", "Connection"},
	{keyField, "Sec-WebSocket-Key"},
	{versionField, "Sec-WebSocket-Version"},
	{protocolField, "Sec-WebSocket-Protocol"},
	{extensionsField, "Sec-WebSocket-Extensions"},
}

// setRequestFields sets the fields of an opening handshake in h.
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

// appendRequest appends the whole request for a resource name. The caller has
// checked it, as well as Host and Header of r.
func appendRequest(b []byte, r *http.Request, resourceName string) []byte {
	b = append(b, "GET "...)
	b = append(b, resourceName...)
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
// a request or response, because a name is reserved for the handshake, or
// because a name or value would break the head. The error quotes no values.
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
// a handshake. These are the handshake's own fields, and those that frame a
// message or name its host.
func isReservedField(name string) bool {
	name = http1.CanonicalName(name)
	return http1.IsFraming(name) || strings.HasPrefix(name, "Sec-Websocket-")
}

// Lists in fields.

// listElements returns an iterator over the elements of a list field, which may
// have several lines. Empty elements are skipped (RFC 9110, Section 5.6.1).
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

// containsToken reports whether the list field has the token. The case of
// letters is ignored.
func containsToken(lines []string, token string) bool {
	for element := range listElements(lines) {
		if http1.EqualFold(element, token) {
			return true
		}
	}
	return false
}
