package http1

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestParseStatusLine(t *testing.T) {
	covers(t, "C31", "P16", "Q.B05", "Q.B13")
	for _, line := range []string{
		"HTTP/1.1 10", "HTTP/1.1 101\t", "HTTP/1.1 1010", "HTTP/1.1 1010 X", "HTTP/1.1  101 X", "HTTP/1.1 01 X", "HTTP/1.1 1a1 X", "HTTP/1.1 ", "HTTP/1.1",
		"HTTP/2 101 X", "HTTP/2.0 101 X", "http/1.1 101 X", "H", "", "ICY 200 OK", "HTTP/1.1 001 X", "HTTP/1.1\t101 X",
	} {
		if _, err := ParseResponse(line + "\r\n\r\n"); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
	for _, line := range []string{"HTTP/1.1 101 ", "HTTP/1.1 101"} {
		r, err := ParseResponse(line + "\r\n\r\n")
		if err != nil || r.StatusCode != 101 || r.ProtoMinor != 1 {
			t.Fatalf("%q: %+v, %v", line, r, err)
		}
		if body, err := io.ReadAll(r.Body); len(body) > 0 || err != nil {
			t.Errorf("body: %q, %v", body, err)
		}
	}
}

func TestReadFinalResponse(t *testing.T) {
	covers(t, "C21", "C34", "Q.B04")
	const interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	for n, want := range map[int]error{0: nil, 1: nil, MaxInterim: nil, MaxInterim + 1: errInterim} {
		r := NewResponseReader(readOnly{r: strings.NewReader(strings.Repeat(interim, n) + sampleResponse)})
		told := 0
		response, head, err := r.ReadFinalResponse(func(r *http.Response) error {
			if r.StatusCode == 103 && r.Header.Get("Link") != "" {
				told++
			}
			return nil
		})
		if !errors.Is(err, want) || told != n || err == nil && (response.StatusCode != 101 || head != sampleResponse) {
			t.Errorf("%d interim responses: got %v, %q, %v", n, response, head, err)
		}
		r.Release()
	}
}

// TestInterimIsRefused has the caller give up at an interim response.
func TestInterimIsRefused(t *testing.T) {
	stop := errors.New("stop")
	r := NewResponseReader(readOnly{r: strings.NewReader("HTTP/1.1 100 Continue\r\n\r\n" + sampleResponse)})
	defer r.Release()
	if _, _, err := r.ReadFinalResponse(func(*http.Response) error { return stop }); err != stop {
		t.Errorf("got %v", err)
	}
}

func TestReadErrorBody(t *testing.T) {
	covers(t, "C34")
	long := strings.Repeat("x", 2*MaxErrorBody)
	for wire, want := range map[string]string{
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno, and more":                  "no",
		"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n": "no",
		"HTTP/1.1 403 Forbidden\r\n\r\nno":                                                 "no",
		"HTTP/1.1 403 Forbidden\r\n\r\n" + long:                                            long[:MaxErrorBody],
		"HTTP/1.1 403 Forbidden\r\nContent-Length: many\r\n\r\nno":                         "",
	} {
		r := NewResponseReader(readOnly{r: strings.NewReader(wire)})
		response, head, err := r.ReadFinalResponse(nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Request = &http.Request{Method: http.MethodGet}
		got := r.ReadErrorBody(response, head)
		body, err := io.ReadAll(response.Body)
		if string(got) != want || string(body) != want || err != nil || response.StatusCode != 403 {
			t.Errorf("%.80q: got %q, %q, %v", wire, got, body, err)
		}
		r.Release()
	}
}
