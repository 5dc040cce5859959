package websocket

import (
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
)

// closeTimeout bounds the closing handshake, of which the original leaves the
// end to the application.
const closeTimeout = 30 * time.Second

// settings are the fields that Dialer and Upgrader share.
type settings struct {
	handshakeTimeout time.Duration
	readBufferSize   int
	subprotocols     []string
	compress         bool
}

// config returns the configuration of a connection with these settings: no
// limits and no keepalive but those that the application asks for.
func (s settings) config() fullduplex.Config {
	cfg := fullduplex.Config{
		Subprotocols:     s.subprotocols,
		MaxMessageSize:   -1,
		PingInterval:     -1,
		PongTimeout:      -1,
		WriteTimeout:     -1,
		HandshakeTimeout: orNever(s.handshakeTimeout),
		CloseTimeout:     closeTimeout,
		ReadBufferSize:   readBufferSize(s.readBufferSize),
		SkipUTF8Check:    true,
	}
	if s.compress {
		cfg.Compression = &fullduplex.Compression{NoContextTakeover: true, PeerNoContextTakeover: true}
	}
	return cfg
}

// orNever returns d, or the value of a Config for no limit.
func orNever(d time.Duration) time.Duration {
	if d <= 0 {
		return -1
	}
	return d
}

// Bounds of Config.ReadBufferSize.
const (
	minReadBuffer = 256
	maxReadBuffer = 1 << 20
)

// readBufferSize returns the value of Config.ReadBufferSize for a size in
// bytes, of which those below 1 mean the default.
func readBufferSize(n int) int {
	if n <= 0 {
		return 0
	}
	return min(max(n, minReadBuffer), maxReadBuffer)
}

// A BufferPool is a pool of buffers for writing, such as a *sync.Pool. None is
// needed: connections take buffers only while they write, from a pool of their
// own.
type BufferPool interface {
	Get() any
	Put(any)
}
