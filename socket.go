package websocket

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/fullduplex-go/websocket/internal/http2stream"
	"github.com/fullduplex-go/websocket/internal/proxy"
)

// A socket is a net.Conn with what can be done with it beyond its methods.
type socket struct {
	net.Conn
	own *ownIO // nil if Conn is a descriptor
}

// An ownIO is what it takes to read and write a net.Conn.
type ownIO struct {
	raw        syscall.RawConn       // to read and write without waiting, or nil
	onReadable func(fd uintptr) bool // with which a read of raw waits; set by the Conn
	waitBuf    [waitBufferSize]byte  // with which any other read waits
	hosted     atomic.Bool           // a stream of HTTP/2 whose handler returns once a call has closed the Conn
}

// waitBufferSize is how many bytes a net.Conn is asked for by a read that has
// no buffer yet.
const waitBufferSize = 16

// newSocket returns the socket of nc.
func newSocket(nc net.Conn) *socket {
	return &socket{Conn: nc, own: &ownIO{raw: rawConn(nc)}}
}

// isRaw reports whether s can be read and written without waiting.
func (s *socket) isRaw() bool { return s.own == nil || s.own.raw != nil }

// joinsWrites reports whether two slices can be written to s with one call.
func (s *socket) joinsWrites() bool { return s.own != nil }

// rawConn returns what s is read and written with, without waiting. It must be
// raw.
func (s *socket) rawConn() syscall.RawConn {
	if s.own == nil {
		return (*rawDescriptor)(s.Conn.(*descriptor))
	}
	return s.own.raw
}

// A handshaker is a net.Conn that does TLS: that of crypto/tls, of a fork of it,
// or one that embeds such a net.Conn. Calls of HandshakeContext after the first
// do nothing.
type handshaker interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
}

// closeNow closes nc without waiting. It first closes what lies below TLS, whose
// own Close would wait to send an alert.
func closeNow(nc net.Conn) {
	for {
		switch c := nc.(type) {
		case *tls.Conn:
			nc = c.NetConn()
		case *proxy.PrefixedConn:
			nc = c.NetConn()
		case interface{ closeNow() }:
			c.closeNow()
			return
		case interface {
			handshaker
			NetConn() net.Conn
		}:
			closeNow(c.NetConn())
			c.Close()
			return
		default:
			nc.Close()
			return
		}
	}
}

// stream returns the stream of HTTP/2 that s is, or nil if it is something else.
func (s *socket) stream() *http2stream.Conn {
	stream, _ := s.Conn.(*http2stream.Conn)
	return stream
}

// isSocket reports whether nc is a TCP or Unix connection of package net, TLS
// over one, or a stream of HTTP/2 with deadlines. These obey them.
func isSocket(nc net.Conn) bool {
	switch nc := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *http2stream.Conn:
		return !nc.IsDirect()
	case *tls.Conn:
		return isSocket(nc.NetConn())
	}
	return false
}

// rawConn returns nc's descriptor for reading and writing without waiting. It
// is nil unless the system can do that and nc is itself a stream socket of
// package net: a net.Conn that wraps one to count, limit or encrypt must see
// every byte.
func rawConn(nc net.Conn) syscall.RawConn {
	if !rawIO {
		return nil
	}
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		if nc.LocalAddr().Network() != "unix" {
			return nil
		}
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// A limitedConn is a net.Conn that cannot carry every frame, nor carries frames
// as they are: that of a browser.
type limitedConn interface {
	mayPing() error                // nil if a Ping can be sent
	mayClose(code CloseCode) error // nil if a Close frame with this code can
	compresses() bool              // permessage-deflate is its own
}

// mayPing returns an error if no Ping can be sent on nc.
func mayPing(nc net.Conn) error {
	if l, ok := nc.(limitedConn); ok {
		return l.mayPing()
	}
	return nil
}

// compresses reports whether nc itself agreed on permessage-deflate with the
// peer.
func compresses(nc net.Conn) bool {
	l, ok := nc.(limitedConn)
	return ok && l.compresses()
}

// mayClose returns an error if code cannot be sent on nc.
func mayClose(nc net.Conn, code CloseCode) error {
	if l, ok := nc.(limitedConn); ok {
		return l.mayClose(code)
	}
	return nil
}
