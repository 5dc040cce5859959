package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNewConnRefusesOptions gives NewConn options that mean nothing, and answers
// that no handshake has. It says so, and closes what it was given.
func TestNewConnRefusesOptions(t *testing.T) {
	covers(t, "V22", "E01", "E02")
	demanding := func(c Compression) Config {
		c.RequirePeer = true
		return Config{Compression: &c}
	}
	for _, c := range []struct {
		opts ConnOptions
		says string
	}{
		{ConnOptions{Config: Config{MaxQueuedBytes: -1}}, "MaxQueuedBytes is -1"},
		{ConnOptions{Config: Config{Compression: &Compression{Level: 10}}}, "Compression.Level is 10"},
		{ConnOptions{Subprotocol: "a, b"}, `Subprotocol is "a, b": it is a token`},
		{ConnOptions{Subprotocol: "a\r\n"}, `Subprotocol is "a\r\n"`},
		{ConnOptions{Extensions: "permessage-deflate; ="}, "extension list is malformed"},
		{ConnOptions{Extensions: "x-compress"}, "that was not offered"},
		{ConnOptions{Extensions: "permessage-deflate, x-compress"}, "that was not offered"},
		{ConnOptions{Extensions: "Permessage-Deflate"}, "that was not offered"},
		{ConnOptions{Extensions: "permessage-deflate, permessage-deflate"}, "accepts permessage-deflate twice"},
		{ConnOptions{Extensions: "permessage-deflate; client_max_window_bits"}, "invalid parameters"},
		{ConnOptions{Extensions: "permessage-deflate; server_max_window_bits=16"}, "invalid parameters"},
		{ConnOptions{Extensions: "permessage-deflate; x"}, "invalid parameters"},
		{ConnOptions{Config: demanding(Compression{PeerWindowBits: 10}), Extensions: "permessage-deflate; server_max_window_bits=10"}, "RequirePeer"},
		{ConnOptions{Config: demanding(Compression{PeerWindowBits: 10}), Client: true, Extensions: "permessage-deflate; client_max_window_bits=10"}, "RequirePeer"},
		{ConnOptions{Config: demanding(Compression{PeerNoContextTakeover: true}), Extensions: "permessage-deflate; server_no_context_takeover"}, "RequirePeer"},
	} {
		t.Run(c.says, func(t *testing.T) {
			near, far := net.Pipe()
			got, err := NewConn(near, &c.opts)
			require.Nil(t, got)
			var e *HandshakeError
			require.ErrorAs(t, err, &e)
			require.Zero(t, e.Status)
			require.ErrorContains(t, err, "websocket: opening handshake: options are not valid: ")
			require.ErrorContains(t, err, c.says)
			_, err = far.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF, "the connection below is open")
		})
	}
}

// TestNewConnTakesWhatWasAgreedOn looks at the subprotocol and the compression
// of both sides.
func TestNewConnTakesWhatWasAgreedOn(t *testing.T) {
	covers(t, "E01", "E02")
	for _, c := range []struct {
		opts ConnOptions
		want *deflateAgreement
	}{
		{ConnOptions{}, nil},
		{ConnOptions{Config: Config{Compression: &Compression{}}}, nil},
		{ConnOptions{Subprotocol: "chat", Extensions: " , "}, nil},
		{ConnOptions{Extensions: "permessage-deflate"}, &deflateAgreement{false, false, 15, 15}},
		{ConnOptions{Extensions: "permessage-deflate; server_no_context_takeover; client_max_window_bits=9"}, &deflateAgreement{true, false, 15, 9}},
		{ConnOptions{Extensions: `permessage-deflate; client_no_context_takeover; server_max_window_bits="8"`}, &deflateAgreement{false, true, 8, 15}},
		{ConnOptions{Config: Config{Compression: &Compression{PeerWindowBits: 10, RequirePeer: true}}, Extensions: "permessage-deflate; client_max_window_bits=10"},
			&deflateAgreement{false, false, 15, 10}},
		{ConnOptions{Config: Config{Compression: &Compression{PeerWindowBits: 9}}, Extensions: "permessage-deflate"}, &deflateAgreement{false, false, 15, 15}},
	} {
		for _, r := range roles {
			opts := c.opts
			if opts.Client = r == client; opts.Client && opts.Compression != nil && opts.Compression.RequirePeer {
				continue
			}
			agreed, err := opts.agreement()
			require.NoError(t, err)
			require.Equal(t, agreement{opts.Subprotocol, c.want}, agreed)
			near, far := net.Pipe()
			got, err := NewConn(near, &opts)
			require.NoError(t, err)
			require.Equal(t, opts.Subprotocol, got.Subprotocol())
			require.Equal(t, c.want != nil, got.deflate != nil)
			require.Equal(t, r, got.read.role)
			got.CloseNow()
			far.Close()
		}
	}
}

// TestNewConnCompresses joins two ends that were told of the same answer, on
// every network: messages go both ways, compressed.
func TestNewConnCompresses(t *testing.T) {
	covers(t, "E01")
	for _, answer := range []string{
		"permessage-deflate",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
	} {
		for _, set := range []*Compression{nil, {WindowBits: 9, NoContextTakeover: true, Threshold: -1}} {
			for _, n := range rawNetworks {
				t.Run(fmt.Sprint(answer, " ", set != nil, " on ", n.name), func(t *testing.T) {
					n.run(t, func(t *testing.T) {
						near, far := n.pair(t, server)
						s, err := NewConn(near, &ConnOptions{Config: Config{Compression: set}, Extensions: answer})
						require.NoError(t, err)
						c, err := NewConn(far, &ConnOptions{Config: Config{Compression: set}, Client: true, Extensions: answer})
						require.NoError(t, err)
						defer s.CloseNow()
						defer c.CloseNow()
						go echo(s)
						for i := range 20 {
							want := sentence(1000, i)
							require.NoError(t, c.WriteString(t.Context(), want))
							_, p, err := c.Read(t.Context())
							require.NoError(t, err)
							require.Equal(t, want, string(p))
						}
						require.NotZero(t, c.Stats().CompressedIn)
						require.NotZero(t, c.Stats().CompressedOut)
						require.NoError(t, c.Close(CloseNormal, ""))
					})
				})
			}
		}
	}
}

// TestNewConnBuffered gives a connection what was received with the handshake,
// from an empty message to more than any buffer holds, whole and cut, and changes
// the slice afterwards.
func TestNewConnBuffered(t *testing.T) {
	covers(t, "S23")
	for _, size := range []int{0, 1, 125, 5000, 1 << 20, 3 << 20} {
		want := noise(size, uint64(size))
		wire := bytes.Repeat(clientFrame(0x82, string(want)), 2)
		for _, cut := range []int{0, 1, len(wire) / 2, len(wire) - 1, len(wire)} {
			near, far := tcpPair(t)
			early := bytes.Clone(wire[:cut])
			c, err := NewConn(near, &ConnOptions{Config: Config{MaxMessageSize: -1}, Buffered: early})
			require.NoError(t, err)
			clear(early)
			go far.Write(wire[cut:])
			for range 2 {
				_, p, err := c.Read(t.Context())
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, p), "%d bytes, cut at %d", size, cut)
			}
			c.CloseNow()
		}
	}
}

// TestNewConnWithoutOptions is about nil options: a server with defaults.
func TestNewConnWithoutOptions(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c, err := NewConn(near, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	require.Equal(t, server, c.read.role)
	require.Equal(t, int64(1<<20), c.cfg.MaxMessageSize)
	go echo(c)
	go io.WriteString(far, maskedHello)
	wantHello(t, far)
}

// TestNewConnRemovesDeadlines gives NewConn a net.Conn on which a deadline of
// the handshake is left.
func TestNewConnRemovesDeadlines(t *testing.T) {
	covers(t, "S26")
	for _, n := range memoryNetworks {
		n.run(t, func(t *testing.T) {
			near, far := n.pair(t, server)
			defer far.Close()
			near.SetDeadline(time.Now().Add(time.Second))
			c, err := NewConn(near, &ConnOptions{Config: silent})
			require.NoError(t, err)
			defer c.CloseNow()
			go echo(c)
			time.Sleep(time.Minute)
			peer := newRawPeer(far, server)
			go peer.send(0x81, "late")
			f, err := peer.read()
			require.NoError(t, err)
			require.Equal(t, "late", f.payload)
		})
	}
}

// TestNewConnTellsNoHandshake checks that the hook for handshakes is not called
// for one that others have done, and that the other hooks are.
func TestNewConnTellsNoHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		closed := make(chan *CloseError, 1)
		trace := &Trace{
			Handshake: func(*Conn, HandshakeTrace) { t.Error("told of a handshake") },
			Closed:    func(_ *Conn, end *CloseError) { closed <- end },
		}
		c, err := NewConn(near, &ConnOptions{Config: Config{Trace: trace}})
		require.NoError(t, err)
		c.CloseNow()
		require.Equal(t, CloseAbnormal, (<-closed).Code)
	})
}

// TestNewConnInRegistry adds connections to a Registry, before and after it is
// shut down: each is closed with its code and reason.
func TestNewConnInRegistry(t *testing.T) {
	covers(t, "V20")
	for _, r := range roles {
		t.Run(r.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var registry Registry
				opts := &ConnOptions{Client: r == client, Registry: &registry}
				open := func() (*Conn, *rawPeer) {
					near, far := net.Pipe()
					t.Cleanup(func() { far.Close() })
					c, err := NewConn(near, opts)
					require.NoError(t, err)
					return c, newRawPeer(far, r)
				}
				wantClose := func(c *Conn, p *rawPeer) {
					payload, _, err := p.readClose()
					require.NoError(t, err)
					require.Equal(t, rawClose(1012, "deploy"), payload)
					go p.send(0x88, payload)
					if r == client {
						p.nc.Close()
					}
					<-c.Context().Done()
					var end *CloseError
					require.True(t, errors.As(context.Cause(c.Context()), &end))
				}
				c, peer := open()
				require.Equal(t, 1, registry.Len())
				done := make(chan error, 1)
				go func() { done <- registry.Shutdown(t.Context(), CloseServiceRestart, "deploy") }()
				synctest.Wait()
				require.Empty(t, done, "Shutdown has not waited")
				wantClose(c, peer)
				require.NoError(t, <-done)
				require.Zero(t, registry.Len())
				wantClose(open())
				synctest.Wait()
				require.Zero(t, registry.Len())
			})
		})
	}
}
