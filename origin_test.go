package websocket

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestSameOrigin(t *testing.T) {
	covers(t, "S10", "S16", "Q.A14", "Q.A15", "Q.J01", "E08")
	for _, c := range []struct {
		host    string
		origins []string
		tls     bool
		ok      bool
	}{
		{"h", nil, false, true},
		{"h", []string{"http://h"}, false, true},
		{"h", []string{"http://H"}, false, true},
		{"H", []string{"HTTP://h"}, false, true},
		{"h", []string{"http://h:80"}, false, true},
		{"h:80", []string{"http://h"}, false, true},
		{"h:81", []string{"http://h:81"}, false, true},
		{"h", []string{"https://h"}, false, true}, // TLS may end before us
		{"h", []string{"https://h:443"}, false, true},
		{"h", []string{"https://h"}, true, true},
		{"h:443", []string{"https://h"}, true, true},
		{"[::1]:8", []string{"http://[::1]:8"}, false, true},
		{"[::1]", []string{"http://[::1]"}, false, true},
		{"[2001:DB8::1]", []string{"http://[2001:db8::1]"}, false, true},
		{"xn--exmple-cua", []string{"http://XN--exmple-cua"}, false, true},
		{"h", []string{"http://h"}, true, false},
		{"h", []string{"http://evil"}, false, false},
		{"h", []string{"null"}, false, false},
		{"h", []string{""}, false, false},
		{"h", []string{"http://h.evil"}, false, false},
		{"h", []string{"http://evilh"}, false, false},
		{"h", []string{"http://h@evil"}, false, false},
		{"h", []string{"http://evil@h"}, false, false},
		{"h", []string{"http://h:81"}, false, false},
		{"h:81", []string{"http://h"}, false, false},
		{"h:80", []string{"https://h"}, false, false},
		{"h.", []string{"http://h"}, false, false},
		{"h", []string{"http://h."}, false, false},
		{"h", []string{"http://h/"}, false, false},
		{"h", []string{"http://h/path"}, false, false},
		{"h", []string{"http://h?q"}, false, false},
		{"h", []string{"http://h#f"}, false, false},
		{"h", []string{"http://h:"}, false, false},
		{"h", []string{"http://h:080"}, false, false},
		{"h", []string{"http://h:x"}, false, false},
		{"h", []string{"http://h h"}, false, false},
		{"h", []string{"http:///h"}, false, false},
		{"h", []string{"http:h"}, false, false},
		{"h", []string{"http://[::1"}, false, false},
		{"[::1]", []string{"http://::1"}, false, false},
		{"[::1]", []string{"http://[::1]x"}, false, false},
		{"h", []string{"ws://h"}, false, false},
		{"h", []string{"://h"}, false, false},
		{"h", []string{"file://"}, false, false},
		{"h", []string{"chrome-extension://h"}, false, false},
		{"h", []string{"http://h", "http://h"}, false, false},
		{"h", []string{"http://h", "http://evil"}, false, false},
		{"h", []string{"http://h, http://evil"}, false, false},
		{"k", []string{"http://\u212a"}, false, false}, // the Kelvin sign folds to k
		{"h:x", []string{"http://h:x"}, false, false},
		{"", []string{"http://"}, false, false},
	} {
		r := &http.Request{Host: c.host, Header: http.Header{"X-Forwarded-Host": {"evil"}}}
		if c.origins != nil {
			r.Header["Origin"] = c.origins
		}
		if c.tls {
			r.TLS = new(tls.ConnectionState)
		}
		if err := SameOrigin()(r); (err == nil) != c.ok {
			t.Errorf("host %q, TLS %v, origin %q: got %v", c.host, c.tls, c.origins, err)
		}
	}
}

// TestAllowOrigins has every form of pattern, with origins that it stands for
// and origins that it does not.
func TestAllowOrigins(t *testing.T) {
	covers(t, "S16", "Q.A14", "Q.J01", "V22")
	for _, c := range []struct {
		pattern string
		allowed []string
		refused []string
	}{
		{"https://example.com",
			[]string{"https://example.com", "https://EXAMPLE.com:443", "HTTPS://example.com"},
			[]string{"http://example.com", "https://example.com:8443", "https://www.example.com", "null", "https://example.com.", "https://example.com/",
				"https://examp1e.com", "https://example.com.evil", "https://evilexample.com", "https://example.com@evil", "https://ex\u0430mple.com",
				"https://xn--exmple-4uf.com", "wss://example.com", "https://", "example.com", "https://example.com https://evil"}},
		{"https://example.com/", []string{"https://example.com"}, []string{"http://example.com", "https://example.com/"}},
		{"HTTPS://Example.com:443/", []string{"https://example.com"}, []string{"https://example.com:444"}},
		{"https://example.com.", []string{"https://example.com."}, []string{"https://example.com"}},
		{"https://xn--exmple-cua.com", []string{"https://xn--exmple-cua.com"}, []string{"https://ex\u00e4mple.com"}},
		{"https://example.com:8443", []string{"https://example.com:8443"}, []string{"https://example.com", "http://example.com:8443"}},
		{"https://example.com:*", []string{"https://example.com:8443", "https://example.com"}, []string{"http://example.com", "https://example.com:*"}},
		{"https://example.com:*/", []string{"https://example.com:8443"}, nil},
		{"https://*.example.com",
			[]string{"https://www.example.com", "https://a.b.Example.com"},
			[]string{"https://example.com", "https://evilexample.com", "https://.example.com", "https://www.example.com.evil",
				"https://www.example.com:8443", "https://www.example.com.", "http://www.example.com", "https://*.example.com"}},
		{"https://*.example.com:*", []string{"https://www.example.com:1"}, []string{"https://example.com:1"}},
		{"http://example.com", []string{"http://example.com:80"}, []string{"https://example.com"}},
		{"http://[::1]:*", []string{"http://[::1]:3000"}, []string{"http://[::2]:3000", "http://::1"}},
		{"http://[0:0:0:0:0:0:0:1]", []string{"http://[::1]"}, nil},
		{"http://192.0.2.1", []string{"http://192.0.2.1"}, []string{"http://192.0.2.10"}},
		{"example.com", []string{"https://example.com"}, []string{"http://example.com", "https://www.example.com", "https://example.com:8443", "app://example.com"}},
		{"example.com/", []string{"https://example.com"}, []string{"http://example.com"}},
		{"example.com:8443", []string{"https://example.com:8443"}, []string{"https://example.com"}},
		{"*.example.com", []string{"https://www.example.com"}, []string{"https://example.com", "http://www.example.com"}},
		{"192.0.2.1", []string{"https://192.0.2.1"}, []string{"http://192.0.2.1"}},
		{"localhost", []string{"https://localhost", "http://localhost", "http://LOCALHOST:80"}, []string{"http://localhost:3000", "https://localhost:80", "http://a.localhost"}},
		{"localhost:3000", []string{"https://localhost:3000", "http://localhost:3000"}, []string{"http://localhost", "http://evillocalhost:3000"}},
		{"localhost:*", []string{"https://localhost", "http://localhost:3000"}, []string{"http://localhost.evil:3000"}},
		{"*.localhost:*", []string{"https://a.localhost", "http://a.b.localhost:3000"}, []string{"http://localhost:3000"}},
		{"app.localhost", []string{"http://app.localhost"}, []string{"http://localhost"}},
		{"evillocalhost", []string{"https://evillocalhost"}, []string{"http://evillocalhost"}},
		{"127.0.0.1:*", []string{"http://127.0.0.1:3000", "https://127.0.0.1"}, []string{"http://127.0.0.2:3000", "http://127.0.0.1.evil"}},
		{"127.8.9.10", []string{"http://127.8.9.10"}, []string{"http://127.0.0.1"}},
		{"[::1]:3000", []string{"http://[::1]:3000", "https://[::1]:3000"}, []string{"http://[::1]"}},
		{"[2001:db8::1]", []string{"https://[2001:db8::1]"}, []string{"http://[2001:db8::1]"}},
		{"null", []string{"null"}, []string{"", "NULL", "null://", "file://", "https://null", "null, null"}},
		{"file://", []string{"file://"}, []string{"null", "file://host", "file:///", "https://"}},
		{"file:///", []string{"file://"}, []string{"file:///"}},
		{"capacitor://localhost", []string{"capacitor://localhost"}, []string{"http://localhost", "capacitor://localhost:1", "capacitor://evil", "ionic://localhost"}},
		{"tauri://localhost", []string{"tauri://localhost"}, []string{"capacitor://localhost"}},
		{"ionic://localhost", []string{"ionic://localhost"}, []string{"null"}},
		{"app://.", []string{"app://."}, []string{"app://", "app://-"}},
		{"app://-", []string{"app://-"}, []string{"app://."}},
		{"app://", []string{"app://"}, []string{"app://-", "null"}},
		{"chrome-extension://abcdef", []string{"chrome-extension://abcdef"}, []string{"chrome-extension://abcdeg", "moz-extension://abcdef", "chrome-extension://"}},
		{"moz-extension://5f6e-7a", []string{"moz-extension://5f6e-7a"}, []string{"moz-extension://5f6e-7b"}},
		{"vscode-webview://*", []string{"vscode-webview://1a2b3c", "vscode-webview://a:1"}, []string{"vscode-webview://", "vscode://a", "https://a", "null"}},
	} {
		policy := AllowOrigins("https://other.net", c.pattern)
		judge := func(o string) error {
			return policy(&http.Request{Host: "example.com", Header: http.Header{"Origin": {o}}})
		}
		for _, o := range c.allowed {
			if err := judge(o); err != nil {
				t.Errorf("pattern %s, origin %s: got %v", c.pattern, o, err)
			}
		}
		for _, o := range c.refused {
			if judge(o) == nil {
				t.Errorf("pattern %s allows origin %s", c.pattern, o)
			}
		}
		if err := policy(&http.Request{}); err != nil {
			t.Errorf("pattern %s, no Origin: %v", c.pattern, err)
		}
	}
}

func TestAllowNoOrigin(t *testing.T) {
	if err := AllowOrigins()(&http.Request{}); err != nil {
		t.Errorf("no Origin: %v", err)
	}
	if AllowOrigins()(&http.Request{Header: http.Header{"Origin": {"https://a"}}}) == nil {
		t.Error("an origin is allowed")
	}
}

// TestAllowOriginsInvalidPattern has patterns that match no browser, or all of
// them: they are told when the policy is made.
func TestAllowOriginsInvalidPattern(t *testing.T) {
	covers(t, "V22")
	for p, want := range map[string]string{
		"*":                        "InsecureAnyOrigin",
		"*/":                       "InsecureAnyOrigin",
		"*://*":                    "InsecureAnyOrigin",
		"https://*":                "InsecureAnyOrigin",
		"https://*:*":              "InsecureAnyOrigin",
		"http://*/":                "InsecureAnyOrigin",
		"*://example.com":          "https://example.com and http://example.com",
		"":                         "has no host",
		"/":                        "has no host",
		"https://":                 "has no host",
		"https://example.com/chat": "drop the path",
		"https://example.com//":    "drop the path",
		"example.com/chat/":        "drop the path",
		"https://example.com/*":    "drop the path",
		"https://example.com?a":    "drop the path",
		"https://example.com#a":    "drop the path",
		"127.0.0.0/8":              "drop the path",
		"file:///index.html":       "drop the path",
		"https://a.*.com":          "wildcard",
		"https://*example.com":     "wildcard",
		"https://*.*.com":          "wildcard",
		"https://example.*":        "wildcard",
		"https://a:*:1":            "wildcard",
		"https://*:8443":           "wildcard",
		"https://*.127.0.0.1":      "wildcard before an address",
		"*.[::1]":                  "wildcard before an address",
		"https://*.":               "https://example.com",
		"https://a:1:*":            "https://example.com",
		"https://a:":               "https://example.com",
		"https://a:0":              "https://example.com",
		"https://a:080":            "https://example.com",
		"https://a:70000":          "https://example.com",
		"https:example.com":        "https://example.com",
		"https:/example.com":       "drop the path",
		"file:":                    "https://example.com",
		"://a":                     "scheme",
		" https://a":               "scheme",
		"wss://example.com":        "that of the page",
		"ws://example.com":         "that of the page",
		".example.com":             "*.example.com",
		"https://a..com":           "empty label",
		"https://*..com":           "empty label",
		"https://ex\u00e4mple.com": "xn--",
		"https://user@example.com": "user information",
		"https://a,https://b":      "argument of its own",
		"a, b":                     "argument of its own",
		"::1":                      "[::1]",
		"https://2001:db8::1":      "[::1]",
		"https://[::g]":            "https://example.com",
		"https://[:::]":            "[::1]",
		"127.1":                    "127.0.0.1",
		"https://1.2.3.4.":         "127.0.0.1",
	} {
		got := func() (text any) {
			defer func() { text = recover() }()
			AllowOrigins("https://a", p)
			return nil
		}()
		text, _ := got.(string)
		if !strings.HasPrefix(text, "websocket: AllowOrigins: pattern "+strconv.Quote(p)) || !strings.Contains(text, want) {
			t.Errorf("%q: got %v, want %q", p, got, want)
		}
	}
}

func TestInsecureAnyOrigin(t *testing.T) {
	covers(t, "Q.J01")
	for _, origin := range []string{"null", "https://evil", "\xff"} {
		if err := InsecureAnyOrigin()(&http.Request{Header: http.Header{"Origin": {origin}}}); err != nil {
			t.Error(err)
		}
	}
}
