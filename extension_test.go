package websocket

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

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
		if got, err := parseExtensions(c.lines); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %v, %v", c.lines, got, err)
		}
	}
	for _, bad := range []string{
		";", "; a", "=", "a b", "a;", "a;;", "a; ;b", "a; =", "a; =1", "a; b=", "a; b=,c", "a; b==1", `a; b="`, `a; b="x`,
		`a; b="x y"`, `a; b="x"y`, `a; b="x" y`, `a; b="\"`, `a; b="\""`, `a; b="\\"`, `"a"`, "a, ;b", "a,,,; x", "a;\x00", "\xff", "ü", "a; b=ü",
		strings.Repeat("a,", 10_000), "a" + strings.Repeat(";b", 10_000),
	} {
		if got, err := parseExtensions([]string{bad}); err == nil {
			t.Errorf("%.40q: got %v", bad, got)
		}
	}
}

func TestExtensionBounds(t *testing.T) {
	covers(t, "Q.A12")
	for n, ok := range map[int]bool{maxListed: true, maxListed + 1: false} {
		if _, err := parseExtensions([]string{strings.Repeat("a,", n)}); (err == nil) != ok {
			t.Errorf("%d extensions: %v", n, err)
		}
		if _, err := parseExtensions([]string{"a" + strings.Repeat(";b", n)}); (err == nil) != ok {
			t.Errorf("%d parameters: %v", n, err)
		}
	}
}

// FuzzExtensionHeader checks that what is parsed is written in a form that
// parses to the same, and that a parser of another making agrees.
func FuzzExtensionHeader(f *testing.F) {
	covers(f, "E02", "S12", "Q.A12")
	for _, seed := range []string{"", "a", "a, b", `a; b="c"; d=e`, `a; b="\c"`, `a; b="`, `a; b=""`, "a;", ",,a", "permessage-deflate; client_max_window_bits"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		list, err := parseExtensions([]string{line})
		if slow, ok := splitExtensions(line); ok != (err == nil) && len(slow) <= maxListed {
			t.Fatalf("parser: %v, %v; reference: %v, %v", list, err, slow, ok)
		} else if ok && err == nil && fmt.Sprint(slow) != fmt.Sprint(list) {
			t.Fatalf("parser: %v; reference: %v", list, slow)
		}
		if err != nil {
			return
		}
		again, err := parseExtensions([]string{string(appendExtensions(nil, list))})
		if err != nil || !reflect.DeepEqual(list, again) {
			t.Fatalf("%v becomes %v, %v", list, again, err)
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
