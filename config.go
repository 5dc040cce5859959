package websocket

import (
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"
	"unsafe"
)

// A MessageType tells text from binary messages. Its values are the opcodes of
// RFC 6455, Section 5.2.
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

// Config holds the options that both roles have. The zero value is safe for the
// open Internet.
//
// A value that makes no sense is an error when it is first used: Dial, DialConn
// and Redial return it before they dial, and a server answers 500. Of
// durations, zero is the default, and a negative one means never, or is an
// error where that is said. One of more than 146 years, such as the largest,
// does not pass. PingInterval, PongTimeout and IdleTimeout are observed for all
// connections together: they last up to a thirtieth longer, or a few
// milliseconds if that is more.
type Config struct {
	// Subprotocols are those the server supports, in its order of
	// preference, or those the client offers, in its own order
	// (RFC 6455, Section 1.9). They are tokens, and none is listed twice.
	Subprotocols []string

	// Compression switches permessage-deflate on (RFC 7692). Nil: it is
	// neither offered nor accepted.
	Compression *Compression

	// MaxMessageSize is the longest message accepted, in bytes after
	// inflation. 0: 1 MiB; negative: no limit. A longer one ends the
	// connection with 1009 and [ErrMessageTooBig]. [Conn.SetMaxMessageSize]
	// changes it later.
	MaxMessageSize int64

	// MaxFragments is the number of frames accepted for one message. 0: 1024
	// and one more for every 16 bytes received; negative: no limit.
	MaxFragments int

	// MaxQueuedBytes bounds the payload bytes that [Conn.Send] keeps waiting.
	// 0: 1 MiB; negative: an error.
	MaxQueuedBytes int

	// SlowConsumer is what [Conn.Send] does when the queue is full.
	SlowConsumer SlowPolicy

	// PingInterval is how long the peer may be silent before it is sent a
	// Ping; each connection takes up to an eighth off that, so that many which
	// began together do not send their Pings together. 0: 30 s; negative: it
	// is never sent one.
	PingInterval time.Duration

	// PongTimeout is how long after such a Ping the peer may stay silent
	// before the connection ends with [ErrPongTimeout]. 0: 20 s; negative:
	// it never ends for that, and Pings only keep the path open.
	PongTimeout time.Duration

	// WriteTimeout is for how long the peer may take nothing of what is
	// written before it loses the connection, also when it is alive but does
	// not read: set it longer to wait for a slow application. 0: 30 s;
	// negative: for ever.
	WriteTimeout time.Duration

	// IdleTimeout ends a connection, with 1008, from which nothing of a data
	// message was read for so long. 0 and negative: never.
	IdleTimeout time.Duration

	// HandshakeTimeout bounds the opening handshake. 0: 10 s; negative: the
	// context alone bounds it.
	HandshakeTimeout time.Duration

	// CloseTimeout bounds the whole closing handshake. 0: 5 s; negative: an
	// error, because Close must end. [Conn.CloseNow] does not wait at all.
	CloseTimeout time.Duration

	// HoldReplies is the longest that replies wait for more input, so that
	// answers to pipelined messages leave together. 0: 100 µs; negative:
	// never hold.
	HoldReplies time.Duration

	// ReadBufferSize is the size in bytes of the buffer taken from a pool
	// while bytes arrive, 256 to 1 MiB. 0: 4096. Busy connections take larger
	// ones.
	ReadBufferSize int

	// SkipUTF8Check accepts text that is not UTF-8, in both directions.
	SkipUTF8Check bool

	// OnPing is called with the payload of each Ping of the peer, and reports
	// whether the connection answers it, as it does if OnPing is nil. To answer
	// it otherwise, call [Conn.SendPong].
	//
	// OnPing, OnPong and OnClose are called by whoever reads: a call of the
	// application or, with nobody reading, the connection. Nothing is read before
	// they return. So they may write, and set deadlines, but must not read, call
	// [Conn.Ping] or wait for [Conn.Close]; [Conn.SendPing], [Conn.SendPong] and
	// [Conn.SendClose] do not wait. A payload is lent until they return. A panic
	// is that of the call that reads; where the connection reads, it is logged
	// and ends it with 1011, as one in a function given to [Handler].
	OnPing func(c *Conn, payload []byte) (answer bool)

	// OnPong is called with the payload of each Pong, including those that
	// answer [Conn.Ping] and the Pings of PingInterval.
	OnPong func(c *Conn, payload []byte)

	// OnClose is called with the peer's Close frame if that came before ours, and
	// is not answered yet: messages can still be sent, a last one for example. It
	// returns what our Close frame says: with code 0 it echoes the peer's code
	// and reason, as it does if OnClose is nil, with [CloseNoStatus] it has none.
	// The terminal error is the peer's, end, in any case.
	OnClose func(c *Conn, end *CloseError) (code CloseCode, reason string)

	// Trace has hooks called when something happens. Nil: none.
	Trace *Trace

	// Logger logs failed connections and panics, and never what messages
	// contain. Nil: nothing is logged.
	Logger *slog.Logger
}

// Compression sets the permessage-deflate extension (RFC 7692). A value out of
// its range is an error, as in [Config].
//
// What it asks of the peer is a wish. A client offers the extension with what
// is asked and once more without (RFC 7692, Section 5.1), and takes what the
// server grants; a server asks only for what the client's offer allows. With
// RequirePeer it is a demand.
type Compression struct {
	// Level is the compressor's effort, 1 to 9. 0: 1.
	Level int
	// Threshold is the size in bytes below which a message goes out
	// uncompressed. 0: 128; negative: every message is tried.
	Threshold int
	// WindowBits is the size of our compressor's window, as a power of two
	// from 9 to 15. 0: 12 with context takeover, 15 without.
	WindowBits int
	// NoContextTakeover makes our compressor forget after each message, so
	// that a connection keeps no compressor between messages.
	NoContextTakeover bool
	// PeerWindowBits asks the peer to keep its window to this power of two, 9
	// to 15. 0: the peer's choice.
	PeerWindowBits int
	// PeerNoContextTakeover asks the peer to forget after each message. Without
	// it a connection keeps up to 32 KiB of what the peer sent, which a message
	// of 50 bytes can fill, and some state: 10,000 connections then hold about
	// half a gigabyte.
	PeerNoContextTakeover bool
	// RequirePeer demands PeerWindowBits and PeerNoContextTakeover. A client
	// fails a handshake in which the server accepts compression without
	// them; a server does not accept it from a client that cannot be asked.
	// A peer that does not compress at all is let in.
	RequirePeer bool
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

// lastConfig is what withDefaults made last.
var lastConfig atomic.Pointer[Config]

// withDefaults returns c with zero values replaced by their defaults, except
// MaxFragments, which frameRules interprets, and the fields of Compression.
// Never is 0 for PingInterval, WriteTimeout, IdleTimeout and HoldReplies, which
// are switched off, and forever for the other durations, which then bound
// nothing. No limit is math.MaxInt64 for MaxMessageSize, and a negative
// MaxFragments. Numbers that check refuses are replaced by some that work.
//
// The result must not be changed: calls with the same Config, such as those of
// Accept for each request, share it.
func (c *Config) withDefaults() *Config {
	s := c.fillDefaults()
	if last := lastConfig.Load(); last != nil && s.equals(last) {
		return last
	}
	shared := new(Config)
	*shared = s
	lastConfig.Store(shared)
	return shared
}

// sameFunc reports whether two functions are one, or both nil: the same closure,
// not only the same code.
func sameFunc[F any](f, g F) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&f)) == *(*unsafe.Pointer)(unsafe.Pointer(&g))
}

// equals reports whether all fields are the same. Of slices it compares the
// memory and not the content, which their owners may be about to change.
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
		sameFunc(c.OnPing, o.OnPing) &&
		sameFunc(c.OnPong, o.OnPong) &&
		sameFunc(c.OnClose, o.OnClose) &&
		c.Trace == o.Trace &&
		c.Logger == o.Logger
}

// fillDefaults returns what withDefaults does, in memory of its own.
func (c *Config) fillDefaults() Config {
	s := *c
	s.MaxMessageSize = messageLimit(s.MaxMessageSize)
	s.MaxQueuedBytes = orDefault(s.MaxQueuedBytes, 1<<20, 1<<20)
	s.PingInterval = orOff(s.PingInterval, 30*time.Second)
	s.PongTimeout = orNever(s.PongTimeout, 20*time.Second)
	s.WriteTimeout = orOff(s.WriteTimeout, 30*time.Second)
	s.IdleTimeout = orOff(s.IdleTimeout, 0)
	s.HandshakeTimeout = orNever(s.HandshakeTimeout, 10*time.Second)
	s.CloseTimeout = orNever(max(s.CloseTimeout, 0), 5*time.Second)
	s.HoldReplies = orNever(orDefault(s.HoldReplies, 100*time.Microsecond, 0), 0)
	s.ReadBufferSize = min(max(orDefault(s.ReadBufferSize, 4096, 4096), minReadBuffer), maxReadBuffer)
	return s
}

// messageLimit returns the limit in bytes that a value of MaxMessageSize means.
func messageLimit(n int64) int64 { return orDefault(n, 1<<20, math.MaxInt64) }

const (
	// forever is the duration that does not pass.
	forever time.Duration = math.MaxInt64
	// longest is the longest that may pass: 146 years. Sums of longer ones
	// and a time would not fit their types.
	longest time.Duration = 1 << 62
)

// orOff returns d, or zero's replacement, or 0 for never.
func orOff(d, zero time.Duration) time.Duration {
	if d = orDefault(d, zero, 0); d > longest {
		return 0
	}
	return d
}

// orNever returns d, or zero's replacement, or forever.
func orNever(d, zero time.Duration) time.Duration {
	if d = orDefault(d, zero, forever); d > longest {
		return forever
	}
	return d
}

// Bounds on Config.ReadBufferSize.
const (
	minReadBuffer = 256
	maxReadBuffer = 1 << 20
)

// check returns an error for the first value of c that makes no sense.
// Subprotocols are left to checkSubprotocols.
func (c *Config) check() error {
	switch {
	case c.MaxQueuedBytes < 0:
		return fmt.Errorf("MaxQueuedBytes is %d: it is 0 for the default, or positive", c.MaxQueuedBytes)
	case c.SlowConsumer > CloseSlow:
		return fmt.Errorf("SlowConsumer is %d: it is Block, DropNewest, DropOldest or CloseSlow", c.SlowConsumer)
	case c.CloseTimeout < 0:
		return fmt.Errorf("CloseTimeout is %v: Close must end, so it is 0 for the default, or positive", c.CloseTimeout)
	case c.ReadBufferSize != 0 && (c.ReadBufferSize < minReadBuffer || c.ReadBufferSize > maxReadBuffer):
		return fmt.Errorf("ReadBufferSize is %d: it is 0 for the default, or %d to %d", c.ReadBufferSize, minReadBuffer, maxReadBuffer)
	}
	return c.Compression.check()
}

// check returns an error for the first value of c, which may be nil, that makes
// no sense.
func (c *Compression) check() error {
	switch {
	case c == nil:
		return nil
	case c.Level < 0 || c.Level > 9:
		return fmt.Errorf("Compression.Level is %d: it is 0 for the default, or 1 to 9", c.Level)
	case !isWindow(c.WindowBits):
		return fmt.Errorf("Compression.WindowBits is %d: it is 0 for the default, or 9 to 15", c.WindowBits)
	case !isWindow(c.PeerWindowBits):
		return fmt.Errorf("Compression.PeerWindowBits is %d: it is 0 for the peer's choice, or 9 to 15", c.PeerWindowBits)
	default:
		return nil
	}
}

// isWindow reports whether an application may set bits as the size of a window.
// The protocol also has windows of 8 bits, with which zlib cannot compress.
func isWindow(bits int) bool { return bits == 0 || bits >= 9 && bits <= 15 }

// orDefault returns v, or the replacement for zero, or that for a negative
// value.
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
