//go:build linux

package measure

import (
	"crypto/tls"
	"net/netip"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// openLink connects to a server and performs the client's handshakes. With
// noContext it offers compression without context takeover only.
func openLink(addr netip.AddrPort, source [4]byte, config *tls.Config, noContext bool) (*link, error) {
	s, err := connect(addr, source)
	if err != nil {
		return nil, err
	}
	l, scheme := &link{socket: s, stream: s}, "http"
	if config != nil {
		l.stream = tls.Client(s, config)
		scheme = "https"
	}
	if _, err := wire.Greet(l.stream, scheme, addr.String(), noContext); err != nil {
		s.Close()
		return nil, err
	}
	s.waits = false
	return l, nil
}

// answerLink performs the server's handshake on s.
func answerLink(s *socket) (*link, error) {
	err := wire.Answer(s)
	s.waits = false
	return &link{socket: s, stream: s}, err
}
