//go:build !js

package websocket

import (
	"net/http"
	"strings"

	fullduplex "github.com/fullduplex-go/websocket"
)

// options returns fullduplex's options for o. The HTTPClient and the context
// bound the handshake.
func (o *DialOptions) options() *fullduplex.DialOptions {
	d := &fullduplex.DialOptions{
		Config:     o.settings().config(),
		HTTPClient: o.HTTPClient,
		Header:     withoutReserved(o.HTTPHeader),
		Host:       o.Host,
	}
	d.HandshakeTimeout = -1
	if d.HTTPClient == nil {
		d.HTTPClient = http.DefaultClient
	}
	return d
}

// withoutReserved returns h without the fields that the handshake sets, such as
// those in a header that was copied from another request.
func withoutReserved(h http.Header) http.Header {
	rest := make(http.Header, len(h))
	for name, values := range h {
		if !isReserved(name) {
			rest[name] = values
		}
	}
	return rest
}

// isReserved reports whether only the handshake sets the field name.
func isReserved(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Connection", "Content-Length", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "Sec-Websocket-")
}
