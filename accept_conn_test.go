package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/http1"
)

func TestAcceptConnTimeouts(t *testing.T) {
	covers(t, "E07", "Q.A01")
	for _, c := range []struct {
		name, wire string
		answer     string
	}{
		{"half a request", request()[:50], "HTTP/1.1 408 Request Timeout"},
		{"nothing", "", "HTTP/1.1 408 Request Timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go io.WriteString(near, c.wire)
				began := time.Now()
				result := make(chan error)
				go func() {
					_, _, err := AcceptConn(t.Context(), far, nil)
					result <- err
				}()
				answer, _ := io.ReadAll(near)
				if !strings.HasPrefix(string(answer), c.answer) {
					t.Errorf("answer %q", answer)
				}
				if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) || statusOf(err) != 408 {
					t.Errorf("got %v", err)
				}
				if d := time.Since(began); d != 10*time.Second {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

func TestAcceptConnPeerNeverReads(t *testing.T) {
	covers(t, "Q.A17")
	for _, wire := range []string{request(), request("-Host")} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			go io.WriteString(near, wire)
			c, _, err := AcceptConn(t.Context(), far, nil)
			if c != nil || err == nil {
				t.Fatalf("got %v, %v", c, err)
			}
			if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("connection is open: %v", err)
			}
		})
	}
}

func TestAcceptConnContext(t *testing.T) {
	covers(t, "Q.A16", "Q.A18")
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := AcceptConn(ctx, far, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("connection is open: %v", err)
		}
	})
}

func TestAcceptConnContextEndsAfterwards(t *testing.T) {
	near, far := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	go io.WriteString(near, request()+maskedHello)
	c, r, err := AcceptConn(ctx, far, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if r.RemoteAddr != near.LocalAddr().String() || r.Context() != ctx || r.URL.Path != "/chat" {
		t.Errorf("request is %+v", r)
	}
	if _, p, err := c.Read(context.Background()); string(p) != "Hello" || err != nil {
		t.Errorf("got %q, %v", p, err)
	}
	c.CloseNow()
}

func TestAcceptConnOverTLS(t *testing.T) {
	covers(t, "E06")
	_, s := echoServer(t)
	near, far := tcpPair(t)
	accepted := make(chan *http.Request, 1)
	go func() {
		c, r, err := AcceptConn(t.Context(), tls.Server(far, s.TLS), nil)
		accepted <- r
		if err == nil {
			echo(c)
			c.CloseNow()
		}
	}()
	c, _, err := DialConn(t.Context(), near, "wss://example.com/", &DialOptions{TLS: trust(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if r := <-accepted; r.TLS == nil || r.TLS.ServerName != "example.com" {
		t.Errorf("request has TLS state %+v", r.TLS)
	}
	mustEcho(t, c)
}

func TestAcceptConnEOF(t *testing.T) {
	covers(t, "Q.A16")
	for cut := range len(request()) {
		near, far := net.Pipe()
		go func() {
			io.WriteString(near, request()[:cut])
			near.Close()
		}()
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = io.EOF
		}
		if _, _, err := AcceptConn(t.Context(), far, nil); !errors.Is(err, want) {
			t.Fatalf("cut at %d: got %v", cut, err)
		}
	}
}

func TestAcceptConnPolicyPanics(t *testing.T) {
	covers(t, "Q.A18")
	near, far := net.Pipe()
	defer near.Close()
	go io.WriteString(near, request())
	defer func() {
		if recover() != "policy" {
			t.Error("panic is lost")
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("connection is open: %v", err)
		}
	}()
	AcceptConn(t.Context(), far, &AcceptOptions{Origin: func(*http.Request) error { panic("policy") }})
}

func TestAcceptConnPolicyExits(t *testing.T) {
	covers(t, "Q.A18")
	near, far := net.Pipe()
	defer near.Close()
	go io.WriteString(near, request())
	returned := make(chan bool, 1)
	go func() {
		defer close(returned)
		AcceptConn(t.Context(), far, &AcceptOptions{Origin: func(*http.Request) error {
			runtime.Goexit()
			return nil
		}})
		returned <- true
	}()
	if <-returned {
		t.Error("AcceptConn returned")
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("connection is open: %v", err)
	}
}

func TestAcceptConnHugeHead(t *testing.T) {
	covers(t, "Q.A02")
	for _, wire := range []string{
		"GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\n",
		strings.TrimSuffix(request(), "\r\n") + strings.Repeat("A: b\r\n", 200_000),
		strings.TrimSuffix(request(), "\r\n") + strings.Repeat("A: b\r\n", http1.MaxHeadFields) + "\r\n",
	} {
		if r, _ := viaAcceptConn(t, nil, wire); r.StatusCode != 431 {
			t.Errorf("%.20q: got %d", wire, r.StatusCode)
		}
	}
}

func TestPipelinedRequest(t *testing.T) {
	covers(t, "Q.A10")
	for _, d := range entryPoints {
		r, nc := d.open(t, nil, request()+request())
		if r.StatusCode != 101 {
			t.Fatal(r.Status)
		}
		if answer, _ := io.ReadAll(nc); bytes.Contains(answer, []byte("HTTP")) {
			t.Errorf("%s: second request is answered: %q", d.name, answer)
		}
	}
}
