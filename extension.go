package websocket

import (
	"errors"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// An extension is one element of Sec-WebSocket-Extensions (RFC 6455, Section
// 9.1). The case of letters in names matters.
type extension struct {
	name   string
	params []param
}

// A param is one parameter of an extension.
type param struct {
	name     string
	value    string // a token, or ""
	hasValue bool   // a value was given, perhaps an empty quoted string
}

// maxListed bounds the elements of one list field and the parameters of one
// extension.
const maxListed = 100

// errExtensions is the error for lines that are not a list of extensions.
var errExtensions = errors.New("extension list is malformed")

// parseExtensions reads the lines of Sec-WebSocket-Extensions as one list:
//
//	extension-list  = 1#extension
//	extension       = token *( ";" extension-param )
//	extension-param = token [ "=" ( token / quoted-string ) ]
//
// Empty elements are skipped. More than maxListed extensions, or parameters of
// one extension, are an error too.
func parseExtensions(lines []string) ([]extension, error) {
	var list []extension
	for _, line := range lines {
		p := extensionParser{rest: line}
		for p.skipCommas() {
			e, ok := p.extension()
			if !ok || len(list) == maxListed {
				return nil, errExtensions
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// An extensionParser parses one line. Its methods consume what they return.
type extensionParser struct {
	rest string // what is not consumed yet
}

// skipCommas consumes what separates elements, and reports whether another
// element follows.
func (p *extensionParser) skipCommas() bool {
	p.rest = strings.TrimLeft(p.rest, ", \t")
	return p.rest != ""
}

// extension returns one element, which ends at a comma or with the line.
func (p *extensionParser) extension() (e extension, ok bool) {
	if e.name, ok = p.token(); !ok {
		return e, false
	}
	for p.consume(';') {
		v, ok := p.param()
		if !ok || len(e.params) == maxListed {
			return e, false
		}
		e.params = append(e.params, v)
	}
	return e, p.rest == "" || p.rest[0] == ','
}

// param returns one parameter.
func (p *extensionParser) param() (v param, ok bool) {
	if v.name, ok = p.token(); !ok || !p.consume('=') {
		return v, ok
	}
	v.hasValue = true
	if p.consume('"') {
		v.value, ok = p.quoted()
	} else {
		v.value, ok = p.token()
	}
	return v, ok
}

// consume consumes white space and, if it is next, c. It reports whether c was
// there.
func (p *extensionParser) consume(c byte) bool {
	rest := strings.TrimLeft(p.rest, " \t")
	if rest == "" || rest[0] != c {
		p.rest = rest
		return false
	}
	p.rest = rest[1:]
	return true
}

// token returns a token, without the white space before it.
func (p *extensionParser) token() (string, bool) {
	s := strings.TrimLeft(p.rest, " \t")
	n := 0
	for n < len(s) && http1.IsTokenChar(s[n]) {
		n++
	}
	p.rest = s[n:]
	return s[:n], n > 0
}

// quoted returns the value of a quoted string, whose first quote is consumed.
// "The value after quoted-string unescaping MUST conform to the 'token' ABNF"
// (RFC 6455, Section 9.1), which no value with a quote or a backslash does, so
// that the next quote ends the string. An empty value is allowed: the extension
// decides about it.
func (p *extensionParser) quoted() (string, bool) {
	end := strings.IndexByte(p.rest, '"')
	if end < 0 {
		return "", false
	}
	raw := p.rest[:end]
	p.rest = p.rest[end+1:]
	value := unescape(raw)
	return value, value == "" || http1.IsToken(value)
}

// unescape removes the backslashes of quoted pairs (RFC 9110, Section 5.6.4).
// A backslash that is quoted, or quotes nothing, stays; it cannot be part of a
// token.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// appendExtensions appends the value of Sec-WebSocket-Extensions.
func appendExtensions(b []byte, list []extension) []byte {
	for i, e := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, e.name...)
		for _, v := range e.params {
			b = append(b, "; "...)
			b = appendParam(b, v)
		}
	}
	return b
}

// appendParam appends one parameter. An empty value has only a quoted form.
func appendParam(b []byte, v param) []byte {
	b = append(b, v.name...)
	switch {
	case !v.hasValue:
		return b
	case v.value == "":
		return append(b, `=""`...)
	default:
		b = append(b, '=')
		return append(b, v.value...)
	}
}

// Names of the extension and its parameters (RFC 7692, Section 7.1). The case
// of letters matters.
const (
	deflateName     = "permessage-deflate"
	serverNoContext = "server_no_context_takeover"
	clientNoContext = "client_no_context_takeover"
	serverMaxWindow = "server_max_window_bits"
	clientMaxWindow = "client_max_window_bits"
)

// Sizes of windows, as powers of two.
const (
	minWindow     = 8
	minPeerWindow = 9 // the least to ask a peer for: zlib cannot compress with 8
	maxWindow     = 15
)

// deflateParams are the parameters of one offer or answer. A window of 0 means
// that the parameter is absent or has no value.
type deflateParams struct {
	serverNoContext, clientNoContext bool
	serverWindow, clientWindow       int
	clientWindowNamed                bool // client_max_window_bits is there, perhaps without a value
}

// parseDeflateParams reads the parameters of e. ok is false if one is unknown,
// repeated, or has an invalid value (RFC 7692, Section 7).
func parseDeflateParams(e extension) (d deflateParams, ok bool) {
	for i, p := range e.params {
		for _, earlier := range e.params[:i] {
			if earlier.name == p.name {
				return d, false
			}
		}
		if !d.set(p) {
			return d, false
		}
	}
	return d, true
}

// set sets one parameter and reports whether it is valid.
func (d *deflateParams) set(p param) (ok bool) {
	switch p.name {
	case serverNoContext:
		d.serverNoContext = true
		return !p.hasValue
	case clientNoContext:
		d.clientNoContext = true
		return !p.hasValue
	case serverMaxWindow:
		d.serverWindow, ok = parseWindow(p.value)
		return ok
	case clientMaxWindow:
		d.clientWindowNamed = true
		if !p.hasValue {
			return true
		}
		d.clientWindow, ok = parseWindow(p.value)
		return ok
	default:
		return false
	}
}

// parseWindow reads the size of a window: "a decimal integer value without
// leading zeroes between 8 to 15, inclusive" (RFC 7692, Section 7.1.2.1).
func parseWindow(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= minWindow && n <= maxWindow && s == strconv.Itoa(n)
}

// extension returns the element with these parameters.
func (d deflateParams) extension() extension {
	e := extension{name: deflateName}
	if d.serverNoContext {
		e.params = append(e.params, param{name: serverNoContext})
	}
	if d.clientNoContext {
		e.params = append(e.params, param{name: clientNoContext})
	}
	if d.serverWindow > 0 {
		e.params = append(e.params, windowParam(serverMaxWindow, d.serverWindow))
	}
	switch {
	case d.clientWindow > 0:
		e.params = append(e.params, windowParam(clientMaxWindow, d.clientWindow))
	case d.clientWindowNamed:
		e.params = append(e.params, param{name: clientMaxWindow})
	}
	return e
}

// windowParam returns a parameter that names the size of a window.
func windowParam(name string, window int) param {
	return param{name: name, value: strconv.Itoa(window), hasValue: true}
}

// A deflateAgreement holds the parameters of permessage-deflate in use
// (RFC 7692, Section 7.1).
type deflateAgreement struct {
	serverNoContext, clientNoContext bool // that side compresses each message without those before it
	serverWindow, clientWindow       int  // of that side's compressor, in bits
}

// agreement returns what the parameters of an answer mean for a connection.
func (d deflateParams) agreement() *deflateAgreement {
	a := &deflateAgreement{
		serverNoContext: d.serverNoContext,
		clientNoContext: d.clientNoContext,
		serverWindow:    maxWindow,
		clientWindow:    maxWindow,
	}
	if d.serverWindow > 0 {
		a.serverWindow = d.serverWindow
	}
	if d.clientWindow > 0 {
		a.clientWindow = d.clientWindow
	}
	return a
}

// acceptExtensions accepts the first of the client's offers of
// permessage-deflate that is valid and allows what c demands (RFC 7692, Section
// 5). It declines other extensions, and offers with an invalid parameter. It
// returns the agreement and the elements of the answer, or nil for both.
func acceptExtensions(offers []extension, c *Compression) (*deflateAgreement, []extension) {
	if c == nil {
		return nil, nil
	}
	for _, e := range offers {
		if e.name != deflateName {
			continue
		}
		offer, ok := parseDeflateParams(e)
		if !ok {
			continue
		}
		if answer, ok := answerDeflate(offer, c); ok {
			return answer.agreement(), []extension{answer.extension()}
		}
	}
	return nil, nil
}

// answerDeflate returns the answer to a valid offer. It grants what the client
// asks for and does not ask for what the client does not support. ok is false
// if c demands that: "If a received extension negotiation offer doesn't include
// the "client_max_window_bits" extension parameter, the corresponding extension
// negotiation response to the offer MUST NOT include" it (RFC 7692, Section
// 7.1.2.2), so that the offer can only be declined.
func answerDeflate(offer deflateParams, c *Compression) (answer deflateParams, ok bool) {
	answer = deflateParams{
		serverNoContext: offer.serverNoContext || c.NoContextTakeover,
		clientNoContext: offer.clientNoContext || c.PeerNoContextTakeover,
	}
	if offer.serverWindow > 0 {
		answer.serverWindow = min(offer.serverWindow, c.window(!answer.serverNoContext))
	}
	asked := c.peerWindow()
	if offer.clientWindowNamed {
		answer.clientWindow = offer.clientWindow
		if asked > 0 && (asked < offer.clientWindow || offer.clientWindow == 0) {
			answer.clientWindow = asked
		}
		if answer.clientWindow < minPeerWindow {
			answer.clientWindow = 0
		}
	}
	return answer, !c.RequirePeer || asked == 0 || answer.clientWindow > 0
}

// offerExtensions returns what a client offers for c, the offer that it prefers
// first: "A client may also offer multiple PMCE choices to the server by
// including multiple elements" (RFC 7692, Section 5.1).
func offerExtensions(c *Compression) []extension {
	if c == nil {
		return nil
	}
	wished, least := deflateOffer(c), leastOffer(c)
	if wished == least {
		return []extension{wished.extension()}
	}
	return []extension{wished.extension(), least.extension()}
}

// deflateOffer returns the parameters of the client's first offer, with
// everything that is asked of the server. It always says that the client can
// limit its own window.
func deflateOffer(c *Compression) deflateParams {
	d := deflateParams{
		serverNoContext:   c.PeerNoContextTakeover,
		clientNoContext:   c.NoContextTakeover,
		serverWindow:      c.peerWindow(),
		clientWindowNamed: true,
	}
	if c.WindowBits > 0 {
		d.clientWindow = c.window(!c.NoContextTakeover)
	}
	return d
}

// leastOffer returns the parameters of the client's last offer. The server must
// grant what they still ask of it.
func leastOffer(c *Compression) deflateParams {
	d := deflateOffer(c)
	if !c.RequirePeer {
		d.serverNoContext, d.serverWindow = false, 0
	}
	return d
}

// Errors for an answer of the server that does not fit the offers.
var (
	errNotOffered      = errors.New("response uses an extension that was not offered")
	errDeflateInvalid  = errors.New("response has invalid parameters of permessage-deflate")
	errDeflateIgnored  = errors.New("response does not grant what Compression.RequirePeer demands: do without it, or without compression")
	errDeflateUnasked  = errors.New("response asks for a larger client window than was offered")
	errDeflateRepeated = errors.New("response accepts permessage-deflate twice")
)

// checkDeflate checks a server's answer to the offers made for c and returns
// the agreement, nil for an answer without extensions. An answer that fits the
// first offer also fits the last, which asks for less. An answer that does not
// fit fails the connection (RFC 7692, Section 7).
func checkDeflate(elements []extension, c *Compression) (*deflateAgreement, error) {
	switch {
	case len(elements) == 0:
		return nil, nil
	case c == nil:
		return nil, errNotOffered
	}
	answer, err := parseAnswer(elements)
	if err != nil {
		return nil, err
	}
	offer := leastOffer(c)
	switch {
	case offer.serverNoContext && !answer.serverNoContext,
		offer.serverWindow > 0 && (answer.serverWindow == 0 || answer.serverWindow > offer.serverWindow):
		return nil, errDeflateIgnored
	case offer.clientWindow > 0 && answer.clientWindow > offer.clientWindow:
		return nil, errDeflateUnasked
	}
	return answer.agreement(), nil
}

// parseAnswer returns the parameters of the only extension in a response, which
// must be permessage-deflate.
func parseAnswer(elements []extension) (answer deflateParams, err error) {
	switch {
	case elements[0].name != deflateName:
		return answer, errNotOffered
	case len(elements) > 1 && elements[1].name == deflateName:
		return answer, errDeflateRepeated
	case len(elements) > 1:
		return answer, errNotOffered
	}
	answer, ok := parseDeflateParams(elements[0])
	if !ok || answer.clientWindowNamed && answer.clientWindow == 0 {
		return answer, errDeflateInvalid
	}
	return answer, nil
}

// parseAgreement returns what value, that of Sec-WebSocket-Extensions in a
// response to whatever offer, means for a side of role r: nil if it names no
// extension. c, which may be nil, is what that side has set.
func parseAgreement(value string, r role, c *Compression) (*deflateAgreement, error) {
	elements, err := parseExtensions([]string{value})
	if err != nil || len(elements) == 0 {
		return nil, err
	}
	answer, err := parseAnswer(elements)
	if err != nil {
		return nil, err
	}
	agreed := answer.agreement()
	if c != nil && c.RequirePeer && !agreed.grants(r, c) {
		return nil, errDeflateIgnored
	}
	return agreed, nil
}

// grants reports whether the peer of a side of role r does what c asks of it.
func (a *deflateAgreement) grants(r role, c *Compression) bool {
	window, noContext := a.serverWindow, a.serverNoContext
	if r == server {
		window, noContext = a.clientWindow, a.clientNoContext
	}
	asked := c.peerWindow()
	return (asked == 0 || window <= asked) && (noContext || !c.PeerNoContextTakeover)
}

// window returns the size of the window of this side's compressor. takeover
// says whether the compressor keeps its context from one message to the next.
func (c *Compression) window(takeover bool) int {
	switch {
	case c.WindowBits != 0:
		return min(max(c.WindowBits, minWindow), maxWindow)
	case takeover && !c.NoContextTakeover:
		return 12
	default:
		return maxWindow
	}
}

// peerWindow returns the size of the window that the peer is asked to limit
// itself to, or 0 if it is not asked.
func (c *Compression) peerWindow() int {
	if c.PeerWindowBits == 0 {
		return 0
	}
	return min(max(c.PeerWindowBits, minPeerWindow), maxWindow)
}
