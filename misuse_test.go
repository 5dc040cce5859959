package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCallsFromTheLoop makes every call from the body of a loop over Messages,
// on the connection that the loop reads.
func TestCallsFromTheLoop(t *testing.T) {
	covers(t, "Q.H07")
	c, s := connPair(t, nil)
	ctx := t.Context()
	done := make(chan error, 1)
	go func() {
		defer s.CloseNow()
		for m, err := range s.Messages(ctx) {
			if err != nil {
				done <- err
				return
			}
			done <- callEverything(ctx, s, m)
			return
		}
	}()
	go func() {
		for range 4 {
			c.WriteString(ctx, "Hello")
		}
	}()
	go io.Copy(io.Discard, AsNetConn(c, Text)) // answers Pings and the Close
	require.NoError(t, <-done)
}

// TestCallsFromReceive makes every call from Receive, on the connection whose
// message it has. Those that read are refused.
func TestCallsFromReceive(t *testing.T) {
	covers(t, "Q.H07")
	c, s := connPair(t, nil)
	r := newRecorder(func(s *Conn, m Message) error {
		ctx := context.Background()
		for _, call := range []func() error{
			func() error { return s.Write(ctx, m.Type, m.Data) },
			func() error { return s.Send(m.Type, m.Data) },
			func() error { return s.Drain(ctx) },
			s.Flush,
			func() error { _, err := s.Ping(ctx); return err },
			func() error { return s.SetReadDeadline(time.Now()) },
			func() error { _, _, err := s.Read(ctx); return mustBe(err, errDelivered) },
			func() error { _, _, err := s.ReadInto(ctx, nil); return mustBe(err, errDelivered) },
			func() error { _, _, err := s.Reader(ctx); return mustBe(err, errDelivered) },
			func() error { _, err := AsNetConn(s, Text).Read(make([]byte, 1)); return mustBe(err, errDelivered) },
			func() error { return mustBe(s.Deliver(echoReceiver{}), errDelivered) },
			func() error { return s.Close(4000, "all is well") },
		} {
			if err := call(); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, s.Deliver(r))
	require.NoError(t, c.WriteString(t.Context(), "Hello"))
	require.ErrorIs(t, readToEnd(c), CloseCode(4000))
	require.Equal(t, "all is well", (<-r.closed).Reason)
}

// mustBe returns nil if err is the wanted one, and otherwise says so.
func mustBe(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%v instead of %w", err, want)
}

// callEverything calls the methods of s while m is lent to the caller, and
// then three more messages come.
func callEverything(ctx context.Context, s *Conn, m Message) error {
	if string(m.Data) != "Hello" {
		return fmt.Errorf("the message is %q", m.Data)
	}
	if err := s.Write(ctx, m.Type, m.Data); err != nil {
		return err
	}
	if err := s.Send(m.Type, m.Data); err != nil {
		return err
	}
	if err := s.Drain(ctx); err != nil {
		return err
	}
	for read := range 3 {
		var p []byte
		var err error
		switch read {
		case 0:
			_, p, err = s.Read(ctx)
		case 1:
			_, p, err = s.ReadInto(ctx, nil)
		default:
			var r *MessageReader
			if _, r, err = s.Reader(ctx); err == nil {
				p, err = io.ReadAll(r)
			}
		}
		if err != nil || string(p) != "Hello" {
			return fmt.Errorf("message %d is %q: %w", read, p, err)
		}
	}
	if _, err := s.Ping(ctx); err != nil {
		return err
	}
	return s.Close(CloseNormal, "")
}

// TestVectoredWrites sends large messages, which a server does not copy, over
// every kind of connection: the bytes are those of one write.
func TestVectoredWrites(t *testing.T) {
	covers(t, "Q.G08")
	messages := [][]byte{noise(10, 1), noise(inPlaceFrom, 2), noise(3*inPlaceFrom, 3), nil, noise(1<<20, 4)}
	var want []byte
	for _, p := range messages {
		want = append(want, appendFrame(nil, header{byte0: 0x82, length: int64(len(p))}, p).b...)
	}
	for name, ends := range map[string]func(t *testing.T) (near, far net.Conn){
		"TCP":          func(t *testing.T) (net.Conn, net.Conn) { return tcpPair(t) },
		"TCP, wrapped": func(t *testing.T) (net.Conn, net.Conn) { a, b := tcpPair(t); return struct{ net.Conn }{a}, b },
		"Unix":         unixPair,
		"TLS":          func(t *testing.T) (net.Conn, net.Conn) { nc, ns := tcpPair(t); c, s := tlsEnds(t, nc, ns); return s, c },
		"memory":       func(*testing.T) (net.Conn, net.Conn) { return faultnet.Pipe() },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := ends(t)
			s := newConn(near, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
			defer s.CloseNow()
			go func() {
				for _, p := range messages {
					s.Write(t.Context(), Binary, p)
				}
			}()
			got := make([]byte, len(want))
			_, err := io.ReadFull(far, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		})
	}
}

// unixPair returns the two ends of a connection over a socket file.
func unixPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no socket files")
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// TestBuffersOfTheServerAreDetached proves that frames that came with the request
// are copied out of the buffers of net/http, which go to other requests.
func TestBuffersOfTheServerAreDetached(t *testing.T) {
	covers(t, "Q.H10", "Q.I05")
	mux := http.NewServeMux()
	mux.Handle("/chat", HandlerFunc(nil, echo))
	mux.Handle("/chat/receiver", ReceiverHandler(nil, func(*http.Request) (Receiver, error) { return echoReceiver{}, nil }))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	h := httptest.NewServer(mux)
	defer h.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				echoEarly(t, h.Listener.Addr().String(), []string{"/chat", "/chat/receiver"}[i%2], byte('a'+i))
			}
		})
		wg.Go(func() {
			for range 40 {
				body := strings.Repeat(string(rune('A'+i)), 3000)
				r, err := h.Client().Post(h.URL, "text/plain", strings.NewReader(body))
				if !assert.NoError(t, err) {
					return
				}
				got, _ := io.ReadAll(r.Body)
				r.Body.Close()
				assert.True(t, string(got) == body, "a request got another's bytes: %.80q", got)
			}
		})
	}
	wg.Wait()
}

// echoEarly sends frames in the segment of the request for path and reads their
// echo.
func echoEarly(t *testing.T, addr, path string, fill byte) {
	nc, err := net.Dial("tcp", addr)
	if !assert.NoError(t, err) {
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	payload := bytes.Repeat([]byte{fill}, 500)
	frame := clientFrame(0x82, string(payload))
	early := request("GET "+path+" HTTP/1.1") + string(bytes.Repeat(frame, 3))
	_, err = io.WriteString(nc, early)
	assert.NoError(t, err)
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b...) {
		if _, err := nc.Read(b); !assert.NoError(t, err, "after %q", head) {
			return
		}
	}
	want := bytes.Repeat(append([]byte{0x82, 126, 0x01, 0xf4}, payload...), 3)
	got := make([]byte, len(want))
	_, err = io.ReadFull(nc, got)
	assert.NoError(t, err)
	assert.True(t, bytes.Equal(want, got), "the echo is %.80q", got)
}

// TestUseBeforeAndAfter proves that calls on zero values, and after the end,
// return errors and do not panic.
func TestUseBeforeAndAfter(t *testing.T) {
	covers(t, "Q.H11", "Q.F13")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}})
		w, err := e.conn.Writer(t.Context(), Text)
		require.NoError(t, err)
		e.abandon()
		end := e.conn.terminal()
		_, err = w.Write(make([]byte, 1<<20))
		require.Equal(t, end, err)
		require.Equal(t, end, w.Close())
		require.Equal(t, end, e.conn.Send(Text, nil))
		require.Equal(t, end, e.conn.SendPlain(Text, nil))
		require.Equal(t, end, e.conn.Deliver(newRecorder(nil)))
		require.Equal(t, end, e.conn.WritePrepared(t.Context(), Prepare(Text, nil)))
		require.NoError(t, e.conn.CloseNow())
	})
	var g Group
	queued, dropped := g.Send(Prepare(Text, nil))
	require.Zero(t, queued+dropped+g.Len())
	var r Registry
	require.Zero(t, r.Len())
	require.NoError(t, r.Shutdown(t.Context(), CloseGoingAway, ""))
	require.Empty(t, Message{}.Clone().Data)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := Dial(ended, "ws://127.0.0.1:1", nil)
	require.ErrorIs(t, err, context.Canceled)
}

// TestProcessorsAndCollector echoes compressed messages with 1, 2 and 8
// processors, with the garbage collector at work all the time and never.
func TestProcessorsAndCollector(t *testing.T) {
	covers(t, "Q.H13")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for _, processors := range []int{1, 2, 8} {
		for _, percent := range []int{1, -1} {
			runtime.GOMAXPROCS(processors)
			debug.SetGCPercent(percent)
			c, s := deflatePair(t, &Compression{}, &Compression{}, Config{})
			require.NoError(t, s.Deliver(echoReceiver{}))
			other, echoing := deflatePair(t, &Compression{}, &Compression{}, Config{})
			go echo(echoing)
			mustEcho(t, other)
			go func() {
				for i := range 300 {
					c.WriteString(t.Context(), sentence(10*i, i))
				}
			}()
			for i := range 300 {
				_, p, err := c.Read(t.Context())
				require.NoError(t, err)
				require.Equal(t, sentence(10*i, i), string(p))
			}
			require.NoError(t, c.Close(CloseNormal, ""))
		}
	}
}

// TestForgottenConnection drops a connection without closing it. The background
// reader notices when the peer ends, closes the descriptor, and leaves no
// garbage.
func TestForgottenConnection(t *testing.T) {
	covers(t, "Q.I03")
	t.Run("read", func(t *testing.T) { mustBeCollected(t, forget) })
	t.Run("handed over", func(t *testing.T) { mustBeCollected(t, forgetDelivered) })
}

// mustBeCollected is one case of TestForgottenConnection.
func mustBeCollected(t *testing.T, forget func(t *testing.T, near, far net.Conn) weak.Pointer[Conn]) {
	far, near := tcpEnds(t)
	forgotten := forget(t, near, far)
	near = nil
	require.NoError(t, far.SetReadDeadline(time.Now().Add(10*time.Second)))
	require.NoError(t, far.(*net.TCPConn).CloseWrite())
	ended := make(chan error, 1)
	go func() {
		_, err := far.Read(make([]byte, 1))
		ended <- err
	}()
	for collected := false; !collected; {
		runtime.GC()
		select {
		case err := <-ended:
			require.ErrorIs(t, err, io.EOF)
			collected = true
		default:
			runtime.Gosched()
		}
	}
	for forgotten.Value() != nil {
		runtime.GC()
	}
}

// forget uses a connection and returns the only pointer that is left of it.
//
//go:noinline
func forget(t *testing.T, near, far net.Conn) weak.Pointer[Conn] {
	t.Helper()
	s := newConn(near, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := far.Write(clientFrame(0x81, "Hello"))
	require.NoError(t, err)
	_, p, err := s.Read(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Write(ctx, Text, p))
	_, err = io.ReadFull(far, make([]byte, 7))
	require.NoError(t, err)
	return weak.Make(s)
}

// forgetDelivered is forget for a connection that is handed over.
//
//go:noinline
func forgetDelivered(t *testing.T, near, far net.Conn) weak.Pointer[Conn] {
	t.Helper()
	s := newConn(near, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
	require.NoError(t, s.Deliver(echoReceiver{}))
	_, err := far.Write(clientFrame(0x81, "Hello"))
	require.NoError(t, err)
	_, err = io.ReadFull(far, make([]byte, 7))
	require.NoError(t, err)
	return weak.Make(s)
}

// TestUpgradeAborted proves that a client that leaves, or resets the
// connection, at any byte of its request leaves no goroutine behind.
func TestUpgradeAborted(t *testing.T) {
	covers(t, "Q.I02", "Q.A16", "Q.I01")
	h := newQuietServer(HandlerFunc(nil, echo))
	h.Start()
	wire := request() + maskedHello
	before := runtime.NumGoroutine()
	for cut := range len(wire) + 1 {
		nc, err := net.Dial("tcp", h.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(nc, wire[:cut])
		require.NoError(t, err)
		if cut%2 == 0 {
			require.NoError(t, nc.(*net.TCPConn).SetLinger(0))
		}
		nc.Close()
	}
	h.Close() // waits for the server's side
	for began := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		require.Less(t, time.Since(began), 20*time.Second, "%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
}

// TestSecondAddress dials a name that may have several addresses, of which only
// one answers.
func TestSecondAddress(t *testing.T) {
	covers(t, "Q.B12")
	plain, _ := echoServer(t)
	_, port, err := net.SplitHostPort(plain.Listener.Addr().String())
	require.NoError(t, err)
	c, _, err := Dial(t.Context(), "ws://localhost:"+port, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	mustEcho(t, c)
}

// TestRebinding sends the request of a page whose host name an attacker has
// made resolve to this server. It counts as the same origin, unless the policy
// looks at Host.
func TestRebinding(t *testing.T) {
	covers(t, "Q.J02")
	own := func(r *http.Request) error {
		if r.Host != "server.example.com" {
			return fmt.Errorf("host %q is not ours", r.Host)
		}
		return SameOrigin()(r)
	}
	for _, c := range []struct {
		policy OriginPolicy
		host   string
		status int
	}{
		{nil, "attacker.example", 101},
		{own, "attacker.example", 403},
		{own, "server.example.com", 101},
	} {
		r, _ := viaAccept(t, &AcceptOptions{Origin: c.policy}, request("Host: "+c.host, "Origin: http://"+c.host))
		require.Equal(t, c.status, r.StatusCode, c.host)
	}
}
