package http1

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestParseHead(t *testing.T) {
	covers(t, "C31", "S01", "Q.A03", "Q.B02", "Q.B05")
	good := map[string]http.Header{
		"X\r\n\r\n":                          {},
		"X\r\nA: b\r\n\r\n":                  {"A": {"b"}},
		"X\r\na-b:b\r\nA-B: \t c \t\r\n\r\n": {"A-B": {"b", "c"}},
		"X\r\nA:\r\n\r\n":                    {"A": {""}},
		"X\r\nA: \xff\r\n\r\n":               {"A": {"\xff"}},
	}
	for head, want := range good {
		start, h, err := parseHead(head)
		if err != nil || start != "X" || !reflect.DeepEqual(h, want) {
			t.Errorf("%q: got %q, %v, %v", head, start, h, err)
		}
	}
	for _, head := range []string{
		"X\r\nA: b\r\n c\r\n\r\n", // folded
		"X\r\n A: b\r\n\r\n",
		"X\r\nA : b\r\n\r\n",
		"X\r\n: b\r\n\r\n",
		"X\r\nA\r\n\r\n",
		"X\r\nA: b\x00\r\n\r\n",
		"X\r\nA: b\rc\r\n\r\n",
		"X\x00\r\nA: b\r\n\r\n",
		"X\r\n" + strings.Repeat("A: b\r\n", MaxHeadFields+1) + "\r\n",
	} {
		if _, _, err := parseHead(head); err == nil {
			t.Errorf("%.40q is accepted", head)
		}
	}
	if _, _, err := parseHead("X\r\n" + strings.Repeat("A: b\r\n", MaxHeadFields) + "\r\n"); err != nil {
		t.Error(err)
	}
}

func TestHeadLength(t *testing.T) {
	covers(t, "Q.A01", "Q.B01", "Q.B05")
	head := sampleRequest
	for n := range len(head) {
		for seen := range n + 1 {
			if got, err := headLength([]byte(head[:n]), seen); got != 0 || err != nil {
				t.Fatalf("%d bytes: got %d, %v", n, got, err)
			}
		}
	}
	for seen := range len(head) {
		if got, err := headLength([]byte(head+"\x81\x00\r\n"), seen); got != len(head) || err != nil {
			t.Fatalf("got %d, %v, want %d", got, err, len(head))
		}
	}
	for _, bad := range []string{"\n", "GET / HTTP/1.1\n", "X\r\nA: b\n\r\n", "X\r\n\n"} {
		if _, err := headLength([]byte(bad), 0); err == nil {
			t.Errorf("%q: bare LF is accepted", bad)
		}
	}
}

func TestKeyOf(t *testing.T) {
	for want, h := range map[string]http.Header{
		"Cookie": {"cookie": {"a"}, "Cookie": {"b"}},
		"COOKIE": {"cookie": {"a"}, "COOKIE": {"b"}, "X": {"c"}},
		"cookie": {"cookie": {"a"}},
	} {
		if got := KeyOf(h, "Cookie"); got != want {
			t.Errorf("%v: got %s, want %s", h, got, want)
		}
	}
	if got := KeyOf(nil, "Cookie"); got != "Cookie" {
		t.Errorf("got %s of nothing", got)
	}
}
