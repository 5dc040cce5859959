package websocket

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A rawPeer is the other end of a connection under test as the wire shows it:
// it sends and parses octets itself, and uses nothing of the library.
type rawPeer struct {
	nc   net.Conn
	role role   // of the peer
	in   []byte // received and not yet parsed
}

// A rawFrame is a frame on the wire, unmasked.
type rawFrame struct {
	first   byte
	payload string
}

// opcode returns the frame's opcode.
func (f rawFrame) opcode() byte { return f.first & 0xf }

// String returns the frame for a failure's line.
func (f rawFrame) String() string { return fmt.Sprintf("%#02x %.40q", f.first, f.payload) }

// newRawPeer returns the peer of a Conn of role r.
func newRawPeer(nc net.Conn, r role) *rawPeer {
	return &rawPeer{nc: nc, role: r.other()}
}

// rawClose returns the payload of a Close frame.
func rawClose(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// frame returns a frame as the peer's role sends it.
func (p *rawPeer) frame(first byte, payload string) []byte {
	masked := byte(0)
	if p.role == client {
		masked = 0x80
	}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if p.role == server {
		return append(b, payload...)
	}
	key := []byte{1, 2, 3, 4}
	b = append(append(b, key...), payload...)
	xorKey(b[len(b)-len(payload):], key)
	return b
}

// xorKey masks or unmasks b, in pieces: octet by octet takes long under the race
// detector.
func xorKey(b, key []byte) {
	keys := bytes.Repeat(key, 1024)
	for piece := range slices.Chunk(b, len(keys)) {
		subtle.XORBytes(piece, piece, keys)
	}
}

// send writes a frame.
func (p *rawPeer) send(first byte, payload string) error {
	_, err := p.nc.Write(p.frame(first, payload))
	return err
}

// more waits for more octets.
func (p *rawPeer) more() error {
	var b [32 << 10]byte
	n, err := p.nc.Read(b[:])
	p.in = append(p.in, b[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// read returns the next frame, or the error that came before its end.
func (p *rawPeer) read() (rawFrame, error) {
	for {
		if f, size := p.parse(); size > 0 {
			p.in = p.in[size:]
			return f, nil
		}
		if err := p.more(); err != nil {
			return rawFrame{}, err
		}
	}
}

// parse returns the frame that was received, and its size, or 0.
func (p *rawPeer) parse() (f rawFrame, size int) {
	if len(p.in) < 2 {
		return f, 0
	}
	head, n := 2, int(p.in[1]&0x7f)
	switch {
	case n == 126 && len(p.in) >= 4:
		head, n = 4, int(binary.BigEndian.Uint16(p.in[2:]))
	case n == 127 && len(p.in) >= 10:
		head, n = 10, int(binary.BigEndian.Uint64(p.in[2:]))
	case n > 125:
		return f, 0
	}
	var key []byte
	if p.in[1]&0x80 != 0 {
		key = p.in[head:min(head+4, len(p.in))]
		head += 4
	}
	if len(p.in) < head+n {
		return f, 0
	}
	payload := bytes.Clone(p.in[head : head+n])
	if key != nil {
		xorKey(payload, key)
	}
	return rawFrame{p.in[0], string(payload)}, head + n
}

// readClose returns the payload of the next Close frame, and the frames before.
func (p *rawPeer) readClose() (payload string, before []rawFrame, err error) {
	for {
		f, err := p.read()
		if err != nil {
			return "", before, fmt.Errorf("no Close frame, but %w", err)
		}
		if f.opcode() == 8 {
			return f.payload, before, nil
		}
		before = append(before, f)
	}
}

// readEnd checks that nothing comes before the end of the stream.
func (p *rawPeer) readEnd() error {
	err := error(nil)
	for err == nil && len(p.in) == 0 {
		err = p.more()
	}
	switch {
	case len(p.in) > 0:
		return fmt.Errorf("% .20x behind the Close frame", p.in)
	case err != io.EOF:
		return fmt.Errorf("after the Close frame, %v instead of EOF", err)
	}
	return nil
}

// closeWrite ends what the peer sends, where the network can say that.
func (p *rawPeer) closeWrite() {
	if half, ok := p.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// shakeHands does the peer's part of the opening handshake.
func (p *rawPeer) shakeHands() error {
	if p.role == client {
		if _, err := io.WriteString(p.nc, request()); err != nil {
			return err
		}
		head, err := p.head()
		if err == nil && !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			return fmt.Errorf("answered with %q", head)
		}
		return err
	}
	return p.respond("")
}

// respond answers a request as a server does, in one write with early.
func (p *rawPeer) respond(early string) error {
	head, err := p.head()
	if err != nil {
		return err
	}
	_, key, _ := strings.Cut(head, "Sec-WebSocket-Key: ")
	key, _, _ = strings.Cut(key, "\r\n")
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = io.WriteString(p.nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"+early)
	return err
}

// head returns an HTTP head.
func (p *rawPeer) head() (string, error) {
	for {
		if head, rest, ok := strings.Cut(string(p.in), "\r\n\r\n"); ok {
			p.in = []byte(rest)
			return head, nil
		}
		if err := p.more(); err != nil {
			return "", err
		}
	}
}

// A rawNetwork makes the two ends of a connection.
type rawNetwork struct {
	name   string
	traits trait
	pair   func(t *testing.T, ours role) (near, far net.Conn)
}

// A trait is what is special about a network; they are added up.
type trait uint8

const (
	inMemory    trait = 1 << iota // for a synctest bubble
	noDeadline                    // the near end has no deadlines
	noHalfClose                   // the near end has no CloseWrite
)

// is reports whether n has the trait.
func (n rawNetwork) is(t trait) bool { return n.traits&t != 0 }

// rawNetworks are the kinds of net.Conn that a connection is used on. The far
// end is that of the raw peer.
var rawNetworks = append(independentNetworks[:len(independentNetworks):len(independentNetworks)], http2Network)

// independentNetworks are those whose directions do not know each other. On a
// stream of HTTP/2, net/http's server tells the peer that it may send more only
// behind what it sends itself, which may wait for the peer.
var independentNetworks = []rawNetwork{
	{"TCP", 0, tcpNetwork},
	{"TLS", 0, tlsNetwork},
	{"wrapped", noHalfClose, func(t *testing.T, r role) (near, far net.Conn) {
		near, far = tcpNetwork(t, r)
		return struct{ net.Conn }{near}, far
	}},
	{"no deadlines", noDeadline | noHalfClose, func(t *testing.T, r role) (near, far net.Conn) {
		near, far = tcpNetwork(t, r)
		return withoutDeadlines{near}, far
	}},
	pipeNetwork,
	memoryNetwork,
}

// pipeNetwork is net.Pipe: nothing is buffered, and only the whole can be
// closed.
var pipeNetwork = rawNetwork{"net.Pipe", inMemory | noHalfClose, func(*testing.T, role) (near, far net.Conn) { return net.Pipe() }}

// memoryNetwork is a network in memory with a window.
var memoryNetwork = rawNetwork{"memory", inMemory, func(*testing.T, role) (near, far net.Conn) { return faultnet.Pipe() }}

// pairLimit bounds whatever the raw peer does on a real network.
const pairLimit = 10 * time.Second

// tcpBuffer is the size of a socket's buffers: small, so that little fills them.
const tcpBuffer = 64 << 10

// tcpNetwork joins two ends over TCP with small buffers. What the raw peer does
// is bounded.
func tcpNetwork(t *testing.T, _ role) (near, far net.Conn) {
	t.Helper()
	far, near = tcpEnds(t)
	for _, nc := range []net.Conn{near, far} {
		nc.(*net.TCPConn).SetReadBuffer(tcpBuffer)
		nc.(*net.TCPConn).SetWriteBuffer(tcpBuffer)
	}
	far.SetDeadline(time.Now().Add(pairLimit))
	return near, far
}

// tlsNetwork is tcpNetwork with TLS.
func tlsNetwork(t *testing.T, ours role) (near, far net.Conn) {
	nc, fc := tcpNetwork(t, ours)
	if ours == client {
		near, far = tlsEnds(t, nc, fc)
	} else {
		far, near = tlsEnds(t, fc, nc)
	}
	return near, far
}

// withoutDeadlines is a net.Conn like a channel of SSH: it has no deadlines, and
// says so.
type withoutDeadlines struct{ net.Conn }

// SetDeadline fails.
func (withoutDeadlines) SetDeadline(time.Time) error { return errNoDeadlines }

// SetReadDeadline fails.
func (withoutDeadlines) SetReadDeadline(time.Time) error { return errNoDeadlines }

// SetWriteDeadline fails.
func (withoutDeadlines) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// ignoringDeadlines is a net.Conn that takes deadlines and does not obey them.
type ignoringDeadlines struct{ net.Conn }

// SetDeadline does nothing.
func (ignoringDeadlines) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (ignoringDeadlines) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (ignoringDeadlines) SetWriteDeadline(time.Time) error { return nil }

// A rawEntryPoint is a way to make a Conn of a net.Conn. open calls app with the
// Conn, or with the error of the handshake.
type rawEntryPoint struct {
	name string
	role role
	open func(nc net.Conn, cfg Config, app func(c *Conn, err error))
}

// rawEntryPoints are all that can be used against a raw peer.
var rawEntryPoints = []rawEntryPoint{
	{"Accept", server, openAccept},
	{"AcceptConn", server, func(nc net.Conn, cfg Config, app func(*Conn, error)) {
		c, _, err := AcceptConn(context.Background(), nc, &AcceptOptions{Config: cfg})
		app(c, err)
	}},
	{"Dial", client, func(nc net.Conn, cfg Config, app func(*Conn, error)) {
		netDial := func(context.Context, string, string) (net.Conn, error) { return nc, nil }
		c, _, err := Dial(context.Background(), "ws://server.example.com/chat", &DialOptions{Config: cfg, NetDial: netDial})
		app(c, err)
	}},
	{"Dial by HTTPClient", client, func(nc net.Conn, cfg Config, app func(*Conn, error)) {
		netDial := func(context.Context, string, string) (net.Conn, error) { return nc, nil }
		opts := &DialOptions{Config: cfg, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: netDial}}}
		c, _, err := Dial(context.Background(), "ws://server.example.com/chat", opts)
		app(c, err)
	}},
	{"DialConn", client, func(nc net.Conn, cfg Config, app func(*Conn, error)) {
		url := "ws://server.example.com/chat"
		if _, ok := nc.(*tls.Conn); ok {
			url = "wss://server.example.com/chat"
		}
		c, _, err := DialConn(context.Background(), nc, url, &DialOptions{Config: cfg})
		app(c, err)
	}},
	{"NewConn of a server", server, openNewConn(server)},
	{"NewConn of a client", client, openNewConn(client)},
	{"Accept" + overHTTP2, server, func(nc net.Conn, cfg Config, app func(*Conn, error)) {
		serveOneHTTP2(nc, func(w http.ResponseWriter, r *http.Request) {
			c, err := Accept(w, r, &AcceptOptions{Config: cfg})
			if err == nil {
				defer c.CloseNow()
			}
			app(c, err)
		})
	}},
	{"Handler" + overHTTP2, server, func(nc net.Conn, cfg Config, app func(*Conn, error)) {
		h := HandlerFunc(&AcceptOptions{Config: cfg}, func(c *Conn) error {
			app(c, nil)
			return nil
		})
		serveOneHTTP2(nc, h.ServeHTTP)
	}},
}

// overHTTP2 ends the names of entry points for an extended CONNECT.
const overHTTP2 = " over HTTP/2"

// openNewConn returns the open of an entry point at which a raw peer does our
// part of the handshake.
func openNewConn(ours role) func(nc net.Conn, cfg Config, app func(c *Conn, err error)) {
	return func(nc net.Conn, cfg Config, app func(c *Conn, err error)) {
		other := &rawPeer{nc: nc, role: ours}
		if err := other.shakeHands(); err != nil {
			app(nil, err)
			return
		}
		c, err := NewConn(nc, &ConnOptions{Config: cfg, Client: ours == client, Buffered: other.in})
		app(c, err)
	}
}

// openAccept runs app in a handler of net/http's server.
func openAccept(nc net.Conn, cfg Config, app func(c *Conn, err error)) {
	h := func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, &AcceptOptions{Config: cfg})
		app(c, err)
	}
	s := &http.Server{Handler: http.HandlerFunc(h), ErrorLog: log.New(io.Discard, "", 0)}
	s.Serve(&oneListener{nc: nc})
}

// isHTTP2 reports whether e is for an extended CONNECT.
func (e rawEntryPoint) isHTTP2() bool { return strings.HasSuffix(e.name, overHTTP2) }

// worksOn reports whether e works on n: net/http's server waits for a deadline
// that it has set before it hands a connection over, and it speaks HTTP/2 over TLS
// only if that was agreed on there. Nobody does a handshake of HTTP/1.1 on a stream.
func (e rawEntryPoint) worksOn(n rawNetwork) bool {
	switch {
	case e.isHTTP2():
		return n.name == "TCP"
	case n.name == http2Network.name:
		return strings.HasPrefix(e.name, "NewConn")
	}
	return !n.is(noDeadline) || e.name != "Accept"
}

// join opens near by e and does the handshake with the raw peer at far. It
// returns when app has the connection.
func (e rawEntryPoint) join(near, far net.Conn, cfg Config, app func(c *Conn)) (*rawPeer, error) {
	if e.isHTTP2() {
		return e.joinHTTP2(near, far, cfg, app)
	}
	peer := newRawPeer(far, e.role)
	opened := make(chan error, 1)
	go e.open(near, cfg, func(c *Conn, err error) {
		opened <- err
		if err == nil {
			app(c)
		}
	})
	if err := peer.shakeHands(); err != nil {
		far.Close()
		return nil, errors.Join(err, <-opened)
	}
	return peer, <-opened
}

// A pingingPeer is a raw peer that keeps what it receives, in a bubble. It sends
// in the background, because waiting for the lock of a net.Pipe stops the clock.
type pingingPeer struct {
	*rawPeer
	out chan []byte

	mu     sync.Mutex
	frames []rawFrame
	err    error
}

// listen starts to receive all that comes, and to answer Pings if pongs is set.
func (p *rawPeer) listen(t *testing.T, pongs bool) *pingingPeer {
	l := &pingingPeer{rawPeer: p, out: make(chan []byte, 1000)}
	t.Cleanup(func() { close(l.out) })
	go func() {
		for b := range l.out {
			p.nc.Write(b)
		}
	}()
	go func() {
		for {
			f, err := p.read()
			l.mu.Lock()
			l.frames, l.err = append(l.frames, f), err
			l.mu.Unlock()
			if err != nil {
				return
			}
			if pongs && f.opcode() == 9 {
				l.say(p.frame(0x8a, f.payload))
			}
		}
	}()
	return l
}

// say sends octets after what was said before.
func (p *pingingPeer) say(octets ...[]byte) { p.out <- slices.Concat(octets...) }

// has reports whether a frame with this opcode and payload came.
func (p *pingingPeer) has(opcode byte, payload string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.frames, func(f rawFrame) bool { return f.opcode() == opcode && f.payload == payload })
}

// count returns how many frames with this opcode came.
func (p *pingingPeer) count(opcode byte) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.opcode() == opcode {
			n++
		}
	}
	return n
}

// wantPong sends a Ping and checks that the Pong comes before any time has
// passed.
func (p *pingingPeer) wantPong(t *testing.T, payload string) {
	t.Helper()
	began := time.Now()
	p.say(p.frame(0x89, payload))
	synctest.Wait()
	if !p.has(0xa, payload) || time.Since(began) > 0 {
		t.Errorf("the Ping %q was not answered at once", payload)
	}
}

// memoryNetworks are the networks in memory, with one that has no deadlines and
// one that ignores them.
var memoryNetworks = []rawNetwork{
	memoryNetwork,
	pipeNetwork,
	{"pipe without deadlines", inMemory | noDeadline | noHalfClose, func(*testing.T, role) (near, far net.Conn) {
		near, far = net.Pipe()
		return withoutDeadlines{near}, far
	}},
	{"pipe that ignores deadlines", inMemory | noDeadline | noHalfClose, func(*testing.T, role) (near, far net.Conn) {
		near, far = net.Pipe()
		return ignoringDeadlines{near}, far
	}},
}

// run runs f in a bubble if the network is in memory.
func (n rawNetwork) run(t *testing.T, f func(t *testing.T)) {
	if n.is(inMemory) {
		synctest.Test(t, f)
		return
	}
	f(t)
}

// silent is a Config without keepalive.
var silent = Config{PingInterval: -1}

// hung is how long a connection may take before it is taken to hang. It is closed
// then, so that its test can fail.
const hung = 1000 * time.Hour

// eachEnd runs f in a bubble with a connection of each role on each of these
// networks, and its raw peer. Nothing pings unless cfg says so.
func eachEnd(t *testing.T, cfg Config, networks []rawNetwork, f func(t *testing.T, c *Conn, peer *rawPeer)) {
	t.Helper()
	for _, r := range roles {
		for _, n := range networks {
			t.Run(fmt.Sprint(r, " on ", n.name), func(t *testing.T) {
				n.run(t, func(t *testing.T) {
					near, far := n.pair(t, r)
					defer far.Close()
					c := newConn(near, r, cfg.withDefaults(), agreement{}, nil)
					defer c.CloseNow()
					defer time.AfterFunc(hung, func() { near.Close(); far.Close() }).Stop()
					f(t, c, newRawPeer(far, r))
				})
			})
		}
	}
}
