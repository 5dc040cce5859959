package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/fullduplex-go/websocket/internal/http1"
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

// hasGoroutine reports whether a goroutine is in this method of c.
func hasGoroutine(c *Conn, method string) bool {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Contains(stacks, fmt.Appendf(nil, "(*Conn).%s(%p", method, c))
}

// underProcs runs f with each of some values of GOMAXPROCS.
func underProcs(t *testing.T, f func(t *testing.T)) {
	for name, n := range map[string]int{"1 processor": 1, "2 processors": 2, "16 processors": 16} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
			f(t)
		})
	}
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

// connOptionsFor returns the options of an endpoint that got what cfg asks for.
func connOptionsFor(r role, cfg Config, early []byte) *ConnOptions {
	o := &ConnOptions{Config: cfg, Client: r == client, Buffered: early}
	if a := agreedFor(r, cfg.Compression).deflate; a != nil {
		answer := deflateParams{a.serverNoContext, a.clientNoContext, a.serverWindow, a.clientWindow, true}
		o.Extensions = string(appendExtensions(nil, []extension{answer.extension()}))
	}
	return o
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

// A recorder is a Receiver that keeps what it is told about one connection. The
// functions, of which each may be nil, say what its methods do besides.
type recorder struct {
	opened func(c *Conn) error
	answer func(c *Conn, m Message) error
	ended  func(c *Conn, end *CloseError)

	mu     sync.Mutex
	told   []string
	calls  int              // that have begun and not ended
	closed chan *CloseError // gets the end
}

// newRecorder returns a recorder that answers with answer, which may be nil.
func newRecorder(answer func(c *Conn, m Message) error) *recorder {
	return &recorder{answer: answer, closed: make(chan *CloseError, 10)}
}

// note keeps what happened.
func (r *recorder) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, what)
}

// history returns what happened, in order.
func (r *recorder) history() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.told, " ")
}

// enter keeps what a call tells, and whether another is under way. The function
// that it returns ends the call.
func (r *recorder) enter(what string) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls++; r.calls > 1 {
		what += ", at once"
	}
	r.told = append(r.told, what)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls--
	}
}

// Opened keeps "opened".
func (r *recorder) Opened(c *Conn) error {
	defer r.enter("opened")()
	if r.opened != nil {
		return r.opened(c)
	}
	return nil
}

// Receive keeps the message, or the size of a long one.
func (r *recorder) Receive(c *Conn, m Message) error {
	what := string(m.Data)
	if len(what) > 100 {
		what = fmt.Sprint(len(what), " bytes")
	}
	defer r.enter(what)()
	if r.answer != nil {
		return r.answer(c, m)
	}
	return nil
}

// Closed keeps "closed".
func (r *recorder) Closed(c *Conn, end *CloseError) {
	defer r.enter("closed")()
	defer func() { r.closed <- end }()
	if r.ended != nil {
		r.ended(c, end)
	}
}

// await waits until the history is as wanted.
func (r *recorder) await(t testing.TB, want string) {
	t.Helper()
	eventually(t, want, func() bool { return r.history() == want }, r.history)
}

// eventually waits until something has happened. If it does not, the test ends,
// with what say returns.
func eventually(t testing.TB, what string, happened func() bool, say ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(pairLimit); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			for _, s := range say {
				what += "; there is " + s()
			}
			t.Fatal("waited in vain: ", what)
		}
	}
}

// echoMessage is an answer that sends the message back.
func echoMessage(c *Conn, m Message) error { return c.Write(context.Background(), m.Type, m.Data) }

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

// The example of RFC 6455, Section 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// request returns the request of RFC 6455, Section 1.2, with changes. A change
// "Name: value" replaces the field, "+Name: value" adds a line, "-Name"
// removes the field, and anything else replaces the start line.
func request(changes ...string) string {
	return withChanges([]string{
		"GET /chat HTTP/1.1",
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: " + sampleKey,
		"Sec-WebSocket-Version: 13",
	}, changes)
}

// response returns a server's good answer to sampleKey, with changes as for
// request.
func response(changes ...string) string {
	return withChanges([]string{
		"HTTP/1.1 101 Switching Protocols",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Accept: " + sampleAccept,
	}, changes)
}

// withChanges returns a head of these lines, changed as for request.
func withChanges(lines, changes []string) string {
	for _, c := range changes {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(c, "-"), "+"), ":")
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
		switch {
		case strings.HasPrefix(c, "-"):
			lines = slices.Delete(lines, at, at+1)
		case strings.HasPrefix(c, "+"):
			lines = append(lines, c[1:])
		case !http1.IsToken(name):
			lines[0] = c
		case at < 0:
			lines = append(lines, c)
		default:
			lines[at] = c
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// headOf returns the head at the start of s, or "" if it is not whole or has a
// bare LF.
func headOf(s string) string {
	n := strings.Index(s, "\r\n\r\n")
	if n < 0 {
		return ""
	}
	head := s[:n+4]
	if strings.Count(head, "\n") != strings.Count(head, "\r\n") {
		return ""
	}
	return head
}

// parsed returns the request with the given head.
func parsed(t testing.TB, head string) *http.Request {
	t.Helper()
	r, err := http1.ParseRequest(context.Background(), head)
	require.NoError(t, err)
	return r
}

// statusOf returns the status in a HandshakeError, 0 for any other error.
func statusOf(err error) int {
	var e *HandshakeError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// A oneListener accepts one connection and then reports its end.
type oneListener struct{ nc net.Conn }

// Accept returns the connection, once.
func (l *oneListener) Accept() (nc net.Conn, err error) {
	if nc, l.nc = l.nc, nil; nc == nil {
		err = io.EOF
	}
	return nc, err
}

// Close does nothing.
func (l *oneListener) Close() error { return nil }

// Addr returns an address without meaning.
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// A bufferedConn reads through a bufio.Reader.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

// Read reads.
func (c bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// roundTrip writes wire and reads the response.
func roundTrip(t *testing.T, nc net.Conn, wire string) (*http.Response, net.Conn) {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(nc, wire)
	br := bufio.NewReader(nc)
	method, _, _ := strings.Cut(wire, " ")
	r, err := http.ReadResponse(br, &http.Request{Method: method})
	require.NoError(t, err, "response to %.60q", wire)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err, "body")
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r, bufferedConn{nc, br}
}

// maskedHello is "Hello" in a frame from a client.
const maskedHello = "\x81\x85\x00\x00\x00\x00Hello"

// wantHello reads the echo of maskedHello.
func wantHello(t *testing.T, nc net.Conn) {
	t.Helper()
	got := make([]byte, 7)
	_, err := io.ReadFull(nc, got)
	require.NoError(t, err)
	require.Equal(t, "\x81\x05Hello", string(got))
}

// newQuietServer returns a server, not started, that does not log.
func newQuietServer(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return s
}

// echoServer returns servers that echo, without TLS and with it.
func echoServer(t testing.TB) (plain, secure *httptest.Server) {
	t.Helper()
	opts := &AcceptOptions{Config: Config{Subprotocols: []string{"chat"}}}
	plain = httptest.NewServer(HandlerFunc(opts, echo))
	secure = newQuietServer(HandlerFunc(opts, echo))
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	return plain, secure
}

// trust returns the TLS configuration that trusts s.
func trust(s *httptest.Server) *tls.Config {
	return &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
}

// mustEcho sends a message and reads it back.
func mustEcho(t testing.TB, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, c.Write(ctx, Text, []byte("Hello")))
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, "Hello", string(p))
}
