package peer

import (
	"net"
	"net/http"
	"os"
)

// External is a server that is a program of its own, and not written in Go. It
// echoes on the port of 127.0.0.1 that is its only argument. In this process it
// can serve nothing.
type External struct {
	name    string
	source  string // where it is from
	Program string
	HTTP2   bool // it speaks only that
}

// UWebSockets returns uWebSockets, if the environment says where its echo
// server is. bench/uws has its source.
func UWebSockets() (p External, ok bool) {
	p = External{"uws", "uWebSockets, in C++, built from [uws](uws)", os.Getenv("WEBSOCKET_BENCH_UWS"), false}
	return p, p.Program != ""
}

// Node returns the HTTP/2 server of Node.js with the WebSockets of ws, if the
// environment says where its echo server is. bench/node has its source.
func Node() (p External, ok bool) {
	p = External{"node", "ws 8.18.3 on the HTTP/2 server of Node.js, from [node](node)", os.Getenv("WEBSOCKET_BENCH_NODE"), true}
	return p, p.Program != ""
}

// Name returns the name in the tables.
func (e External) Name() string { return e.name }

// Handler accepts nothing.
func (External) Handler(Options, Behaviour) http.Handler { return http.NotFoundHandler() }

// ConnServer returns nil.
func (External) ConnServer(Options, Behaviour) func(net.Conn) error { return nil }

// Dial returns ErrNoClient.
func (External) Dial(string, Options, Behaviour) error { return ErrNoClient }

// NewGroup returns nil.
func (External) NewGroup() Group { return nil }
