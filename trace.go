package websocket

import (
	"net/http"
	"time"
)

// A Trace has hooks that a connection calls when something happens, like those
// of net/http/httptrace. A nil hook costs one test. Hooks run on the goroutine
// that caused the event and hold it up, so they must be quick.
//
// Each is told which connection it is about. FrameIn, FrameOut, Flush and Pong
// are called in the middle of a read or write: of the Conn's methods they may
// call those that only tell something about it, LocalAddr, RemoteAddr, NetConn,
// Subprotocol and CompressionAgreed. The others may call all that do not wait.
type Trace struct {
	// Handshake is called once for each opening handshake, with its outcome. c
	// is nil if that is an error.
	Handshake func(c *Conn, h HandshakeTrace)
	// FrameIn is called for each frame whose header was received and found
	// valid.
	FrameIn func(c *Conn, f FrameTrace)
	// FrameOut is called for each frame handed to the writer, also for one that
	// is withdrawn before it leaves.
	FrameOut func(c *Conn, f FrameTrace)
	// Flush is called after each write to the network.
	Flush func(c *Conn, f FlushTrace)
	// Pong is called when a Ping of Conn.Ping or of Config.PingInterval is
	// answered.
	Pong func(c *Conn, rtt time.Duration)
	// Dropped is called when Send, SendPrepared or Group.Send has dropped
	// messages because the queue was full, with their number and their payload
	// bytes.
	Dropped func(c *Conn, messages, bytes int)
	// Closed is called once, when the connection has its terminal error. What
	// [Conn.Stats] returns then no longer changes but for the few bytes of a
	// connection that lingers, so it can be added to the sum of connections
	// that have ended.
	Closed func(c *Conn, end *CloseError)
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
