package http1

import (
	"context"
	"testing"
)

func TestParseRequest(t *testing.T) {
	covers(t, "S02", "S03", "Q.A07")
	const fields = "Host: server.example.com\r\nA: b\r\n\r\n"
	for _, head := range []string{
		"GET  /chat HTTP/1.1\r\n" + fields, "GET /chat  HTTP/1.1\r\n" + fields, "GET /chat\r\n" + fields, "GET /chat HTTP/11\r\n" + fields,
		"GET chat HTTP/1.1\r\n" + fields, "GET /ch\xc3\xa4t HTTP/1.1\r\n" + fields, "GET /%zz HTTP/1.1\r\n" + fields, "G@T / HTTP/1.1\r\n" + fields,
		" / HTTP/1.1\r\n" + fields, "GET /chat HTTP/1.1\r\nA: b\r\n\r\n", "GET /chat HTTP/1.1\r\nHost: other\r\n" + fields,
	} {
		if _, err := ParseRequest(context.Background(), head); err == nil {
			t.Errorf("%q is accepted", head)
		}
	}
	r, err := ParseRequest(context.Background(), "GET http://other:8/a%2Fb?q HTTP/1.1\r\n"+fields)
	if err != nil || r.Host != "other:8" || r.URL.Path != "/a/b" || r.URL.RawQuery != "q" || r.Header["Host"] != nil {
		t.Errorf("absolute form: %+v, %v", r, err)
	}
	r, err = ParseRequest(context.Background(), "CONNECT a:80 HTTP/1.1\r\n"+fields)
	if err != nil || r.Method != "CONNECT" || r.URL.Host != "a:80" {
		t.Errorf("CONNECT: %+v, %v", r, err)
	}
}

// TestAnnouncedBody has requests that announce a body, and one that announces
// that there is none.
func TestAnnouncedBody(t *testing.T) {
	for field, want := range map[string]int64{
		"Content-Length: 0": 0, "Content-Length: 5": -1, "Content-Length: 0\r\nContent-Length: 0": -1, "Transfer-Encoding: chunked": -1, "A: b": 0,
	} {
		r, err := ParseRequest(context.Background(), "GET / HTTP/1.1\r\nHost: h\r\n"+field+"\r\n\r\n")
		if err != nil || r.ContentLength != want {
			t.Errorf("%q: %+v, %v", field, r, err)
		}
	}
}
