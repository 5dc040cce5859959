package websocket

import (
	"net/http"
	"time"
)

// A Trace has hooks that a connection calls when something happens, like those
// of net/http/httptrace. A nil hook costs one test. Hooks run on the goroutine
// that caused the event and hold it up: they must be quick and must not call
// the Conn's methods.
type Trace struct {
	// Handshake is called once for each opening handshake, with its outcome.
	Handshake func(HandshakeTrace)
	// FrameIn is called for each frame whose header was received and found
	// valid.
	FrameIn func(FrameTrace)
	// FrameOut is called for each frame handed to the writer, also for one that
	// is withdrawn before it leaves.
	FrameOut func(FrameTrace)
	// Flush is called after each write to the network.
	Flush func(FlushTrace)
	// Pong is called when a Ping of ours is answered.
	Pong func(rtt time.Duration)
	// Closed is called once, when the connection has its terminal error.
	Closed func(*CloseError)
}

// HandshakeTrace describes an opening handshake.
type HandshakeTrace struct {
	Request     *http.Request // the request received or sent
	Status      int           // the status sent or received, 0 if there was none
	Subprotocol string        // the one agreed on
	Compression bool          // permessage-deflate was agreed on
	Duration    time.Duration
	Err         error // nil if the connection is open
}

// FrameTrace describes one frame. Payloads are not shown.
type FrameTrace struct {
	Opcode     byte  // RFC 6455, Section 5.2
	FIN        bool  // the last frame of its message
	Compressed bool  // RSV1 of RFC 7692
	Length     int64 // of the payload on the wire, in bytes
}

// FlushTrace describes one write to the network.
type FlushTrace struct {
	Bytes    int // written, frame headers included
	Duration time.Duration
	Err      error
}
