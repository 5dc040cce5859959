package websocket

import (
	"errors"
	"math"
	"strconv"
	"sync/atomic"

	"github.com/fullduplex-go/websocket/internal/flate"
)

// permessage-deflate (RFC 7692): the negotiation of its parameters, and the
// compressor and decompressor of a connection.

// Names of the extension and its parameters (RFC 7692, Section 7.1). Letters
// are compared as they are.
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
	minPeerWindow = 9 // zlib cannot compress with 8: nobody is asked to
	maxWindow     = 15
)

// deflateParams are the parameters of one offer or answer. Windows are 0 when
// they are not named.
type deflateParams struct {
	serverNoContext, clientNoContext bool
	serverWindow, clientWindow       int
	clientWindowNamed                bool // perhaps without a value
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

// set enters one parameter and reports whether it is valid.
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

// acceptExtensions answers the client's offers, of which the first that is
// valid, and allows what c demands, is taken (RFC 7692, Section 5). Other
// extensions, and offers with a parameter that is not valid, are declined. It
// returns what was agreed on and the elements of the answer.
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

// answerDeflate returns the answer to a valid offer. What the client asks for
// is granted; what it does not support is not asked for. ok is false if that is
// demanded: "If a received extension negotiation offer doesn't include the
// "client_max_window_bits" extension parameter, the corresponding extension
// negotiation response to the offer MUST NOT include" it (RFC 7692, Section
// 7.1.2.2), so that nothing is left but to decline.
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

// offerExtensions returns what a client offers for c: "A client may also offer
// multiple PMCE choices to the server by including multiple elements" (RFC 7692,
// Section 5.1), the one that it prefers first.
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

// deflateOffer returns the parameters of the client's first offer, with all
// that is asked of the server. That the client can limit its window is always
// said.
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

// leastOffer returns the parameters of the client's last offer, of which the
// server must grant all.
func leastOffer(c *Compression) deflateParams {
	d := deflateOffer(c)
	if !c.RequirePeer {
		d.serverNoContext, d.serverWindow = false, 0
	}
	return d
}

// errDeflateAnswer are the ways in which a server's answer does not fit.
var (
	errNotOffered      = errors.New("response uses an extension that was not offered")
	errDeflateInvalid  = errors.New("response has invalid parameters of permessage-deflate")
	errDeflateIgnored  = errors.New("response does not grant what Compression.RequirePeer demands: do without it, or without compression")
	errDeflateUnasked  = errors.New("response asks for a larger client window than was offered")
	errDeflateRepeated = errors.New("response accepts permessage-deflate twice")
)

// checkDeflate judges a server's answer to the offers made for c and returns
// what was agreed on. An answer to the first offer is one to the last as well,
// which asks for less. Any departure fails the connection (RFC 7692,
// Section 7).
func checkDeflate(elements []extension, c *Compression) (*deflateAgreement, error) {
	switch {
	case len(elements) == 0:
		return nil, nil
	case c == nil || elements[0].name != deflateName:
		return nil, errNotOffered
	case len(elements) > 1 && elements[1].name == deflateName:
		return nil, errDeflateRepeated
	case len(elements) > 1:
		return nil, errNotOffered
	}
	answer, ok := parseDeflateParams(elements[0])
	offer := leastOffer(c)
	switch {
	case !ok, answer.clientWindowNamed && answer.clientWindow == 0:
		return nil, errDeflateInvalid
	case offer.serverNoContext && !answer.serverNoContext,
		offer.serverWindow > 0 && (answer.serverWindow == 0 || answer.serverWindow > offer.serverWindow):
		return nil, errDeflateIgnored
	case offer.clientWindow > 0 && answer.clientWindow > offer.clientWindow:
		return nil, errDeflateUnasked
	}
	return answer.agreement(), nil
}

// window returns the size of our compressor's window.
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

// peerWindow returns the size asked of the peer, or 0.
func (c *Compression) peerWindow() int {
	if c.PeerWindowBits == 0 {
		return 0
	}
	return min(max(c.PeerWindowBits, minPeerWindow), maxWindow)
}

// level returns the compressor's effort.
func (c *Compression) level() int { return min(max(c.Level, 1), 9) }

// threshold returns the size from which on messages are compressed.
func (c *Compression) threshold() int {
	if c.Threshold == 0 {
		return 128
	}
	return max(c.Threshold, 0)
}

// deflation is the compression of a connection. The sending turn guards the
// compressor, the reading turn the decompressor.
type deflation struct {
	compressor   flate.Compressor
	decompressor flate.Decompressor
	takeover     bool // our messages refer to those before
	window       int  // what was agreed on for our compressor
	level        int
	threshold    int

	compressedIn, inflatedIn   atomic.Uint64
	compressedOut, deflatedOut atomic.Uint64
}

// newDeflation returns the compression of a connection of role r, or nil if
// none was agreed on.
func newDeflation(r role, a *deflateAgreement, c *Compression) *deflation {
	if a == nil || c == nil {
		return nil
	}
	ownWindow, peerWindow := a.clientWindow, a.serverWindow
	ownReset, peerReset := a.clientNoContext || c.NoContextTakeover, a.serverNoContext
	if r == server {
		ownWindow, peerWindow = peerWindow, ownWindow
		ownReset, peerReset = a.serverNoContext || c.NoContextTakeover, a.clientNoContext
	}
	return &deflation{
		compressor:   flate.NewCompressor(min(c.window(!ownReset), ownWindow), c.level(), contextOf(ownReset)),
		decompressor: flate.NewDecompressor(peerWindow, contextOf(peerReset)),
		takeover:     !ownReset,
		window:       ownWindow,
		level:        c.level(),
		threshold:    c.threshold(),
	}
}

// contextOf returns how package flate calls a side that forgets, or does not.
func contextOf(reset bool) flate.Context {
	if reset {
		return flate.NoTakeover
	}
	return flate.Takeover
}

// compress appends p, compressed, to scratch and returns true, or returns
// false if p is to be sent as it is.
func (d *deflation) compress(scratch *buffer, p []byte) (smaller bool) {
	scratch.b, smaller = d.compressor.Append(scratch.b, p)
	if smaller {
		d.sent(len(p), len(scratch.b))
	}
	return smaller
}

// sent counts a message, or a part, that leaves compressed.
func (d *deflation) sent(before, after int) {
	d.deflatedOut.Add(uint64(before))
	d.compressedOut.Add(uint64(after))
}

// withdrawn takes from the counts what sent entered.
func (d *deflation) withdrawn(before, after int) {
	d.deflatedOut.Add(-uint64(before))
	d.compressedOut.Add(-uint64(after))
}

// received counts a message, or a part, that came compressed.
func (d *deflation) received(before, after int) {
	d.compressedIn.Add(uint64(before))
	d.inflatedIn.Add(uint64(after))
}

// maxExpected bounds what is borrowed for bytes that were not inflated yet.
const maxExpected = 1 << 20

// expected returns the bytes of memory that n bytes of payload are given to
// inflate to: twice what those before have made of theirs, or at least four
// times n, so that memory need not grow on the way. It is at most maxExpected
// and limit.
func (d *deflation) expected(n int, limit int64) int {
	each := max(2*d.inflatedIn.Load()/max(d.compressedIn.Load(), 1), 4)
	return int(min(int64(n)*int64(each), limit, maxExpected))
}

// inflateWhole appends what the payload of a whole message inflates to.
func (d *deflation) inflateWhole(dst, payload []byte, limit int64) ([]byte, violation) {
	out, err := d.decompressor.Append(dst, payload, clampInt(limit))
	d.received(len(payload), len(out)-len(dst))
	return out, inflateViolation(err)
}

// inflatePart appends up to room bytes of what a part of a message inflates
// to, and returns how much of the part was used. full means that there is
// more: the call is to be repeated with the rest of the part.
func (d *deflation) inflatePart(dst, part []byte, room int64) (out []byte, used int, full bool, v violation) {
	out, used, err := d.decompressor.AppendPart(dst, part, clampInt(room))
	d.received(used, len(out)-len(dst))
	if err == flate.ErrTooLong {
		return out, used, true, noViolation
	}
	return out, used, false, inflateViolation(err)
}

// inflateEnd appends up to room bytes of what is left at the end of a message.
// full means that there is more.
func (d *deflation) inflateEnd(dst []byte, room int64) (out []byte, full bool, v violation) {
	out, err := d.decompressor.Finish(dst, clampInt(room))
	d.received(0, len(out)-len(dst))
	if err == flate.ErrTooLong {
		return out, true, noViolation
	}
	return out, false, inflateViolation(err)
}

// inflateViolation returns the violation that an error of package flate shows.
func inflateViolation(err error) violation {
	switch {
	case err == nil:
		return noViolation
	case err == flate.ErrTooLong:
		return messageTooBig
	default:
		return compressedDataCorrupt
	}
}

// clampInt returns n, or the largest int.
func clampInt(n int64) int { return int(min(n, math.MaxInt)) }
