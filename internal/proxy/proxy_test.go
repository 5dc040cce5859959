package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

// covers marks the rows of the root's testdata/requirements.tsv that a test
// proves.
func covers(t testing.TB, ids ...string) {
	t.Helper()
	if len(ids) == 0 {
		t.Error("no IDs")
	}
}

// parsed returns the proxy of a URL.
func parsed(t testing.TB, uri string) *Proxy {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	covers(t, "C03", "Q.J06")
	for uri, want := range map[string]string{
		"http://p": "p:80", "https://p": "p:443", "socks5://p": "p:1080", "socks5h://p": "p:1080",
		"http://p:3128": "p:3128", "http://[::1]": "[::1]:80", "socks5://u:p@p:1": "p:1",
	} {
		p := parsed(t, uri)
		if p.Addr() != want || (p.ServerName() != "") != strings.HasPrefix(uri, "https:") {
			t.Errorf("%s: got %+v", uri, p)
		}
	}
	for _, uri := range []string{
		"ftp://u:secret@p", "socks4://p", "p:80", "http://", "http://u:secret@:80", "http://u:secret@pröxy", "http://p:0", "http://p:70000",
		"socks5://u@p", "socks5://:secret@p", "socks5://u:" + strings.Repeat("x", 256) + "@p",
	} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(u); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", uri, err)
		}
	}
}

// TestConnectCannotWrite has a proxy that is gone before it is asked.
func TestConnectCannotWrite(t *testing.T) {
	covers(t, "C04")
	for _, uri := range []string{"http://u:secret@p", "socks5h://u:secret@p"} {
		near, far := net.Pipe()
		far.Close()
		nc, err := parsed(t, uri).Connect(t.Context(), near, "example.com", "80", nil)
		var e *Error
		if nc != nil || !errors.As(err, &e) || !errors.Is(err, io.ErrClosedPipe) || e.Response != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, %v", uri, nc, err)
		}
	}
}

// FuzzConnect feeds a proxy's answers to Connect: whatever comes, and in whatever
// pieces, it returns, with an *Error or with the bytes behind the answer untouched.
func FuzzConnect(f *testing.F) {
	covers(f, "C04", "Q.B09")
	for _, plan := range []string{"", "\x00", "\x02\x00\x05"} {
		f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), false, []byte(plan))
		f.Add([]byte("HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\nhello"), false, []byte(plan))
		f.Add([]byte("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"), true, []byte(plan))
		f.Add([]byte("\x05\x02\x01\x00\x05\x00\x00\x03\x01a\x00\x50"), true, []byte(plan))
	}
	f.Fuzz(func(t *testing.T, answer []byte, socks bool, plan []byte) {
		scheme := "http"
		if socks {
			scheme = "socks5h"
		}
		p := parsed(t, scheme+"://user:secret@proxy")
		synctest.Test(t, func(t *testing.T) {
			rest, err := connectTo(t, p, answer, plan)
			whole, wholeErr := connectTo(t, p, answer, nil)
			if rest != whole || statusOf(err) != statusOf(wholeErr) {
				t.Errorf("in pieces of %v: %q and %v, in one: %q and %v", plan, rest, err, whole, wholeErr)
			}
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v", err)
				}
				return
			}
			if !strings.HasSuffix(string(answer)+"tail", rest) || !strings.HasSuffix(rest, "tail") && len(rest) >= 4 {
				t.Errorf("tunnel carries %q", rest)
			}
		})
	})
}

// statusOf returns what a proxy has answered, -1 if that was no answer, and 0 if
// err is nil. Which of several faults an answer is refused for may depend on how
// much of it has come.
func statusOf(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e) && e.Response != nil:
		return e.Response.StatusCode
	default:
		return -1
	}
}

// connectTo asks a proxy that answers in pieces, each as large as a byte of the
// plan says and one more, and then sends "tail". It returns what the tunnel
// carries.
func connectTo(t *testing.T, p *Proxy, answer, plan []byte) (rest string, err error) {
	near, far := net.Pipe()
	defer near.Close()
	go io.Copy(io.Discard, far)
	go func() {
		defer far.Close()
		left := append(bytes.Clone(answer), "tail"...)
		for i := 0; len(left) > 0; i++ {
			n := len(left)
			if len(plan) > 0 {
				n = min(n, 1+int(plan[i%len(plan)]))
			}
			if _, err := far.Write(left[:n]); err != nil {
				return
			}
			left = left[n:]
		}
	}()
	nc, err := p.Connect(t.Context(), near, "example.com", "80", nil)
	if err != nil {
		return "", err
	}
	tunnel, err := io.ReadAll(nc)
	if err != nil {
		t.Errorf("the tunnel ends with %v", err)
	}
	return string(tunnel), nil
}

func TestConnectRefused(t *testing.T) {
	covers(t, "C04", "Q.B09")
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		http.ReadRequest(bufio.NewReader(far))
		io.WriteString(far, "HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\nhello")
	}()
	_, err := parsed(t, "http://p").Connect(t.Context(), near, "example.com", "80", nil)
	var e *Error
	if !errors.As(err, &e) || e.Response.StatusCode != 407 || string(e.Body) != "hello" || err.Error() != "proxy refused with status 407 No" {
		t.Errorf("got %v", err)
	}
}

// TestHeaderCannotBreakRequest has fields that would spoil the CONNECT request
// left out.
func TestHeaderCannotBreakRequest(t *testing.T) {
	covers(t, "C03")
	got := parsed(t, "http://u:p@p").appendRequest(nil, "h:80", http.Header{
		"X-A": {"b", "c\r\nX: y"}, "Host": {"other"}, "Content-Length": {"5"}, "proxy-authorization": {"Bearer x"}, "X Y": {"z"},
	})
	const want = "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nX-A: b\r\nproxy-authorization: Bearer x\r\n\r\n"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPrefixedConn(t *testing.T) {
	near, far := net.Pipe()
	if withPrefix(near, nil) != near {
		t.Error("a net.Conn without a prefix is wrapped")
	}
	early := []byte("early ")
	nc := withPrefix(near, early)
	clear(early)
	go func() {
		io.WriteString(far, "late")
		far.Close()
	}()
	var got bytes.Buffer
	if _, err := io.CopyBuffer(&got, struct{ io.Reader }{nc}, make([]byte, 4)); err != nil || got.String() != "early late" {
		t.Errorf("got %q, %v", got.String(), err)
	}
	if nc.(*PrefixedConn).NetConn() != near {
		t.Error("NetConn returns another net.Conn")
	}
}
