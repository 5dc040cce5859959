package hostport

import "testing"

func TestCanonical(t *testing.T) {
	for host, want := range map[string]string{
		"h": "h", "Example.COM": "Example.COM", "a_b.c-d": "a_b.c-d", "192.0.2.1": "192.0.2.1", "2001:DB8::0:1": "2001:db8::1", "fe80::1%eth0": "fe80::1",
		"": "", "a b": "", "a!b": "", "exämple": "", "a@b": "", "::g": "", "a%20b": "", "a/b": "",
	} {
		got, err := Canonical(host)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", host, got, err, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for s, want := range map[string][2]string{
		"h": {"h", ""}, "h:80": {"h", "80"}, "[::1]": {"[::1]", ""}, "[::1]:8080": {"[::1]", "8080"}, "192.0.2.1:1": {"192.0.2.1", "1"},
	} {
		if host, port, ok := Split(s); host != want[0] || port != want[1] || !ok {
			t.Errorf("%q: got %q, %q, %v", s, host, port, ok)
		}
	}
	for _, s := range []string{"", ":80", "h:", "h:0", "h:080", "h:65536", "h:x", "::1", "[::1", "[]", "[h]", "[::1]80", "a b", "a@b", "h/p"} {
		if host, port, ok := Split(s); ok {
			t.Errorf("%q: got %q, %q", s, host, port)
		}
	}
}
