package websocket

import (
	"crypto/tls"
	"net/http"
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

func TestAllowOrigins(t *testing.T) {
	covers(t, "S16", "Q.A14", "Q.J01")
	for _, c := range []struct {
		pattern, origin string
		ok              bool
	}{
		{"https://example.com", "https://example.com", true},
		{"https://example.com", "https://EXAMPLE.com:443", true},
		{"https://example.com", "http://example.com", false},
		{"https://example.com", "https://example.com:8443", false},
		{"https://example.com", "https://www.example.com", false},
		{"https://example.com", "null", false},
		{"https://example.com:8443", "https://example.com:8443", true},
		{"https://example.com:*", "https://example.com:8443", true},
		{"https://example.com:*", "https://example.com", true},
		{"https://*.example.com", "https://www.example.com", true},
		{"https://*.example.com", "https://a.b.Example.com", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://evilexample.com", false},
		{"https://*.example.com", "https://.example.com", false},
		{"https://*.example.com", "https://www.example.com.evil", false},
		{"https://*.example.com:*", "https://www.example.com:1", true},
		{"http://[::1]:*", "http://[::1]:3000", true},
		{"chrome-extension://abcdef", "chrome-extension://abcdef", true},
		{"chrome-extension://abcdef", "chrome-extension://abcdeg", false},
	} {
		r := &http.Request{Host: "example.com", Header: http.Header{"Origin": {c.origin}}}
		if err := AllowOrigins("https://other.net", c.pattern)(r); (err == nil) != c.ok {
			t.Errorf("pattern %s, origin %s: got %v", c.pattern, c.origin, err)
		}
	}
	if err := AllowOrigins()(&http.Request{}); err != nil {
		t.Errorf("no Origin: %v", err)
	}
}

func TestAllowOriginsInvalidPattern(t *testing.T) {
	for _, p := range []string{"*", "", "example.com", "https://", "https://*", "https://*.", "https://a.*.com", "https://a:1:*", "https://a/", "https://a:*:1", "null"} {
		policy := AllowOrigins("https://a", p)
		err := policy(&http.Request{Header: http.Header{"Origin": {"https://a"}}})
		if statusOf(err) != 500 || !strings.Contains(err.Error(), "origin pattern") {
			t.Errorf("%q: got %v", p, err)
		}
		if err := policy(&http.Request{}); err != nil {
			t.Errorf("%q without Origin: %v", p, err)
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
