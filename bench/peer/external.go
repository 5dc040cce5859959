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
}

// UWebSockets returns uWebSockets, if the environment says where its echo
// server is. bench/uws has its source.
func UWebSockets() (p External, ok bool) {
	p = External{"uws", "uWebSockets, in C++, built from [uws](uws)", os.Getenv("WEBSOCKET_BENCH_UWS")}
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
