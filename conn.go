package websocket

import (
	"context"
	"net"
	"sync/atomic"
	"time"
	"unique"
)

// A Conn is a WebSocket connection. All its methods may be called by several
// goroutines at once.
//
// # Reading
//
// One goroutine reads at a time; others wait for their turn. When a context
// ends or a deadline passes, the call returns and the connection stays open:
// what was received is kept, and the next read continues the same message. The
// goroutine that reads also answers Pings and does the closing handshake. While
// none does, the connection reads control frames by itself, up to the next data
// frame.
//
// # Writing
//
// Concurrent writers share a system call. A write whose context ends, or whose
// deadline passes, before its bytes have begun to leave is withdrawn: nothing
// is sent, and [Stats] do not count it. Once they have begun, which on a
// net.Conn other than a socket is when they were handed to its Write, they are
// sent in the background as long as the peer takes something within
// Config.WriteTimeout. Over TLS writers that wait share records, and an
// interrupted record cannot be resumed: there a write that is interrupted in
// the middle ends the connection.
//
// Messages that [Conn.Send] has queued, and replies that are held, are never
// withdrawn.
//
// A net.Conn without deadlines, such as a channel of SSH, can only be
// interrupted by closing it: there a call that is interrupted while it waits
// for the network ends the connection.
//
// While more whole messages wait to be read, small replies are held, so that
// they leave together: at the latest when the reader waits for input, or after
// Config.HoldReplies. Then a write returns before its bytes are on the network,
// and an error shows in a later call.
//
// # The end
//
// Once a connection has ended, every read and write returns the same
// [*CloseError], which is also the cause of [Conn.Context].
//
// A connection must be closed. One that is dropped instead stays open, and is
// still read for control frames, until its peer ends it or is found to be gone.
type Conn struct {
	nc          atomic.Pointer[socket] // replaced once, when c is parked
	cfg         *Config
	subprotocol unique.Handle[string] // the zero value for none

	// Locks are taken in this order: read.lock, send.lock, that of the send
	// queue, life.mu, those of deadlines and of the frameWriter. Only the first
	// two are held across I/O.

	read      readSide
	in        *readState // guarded by read.lock; nil while reading is idle
	deflate   *deflation // nil: messages are not compressed
	send      sendSide
	out       frameWriter
	life      lifetime
	delivery  atomic.Pointer[delivery]  // nil: the application reads
	keepalive keepalive                 // guarded by life.mu
	lazy      atomic.Pointer[lazyState] // nil until something of it is needed
}

// readSide is what readers share, and what outlives a readState.
type readSide struct {
	lock       fifoLock     // guards in, busy, usual and the decompressor
	waiting    atomic.Int32 // calls of the application that wait for lock
	role       role         // of this side
	busy       uint8        // readBuffer.busy, while there is no readState
	usual      uint16       // see usualSize
	background backgroundRead
	deadlines  lazyDeadlines
	counters   counters
	intake     intake
}

// sendSide is what senders of messages share.
type sendSide struct {
	lock  fifoLock                  // held to add data frames, and by an open MessageWriter; guards the compressor
	queue atomic.Pointer[sendQueue] // nil until Send needs it
}

// lazyState is what most connections never need. Conn.life.mu guards the fields
// without an atomic type, but pings has a lock of its own.
type lazyState struct {
	maxMessage  atomic.Int64 // the limit that SetMaxMessageSize has set; 0: that of the Config
	pings       pings
	pongAt      instant      // when the next unsolicited Pong is due; 0: never
	lastMessage atomic.Int64 // the instant of the last noteMessage, if there is an IdleTimeout
	timer       *time.Timer  // calls onDue in a bubble of testing/synctest
	watched     *descriptor  // of the net.Conn, once a backgroundPoll was needed; or nil
	slow        atomic.Int32 // the slowness of the backgroundPoll
}

// ensureLazy returns what most connections never need, creating it if it does
// not exist.
func (c *Conn) ensureLazy() *lazyState {
	if z := c.lazy.Load(); z != nil {
		return z
	}
	c.lazy.CompareAndSwap(nil, new(lazyState))
	return c.lazy.Load()
}

// newConn makes a connection of nc, on which the opening handshake is over. cfg
// is a result of withDefaults. early holds what was received after the
// handshake; it is copied.
func newConn(nc net.Conn, r role, cfg *Config, agreed agreement, early []byte) *Conn {
	c := &Conn{cfg: cfg}
	if agreed.subprotocol != "" {
		c.subprotocol = unique.Make(agreed.subprotocol)
	}
	s := newSocket(nc)
	if s.isRaw() {
		s.own.onReadable = func(fd uintptr) bool { return c.readReady(fd) }
	}
	c.nc.Store(s)
	c.read.role = r
	c.deflate = newDeflation(r, agreed.deflate, cfg.Compression)
	if len(early) > 0 {
		c.reading().receive(early)
	}
	c.out.init(c, r)
	c.startKeepalive()
	return c
}

// socket returns what c reads from and writes to.
func (c *Conn) socket() *socket { return c.nc.Load() }

// awaitLock waits for l, but no longer than until ctx ends, the user's deadline
// in d passes, or the connection ends. After an error it does not hold l.
func (c *Conn) awaitLock(ctx context.Context, l *fifoLock, d *deadlines) error {
	w := l.lockOrEnqueue()
	if w == nil {
		return nil
	}
	err := d.await(ctx, w.granted, c.endedChan())
	if err == nil {
		return nil
	}
	l.cancelWait(w)
	if end := c.terminal(); end != nil {
		return end
	}
	if ended := c.contextError(ctx); ended != nil {
		return ended
	}
	return err
}

// SetReadDeadline sets the time at which reads that wait return
// os.ErrDeadlineExceeded. The connection stays open, and a later read continues
// where this one stopped. The zero time means never. After Deliver and CloseRead
// no read waits, and SetReadDeadline does nothing.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if err := c.terminal(); err != nil || c.delivery.Load() != nil {
		return err
	}
	return c.readDeadlines().setUserDeadline(instantOf(t))
}

// SetWriteDeadline sets the time at which writes that wait return
// os.ErrDeadlineExceeded. Bytes that have not begun to leave are withdrawn;
// others are sent in the background. The zero time means never, but
// Config.WriteTimeout holds.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if err := c.terminal(); err != nil {
		return err
	}
	return c.out.writeDeadlines().setUserDeadline(instantOf(t))
}

// Subprotocol returns the subprotocol that both sides agreed on, or "".
func (c *Conn) Subprotocol() string {
	if c.subprotocol == (unique.Handle[string]{}) {
		return ""
	}
	return c.subprotocol.Value()
}

// SetMaxMessageSize replaces Config.MaxMessageSize, with the same meaning of 0
// and of negative values, from the next message on whose header is looked at.
// So a connection can begin with a small limit, and get a larger one once the
// peer has logged in: call SetMaxMessageSize before the peer is told that it
// has. A message of which something was read keeps the limit that it began
// with.
func (c *Conn) SetMaxMessageSize(n int64) {
	c.ensureLazy().maxMessage.Store(messageLimit(n))
}

// maxMessageSize returns the limit for a message that begins now.
func (c *Conn) maxMessageSize() int64 {
	if z := c.lazy.Load(); z != nil {
		if limit := z.maxMessage.Load(); limit != 0 {
			return limit
		}
	}
	return c.cfg.MaxMessageSize
}

// CompressionAgreed reports whether permessage-deflate was agreed on (RFC 7692),
// so that messages may be compressed in both directions. See [Conn.WritePlain]
// for those that must not be.
func (c *Conn) CompressionAgreed() bool { return c.deflate != nil || compresses(c.socket().Conn) }

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.socket().LocalAddr() }

// RemoteAddr returns the peer's network address.
func (c *Conn) RemoteAddr() net.Addr { return c.socket().RemoteAddr() }

// NetConn returns the underlying connection, to set its options. Reading,
// writing, closing it, or setting its deadlines breaks the Conn. [Conn.Deliver]
// may replace it. With DialOptions.HTTPClient it reads and writes the Body of the
// response, and has a method NetConn that returns the one of net/http, or nil if
// a RoundTripper keeps that to itself. Over HTTP/2, NetConn of a server's side
// returns nil: the underlying connection has other streams.
func (c *Conn) NetConn() net.Conn {
	if c.socket().stream() != nil {
		return nil
	}
	return c.socket().Conn
}
