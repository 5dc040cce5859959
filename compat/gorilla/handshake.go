package websocket

import (
	"net/http"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A HandshakeError says what was wrong with a client's opening handshake.
type HandshakeError struct {
	message string
}

// Error returns what was wrong.
func (e HandshakeError) Error() string { return e.message }

// IsWebSocketUpgrade reports whether r asks for a WebSocket.
func IsWebSocketUpgrade(r *http.Request) bool { return fullduplex.IsUpgrade(r) }

// Subprotocols returns the subprotocols that r asks for, in the order of its
// preference, or nil if there are none or the field is malformed.
func Subprotocols(r *http.Request) []string { return fullduplex.Subprotocols(r) }

// Fields of the handshake, as http.Header has them.
const (
	protocolField   = "Sec-Websocket-Protocol"
	extensionsField = "Sec-Websocket-Extensions"
	versionField    = "Sec-Websocket-Version"
)
