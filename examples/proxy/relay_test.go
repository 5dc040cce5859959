package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// certificate writes a certificate for TLS to files and returns the flags for
// them, and what clients need.
func certificate(t *testing.T) (args []string, client *tls.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	own := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: own.Certificate[0]},
		"key":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-"+name, path)
	}
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return args, &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

// plainAndTLS runs a test with both kinds of connection to the proxy.
func plainAndTLS(t *testing.T, h http.Handler, test func(t *testing.T, f *fixture)) {
	t.Run("plain", func(t *testing.T) { test(t, start(t, h)) })
	t.Run("TLS", func(t *testing.T) {
		args, client := certificate(t)
		f := start(t, h, args...)
		f.tls = client
		test(t, f)
	})
}

func TestEcho(t *testing.T) {
	plainAndTLS(t, websocket.HandlerFunc(nil, echo), func(t *testing.T, f *fixture) {
		ctx := deadline(t)
		c := f.dial("/", nil)
		messages := []websocket.Message{
			{Type: websocket.Text, Data: []byte("grüß dich")},
			{Type: websocket.Binary, Data: []byte{0, 1, 0xff}},
			{Type: websocket.Text},
			{Type: websocket.Binary},
			{Type: websocket.Binary, Data: bytes.Repeat([]byte("x"), 2000)},
		}
		for _, m := range messages {
			if err := c.Write(ctx, m.Type, m.Data); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range messages {
			typ, data, err := c.Read(ctx)
			if err != nil || typ != m.Type || !bytes.Equal(data, m.Data) {
				t.Errorf("got %v %q, %v, want %v %q", typ, data, err, m.Type, m.Data)
			}
		}
		if s := c.Stats(); s.FramesIn != s.MessagesIn {
			t.Errorf("%d small messages came in %d frames", s.MessagesIn, s.FramesIn)
		}
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Error(err)
		}
	})
}

// TestCloseCodes closes each side with every kind of code, and checks what the
// other side is told, and that the closing handshake is complete on both.
func TestCloseCodes(t *testing.T) {
	h, conns := hold(nil)
	reason := "because of " + strings.Repeat("ü", 50)
	plainAndTLS(t, h, func(t *testing.T, f *fixture) {
		for _, code := range []websocket.CloseCode{1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
			for _, byClient := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d, by the client: %v", code, byClient), func(t *testing.T) {
					closer, other := f.pair(conns)
					if !byClient {
						closer, other = other, closer
					}
					want := reason
					if code == websocket.CloseNoStatus {
						want = ""
					}
					ctx := deadline(t)
					if err := closer.WriteString(ctx, "before"); err != nil {
						t.Fatal(err)
					}
					closed := make(chan error, 1)
					go func() { closed <- closer.Close(code, reason) }()
					if _, p, err := other.Read(ctx); err != nil || string(p) != "before" {
						t.Errorf("got %q, %v", p, err)
					}
					wantEnd(t, other, code, want)
					if err := <-closed; err != nil {
						t.Errorf("Close returned %v", err)
					}
					wantEnd(t, closer, code, want)
				})
			}
		}
	})
}

// TestCloseIsAnsweredByTheOtherEnd lets a server say something behind the
// client's Close, and answer with a code of its own; and the other way round.
func TestCloseIsAnsweredByTheOtherEnd(t *testing.T) {
	lastWords := websocket.Config{OnClose: func(c *websocket.Conn, end *websocket.CloseError) (websocket.CloseCode, string) {
		if err := c.WriteString(context.Background(), "last words"); err != nil {
			t.Error(err)
		}
		return 4002, "and goodbye"
	}}
	check := func(t *testing.T, closer, other *websocket.Conn) {
		ctx := deadline(t)
		if err := closer.SendClose(4001, "goodbye"); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, other, 4001, "goodbye")
		if _, p, err := closer.Read(ctx); err != nil || string(p) != "last words" {
			t.Errorf("got %q, %v", p, err)
		}
		wantEnd(t, closer, 4002, "and goodbye")
	}
	t.Run("server", func(t *testing.T) {
		h, conns := hold(&websocket.AcceptOptions{Config: lastWords})
		client, backend := start(t, h).pair(conns)
		check(t, client, backend)
	})
	t.Run("client", func(t *testing.T) {
		h, conns := hold(nil)
		client := start(t, h).dial("/", &websocket.DialOptions{Config: lastWords})
		check(t, <-conns, client)
	})
}

// TestBothCloseAtOnce closes both sides without waiting for either.
func TestBothCloseAtOnce(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h)
	for i := range 50 {
		client, backend := f.pair(conns)
		var both sync.WaitGroup
		for code, c := range map[websocket.CloseCode]*websocket.Conn{4001: client, 4002: backend} {
			both.Go(func() {
				if err := c.Close(code, ""); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
			})
		}
		both.Wait()
		f.journal.await(t, "closed", i)
	}
}

// TestLost breaks each side off: the other sees no Close frame either.
func TestLost(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h)
	for _, lost := range []string{"client", "backend"} {
		t.Run(lost, func(t *testing.T) {
			client, backend := f.pair(conns)
			gone, other := client, backend
			if lost == "backend" {
				gone, other = backend, client
			}
			gone.CloseNow()
			end := endOf(deadline(t), other)
			if end.Code != websocket.CloseAbnormal || end.Received {
				t.Errorf("the other side ended with %v, want 1006", end)
			}
		})
	}
}

// TestCutOff ends a message in its middle, in all ways: no part of it is taken
// for the whole.
func TestCutOff(t *testing.T) {
	h, conns := hold(nil)
	f := start(t, h, "-max-message", "100000")
	for name, cut := range map[string]struct {
		by   func(c *websocket.Conn, w io.Writer)
		want websocket.CloseCode
	}{
		"lost":   {func(c *websocket.Conn, w io.Writer) { c.CloseNow() }, websocket.CloseAbnormal},
		"closed": {func(c *websocket.Conn, w io.Writer) { go c.Close(4000, "enough") }, 4000},
		"too long": {func(c *websocket.Conn, w io.Writer) {
			w.Write(make([]byte, 200_000))
			go endOf(context.Background(), c)
		}, websocket.CloseMessageTooBig},
	} {
		for _, byClient := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, by the client: %v", name, byClient), func(t *testing.T) {
				ctx := deadline(t)
				from, to := f.pair(conns)
				if !byClient {
					from, to = to, from
				}
				w, err := from.Writer(ctx, websocket.Binary)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte("half a message")); err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				_, r, err := to.Reader(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, 14)); err != nil {
					t.Fatal(err)
				}
				cut.by(from, w)
				if rest, err := io.ReadAll(r); !errors.Is(err, cut.want) {
					t.Errorf("read %d bytes and %v, want %v", len(rest), err, cut.want)
				}
			})
		}
	}
}

// TestStream passes a message of 8 MiB on, of which each part arrives before
// the next is sent, and which is never in memory.
func TestStream(t *testing.T) {
	for _, from := range []string{"client", "backend"} {
		t.Run(from, func(t *testing.T) {
			_, client, backend := pair(t)
			if from == "client" {
				streamBetween(t, client, backend)
			} else {
				streamBetween(t, backend, client)
			}
		})
	}
}

// streamBetween sends a message of 8 MiB from one connection to the other.
func streamBetween(t *testing.T, from, to *websocket.Conn) {
	const part, parts = 128 << 10, 64
	ctx := deadline(t)
	w, err := from.Writer(ctx, websocket.Binary)
	if err != nil {
		t.Fatal(err)
	}
	var r *websocket.MessageReader
	sent, received := sha256.New(), sha256.New()
	before := heap()
	for i := range parts {
		p := bytes.Repeat([]byte{byte(i)}, part)
		sent.Write(p)
		written := make(chan error, 1)
		go func() {
			_, err := w.Write(p)
			written <- errors.Join(err, w.Flush())
		}()
		if r == nil {
			if _, r, err = to.Reader(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.CopyN(received, r, part); err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the message: %d, %v", n, err)
	}
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Error("the message changed")
	}
}

// heap returns the bytes of the heap that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMessageTooBig checks that both sides are told that a message of one is
// over the limit.
func TestMessageTooBig(t *testing.T) {
	for _, from := range []string{"client", "backend"} {
		t.Run(from, func(t *testing.T) {
			_, sender, other := pair(t, "-max-message", "1000")
			if from == "backend" {
				sender, other = other, sender
			}
			if err := sender.Write(deadline(t), websocket.Binary, make([]byte, 1001)); err != nil {
				t.Fatal(err)
			}
			if end := endOf(deadline(t), sender); end.Code != websocket.CloseMessageTooBig || !end.Received {
				t.Errorf("the sender was told %v", end)
			}
			if end := endOf(deadline(t), other); end.Code != websocket.CloseMessageTooBig || !end.Received {
				t.Errorf("the other side was told %v", end)
			}
		})
	}
}

// TestCompressionOnEachSide checks who agrees on compression, and that messages
// arrive whatever they agree on.
func TestCompressionOnEachSide(t *testing.T) {
	compressed := websocket.Config{Compression: new(websocket.Compression), MaxMessageSize: -1}
	for _, where := range []string{"client", "backend", "both", "none"} {
		t.Run(where, func(t *testing.T) {
			ctx := deadline(t)
			h, conns := hold(&websocket.AcceptOptions{Config: compressed})
			f := start(t, h, "-compress", where)
			client := f.dial("/", &websocket.DialOptions{Config: compressed})
			backend := <-conns
			defer backend.CloseNow()
			if got, want := client.CompressionAgreed(), where == "client" || where == "both"; got != want {
				t.Errorf("compression with the client: %v", got)
			}
			if got, want := backend.CompressionAgreed(), where == "backend" || where == "both"; got != want {
				t.Errorf("compression with the server: %v", got)
			}
			for _, size := range []int{10, 5000, 1 << 20} {
				text := strings.Repeat("0123456789", size/10)
				passes(t, ctx, client, backend, text)
				passes(t, ctx, backend, client, text)
			}
			if s := client.Stats(); (s.CompressedIn > 0) != client.CompressionAgreed() {
				t.Errorf("the client got %d compressed bytes", s.CompressedIn)
			}
		})
	}
}

// passes sends text from one connection and wants it on the other.
func passes(t *testing.T, ctx context.Context, from, to *websocket.Conn, text string) {
	t.Helper()
	written := make(chan error, 1)
	go func() { written <- from.WriteString(ctx, text) }()
	if _, p, err := to.Read(ctx); err != nil || string(p) != text {
		t.Errorf("got %d bytes and %v, want %d bytes", len(p), err, len(text))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestManyClients has many clients send messages of all lengths at once, each
// in a number of writes, and compares what all of them get back.
func TestManyClients(t *testing.T) {
	const clients, messages = 200, 10
	f := start(t, websocket.HandlerFunc(nil, echo))
	var all sync.WaitGroup
	for i := range clients {
		c := f.dial("/", nil)
		all.Go(func() {
			sent, received := sha256.New(), sha256.New()
			var both sync.WaitGroup
			both.Go(func() { sendRandom(t, c, sent, messages, byte(i)) })
			for range messages {
				typ, p, err := c.Read(deadline(t))
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					break
				}
				fmt.Fprintf(received, "%v %d ", typ, len(p))
				received.Write(p)
			}
			both.Wait()
			if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
				t.Errorf("client %d got other messages than it sent", i)
			}
			if err := c.Close(websocket.CloseNormal, ""); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// sendRandom sends n binary messages that seed makes, in fragments.
func sendRandom(t *testing.T, c *websocket.Conn, sum hash.Hash, n int, seed byte) {
	source := rand.NewChaCha8([32]byte{0: seed})
	ctx, random := deadline(t), rand.New(source)
	for range n {
		p := make([]byte, random.IntN(40_000)>>random.IntN(10))
		source.Read(p)
		fmt.Fprintf(sum, "%v %d ", websocket.Binary, len(p))
		sum.Write(p)
		w, err := c.Writer(ctx, websocket.Binary)
		for err == nil && len(p) > 0 {
			some := 1 + random.IntN(len(p))
			if _, err = w.Write(p[:some]); err == nil {
				err = w.Flush()
			}
			p = p[some:]
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestStop checks that both sides are told when the program stops.
func TestStop(t *testing.T) {
	f, client, backend := pair(t)
	go f.stop()
	var both sync.WaitGroup
	both.Go(func() { wantEnd(t, backend, websocket.CloseGoingAway, goingAway) })
	wantEnd(t, client, websocket.CloseGoingAway, goingAway)
	both.Wait()
}
