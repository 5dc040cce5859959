// Package h2 makes the HTTP/2 servers of net/http in a program offer WebSockets
// over HTTP/2 (RFC 8441). It is imported for that effect alone:
//
//	import _ "github.com/fullduplex-go/websocket/h2"
//
// Browsers that have an HTTP/2 connection to a server which offers that open their
// WebSockets on it: a stream each, and neither TCP nor TLS handshakes. The
// functions of package websocket take both protocols, and nothing in a handler has
// to change, with two exceptions:
//
//   - The request has the method CONNECT. A pattern of [net/http.ServeMux] such as
//     "GET /ws" answers it with 405: write "/ws".
//   - A handler that calls websocket.Accept must stay until the connection has
//     ended, because its stream ends with it. Handlers made by websocket.Handler
//     and ReceiverHandler do.
//
// # A warning
//
// The effect is on all servers of the process, and a browser to which extended
// CONNECT was offered does not fall back: handlers of other WebSocket libraries,
// and reverse proxies of net/http/httputil, which know only HTTP/1.1, will refuse
// it. Import the package in programs in which all handlers of WebSockets are of
// package websocket.
//
// net/http asks the environment for it: GODEBUG=http2xconnect=1. This package sets
// that before net/http is initialized, and takes it back afterwards, so that
// programs which this one starts do not inherit it. An operator who sets
// http2xconnect=0 in GODEBUG turns it off.
//
// # What a stream takes
//
// An idle WebSocket takes 14 KiB as a stream of HTTP/2 with a Receiver, and up to
// 19 otherwise, of which net/http takes 12, but no TCP connection and no TLS. All
// streams of a connection share what [net/http.HTTP2Config] sets:
// MaxConcurrentStreams (250 by default) counts WebSockets and ordinary requests
// together, and MaxReceiveBufferPerConnection is shared by all that a client
// sends. So one stream that nobody reads could stop the uploads of all others: make
// MaxReceiveBufferPerStream a fraction of MaxReceiveBufferPerConnection.
// docs/http2.md has more.
package h2

import (
	_ "net/http" // is initialized before Restore

	"github.com/fullduplex-go/websocket/h2/internal/extendedconnect"
)

func init() { extendedconnect.Restore() }
