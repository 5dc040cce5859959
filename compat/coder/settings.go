package websocket

import (
	"context"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// closeTimeout bounds the closing handshake.
const closeTimeout = 5 * time.Second

// settings are the options that both roles have.
type settings struct {
	subprotocols []string
	compression  *fullduplex.Compression
	onPing       func(ctx context.Context, payload []byte) bool
	onPong       func(ctx context.Context, payload []byte)
}

// config returns fullduplex's options for s. There is no keepalive, and only
// contexts bound a write.
func (s settings) config() fullduplex.Config {
	return fullduplex.Config{
		Subprotocols:   s.subprotocols,
		Compression:    s.compression,
		MaxMessageSize: defaultReadLimit,
		PingInterval:   -1,
		WriteTimeout:   -1,
		CloseTimeout:   closeTimeout,
		OnPing:         s.pingHook(),
		OnPong:         s.pongHook(),
	}
}

// pingHook returns fullduplex's hook for onPing, or nil.
func (s settings) pingHook() func(*fullduplex.Conn, []byte) bool {
	if s.onPing == nil {
		return nil
	}
	return func(c *fullduplex.Conn, payload []byte) bool { return s.onPing(c.Context(), payload) }
}

// pongHook returns fullduplex's hook for onPong, or nil.
func (s settings) pongHook() func(*fullduplex.Conn, []byte) {
	if s.onPong == nil {
		return nil
	}
	return func(c *fullduplex.Conn, payload []byte) { s.onPong(c.Context(), payload) }
}
