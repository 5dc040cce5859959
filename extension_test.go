package websocket

import (
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/http1"
)

func TestParseExtensions(t *testing.T) {
	covers(t, "E02", "S12", "C27", "C28", "N22", "Q.A12")
	pmd := extension{name: "permessage-deflate"}
	with := func(params ...param) []extension { return []extension{{"permessage-deflate", params}} }
	for _, c := range []struct {
		lines []string
		want  []extension
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{" , ,"}, nil},
		{[]string{"permessage-deflate"}, []extension{pmd}},
		{[]string{"permessage-deflate, x"}, []extension{pmd, {name: "x"}}},
		{[]string{"permessage-deflate,,x,"}, []extension{pmd, {name: "x"}}},
		{[]string{"permessage-deflate", "x"}, []extension{pmd, {name: "x"}}},
		{[]string{"permessage-deflate; a"}, with(param{name: "a"})},
		{[]string{"permessage-deflate;a=10"}, with(param{"a", "10", true})},
		{[]string{"permessage-deflate ; a = 10 "}, with(param{"a", "10", true})},
		{[]string{`permessage-deflate ; a = "10" ;b`}, with(param{"a", "10", true}, param{name: "b"})},
		{[]string{`permessage-deflate; a="1\0"`}, with(param{"a", "10", true})},
		{[]string{`permessage-deflate; a=""`}, with(param{"a", "", true})},
		{[]string{"PERMESSAGE-DEFLATE"}, []extension{{name: "PERMESSAGE-DEFLATE"}}},
		{[]string{"__proto__; constructor"}, []extension{{"__proto__", []param{{name: "constructor"}}}}},
	} {
		got, err := parseExtensions(c.lines)
		require.NoError(t, err, "%q", c.lines)
		require.Equal(t, c.want, got, "%q", c.lines)
	}
	for _, bad := range []string{
		";", "; a", "=", "a b", "a;", "a;;", "a; ;b", "a; =", "a; =1", "a; b=", "a; b=,c", "a; b==1", `a; b="`, `a; b="x`,
		`a; b="x y"`, `a; b="x"y`, `a; b="x" y`, `a; b="\"`, `a; b="\""`, `a; b="\\"`, `"a"`, "a, ;b", "a,,,; x", "a;\x00", "\xff", "ü", "a; b=ü",
		strings.Repeat("a,", 10_000), "a" + strings.Repeat(";b", 10_000),
	} {
		got, err := parseExtensions([]string{bad})
		require.Error(t, err, "%.40q: got %v", bad, got)
	}
}

func TestExtensionBounds(t *testing.T) {
	covers(t, "Q.A12")
	for n, ok := range map[int]bool{maxListed: true, maxListed + 1: false} {
		_, err := parseExtensions([]string{strings.Repeat("a,", n)})
		require.Equal(t, ok, err == nil, "%d extensions: %v", n, err)
		_, err = parseExtensions([]string{"a" + strings.Repeat(";b", n)})
		require.Equal(t, ok, err == nil, "%d parameters: %v", n, err)
	}
}

// FuzzExtensionHeader checks that what is parsed is written in a form that
// parses to the same, and that a parser that works differently agrees.
func FuzzExtensionHeader(f *testing.F) {
	covers(f, "E02", "S12", "Q.A12")
	for _, seed := range []string{"", "a", "a, b", `a; b="c"; d=e`, `a; b="\c"`, `a; b="`, `a; b=""`, "a;", ",,a", "permessage-deflate; client_max_window_bits"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		list, err := parseExtensions([]string{line})
		if slow, ok := splitExtensions(line); ok != (err == nil) && len(slow) <= maxListed {
			require.Fail(t, "parsed differently", "parser: %v, %v; reference: %v, %v", list, err, slow, ok)
		} else if ok && err == nil && fmt.Sprint(slow) != fmt.Sprint(list) {
			require.Fail(t, "parsed differently", "parser: %v; reference: %v", list, slow)
		}
		if err != nil {
			return
		}
		again, err := parseExtensions([]string{string(appendExtensions(nil, list))})
		if err != nil || !reflect.DeepEqual(list, again) {
			require.Fail(t, "appended differently", "%v becomes %v, %v", list, again, err)
		}
	})
}

// splitExtensions is the reference: it cuts at separators outside quotes
// first, and looks at the pieces afterwards.
func splitExtensions(line string) (list []extension, ok bool) {
	for _, element := range splitUnquoted(line, ',') {
		if strings.Trim(element, " \t") == "" {
			continue
		}
		pieces := splitUnquoted(element, ';')
		e := extension{name: strings.Trim(pieces[0], " \t")}
		if !http1.IsToken(e.name) || len(pieces) > maxListed+1 {
			return nil, false
		}
		for _, piece := range pieces[1:] {
			p := param{}
			p.name, p.value, p.hasValue = strings.Cut(piece, "=")
			p.name, p.value = strings.Trim(p.name, " \t"), strings.Trim(p.value, " \t")
			if p.hasValue && !unquote(&p.value) || !http1.IsToken(p.name) {
				return nil, false
			}
			e.params = append(e.params, p)
		}
		list = append(list, e)
	}
	return list, true
}

// splitUnquoted cuts s at sep outside of quoted strings.
func splitUnquoted(s string, sep byte) (pieces []string) {
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			pieces = append(pieces, s[start:i])
			start = i + 1
		}
	}
	return append(pieces, s[start:])
}

// unquote takes a value out of its quotes and reports whether it is one.
func unquote(v *string) bool {
	s := *v
	if !strings.HasPrefix(s, `"`) {
		return http1.IsToken(s)
	}
	var out []byte
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			*v = string(out)
			return i == len(s)-1 && (*v == "" || http1.IsToken(*v))
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		out = append(out, s[i])
	}
	return false
}

// A written parameter is one of the forms in which an offer or a response may
// name a parameter, valid or not.
var writtenParams = []string{
	"server_no_context_takeover", "server_no_context_takeover=1", `server_no_context_takeover=""`,
	"client_no_context_takeover", "client_no_context_takeover=x",
	"server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=8", `server_max_window_bits="10"`,
	"server_max_window_bits=15", "server_max_window_bits=16", "server_max_window_bits=08", "server_max_window_bits=+9",
	"server_max_window_bits=-9", "server_max_window_bits=1e1", "server_max_window_bits=x", `server_max_window_bits=""`,
	"server_max_window_bits=99999999999999999999",
	"client_max_window_bits", "client_max_window_bits=7", "client_max_window_bits=8", "client_max_window_bits=9",
	`client_max_window_bits="12"`, "client_max_window_bits=15", "client_max_window_bits=16", `client_max_window_bits=""`,
	"SERVER_NO_CONTEXT_TAKEOVER", "foo", "foo=1",
}

// eachWritten calls f with every element of up to n written parameters.
func eachWritten(n int, f func(params []string)) {
	var extend func(params []string)
	extend = func(params []string) {
		f(params)
		if len(params) == n {
			return
		}
		for _, p := range writtenParams {
			extend(append(params[:len(params):len(params)], p))
		}
	}
	extend(nil)
}

// A reading is what RFC 7692, Section 7.1, makes of an element: the value of
// each parameter, "" without one.
type reading map[string]string

// slowRead reads an element as the text of the RFC goes. ok is false if it is
// to be declined (Section 7): an unknown name, a wrong value, a name twice.
func slowRead(params []string) (r reading, ok bool) {
	bits := []string{"8", "9", "10", "11", "12", "13", "14", "15"}
	r = reading{}
	for _, p := range params {
		name, value, valued := strings.Cut(p, "=")
		value = strings.Trim(value, `"`)
		if _, twice := r[name]; twice {
			return nil, false
		}
		r[name] = value
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			ok = !valued
		case "server_max_window_bits":
			ok = valued && slices.Contains(bits, value)
		case "client_max_window_bits":
			ok = !valued || slices.Contains(bits, value)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return r, true
}

// has reports whether the parameter is there.
func (r reading) has(name string) bool { _, ok := r[name]; return ok }

// bits returns the value as a number, or 15, the largest window.
func (r reading) bits(name string) (n int) {
	if r[name] == "" {
		return 15
	}
	fmt.Sscan(r[name], &n)
	return n
}

// slowAgreement returns what a response means (Section 7.1).
func (r reading) slowAgreement() deflateAgreement {
	return deflateAgreement{
		serverNoContext: r.has("server_no_context_takeover"),
		clientNoContext: r.has("client_no_context_takeover"),
		serverWindow:    r.bits("server_max_window_bits"),
		clientWindow:    r.bits("client_max_window_bits"),
	}
}

// answered returns the server's answer to a field value, as a field value and
// as an agreement.
func answered(t *testing.T, field string, c *Compression) (string, *deflateAgreement) {
	t.Helper()
	offers, err := parseExtensions([]string{field})
	require.NoError(t, err, field)
	agreed, elements := acceptExtensions(offers, c)
	require.LessOrEqual(t, len(elements), 1, field)
	return string(appendExtensions(nil, elements)), agreed
}

// element writes parameters behind the name.
func element(params []string) string {
	return strings.Join(append([]string{"permessage-deflate"}, params...), "; ")
}

// split reads what the server wrote.
func split(t *testing.T, field string) reading {
	t.Helper()
	name, params, some := strings.Cut(field, "; ")
	require.Equal(t, "permessage-deflate", name)
	if !some {
		return reading{}
	}
	r, ok := slowRead(strings.Split(params, "; "))
	require.True(t, ok, "the answer %q is not valid", field)
	return r
}

// negotiated are configurations of either side.
var negotiated = []*Compression{
	{}, {NoContextTakeover: true}, {PeerNoContextTakeover: true}, {WindowBits: 9}, {WindowBits: 15, PeerWindowBits: 15}, {PeerWindowBits: 9},
	{WindowBits: 10, PeerWindowBits: 12, NoContextTakeover: true, PeerNoContextTakeover: true},
	{RequirePeer: true}, {PeerNoContextTakeover: true, RequirePeer: true}, {PeerWindowBits: 9, RequirePeer: true},
	{WindowBits: 11, PeerWindowBits: 12, NoContextTakeover: true, PeerNoContextTakeover: true, RequirePeer: true},
}

// TestEveryOffer judges the answers to all offers of up to three parameters by
// the text of the RFC.
func TestEveryOffer(t *testing.T) {
	covers(t, "N05", "N07", "N12", "N13", "N16", "N17", "N18", "N22", "P14", "Q.A12", "Q.A13")
	for _, c := range negotiated {
		offers := 0
		eachWritten(3, func(params []string) {
			offers++
			if t.Failed() {
				return
			}
			field := element(params)
			answer, agreed := answered(t, field, c)
			offer, ok := slowRead(params)
			ok = ok && slowAllows(offer, c)
			if ok != (answer != "") || ok != (agreed != nil) {
				assert.Fail(t, "wrong answer", "%+v: %q is answered with %q", *c, field, answer)
			} else if ok {
				checkAnswer(t, c, field, offer, split(t, answer), *agreed)
			}
		})
		n := len(writtenParams)
		require.Equal(t, 1+n+n*n+n*n*n, offers)
	}
}

// slowAllows reports whether a valid offer allows what a server demands. That a
// client forgets can always be asked (Section 7.1.1.2); that it limits its
// window only if it can, and nobody is asked for 8 bits (Section 7.1.2.2).
func slowAllows(offer reading, c *Compression) bool {
	if !c.RequirePeer || c.PeerWindowBits == 0 {
		return true
	}
	return offer.has("client_max_window_bits") && offer.bits("client_max_window_bits") > 8
}

// checkAnswer judges the answer to a valid offer.
func checkAnswer(t *testing.T, c *Compression, field string, offer, answer reading, agreed deflateAgreement) {
	t.Helper()
	wrong := func(rule string) { assert.Fail(t, rule, "%+v: %q is answered with %v", *c, field, answer) }
	if offer.has("server_no_context_takeover") && !answer.has("server_no_context_takeover") {
		wrong("server_no_context_takeover is not granted (Section 7.1.1.1)")
	}
	if offer.has("server_max_window_bits") &&
		(!answer.has("server_max_window_bits") || answer.bits("server_max_window_bits") > offer.bits("server_max_window_bits")) {
		wrong("server_max_window_bits is not granted (Section 7.1.2.1)")
	}
	if answer.has("client_max_window_bits") {
		switch bits := answer.bits("client_max_window_bits"); {
		case !offer.has("client_max_window_bits"), answer["client_max_window_bits"] == "":
			wrong("client_max_window_bits must not stand here (Section 7.1.2.2)")
		case bits > offer.bits("client_max_window_bits"), bits == 8:
			wrong("the client is asked for a window it cannot have")
		case c.PeerWindowBits > 0 && bits > c.PeerWindowBits:
			wrong("the configured window is not asked for")
		}
	} else if c.PeerWindowBits > 0 && offer.bits("client_max_window_bits") > 8 && offer.has("client_max_window_bits") {
		wrong("no window is asked for")
	}
	if c.NoContextTakeover && !answer.has("server_no_context_takeover") || c.PeerNoContextTakeover && !answer.has("client_no_context_takeover") {
		wrong("a configured parameter is missing")
	}
	if agreed != answer.slowAgreement() {
		wrong(fmt.Sprintf("it is taken to mean %+v", agreed))
	}
	checkWindows(t, c, server, agreed)
}

// checkWindows checks that a connection keeps to the agreement.
func checkWindows(t *testing.T, c *Compression, r role, agreed deflateAgreement) {
	t.Helper()
	own, ownReset := agreed.clientWindow, agreed.clientNoContext
	if r == server {
		own, ownReset = agreed.serverWindow, agreed.serverNoContext
	}
	d := newDeflation(r, &agreed, c)
	if d.window > own || ownReset && d.takeover {
		assert.Fail(t, "wrong window", "%+v: with %+v our window is %d, and takeover %v", *c, agreed, d.window, d.takeover)
	}
}

// offered returns what a client offers, in its order.
func offered(t *testing.T, c *Compression) (offers []reading) {
	t.Helper()
	for _, e := range offerExtensions(c) {
		offers = append(offers, split(t, string(appendExtensions(nil, []extension{e}))))
	}
	return offers
}

// TestEveryResponse judges what a client makes of all responses of up to three
// parameters: one must fit one of the offers.
func TestEveryResponse(t *testing.T) {
	covers(t, "N06", "N08", "N09", "N10", "N12", "N14", "N15", "N19", "N20", "P14", "Q.B06", "Q.E11")
	for _, c := range negotiated {
		offers := offered(t, c)
		for _, offer := range offers {
			require.True(t, offer.has("client_max_window_bits"))
		}
		eachWritten(3, func(params []string) {
			if t.Failed() {
				return
			}
			response, valid := slowRead(params)
			want := valid && slices.ContainsFunc(offers, func(offer reading) bool { return slowFits(offer, response) })
			elements, err := parseExtensions([]string{element(params)})
			require.NoError(t, err)
			agreed, err := checkDeflate(elements, c)
			if want != (err == nil) || want != (agreed != nil) {
				assert.Fail(t, "wrong agreement", "%v was offered, %q answered, and that is %v", offers, element(params), err)
			} else if want {
				require.Equal(t, response.slowAgreement(), *agreed)
				checkWindows(t, c, client, *agreed)
			}
		})
	}
}

// TestWishesAndDemands has the servers that know no parameters, which answer
// with the bare name, and others that grant less than was asked.
func TestWishesAndDemands(t *testing.T) {
	covers(t, "N08", "N14", "P14")
	wish := Compression{PeerWindowBits: 10, PeerNoContextTakeover: true}
	demand := wish
	demand.RequirePeer = true
	for field, want := range map[string]struct {
		agreed   deflateAgreement
		demanded bool // it is what a demand wants
	}{
		"permessage-deflate":                                                                                  {deflateAgreement{serverWindow: 15, clientWindow: 15}, false},
		"permessage-deflate; server_max_window_bits=10":                                                       {deflateAgreement{serverWindow: 10, clientWindow: 15}, false},
		"permessage-deflate; server_no_context_takeover":                                                      {deflateAgreement{serverNoContext: true, serverWindow: 15, clientWindow: 15}, false},
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=11":                           {deflateAgreement{serverNoContext: true, serverWindow: 11, clientWindow: 15}, false},
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=10":                           {deflateAgreement{serverNoContext: true, serverWindow: 10, clientWindow: 15}, true},
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12": {deflateAgreement{serverNoContext: true, serverWindow: 9, clientWindow: 12}, true},
	} {
		for _, c := range []Compression{wish, demand} {
			granted := !c.RequirePeer || want.demanded
			conn, _, err := dialScript(t, reply(response("Sec-WebSocket-Extensions: "+field)), &DialOptions{Config: Config{Compression: &c}})
			require.Equal(t, granted, err == nil, "%+v: %s: %v", c, field, err)
			if !granted {
				require.ErrorContains(t, err, "RequirePeer", field)
				continue
			}
			conn.CloseNow()
			elements, err := parseExtensions([]string{field})
			require.NoError(t, err)
			agreed, err := checkDeflate(elements, &c)
			require.NoError(t, err)
			require.Equal(t, want.agreed, *agreed, field)
		}
	}
	for _, c := range []Compression{wish, demand} {
		conn, _, err := dialScript(t, reply(response()), &DialOptions{Config: Config{Compression: &c}})
		require.NoError(t, err, "a server that does not compress")
		conn.CloseNow()
	}
}

// TestServerThatDemands lets clients that cannot limit their window connect by
// every entry point.
func TestServerThatDemands(t *testing.T) {
	covers(t, "N17", "P14")
	for _, c := range []struct {
		offer, wish, demand string
	}{
		{"permessage-deflate", "permessage-deflate; client_no_context_takeover", ""},
		{"permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_no_context_takeover", ""},
		{"permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_no_context_takeover; client_max_window_bits=9",
			"permessage-deflate; client_no_context_takeover; client_max_window_bits=9"},
		{"permessage-deflate, permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover",
			"permessage-deflate; client_no_context_takeover; client_max_window_bits=10"},
	} {
		for _, d := range entryPoints {
			for _, demand := range []bool{false, true} {
				opts := &AcceptOptions{Config: Config{Compression: &Compression{PeerWindowBits: 10, PeerNoContextTakeover: true, RequirePeer: demand}}}
				r, nc := d.open(t, opts, request("Sec-WebSocket-Extensions: "+c.offer))
				want := c.wish
				if demand {
					want = c.demand
				}
				require.Equal(t, 101, r.StatusCode, "%s: %q, demanded %v", d.name, c.offer, demand)
				require.Equal(t, want, r.Header.Get(extensionsField), "%s: %q, demanded %v", d.name, c.offer, demand)
				io.WriteString(nc, maskedHello)
				wantHello(t, nc)
			}
		}
	}
}

// slowFits reports whether a valid response fits an offer.
func slowFits(offer, response reading) bool {
	if offer.has("server_no_context_takeover") && !response.has("server_no_context_takeover") {
		return false
	}
	if offer.has("server_max_window_bits") &&
		(!response.has("server_max_window_bits") || response.bits("server_max_window_bits") > offer.bits("server_max_window_bits")) {
		return false
	}
	if !response.has("client_max_window_bits") {
		return true
	}
	return response["client_max_window_bits"] != "" && offer.has("client_max_window_bits") &&
		response.bits("client_max_window_bits") <= offer.bits("client_max_window_bits")
}

// TestContextOfTheClient sends a server what a client compresses with context
// takeover: it is inflated unless the response says that there is none,
// whatever the offer says.
func TestContextOfTheClient(t *testing.T) {
	covers(t, "N10", "N11", "Z10")
	hello, again := []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, []byte{0xf2, 0x00, 0x11, 0x00, 0x00}
	kept := 0
	for _, c := range negotiated {
		eachWritten(2, func(params []string) {
			answer, agreed := answered(t, element(params), c)
			if agreed == nil {
				return
			}
			d := newDeflation(server, agreed, c)
			_, v := d.inflateWhole(nil, hello, 100)
			require.Equal(t, noViolation, v)
			got, v := d.inflateWhole(nil, again, 100)
			if split(t, answer).has("client_no_context_takeover") {
				require.Equal(t, compressedDataCorrupt, v)
				return
			}
			kept++
			require.Equal(t, noViolation, v)
			require.Equal(t, "Hello", string(got))
		})
	}
	require.NotZero(t, kept)
}

func TestSeveralOffers(t *testing.T) {
	covers(t, "N01", "N02", "N03", "N04", "N05", "N22")
	for _, c := range []struct{ offers, want string }{
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate; server_max_window_bits=10"},
		{"permessage-deflate, permessage-deflate; server_max_window_bits=10", "permessage-deflate"},
		{"permessage-deflate; foo, permessage-deflate", "permessage-deflate"},
		{"permessage-deflate; server_max_window_bits=16, permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"},
		{"x-foo, permessage-deflate", "permessage-deflate"},
		{"permessage-deflate, permessage-deflate", "permessage-deflate"},
		{"x-webkit-deflate-frame, permessage-deflate, permessage-bzip2", "permessage-deflate"},
		{"PERMESSAGE-DEFLATE, Permessage-Deflate", ""},
		{"permessage-deflate; foo, permessage-deflate; bar", ""},
		{"x-foo", ""},
		{"", ""},
	} {
		got, agreed := answered(t, c.offers, &Compression{})
		require.Equal(t, c.want, got, c.offers)
		require.Equal(t, c.want != "", agreed != nil)
		got, agreed = answered(t, c.offers, nil)
		require.Empty(t, got)
		require.Nil(t, agreed)
	}
}

func TestResponsesThatAreNoAnswer(t *testing.T) {
	covers(t, "N03", "N04", "N06", "N19", "N22", "E01")
	for field, on := range map[string]bool{
		"permessage-deflate, permessage-deflate":        true,
		"permessage-deflate, x-foo":                     true,
		"permessage-deflate, permessage-bzip2":          true,
		"x-foo, permessage-deflate":                     true,
		"PERMESSAGE-DEFLATE":                            true,
		"permessage-deflate":                            false,
		"permessage-deflate; client_max_window_bits=12": false,
	} {
		elements, err := parseExtensions([]string{field})
		require.NoError(t, err)
		c := &Compression{}
		if !on {
			c = nil
		}
		agreed, err := checkDeflate(elements, c)
		require.Error(t, err, field)
		require.Nil(t, agreed)
	}
	agreed, err := checkDeflate(nil, &Compression{})
	require.NoError(t, err, "a server may decline")
	require.Nil(t, agreed)
}

// TestOffers has what a client offers, whatever is configured: what it asks of
// the server, and then, unless that is a demand, the same without.
func TestOffers(t *testing.T) {
	covers(t, "N08", "N14", "N16", "N20", "P14")
	const bare = ", permessage-deflate; client_max_window_bits"
	for want, c := range map[string]Compression{
		"permessage-deflate; client_max_window_bits":                                              {},
		"permessage-deflate; client_no_context_takeover; client_max_window_bits":                  {NoContextTakeover: true},
		"permessage-deflate; client_max_window_bits=9":                                            {WindowBits: 9, RequirePeer: true},
		"permessage-deflate; server_no_context_takeover; client_max_window_bits" + bare:           {PeerNoContextTakeover: true},
		"permessage-deflate; server_no_context_takeover; client_max_window_bits":                  {PeerNoContextTakeover: true, RequirePeer: true},
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits" + bare:            {PeerWindowBits: 10},
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits":                   {PeerWindowBits: 10, RequirePeer: true},
		"permessage-deflate; server_max_window_bits=9; client_max_window_bits=11" + bare + "=11":  {PeerWindowBits: 9, WindowBits: 11},
		"permessage-deflate; server_max_window_bits=15; client_max_window_bits=15" + bare + "=15": {PeerWindowBits: 15, WindowBits: 15},
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits, " +
			"permessage-deflate; client_no_context_takeover; client_max_window_bits": {Level: 9, Threshold: -5, NoContextTakeover: true, PeerNoContextTakeover: true},
	} {
		require.Equal(t, want, string(appendExtensions(nil, offerExtensions(&c))))
	}
}

// TestNegotiationOverHTTP has what the first request and response look like on
// the network, and what goes on without an agreement.
func TestNegotiationOverHTTP(t *testing.T) {
	covers(t, "N03", "N05", "N22", "Z01")
	h := HandlerFunc(&AcceptOptions{Config: Config{Compression: &Compression{}}}, echo)
	for offer, want := range map[string][]string{
		"permessage-deflate; server_max_window_bits=15":                        {"permessage-deflate; server_max_window_bits=12"},
		"permessage-deflate; server_max_window_bits=8":                         {"permessage-deflate; server_max_window_bits=8"},
		"permessage-deflate; client_max_window_bits=8":                         {"permessage-deflate"},
		"permessage-deflate; foo, permessage-deflate; client_max_window_bits":  {"permessage-deflate"},
		"permessage-deflate; foo":                                              nil,
		"PERMESSAGE-DEFLATE":                                                   nil,
		"permessage-deflate; client_max_window_bits; server_max_window_bits=7": nil,
	} {
		s := newQuietServer(h)
		s.Start()
		nc, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		r, _ := roundTrip(t, nc, request("Sec-WebSocket-Extensions: "+offer))
		require.Equal(t, 101, r.StatusCode, offer)
		require.Equal(t, want, r.Header["Sec-Websocket-Extensions"], offer)
		nc.Close()
		s.Close()
	}
}

// FuzzDeflateNegotiation lets a server answer any field, and a client read the
// answer to its own offer back: the two must agree.
func FuzzDeflateNegotiation(f *testing.F) {
	for _, field := range []string{"permessage-deflate", "permessage-deflate; client_max_window_bits=10; server_max_window_bits=\"9\", x; y", "permessage-deflate;;"} {
		f.Add(field, uint8(0), uint8(0), uint8(12), uint8(9))
	}
	f.Fuzz(func(t *testing.T, field string, bits, peer, window, peerWindow uint8) {
		ours := &Compression{NoContextTakeover: bits&1 != 0, PeerNoContextTakeover: bits&2 != 0, WindowBits: int(window % 18), PeerWindowBits: int(peerWindow % 18), RequirePeer: bits&4 != 0}
		theirs := &Compression{NoContextTakeover: peer&1 != 0, PeerNoContextTakeover: peer&2 != 0, WindowBits: int(peer >> 4), PeerWindowBits: int(peer >> 2 % 16), RequirePeer: bits&8 != 0}
		if offers, err := parseExtensions([]string{field}); err == nil {
			agreed, elements := acceptExtensions(offers, ours)
			if again, _ := parseExtensions([]string{string(appendExtensions(nil, elements))}); !slices.EqualFunc(elements, again, sameExtension) {
				assert.Fail(t, "unreadable answer", "%q is answered with %v, which reads as %v", field, elements, again)
			}
			if agreed != nil {
				checkWindows(t, ours, server, *agreed)
			}
		}
		agreed, elements := acceptExtensions(offerExtensions(theirs), ours)
		read, err := checkDeflate(elements, theirs)
		if err != nil || read != nil && *read != *agreed || (read == nil) != (agreed == nil) {
			require.Fail(t, "different agreements", "the server understands %+v, the client %+v (%v)", agreed, read, err)
		}
		if read != nil {
			checkWindows(t, theirs, client, *read)
		} else if !ours.RequirePeer {
			require.Fail(t, "offers declined", "%+v declines the offers of %+v", *ours, *theirs)
		}
	})
}

func sameExtension(a, b extension) bool {
	return a.name == b.name && slices.Equal(a.params, b.params)
}
