package peer

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// limit bounds every wait in these tests.
const limit = 20 * time.Second

// testSizes are around the sizes at which frames and buffers change.
var testSizes = []int{0, 1, 125, 126, 4096, 65535, 65536, 1 << 20}

var maskingKey = []byte{0x37, 0xfa, 0x21, 0x3d}

// echoes checks that the server at the other end of nc sends messages back.
func echoes(t *testing.T, nc net.Conn, p Peer, scheme, addr string) {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.Greet(nc, scheme, addr, false); err != nil {
		t.Fatal(err)
	}
	for _, size := range testSizes {
		if size == 0 && p == Peer(nbio{}) {
			continue // nbio drops empty messages
		}
		payload := bytes.Repeat([]byte{'a', 0xc3, 0xbf, 'z'}, size/4+1)[:size]
		request := wire.AppendFrame(nil, wire.FIN|wire.Binary, payload, maskingKey)
		reply := wire.AppendFrame(nil, wire.FIN|wire.Binary, payload, nil)
		if p == Floor {
			reply = request
		}
		go nc.Write(request)
		got := make([]byte, len(reply))
		if _, err := io.ReadFull(nc, got); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(got, reply) {
			t.Fatalf("%d bytes: came back changed", size)
		}
	}
}

// forEach runs f for each peer, with ordinary and with lean options.
func forEach(t *testing.T, f func(t *testing.T, p Peer, o Options)) {
	for _, p := range All() {
		for _, lean := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/lean=%v", p.Name(), lean), func(t *testing.T) { f(t, p, Options{Lean: lean}) })
		}
	}
}

func TestHandlerEchoes(t *testing.T) {
	forEach(t, func(t *testing.T, p Peer, o Options) {
		server := httptest.NewServer(p.Handler(o, Echo))
		defer server.Close()
		addr := server.Listener.Addr().String()
		nc, err := net.Dial("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		echoes(t, nc, p, "http", addr)
	})
}

func TestHandlerEchoesOverTLS(t *testing.T) {
	forEach(t, func(t *testing.T, p Peer, o Options) {
		server := httptest.NewUnstartedServer(p.Handler(o, Echo))
		server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
		server.StartTLS()
		defer server.Close()
		addr := server.Listener.Addr().String()
		nc, err := tls.Dial("tcp4", addr, server.Client().Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		echoes(t, nc, p, "https", addr)
	})
}

func TestConnServerEchoes(t *testing.T) {
	forEach(t, func(t *testing.T, p Peer, o Options) {
		serve := p.ConnServer(o, Echo)
		if serve == nil {
			t.Skip("no server without net/http")
		}
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			nc, err := ln.Accept()
			if err == nil {
				serve(nc)
			}
		}()
		nc, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		echoes(t, nc, p, "http", ln.Addr().String())
	})
}

// TestDialEchoes connects the client of each library to each server.
func TestDialEchoes(t *testing.T) {
	for _, client := range All() {
		if client == Floor {
			continue
		}
		for _, server := range All() {
			if server == Floor {
				continue
			}
			for _, compress := range []bool{false, true} {
				name := fmt.Sprintf("%s-%s/compress=%v", client.Name(), server.Name(), compress)
				t.Run(name, func(t *testing.T) { talk(t, client, server, Options{Compress: compress}) })
			}
		}
	}
}

// talk sends a message from the client to the server and back, and compares it.
func talk(t *testing.T, client, server Peer, o Options) {
	text := bytes.Repeat([]byte("full duplex "), 500)
	ts := httptest.NewUnstartedServer(server.Handler(o, Echo))
	ts.Config.ErrorLog = log.New(io.Discard, "", 0)
	ts.Start()
	defer ts.Close()
	done := errors.New("done")
	result := make(chan error, 1)
	go client.Dial(ts.Listener.Addr().String(), o, Behaviour{
		Opened: func(c Conn) {
			if err := c.Write(Text, bytes.Clone(text)); err != nil {
				result <- err
			}
		},
		Message: func(_ Conn, typ byte, data []byte) error {
			if typ != Text || !bytes.Equal(data, text) {
				result <- fmt.Errorf("type %d, %d bytes came back", typ, len(data))
			} else {
				result <- nil
			}
			return done
		},
	})
	select {
	case err := <-result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(limit):
		t.Fatal("nothing came back")
	}
}

// TestGroups checks that two connections receive what is sent to their group.
func TestGroups(t *testing.T) {
	payload := bytes.Repeat([]byte("all "), 128)
	for _, p := range All() {
		t.Run(p.Name(), func(t *testing.T) {
			group, joined := p.NewGroup(), make(chan struct{}, 2)
			server := httptest.NewServer(p.Handler(Options{}, Behaviour{
				Opened:  func(c Conn) { group.Add(c); joined <- struct{}{} },
				Message: func(Conn, byte, []byte) error { return nil },
			}))
			defer server.Close()
			var conns [2]net.Conn
			for i := range conns {
				conns[i] = member(t, server.Listener.Addr().String())
				defer conns[i].Close()
				<-joined
			}
			if err := group.Send(Binary, payload); err != nil {
				t.Fatal(err)
			}
			want := wire.AppendFrame(nil, wire.FIN|wire.Binary, payload, nil)
			for i, nc := range conns {
				got := make([]byte, len(want))
				if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("connection %d received %d bytes that differ, or %v", i, len(got), err)
				}
			}
		})
	}
}

// member connects and performs the handshake.
func member(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.Greet(nc, "http", addr, false); err != nil {
		t.Fatal(err)
	}
	return nc
}

// TestExternal checks that programs of their own are there if the environment
// names them, in front of the floor.
func TestExternal(t *testing.T) {
	programs := map[string]string{"uws": "WEBSOCKET_BENCH_UWS", "node": "WEBSOCKET_BENCH_NODE"}
	for _, variable := range programs {
		t.Setenv(variable, "")
	}
	if all := WithExternal(); len(all) != len(All()) {
		t.Errorf("%d peers without a program, want %d", len(all), len(All()))
	}
	for name, variable := range programs {
		t.Run(name, func(t *testing.T) {
			t.Setenv(variable, "/path/to/echo")
			all := WithExternal()
			if len(all) != len(All())+1 || all[len(all)-2].Name() != name || all[len(all)-1] != Floor {
				t.Errorf("the peers are %v", all)
			}
			if p, err := Named(name); err != nil || strings.Contains(Module(p), "/path/to/echo") {
				t.Errorf("Named(%q) = %v, %v, from %s", name, p, err, Module(p))
			}
		})
	}
}

func TestNamed(t *testing.T) {
	for _, p := range All() {
		if named, err := Named(p.Name()); named != p || err != nil {
			t.Errorf("Named(%q) = %v, %v", p.Name(), named, err)
		}
	}
	if _, err := Named("nobody"); err == nil {
		t.Error("Named(nobody) returns no error")
	}
}
