package websocket

import fullduplex "github.com/fullduplex-go/websocket"

// options returns fullduplex's options for o. The browser sends the handshake:
// HTTPClient, HTTPHeader, Host and compression are ignored.
func (o *DialOptions) options() *fullduplex.DialOptions {
	s := o.settings()
	return &fullduplex.DialOptions{Config: fullduplex.Config{
		Subprotocols:   s.subprotocols,
		MaxMessageSize: defaultReadLimit,
		CloseTimeout:   closeTimeout,
	}}
}
