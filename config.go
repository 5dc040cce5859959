package websocket

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// A MessageType tells text from binary messages. Its values are the opcodes
// of RFC 6455, Section 5.2.
type MessageType uint8

// The two kinds of message. Text is valid UTF-8 in both directions.
const (
	Text   MessageType = 1
	Binary MessageType = 2
)

// String returns "text" or "binary".
func (t MessageType) String() string {
	switch t {
	case Text:
		return "text"
	case Binary:
		return "binary"
	default:
		return "invalid"
	}
}

// Config holds what both roles can set. The zero value is safe for the open
// Internet.
type Config struct {
	// Subprotocols are those the server supports, in its order of
	// preference, or those the client offers, in its own order
	// (RFC 6455, Section 1.9).
	Subprotocols []string

	// Compression switches permessage-deflate on (RFC 7692). Nil: it is
	// neither offered nor accepted.
	Compression *Compression

	// MaxMessageSize is the longest message accepted, in bytes after
	// inflation. 0: 1 MiB; negative: no limit. A longer one ends the
	// connection with 1009 and [ErrMessageTooBig].
	MaxMessageSize int64

	// MaxFragments is the number of frames accepted for one message. 0: 1024
	// and one more for every 16 bytes received; negative: no limit.
	MaxFragments int

	// MaxQueuedBytes bounds the payload bytes that [Conn.Send] keeps waiting. 0: 1 MiB.
	MaxQueuedBytes int

	// SlowConsumer is what [Conn.Send] does when the queue is full.
	SlowConsumer SlowPolicy

	// PingInterval is how long the peer may be silent before it is sent a
	// Ping. 0: 30 s; negative: never.
	PingInterval time.Duration

	// PongTimeout is how long after such a Ping the peer may stay silent
	// before the connection ends with [ErrPongTimeout]. 0: 20 s.
	PongTimeout time.Duration

	// WriteTimeout bounds one flush to the network. 0: 30 s. A peer that
	// takes nothing for so long loses the connection.
	WriteTimeout time.Duration

	// IdleTimeout ends a connection on which no data message arrived for so
	// long. 0: off.
	IdleTimeout time.Duration

	// HandshakeTimeout bounds the opening handshake. 0: 10 s.
	HandshakeTimeout time.Duration

	// CloseTimeout bounds the whole closing handshake. 0: 5 s.
	CloseTimeout time.Duration

	// HoldReplies is the longest that replies wait for more input, so that
	// answers to pipelined messages leave together. 0: 100 µs; negative:
	// never hold.
	HoldReplies time.Duration

	// ReadBufferSize is the size in bytes of the buffer borrowed from a pool
	// while bytes arrive. 0: 4096. Busy connections borrow larger ones.
	ReadBufferSize int

	// SkipUTF8Check accepts text that is not UTF-8, in both directions.
	SkipUTF8Check bool

	// Trace has hooks called as things happen. Nil costs nothing.
	Trace *Trace

	// Logger is told of failed connections and panics. It never sees
	// payload. Nil: silent.
	Logger *slog.Logger
}

// Compression sets the permessage-deflate extension (RFC 7692).
type Compression struct {
	// Level is the compressor's effort, 1 to 9. 0: 1.
	Level int
	// Threshold is the size in bytes below which a message goes out
	// uncompressed. 0: 128; negative: every message is tried.
	Threshold int
	// WindowBits is the size of our compressor's window, as a power of two from
	// 9 to 15. 0: 12 with context takeover, 15 without.
	WindowBits int
	// NoContextTakeover makes our compressor forget after each message, so that a
	// connection holds no compressor between messages.
	NoContextTakeover bool
	// PeerWindowBits asks the peer to keep its window to this power of two, 9 to
	// 15. 0: the peer's choice.
	PeerWindowBits int
	// PeerNoContextTakeover asks the peer to forget after each message.
	PeerNoContextTakeover bool
}

// A SlowPolicy says what [Conn.Send] does when the queue is full.
type SlowPolicy uint8

const (
	// Block waits for room.
	Block SlowPolicy = iota
	// DropNewest returns [ErrQueueFull] and leaves the queue as it is.
	DropNewest
	// DropOldest makes room by dropping the messages that wait longest.
	DropOldest
	// CloseSlow ends the connection with 1008 and [ErrSlowConsumer].
	CloseSlow
)

// String returns the policy's name.
func (p SlowPolicy) String() string {
	switch p {
	case Block:
		return "block"
	case DropNewest:
		return "drop newest"
	case DropOldest:
		return "drop oldest"
	case CloseSlow:
		return "close slow"
	default:
		return "invalid"
	}
}

// lastSettled is what settled returned last.
var lastSettled atomic.Pointer[Config]

// settled returns c with every zero value replaced by its default. Off is 0
// for durations and MaxInt64 or MaxInt for limits. The result must not be
// changed: callers that settle the same Config again and again, as those of
// Accept do for each request, share it.
func (c *Config) settled() *Config {
	s := c.filledIn()
	if last := lastSettled.Load(); last != nil && s.equals(last) {
		return last
	}
	shared := new(Config)
	*shared = s
	lastSettled.Store(shared)
	return shared
}

// equals reports whether all fields are the same. It does not look into the
// slices: their owners may be about to change them.
func (c *Config) equals(o *Config) bool {
	return len(c.Subprotocols) == len(o.Subprotocols) &&
		(len(c.Subprotocols) == 0 || &c.Subprotocols[0] == &o.Subprotocols[0]) &&
		c.Compression == o.Compression &&
		c.MaxMessageSize == o.MaxMessageSize &&
		c.MaxFragments == o.MaxFragments &&
		c.MaxQueuedBytes == o.MaxQueuedBytes &&
		c.SlowConsumer == o.SlowConsumer &&
		c.PingInterval == o.PingInterval &&
		c.PongTimeout == o.PongTimeout &&
		c.WriteTimeout == o.WriteTimeout &&
		c.IdleTimeout == o.IdleTimeout &&
		c.HandshakeTimeout == o.HandshakeTimeout &&
		c.CloseTimeout == o.CloseTimeout &&
		c.HoldReplies == o.HoldReplies &&
		c.ReadBufferSize == o.ReadBufferSize &&
		c.SkipUTF8Check == o.SkipUTF8Check &&
		c.Trace == o.Trace &&
		c.Logger == o.Logger
}

// filledIn returns c with every zero value replaced.
func (c *Config) filledIn() Config {
	s := *c
	s.MaxMessageSize = orDefault(s.MaxMessageSize, 1<<20, 1<<63-1)
	s.MaxQueuedBytes = orDefault(s.MaxQueuedBytes, 1<<20, 1<<20)
	s.PingInterval = orDefault(s.PingInterval, 30*time.Second, 0)
	s.PongTimeout = orDefault(s.PongTimeout, 20*time.Second, 20*time.Second)
	s.WriteTimeout = orDefault(s.WriteTimeout, 30*time.Second, 30*time.Second)
	s.IdleTimeout = max(s.IdleTimeout, 0)
	s.HandshakeTimeout = orDefault(s.HandshakeTimeout, 10*time.Second, 10*time.Second)
	s.CloseTimeout = orDefault(s.CloseTimeout, 5*time.Second, 5*time.Second)
	s.HoldReplies = orDefault(s.HoldReplies, 100*time.Microsecond, 0)
	s.ReadBufferSize = min(max(orDefault(s.ReadBufferSize, 4096, 4096), 256), 1<<20)
	return s
}

// orDefault returns v, or zero's replacement, or that of a negative value.
func orDefault[T ~int | ~int64](v, zero, negative T) T {
	switch {
	case v == 0:
		return zero
	case v < 0:
		return negative
	default:
		return v
	}
}
