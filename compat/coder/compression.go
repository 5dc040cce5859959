package websocket

import fullduplex "github.com/fullduplex-go/websocket"

// A CompressionMode says whether and how messages are compressed
// (permessage-deflate, RFC 7692), if the peer agrees.
type CompressionMode int

const (
	// CompressionDisabled neither offers nor accepts compression. It is the
	// default.
	CompressionDisabled CompressionMode = iota

	// CompressionContextTakeover compresses messages of 128 bytes and more, and
	// remembers 32 KiB of those before. With a peer that does not want that it is
	// CompressionNoContextTakeover.
	CompressionContextTakeover

	// CompressionNoContextTakeover compresses messages of 512 bytes and more,
	// each by itself. It keeps no memory between messages, and compresses less.
	CompressionNoContextTakeover
)

// Thresholds in bytes, if the application sets none.
const (
	thresholdWithContext    = 128
	thresholdWithoutContext = 512
)

// The options of the modes with their own thresholds. Connections share them,
// and so what fullduplex derives from them.
var (
	withContext    = CompressionContextTakeover.withThreshold(thresholdWithContext)
	withoutContext = CompressionNoContextTakeover.withThreshold(thresholdWithoutContext)
)

// compression returns fullduplex's options for the mode and threshold of this
// package's. They must not be changed.
func (m CompressionMode) compression(threshold int) *fullduplex.Compression {
	switch {
	case m == CompressionContextTakeover && threshold == 0:
		return withContext
	case m == CompressionNoContextTakeover && threshold == 0:
		return withoutContext
	case m == CompressionContextTakeover, m == CompressionNoContextTakeover:
		return m.withThreshold(threshold)
	}
	return nil
}

// windowBits is the binary logarithm of the window of 32 KiB.
const windowBits = 15

// withThreshold returns new options for a mode that compresses.
func (m CompressionMode) withThreshold(threshold int) *fullduplex.Compression {
	forgets := m == CompressionNoContextTakeover
	return &fullduplex.Compression{
		Threshold:             threshold,
		WindowBits:            windowBits,
		NoContextTakeover:     forgets,
		PeerNoContextTakeover: forgets,
	}
}
