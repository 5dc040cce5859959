package websocket

import (
	"context"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket/internal/http1"
)

func TestParseURI(t *testing.T) {
	covers(t, "C09", "C10", "U01", "U02", "U03", "U05", "U06", "U07", "W01")
	for _, c := range []struct {
		uri                             string
		secure                          bool
		network, addr, host, name, path string
	}{
		{"ws://h", false, "tcp", "h:80", "h", "h", "/"},
		{"WSS://h/", true, "tcp", "h:443", "h", "h", "/"},
		{"http://h", false, "tcp", "h:80", "h", "h", "/"},
		{"https://h", true, "tcp", "h:443", "h", "h", "/"},
		{"ws://h:80", false, "tcp", "h:80", "h", "h", "/"},
		{"ws://h:81", false, "tcp", "h:81", "h:81", "h", "/"},
		{"ws://h:443", false, "tcp", "h:443", "h:443", "h", "/"},
		{"wss://h:443", true, "tcp", "h:443", "h", "h", "/"},
		{"ws://h:/", false, "tcp", "h:80", "h", "h", "/"},
		{"ws://h?a=1", false, "tcp", "h:80", "h", "h", "/?a=1"},
		{"ws://h?", false, "tcp", "h:80", "h", "h", "/"},
		{"ws://h/%2F/a", false, "tcp", "h:80", "h", "h", "/%2F/a"},
		{"ws://h//a;b=c@d:e/", false, "tcp", "h:80", "h", "h", "//a;b=c@d:e/"},
		{"ws://h/p%23f", false, "tcp", "h:80", "h", "h", "/p%23f"},
		{"ws://h/ü?ü", false, "tcp", "h:80", "h", "h", "/%C3%BC?%C3%BC"},
		{"ws://h/a b?c d", false, "tcp", "h:80", "h", "h", "/a%20b?c%20d"},
		{"ws://[::1]:9/", false, "tcp", "[::1]:9", "[::1]:9", "::1", "/"},
		{"wss://[2001:DB8::1]", true, "tcp", "[2001:DB8::1]:443", "[2001:db8::1]", "2001:db8::1", "/"},
		{"ws://[fe80::1%25eth0]/", false, "tcp", "[fe80::1%eth0]:80", "[fe80::1]", "fe80::1", "/"},
		{"ws://u:p@h:8/", false, "tcp", "h:8", "h:8", "h", "/"},
		{"ws+unix:///run/a.sock", false, "unix", "/run/a.sock", "localhost", "localhost", "/"},
		{"ws+unix:///run/a.sock:/chat?b", false, "unix", "/run/a.sock", "localhost", "localhost", "/chat?b"},
		{"wss+unix:///run/a%3Ab:/c:d", true, "unix", "/run/a:b", "localhost", "localhost", "/c:d"},
	} {
		t.Run(c.uri, func(t *testing.T) {
			got, err := parseURI(c.uri)
			if err != nil {
				t.Fatal(err)
			}
			want := wsURI{c.secure, c.network, c.addr, c.name, got.port, c.host, c.path, got.user}
			if *got != want {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
			if u := got.url(); u.RequestURI() != c.path || u.Host != c.host || u.User != nil {
				t.Errorf("URL is %v", u)
			}
		})
	}
}

func TestParseURIErrors(t *testing.T) {
	covers(t, "U01", "U02", "U04", "U05", "U06", "W01", "Q.B14", "Q.J06")
	for uri, want := range map[string]string{
		"ws://secret@h/p#f":          "fragment",
		"ws://h/p#":                  "fragment",
		"":                           "scheme",
		"h/p":                        "scheme",
		"/secret":                    "scheme",
		"ftp://secret@h":             "scheme",
		"http+unix:///secret":        "scheme",
		"ws:secret":                  "//",
		"ws:///secret":               "no host",
		"ws://":                      "no host",
		"ws://:80/secret":            "no host",
		"ws://h:x/secret":            "port",
		"ws://u:secret@h:x/":         "malformed",
		"ws://h:70000/":              "port",
		"ws://h:0/":                  "port",
		"ws://h:-1/":                 "port",
		"ws://exämple/secret":        "xn--",
		"ws://ex%C3%A4mple/":         "xn--",
		"ws://[::1/":                 "",
		"ws://[host]/":               "",
		"ws://a b/":                  "",
		"ws://a!b/":                  "character",
		"ws://h/a\r\nX: secret":      "control",
		"ws://h\r\nX: secret/":       "",
		"ws://h/\x00":                "",
		"ws://user:sec\nret@h/":      "",
		"ws+unix://h/secret":         "form",
		"ws+unix://":                 "form",
		"ws+unix:///run/a%00b":       "form",
		"ws+unix:///run/a.sock:chat": "slash",
	} {
		_, err := parseURI(uri)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %q", uri, err, want)
		}
	}
}

// FuzzURL checks that what goes on the wire for a URI that is accepted is one
// line for the target and one for the host, and that no error shows userinfo.
func FuzzURL(f *testing.F) {
	covers(f, "U04", "U06", "Q.B14", "Q.J06")
	for _, seed := range []string{"ws://h:1/a?b", "wss://u:p@[::1%25a]/", "ws+unix:///a:/b", "http://ü/", "ws://h/\r\n", "ws://a@b@c/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		d, err := newDialer(uri, nil)
		if err != nil {
			if user, _, ok := strings.Cut(uri, "@"); ok && len(user) > 25 && strings.Contains(err.Error(), user[len(user)-15:]) {
				t.Fatalf("userinfo is shown: %v", err)
			}
			return
		}
		wire := string(appendRequest(nil, d.request, d.uri.resourceName))
		if headOf(wire) != wire {
			t.Fatalf("not one head: %q", wire)
		}
		r, err := http1.ParseRequest(context.Background(), wire)
		if err != nil || checkRequest(r) != nil || r.RequestURI != d.uri.resourceName || strings.ContainsAny(r.Host, "@/ %") {
			t.Fatalf("%q: %v, %v", wire, err, r)
		}
		if d.uri.network == "tcp" && (d.uri.host == "" || strings.ContainsAny(d.uri.hostField, "@/ %")) {
			t.Fatalf("%+v", d.uri)
		}
	})
}
