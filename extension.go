package websocket

import (
	"errors"
	"strings"
)

// An extension is one element of Sec-WebSocket-Extensions (RFC 6455, Section
// 9.1). Names are compared as they are: the case of letters matters.
type extension struct {
	name   string
	params []param
}

// A param is one parameter of an extension.
type param struct {
	name     string
	value    string // a token, or ""
	hasValue bool   // a value was given, be it an empty quoted string
}

var errExtensions = errors.New("extension list is malformed")

// parseExtensions reads the lines of Sec-WebSocket-Extensions as one list:
//
//	extension-list  = 1#extension
//	extension       = token *( ";" extension-param )
//	extension-param = token [ "=" ( token / quoted-string ) ]
//
// Empty elements are skipped. More than 100 extensions, or 100 parameters of
// one, are an error too.
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

// An extensionParser holds what is left of one line.
type extensionParser struct{ rest string }

// skipCommas moves to the next element and reports whether there is one.
func (p *extensionParser) skipCommas() bool {
	p.rest = strings.TrimLeft(p.rest, ", \t")
	return p.rest != ""
}

// extension reads one element, up to the comma or the end.
func (p *extensionParser) extension() (e extension, ok bool) {
	if e.name, ok = p.token(); !ok {
		return e, false
	}
	for p.take(';') {
		v, ok := p.param()
		if !ok || len(e.params) == maxListed {
			return e, false
		}
		e.params = append(e.params, v)
	}
	return e, p.rest == "" || p.rest[0] == ','
}

// param reads one parameter.
func (p *extensionParser) param() (v param, ok bool) {
	if v.name, ok = p.token(); !ok || !p.take('=') {
		return v, ok
	}
	v.hasValue = true
	if p.take('"') {
		v.value, ok = p.quoted()
	} else {
		v.value, ok = p.token()
	}
	return v, ok
}

// take consumes c and the white space before and after it.
func (p *extensionParser) take(c byte) bool {
	rest := strings.TrimLeft(p.rest, " \t")
	if rest == "" || rest[0] != c {
		p.rest = rest
		return false
	}
	p.rest = rest[1:]
	return true
}

// token consumes a token and the white space before it.
func (p *extensionParser) token() (string, bool) {
	s := strings.TrimLeft(p.rest, " \t")
	n := 0
	for n < len(s) && isTokenChar(s[n]) {
		n++
	}
	p.rest = s[n:]
	return s[:n], n > 0
}

// quoted consumes a quoted string after its first quote. "The value after
// quoted-string unescaping MUST conform to the 'token' ABNF" (RFC 6455,
// Section 9.1), which a quote or a backslash does not, so that the first quote
// ends the string. An empty value is left for the extension to judge.
func (p *extensionParser) quoted() (string, bool) {
	end := strings.IndexByte(p.rest, '"')
	if end < 0 {
		return "", false
	}
	raw := p.rest[:end]
	p.rest = p.rest[end+1:]
	value := unescape(raw)
	return value, value == "" || isToken(value)
}

// unescape removes the backslashes of quoted pairs (RFC 9110, Section 5.6.4).
// A backslash that is quoted, or quotes nothing, stays, and is no token
// character.
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
