package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFlags checks what flags set.
func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		show func(o *options) any
		want string
	}{
		{"localhost:1/x", func(o *options) any { return o.url }, "ws://localhost:1/x"},
		{":1/x", func(o *options) any { return o.url }, "ws://localhost:1/x"},
		{"example.com?next=http://a", func(o *options) any { return o.url }, "ws://example.com?next=http://a"},
		{"wss://a", func(o *options) any { return o.url }, "wss://a"},
		{"ws+unix:///s:/x", func(o *options) any { return o.url }, "ws+unix:///s:/x"},
		{"a -v", func(o *options) any { return o.verbose }, "true"},
		{"a -x b -x c", func(o *options) any { return o.say }, "[b c]"},
		{"a -x=", func(o *options) any { return len(o.say) }, "1"},
		{"a", func(o *options) any { return o.say == nil }, "true"},
		{"-subprotocol=a,b -subprotocol=c a", func(o *options) any { return o.dial.Subprotocols }, "[a b c]"},
		{"-H=A:1 -H=a:2 a", func(o *options) any { return o.dial.Header }, "map[A:[1 2]]"},
		{"-H=host:h a", func(o *options) any { return o.dial.Host }, "h"},
		{"-user=a:b a", func(o *options) any { return o.dial.Header.Get("Authorization") }, "Basic YTpi"},
		{"-insecure a", func(o *options) any { return o.dial.TLS.InsecureSkipVerify }, "true"},
		{"-insecure=false a", func(o *options) any { return o.dial.TLS == nil }, "true"},
		{"-compress a", func(o *options) any { return o.dial.Compression != nil }, "true"},
		{"-timeout=2s -ping=-1s a", func(o *options) any { return o.dial.HandshakeTimeout - o.dial.PingInterval }, "3s"},
		{"-max-size=7 a", func(o *options) any { return o.dial.MaxMessageSize }, "7"},
		{"-hex -binary a", func(o *options) any { return o.form == asHex }, "true"},
		{"a", func(o *options) any { return o.wait }, "1s"},
		{"-n=2 a", func(o *options) any { return o.wait < 0 }, "true"},
		{"-n=2 -wait=3s a", func(o *options) any { return o.wait }, "3s"},
		{"-history= a", func(o *options) any { return o.history }, ""},
	} {
		o, err := parseFlags(strings.Fields(c.args), io.Discard)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
		} else if got := fmt.Sprint(c.show(o)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.args, got, c.want)
		}
	}
}

// TestBadFlags checks that the error says what is wrong.
func TestBadFlags(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                    "give one URL",
		"a b":                 "give one URL",
		"-nope a":             "-nope",
		"-n x a":              "-n",
		"-n -1 a":             "-n is a positive number",
		"-H nope a":           "'Name: value'",
		"-H :nope a":          "'Name: value'",
		"-user nope a":        "name:password",
		"-insecure=maybe a":   "-insecure",
		"-ca nope.pem a":      "nope.pem",
		"-ca " + empty + " a": "no certificate",
		"-max-size 0 a":       "-max-size is a positive number",
		"-timeout 0 a":        "-timeout is a positive duration",
		"-ping 0 a":           "-ping is a positive duration",
		"-hex -x nope a":      `-x "nope" is not pairs of hexadecimal digits`,
		"-x \xff a":           "is not UTF-8",
	} {
		wscat(t, "", strings.Fields(args)...).want(t, exitUsage, "", want)
	}
}
