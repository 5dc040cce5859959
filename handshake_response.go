package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// This file has the rules for the response of an opening handshake (RFC 6455,
// Section 4).

// What a server sends (RFC 6455, Section 4.2.2).

// appendSwitchingProtocols appends the 101 response without the fields that the
// application adds and without the blank line, which the caller appends.
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

// setSwitchingProtocols sets the fields of the 101 response in h, with the names
// that they have on the wire.
func setSwitchingProtocols(h http.Header, key string, agreed agreement, answer []extension) {
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h["Sec-WebSocket-Accept"] = []string{string(appendAcceptKey(nil, key))}
	setAgreement(h, agreed, answer)
}

// setAgreement sets the fields in h that say what was agreed on.
func setAgreement(h http.Header, agreed agreement, answer []extension) {
	if agreed.subprotocol != "" {
		h["Sec-WebSocket-Protocol"] = []string{agreed.subprotocol}
	}
	if len(answer) > 0 {
		h["Sec-WebSocket-Extensions"] = []string{string(appendExtensions(nil, answer))}
	}
}

// appendRefusal appends the whole response to a refused request, for a server
// that closes the connection after it.
func appendRefusal(b []byte, e *HandshakeError) []byte {
	body, mediaType := e.content()
	b = fmt.Appendf(b, "HTTP/1.1 %03d %s\r\n", e.Status, http.StatusText(e.Status))
	if e.Response != nil {
		b = http1.AppendFields(b, e.Response.Header, func(name string) bool { return isConnectionField(name) || e.isOwnField(name) })
	}
	b = appendConnection(b, e.Status)
	b = http1.AppendField(b, "Content-Type", mediaType)
	b = http1.AppendField(b, "X-Content-Type-Options", "nosniff")
	b = http1.AppendField(b, "Content-Length", strconv.Itoa(len(body)))
	b = append(b, "\r\n"...)
	return append(b, body...)
}

// appendConnection appends Connection, which says that the connection ends, and
// Upgrade, which only a 426 has.
func appendConnection(b []byte, status int) []byte {
	if status != http.StatusUpgradeRequired {
		return http1.AppendField(b, "Connection", "close")
	}
	return append(b, "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"...)
}

// isConnectionField reports whether appendConnection alone appends the field
// name.
func isConnectionField(name string) bool {
	name = http1.CanonicalName(name)
	return name == "Connection" || name == "Upgrade"
}

// What a client checks in a response (RFC 6455, Section 4.1).

// An offer is what a client asked for, and what the response is checked
// against.
type offer struct {
	key                string
	subprotocols       []string
	requireSubprotocol bool // fail if the server picks none of them
	compression        *Compression
}

// checkResponse returns what client and server agree on by r, whose status is
// 101, or why the client fails the connection. The order of the checks is that
// of RFC 6455, Section 4.1.
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

// responseChecks are the rules for a 101 response that do not depend on
// extensions and subprotocols.
var responseChecks = [...]func(*http.Response, *offer) error{
	checkResponseVersion,
	checkResponseUpgrade,
	checkResponseConnection,
	checkAccept,
}

// checkResponseVersion wants HTTP/1.1.
func checkResponseVersion(r *http.Response, _ *offer) error {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return badResponseError("response is not HTTP/1.1")
	}
	return nil
}

// checkResponseUpgrade wants a single protocol, not a list that has it.
func checkResponseUpgrade(r *http.Response, _ *offer) error {
	if lines := r.Header["Upgrade"]; len(lines) != 1 || !http1.EqualFold(lines[0], "websocket") {
		return badResponseError("Upgrade in the response is not websocket")
	}
	return nil
}

// checkResponseConnection wants a list that has Upgrade.
func checkResponseConnection(r *http.Response, _ *offer) error {
	if !containsToken(r.Header["Connection"], "upgrade") {
		return badResponseError("Connection in the response does not name Upgrade")
	}
	return nil
}

// checkAccept wants a single Sec-WebSocket-Accept, with the value for the key
// that was sent.
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
// none. It must equal one of those offered; the case of letters matters.
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

// The key, on both sides.

// keyGUID is what a server appends to the client's key to prove that it
// understood the handshake (RFC 6455, Section 1.3).
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// appendAcceptKey appends the value of Sec-WebSocket-Accept for key. No
// security depends on SHA-1 here (RFC 6455, Section 10.8).
func appendAcceptKey(b []byte, key string) []byte {
	var joined [24 + len(keyGUID)]byte
	sum := sha1.Sum(append(append(joined[:0], key...), keyGUID...))
	return base64.StdEncoding.AppendEncode(b, sum[:])
}
