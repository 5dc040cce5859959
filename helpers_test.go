package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// covers says that the test t proves the rows of testdata/requirements.tsv
// with these IDs. TestRequirements reads the calls from the source, so the
// IDs are string literals, except in the player of testdata/wire, whose files
// have lines of their own.
func covers(t testing.TB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		require.NotEmpty(t, id, "an ID of covers")
	}
}

// roles are both, for tables.
var roles = []role{client, server}

// String names the role in failures.
func (r role) String() string {
	if r == client {
		return "client"
	}
	return "server"
}

// other returns the role of the other end.
func (r role) other() role {
	if r == client {
		return server
	}
	return client
}

// tcpEnds returns the two ends of a TCP connection on loopback, which are the
// caller's to close.
func tcpEnds(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	return client, server
}

// tcpPair returns the two ends of a TCP connection on loopback, which are closed
// at the end of the test.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = tcpEnds(t)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// connsOn returns a client and a server on the two ends of a network. cfg is for
// both; nil means defaults.
func connsOn(t testing.TB, near, far net.Conn, cfg *Config) (c, s *Conn) {
	t.Helper()
	if cfg == nil {
		cfg = &Config{}
	}
	c = newConn(near, client, cfg.withDefaults(), agreement{}, nil)
	s = newConn(far, server, cfg.withDefaults(), agreement{}, nil)
	t.Cleanup(func() { c.CloseNow(); s.CloseNow() })
	return c, s
}

// connPair returns two joined connections over TCP. cfg is for both; nil means
// defaults.
func connPair(t testing.TB, cfg *Config) (c, s *Conn) {
	t.Helper()
	nc, ns := tcpPair(t)
	return connsOn(t, nc, ns, cfg)
}

// tlsPair returns two joined connections over TLS on TCP. cfg is for both; nil
// means defaults.
func tlsPair(t testing.TB, cfg *Config) (c, s *Conn) {
	t.Helper()
	nc, ns := tcpPair(t)
	tc, ts := tlsEnds(t, nc, ns)
	return connsOn(t, tc, ts, cfg)
}

// memConns returns two joined connections in memory. cfg is for both; nil means
// defaults.
func memConns(t testing.TB, cfg *Config) (c, s *Conn) {
	t.Helper()
	near, far := faultnet.Pipe()
	return connsOn(t, near, far, cfg)
}

// serverTLS returns what a server needs for TLS.
var serverTLS = sync.OnceValue(func() *tls.Config {
	pki := httptest.NewTLSServer(http.NotFoundHandler())
	defer pki.Close()
	return pki.TLS
})

// tlsEnds returns the two ends of TLS between nc and ns.
func tlsEnds(t testing.TB, nc, ns net.Conn) (client, server *tls.Conn) {
	t.Helper()
	client, server = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}), tls.Server(ns, serverTLS())
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	require.NoError(t, server.Handshake())
	require.NoError(t, <-done)
	return client, server
}

// memoryConn returns a connection of the given role in memory, and the net.Conn
// of its peer. They are the caller's to close.
func memoryConn(r role, cfg *Config) (*Conn, *faultnet.Conn) {
	nc, peer := faultnet.Pipe()
	return newConn(nc, r, cfg.withDefaults(), agreement{}, nil), peer
}

// memPair returns a connection of the given role in memory, and the net.Conn of
// its peer, which are closed at the end of the test. A nil cfg sends no Pings.
func memPair(t testing.TB, r role, cfg *Config) (*Conn, *faultnet.Conn) {
	t.Helper()
	if cfg == nil {
		cfg = &Config{PingInterval: -1}
	}
	c, far := memoryConn(r, cfg)
	t.Cleanup(func() { c.CloseNow(); far.Close() })
	return c, far
}

// memPairWith is memPair for a server with compression.
func memPairWith(t *testing.T, cfg Compression) (*Conn, *faultnet.Conn) {
	t.Helper()
	near, far := faultnet.Pipe()
	s := newConn(near, server, (&Config{PingInterval: -1, Compression: &cfg}).withDefaults(), agreedFor(server, &cfg), nil)
	t.Cleanup(func() { s.CloseNow(); far.Close() })
	return s, far
}

// deflatePair returns two connections that negotiated compression over HTTP.
func deflatePair(t testing.TB, clientSide, serverSide *Compression, cfg Config) (c, s *Conn) {
	t.Helper()
	accepted := make(chan *Conn, 1)
	scfg := cfg
	scfg.Compression = serverSide
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := Accept(w, r, &AcceptOptions{Config: scfg})
		if err == nil {
			accepted <- conn
		}
	}))
	t.Cleanup(h.Close)
	cfg.Compression = clientSide
	c, _, err := Dial(t.Context(), h.URL, &DialOptions{Config: cfg})
	require.NoError(t, err)
	s = <-accepted
	t.Cleanup(func() { c.CloseNow(); s.CloseNow() })
	return c, s
}

// agreedWindows returns c with the windows that it leaves open at their largest.
func agreedWindows(c *Compression) (filled Compression) {
	if c != nil {
		filled = *c
	}
	if filled.WindowBits == 0 {
		filled.WindowBits = 15
	}
	if filled.PeerWindowBits == 0 {
		filled.PeerWindowBits = 15
	}
	return filled
}

// agreedFor returns the agreement of an endpoint that got what c asks for.
func agreedFor(r role, c *Compression) agreement {
	if c == nil {
		return agreement{}
	}
	all := agreedWindows(c)
	if r == server {
		return agreement{deflate: &deflateAgreement{c.NoContextTakeover, c.PeerNoContextTakeover, all.WindowBits, all.PeerWindowBits}}
	}
	return agreement{deflate: &deflateAgreement{c.PeerNoContextTakeover, c.NoContextTakeover, all.PeerWindowBits, all.WindowBits}}
}

// echo sends every message back until the connection ends.
func echo(c *Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// readToEnd returns why c ended.
func readToEnd(c *Conn) error {
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return err
		}
	}
}

// readForASecond calls Read, which finds nothing to return.
func readForASecond(t *testing.T, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _, err := c.Read(ctx)
	require.Equal(t, context.DeadlineExceeded, err)
}

// notReading keeps everybody from reading for a second, on connections on which
// only the background reader reads yet.
func notReading(t *testing.T, conns ...*Conn) {
	t.Helper()
	for _, c := range conns {
		synctest.Wait() // until the background reader can be interrupted
		require.NoError(t, c.awaitReadLock(t.Context()))
		time.AfterFunc(time.Second, func() { c.unlockReading(nil) })
	}
}

// clientFrame returns a frame as a client sends it.
func clientFrame(first byte, payload string) []byte {
	return appendFrame(nil, header{byte0: first, masked: true, key: 0x04030201, length: int64(len(payload))}, []byte(payload)).b
}

// readFrame returns the next frame that peer receives, with its mask.
func readFrame(t testing.TB, peer io.Reader) (header, []byte) {
	t.Helper()
	var buf []byte
	for {
		h, n, v := parseHeader(buf)
		require.Equal(t, noViolation, v)
		size := 1
		if n > 0 {
			if int64(len(buf)-n) == h.length {
				return h, buf[n:]
			}
			size = int(h.length) - (len(buf) - n)
		}
		more := make([]byte, size)
		_, err := io.ReadFull(peer, more)
		require.NoError(t, err)
		buf = append(buf, more...)
	}
}

// readFrames parses all frames that r has until it ends.
func readFrames(t testing.TB, r io.Reader) (payloads []string, opcodes []opcode) {
	t.Helper()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return framesIn(t, b)
}

// framesIn parses all frames in b.
func framesIn(t testing.TB, b []byte) (payloads []string, opcodes []opcode) {
	t.Helper()
	for len(b) > 0 {
		h, n, v := parseHeader(b)
		require.Equal(t, noViolation, v)
		require.NotZero(t, n)
		p := b[n : n+int(h.length)]
		if h.masked {
			mask(p, h.key)
		}
		payloads, opcodes = append(payloads, string(p)), append(opcodes, h.opcode())
		b = b[n+int(h.length):]
	}
	return payloads, opcodes
}

// slowly returns all that r has until it ends, read at so many bytes a second.
func slowly(r io.Reader, perSecond int) []byte {
	var all bytes.Buffer
	for {
		time.Sleep(time.Second / 10)
		if _, err := io.CopyN(&all, r, int64(perSecond/10)); err != nil {
			return all.Bytes()
		}
	}
}

// A writerFunc is an io.Writer made of a function.
type writerFunc func(p []byte) (int, error)

// Write calls f.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// errFault is the error of a net.Conn that is made to fail.
var errFault = errors.New("the fault")

// errNoDeadlines is the error of a net.Conn that has no deadlines.
var errNoDeadlines = errors.New("deadlines are not supported")

// keyOf returns key as header.key holds it.
func keyOf(key [4]byte) uint32 {
	return uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
}

// ramp returns n bytes that differ from their neighbours.
func ramp(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// noise returns n bytes that do not compress, the same for the same seed.
func noise(n int, seed uint64) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	return p
}

// sentence returns text of about n bytes that compresses like text does.
func sentence(n, seed int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"user":"user-%d","text":"message number %d"},`, i+seed, i*7%13, i*seed)
	}
	return b.String()[:n]
}

// block returns a text of n bytes that does not compress, the same for the same
// n.
func block(n int) string {
	p := make([]byte, n)
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range p {
		p[i] = ' ' + byte(rnd.IntN(95))
	}
	return string(p)
}

// longLengths returns the values around each power of two.
func longLengths() []uint64 {
	lengths := []uint64{0, 1, 125, 126, 127, math.MaxUint64}
	for shift := range 64 {
		power := uint64(1) << shift
		lengths = append(lengths, power-1, power, power+1)
	}
	return lengths
}

// allocated returns the bytes of heap allocated while f runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
