package stress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A transport is a way to join two ends.
type transport struct {
	name string
	base func() (a, b net.Conn, err error)
	wrap func(nc net.Conn, r *rand.Rand) net.Conn // nil: nothing
	tls  bool                                     // TLS runs over it

	http2  bool // what is joined are the ends of a stream of HTTP/2 over it
	window int  // of such a stream, for each end; 0: as usual

	slow        bool // its throughput is low
	noDeadlines bool // an interrupted call ends the connection
	taking      bool // it takes at once what CloseNow finds held
}

// fragile reports whether an interrupted write may end the connection.
func (tr *transport) fragile() bool { return tr.tls || tr.noDeadlines }

// transports are all kinds of transport.
var transports = []transport{
	{name: "TCP", base: tcp, taking: true},
	{name: "Unix", base: unix, taking: true},
	{name: "pipe", base: pipe, slow: true},
	{name: "memory", base: memory},
	{name: "TLS", base: tcp, tls: true},
	{name: "TLS over chopped TCP", base: tcp, wrap: chop, tls: true, slow: true},
	{name: "wrapped TCP", base: tcp, wrap: wrap},
	{name: "wrapped Unix", base: unix, wrap: wrap},
	{name: "chopped TCP", base: tcp, wrap: chop, slow: true},
	{name: "chopped memory", base: memory, wrap: chop, slow: true},
	{name: "slow TCP", base: tcp, wrap: delay, slow: true},
	{name: "slow pipe", base: pipe, wrap: delay, slow: true},
	{name: "TCP without deadlines", base: tcp, wrap: strip, noDeadlines: true},
	{name: "pipe without deadlines", base: pipe, wrap: strip, slow: true, noDeadlines: true},
	{name: "HTTP/2", base: tcp, http2: true},
	{name: "HTTP/2 with small windows", base: tcp, http2: true, window: 2000, slow: true},
	{name: "HTTP/2 over chopped TCP", base: tcp, wrap: chop, http2: true, slow: true},
	{name: "HTTP/2 over slow TCP", base: tcp, wrap: delay, http2: true, slow: true},
}

// A joint is two connected ends of a transport.
type joint struct {
	client, server net.Conn     // wrapped
	below          [2]net.Conn  // before wrapping
	streams        *http.Server // serves HTTP/2 on server; nil: nobody does
}

// join connects two ends.
func (tr *transport) join(r *rand.Rand) (*joint, error) {
	a, b, err := tr.base()
	if err != nil {
		return nil, err
	}
	j := &joint{client: a, server: b, below: [2]net.Conn{a, b}}
	if tr.wrap != nil {
		j.client, j.server = tr.wrap(a, r), tr.wrap(b, r)
	}
	return j, nil
}

// follow notes the net.Conns that connections have now: to hand one over to a
// Receiver may replace it.
func (j *joint) follow(ends [2]*end) {
	for i, joined := range [2]net.Conn{j.client, j.server} {
		if nc := ends[i].conn.NetConn(); nc != nil && joined == j.below[i] && nc != joined {
			j.below[i] = nc
		}
	}
}

// cut breaks one end, like the loss of a process or of a network: any, or the
// server's.
func (j *joint) cut(r *rand.Rand, server bool) {
	index := r.IntN(2)
	if server {
		index = 1
	}
	switch nc := j.below[index].(type) {
	case *faultnet.Conn:
		nc.Reset()
	case *net.TCPConn:
		if r.IntN(2) == 0 {
			nc.SetLinger(0)
		}
		nc.Close()
	default:
		nc.Close()
	}
}

// close closes both ends.
func (j *joint) close() {
	if j.streams != nil {
		j.streams.Close()
	}
	j.below[0].Close()
	j.below[1].Close()
}

func tcp() (a, b net.Conn, err error) { return sockets("tcp", "127.0.0.1:0") }

// unix connects two Unix sockets. It removes the socket file before it returns.
func unix() (a, b net.Conn, err error) {
	dir, err := os.MkdirTemp("", "stress")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	return sockets("unix", filepath.Join(dir, "s"))
}

// sockets connects two sockets of the system.
func sockets(network, address string) (a, b net.Conn, err error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

func pipe() (a, b net.Conn, err error) {
	a, b = net.Pipe()
	return a, b, nil
}

// memory returns a pipe with a small window, so that writers often wait.
func memory() (a, b net.Conn, err error) {
	x, y := faultnet.Pipe()
	x.SetWindow(5000)
	y.SetWindow(3000)
	return x, y, nil
}

// A wrapped connection hides the type of package net, and has no CloseWrite.
type wrapped struct{ net.Conn }

func wrap(nc net.Conn, _ *rand.Rand) net.Conn { return wrapped{nc} }

// A shared generator may be used by several goroutines.
type shared struct {
	mu sync.Mutex
	r  *rand.Rand
}

func share(r *rand.Rand) *shared {
	return &shared{r: rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))}
}

// below returns a number in [0,n).
func (s *shared) below(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.IntN(n)
}

// A chopped connection reads and writes few bytes at a time.
type chopped struct {
	net.Conn
	sizes *shared
}

func chop(nc net.Conn, r *rand.Rand) net.Conn { return &chopped{nc, share(r)} }

// size returns how many of n bytes to move next.
func (c *chopped) size(n int) int {
	most := 1 << c.sizes.below(11)
	return min(n, 1+c.sizes.below(most))
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return c.Conn.Read(p)
	}
	return c.Conn.Read(p[:c.size(len(p))])
}

func (c *chopped) Write(p []byte) (written int, err error) {
	for written < len(p) && err == nil {
		var n int
		n, err = c.Conn.Write(p[written:][:c.size(len(p)-written)])
		written += n
	}
	return written, err
}

// CloseWrite closes the sending direction, if the transport can do that.
func (c *chopped) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(nc net.Conn) error {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// A delayed connection pauses now and then.
type delayed struct {
	net.Conn
	pauses *shared
}

func delay(nc net.Conn, r *rand.Rand) net.Conn { return &delayed{nc, share(r)} }

func (d *delayed) pause() {
	if d.pauses.below(4) == 0 {
		<-time.After(time.Duration(d.pauses.below(1000)) * time.Microsecond)
	}
}

func (d *delayed) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	d.pause()
	return n, err
}

func (d *delayed) Write(p []byte) (int, error) {
	d.pause()
	return d.Conn.Write(p)
}

// CloseWrite closes the sending direction, if the transport can do that.
func (d *delayed) CloseWrite() error { return closeWrite(d.Conn) }

// A stripped connection has no deadlines, like an SSH channel.
type stripped struct{ net.Conn }

func strip(nc net.Conn, _ *rand.Rand) net.Conn { return stripped{nc} }

var errNoDeadlines = errors.New("stress: deadlines are not supported")

func (stripped) SetDeadline(time.Time) error      { return errNoDeadlines }
func (stripped) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (stripped) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// host is the name of the servers.
const host = "stress.example"

// tlsConfigs returns the TLS settings of both ends. There are no session
// tickets: they might stay unread, and a socket closed with unread data resets
// the connection, which discards what it has sent.
var tlsConfigs = sync.OnceValues(func() (client, server *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{host},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{RootCAs: roots, ServerName: host},
		&tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true}
})
