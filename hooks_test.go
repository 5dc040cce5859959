package websocket

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// panickingHook is a Config whose hook for handshakes panics.
var panickingHook = Config{
	PingInterval: -1,
	Trace:        &Trace{Handshake: func(HandshakeTrace) { panic("the hook") }},
}

// TestHandshakeHookPanicsOnServer lets a hook panic at the end of the opening
// handshake: neither the connection nor its place in the Registry is left.
func TestHandshakeHookPanicsOnServer(t *testing.T) {
	covers(t, "Q.A18", "Q.H08")
	doors := map[string]func(nc net.Conn, opts *AcceptOptions){
		"Accept": func(nc net.Conn, opts *AcceptOptions) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Accept(w, r, opts) })
			s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
			s.Serve(&oneListener{nc: nc})
		},
		"AcceptConn": func(nc net.Conn, opts *AcceptOptions) {
			defer func() { recover() }()
			AcceptConn(context.Background(), nc, opts)
		},
	}
	for name, accept := range doors {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			r := new(Registry)
			go accept(far, &AcceptOptions{Registry: r, Config: panickingHook})
			near.SetDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(near, request())
			_, err := io.Copy(io.Discard, near)
			require.NoError(t, err, "the connection is still open")
			require.Eventually(t, func() bool { return r.Len() == 0 }, 5*time.Second, time.Millisecond)
		})
	}
}

// TestHandshakeHookPanicsOnClient lets a hook of Dial panic: the server sees
// the end of the connection.
func TestHandshakeHookPanicsOnClient(t *testing.T) {
	covers(t, "Q.H08")
	ended := make(chan error, 1)
	s := httptest.NewServer(HandlerFunc(nil, func(c *Conn) error {
		ended <- readToEnd(c)
		return nil
	}))
	defer s.Close()
	require.Panics(t, func() {
		Dial(t.Context(), s.URL, &DialOptions{Config: panickingHook})
	})
	select {
	case err := <-ended:
		require.ErrorIs(t, err, CloseAbnormal)
	case <-time.After(5 * time.Second):
		t.Error("the client's connection is still open")
	}
}

// TestNetDialExits lets NetDial end its goroutine, as t.FailNow does: Dial does
// not wait for what never comes.
func TestNetDialExits(t *testing.T) {
	covers(t, "Q.H12")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, _, err := Dial(t.Context(), "ws://h/", &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) {
			runtime.Goexit()
			return nil, nil
		}})
		require.Error(t, err)
		require.Zero(t, time.Since(began))
	})
}

// TestHandshakeWithoutProgress is about a net.Conn whose Read returns nothing,
// without an error, for ever: the opening handshake gives up.
func TestHandshakeWithoutProgress(t *testing.T) {
	covers(t, "Q.G10")
	handshakes := map[string]func(nc net.Conn) error{
		"AcceptConn": func(nc net.Conn) error {
			_, _, err := AcceptConn(context.Background(), nc, nil)
			return err
		},
		"DialConn": func(nc net.Conn) error {
			_, _, err := DialConn(context.Background(), nc, "ws://h/", nil)
			return err
		},
	}
	for name, handshake := range handshakes {
		t.Run(name, func(t *testing.T) {
			near, far := faultnet.Pipe()
			defer far.Close()
			ended := make(chan error, 1)
			go func() { ended <- handshake(faultnet.EmptyReads(near, 0, -1)) }()
			select {
			case err := <-ended:
				require.ErrorIs(t, err, io.ErrNoProgress)
			case <-time.After(5 * time.Second):
				t.Error("the handshake still reads nothing")
			}
		})
	}
}
