package websocket

import (
	"context"
	"io"
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
		"X\r\n" + strings.Repeat("A: b\r\n", maxHeadFields+1) + "\r\n",
	} {
		if _, _, err := parseHead(head); err == nil {
			t.Errorf("%.40q is accepted", head)
		}
	}
	if _, _, err := parseHead("X\r\n" + strings.Repeat("A: b\r\n", maxHeadFields) + "\r\n"); err != nil {
		t.Error(err)
	}
}

func TestHeadLength(t *testing.T) {
	covers(t, "Q.A01", "Q.B01", "Q.B05")
	head := request()
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

func TestParseRequest(t *testing.T) {
	covers(t, "S02", "S03", "Q.A07")
	for _, head := range []string{
		request("GET  /chat HTTP/1.1"), request("GET /chat  HTTP/1.1"), request("GET /chat"), request("GET /chat HTTP/11"),
		request("GET chat HTTP/1.1"), request("GET /ch\xc3\xa4t HTTP/1.1"), request("GET /%zz HTTP/1.1"), request("G@T / HTTP/1.1"),
		request(" / HTTP/1.1"), request("-Host"), request("+Host: other"),
	} {
		if _, err := parseRequest(context.Background(), head); err == nil {
			t.Errorf("%q is accepted", head)
		}
	}
	r := parsed(t, request("GET http://other:8/a%2Fb?q HTTP/1.1"))
	if r.Host != "other:8" || r.URL.Path != "/a/b" || r.URL.RawQuery != "q" || r.Header["Host"] != nil {
		t.Errorf("absolute form: %+v", r)
	}
	if r := parsed(t, request("CONNECT a:80 HTTP/1.1")); r.Method != "CONNECT" || r.URL.Host != "a:80" {
		t.Errorf("CONNECT: %+v", r)
	}
}

func TestParseStatusLine(t *testing.T) {
	covers(t, "C31", "P16", "Q.B05", "Q.B13")
	for _, line := range []string{
		"HTTP/1.1 10", "HTTP/1.1 101\t", "HTTP/1.1 1010", "HTTP/1.1 1010 X", "HTTP/1.1  101 X", "HTTP/1.1 01 X", "HTTP/1.1 1a1 X", "HTTP/1.1 ", "HTTP/1.1",
		"HTTP/2 101 X", "HTTP/2.0 101 X", "http/1.1 101 X", "H", "", "ICY 200 OK", "HTTP/1.1 001 X", "HTTP/1.1\t101 X",
	} {
		if _, err := parseResponse(line + "\r\n\r\n"); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
	for _, line := range []string{"HTTP/1.1 101 ", "HTTP/1.1 101"} {
		r, err := parseResponse(line + "\r\n\r\n")
		if err != nil || r.StatusCode != 101 || r.ProtoMinor != 1 {
			t.Fatalf("%q: %+v, %v", line, r, err)
		}
		if body, err := io.ReadAll(r.Body); len(body) > 0 || err != nil {
			t.Errorf("body: %q, %v", body, err)
		}
	}
}
