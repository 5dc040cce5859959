// Package peer puts WebSocket libraries behind one small interface, so that
// each of them serves the same traffic. Every library is used as its own
// documentation advises for speed: buffers are reused if it offers that, the
// payload is lent rather than copied if possible, and one message is one write
// unless the library itself combines them.
//
// The floor is not a library: it is a TCP server that answers with the bytes
// it read, one write for each read, and never looks at a frame.
package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
)

// Message types, with the values of RFC 6455, Section 5.2.
const (
	Text   byte = 1
	Binary byte = 2
)

// ErrNoClient is returned by Dial of a peer that has only a server.
var ErrNoClient = errors.New("peer: no client")

// A Conn is one connection of a library.
type Conn interface {
	// Write sends one message. It may change data while it works.
	Write(t byte, data []byte) error
}

// A Behaviour says what a program does with its connections. Both functions may
// be nil. The calls for one connection come one after another.
type Behaviour struct {
	// Opened is called once, before the first message.
	Opened func(c Conn)
	// Message is called with each message. The data is lent: it is valid,
	// and may be changed, until the call returns. An error ends the
	// connection.
	Message func(c Conn, t byte, data []byte) error
}

// opened calls b.Opened if there is one.
func (b Behaviour) opened(c Conn) {
	if b.Opened != nil {
		b.Opened(c)
	}
}

// Echo is the behavior of an echo server or client.
var Echo = Behaviour{
	Message: func(c Conn, t byte, data []byte) error { return c.Write(t, data) },
}

// Options are the settings of a library.
type Options struct {
	// Lean selects the settings that the library's documentation recommends
	// for many connections that are mostly idle, if it does.
	Lean bool
	// Compress negotiates permessage-deflate without context takeover, at
	// the lowest level.
	Compress bool
	// Takeover keeps the context of both directions. Only the library of
	// this repository looks at it.
	Takeover bool
	// NoKeepalive switches the Pings off that a library sends by itself.
	NoKeepalive bool
	// TLS is the configuration of a client. Nil: no TLS.
	TLS *tls.Config
}

// A Group sends the same message to many connections. It is safe for
// concurrent use.
type Group interface {
	// Add puts a connection of the same library into the group.
	Add(c Conn)
	// Send sends the message to every connection, in the way that the library
	// recommends. When it returns, the bytes may not have been sent yet.
	Send(t byte, data []byte) error
}

// A Peer is one library.
type Peer interface {
	// Name returns the part of the import path that distinguishes the library.
	Name() string
	// Handler serves WebSockets through net/http. It frees net/http's
	// goroutine if the library allows it.
	Handler(o Options, b Behaviour) http.Handler
	// ConnServer returns a function that performs the opening handshake on a
	// connection without net/http's server, serves it until it ends, and
	// closes it. The function may return as soon as something else does the
	// rest, such as a poller. ConnServer returns nil if the library cannot.
	ConnServer(o Options, b Behaviour) func(nc net.Conn) error
	// Dial opens a connection to addr, a host and a port, and serves it until it ends.
	Dial(addr string, o Options, b Behaviour) error
	// NewGroup returns an empty group.
	NewGroup() Group
}

// readLimit is the longest message that the libraries are asked to accept.
const readLimit = 64 << 20

// Floor is the peer to which all others are compared.
var Floor Peer = floor{}

// peers holds the libraries in the order of the tables.
var peers = []Peer{gorilla{}, coder{}, gobwas{}, gws{}, nbio{}, Floor}

// All returns every peer of this process: the libraries, ours last, and the
// floor.
func All() []Peer { return append([]Peer(nil), peers...) }

// WithExternal returns every peer, also those that are programs of their own, if
// they are there.
func WithExternal() []Peer {
	all := All()
	for _, external := range []func() (External, bool){UWebSockets, Node} {
		if p, ok := external(); ok {
			floorAt := len(all) - 1
			all = append(all[:floorAt], p, Floor)
		}
	}
	return all
}

// Named returns the peer with the name.
func Named(name string) (Peer, error) {
	for _, p := range WithExternal() {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("peer: no library is named %q", name)
}

// modules holds the module path of each peer but the floor.
var modules = map[string]string{
	gorilla{}.Name(): "github.com/gorilla/websocket",
	coder{}.Name():   "github.com/coder/websocket",
	gobwas{}.Name():  "github.com/gobwas/ws",
	gws{}.Name():     "github.com/lxzan/gws",
	nbio{}.Name():    "github.com/lesismal/nbio",
}

// Module returns the module path and version of p as they are built into this
// program.
func Module(p Peer) string {
	if e, ok := p.(External); ok {
		return e.source
	}
	path, ok := modules[p.Name()]
	if !ok {
		return "net"
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return path
	}
	for _, m := range build.Deps {
		if m.Path == path {
			return path + " " + m.Version
		}
	}
	return path
}

// url returns the URL of a WebSocket server at addr.
func (o Options) url(addr string) string {
	if o.TLS != nil {
		return "wss://" + addr + "/"
	}
	return "ws://" + addr + "/"
}

// readAll reads r to its end into buf, which grows as needed, and returns the
// bytes.
func readAll(r interface{ Read([]byte) (int, error) }, buf []byte, eof error) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == nil:
		case errors.Is(err, eof):
			return buf, nil
		default:
			return buf, err
		}
	}
}
